// The log of one replica as raft sees it: the durable part behind LogView with the unstable part
// laid over it, and the marks committed, applying and applied.
//
// Owner: RaftCore. Indexes ascend without a gap from FirstIndex() to LastIndex().
//
// Invariants (CHECKed):
// 1. applied <= applying <= committed <= LastIndex().
// 2. Nothing at or below committed is truncated (trap 35).
// 3. committed never falls.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/base/status.h"
#include "raft/log_view.h"
#include "raft/ring.h"
#include "raft/types.h"
#include "raft/unstable_log.h"

namespace metastore::raft {

class RaftLog {
 public:
  struct Options {
    size_t apply_bytes_max = SIZE_MAX;
    bool apply_before_durable = false;
  };
  RaftLog(LogView& view, Options options);
  // Marks found at a restart.
  void Begin(LogIndex committed, LogIndex applied);

  LogIndex FirstIndex() const;
  LogIndex LastIndex() const;
  // Of FirstIndex() - 1 up to LastIndex(); nothing outside.
  std::optional<Term> TermAt(LogIndex index) const;
  EntryId LastId() const;
  LogIndex committed() const { return committed_; }
  LogIndex applied() const { return applied_; }
  LogIndex applying() const { return applying_; }
  UnstableLog& unstable() { return unstable_; }
  const UnstableLog& unstable() const { return unstable_; }

  // Whether a log that ends at `last` has at least all that this one has (thesis 3.6.1).
  bool IsUpToDate(EntryId last) const { return last >= LastId(); }
  bool Matches(EntryId id) const { return TermAt(id.index) == id.term; }
  // First of `entries` that is missing here or differs; nothing when all are here.
  std::optional<LogIndex> FindConflict(std::span<const Entry> entries) const;
  // The largest index up to `index` whose term is at most `term`: where a log of that term can
  // still agree (trap 46). The term is 0 where it is not known any more.
  EntryId FindConflictByTerm(LogIndex index, Term term) const;

  // Adds entries that follow on or overwrite an uncommitted suffix. Moves them away. Returns the
  // last index.
  LogIndex Append(std::span<Entry> entries);
  // Raises committed; `to` <= LastIndex().
  void CommitTo(LogIndex to);
  // Replaces the whole log by a snapshot newer than it.
  void Restore(std::shared_ptr<const SnapshotMeta> snapshot);

  // Entries of [begin, end), at least one and no more than bytes_max. Errors as LogView::Entries.
  Status Slice(LogIndex begin, LogIndex end, size_t bytes_max, std::vector<Entry>& out) const;
  std::optional<SnapshotMeta> Snapshot(NodeId peer) const;

  // Committed entries that may be handed to apply now; empty also where they must be fetched first.
  // `entries` is empty and becomes the result.
  bool HasNextCommitted() const;
  std::vector<Entry> TakeNextCommitted(std::vector<Entry> entries = {});
  // The oldest task handed out ends at `last`.
  void ApplyDone(LogIndex last);
  // The state machine is at `index` by a snapshot.
  void AppliedBySnapshot(LogIndex index);
  // Payload bytes of the task ApplyDone just ended.
  size_t applied_payload_bytes() const { return applied_payload_bytes_; }
  void EntriesFetched() { fetching_ = false; }

 private:
  struct Applying {
    LogIndex last;
    size_t bytes = 0;
    size_t payload_bytes = 0;
  };
  LogIndex MaxAppliable() const;

  LogView& view_;
  Options options_;
  UnstableLog unstable_;
  LogIndex committed_;
  LogIndex applying_;
  LogIndex applied_;
  Ring<Applying> tasks_;
  size_t applying_bytes_ = 0;
  size_t applied_payload_bytes_ = 0;
  bool apply_paused_ = false;  // the window is full, or the last page was cut
  bool fetching_ = false;      // LogView is getting what apply needs
};

}  // namespace metastore::raft
