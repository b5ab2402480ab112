// What a server implements to answer gRPC calls (protocol: github.com/grpc/grpc,
// doc/PROTOCOL-HTTP2.md).
//
// Everything of one call happens on the core of its connection. The transport (net/grpc_session.h)
// owns the call: it checks content type, framing, compression and sizes, keeps the deadline, and
// turns a reset or a lost connection into a stop. A handler sees whole messages only.
//
// Codes: StatusCode is the gRPC code, number by number; messages reach the client byte for byte.
// What the transport answers by itself, with grpc-go's texts:
//   kUnimplemented      "unknown service a.B", "unknown method C for service a.B", "malformed
//                       method name: ...", "grpc: Decompressor is not installed for
//                       grpc-encoding ..."
//   kResourceExhausted  "grpc: received message larger than max (N vs. M)"; too many bytes of
//                       unfinished requests or unsent responses held by the server
//   kDeadlineExceeded   "context deadline exceeded"
//   kInvalidArgument    a content type that is not gRPC's (with :status 415)
//   kInternal           malformed grpc-timeout or binary metadata (:status 400), another method
//                       than POST (405); a compressed message without an encoding; a unary call
//                       with no message, with two, or cut short
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/base/ids.h"
#include "io/base/status.h"
#include "io/base/time.h"
#include "io/signal.h"
#include "io/socket.h"
#include "io/task.h"
#include "net/metadata.h"

namespace metastore::net {

using MethodId = StrongId<struct MethodIdTag, uint32_t>;  // the handler's own numbering

enum class MethodKind : uint8_t { kUnknownService, kUnknownMethod, kUnary, kStream };

struct MethodMatch {
  MethodKind kind = MethodKind::kUnknownService;
  MethodId id;
};

// One call as the handler sees it. Owned by the transport; outlives the handler's task. All views
// live as long.
struct GrpcRequest {
  std::string_view path;     // /package.Service/Method
  const Metadata& metadata;  // without the protocol's own headers (te, content-type, grpc-*, :*)
  const io::Address& peer;
  MonoTime deadline = MonoTime::Max();  // of grpc-timeout
  // Stops when the client resets the call, the deadline passes, the connection is lost or the
  // server gives up waiting in Shutdown. A reply after that goes nowhere: the handler returns as
  // soon as it can.
  io::StopToken cancelled;
  std::string message;  // unary: the request; the handler may move it out. Streams: empty
};

struct GrpcReply {
  Status status;        // not OK: trailers only, `message` is dropped
  std::string message;  // the encoded response
  Metadata trailers;    // beside grpc-status and grpc-message; at most 8, usually none
};

// A streaming call. At most one Read and one Write are under way at a time (CHECKed); they may be
// in two tasks, which must both have ended when GrpcHandler::Stream returns.
class GrpcStream {
 public:
  virtual ~GrpcStream() = default;

  virtual const GrpcRequest& request() const = 0;

  // The next message; nothing once the client has half-closed.
  // Errors: kCancelled         the call was reset, its deadline passed or the connection is lost
  //         kResourceExhausted, kInternal  the client broke a rule of size or framing: return it
  //                                        from Stream
  virtual io::Task<StatusOr<std::optional<std::string>>> Read() = 0;
  // Whether a message is there, which Read would give at once.
  virtual bool readable() const = 0;

  // Sends one message, at most 2^32-1 bytes. Completes at once while fewer than
  // net_limits::kStreamUnsentBytesMax are unsent, else when the client's flow control has let
  // enough of them go.
  // Errors: kCancelled          as Read; the message is dropped
  //         kResourceExhausted  the server holds too many bytes of unsent responses; return it
  virtual io::Task<Status> Write(std::string message) = 0;

  // The Read and the Write under way, and all later ones, complete with kCancelled, so that the
  // handler can end a stream whose client does nothing.
  virtual void Interrupt() = 0;

  // Bytes accepted by Write that have not gone to the connection's output.
  virtual size_t unsent_bytes() const = 0;
};

class GrpcHandler {
 public:
  virtual ~GrpcHandler() = default;

  // Classifies `path`. Pure and quick: called at most once a call, before anything is read.
  virtual MethodMatch Find(std::string_view path) const = 0;

  // Answers one unary call. `request` outlives the task.
  virtual io::Task<GrpcReply> Unary(MethodId method, GrpcRequest& request) = 0;

  // Serves one streaming call (client, server or both); the status ends it. `stream` outlives the
  // task.
  virtual io::Task<Status> Stream(MethodId method, GrpcStream& stream) = 0;

  // Unary has ended with `reply`, which goes out next if anybody still hears it. May add trailers.
  virtual void Handled(MethodId /*method*/, const GrpcRequest& /*request*/, GrpcReply& /*reply*/) {}
};

}  // namespace metastore::net
