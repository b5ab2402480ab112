// How a RaftCore reads the durable part of its log. The core keeps what is not yet durable itself
// and overlays it.
//
// Owner: the node pump, which outlives the core; same core. TailLog (tail_log.h) is the
// implementation in memory.
//
// Invariants the implementation keeps:
// 1. It changes only between calls into RaftCore: by a durable AppendTask (before the task's
//    after_durable messages are stepped) and by compaction of what is applied.
// 2. FirstIndex() - 1 is the last index of the snapshot the log begins after (0 without one); its
//    term stays known.
// 3. FirstIndex() <= LastIndex() + 1.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "io/base/status.h"
#include "raft/types.h"

namespace metastore::raft {

class LogView {
 public:
  virtual ~LogView() = default;

  // First entry that was not compacted away.
  virtual LogIndex FirstIndex() const = 0;
  // Last durable entry; FirstIndex() - 1 when there is none.
  virtual LogIndex LastIndex() const = 0;
  // Known without I/O for FirstIndex() - 1 up to LastIndex(); nothing outside.
  virtual std::optional<Term> TermAt(LogIndex index) const = 0;
  // Appends to `out` the entries of [begin, end), as many as fit in `bytes_max` by EntryBytes but
  // at least one.
  //   begin, end   FirstIndex() <= begin < end <= LastIndex() + 1
  // Errors: kOutOfRange   `begin` was compacted away
  //         kUnavailable  not in memory: the view has begun to fetch them, and its owner calls
  //                       RaftCore::EntriesFetched() when they are. The core asks again then, not
  //                       before.
  virtual Status Entries(LogIndex begin, LogIndex end, size_t bytes_max,
                         std::vector<Entry>& out) = 0;
  // The newest snapshot that could be sent to `peer` now. Its membership must include `peer`, who
  // would refuse it else. Nothing: none such is ready, the view's owner has one made, and the core
  // asks again later.
  virtual std::optional<SnapshotMeta> Snapshot(NodeId peer) = 0;
};

}  // namespace metastore::raft
