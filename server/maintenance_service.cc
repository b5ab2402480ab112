// etcdserverpb.Maintenance: Status, MoveLeader. grpc.health.v1.Health: Check.

#include "health.pb.h"
#include "rpc.pb.h"
#include "server/authorise.h"
#include "server/method_table.h"

namespace metastore::server {
namespace {

io::Task<net::GrpcReply> GetStatus(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::StatusRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kStatus, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  GroupStatus status;
  LookCall look(edge.runtime(), edge.state(), [&] { status = edge.group().status(); });
  const bool arrived = co_await look;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);

  etcdserverpb::StatusResponse response;
  edge.FillHeader(status.engine.revision, status.term, *response.mutable_header());
  response.set_version(std::string(kEtcdVersion));
  response.set_storageversion(std::string(kEtcdClusterVersion));
  response.set_dbsize(static_cast<int64_t>(status.engine.stored_bytes));
  response.set_dbsizeinuse(static_cast<int64_t>(status.engine.live_bytes));
  response.set_dbsizequota(static_cast<int64_t>(status.quota_bytes));
  response.set_leader(status.leader.value());
  response.set_raftindex(status.committed.value());
  response.set_raftterm(status.term.value());
  response.set_raftappliedindex(status.applied.value());
  response.set_islearner(status.is_learner);
  if (status.leader == raft::kNobody) response.add_errors("etcdserver: no leader");
  for (std::string& alarm : CorruptAlarms(edge.identity().member, status.digest)) {
    response.add_errors(std::move(alarm));
  }
  co_return ReplyWith(response);
}

io::Task<net::GrpcReply> MoveLeader(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::MoveLeaderRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kAdminister, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  TransferCall call(edge.runtime(), edge.state().core(), edge.group());
  call.target = NodeId(message.targetid());
  call.deadline = edge.TermsOf(request).deadline;
  const bool arrived = co_await call;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  if (!call.result.ok()) co_return net::GrpcReply{.status = call.result};
  co_return ReplyWith(etcdserverpb::MoveLeaderResponse());  // it has no header, as in etcd
}

io::Task<net::GrpcReply> Check(Edge& edge, net::GrpcRequest& request) {
  grpc::health::v1::HealthCheckRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  // Only the server as a whole is registered, as in etcd.
  if (!message.service().empty())
    co_return net::GrpcReply{.status = NotFoundError("unknown service")};
  bool serving = false;
  LookCall look(edge.runtime(), edge.state(), [&] { serving = edge.group().serving(); });
  const bool arrived = co_await look;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  grpc::health::v1::HealthCheckResponse response;
  response.set_status(serving ? grpc::health::v1::HealthCheckResponse_ServingStatus_SERVING
                              : grpc::health::v1::HealthCheckResponse_ServingStatus_NOT_SERVING);
  co_return ReplyWith(response);
}

constexpr UnaryMethod kMethods[] = {
    {"/etcdserverpb.Maintenance/Status", GetStatus},
    {"/etcdserverpb.Maintenance/MoveLeader", MoveLeader},
};
constexpr UnaryMethod kHealthMethods[] = {
    {"/grpc.health.v1.Health/Check", Check},
};

}  // namespace

std::span<const UnaryMethod> MaintenanceMethods() { return kMethods; }
std::span<const UnaryMethod> HealthMethods() { return kHealthMethods; }

}  // namespace metastore::server
