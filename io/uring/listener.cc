// Acceptor, UringListener and connecting.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/base/check.h"
#include "io/uring/addresses.h"
#include "io/uring/errno_status.h"
#include "io/uring/reactor.h"
#include "io/uring/uring_socket.h"

namespace metastore::io::uring {
namespace {

constexpr int kBacklog = 1024;

// Best effort: none of these options is refused on a healthy system.
void SetOption(int fd, int level, int option, int value = 1) {
  (void)setsockopt(fd, level, option, &value, sizeof(value));
}

// An accept that failed for this connection only, or for no lasting reason: the next may succeed.
bool IsPassing(int error) {
  return error == ECONNABORTED || error == EINTR || error == EAGAIN || error == EPROTO ||
         error == ENETDOWN || error == EHOSTDOWN || error == EHOSTUNREACH || error == ENETUNREACH ||
         error == EPERM;
}

struct ConnectOp : RingOp {
  SystemAddress address;
  int fd = -1;
  int result = 0;
  Wait done;
};
struct ConnectDeadline : Timer {
  Ring* ring = nullptr;
  ConnectOp* op = nullptr;
  bool passed = false;
};
struct ConnectStop : StopCallback {
  Ring* ring = nullptr;
  ConnectOp* op = nullptr;
};

void SetUp(ConnectOp& op, ConnectDeadline& deadline, ConnectStop& stop, Ring& ring) {
  op.prepare = [](RingOp& self, io_uring_sqe& sqe) {
    auto& connect = static_cast<ConnectOp&>(self);
    io_uring_prep_connect(&sqe, connect.fd, connect.address.get(), connect.address.bytes);
  };
  op.complete = [](RingOp& self, int32_t result, uint32_t /*flags*/) {
    auto& connect = static_cast<ConnectOp&>(self);
    connect.result = result;
    connect.done.Wake();
  };
  deadline.ring = stop.ring = &ring;
  deadline.op = stop.op = &op;
  deadline.fired = [](Timer& self) {
    auto& timer = static_cast<ConnectDeadline&>(self);
    timer.passed = true;
    timer.ring->Cancel(*timer.op);
  };
  stop.stopped = [](StopCallback& self) {
    auto& callback = static_cast<ConnectStop&>(self);
    callback.ring->Cancel(*callback.op);
  };
}

}  // namespace

StatusOr<int> OpenStream(const Address& address) {
  StatusOr<SystemAddress> system = ToSystem(address);
  if (!system.ok()) return system.status();
  const int fd = socket(system->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return SocketStatus(errno, "socket");
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it from their listener
  return fd;
}

StatusOr<int> OpenListener(const Address& address, bool reuse_port) {
  StatusOr<SystemAddress> system = ToSystem(address);
  if (!system.ok()) return system.status();
  StatusOr<int> fd = OpenStream(address);
  if (!fd.ok()) return fd.status();
  SetOption(*fd, SOL_SOCKET, SO_REUSEADDR);
  if (reuse_port) SetOption(*fd, SOL_SOCKET, SO_REUSEPORT);
  // "::" takes IPv4 connections too, as etcd's listeners do, whatever the system's default.
  if (system->storage.ss_family == AF_INET6) {
    SetOption(*fd, IPPROTO_IPV6, IPV6_V6ONLY, address.ip == "::" ? 0 : 1);
  }
  if (bind(*fd, system->get(), system->bytes) != 0 || listen(*fd, kBacklog) != 0) {
    const int error = errno;
    close(*fd);
    return SocketStatus(error, Concat("listen on ", address.ToString()));
  }
  return fd;
}

StatusOr<Address> LocalAddress(int fd) {
  SystemAddress address;
  address.bytes = sizeof(address.storage);
  if (getsockname(fd, address.get(), &address.bytes) != 0)
    return SocketStatus(errno, "getsockname");
  return FromSystem(address);
}

Task<Status> ConnectTo(Reactor& reactor, int fd, Address address, MonoTime deadline) {
  StatusOr<SystemAddress> system = ToSystem(address);
  if (!system.ok()) co_return system.status();
  ConnectOp op;
  ConnectDeadline timer;
  ConnectStop stop;
  SetUp(op, timer, stop, reactor.ring());
  op.fd = fd;
  op.address = *system;
  if (!reactor.stop_token().Register(stop))
    co_return CancelledError("connect: the runtime is stopping");
  if (deadline != MonoTime::Max()) reactor.Arm(timer, deadline);
  reactor.ring().Start(op);
  co_await op.done;
  stop.Unlink();
  reactor.Cancel(timer);
  if (op.result == 0) co_return OkStatus();
  if (reactor.stopping()) co_return CancelledError("connect: the runtime is stopping");
  if (timer.passed)
    co_return UnavailableError("connect to ", address.ToString(), ": the deadline passed");
  co_return SocketStatus(-op.result, Concat("connect to ", address.ToString()));
}

Acceptor::Acceptor(Reactor& reactor, int fd) : reactor_(reactor), fd_(fd) {
  accept_.acceptor = this;
  accept_.prepare = [](RingOp& self, io_uring_sqe& sqe) {
    io_uring_prep_multishot_accept(&sqe, static_cast<Op&>(self).acceptor->fd_, nullptr, nullptr,
                                   SOCK_CLOEXEC);
  };
  accept_.complete = [](RingOp& self, int32_t result, uint32_t /*flags*/) {
    static_cast<Op&>(self).acceptor->Arrived(result);
  };
  stop_.acceptor = this;
  stop_.stopped = [](StopCallback& self) { static_cast<Stop&>(self).acceptor->Close(); };
  if (!reactor_.stop_token().Register(stop_)) closed_ = true;
}

void Acceptor::Arm() {
  if (closed_ || accept_.state != RingOp::State::kIdle) return;
  cancelling_ = false;
  reactor_.ring().Start(accept_);
}

void Acceptor::Arrived(int32_t result) {
  if (result >= 0) {
    // What came after the cancel, or past what can wait, is turned away: the client sees the
    // connection closed.
    if (closed_ || accepted_.size() - next_ >= 2 * kAcceptedMax) {
      reactor_.ring().Close(result);
    } else {
      accepted_.push_back(result);
    }
    if (accepted_.size() - next_ >= kAcceptedMax && !cancelling_) {
      cancelling_ = true;
      reactor_.ring().Cancel(accept_);
    }
  } else if (result != -ECANCELED && !IsPassing(-result)) {
    error_ = -result;
  }
  if (abandoned_) return FreeIfDone();
  if (!accepted.suspended()) return;
  if (HasResult()) {
    accepted.Wake();
  } else {
    Arm();
  }
}

StatusOr<int> Acceptor::TakeResult() {
  if (closed_) return CancelledError("accept: the listener was closed");
  if (next_ < accepted_.size()) {
    const int fd = accepted_[next_++];
    if (next_ == accepted_.size() || next_ == kAcceptedMax) {
      accepted_.erase(accepted_.begin(), accepted_.begin() + static_cast<std::ptrdiff_t>(next_));
      next_ = 0;
    }
    return fd;
  }
  return SocketStatus(std::exchange(error_, 0), "accept");
}

void Acceptor::Close() {
  if (closed_) return;
  closed_ = true;
  stop_.Unlink();
  for (size_t i = next_; i < accepted_.size(); ++i) reactor_.CloseDescriptor(accepted_[i]);
  accepted_.clear();
  next_ = 0;
  // Frees the address at once, while the descriptor lives on until the accept under way has ended.
  shutdown(fd_, SHUT_RDWR);
  reactor_.ring().Cancel(accept_);
  accepted.WakeIfSuspended();
}

void Acceptor::Abandon() {
  Close();
  abandoned_ = true;
  FreeIfDone();
}

void Acceptor::FreeIfDone() {
  if (accept_.state != RingOp::State::kIdle) return;
  reactor_.CloseDescriptor(fd_);
  delete this;
}

UringListener::UringListener(Reactor& reactor, int fd, Address local)
    : reactor_(reactor), acceptor_(new Acceptor(reactor, fd)), local_(std::move(local)) {}

UringListener::~UringListener() {
  CHECK(!accepting_);
  acceptor_->Abandon();
  const std::lock_guard lock(reactor_.shared().listening_mutex);
  std::vector<Address>& listening = reactor_.shared().listening;
  listening.erase(std::find(listening.begin(), listening.end(), local_));
}

Task<StatusOr<std::unique_ptr<Socket>>> UringListener::Accept() {
  CHECK(!accepting_);
  if (!acceptor_->HasResult()) {
    accepting_ = true;
    acceptor_->Arm();
    co_await acceptor_->accepted;
    accepting_ = false;
  }
  StatusOr<int> fd = acceptor_->TakeResult();
  if (!fd.ok()) co_return fd.status();
  co_return std::make_unique<UringSocket>(reactor_, *fd, Address{});
}

}  // namespace metastore::io::uring
