// ByteStream: one connection's bytes, in order, both ways; what everything above sockets talks to.
// Plain TCP is one implementation, TLS another.
//
// Owned by one connection on one core. At most one Receive and one Send are under way at a time
// (CHECKed). After Close both complete with kCancelled; only then may it be destroyed.
#pragma once

#include <memory>
#include <string_view>

#include "io/base/status.h"
#include "io/socket.h"
#include "io/task.h"

namespace metastore::net {

class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // The next bytes, at least one; empty (end_of_stream) once the peer has ended its sending half.
  // Errors: kUnavailable  the connection is lost (or the TLS record layer failed)
  //         kCancelled    closed by this side, or the runtime is stopping
  virtual io::Task<StatusOr<io::ReceivedBytes>> Receive() = 0;
  // Completes when all of `bytes` is in the system's hands; the caller keeps them in place until
  // then. Errors as Receive.
  virtual io::Task<Status> Send(std::string_view bytes) = 0;
  // No more is sent: the peer sees end of stream after what was sent.
  virtual void ShutdownSend() = 0;
  // Cancels what is under way and every later operation. Idempotent.
  virtual void Close() = 0;
  virtual const io::Address& peer() const = 0;
};

// `socket`'s bytes as they are.
std::unique_ptr<ByteStream> MakePlainStream(std::unique_ptr<io::Socket> socket);

}  // namespace metastore::net
