// How often the store did what, counted as etcd counts: each operation of a transaction by itself,
// and the transaction when it carried out more than one.
#pragma once

#include <cstdint>

#include "engine/types.h"

namespace metastore::server {

struct OpCounts {
  uint64_t puts = 0;
  uint64_t deletes = 0;
  uint64_t ranges = 0;
  uint64_t txns = 0;

  // What an applied entry did.
  void Count(const engine::OpResult& op);
};

}  // namespace metastore::server
