// The reads that only an answer needs: previous pairs, and ranges inside a transaction.
//
// Apply computes state changes alone; the member whose client waits reads the rest afterwards, at
// the positions apply has noted. Both sides walk operation and result in this one order: the state
// core to collect the queries, the edge to take the results.
#pragma once

#include <vector>

#include "engine/command.h"
#include "engine/engine.h"
#include "engine/types.h"

namespace metastore::server {

// Whether answering `op` may need any read, whatever it does.
bool NeedsAnswerReads(const engine::CommandOp& op);

// The reads of an applied `op`, in order: depth first, operations of a branch in their order.
std::vector<engine::RangeQuery> AnswerReadsOf(const engine::CommandOp& op,
                                              const engine::OpResult& result,
                                              const engine::ReadPin& pin);

// The query for what a put with prev_kv replaced, and whether there is any.
inline bool ReadsPrevious(const engine::PutOp& put, const engine::OpResult& result) {
  return put.prev_kv && result.existed;
}
inline bool ReadsPrevious(const engine::DeleteRangeOp& op, const engine::OpResult& result) {
  return op.prev_kv && result.deleted > 0;
}

}  // namespace metastore::server
