// The gRPC methods a core serves: each service file contributes its own, MethodTable finds them.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "io/base/status.h"
#include "io/metrics.h"
#include "net/grpc.h"
#include "server/edge.h"

namespace metastore::server {

struct UnaryMethod {
  std::string_view path;  // /package.Service/Method; a literal
  io::Task<net::GrpcReply> (*serve)(Edge& edge, net::GrpcRequest& request);
};

struct StreamMethod {
  std::string_view path;  // as UnaryMethod's
  // What it returns ends the call.
  io::Task<Status> (*serve)(Edge& edge, net::GrpcStream& stream);
  std::string_view type = "bidi_stream";  // the grpc_type of its metrics
};

// net/'s handler over the methods of all services, and their counters. One a core.
class MethodTable final : public net::GrpcHandler {
 public:
  explicit MethodTable(Edge& edge);

  net::MethodMatch Find(std::string_view path) const override;
  io::Task<net::GrpcReply> Unary(net::MethodId method, net::GrpcRequest& request) override;
  io::Task<Status> Stream(net::MethodId method, net::GrpcStream& stream) override;
  void Handled(net::MethodId method, const net::GrpcRequest& request,
               net::GrpcReply& reply) override;

  // grpc_server_*, by method and code.
  void AddMetrics(io::MetricList& list) const;

  static constexpr size_t kCodes = 17;  // of gRPC, OK included

 private:
  struct Method {
    std::string_view path;
    std::string_view type;
    decltype(UnaryMethod::serve) unary = nullptr;    // this
    decltype(StreamMethod::serve) stream = nullptr;  // or this is set
    uint64_t started = 0;
    uint64_t received = 0;  // messages, as the next
    uint64_t sent = 0;
    std::array<uint64_t, kCodes> handled{};  // by code
  };
  class CountedStream;
  void Add(std::span<const UnaryMethod> methods);
  void Add(std::span<const StreamMethod> methods);
  void Add(Method method);

  Edge& edge_;
  std::vector<Method> methods_;  // by MethodId
  absl::flat_hash_map<std::string_view, net::MethodId> by_path_;
  std::vector<std::string_view> services_;  // "/package.Service/" of each
};

// Each in its service's file.
std::span<const UnaryMethod> KvMethods();
std::span<const StreamMethod> WatchStreams();
std::span<const UnaryMethod> LeaseMethods();
std::span<const StreamMethod> LeaseStreams();
std::span<const UnaryMethod> LockMethods();
std::span<const UnaryMethod> ElectionMethods();
std::span<const StreamMethod> ElectionStreams();
std::span<const UnaryMethod> ClusterMethods();
std::span<const UnaryMethod> MaintenanceMethods();
std::span<const UnaryMethod> HealthMethods();

}  // namespace metastore::server
