#include "net/server.h"

#include <utility>

#include "io/base/limits.h"

namespace metastore::net {
namespace {

// How long accepting rests when the system is out of descriptors.
constexpr Duration kAcceptPause = Milliseconds(100);

}  // namespace

ClientServer::ClientServer(io::Runtime& runtime, GrpcHandler& grpc, HttpHandler& http,
                           ServerOptions options)
    : runtime_(runtime),
      options_(std::move(options)),
      held_requests_(options_.held_request_bytes_max),
      held_replies_(options_.held_reply_bytes_max),
      host_{.runtime = runtime,
            .grpc = grpc,
            .http = http,
            .options = options_,
            .stats = stats_,
            .held_requests = held_requests_,
            .held_replies = held_replies_,
            .calls = calls_,
            .draining = draining_.token(),
            .stopped = stopped_.token(),
            .hash_seed = runtime.Random()},
      gate_(runtime.scheduler()) {
  CHECK(options_.Validate().empty());
}

ClientServer::~ClientServer() { CHECK_EQ(stats_.connections_open, uint64_t{0}); }

StatusOr<io::Address> ClientServer::Listen(const io::Address& address, PortUse use) {
  if (gate_.closed() || draining_.stopped())
    return FailedPreconditionError("the server has been shut down");
  StatusOr<std::unique_ptr<io::Listener>> listener = runtime_.Listen(address);
  if (!listener.ok()) return Annotate(listener.status(), Concat("listen on ", address.ToString()));
  Port& port = *ports_.emplace_back(std::make_unique<Port>());
  port.listener = std::move(*listener);
  port.use = use;
  CHECK(gate_.Spawn("net.accept", io::ReadyClass::kClient, AcceptLoop(port)));
  return port.listener->local();
}

io::Task<void> ClientServer::AcceptLoop(Port& port) {
  while (true) {
    StatusOr<std::unique_ptr<io::Socket>> socket = co_await port.listener->Accept();
    if (socket.ok()) {
      Accepted(std::move(*socket), port.use);
      continue;
    }
    // Cancelled: shut down, or the runtime stops. Anything else passes: descriptors, or one
    // connection's own trouble.
    if (socket.status().code() == StatusCode::kCancelled) co_return;
    ++stats_.accepts_paused;
    const io::WaitResult rested =
        co_await io::SleepUntil(runtime_, runtime_.Now() + kAcceptPause, draining_.token());
    if (rested == io::WaitResult::kStopped) co_return;
  }
}

void ClientServer::Accepted(std::unique_ptr<io::Socket> socket, PortUse use) {
  ++stats_.connections_total;
  if (stats_.connections_open >= options_.connections_max) {
    ++stats_.connections_refused;
    socket->Close();
    return;
  }
  ++stats_.connections_open;
  const bool spawned =
      gate_.Spawn("net.connection", io::ReadyClass::kClient, Serve(std::move(socket), use));
  if (!spawned) --stats_.connections_open;
}

io::Task<void> ClientServer::Serve(std::unique_ptr<io::Socket> socket, PortUse use) {
  const std::unique_ptr<ByteStream> stream = MakePlainStream(std::move(socket));
  co_await ServeConnection(host_, *stream, use);
  --stats_.connections_open;
  connection_ended_.NotifyAll();
}

io::Task<void> ClientServer::Shutdown(MonoTime deadline) {
  for (const std::unique_ptr<Port>& port : ports_) port->listener->Close();
  draining_.RequestStop();
  while (stats_.connections_open > 0) {
    const io::WaitResult result =
        co_await connection_ended_.Wait(io::WaitLimit{.timers = &runtime_, .deadline = deadline});
    if (result != io::WaitResult::kNotified) break;
  }
  stopped_.RequestStop();
  co_await gate_.Close();
}

}  // namespace metastore::net
