// ApplyCommand: carries one decoded command out on a Store. Pure: what it does depends on the
// store, the command and its index only.
//
// First everything is decided that could refuse the command, then it is executed, which cannot
// fail: a command is applied wholly or not at all.
#pragma once

#include <cstdint>

#include "engine/store.h"
#include "engine/types.h"

namespace metastore::engine {

// The result lacks `index` and `request`.
//   index     its entry's
//   keys_max  keys the command may touch, 1..INT32_MAX
ApplyResult ApplyCommand(Store& store, const Command& command, LogIndex index, uint64_t keys_max);

// Whether a lease revoke or checkpoint with this header concerns `lease`, which has its id.
inline bool Concerns(const CommandHeader& header, const LeaseInfo& lease) {
  return header.leases_until == LogIndex() || lease.granted_at <= header.leases_until;
}

}  // namespace metastore::engine
