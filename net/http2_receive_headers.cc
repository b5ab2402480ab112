// Http2ServerSession, header blocks in: HEADERS and the CONTINUATION frames after them (RFC 9113
// sections 6.2 and 6.10).
#include <utility>

#include "io/base/check.h"
#include "net/http2_server_session.h"

namespace metastore::net {
namespace {

constexpr size_t kPriorityBytes = 5;  // RFC 9113 6.2, deprecated: read and not heeded

}  // namespace

void Http2ServerSession::BeginHeaders() {
  const bool padded = HasFlag(kFlagPadded);
  const size_t fields = (padded ? 1U : 0U) + (HasFlag(kFlagPriority) ? kPriorityBytes : 0U);
  if (input_.frame.length < fields)
    return padded ? FailProtocol("padding longer than its frame") : FailFrameSize();
  if (fields > 0) return ExpectFields(fields);
  OpenBlock(0);
}

void Http2ServerSession::OnHeadersFields(std::string_view fields) {
  if (HasFlag(kFlagPadded)) {
    input_.padding = static_cast<uint8_t>(fields[0]);
    fields.remove_prefix(1);
    if (input_.padding > input_.left) return FailProtocol("padding longer than its frame");
  }
  const uint32_t depends_on = fields.empty() ? 0 : BigEndian32(fields) & 0x7fffffff;
  OpenBlock(static_cast<int32_t>(depends_on));
}

void Http2ServerSession::OpenBlock(int32_t depends_on) {
  const uint32_t id = input_.frame.stream;
  ServerStream* stream = FindStream();
  if (stream != nullptr) {
    if (stream->remote_ended)
      return Fail(Http2Fault::kProtocol, Http2Code::kStreamClosed,
                  "HEADERS after the stream's end");
    input_.block = Block::kTrailers;
    rules_.BeginTrailers(stream->facts);
  } else if (id % 2 == 0) {
    return FailProtocol("HEADERS on a stream that no client opens");
  } else {
    input_.block = Idle(id) ? JudgeNewStream(depends_on) : Block::kIgnored;
    if (input_.block == Block::kNone) return;  // a fault
    if (input_.block == Block::kRequest) rules_.BeginRequest();
  }
  input_.block_stream = static_cast<int32_t>(id);
  input_.block_flags = input_.frame.flags;
  input_.block_begun = input_.block_ended = false;
  input_.continuations = 0;
  Expect(Part::kBlock);
  std::string_view nothing;
  if (input_.left == 0) ReceiveBlock(nothing);
}

// What is done with the block that would open the stream; kNone: the connection has failed.
Http2ServerSession::Block Http2ServerSession::JudgeNewStream(int32_t depends_on) {
  const auto id = static_cast<int32_t>(input_.frame.stream);
  peer_.last_stream = id;
  const bool too_many = streams_.size() >= streams_max_;
  if (too_many && peer_.settings_acknowledged) {
    FailProtocol("more streams than were allowed");
    return Block::kNone;
  }
  if (goaway_sent_) return Block::kIgnored;
  if (depends_on == id) {
    FailProtocol("a stream that depends on itself");
    return Block::kNone;
  }
  if (too_many) {
    RefuseStream(id, Http2Code::kRefusedStream);
    return fault_ == Http2Fault::kNone ? Block::kIgnored : Block::kNone;
  }
  peer_.last_processed = id;
  return Block::kRequest;
}

void Http2ServerSession::BeginContinuation() {
  if (++input_.continuations > net_limits::kContinuationsMax) {
    return Fail(Http2Fault::kHeaderFlood, Http2Code::kEnhanceYourCalm,
                "too many CONTINUATION frames");
  }
  const FrameHeader& frame = input_.frame;
  if (frame.type != FrameType::kContinuation ||
      frame.stream != static_cast<uint32_t>(input_.block_stream)) {
    return FailProtocol("CONTINUATION expected");
  }
  if (frame.length > kFramePayloadMax) return FailFrameSize();
  input_.frame.flags &= kFlagEndHeaders;
  Expect(Part::kBlock);
  std::string_view nothing;
  if (input_.left == 0) ReceiveBlock(nothing);
}

void Http2ServerSession::ReceiveBlock(std::string_view& bytes) {
  std::string_view block;
  const bool cut = input_.block_begun || bytes.size() < input_.left || !HasFlag(kFlagEndHeaders);
  TakePayload(bytes, block);
  if (!cut && input_.block == Block::kRequest && OnKnownRequest(block)) return;
  if (!std::exchange(input_.block_begun, true))
    decoder_.Begin(input_.block == Block::kIgnored ? nullptr : &rules_);
  if (!input_.block_ended) DecodeBlock(block);
  if (input_.left > 0 || fault_ != Http2Fault::kNone) return;
  Expect(Part::kHeader);
  if (input_.block_ended) EndBlock(cut ? std::string_view() : block);
}

void Http2ServerSession::DecodeBlock(std::string_view bytes) {
  input_.block_ended = HasFlag(kFlagEndHeaders) && input_.left <= input_.padding;
  switch (decoder_.Decode(bytes, input_.block_ended)) {
    case HeaderDecoder::Result::kOk:
      return;
    case HeaderDecoder::Result::kBroken:
      return Fail(Http2Fault::kCompression, Http2Code::kCompressionError, "broken header block");
    case HeaderDecoder::Result::kFlood:
      return Fail(Http2Fault::kHeaderFlood, Http2Code::kEnhanceYourCalm, "header list too large");
  }
  CHECK_UNREACHABLE();
}

// True: the block was that of an earlier request, which has been begun again.
bool Http2ServerSession::OnKnownRequest(std::string_view block) {
  const HeaderDecoder::Known known = decoder_.Find(block);
  if (known.list == nullptr) return false;
  Expect(Part::kHeader);
  Request(*known.list, known.number);
  return true;
}

// `whole`: the block, if it came in one piece.
void Http2ServerSession::EndBlock(std::string_view whole) {
  switch (input_.block) {
    case Block::kRequest:
      return EndRequest(whole);
    case Block::kTrailers:
      return EndTrailers();
    case Block::kIgnored:
    case Block::kNone:
      input_.block = Block::kNone;
      return;
  }
}

void Http2ServerSession::EndRequest(std::string_view whole) {
  HeaderList& list = decoder_.list();
  if (list.malformed || !rules_.CompleteRequest()) {
    input_.block = Block::kNone;
    return RefuseStream(input_.block_stream, Http2Code::kProtocolError);
  }
  list.facts = rules_.facts();
  Request(decoder_.Finish(list.too_large() ? std::string_view() : whole), 0);
}

void Http2ServerSession::Request(const HeaderList& list, uint64_t number) {
  input_.block = Block::kNone;
  const bool end = (input_.block_flags & kFlagEndStream) != 0;
  if (end && list.facts.content_length > 0)
    return RefuseStream(input_.block_stream, Http2Code::kProtocolError);
  if (list.too_large()) return RefuseStream(input_.block_stream, Http2Code::kEnhanceYourCalm);
  ServerStream& stream = streams_.Open(input_.block_stream);
  stream.send_window = SendWindow(peer_.initial_window);
  stream.receive_window = ReceiveWindow(peer_.settings_acknowledged ? net_limits::kStreamWindowBytes
                                                                    : kWindowBytesDefault);
  stream.facts = list.facts;
  stream.remote_ended = end;
  stream.headers_number = number;
  listener_.OnRequest(stream, list.headers, end);
  if (end && !stream.gone) listener_.OnEnd(stream);
}

// gRPC clients send none that matter: they are checked, and end the request.
void Http2ServerSession::EndTrailers() {
  input_.block = Block::kNone;
  ServerStream* stream = streams_.Find(input_.block_stream);
  if (stream == nullptr) return;
  stream->facts = rules_.facts();
  const bool end = (input_.block_flags & kFlagEndStream) != 0;
  const int64_t announced = stream->facts.content_length;
  if (decoder_.list().malformed || !end || (announced != -1 && announced != stream->received))
    return FailStream(*stream, Http2Code::kProtocolError);
  stream->remote_ended = true;
  listener_.OnEnd(*stream);
}

}  // namespace metastore::net
