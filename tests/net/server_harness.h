// A simulated machine with a ClientServer and another with clients, for tests of everything above
// sockets.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "io/sim/sim_world.h"
#include "net/server.h"
#include "tests/net/grpc_client.h"
#include "tests/net/test_handlers.h"

namespace metastore::net_test {

class ServerHarness final {
 public:
  explicit ServerHarness(uint64_t seed = 1, net::ServerOptions options = {});
  ~ServerHarness();
  ServerHarness(const ServerHarness&) = delete;
  ServerHarness& operator=(const ServerHarness&) = delete;

  sim::SimWorld& world() { return world_; }
  sim::SimMachine& server_machine() { return server_machine_; }
  io::Runtime& server_runtime() { return *server_runtime_; }
  io::Runtime& client_runtime() { return *client_runtime_; }
  net::ClientServer& server() { return *server_; }
  EchoService& echo() { return *echo_; }
  HelloPages& pages() { return *pages_; }
  const io::Address& address() const { return address_; }
  const net::ServerStats& stats() const { return server_->stats(); }
  uint64_t faults(net::Http2Fault fault) const {
    return stats().faults[static_cast<size_t>(fault)];
  }
  MonoTime In(Duration span) { return client_runtime_->Now() + span; }

  // Listens on a further port.
  io::Address Listen(net::PortUse use);
  std::unique_ptr<GrpcClient> Connect(Http2ClientOptions options = {});
  void Close(GrpcClient& client) { world_.Await(*client_runtime_, client.Close()); }
  StatusOr<std::string> Call(GrpcClient& client, std::string method, std::string message,
                             GrpcClient::Metadata metadata = {});

  // A bare connection.
  std::unique_ptr<io::Socket> ConnectRaw(const io::Address& address);
  std::unique_ptr<io::Socket> ConnectRaw() { return ConnectRaw(address_); }
  Status Send(io::Socket& socket, std::string_view bytes);
  // Everything until the server ends the connection, at most `limit` long; then what came until
  // then.
  std::string ReceiveAll(io::Socket& socket, Duration limit = Seconds(30));
  // Until `enough` bytes have come.
  std::string Receive(io::Socket& socket, size_t enough, Duration limit = Seconds(30));
  // Sends `bytes` on a connection of their own and gives back all that the server says to them.
  std::string Exchange(std::string_view bytes, Duration limit = Seconds(30));

  // Stops the server within `grace` and destroys it. The destructor does it with none.
  void Shutdown(Duration grace);
  // The server's process dies without a word, and its objects with it.
  void KillServer();

 private:
  io::Task<std::string> ReceiveTask(io::Socket& socket, size_t enough, MonoTime deadline);

  sim::SimWorld world_;
  sim::SimMachine& server_machine_;
  sim::SimMachine& client_machine_;
  io::Runtime* server_runtime_;
  io::Runtime* client_runtime_;
  std::unique_ptr<EchoService> echo_;
  std::unique_ptr<HelloPages> pages_;
  std::unique_ptr<net::ClientServer> server_;
  io::Address address_;
};

}  // namespace metastore::net_test
