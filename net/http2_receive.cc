// Http2ServerSession, bytes in: frames are cut out of whatever comes, and judged as early as their
// headers and fixed fields allow. Blocks and data are never gathered: they go on as they come.
#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "net/http2_server_session.h"

namespace metastore::net {
namespace {

constexpr size_t kPriorityBytes = 5;
constexpr size_t kResetBytes = 4;
constexpr size_t kWindowUpdateBytes = 4;
constexpr size_t kPingBytes = 8;
constexpr size_t kPromisedBytes = 4;
constexpr size_t kGoawayBytes = 8;  // and text

}  // namespace

void Http2ServerSession::Receive(std::string_view bytes) {
  while (!bytes.empty() && fault_ == Http2Fault::kNone) {
    switch (input_.part) {
      case Part::kPreface:
        ReceivePreface(bytes);
        break;
      case Part::kHeader:
        if (Drained()) return;  // whatever follows is too late
        ReceiveHeader(bytes);
        break;
      case Part::kFields:
        ReceiveFields(bytes);
        break;
      case Part::kBlock:
        ReceiveBlock(bytes);
        break;
      case Part::kData:
        ReceiveData(bytes);
        break;
      case Part::kSkipped:
        ReceiveSkipped(bytes);
        break;
    }
  }
}

// The next `wanted` bytes in one piece, taken off `bytes`; nothing while they have not all come.
std::optional<std::string_view> Http2ServerSession::Gather(std::string_view& bytes, size_t wanted) {
  if (input_.gathered_bytes == 0 && bytes.size() >= wanted) {
    const std::string_view whole = bytes.substr(0, wanted);
    bytes.remove_prefix(wanted);
    return whole;
  }
  const size_t taken = std::min(bytes.size(), wanted - input_.gathered_bytes);
  std::copy_n(bytes.begin(), taken, input_.gathered.begin() + input_.gathered_bytes);
  input_.gathered_bytes += taken;
  bytes.remove_prefix(taken);
  if (input_.gathered_bytes < wanted) return std::nullopt;
  input_.gathered_bytes = 0;
  return std::string_view(input_.gathered.data(), wanted);
}

void Http2ServerSession::ReceivePreface(std::string_view& bytes) {
  const size_t at = kHttp2Preface.size() - input_.left;
  const size_t taken = std::min(bytes.size(), input_.left);
  if (bytes.substr(0, taken) != kHttp2Preface.substr(at, taken))
    return Fail(Http2Fault::kPreface, Http2Code::kProtocolError, "bad client preface");
  bytes.remove_prefix(taken);
  input_.left -= taken;
  if (input_.left == 0) Expect(Part::kHeader);
}

void Http2ServerSession::ReceiveHeader(std::string_view& bytes) {
  const std::optional<std::string_view> header = Gather(bytes, kFrameHeaderBytes);
  if (!header.has_value()) return;
  input_.frame = ReadFrameHeader(*header);
  input_.left = input_.frame.length;
  input_.padding = 0;
  BeginFrame();
}

void Http2ServerSession::Expect(Part part) { input_.part = part; }

void Http2ServerSession::ExpectFields(size_t bytes) {
  input_.fields_bytes = bytes;
  Expect(Part::kFields);
}

void Http2ServerSession::ReceiveFields(std::string_view& bytes) {
  const std::optional<std::string_view> fields = Gather(bytes, input_.fields_bytes);
  if (!fields.has_value()) return;
  input_.left -= fields->size();
  OnFields(*fields);
}

void Http2ServerSession::ReceiveSkipped(std::string_view& bytes) {
  const size_t taken = std::min(bytes.size(), input_.left);
  bytes.remove_prefix(taken);
  input_.left -= taken;
  if (input_.left == 0) Expect(Part::kHeader);
}

// Takes what has come of the payload off `bytes`; of that, `payload` is what is not padding.
// Returns how much it was.
size_t Http2ServerSession::TakePayload(std::string_view& bytes, std::string_view& payload) {
  const size_t taken = std::min(bytes.size(), input_.left);
  input_.left -= taken;
  const size_t unpadded_left = input_.left + taken - std::min(input_.padding, input_.left + taken);
  payload = bytes.substr(0, std::min(taken, unpadded_left));
  bytes.remove_prefix(taken);
  return taken;
}

// --- the begin of each frame -------------------------------------------------

void Http2ServerSession::BeginFrame() {
  const FrameHeader& frame = input_.frame;
  const bool settings = frame.type == FrameType::kSettings && !HasFlag(kFlagAck);
  if (std::exchange(input_.first_frame, false) && !settings)
    return FailProtocol("SETTINGS expected");
  if (input_.block != Block::kNone) return BeginContinuation();
  if (frame.length > kFramePayloadMax) return FailFrameSize();
  switch (frame.type) {
    case FrameType::kData:
      return BeginData();
    case FrameType::kHeaders:
      return BeginHeaders();
    case FrameType::kPriority:
      if (frame.length != kPriorityBytes) return FailFrameSize();
      Judge(guard_.OnEmptyFrame(now_));
      return Expect(Part::kSkipped);
    case FrameType::kRstStream:
      return BeginFixed(kResetBytes);
    case FrameType::kSettings:
      return BeginSettings();
    case FrameType::kPushPromise:
      if (!HasFlag(kFlagPadded) && frame.length < kPromisedBytes) return FailFrameSize();
      return FailProtocol("PUSH_PROMISE of a client");
    case FrameType::kPing:
      return BeginFixed(kPingBytes);
    case FrameType::kGoaway:
      if (frame.length < kGoawayBytes) return FailFrameSize();
      return ExpectFields(kGoawayBytes);
    case FrameType::kWindowUpdate:
      return BeginFixed(kWindowUpdateBytes);
    case FrameType::kContinuation:
      return FailProtocol("CONTINUATION of nothing");
  }
  // RFC 9113 5.5: unknown types are ignored.
  if (input_.left > 0) Expect(Part::kSkipped);
}

void Http2ServerSession::BeginFixed(size_t length) {
  if (input_.frame.length != length) return FailFrameSize();
  ExpectFields(length);
}

void Http2ServerSession::BeginSettings() {
  const size_t length = input_.frame.length;
  if (length % kSettingBytes != 0 || (HasFlag(kFlagAck) && length > 0)) return FailFrameSize();
  if (length > kSettingsMax * kSettingBytes) {
    return Fail(Http2Fault::kSettingsFlood, Http2Code::kEnhanceYourCalm,
                "SETTINGS of too many entries");
  }
  if (length > 0) return ExpectFields(length);
  OnFields({});
}

void Http2ServerSession::OnFields(std::string_view fields) {
  // All but data and headers are whole now; a text may follow GOAWAY.
  Expect(input_.left > 0 ? Part::kSkipped : Part::kHeader);
  switch (input_.frame.type) {
    case FrameType::kData:
      return OnDataFields(fields);
    case FrameType::kHeaders:
      return OnHeadersFields(fields);
    case FrameType::kRstStream:
      return OnReset(fields);
    case FrameType::kSettings:
      return OnSettings(fields);
    case FrameType::kPing:
      return OnPing(fields);
    case FrameType::kGoaway:
      return OnGoaway(fields);
    case FrameType::kWindowUpdate:
      return OnWindowUpdate(fields);
    case FrameType::kPriority:
    case FrameType::kPushPromise:
    case FrameType::kContinuation:
      break;
  }
  CHECK_UNREACHABLE();
}

// RFC 9113 5.1: a stream that was never opened. Even ones are ours, and we open none.
bool Http2ServerSession::Idle(uint32_t stream) const {
  return stream % 2 == 0 || stream > static_cast<uint32_t>(peer_.last_stream);
}

// --- DATA --------------------------------------------------------------------

void Http2ServerSession::BeginData() {
  const FrameHeader& frame = input_.frame;
  if (Idle(frame.stream)) return FailProtocol("DATA on an idle stream");
  ServerStream* stream = FindStream();
  if (stream != nullptr && stream->remote_ended)
    return Fail(Http2Fault::kProtocol, Http2Code::kStreamClosed, "DATA after the stream's end");
  // Of a stream that is gone: it may have crossed our reset. Only counted.
  if (stream == nullptr) return Expect(frame.length > 0 ? Part::kData : Part::kHeader);
  if (HasFlag(kFlagPadded)) {
    if (frame.length == 0) return FailProtocol("padding longer than its frame");
    return ExpectFields(1);
  }
  Expect(frame.length > 0 ? Part::kData : Part::kHeader);
  BeginPayload(*stream);
}

// The padding's length, which counts as padding too (RFC 9113 6.1).
void Http2ServerSession::OnDataFields(std::string_view fields) {
  input_.padding = static_cast<uint8_t>(fields[0]);
  if (input_.padding > input_.left) return FailProtocol("padding longer than its frame");
  Expect(input_.left > 0 ? Part::kData : Part::kHeader);
  if (!CountData(fields.size())) return;
  ServerStream* stream = FindStream();
  if (stream == nullptr) return;
  if (!stream->receive_window.Take(fields.size()))
    return FailStream(*stream, Http2Code::kFlowControlError);
  Consumed(*stream, fields.size());
  BeginPayload(*stream);
}

// How much of the body the frame has is known now. RFC 9113 8.1.1: no more than was announced.
void Http2ServerSession::BeginPayload(ServerStream& stream) {
  stream.received += static_cast<int64_t>(input_.left - input_.padding);
  if (stream.facts.content_length != -1 && stream.received > stream.facts.content_length)
    return FailStream(stream, Http2Code::kProtocolError);
  if (input_.left == 0) EndData(stream);
}

// Against the connection's window, which opens again when all that was fed has been looked at.
bool Http2ServerSession::CountData(size_t bytes) {
  if (!receive_window_.Take(bytes)) {
    Fail(Http2Fault::kFlowControl, Http2Code::kFlowControlError, "too much data");
    return false;
  }
  receive_window_.Consume(bytes);
  return true;
}

void Http2ServerSession::ReceiveData(std::string_view& bytes) {
  std::string_view payload;
  const size_t taken = TakePayload(bytes, payload);
  if (!CountData(taken)) return;
  const bool whole = input_.left == 0;
  if (whole) Expect(Part::kHeader);
  ServerStream* stream = FindStream();
  if (stream == nullptr) return;
  if (!stream->receive_window.Take(taken)) return FailStream(*stream, Http2Code::kFlowControlError);
  if (taken > payload.size()) Consumed(*stream, taken - payload.size());
  stream->remote_ended = whole && HasFlag(kFlagEndStream);
  if (!payload.empty()) listener_.OnData(*stream, payload);
  if (whole && !stream->gone) EndData(*stream);
}

// The frame is whole.
void Http2ServerSession::EndData(ServerStream& stream) {
  const size_t padding = HasFlag(kFlagPadded) ? 1 + input_.padding : 0;
  if (!HasFlag(kFlagEndStream)) {
    if (input_.frame.length == padding) Judge(guard_.OnEmptyFrame(now_));
    return;
  }
  stream.remote_ended = true;
  if (stream.facts.content_length != -1 && stream.received != stream.facts.content_length)
    return FailStream(stream, Http2Code::kProtocolError);
  listener_.OnEnd(stream);
}

// --- the other frames --------------------------------------------------------

void Http2ServerSession::OnReset(std::string_view fields) {
  if (Idle(input_.frame.stream)) return FailProtocol("RST_STREAM on an idle stream");
  Judge(guard_.OnReset(now_));
  ServerStream* stream = FindStream();
  if (fault_ != Http2Fault::kNone || stream == nullptr) return;
  stream->close_code = static_cast<Http2Code>(BigEndian32(fields));
  streams_.Close(*stream);
  CloseNow(*stream);
}

void Http2ServerSession::OnWindowUpdate(std::string_view fields) {
  const uint32_t id = input_.frame.stream;
  const uint32_t increment = BigEndian32(fields) & 0x7fffffff;
  ServerStream* stream = nullptr;
  if (id != 0) {
    if (Idle(id)) return FailProtocol("WINDOW_UPDATE on an idle stream");
    stream = FindStream();
    if (stream == nullptr) return;
  }
  if (increment == 0) return FailProtocol("WINDOW_UPDATE of nothing");
  if (stream != nullptr) {
    if (!stream->send_window.Change(increment))
      return FailStream(*stream, Http2Code::kFlowControlError);
    if (stream->has_unsent()) MakeReady(*stream);
    return;
  }
  if (!send_window_.Change(increment))
    return Fail(Http2Fault::kFlowControl, Http2Code::kFlowControlError, "window beyond 2^31-1");
}

void Http2ServerSession::OnGoaway(std::string_view fields) {
  if (input_.frame.stream != 0) return FailProtocol("GOAWAY on a stream");
  const auto last = static_cast<int32_t>(BigEndian32(fields) & 0x7fffffff);
  // It names streams of ours, of which there are none; and may not name more than before.
  if (last % 2 == 1 || last > peer_.goaway_limit)
    return FailProtocol("GOAWAY of a stream that is none of ours");
  peer_.goaway = true;
  peer_.goaway_limit = last;
}

}  // namespace metastore::net
