#include "net/http2_server_session.h"

#include <utility>

#include "io/base/check.h"

namespace metastore::net {
namespace {

constexpr std::string_view kKeepalivePing = "keepaliv";
constexpr std::string_view kDrainPing = "draining";
// RFC 9113 6.5.2, and RFC 9218 2.1.
constexpr uint16_t kMaxConcurrentStreams = 3;
constexpr uint16_t kInitialWindowSize = 4;
constexpr uint16_t kMaxHeaderListSize = 6;
constexpr uint16_t kNoPriorities = 9;

void AppendSetting(std::string& to, uint16_t id, uint32_t value) {
  to.push_back(static_cast<char>(id >> 8));
  to.push_back(static_cast<char>(id & 0xff));
  AppendBigEndian32(to, value);
}

std::string PingFrame(std::string_view opaque) {
  std::string frame;
  AppendFrameHeader(frame, FrameHeader{.length = opaque.size(), .type = FrameType::kPing});
  return frame.append(opaque);
}

}  // namespace

std::unique_ptr<Http2Session> MakeHttp2Session(Http2Listener& listener, const Http2Options& options,
                                               MonoTime now) {
  return std::make_unique<Http2ServerSession>(listener, options, now);
}

Http2ServerSession::Http2ServerSession(Http2Listener& listener, const Http2Options& options,
                                       MonoTime now)
    : listener_(listener),
      streams_max_(options.streams_max),
      guard_(options.keepalive, now),
      now_(now),
      streams_(options.hash_seed) {
  SendGreeting(options);
}

void Http2ServerSession::SendGreeting(const Http2Options& options) {
  std::string settings;
  AppendSetting(settings, kMaxConcurrentStreams, options.streams_max);
  AppendSetting(settings, kInitialWindowSize, uint32_t{net_limits::kStreamWindowBytes});
  AppendSetting(settings, kMaxHeaderListSize, uint32_t{net_limits::kHeaderListBytesMax});
  AppendSetting(settings, kNoPriorities, 1);
  AppendFrameHeader(output_, FrameHeader{.length = settings.size(), .type = FrameType::kSettings});
  output_.append(settings);
  SendWindowUpdate(0, net_limits::kConnectionWindowBytes - kWindowBytesDefault);
}

Http2ServerSession::~Http2ServerSession() {
  closing_ = true;
  for (ServerStream* stream : streams_.All()) Abandon(*stream, Http2Code::kCancel);
  while (!gone_.empty()) CloseNow(*static_cast<ServerStream*>(gone_.front()));
}

Status Http2ServerSession::Feed(MonoTime now, std::string_view bytes) {
  if (fault_ != Http2Fault::kNone) return FailedPreconditionError("fed after a fault");
  now_ = now;
  guard_.OnReceived(now);
  Receive(bytes);
  if (fault_ != Http2Fault::kNone) return FaultStatus();
  if (receive_window_.update_due()) SendWindowUpdate(0, receive_window_.TakeUpdate());
  return FaultStatus();
}

// --- faults ------------------------------------------------------------------

Status Http2ServerSession::FaultStatus() const {
  if (fault_ == Http2Fault::kNone) return OkStatus();
  return InvalidArgumentError("HTTP/2 connection fault: ", FaultName(fault_));
}

void Http2ServerSession::Fail(Http2Fault fault, Http2Code code, std::string_view text) {
  if (fault_ != Http2Fault::kNone) return;
  fault_ = fault;
  AppendGoaway(output_, static_cast<uint32_t>(peer_.last_processed), static_cast<uint32_t>(code),
               text);
}

void Http2ServerSession::FailProtocol(std::string_view text) {
  Fail(Http2Fault::kProtocol, Http2Code::kProtocolError, text);
}

void Http2ServerSession::FailFrameSize() {
  Fail(Http2Fault::kFrameSize, Http2Code::kFrameSizeError, "a frame of a wrong length");
}

void Http2ServerSession::Judge(Http2Fault verdict) {
  if (verdict == Http2Fault::kNone) return;
  // "too_many_pings" is what grpc clients look for: they then ping less often.
  const std::string_view text =
      verdict == Http2Fault::kPingFlood ? "too_many_pings" : FaultName(verdict);
  Fail(verdict, Http2Code::kEnhanceYourCalm, text);
}

void Http2ServerSession::FailStream(ServerStream& stream, Http2Code code) {
  Abandon(stream, code);
  stream.reset_due = true;
  Judge(guard_.OnBadStream(now_));
}

void Http2ServerSession::RefuseStream(int32_t stream, Http2Code code) {
  SendReset(stream, code);
  Judge(guard_.OnBadStream(now_));
}

void Http2ServerSession::Abandon(ServerStream& stream, Http2Code code) {
  streams_.Close(stream);
  stream.close_code = code;
  stream.Unlink();
  gone_.PushBack(stream);
}

// --- keepalive and the end ---------------------------------------------------

Status Http2ServerSession::Tick(MonoTime now) {
  if (fault_ != Http2Fault::kNone) return OkStatus();
  now_ = now;
  switch (guard_.Tick(now)) {
    case Http2Guard::Action::kNothing:
      return OkStatus();
    case Http2Guard::Action::kSendPing:
      SendControl(PingFrame(kKeepalivePing));
      return OkStatus();
    case Http2Guard::Action::kPeerIsGone:
      Fail(Http2Fault::kKeepaliveTimeout, Http2Code::kNoError, "keepalive ping timed out");
      return UnavailableError("the peer did not answer a ping in ", guard_.options().timeout.ms(),
                              " ms");
  }
  CHECK_UNREACHABLE();
}

MonoTime Http2ServerSession::next_tick() const {
  return fault_ == Http2Fault::kNone ? guard_.next() : MonoTime::Max();
}

void Http2ServerSession::Shutdown() {
  if (fault_ != Http2Fault::kNone) return;
  // The ping first: an idle client may answer nothing any more after a GOAWAY.
  SendControl(PingFrame(kDrainPing));
  if (goaway_sent_ || peer_.goaway) return;
  std::string notice;  // RFC 9113 6.8: names no stream yet, so that none is lost on the wire
  AppendGoaway(notice, INT32_MAX, static_cast<uint32_t>(Http2Code::kNoError), "");
  SendControl(notice);
}

void Http2ServerSession::OnPing(std::string_view fields) {
  if (input_.frame.stream != 0) return FailProtocol("PING on a stream");
  if (!HasFlag(kFlagAck)) {
    std::string answer;
    AppendFrameHeader(
        answer, FrameHeader{.length = fields.size(), .type = FrameType::kPing, .flags = kFlagAck});
    SendControl(answer.append(fields));
    return Judge(guard_.OnPing(now_, streams_.size()));
  }
  if (fields != kDrainPing) return;
  // The peer has seen the shutdown notice: what it had opened before is known, so now the real last
  // stream is named.
  goaway_sent_ = true;
  std::string goaway;
  AppendGoaway(goaway, static_cast<uint32_t>(peer_.last_processed),
               static_cast<uint32_t>(Http2Code::kNoError), "");
  SendControl(goaway);
}

bool Http2ServerSession::Drained() const {
  return (goaway_sent_ || peer_.goaway) && streams_.size() == 0;
}

bool Http2ServerSession::finished() const {
  return fault_ != Http2Fault::kNone || (Drained() && !wants_pump());
}

}  // namespace metastore::net
