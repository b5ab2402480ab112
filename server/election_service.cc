// v3electionpb.Election: Campaign, Proclaim, Leader, Observe, Resign.
//
// An election is a contest (server/contest.h) whose keys have what the contenders proclaim as
// values; who has the name leads.

#include <utility>

#include "election.pb.h"
#include "server/contest.h"
#include "server/election_observer.h"
#include "server/kv_codec.h"
#include "server/lease_grant.h"
#include "server/method_table.h"

namespace metastore::server {
namespace {

constexpr ClientError kNotElected{StatusCode::kUnknown, "election: not leader"};
constexpr ClientError kNobodyElected{StatusCode::kUnknown, "election: no leader"};
constexpr ClientError kLeaderMissing{StatusCode::kUnknown, "\"leader\" field must be provided"};

io::Task<net::GrpcReply> Campaign(Edge& edge, net::GrpcRequest& request) {
  v3electionpb::CampaignRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Contender contender(edge, request,
                      {.name = message.name(),
                       .lease = LeaseId(message.lease()),
                       .value = std::string_view(message.value())});
  Status won = co_await contender.Win(kNotElected);
  if (!won.ok()) co_return net::GrpcReply{.status = ServiceError(edge, request, won)};
  v3electionpb::CampaignResponse response;
  // The header is of the entry, as etcd's.
  const Contender::Look& entered = contender.entered();
  edge.FillHeader(entered.revision, entered.term, *response.mutable_header());
  v3electionpb::LeaderKey& leader = *response.mutable_leader();
  leader.set_name(message.name());
  leader.set_key(contender.key());
  leader.set_rev(contender.created().value());
  leader.set_lease(contender.lease().value());
  co_return ReplyWith(response);
}

// A transaction that does `op` if the key is still the one that `leader` was elected with.
engine::TxnOp IfElected(const v3electionpb::LeaderKey& leader, engine::Op op) {
  engine::TxnOp txn;
  txn.compares.push_back(
      {.target = engine::CompareTarget::kCreate, .key = leader.key(), .number = leader.rev()});
  txn.success.push_back(std::move(op));
  return txn;
}

io::Task<net::GrpcReply> Proclaim(Edge& edge, net::GrpcRequest& request) {
  v3electionpb::ProclaimRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  if (!message.has_leader()) co_return ReplyError(kLeaderMissing);
  const v3electionpb::LeaderKey& leader = message.leader();
  LeaseId lease(leader.lease());
  if (lease == LeaseId()) {
    StatusOr<GrantedLease> granted =
        co_await GrantLease(edge, request, LeaseId(), kContestLeaseSeconds);
    if (!granted.ok()) {
      co_return net::GrpcReply{.status = ServiceError(edge, request, granted.status())};
    }
    lease = granted->lease;
  }
  const engine::PutOp put{.key = leader.key(), .value = message.value(), .lease = lease};
  const engine::TxnOp txn = IfElected(leader, {put});
  WriteResult result = co_await ProposeTxn(edge, request, txn);
  if (!result.ok()) {
    co_return net::GrpcReply{.status = ServiceError(edge, request, result.status())};
  }
  if (!result->applied.op.succeeded) co_return ReplyError(kNotElected);
  v3electionpb::ProclaimResponse response;
  edge.FillHeader(result->applied.revision, result->term, *response.mutable_header());
  co_return ReplyWith(response);
}

io::Task<net::GrpcReply> Leader(Edge& edge, net::GrpcRequest& request) {
  v3electionpb::LeaderRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  const std::string prefix = ContestPrefix(message.name());
  const std::string end = ContestEnd(prefix);
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kRead, prefix, end});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  engine::TxnOp txn;
  txn.success.push_back({FirstContender(prefix, end, Revision())});
  StatusOr<ReadTxnAnswer> answer = co_await RunReadTxn(edge, edge.TermsOf(request), txn, false);
  if (!answer.ok()) {
    co_return net::GrpcReply{.status = ServiceError(edge, request, answer.status())};
  }
  const engine::KeyValues& first = answer->ranges.front().kvs;
  if (first.empty()) co_return ReplyError(kNobodyElected);
  const WireHeader header = edge.HeaderOf(answer->revision, answer->term);
  co_return net::GrpcReply{.message = EncodeLeader(header, first.front())};
}

io::Task<net::GrpcReply> Resign(Edge& edge, net::GrpcRequest& request) {
  v3electionpb::ResignRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  if (!message.has_leader()) co_return ReplyError(kLeaderMissing);
  const v3electionpb::LeaderKey& leader = message.leader();
  const engine::TxnOp txn = IfElected(leader, {engine::DeleteRangeOp{.key = leader.key()}});
  WriteResult result = co_await ProposeTxn(edge, request, txn);
  if (!result.ok()) {
    co_return net::GrpcReply{.status = ServiceError(edge, request, result.status())};
  }
  // Also of one that is not elected, as in etcd.
  v3electionpb::ResignResponse response;
  edge.FillHeader(result->applied.revision, result->term, *response.mutable_header());
  co_return ReplyWith(response);
}

io::Task<Status> Observe(Edge& edge, net::GrpcStream& stream) {
  StatusOr<std::optional<std::string>> bytes = co_await stream.Read();
  MS_CO_RETURN_IF_ERROR(bytes.status());
  v3electionpb::LeaderRequest message;
  if (!bytes->has_value() || !message.ParseFromString(**bytes)) {
    co_return InternalError("grpc: error unmarshalling request: malformed ", message.GetTypeName());
  }
  const std::string prefix = ContestPrefix(message.name());
  const std::string end = ContestEnd(prefix);
  Status permitted =
      Authorise(PrincipalOf(stream.request()), Access{Permission::kRead, prefix, end});
  MS_CO_RETURN_IF_ERROR(permitted);
  ElectionObserver observer(edge, stream, prefix);
  Status ended = co_await observer.Run();
  co_return ServiceError(edge, stream.request(), ended);
}

constexpr UnaryMethod kMethods[] = {
    {"/v3electionpb.Election/Campaign", Campaign},
    {"/v3electionpb.Election/Proclaim", Proclaim},
    {"/v3electionpb.Election/Leader", Leader},
    {"/v3electionpb.Election/Resign", Resign},
};
constexpr StreamMethod kStreams[] = {
    {"/v3electionpb.Election/Observe", Observe, "server_stream"},
};

}  // namespace

std::span<const UnaryMethod> ElectionMethods() { return kMethods; }
std::span<const StreamMethod> ElectionStreams() { return kStreams; }

}  // namespace metastore::server
