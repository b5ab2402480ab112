#include "net/grpc_call.h"

#include <utility>

#include "net/grpc_session.h"
#include "net/net_limits.h"

namespace metastore::net {
namespace {

constexpr size_t kMessageKeptBytes = 16 * limits::kKiB;  // of a message buffer kept in an idle call

}  // namespace

io::Task<io::WaitResult> GrpcCall::WaitFor(io::Signal& signal) {
  const io::WaitResult result = co_await signal.Wait(io::WaitLimit{.stop = stop_->token()});
  co_return result;
}

Status GrpcCall::ClosedStatus() const {
  return CancelledError("the call is over: reset, timed out or disconnected");
}

io::Task<StatusOr<std::optional<std::string>>> GrpcCall::Read() {
  CHECK(!inbound_.reading);
  inbound_.reading = true;
  while (flows() && inbound_.unread.empty() && inbound_.broken.ok() && !inbound_.ended) {
    co_await WaitFor(inbound_.readable);
  }
  inbound_.reading = false;
  if (!flows()) co_return ClosedStatus();
  if (!inbound_.unread.empty()) {
    std::optional<std::string> message = std::move(inbound_.unread.front());
    inbound_.unread.Pop();
    session_->MessageRead(*this, message->size());
    co_return message;
  }
  if (!inbound_.broken.ok()) co_return inbound_.broken;
  co_return std::optional<std::string>();
}

io::Task<Status> GrpcCall::Write(std::string message) {
  CHECK(!outbound_.writing);
  outbound_.writing = true;
  while (flows() && outbound_.unsent >= net_limits::kStreamUnsentBytesMax) {
    co_await WaitFor(outbound_.writable);
  }
  outbound_.writing = false;
  if (!flows()) co_return ClosedStatus();
  co_return session_->SendMessage(*this, std::move(message));
}

void GrpcCall::Interrupt() {
  interrupted_ = true;
  inbound_.readable.NotifyAll();
  outbound_.writable.NotifyAll();
}

void GrpcCall::Clear() {
  CHECK(!running_ && !inbound_.reading && !outbound_.writing && !linked() && !deadline_.armed());
  CHECK_EQ(inbound_.held, size_t{0});
  CHECK_EQ(outbound_.unsent, size_t{0});
  session_ = nullptr;
  stream_ = nullptr;
  head_ = nullptr;
  if (shared_head_ != nullptr) --shared_head_->calls;
  shared_head_ = nullptr;
  // A buffer that the handler did not take serves the next call.
  if (request_.has_value() && request_->message.capacity() > 0)
    request_->message.swap(inbound_.assembler.message());
  if (inbound_.assembler.message().capacity() > kMessageKeptBytes)
    std::string().swap(inbound_.assembler.message());
  inbound_.assembler.Reset();
  request_.reset();
  stop_.reset();
  inbound_.unread.Clear();
  inbound_.messages = inbound_.unconsumed = 0;
  inbound_.ended = false;
  inbound_.broken = OkStatus();
  outbound_.headers_sent = outbound_.answered = false;
  interrupted_ = false;
}

std::unique_ptr<GrpcCall> GrpcCallPool::Take() {
  if (free_.empty()) return std::make_unique<GrpcCall>();
  std::unique_ptr<GrpcCall> call = std::move(free_.back());
  free_.pop_back();
  return call;
}

void GrpcCallPool::Give(std::unique_ptr<GrpcCall> call) {
  call->Clear();
  if (free_.size() < net_limits::kCallsPooledMax) free_.push_back(std::move(call));
}

}  // namespace metastore::net
