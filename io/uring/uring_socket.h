// UringSocket and UringListener, and what they leave to the ring: a Connection and an Acceptor live
// on until the kernel has let go of them, however early their owner goes.
//
// Receiving: one multishot receive, armed when a Receive finds nothing waiting. Once kUnreadMax
// buffers lie unread it is cancelled, and armed again when they have been read: a slow consumer
// meets TCP's own back-pressure and holds at most kUnreadMax buffers and what one kernel turn (32
// more) delivered meanwhile. Sending: one send at a time with MSG_WAITALL, submitted after the
// files of the turn; continued where it was short. Accepting: one multishot accept, cancelled while
// kAcceptedMax connections wait to be taken.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/signal.h"
#include "io/socket.h"
#include "io/uring/receive_pool.h"
#include "io/uring/ring.h"

namespace metastore::io::uring {

class Reactor;

// co_await wait: until Wake(). For one coroutine at a time.
struct Wait : Suspension {
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    Suspend(handle);
  }
  void await_resume() const noexcept {}
  void WakeIfSuspended() {
    if (suspended()) Wake();
  }
};

class Connection final {
 public:
  Connection(Reactor& reactor, int fd);

  // True when Receive has something to give: bytes, the end, an error, or that it is closed.
  bool HasReceived() const { return closed_ || head_ != nullptr || ended_ || error_ != 0; }
  StatusOr<ReceivedBytes> TakeReceived();
  void ArmReceive();

  void StartSend(std::string_view bytes);
  bool sending() const { return !unsent_.empty(); }
  Status TakeSendResult();

  void ShutdownSend();
  void Close();
  // Closes; frees itself and the descriptor once nothing is under way.
  void Abandon();
  bool closed() const { return closed_; }
  int fd() const { return fd_; }

  Wait received;  // of the one Receive
  Wait sent;      // of the one Send

  static constexpr size_t kUnreadMax = 8;

 private:
  struct Op : RingOp {
    Connection* connection = nullptr;
  };
  struct Stop : StopCallback {
    Connection* connection = nullptr;
  };
  struct Retry : Starved {
    Connection* connection = nullptr;
  };

  ~Connection() = default;
  void Arrived(int32_t result, uint32_t flags);
  void SendDone(int32_t result);
  void ReleaseUnread();
  void FreeIfDone();

  Reactor& reactor_;
  const int fd_;
  Op receive_;
  Op send_;
  Stop stop_;
  Retry starved_;
  Received* head_ = nullptr;  // arrived, not yet given to a Receive
  Received* tail_ = nullptr;
  size_t unread_ = 0;
  std::string_view unsent_;
  int error_ = 0;  // a receive's, positive errno
  int send_error_ = 0;
  bool ended_ = false;  // the other side sends no more
  bool cancelling_ = false;
  bool closed_ = false;
  bool abandoned_ = false;
};

class UringSocket final : public Socket {
 public:
  // Takes over `fd`. `peer`: empty if not known yet.
  UringSocket(Reactor& reactor, int fd, Address peer);
  ~UringSocket() override;

  Task<StatusOr<ReceivedBytes>> Receive() override;
  Task<Status> Send(std::string_view bytes) override;
  void ShutdownSend() override { connection_->ShutdownSend(); }
  void Close() override { connection_->Close(); }
  const Address& peer() const override;

 private:
  Connection* connection_;  // frees itself
  bool receiving_ = false;
  bool sending_ = false;
  mutable Address peer_;  // asked for when first needed: a system call
};

class Acceptor final {
 public:
  Acceptor(Reactor& reactor, int fd);

  bool HasResult() const { return closed_ || error_ != 0 || next_ < accepted_.size(); }
  // A descriptor, or why there is none.
  StatusOr<int> TakeResult();
  void Arm();
  void Close();
  void Abandon();

  Wait accepted;  // of the one Accept

  static constexpr size_t kAcceptedMax = 256;

 private:
  struct Op : RingOp {
    Acceptor* acceptor = nullptr;
  };
  struct Stop : StopCallback {
    Acceptor* acceptor = nullptr;
  };

  ~Acceptor() = default;
  void Arrived(int32_t result);
  void FreeIfDone();

  Reactor& reactor_;
  const int fd_;
  Op accept_;
  Stop stop_;
  std::vector<int> accepted_;  // from next_ on; at most 3 x kAcceptedMax
  size_t next_ = 0;
  int error_ = 0;
  bool cancelling_ = false;
  bool closed_ = false;
  bool abandoned_ = false;
};

class UringListener final : public Listener {
 public:
  UringListener(Reactor& reactor, int fd, Address local);
  ~UringListener() override;

  Task<StatusOr<std::unique_ptr<Socket>>> Accept() override;
  void Close() override { acceptor_->Close(); }
  const Address& local() const override { return local_; }

 private:
  Reactor& reactor_;
  Acceptor* acceptor_;  // frees itself
  const Address local_;
  bool accepting_ = false;
};

// The blocking-free system calls of setting up; each closes what it made when it fails.
// reuse_port: several reactors listen on the address.
StatusOr<int> OpenListener(const Address& address, bool reuse_port);
StatusOr<int> OpenStream(const Address& address);
StatusOr<Address> LocalAddress(int fd);

// Connects `fd` by `deadline`. Errors: as io/socket.h; kUnavailable also when the deadline passed.
Task<Status> ConnectTo(Reactor& reactor, int fd, Address address, MonoTime deadline);

}  // namespace metastore::io::uring
