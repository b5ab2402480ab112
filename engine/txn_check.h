// The checks of a transaction that need no state: done at the edge before proposing (an early
// refusal) and again, the duplicate check, when the entry is applied.
#pragma once

#include <cstdint>

#include "engine/command.h"
#include "engine/types.h"

namespace metastore::engine {

// etcd's checks of a transaction request, in its order.
//   ops_max  of compares, success and failure each; a nested transaction gets what its parent left
//   over
// kOk, kTooManyOps, kKeyEmpty, kValueProvided, kLeaseProvided or kDuplicateKey.
Outcome CheckTxn(const TxnOp& txn, uint64_t ops_max);

// kOk, kKeyEmpty, kValueProvided or kLeaseProvided.
Outcome CheckPut(const PutOp& put);

// kDuplicateKey if a key is put twice, or put and deleted, where etcd refuses that: on one level of
// a branch or between a level and a nested transaction. A range_end of 0x00 is not expanded, as
// etcd does not.
Outcome CheckDuplicateKeys(const TxnOp& txn);

}  // namespace metastore::engine
