// Granting a lease, for the Lease service and those that need a lease of their own.
#pragma once

#include "server/edge.h"

namespace metastore::server {

struct GrantedLease {
  LeaseId lease;
  int64_t ttl_seconds = 0;
  Revision revision;  // of the answer's header, with its term
  Term term;
};

// Grants `lease` (0: a positive id is chosen) as the client of `request`, which outlives the task.
//   ttl_seconds  at most engine::kLeaseTtlSecondsMax; raised to etcd's minimum, one and a half
//                election timeouts
// Errors: those of Propose
io::Task<StatusOr<GrantedLease>> GrantLease(Edge& edge, const net::GrpcRequest& request,
                                            LeaseId lease, int64_t ttl_seconds);

}  // namespace metastore::server
