#include "tests/net/server_harness.h"

#include <utility>

namespace metastore::net_test {

ServerHarness::ServerHarness(uint64_t seed, net::ServerOptions options)
    : world_(seed),
      server_machine_(world_.AddMachine("server")),
      client_machine_(world_.AddMachine("client")),
      server_runtime_(server_machine_.StartProcess()[0]),
      client_runtime_(client_machine_.StartProcess()[0]),
      echo_(std::make_unique<EchoService>(*server_runtime_)),
      pages_(std::make_unique<HelloPages>(*server_runtime_)),
      server_(std::make_unique<net::ClientServer>(*server_runtime_, *echo_, *pages_,
                                                  std::move(options))) {
  address_ = Listen(net::PortUse::kGrpcAndHttp);
}

ServerHarness::~ServerHarness() {
  if (server_ != nullptr) Shutdown(Duration{});
  if (server_machine_.running()) server_machine_.EndProcess();
  world_.RunFor(Seconds(1));
  client_machine_.EndProcess();
}

io::Address ServerHarness::Listen(net::PortUse use) {
  const StatusOr<io::Address> bound =
      server_->Listen(io::Address{.ip = server_machine_.ip(), .port = 0}, use);
  CHECK(bound.ok());
  return *bound;
}

std::unique_ptr<GrpcClient> ServerHarness::Connect(Http2ClientOptions options) {
  auto client = std::make_unique<GrpcClient>(*client_runtime_, options);
  const Status connected =
      world_.Await(*client_runtime_, client->Connect(address_, In(Seconds(10))));
  CHECK(connected.ok());
  return client;
}

StatusOr<std::string> ServerHarness::Call(GrpcClient& client, std::string method,
                                          std::string message, GrpcClient::Metadata metadata) {
  return world_.Await(*client_runtime_, client.Call("/test.Echo/" + method, std::move(metadata),
                                                    std::move(message), MonoTime::Max()));
}

std::unique_ptr<io::Socket> ServerHarness::ConnectRaw(const io::Address& address) {
  StatusOr<std::unique_ptr<io::Socket>> socket =
      world_.Await(*client_runtime_, client_runtime_->Connect(address, In(Seconds(10))));
  CHECK(socket.ok());
  return std::move(*socket);
}

Status ServerHarness::Send(io::Socket& socket, std::string_view bytes) {
  return world_.Await(*client_runtime_, socket.Send(bytes));
}

io::Task<std::string> ServerHarness::ReceiveTask(io::Socket& socket, size_t enough,
                                                 MonoTime deadline) {
  struct Alarm : io::Timer {
    io::Socket* socket = nullptr;
  };
  Alarm alarm;
  alarm.socket = &socket;
  alarm.fired = [](io::Timer& timer) { static_cast<Alarm&>(timer).socket->Close(); };
  client_runtime_->Arm(alarm, deadline);
  std::string all;
  while (all.size() < enough) {
    StatusOr<io::ReceivedBytes> received = co_await socket.Receive();
    if (!received.ok() || received->end_of_stream()) break;
    all.append(received->view());
  }
  client_runtime_->Cancel(alarm);
  co_return all;
}

std::string ServerHarness::Receive(io::Socket& socket, size_t enough, Duration limit) {
  return world_.Await(*client_runtime_, ReceiveTask(socket, enough, In(limit)),
                      limit + Seconds(10));
}

std::string ServerHarness::ReceiveAll(io::Socket& socket, Duration limit) {
  return Receive(socket, SIZE_MAX, limit);
}

std::string ServerHarness::Exchange(std::string_view bytes, Duration limit) {
  const std::unique_ptr<io::Socket> socket = ConnectRaw();
  const Status sent =
      Send(*socket, bytes);  // fails where the server has ended the connection meanwhile
  const std::string answer = ReceiveAll(*socket, limit);
  socket->Close();
  return answer;
}

void ServerHarness::Shutdown(Duration grace) {
  world_.Await(*server_runtime_, server_->Shutdown(server_runtime_->Now() + grace),
               grace + Seconds(10));
  server_.reset();
}

void ServerHarness::KillServer() {
  server_machine_.KillProcess();
  server_machine_.DrainDead();
  server_.reset();
  server_machine_.EndProcess();
}

}  // namespace metastore::net_test
