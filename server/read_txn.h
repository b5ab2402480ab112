// Transactions that only read: not replicated, as in etcd. Compares and ranges are all evaluated at
// one revision, taken by a linearizable read (or a local one, if every range asks for no more).
#pragma once

#include <vector>

#include "engine/command.h"
#include "engine/types.h"
#include "io/base/status.h"
#include "io/task.h"
#include "server/edge.h"

namespace metastore::server {

// Only ranges in both branches; a nested transaction always goes through the log.
bool IsReadOnly(const engine::TxnOp& txn);

// Whether `compare` holds for `pairs`, all keys of its range. Absent keys count as zero everywhere,
// and no value compares to theirs.
bool Holds(const engine::Compare& compare, std::span<const engine::KeyValue> pairs);

struct ReadTxnAnswer {
  engine::OpResult result;                  // as apply would have made it
  std::vector<engine::RangeResult> ranges;  // of the chosen branch, in order
  Revision revision;
  Term term;
};

// Evaluates `txn` (IsReadOnly), which outlives the task.
// Errors: those of a Range
io::Task<StatusOr<ReadTxnAnswer>> RunReadTxn(Edge& edge, CallTerms terms, const engine::TxnOp& txn,
                                             bool serializable);

}  // namespace metastore::server
