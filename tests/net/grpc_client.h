// GrpcClient: a gRPC client on io::Runtime for tests and simulation: one connection, unary calls
// and streams, real HTTP/2 bytes. Its own code but for nghttp2 and the pure codecs of net/.
//
// Owned by a test; used on one core. Close() before it is destroyed. Several calls may be under
// way.
//
// Errors of every call: the server's status; else, by the client itself,
//   kUnavailable       no connection: refused, lost, or the server has said GOAWAY
//   kDeadlineExceeded  no answer in time; the call is reset
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/gate.h"
#include "io/runtime.h"
#include "tests/net/http2_client.h"

namespace metastore::net_test {

class GrpcClient;

// A streaming call. Owned by the test, ended or cancelled before the client is destroyed. One Read
// and one Write at a time.
class GrpcClientStream final {
 public:
  ~GrpcClientStream();
  GrpcClientStream(const GrpcClientStream&) = delete;
  GrpcClientStream& operator=(const GrpcClientStream&) = delete;

  void Write(std::string_view message);
  void CloseSend();
  void Cancel();
  // The next message; nothing after the last of a call that ended with OK. Errors: above, at
  // `deadline` too (the call goes on).
  io::Task<StatusOr<std::optional<std::string>>> Read(MonoTime deadline);

 private:
  friend class GrpcClient;
  GrpcClientStream(GrpcClient& client, ClientStream& stream) : client_(client), stream_(stream) {}

  GrpcClient& client_;
  ClientStream& stream_;
};

class GrpcClient final {
 public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;

  explicit GrpcClient(io::Runtime& runtime, Http2ClientOptions options = {});
  ~GrpcClient();  // Close() has completed, or Connect never succeeded
  GrpcClient(const GrpcClient&) = delete;
  GrpcClient& operator=(const GrpcClient&) = delete;

  // Once only. Errors: those of io::Runtime::Connect.
  io::Task<Status> Connect(io::Address address, MonoTime deadline);
  // `path` as /package.Service/Method; grpc-timeout is sent for deadlines other than Max.
  io::Task<StatusOr<std::string>> Call(std::string path, Metadata metadata, std::string message,
                                       MonoTime deadline);
  StatusOr<std::unique_ptr<GrpcClientStream>> OpenStream(std::string_view path,
                                                         const Metadata& metadata);
  // Ends the connection and its tasks; calls under way end with kUnavailable.
  io::Task<void> Close();
  // Nothing is received until it is released, as by a client that does not come to read.
  void Hold() { held_ = true; }
  void Release();

  // Of the call that ended last; valid until the next one ends.
  const HeaderList& last_trailers() const { return last_trailers_; }

  bool connected() const { return connected_; }
  Http2Client& http2() { return http2_; }

 private:
  friend class GrpcClientStream;

  io::Task<void> ReadLoop();
  io::Task<void> WriteLoop();
  void Lost();
  static HeaderList Headers(std::string_view path, const Metadata& metadata,
                            std::optional<Duration> timeout);

  io::Runtime& runtime_;
  Http2Client http2_;
  std::unique_ptr<io::Socket> socket_;
  HeaderList last_trailers_;
  bool connected_ = false;
  bool held_ = false;
  io::Signal released_;
  io::Signal wake_;     // of the writer
  io::Signal changed_;  // a stream, or the connection
  io::Gate gate_;
};

}  // namespace metastore::net_test
