// The end of the log that is not durable yet: a snapshot, or entries, or both (first the snapshot,
// then the entries).
//
// Owner: RaftLog. Entries lie in one vector; the ones already handed to the log writer are a prefix
// of it.
//
// Invariants:
// 1. Entry i has index offset() + i.
// 2. offset() <= first entry not handed out <= offset() + size.
// 3. A finished write is only believed where index and term still match (traps 30, 31).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "raft/types.h"

namespace metastore::raft {

class UnstableLog {
 public:
  // Everything before `offset` is durable.
  explicit UnstableLog(LogIndex offset) : offset_(offset), in_progress_(offset) {}

  LogIndex offset() const { return offset_; }
  bool empty() const { return size() == 0; }
  std::span<const Entry> entries() const { return {entries_.data() + begin_, size()}; }
  // Last entry, or the snapshot's; nothing when there is neither.
  std::optional<LogIndex> LastIndex() const;
  // First index after the snapshot; nothing without one.
  std::optional<LogIndex> FirstIndex() const;
  std::optional<Term> TermAt(LogIndex index) const;
  std::span<const Entry> Slice(LogIndex begin, LogIndex end) const;

  // What was not handed out yet.
  std::span<const Entry> NextEntries() const;
  std::shared_ptr<const SnapshotMeta> NextSnapshot() const {
    return snapshot_in_progress_ ? nullptr : snapshot_;
  }
  bool has_snapshot() const { return snapshot_ != nullptr; }
  // All of it was handed to the log writer.
  void AcceptInProgress();

  // Adds entries, which may overwrite a suffix. Moves them away.
  void TruncateAndAppend(std::span<Entry> entries);
  // Replaces everything by a snapshot.
  void Restore(std::shared_ptr<const SnapshotMeta> snapshot);

  // Everything up to `last` is durable. Ignored unless `last` is the entry still there.
  void StableTo(EntryId last);
  void StableSnapshotTo(LogIndex index);

 private:
  size_t size() const { return entries_.size() - begin_; }
  void Drop(size_t count);

  std::shared_ptr<const SnapshotMeta> snapshot_;
  bool snapshot_in_progress_ = false;
  LogIndex offset_;
  LogIndex in_progress_;  // first entry not handed out
  std::vector<Entry> entries_;
  // Entries before it are done with; dropped in bulk, so that a long tail is not moved each time.
  size_t begin_ = 0;
};

}  // namespace metastore::raft
