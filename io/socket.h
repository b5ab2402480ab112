// Stream sockets: what a connection is made of, for clients and peers alike.
//
// Owned by one object on one core. At most one Receive and one Send are under way at a time
// (CHECKed). Close, or the runtime's stop, completes both with kCancelled; only then may the socket
// be destroyed.
//
// Errors: kUnavailable   the connection is reset, refused or unreachable
//         kCancelled     closed by this side, or the runtime is stopping
//         kAlreadyExists Listen: the address is in use
//         kResourceExhausted  out of descriptors or buffers
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "io/base/status.h"
#include "io/task.h"

namespace metastore::io {

struct Address {
  std::string ip;     // a literal: 127.0.0.1, ::1, 0.0.0.0; names go through Runtime::Resolve
  uint16_t port = 0;  // 0 with Listen: the system chooses

  bool operator==(const Address&) const = default;
  std::string ToString() const;  // 127.0.0.1:2379, [::1]:2379
};

// Received bytes, lent from the runtime's receive buffers; given back when destroyed. Hold it only
// while parsing: the pool is shared by all connections of the core.
class ReceivedBytes final {
 public:
  using Release = void (*)(void* owner, uint64_t token);

  ReceivedBytes() = default;
  ReceivedBytes(std::string_view bytes, Release release, void* owner, uint64_t token)
      : bytes_(bytes), release_(release), owner_(owner), token_(token) {}
  ReceivedBytes(ReceivedBytes&& other) noexcept { Swap(other); }
  ReceivedBytes& operator=(ReceivedBytes&& other) noexcept {
    ReceivedBytes moved(std::move(other));
    Swap(moved);
    return *this;
  }
  ~ReceivedBytes() {
    if (release_ != nullptr) release_(owner_, token_);
  }

  std::string_view view() const { return bytes_; }
  bool end_of_stream() const { return bytes_.empty(); }

 private:
  void Swap(ReceivedBytes& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
    std::swap(owner_, other.owner_);
    std::swap(token_, other.token_);
  }

  std::string_view bytes_;
  Release release_ = nullptr;
  void* owner_ = nullptr;
  uint64_t token_ = 0;
};

class Socket {
 public:
  virtual ~Socket() = default;  // CHECKs that nothing is under way

  // The next bytes, at least one; empty (end_of_stream) once the other side has closed its sending
  // half.
  virtual Task<StatusOr<ReceivedBytes>> Receive() = 0;
  // Completes when all of `bytes` is in the system's hands; the caller keeps them in place until
  // then.
  virtual Task<Status> Send(std::string_view bytes) = 0;
  // No more is sent: the other side sees end of stream after what was sent.
  virtual void ShutdownSend() = 0;
  // Cancels what is under way and every later operation. Idempotent; the descriptor closes with the
  // object.
  virtual void Close() = 0;
  virtual const Address& peer() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // CHECKs that no Accept is under way

  // The next connection. kResourceExhausted is passing (out of descriptors): the caller waits and
  // goes on.
  virtual Task<StatusOr<std::unique_ptr<Socket>>> Accept() = 0;
  virtual void Close() = 0;
  virtual const Address& local() const = 0;  // with the port the system chose
};

}  // namespace metastore::io
