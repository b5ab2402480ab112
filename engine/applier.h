// ApplyCommand: carries one decoded command out on a Store. Pure: what it does depends on the store
// and the command only.
//
// First everything is decided that could refuse the command, then it is executed, which cannot
// fail: a command is applied wholly or not at all.
#pragma once

#include <cstdint>

#include "engine/store.h"
#include "engine/types.h"

namespace metastore::engine {

// The result lacks `index` and `request`.
//   keys_max  keys the command may touch, 1..INT32_MAX
ApplyResult ApplyCommand(Store& store, const Command& command, uint64_t keys_max);

}  // namespace metastore::engine
