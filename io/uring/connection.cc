// Connection and UringSocket.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "io/base/check.h"
#include "io/uring/addresses.h"
#include "io/uring/errno_status.h"
#include "io/uring/reactor.h"
#include "io/uring/uring_socket.h"

namespace metastore::io::uring {
namespace {

constexpr size_t kSendMax = size_t{1} << 30;  // of one request; its length is 32 bits

}  // namespace

Connection::Connection(Reactor& reactor, int fd) : reactor_(reactor), fd_(fd) {
  receive_.connection = send_.connection = this;
  receive_.prepare = [](RingOp& self, io_uring_sqe& sqe) {
    io_uring_prep_recv_multishot(&sqe, static_cast<Op&>(self).connection->fd_, nullptr, 0, 0);
    sqe.flags |= IOSQE_BUFFER_SELECT;
    sqe.buf_group = ReceivePool::kGroup;
  };
  receive_.complete = [](RingOp& self, int32_t result, uint32_t flags) {
    static_cast<Op&>(self).connection->Arrived(result, flags);
  };
  send_.prepare = [](RingOp& self, io_uring_sqe& sqe) {
    const Connection& connection = *static_cast<Op&>(self).connection;
    io_uring_prep_send(&sqe, connection.fd_, connection.unsent_.data(),
                       std::min(connection.unsent_.size(), kSendMax), MSG_NOSIGNAL | MSG_WAITALL);
  };
  send_.complete = [](RingOp& self, int32_t result, uint32_t /*flags*/) {
    static_cast<Op&>(self).connection->SendDone(result);
  };
  starved_.connection = this;
  starved_.retry = [](Starved& self) { static_cast<Retry&>(self).connection->ArmReceive(); };
  stop_.connection = this;
  stop_.stopped = [](StopCallback& self) { static_cast<Stop&>(self).connection->Close(); };
  if (!reactor_.stop_token().Register(stop_)) closed_ = true;
}

void Connection::ArmReceive() {
  if (closed_ || receive_.state != RingOp::State::kIdle || starved_.linked()) return;
  cancelling_ = false;
  reactor_.ring().Start(receive_);
}

void Connection::Arrived(int32_t result, uint32_t flags) {
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    const auto buffer = static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    Received& arrival =
        reactor_.receive_pool().Take(buffer, static_cast<uint32_t>(std::max(result, 0)));
    if (result > 0 && !closed_) {
      (tail_ == nullptr ? head_ : tail_->next) = &arrival;
      tail_ = &arrival;
      ++unread_;
    } else {
      reactor_.receive_pool().Release(arrival);
    }
  }
  if (result == 0) ended_ = true;
  if (result < 0 && result != -ECANCELED && result != -EINTR && result != -EAGAIN &&
      result != -ENOBUFS) {
    error_ = -result;
  }
  const bool armed = (flags & IORING_CQE_F_MORE) != 0;
  if (armed && unread_ >= kUnreadMax && !cancelling_) {
    cancelling_ = true;
    reactor_.ring().Cancel(receive_);
  }
  if (abandoned_) return FreeIfDone();
  // Armed again only for a Receive that waits: what nobody reads stays with the sender.
  if (!received.suspended()) return;
  if (HasReceived()) {
    received.Wake();
  } else if (result == -ENOBUFS) {
    reactor_.receive_pool().AddStarved(starved_);
  } else if (!armed) {
    ArmReceive();
  }
}

StatusOr<ReceivedBytes> Connection::TakeReceived() {
  if (closed_) return CancelledError("receive: the connection was closed here");
  if (head_ != nullptr) {
    Received& arrival = *head_;
    head_ = arrival.next;
    if (head_ == nullptr) tail_ = nullptr;
    --unread_;
    return reactor_.receive_pool().Lend(arrival);
  }
  if (error_ != 0) return SocketStatus(error_, "receive");
  CHECK(ended_);
  return ReceivedBytes();
}

void Connection::StartSend(std::string_view bytes) {
  CHECK(!sending());
  unsent_ = bytes;
  send_error_ = 0;
  reactor_.ring().StartLate(send_);
}

void Connection::SendDone(int32_t result) {
  if (result > 0) {
    unsent_.remove_prefix(static_cast<size_t>(result));
  } else if (result == 0) {
    send_error_ = EPIPE;
  } else if (result != -EAGAIN && result != -EINTR) {
    send_error_ = -result;
  }
  if (!unsent_.empty() && send_error_ == 0 && !closed_) {
    reactor_.ring().StartLate(send_);
    return;
  }
  if (abandoned_) return FreeIfDone();
  sent.WakeIfSuspended();
}

Status Connection::TakeSendResult() {
  const bool whole = unsent_.empty();
  unsent_ = {};
  if (whole) return OkStatus();
  if (closed_) return CancelledError("send: the connection was closed here");
  return SocketStatus(send_error_, "send");
}

void Connection::ShutdownSend() {
  // A plain call: the ring's shutdown runs on a worker thread, which may look the descriptor up
  // when it has been closed and belongs to another connection. Once a connection, so its cost is
  // nothing.
  if (!closed_) ::shutdown(fd_, SHUT_WR);
}

void Connection::ReleaseUnread() {
  while (head_ != nullptr) {
    Received& arrival = *head_;
    head_ = arrival.next;
    reactor_.receive_pool().Release(arrival);
  }
  tail_ = nullptr;
  unread_ = 0;
}

void Connection::Close() {
  if (closed_) return;
  closed_ = true;
  stop_.Unlink();
  starved_.Unlink();
  ReleaseUnread();
  reactor_.ring().Cancel(receive_);
  reactor_.ring().Cancel(send_);
  received.WakeIfSuspended();
}

void Connection::Abandon() {
  Close();
  abandoned_ = true;
  FreeIfDone();
}

void Connection::FreeIfDone() {
  if (receive_.state != RingOp::State::kIdle || send_.state != RingOp::State::kIdle) return;
  reactor_.CloseDescriptor(fd_);
  delete this;
}

UringSocket::UringSocket(Reactor& reactor, int fd, Address peer)
    : connection_(new Connection(reactor, fd)), peer_(std::move(peer)) {}

UringSocket::~UringSocket() {
  CHECK(!receiving_);
  CHECK(!sending_);
  connection_->Abandon();
}

Task<StatusOr<ReceivedBytes>> UringSocket::Receive() {
  CHECK(!receiving_);
  if (!connection_->HasReceived()) {
    receiving_ = true;
    connection_->ArmReceive();
    co_await connection_->received;
    receiving_ = false;
  }
  co_return connection_->TakeReceived();
}

Task<Status> UringSocket::Send(std::string_view bytes) {
  CHECK(!sending_);
  if (connection_->closed()) co_return CancelledError("send: the connection was closed here");
  if (bytes.empty()) co_return OkStatus();
  sending_ = true;
  connection_->StartSend(bytes);
  co_await connection_->sent;
  sending_ = false;
  co_return connection_->TakeSendResult();
}

const Address& UringSocket::peer() const {
  if (peer_.ip.empty()) {
    SystemAddress address;
    address.bytes = sizeof(address.storage);
    if (getpeername(connection_->fd(), address.get(), &address.bytes) == 0)
      peer_ = FromSystem(address);
  }
  return peer_;
}

}  // namespace metastore::io::uring
