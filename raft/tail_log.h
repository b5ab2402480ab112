// A LogView in memory: the durable log's newest entries, bounded in bytes, with the terms of the
// whole log.
//
// Owner: the node pump, beside the RaftCore; same core. It is given what became durable, and drops
// its oldest entries when it has more than its bound; those are then fetched from the log files by
// the owner and given back by Refill.
//
// Invariants:
// 1. The entries of [tail_begin(), LastIndex()] are in memory.
// 2. The terms of [FirstIndex() - 1, LastIndex()] are known, as runs.
// 3. No entry above the mark set by Retain (what apply has not seen yet) is dropped.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "raft/log_view.h"
#include "raft/ready.h"
#include "raft/ring.h"

namespace metastore::raft {

class TailLog final : public LogView {
 public:
  // Entries a fetch is waiting for.
  struct Wanted {
    LogIndex begin;
    LogIndex end;
    size_t bytes_max = 0;
  };

  // A log that begins after `start` (zero: a new log) and keeps at most `bytes_max` of entries, but
  // at least those above what Retain names.
  TailLog(EntryId start, size_t bytes_max);

  // A durable task: its snapshot, then its entries (moved away), which may overwrite a suffix.
  // CHECKs that they leave no gap.
  void Extend(AppendTask& task);
  void Append(std::span<Entry> entries);
  // Recovery: the log has an entry `id`, whose bytes stay on disk.
  void AppendIdOnly(EntryId id);
  // Replaces the log by the snapshot's position.
  void Install(const SnapshotMeta& snapshot);
  // Entries above `applied` are kept whatever their bytes.
  void Retain(LogIndex applied);
  // Changes the bound.
  void SetBytesMax(size_t bytes_max);
  // Forgets everything up to `index`, which becomes FirstIndex() - 1.
  void Compact(LogIndex index);
  // The newest snapshot that followers can be sent.
  void SetSnapshot(SnapshotMeta snapshot) { snapshot_ = std::move(snapshot); }
  // Whether Snapshot() had none to give since the last call: the owner makes a new one.
  bool TakeSnapshotWanted() { return std::exchange(snapshot_wanted_, false); }

  // What Entries() could not serve since the last call; the owner reads it from disk, calls Refill
  // and then RaftCore::EntriesFetched.
  std::optional<Wanted> TakeWanted() { return std::exchange(wanted_, std::nullopt); }
  // Entries read from disk, kept apart until they were asked for once or the next Refill comes.
  void Refill(std::vector<Entry> entries) { refill_ = std::move(entries); }

  LogIndex tail_begin() const { return tail_begin_; }
  size_t bytes() const { return bytes_; }
  // One of those in memory, of [tail_begin(), LastIndex()] (CHECKed).
  const Entry& InMemory(LogIndex index) const;

  LogIndex FirstIndex() const override { return start_.index + 1; }
  LogIndex LastIndex() const override { return last_; }
  std::optional<Term> TermAt(LogIndex index) const override;
  Status Entries(LogIndex begin, LogIndex end, size_t bytes_max, std::vector<Entry>& out) override;
  std::optional<SnapshotMeta> Snapshot(NodeId peer) override;

 private:
  struct TermRun {
    LogIndex begin;
    Term term;
  };
  void NoteTerm(EntryId id);
  void TruncateFrom(LogIndex index);
  void Shrink();

  EntryId start_;
  LogIndex last_;
  size_t bytes_max_;
  size_t bytes_ = 0;
  LogIndex retained_;
  LogIndex tail_begin_;
  Ring<Entry> tail_;
  std::deque<TermRun> runs_;
  std::optional<SnapshotMeta> snapshot_;
  bool snapshot_wanted_ = false;
  std::optional<Wanted> wanted_;
  std::vector<Entry> refill_;
};

}  // namespace metastore::raft
