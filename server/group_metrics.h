// What a Group measures, beside what it can tell at any time (GroupStatus). Owned by it, on its
// core.
#pragma once

#include "io/metrics.h"
#include "server/op_counts.h"

namespace metastore::server {

inline constexpr Duration kSnapshotBounds[] = {
    Milliseconds(10),   Milliseconds(20),   Milliseconds(40),    Milliseconds(80),
    Milliseconds(160),  Milliseconds(320),  Milliseconds(640),   Milliseconds(1280),
    Milliseconds(2560), Milliseconds(5120), Milliseconds(10240), Milliseconds(20480),
    Milliseconds(40960)};

// Batches given to raft, and the proposals in them.
struct BatchCounts {
  uint64_t proposals = 0;
  uint64_t batches = 0;

  void Count(size_t taken) {
    proposals += taken;
    ++batches;
  }
  double average() const {
    return batches == 0 ? 0 : static_cast<double>(proposals) / static_cast<double>(batches);
  }
};

struct GroupMetrics {
  OpCounts ops;  // since start, what the log held and had to be applied again included
  BatchCounts batches;
  uint64_t peer_messages_ignored = 0;  // of strangers, and malformed ones
  uint64_t slow_disk_hand_overs = 0;   // leadership offered because of a slow flush
  uint64_t slow_disk_step_downs = 0;   // and given up because of one
  io::Histogram snapshot_save{kSnapshotBounds};
};

}  // namespace metastore::server
