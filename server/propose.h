// One replicated write of a client's, from its edge core: on the way to the state core and back.
#pragma once

#include <optional>

#include "server/authorise.h"
#include "server/edge.h"
#include "server/state_calls.h"

namespace metastore::server {

struct Write {
  engine::RequestId id;  // that of the command's header
  raft::Payload command;
  uint64_t quota_cost_bytes = 0;          // ProposeCall's
  const engine::CommandOp* op = nullptr;  // set where the answer needs reads; outlives the write
  std::optional<CallTerms> terms;         // nothing: those of the request
};

// Of a new command.
inline engine::CommandHeader NewHeader(Edge& edge, const Principal& principal) {
  return {.request = edge.NextRequestId(), .user = principal.user};
}

// Proposes `write` for `request`, which outlives the task, and waits until it is applied.
// Errors: they come with etcd's texts. What the write would have done did not happen, except for
// kTimeout, which leaves that open.
io::Task<WriteResult> Propose(Edge& edge, const net::GrpcRequest& request, Write write);

}  // namespace metastore::server
