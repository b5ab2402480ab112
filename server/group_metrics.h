// What a Group measures, beside what it can tell at any time (GroupStatus). Owned by it, on its
// core.
#pragma once

#include "io/metrics.h"
#include "server/op_counts.h"
#include "server/stage_times.h"

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
  uint64_t full_disk_hand_overs = 0;   // and because of a full disk
  uint64_t slow_disk_step_downs = 0;   // leadership given up because of a slow flush
  uint64_t pauses = 0;                 // times in which ticks were missed
  uint64_t repairs = 0;                // of a damaged log, ended since the start
  io::Histogram snapshot_save{kSnapshotBounds};
  io::Histogram apply{kStageBounds, io::SpanUnit::kMilliseconds};  // of one batch of entries
  uint64_t slow_applies = 0;             // batches that took longer than 100 ms
  uint64_t heartbeat_send_failures = 0;  // heartbeats that the link to their member did not take
  uint64_t digests = 0;                  // of the applied state, taken to be compared
  uint64_t digests_skipped = 0;          // since another was under way
  uint64_t digest_differences = 0;       // digests of others that were not as this member's
  io::Histogram digest_take{kSnapshotBounds};
};

}  // namespace metastore::server
