#include "server/method_table.h"

#include <algorithm>

namespace metastore::server {
namespace {

constexpr std::string_view kCodeNames[MethodTable::kCodes] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

size_t PlaceOf(const Status& status) {
  const auto code = static_cast<size_t>(status.code());
  return code < MethodTable::kCodes ? code : static_cast<size_t>(StatusCode::kUnknown);
}

}  // namespace

MethodTable::MethodTable(Edge& edge) : edge_(edge) {
  Add(KvMethods());
  Add(WatchStreams());
  Add(LeaseMethods());
  Add(LeaseStreams());
  Add(LockMethods());
  Add(ElectionMethods());
  Add(ElectionStreams());
  Add(ClusterMethods());
  Add(MaintenanceMethods());
  Add(HealthMethods());
}

// A handler's stream, and how many messages went through it.
class MethodTable::CountedStream final : public net::GrpcStream {
 public:
  CountedStream(net::GrpcStream& stream, Method& method) : stream_(stream), method_(method) {}

  const net::GrpcRequest& request() const override { return stream_.request(); }
  io::Task<StatusOr<std::optional<std::string>>> Read() override {
    StatusOr<std::optional<std::string>> message = co_await stream_.Read();
    if (message.ok() && message->has_value()) ++method_.received;
    co_return message;
  }
  bool readable() const override { return stream_.readable(); }
  io::Task<Status> Write(std::string message) override {
    Status written = co_await stream_.Write(std::move(message));
    if (written.ok()) ++method_.sent;
    co_return written;
  }
  void Interrupt() override { stream_.Interrupt(); }
  size_t unsent_bytes() const override { return stream_.unsent_bytes(); }

 private:
  net::GrpcStream& stream_;
  Method& method_;
};

void MethodTable::Add(std::span<const UnaryMethod> methods) {
  for (const UnaryMethod& method : methods) {
    Add(Method{.path = method.path, .type = "unary", .unary = method.serve});
  }
}

void MethodTable::Add(std::span<const StreamMethod> methods) {
  for (const StreamMethod& method : methods) {
    Add(Method{.path = method.path, .type = method.type, .stream = method.serve});
  }
}

void MethodTable::Add(Method method) {
  by_path_.emplace(method.path, net::MethodId(static_cast<uint32_t>(methods_.size())));
  methods_.push_back(method);
  const std::string_view service = method.path.substr(0, method.path.rfind('/') + 1);
  if (std::ranges::find(services_, service) == services_.end()) services_.push_back(service);
}

net::MethodMatch MethodTable::Find(std::string_view path) const {
  const auto found = by_path_.find(path);
  if (found != by_path_.end()) {
    const bool unary = methods_[found->second.value()].unary != nullptr;
    return {.kind = unary ? net::MethodKind::kUnary : net::MethodKind::kStream,
            .id = found->second};
  }
  const bool known = std::ranges::any_of(
      services_, [path](std::string_view service) { return path.starts_with(service); });
  return {.kind = known ? net::MethodKind::kUnknownMethod : net::MethodKind::kUnknownService};
}

io::Task<net::GrpcReply> MethodTable::Unary(net::MethodId method, net::GrpcRequest& request) {
  Method& served = methods_[method.value()];
  ++served.started;
  ++served.received;
  return served.unary(edge_, request);
}

void MethodTable::Handled(net::MethodId method, const net::GrpcRequest& request,
                          net::GrpcReply& reply) {
  Method& served = methods_[method.value()];
  ++served.handled[PlaceOf(reply.status)];
  if (reply.status.ok()) ++served.sent;
  if (edge_.stages().keeps_any()) edge_.stages().Finish(request, edge_.runtime().Now(), reply);
}

io::Task<Status> MethodTable::Stream(net::MethodId method, net::GrpcStream& stream) {
  Method& served = methods_[method.value()];
  ++served.started;
  CountedStream counted(stream, served);
  Status ended = co_await served.stream(edge_, counted);
  ++served.handled[PlaceOf(ended)];
  co_return ended;
}

void MethodTable::AddMetrics(io::MetricList& list) const {
  for (const Method& method : methods_) {
    const std::string_view path = method.path.substr(1);
    const size_t slash = path.find('/');
    const io::MetricLabel service{"grpc_service", path.substr(0, slash)};
    const io::MetricLabel name{"grpc_method", path.substr(slash + 1)};
    const io::MetricLabel type{"grpc_type", method.type};
    list.Counter("grpc_server_started_total", "Calls whose handler was started.", method.started,
                 {service, name, type});
    list.Counter("grpc_server_msg_received_total", "Messages received.", method.received,
                 {service, name, type});
    list.Counter("grpc_server_msg_sent_total", "Messages sent.", method.sent,
                 {service, name, type});
    for (size_t code = 0; code < kCodes; ++code) {
      list.Counter("grpc_server_handled_total", "Calls whose handler has ended, by its code.",
                   method.handled[code], {service, name, type, {"grpc_code", kCodeNames[code]}});
    }
  }
}

}  // namespace metastore::server
