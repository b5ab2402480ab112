#include "io/sim/sim_socket.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/base/limits.h"

namespace metastore::sim {
namespace {

void ReleaseReceived(void* owner, uint64_t token) {
  delete[] reinterpret_cast<char*>(token);
  static_cast<SimRuntime*>(owner)->RemoveObject();
}

}  // namespace

SimSocket::SimSocket(SimRuntime& runtime, std::shared_ptr<SimEndpoint> end)
    : runtime_(runtime), network_(*end->network), end_(std::move(end)), peer_(end_->peer) {
  end_->socket = this;
  runtime_.AddObject();
}

SimSocket::~SimSocket() {
  CHECK(!receiving_);
  CHECK(!sending_);
  Close();
  runtime_.RemoveObject();
}

bool SimSocket::Ended() const { return closed_ || runtime_.dead(); }

bool SimSocket::CanReceive() const {
  return Ended() || !end_->arrived.empty() || end_->reset || end_->end_arrived;
}

io::Task<StatusOr<io::ReceivedBytes>> SimSocket::Receive() {
  runtime_.CheckCaller();
  CHECK(!receiving_);
  receiving_ = true;
  while (!CanReceive()) {
    co_await receiver_.In(runtime_.waits());
  }
  receiving_ = false;
  co_return TakeReceived();
}

StatusOr<io::ReceivedBytes> SimSocket::TakeReceived() {
  if (Ended()) return CancelledError(peer_.ToString(), ": receive: closed");
  if (end_->arrived.empty()) {
    if (end_->reset) return UnavailableError(peer_.ToString(), ": receive: connection reset");
    return io::ReceivedBytes();
  }
  const std::string& front = end_->arrived.front();
  const size_t size = std::min(front.size() - end_->first_at, limits::kReceiveBytes);
  // Memory of its own, so that a view kept too long is found by AddressSanitizer.
  char* bytes = new char[size];
  std::memcpy(bytes, front.data() + end_->first_at, size);
  runtime_.AddObject();
  end_->first_at += size;
  if (end_->first_at == front.size()) {
    end_->arrived.pop_front();
    end_->first_at = 0;
  }
  network_.Drained(*end_, size);
  return io::ReceivedBytes({bytes, size}, &ReleaseReceived, &runtime_,
                           reinterpret_cast<uint64_t>(bytes));
}

bool SimSocket::CanSend() const {
  return Ended() || end_->reset || end_->end_sent || network_.WindowLeft(*end_) > 0;
}

Status SimSocket::SendFailure() const {
  if (Ended()) return CancelledError(peer_.ToString(), ": send: closed");
  if (end_->reset) return UnavailableError(peer_.ToString(), ": send: connection reset");
  if (end_->end_sent) return UnavailableError(peer_.ToString(), ": send: after ShutdownSend");
  return OkStatus();
}

io::Task<Status> SimSocket::Send(std::string_view bytes) {
  runtime_.CheckCaller();
  CHECK(!sending_);
  sending_ = true;
  Status failure = SendFailure();
  while (failure.ok() && !bytes.empty()) {
    const size_t size = std::min(bytes.size(), network_.WindowLeft(*end_));
    network_.SendBytes(end_, bytes.substr(0, size));
    bytes.remove_prefix(size);
    while (!bytes.empty() && !CanSend()) {
      co_await sender_.In(runtime_.waits());
    }
    failure = bytes.empty() ? OkStatus() : SendFailure();
  }
  sending_ = false;
  co_return failure;
}

void SimSocket::ShutdownSend() {
  runtime_.CheckCaller();
  CHECK(!sending_);
  if (!Ended() && !end_->reset) network_.SendEnd(end_);
}

void SimSocket::Close() {
  if (closed_) return;
  closed_ = true;
  WakeReceiver();
  WakeSender();
  network_.CloseEnd(end_);
}

SimListener::SimListener(SimRuntime& runtime, SimNetwork& network)
    : runtime_(runtime), network_(network) {
  runtime_.AddObject();
}

SimListener::~SimListener() {
  CHECK(!accepting_);
  Close();
  runtime_.RemoveObject();
}

io::Task<StatusOr<std::unique_ptr<io::Socket>>> SimListener::Accept() {
  runtime_.CheckCaller();
  CHECK(!accepting_);
  accepting_ = true;
  while (!closed_ && !runtime_.dead() && waiting_.empty()) {
    co_await acceptor_.In(runtime_.waits());
  }
  accepting_ = false;
  if (closed_ || runtime_.dead()) {
    co_return CancelledError(local_.ToString(), ": accept: closed");
  }
  std::unique_ptr<io::Socket> socket =
      std::make_unique<SimSocket>(runtime_, std::move(waiting_.front()));
  waiting_.pop_front();
  co_return socket;
}

void SimListener::Enqueue(std::shared_ptr<SimEndpoint> end) {
  waiting_.push_back(std::move(end));
  acceptor_.WakeIfSuspended();
}

void SimListener::Close() {
  if (closed_) return;
  closed_ = true;
  network_.RemoveListener(*this);
  for (const std::shared_ptr<SimEndpoint>& end : std::exchange(waiting_, {})) {
    network_.CloseEnd(end);
  }
  acceptor_.WakeIfSuspended();
}

}  // namespace metastore::sim
