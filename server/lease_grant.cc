#include "server/lease_grant.h"

#include <algorithm>
#include <utility>

#include "server/propose.h"

namespace metastore::server {
namespace {

// What it counts against the quota, as etcd's.
constexpr uint64_t kGrantCostBytes = 64;

int64_t TtlSecondsMin(const RaftConfig& raft) {
  const int64_t ticks = 3 * int64_t{raft.election_ticks()} / 2;
  return ((raft.heartbeat_interval * ticks).ns + 999'999'999) / 1'000'000'000;
}

LeaseId ChooseId(io::Runtime& runtime) {
  int64_t id = 0;
  while (id == 0) id = static_cast<int64_t>(runtime.Random() >> 1);
  return LeaseId(id);
}

io::Task<WriteResult> ProposeGrant(Edge& edge, const net::GrpcRequest& request,
                                   engine::LeaseGrantOp op) {
  const Principal principal = PrincipalOf(request);
  const engine::Command command{.header = NewHeader(edge, principal), .op = op};
  Write write{.id = command.header.request,
              .command = raft::Payload(engine::EncodeCommand(command)),
              .quota_cost_bytes = kGrantCostBytes};
  return Propose(edge, request, std::move(write));
}

}  // namespace

io::Task<StatusOr<GrantedLease>> GrantLease(Edge& edge, const net::GrpcRequest& request,
                                            LeaseId lease, int64_t ttl_seconds) {
  engine::LeaseGrantOp op{.lease = lease};
  op.ttl_seconds = std::max(ttl_seconds, TtlSecondsMin(edge.config().raft));
  const bool chosen_here = lease == LeaseId();
  WriteResult result = ToStatus(errors::kLeaseExists);
  do {
    if (chosen_here) op.lease = ChooseId(edge.runtime());
    result = co_await ProposeGrant(edge, request, op);
  } while (chosen_here && result.status() == ToStatus(errors::kLeaseExists));
  if (!result.ok()) co_return result.status();
  co_return GrantedLease{.lease = op.lease,
                         .ttl_seconds = op.ttl_seconds,
                         .revision = result->applied.revision,
                         .term = result->term};
}

}  // namespace metastore::server
