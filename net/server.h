// ClientServer: the client ports of one core. It accepts connections, tells HTTP/2 (gRPC) from
// HTTP/1.1 by their first bytes, and runs each until it ends.
//
// Owned by the node, one a core; several cores may listen on one address. All its functions are
// called on that core. `runtime` and the handlers outlive it.
//
// Tasks (root, class client): accept loop a listener; reader and writer a connection; one a gRPC
// call.
//
// Invariants
//  1. Connections never exceed options.connections_max: further ones are accepted and closed at
//     once, and counted.
//  2. A connection costs bounded memory whatever its peer does: net_limits.h has the bounds,
//     net/README.md the sum.
//  3. Every wait ends by itself (ServerOptions' timeouts), by Shutdown, or with kCancelled when the
//     runtime stops.
//  4. A connection's fault closes that connection only.
#pragma once

#include <memory>
#include <vector>

#include "io/gate.h"
#include "io/runtime.h"
#include "net/byte_budget.h"
#include "net/connection.h"
#include "net/grpc.h"
#include "net/grpc_call.h"
#include "net/http1.h"
#include "net/server_options.h"
#include "net/server_stats.h"

namespace metastore::net {

class ClientServer final {
 public:
  // CHECKs options.Validate().
  ClientServer(io::Runtime& runtime, GrpcHandler& grpc, HttpHandler& http, ServerOptions options);
  // Shutdown must have completed.
  ~ClientServer();

  // Listens and begins to accept. May be called for several addresses. Returns the address with the
  // port the system chose. Errors: those of io::Runtime::Listen (kAlreadyExists: in use)
  //         kFailedPrecondition  shut down
  StatusOr<io::Address> Listen(const io::Address& address, PortUse use);

  // Ends: stops accepting; tells HTTP/2 peers to open no more calls (GOAWAY); waits for calls under
  // way until `deadline` or until the runtime stops, whichever is first; then stops them and closes
  // every connection. Completes when all tasks have ended. Once only.
  io::Task<void> Shutdown(MonoTime deadline);

  const ServerStats& stats() const { return stats_; }
  const ServerOptions& options() const { return options_; }

 private:
  struct Port {
    std::unique_ptr<io::Listener> listener;
    PortUse use = PortUse::kGrpcAndHttp;
  };

  io::Task<void> AcceptLoop(Port& port);
  void Accepted(std::unique_ptr<io::Socket> socket, PortUse use);
  io::Task<void> Serve(std::unique_ptr<io::Socket> socket, PortUse use);

  io::Runtime& runtime_;
  const ServerOptions options_;
  ServerStats stats_;
  ByteBudget held_requests_;
  ByteBudget held_replies_;
  GrpcCallPool calls_;
  io::StopSource draining_;
  io::StopSource stopped_;
  ConnectionHost host_;
  std::vector<std::unique_ptr<Port>> ports_;
  io::Signal connection_ended_;
  io::Gate gate_;
};

}  // namespace metastore::net
