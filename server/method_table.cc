#include "server/method_table.h"

#include <algorithm>

namespace metastore::server {

MethodTable::MethodTable(Edge& edge) : edge_(edge) {
  Add(KvMethods());
  Add(ClusterMethods());
  Add(MaintenanceMethods());
  Add(HealthMethods());
}

void MethodTable::Add(std::span<const UnaryMethod> methods) {
  for (const UnaryMethod& method : methods) {
    by_path_.emplace(method.path, net::MethodId(static_cast<uint32_t>(methods_.size())));
    methods_.push_back(method);
    const std::string_view service = method.path.substr(0, method.path.rfind('/') + 1);
    if (std::ranges::find(services_, service) == services_.end()) services_.push_back(service);
  }
}

net::MethodMatch MethodTable::Find(std::string_view path) const {
  const auto found = by_path_.find(path);
  if (found != by_path_.end()) return {.kind = net::MethodKind::kUnary, .id = found->second};
  const bool known = std::ranges::any_of(
      services_, [path](std::string_view service) { return path.starts_with(service); });
  return {.kind = known ? net::MethodKind::kUnknownMethod : net::MethodKind::kUnknownService};
}

io::Task<net::GrpcReply> MethodTable::Unary(net::MethodId method, net::GrpcRequest& request) {
  return methods_[method.value()].serve(edge_, request);
}

// Find names no streaming method.
io::Task<Status> MethodTable::Stream(net::MethodId /*method*/, net::GrpcStream& /*stream*/) {
  CHECK_UNREACHABLE();
}

}  // namespace metastore::server
