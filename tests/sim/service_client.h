// ServiceClient: a client of any gRPC service on a simulated machine: typed calls and streams over
// one connection, real bytes all the way. Reconnects by itself after Reset, to another member if
// told; one per task.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "io/runtime.h"
#include "tests/net/grpc_client.h"

namespace metastore::sim_test {

class ServiceClient final {
 public:
  ServiceClient(io::Runtime& runtime, io::Address server, net_test::Http2ClientOptions options = {})
      : runtime_(runtime), server_(std::move(server)), options_(options) {}

  // Connects if need be; false if that fails by `deadline`.
  io::Task<bool> Connect(MonoTime deadline);
  // Ends the connection. Needed before destruction and after a failed call.
  io::Task<void> Reset();
  // The member to connect to from the next Reset on.
  void MoveTo(io::Address server) { server_ = std::move(server); }

  // `path` as /package.Service/Method. Errors: GrpcClient's
  template <typename Response, typename Request>
  io::Task<StatusOr<Response>> Call(std::string path, Request request, MonoTime deadline) {
    const bool connected = co_await Connect(deadline);
    if (!connected) co_return UnavailableError("no connection");
    StatusOr<std::string> reply =
        co_await client_->Call(std::move(path), {}, request.SerializeAsString(), deadline);
    if (!reply.ok()) co_return reply.status();
    Response response;
    CHECK(response.ParseFromString(*reply));
    co_return response;
  }

  // A stream that stays open for requests, over a connection that there is (CHECKed). Ended before
  // Reset. Errors: kUnavailable  the server is going away
  StatusOr<std::unique_ptr<net_test::GrpcClientStream>> Open(std::string_view path) {
    return grpc().OpenStream(path, {});
  }

  // A call whose answers are read from the stream and which may be cancelled; connected (CHECKed).
  template <typename Request>
  std::unique_ptr<net_test::GrpcClientStream> Start(std::string_view path, const Request& request) {
    auto stream = Open(path);
    CHECK(stream.ok());
    (*stream)->Write(request.SerializeAsString());
    (*stream)->CloseSend();
    return std::move(*stream);
  }

  bool connected() const { return client_ != nullptr && client_->connected(); }
  // There is a connection (CHECKed), maybe lost.
  net_test::GrpcClient& grpc() {
    CHECK(client_ != nullptr);
    return *client_;
  }

 private:
  io::Runtime& runtime_;
  io::Address server_;
  const net_test::Http2ClientOptions options_;
  std::unique_ptr<net_test::GrpcClient> client_;
};

}  // namespace metastore::sim_test
