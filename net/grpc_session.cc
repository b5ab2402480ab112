#include "net/grpc_session.h"

#include <array>
#include <utility>

#include "net/grpc_codec.h"
#include "net/grpc_head.h"
#include "net/net_limits.h"

namespace metastore::net {
namespace {

constexpr std::string_view kContentType = "application/grpc";
constexpr Http2Header kStatusOk{.name = ":status", .value = "200"};
constexpr Http2Header kTypeGrpc{.name = "content-type", .value = kContentType};
constexpr std::array<Http2Header, 2> kResponseHead = {kStatusOk, kTypeGrpc};
constexpr std::array<Http2Header, 1> kResponseEnd = {
    Http2Header{.name = "grpc-status", .value = "0"}};
constexpr Http2FixedHeaders kFixedHead(kResponseHead);
constexpr Http2FixedHeaders kFixedEnd(kResponseEnd);
// A stream's window is opened in steps, since each step is a frame.
constexpr size_t kWindowStepBytes = 32 * limits::kKiB;
// What an unread message costs beside its bytes.
constexpr size_t kUnreadOverheadBytes = 64;
// What an open call costs, its stream in the HTTP/2 layer included; taken from held_requests too.
constexpr size_t kCallBytes = 1536;
constexpr size_t kBeginAtOnceMax = 16;  // of requests that had to wait
constexpr size_t kConnectionShare = 4;  // of held_requests: one connection may have a quarter

GrpcCall& CallOf(Http2Stream& stream) { return *static_cast<GrpcCall*>(stream.user); }

Status UnknownMethod(MethodKind kind, std::string_view path) {
  const StatusOr<MethodPath> split = SplitMethodPath(path);
  if (!split.ok()) return split.status();
  if (kind == MethodKind::kUnknownService)
    return UnimplementedError("unknown service ", split->service);
  return UnimplementedError("unknown method ", split->method, " for service ", split->service);
}

// The trailers of an answer: views into `code` and `encoded`, which live in here.
class StatusTrailers final {
 public:
  StatusTrailers(const Status& status, const Metadata& extra) : code_(Concat(status.raw_code())) {
    AppendPercentEncoded(encoded_, StdView(status.message()));
    for (size_t i = 0; i < extra.size(); ++i) {
      values_.push_back(extra.key(i).ends_with("-bin") ? EncodeBase64(extra.value(i))
                                                       : std::string(extra.value(i)));
    }
    headers_.push_back(Http2Header{.name = "grpc-status", .value = code_});
    if (!encoded_.empty())
      headers_.push_back(Http2Header{.name = "grpc-message", .value = encoded_});
    for (size_t i = 0; i < extra.size(); ++i) {
      headers_.push_back(Http2Header{.name = extra.key(i), .value = values_[i]});
    }
  }
  StatusTrailers(const StatusTrailers&) = delete;
  StatusTrailers& operator=(const StatusTrailers&) = delete;

  std::vector<Http2Header>& headers() { return headers_; }

 private:
  std::string code_;
  std::string encoded_;
  std::vector<std::string> values_;
  std::vector<Http2Header> headers_;
};

}  // namespace

GrpcSession::~GrpcSession() { CHECK(calls_.empty()); }

// --- requests ----------------------------------------------------------------

GrpcCall& GrpcSession::MakeCall(Http2Stream& stream, std::span<const Http2Header> headers) {
  GrpcCall& call = *calls_.emplace_back(environment_.pool.Take());
  call.place_ = calls_.size() - 1;
  call.session_ = this;
  call.stream_ = &stream;
  call.began_ = received_at_;
  stream.user = &call;
  const uint64_t number = stream.headers_number;
  call.shared_head_ = number == 0 ? nullptr : FindHead(number);
  if (call.shared_head_ == nullptr && number != 0 && (call.shared_head_ = FreeHead()) != nullptr) {
    ReadHead(call.shared_head_->head, headers);
    call.shared_head_->headers_number = number;
  }
  if (call.shared_head_ != nullptr) {
    ++call.shared_head_->calls;
    call.head_ = &call.shared_head_->head;
  } else {
    ReadHead(call.own_head_, headers);
    call.head_ = &call.own_head_;
  }
  call.stop_.emplace();
  call.request_.emplace(GrpcRequest{.path = call.head_->path,
                                    .metadata = call.head_->metadata,
                                    .peer = environment_.peer,
                                    .deadline = MonoTime::Max(),
                                    .cancelled = call.stop_->token(),
                                    .message = {}});
  return call;
}

void GrpcSession::ReadHead(CallHead& head, std::span<const Http2Header> headers) const {
  head.metadata.Clear();
  RequestHead read = ParseRequestHead(headers, head.metadata);
  head.path.assign(read.path);
  head.match = environment_.handler.Find(head.path);
  head.timeout.reset();
  if (read.has_timeout) head.timeout = read.timeout;
  head.http_status = read.http_status;
  head.status = std::move(read.status);
}

SharedCallHead* GrpcSession::FindHead(uint64_t number) {
  for (SharedCallHead& shared : heads_) {
    if (shared.headers_number == number) return &shared;
  }
  return nullptr;
}

// One that no call uses; null: all are in use.
SharedCallHead* GrpcSession::FreeHead() {
  SharedCallHead* oldest = nullptr;
  for (SharedCallHead& shared : heads_) {
    if (shared.calls > 0) continue;
    if (oldest == nullptr || shared.headers_number < oldest->headers_number) oldest = &shared;
  }
  return oldest;
}

void GrpcSession::OnRequest(Http2Stream& stream, std::span<const Http2Header> headers,
                            bool /*end*/) {
  if (calls_.size() >= environment_.calls_max || !environment_.held_requests.TryTake(kCallBytes)) {
    ++environment_.stats.calls_refused;
    session_->Reset(stream, Http2Code::kRefusedStream);
    environment_.wake.NotifyOne();
    return;
  }
  GrpcCall& call = MakeCall(stream, headers);
  const CallHead& head = *call.head_;
  if (!head.status.ok()) return Refuse(call, head.http_status, head.status);
  if (!stop_reason_.empty()) return Refuse(call, 200, UnavailableError(stop_reason_));
  if (head.match.kind != MethodKind::kUnary && head.match.kind != MethodKind::kStream)
    return Refuse(call, 200, UnknownMethod(head.match.kind, head.path));
  if (head.timeout.has_value()) ArmDeadline(call, *head.timeout);
  if (head.match.kind == MethodKind::kStream) Spawn(call);
}

void GrpcSession::Refuse(GrpcCall& call, int http_status, const Status& status) {
  ++environment_.stats.calls_refused;
  AnswerError(call, http_status, status, Metadata());
}

void GrpcSession::ArmDeadline(GrpcCall& call, Duration timeout) {
  call.request_->deadline = environment_.runtime.Now() + timeout;
  call.deadline_.fired = DeadlinePassed;
  environment_.runtime.Arm(call.deadline_, call.request_->deadline);
}

void GrpcSession::DeadlinePassed(io::Timer& timer) {
  GrpcCall& call = *static_cast<GrpcCall::Deadline&>(timer).call;
  GrpcSession& session = *call.session_;
  if (call.open())
    session.AnswerError(call, 200, DeadlineExceededError("context deadline exceeded"), Metadata());
  call.Unlink();
  call.stop_->RequestStop();
}

void GrpcSession::OnData(Http2Stream& stream, std::string_view bytes) {
  if (stream.user == nullptr) return;
  GrpcCall& call = CallOf(stream);
  if (!call.open() || !call.inbound_.broken.ok()) return;
  call.inbound_.unconsumed += bytes.size();
  while (!bytes.empty()) {
    const Status gathered = Gather(call, bytes);
    if (!gathered.ok()) return Broken(call, gathered);
  }
  OpenWindow(call);
}

// Takes bytes of one message off `bytes`.
Status GrpcSession::Gather(GrpcCall& call, std::string_view& bytes) {
  GrpcCall::Inbound& inbound = call.inbound_;
  const bool unary = call.head_->match.kind == MethodKind::kUnary;
  if (unary && inbound.messages > 0) {
    return InternalError(
        "cardinality violation: received multiple request messages for a unary call");
  }
  const size_t before = inbound.assembler.gathered();
  MS_RETURN_IF_ERROR(inbound.assembler.Take(bytes, environment_.message_bytes_max));
  MS_RETURN_IF_ERROR(Hold(call, inbound.assembler.gathered() - before));
  if (!inbound.assembler.complete()) return OkStatus();
  ++inbound.messages;
  if (unary) return OkStatus();
  MS_RETURN_IF_ERROR(Hold(call, kUnreadOverheadBytes));
  inbound.unread.Push(std::move(inbound.assembler.message()));
  inbound.assembler.Next();
  inbound.readable.NotifyAll();
  return OkStatus();
}

Status GrpcSession::Hold(GrpcCall& call, size_t bytes) {
  const size_t share = environment_.held_requests.capacity() / kConnectionShare;
  if (held_request_bytes_ + bytes > share || !environment_.held_requests.TryTake(bytes)) {
    return ResourceExhaustedError("too many bytes of unfinished requests");
  }
  held_request_bytes_ += bytes;
  call.inbound_.held += bytes;
  return OkStatus();
}

void GrpcSession::Unhold(GrpcCall& call, size_t bytes) {
  CHECK_LE(bytes, call.inbound_.held);
  call.inbound_.held -= bytes;
  held_request_bytes_ -= bytes;
  environment_.held_requests.Return(bytes);
}

// Opens the window for what nobody has to read first: the message under way.
void GrpcSession::OpenWindow(GrpcCall& call) {
  GrpcCall::Inbound& inbound = call.inbound_;
  if (inbound.unconsumed < kWindowStepBytes || !inbound.unread.empty()) return;
  session_->Consumed(*call.stream_, std::exchange(inbound.unconsumed, 0));
  environment_.wake.NotifyOne();
}

void GrpcSession::MessageRead(GrpcCall& call, size_t bytes) {
  Unhold(call, bytes + kUnreadOverheadBytes);
  OpenWindow(call);
}

void GrpcSession::Broken(GrpcCall& call, const Status& status) {
  call.inbound_.broken = status;
  if (call.head_->match.kind == MethodKind::kUnary) return Refuse(call, 200, status);
  call.inbound_.readable.NotifyAll();  // the handler reads it and ends
}

void GrpcSession::OnEnd(Http2Stream& stream) {
  if (stream.user == nullptr) return;
  GrpcCall& call = CallOf(stream);
  GrpcCall::Inbound& inbound = call.inbound_;
  inbound.ended = true;
  if (!call.open()) return;
  const bool unary = call.head_->match.kind == MethodKind::kUnary;
  const bool cut = unary ? inbound.messages == 0 : !inbound.assembler.empty();
  if (cut && inbound.broken.ok()) return Broken(call, InternalError("unexpected EOF"));
  if (unary) return Begin(call);
  inbound.readable.NotifyAll();
}

// --- running -----------------------------------------------------------------

void GrpcSession::Begin(GrpcCall& call) {
  if (!stop_reason_.empty()) return Refuse(call, 200, UnavailableError(stop_reason_));
  if (unsent_reply_bytes_ < net_limits::kUnsentReplyBytesHigh && waiting_.empty()) return Run(call);
  waiting_.PushBack(call);
}

// A few at a time: their replies may be as large as those that made them wait.
void GrpcSession::BeginWaiting() {
  while (!waiting_.empty() && unsent_reply_bytes_ < net_limits::kUnsentReplyBytesHigh &&
         unary_running_ < kBeginAtOnceMax) {
    auto& call = *static_cast<GrpcCall*>(waiting_.front());
    call.Unlink();
    Spawn(call);
  }
}

void GrpcSession::Prepare(GrpcCall& call) {
  if (call.head_->match.kind == MethodKind::kUnary) {
    ++unary_running_;
    Unhold(call, call.inbound_.held);
    call.request_->message.swap(call.inbound_.assembler.message());
  }
  call.running_ = true;
  ++environment_.stats.calls_total;
  ++environment_.stats.calls_open;
}

// When the gate is closed the connection is closing: its streams are about to be closed too.
void GrpcSession::Spawn(GrpcCall& call) {
  Prepare(call);
  const bool unary = call.head_->match.kind == MethodKind::kUnary;
  if (!environment_.gate.Spawn("net.grpc.call", io::ReadyClass::kClient,
                               unary ? RunUnary(call) : RunStream(call)))
    Ended(call);
}

// A unary call whose request has just come, and is warm: up to its first wait at once.
void GrpcSession::Run(GrpcCall& call) {
  Prepare(call);
  if (!environment_.gate.Start("net.grpc.call", io::ReadyClass::kClient, RunUnary(call)))
    Ended(call);
}

io::Task<void> GrpcSession::RunUnary(GrpcCall& call) {
  GrpcReply reply = co_await environment_.handler.Unary(call.head_->match.id, *call.request_);
  environment_.handler.Handled(call.head_->match.id, *call.request_, reply);
  if (call.open() && reply.status.ok()) {
    AnswerOk(call, std::move(reply.message), reply.trailers);
  } else if (call.open()) {
    AnswerError(call, 200, reply.status, reply.trailers);
  }
  Ended(call);
}

io::Task<void> GrpcSession::RunStream(GrpcCall& call) {
  const Status status = co_await environment_.handler.Stream(call.head_->match.id, call);
  if (call.open()) AnswerError(call, 200, status, Metadata());
  Ended(call);
}

void GrpcSession::Ended(GrpcCall& call) {
  call.running_ = false;
  --environment_.stats.calls_open;
  if (call.head_->match.kind == MethodKind::kUnary) --unary_running_;
  if (call.stream_ == nullptr) Remove(call);
  BeginWaiting();
}

void GrpcSession::OnClosed(Http2Stream& stream, Http2Code /*code*/) {
  if (stream.user == nullptr) return;
  GrpcCall& call = CallOf(stream);
  call.stream_ = nullptr;
  call.Unlink();
  environment_.runtime.Cancel(call.deadline_);
  environment_.held_replies.Return(call.outbound_.unsent);
  unsent_reply_bytes_ -= std::exchange(call.outbound_.unsent, 0);
  Unhold(call, call.inbound_.held);
  call.inbound_.unread.Clear();
  call.stop_->RequestStop();
  if (!call.running_) Remove(call);
  BeginWaiting();
}

void GrpcSession::Remove(GrpcCall& call) {
  const size_t place = call.place_;
  std::unique_ptr<GrpcCall> removed = std::move(calls_[place]);
  if (place + 1 < calls_.size()) {
    calls_[place] = std::move(calls_.back());
    calls_[place]->place_ = place;
  }
  calls_.pop_back();
  environment_.held_requests.Return(kCallBytes);
  environment_.pool.Give(std::move(removed));
}

void GrpcSession::StopCalls(std::string_view reason) {
  if (stop_reason_.empty()) stop_reason_ = reason;
  while (!waiting_.empty()) {
    auto& call = *static_cast<GrpcCall*>(waiting_.front());
    call.Unlink();
    Refuse(call, 200, UnavailableError(stop_reason_));
  }
  // A stop only makes handlers ready: none runs, and no call is removed, inside the loop.
  for (const std::unique_ptr<GrpcCall>& call : calls_) call->stop_->RequestStop();
}

// --- answers -----------------------------------------------------------------

void GrpcSession::AnswerOk(GrpcCall& call, std::string message, const Metadata& trailers) {
  if (!trailers.empty()) {
    const Status sent = SendMessage(call, std::move(message));
    return AnswerError(call, 200, sent, trailers);
  }
  const Status held = HoldReply(call, message.size());
  if (!held.ok()) return AnswerError(call, 200, held, trailers);
  call.outbound_.headers_sent = true;
  const size_t bytes = kMessagePrefixBytes + message.size();
  const std::array<char, kMessagePrefixBytes> prefix = MessagePrefix(message.size());
  const size_t queued =
      session_->Respond(*call.stream_, Http2Answer{.headers = kFixedHead,
                                                   .head = {prefix.data(), prefix.size()},
                                                   .body = std::move(message),
                                                   .trailers = kFixedEnd});
  ReleaseReply(call, bytes - queued);
  Answered(call, true);
}

// Ends the call with `status`, which is OK at the end of a stream.
void GrpcSession::AnswerError(GrpcCall& call, int http_status, const Status& status,
                              const Metadata& trailers) {
  StatusTrailers end(status, trailers);
  if (call.outbound_.headers_sent) {
    session_->SubmitTrailers(*call.stream_, end.headers());
    return Answered(call, status.ok());
  }
  const std::string http = Concat(http_status);
  std::vector<Http2Header> headers = {Http2Header{.name = ":status", .value = http}, kTypeGrpc};
  if (status.code() == StatusCode::kUnimplemented) {
    headers.push_back(Http2Header{.name = "grpc-accept-encoding", .value = "identity"});
  }
  headers.insert(headers.end(), end.headers().begin(), end.headers().end());
  call.outbound_.headers_sent = true;
  session_->SubmitHeaders(*call.stream_, headers, true);
  Answered(call, status.ok());
}

void GrpcSession::Answered(GrpcCall& call, bool ok) {
  call.outbound_.answered = true;
  answered_.push_back(call.began_);
  if (!ok) ++failed_;
  environment_.runtime.Cancel(call.deadline_);
  call.inbound_.unread.Clear();
  Unhold(call, call.inbound_.held);
  environment_.wake.NotifyOne();
}

void GrpcSession::NoteSent(MonoTime now) {
  if (answered_.empty()) return;
  ServerStats& stats = environment_.stats;
  for (const MonoTime began : answered_) stats.call_duration.Observe(now - began);
  stats.calls_answered.Count(now, answered_.size());
  stats.calls_failed.Count(now, failed_);
  answered_.clear();
  failed_ = 0;
}

// For a message of `message_bytes` that is about to be sent; with its prefix.
Status GrpcSession::HoldReply(GrpcCall& call, size_t message_bytes) {
  const size_t bytes = kMessagePrefixBytes + message_bytes;
  if (message_bytes > UINT32_MAX)
    return ResourceExhaustedError("grpc: message too large (", message_bytes, " bytes)");
  if (!environment_.held_replies.TryTake(bytes))
    return ResourceExhaustedError("too many bytes of unsent responses");
  call.outbound_.unsent += bytes;
  unsent_reply_bytes_ += bytes;
  return OkStatus();
}

void GrpcSession::ReleaseReply(GrpcCall& call, size_t bytes) {
  call.outbound_.unsent -= bytes;
  unsent_reply_bytes_ -= bytes;
  environment_.held_replies.Return(bytes);
}

Status GrpcSession::SendMessage(GrpcCall& call, std::string message) {
  MS_RETURN_IF_ERROR(HoldReply(call, message.size()));
  if (!std::exchange(call.outbound_.headers_sent, true))
    session_->SubmitHeaders(*call.stream_, kResponseHead, false);
  const std::array<char, kMessagePrefixBytes> prefix = MessagePrefix(message.size());
  session_->SendData(*call.stream_, std::string_view(prefix.data(), prefix.size()),
                     std::move(message));
  environment_.wake.NotifyOne();
  return OkStatus();
}

void GrpcSession::OnSent(Http2Stream& stream, size_t bytes) {
  GrpcCall& call = CallOf(stream);
  ReleaseReply(call, bytes);
  if (call.outbound_.unsent < net_limits::kStreamUnsentBytesMax)
    call.outbound_.writable.NotifyAll();
  BeginWaiting();
}

}  // namespace metastore::net
