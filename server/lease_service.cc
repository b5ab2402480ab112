// etcdserverpb.Lease: LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseLeases.
//
// Grant and revoke are writes as any. Keepalives and TimeToLive are questions to the leader, which
// the state core answers or has answered (server/group_leases.h). A stream's keepalives that have
// come by the time it is looked at go there together.

#include <algorithm>
#include <utility>

#include "rpc.pb.h"
#include "server/authorise.h"
#include "server/lease_call.h"
#include "server/lease_grant.h"
#include "server/method_table.h"
#include "server/propose.h"

namespace metastore::server {
namespace {

// Keepalives of one stream that are answered together.
constexpr size_t kKeepAlivesAtOnce = 1024;
constexpr size_t kKeysAtOnce = 1000;
// Longer lists are sorted by a pool thread.
constexpr size_t kSortedHere = 10'000;

io::Task<net::GrpcReply> LeaseGrant(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::LeaseGrantRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  if (message.ttl() > engine::kLeaseTtlSecondsMax) co_return ReplyError(errors::kLeaseTtlTooLarge);
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kStatus, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};

  StatusOr<GrantedLease> granted =
      co_await GrantLease(edge, request, LeaseId(message.id()), message.ttl());
  if (!granted.ok()) co_return net::GrpcReply{.status = granted.status()};
  etcdserverpb::LeaseGrantResponse response;
  edge.FillHeader(granted->revision, granted->term, *response.mutable_header());
  response.set_id(granted->lease.value());
  response.set_ttl(granted->ttl_seconds);
  co_return ReplyWith(response);
}

io::Task<net::GrpcReply> LeaseRevoke(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::LeaseRevokeRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  const Principal principal = PrincipalOf(request);
  Status permitted = Authorise(principal, Access{Permission::kStatus, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  const engine::Command command{.header = NewHeader(edge, principal),
                                .op = engine::LeaseRevokeOp{.lease = LeaseId(message.id())}};
  Write write{.id = command.header.request,
              .command = raft::Payload(engine::EncodeCommand(command))};
  WriteResult result = co_await Propose(edge, request, std::move(write));
  if (!result.ok()) co_return net::GrpcReply{.status = result.status()};
  etcdserverpb::LeaseRevokeResponse response;
  edge.FillHeader(result->applied.revision, result->term, *response.mutable_header());
  co_return ReplyWith(response);
}

// --- keepalives

Status AddQuestion(std::string_view bytes, std::vector<LeaseQuestion>& questions) {
  etcdserverpb::LeaseKeepAliveRequest message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InternalError("grpc: error unmarshalling request: malformed ", message.GetTypeName());
  }
  questions.push_back({.lease = LeaseId(message.id()), .renew = true});
  return OkStatus();
}

// Those that have come, one at least. False: the client sends no more.
io::Task<StatusOr<bool>> ReadKeepAlives(net::GrpcStream& stream,
                                        std::vector<LeaseQuestion>& questions) {
  do {
    StatusOr<std::optional<std::string>> message = co_await stream.Read();
    MS_CO_RETURN_IF_ERROR(message.status());
    if (!message->has_value()) co_return false;
    Status added = AddQuestion(**message, questions);
    MS_CO_RETURN_IF_ERROR(added);
  } while (stream.readable() && questions.size() < kKeepAlivesAtOnce);
  co_return true;
}

io::Task<Status> WriteKeepAlives(Edge& edge, net::GrpcStream& stream, const LeaseCall& call) {
  etcdserverpb::LeaseKeepAliveResponse response;
  edge.FillHeader(call.revision, call.term, *response.mutable_header());
  for (size_t i = 0; i < call.questions.size(); ++i) {
    response.set_id(call.questions[i].lease.value());
    response.set_ttl(call.answers[i].found ? call.answers[i].granted_seconds : 0);
    Status written = co_await stream.Write(response.SerializeAsString());
    MS_CO_RETURN_IF_ERROR(written);
  }
  co_return OkStatus();
}

io::Task<Status> LeaseKeepAlive(Edge& edge, net::GrpcStream& stream) {
  Status permitted = Authorise(PrincipalOf(stream.request()), Access{Permission::kStatus, {}, {}});
  MS_CO_RETURN_IF_ERROR(permitted);
  bool more = true;
  while (more) {
    LeaseCall call(edge.runtime(), edge.state().core(), edge.group().leases());
    StatusOr<bool> read = co_await ReadKeepAlives(stream, call.questions);
    MS_CO_RETURN_IF_ERROR(read.status());
    more = *read;
    if (call.questions.empty()) break;
    call.terms = edge.TermsOf(stream.request());
    const bool arrived = co_await call;
    if (!arrived) call.Fail(errors::kTooManyRequests);
    MS_CO_RETURN_IF_ERROR(call.result);
    Status written = co_await WriteKeepAlives(edge, stream, call);
    MS_CO_RETURN_IF_ERROR(written);
  }
  co_return OkStatus();
}

// --- looking

using Keys = std::vector<io::SharedBytes>;

// On the state core.
io::Task<void> CollectKeys(Group& group, LeaseId lease, Keys& keys) {
  std::string after;
  bool more = true;
  while (more) {
    engine::LeaseKeys page = co_await group.engine().KeysOfLease(lease, after, kKeysAtOnce);
    more = page.keys.size() == kKeysAtOnce;
    if (more) after = std::string(page.keys.back().view());
    std::ranges::move(page.keys, std::back_inserter(keys));
  }
}

// Those that it has when this member has applied what was committed before the call.
io::Task<StatusOr<Keys>> KeysOf(Edge& edge, const net::GrpcRequest& request, LeaseId lease) {
  ReadCall barrier(edge.runtime(), edge.state().core(), edge.group());
  barrier.terms = edge.TermsOf(request);
  barrier.query.range = engine::RangeOp{.key = std::string_view("\0", 1), .count_only = true};
  bool arrived = co_await barrier;
  if (!arrived) co_return ToStatus(errors::kTooManyRequests);
  MS_CO_RETURN_IF_ERROR(barrier.result.status());
  Keys keys;
  io::CrossTask collect(edge.runtime(), edge.state(),
                        [&] { return CollectKeys(edge.group(), lease, keys); });
  arrived = co_await collect;
  if (!arrived) co_return ToStatus(errors::kTooManyRequests);
  co_return keys;
}

io::Task<net::GrpcReply> LeaseTimeToLive(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::LeaseTimeToLiveRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kStatus, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  const LeaseId lease(message.id());
  LeaseCall call(edge.runtime(), edge.state().core(), edge.group().leases());
  call.terms = edge.TermsOf(request);
  call.questions.push_back({.lease = lease, .renew = false});
  const bool arrived = co_await call;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  if (!call.result.ok()) co_return net::GrpcReply{.status = call.result};

  const LeaseAnswer& answer = call.answers.front();
  etcdserverpb::LeaseTimeToLiveResponse response;
  edge.FillHeader(call.revision, call.term, *response.mutable_header());
  response.set_id(message.id());
  response.set_ttl(answer.found ? answer.remaining_seconds : -1);
  response.set_grantedttl(answer.granted_seconds);
  if (answer.found && message.keys()) {
    StatusOr<Keys> keys = co_await KeysOf(edge, request, lease);
    if (!keys.ok()) co_return net::GrpcReply{.status = keys.status()};
    for (const io::SharedBytes& key : *keys) response.add_keys(key.view().data(), key.size());
  }
  co_return ReplyWith(response);
}

// On the state core.
io::Task<void> CollectLeases(Group& group, std::vector<LeaseEnd>& leases, engine::Stats& stats,
                             Term& term) {
  leases = co_await group.leases().List();
  stats = group.engine().stats();
  term = group.term();
}

bool EndsBefore(const LeaseEnd& a, const LeaseEnd& b) {
  return a.end != b.end ? a.end < b.end : a.lease < b.lease;
}

io::Task<net::GrpcReply> LeaseLeases(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::LeaseLeasesRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kStatus, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  std::vector<LeaseEnd> leases;
  engine::Stats stats;
  Term term;
  io::CrossTask collect(edge.runtime(), edge.state(),
                        [&] { return CollectLeases(edge.group(), leases, stats, term); });
  const bool arrived = co_await collect;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  const auto sort = [&leases] { std::ranges::sort(leases, EndsBefore); };
  if (leases.size() <= kSortedHere) {
    sort();
  } else {
    co_await edge.runtime().Offload("lease.sort", sort);
  }
  etcdserverpb::LeaseLeasesResponse response;
  edge.FillHeader(stats.revision, term, *response.mutable_header());
  for (const LeaseEnd& lease : leases) response.add_leases()->set_id(lease.lease.value());
  co_return ReplyWith(response);
}

constexpr UnaryMethod kMethods[] = {
    {"/etcdserverpb.Lease/LeaseGrant", LeaseGrant},
    {"/etcdserverpb.Lease/LeaseRevoke", LeaseRevoke},
    {"/etcdserverpb.Lease/LeaseTimeToLive", LeaseTimeToLive},
    {"/etcdserverpb.Lease/LeaseLeases", LeaseLeases},
};
constexpr StreamMethod kStreams[] = {{"/etcdserverpb.Lease/LeaseKeepAlive", LeaseKeepAlive}};

}  // namespace

std::span<const UnaryMethod> LeaseMethods() { return kMethods; }
std::span<const StreamMethod> LeaseStreams() { return kStreams; }

}  // namespace metastore::server
