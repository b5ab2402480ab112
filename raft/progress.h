// What a leader knows of one follower's log, and how fast it may send to it (thesis 10.2.1).
//
// Probe: the match point is sought, one append at a time. Replicate: known, appends are pipelined
// through the window. Snapshot: the follower needs entries that were compacted away; nothing is
// sent until it answers.
//
// Invariants: 1. match < next. 2. In kProbe next - 1 is the entry being probed. 3. match never
// falls within a term.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "raft/inflights.h"
#include "raft/types.h"

namespace metastore::raft {

enum class ProgressState : uint8_t { kProbe, kReplicate, kSnapshot };

class Progress final {
 public:
  // Nothing is known but where to begin.
  Progress(LogIndex next, Inflights window, bool learner);

  LogIndex match() const { return match_; }
  LogIndex next() const { return next_; }
  ProgressState state() const { return state_; }
  LogIndex pending_snapshot() const { return pending_snapshot_; }
  const Inflights& inflights() const { return inflights_; }
  bool paused() const { return state_ == ProgressState::kSnapshot || append_paused_; }
  bool learner() const { return learner_; }
  bool recent_active() const { return recent_active_; }

  void set_learner(bool learner) { learner_ = learner; }
  void set_recent_active(bool active) { recent_active_ = active; }
  void PauseAppends() { append_paused_ = true; }
  void ResumeAppends() { append_paused_ = false; }

  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(LogIndex snapshot);
  // The snapshot under way failed: probe from the match point again.
  void AbortSnapshot();

  // An append of `count` entries (maybe none) after next - 1 was sent.
  void SentEntries(size_t count, size_t bytes);
  // A message with this commit index was sent.
  void SentCommit(LogIndex commit) { sent_commit_ = commit; }
  // Whether telling the follower of `commit` could move its commit index: more than it was told,
  // and it has entries.
  bool WouldLearnCommit(LogIndex commit) const {
    return commit > sent_commit_ && sent_commit_ + 1 < next_;
  }

  // The follower acknowledged everything up to `index`. True when that is news.
  bool MaybeUpdate(LogIndex index);
  // The follower refused an append after `rejected`; its log may agree up to `hint`. True unless
  // the answer is stale.
  bool MaybeDecrease(LogIndex rejected, LogIndex hint);
  void FreeInflights(LogIndex acked) { inflights_.FreeUpTo(acked); }

 private:
  void Enter(ProgressState state);

  LogIndex match_;
  LogIndex next_;
  LogIndex sent_commit_;       // last commit index sent, unless its message is known to be lost
  LogIndex pending_snapshot_;  // kSnapshot: the one being sent
  ProgressState state_ = ProgressState::kProbe;
  bool append_paused_ = false;  // cleared by an answer or a heartbeat answer
  bool recent_active_ = false;  // heard since the last quorum check
  bool learner_ = false;
  Inflights inflights_;
};

// Members by ascending id.
class ProgressMap {
 public:
  using Item = std::pair<NodeId, Progress>;

  Progress* Find(NodeId id);
  const Progress* Find(NodeId id) const;
  // `id` must be new.
  Progress& Insert(NodeId id, Progress progress);
  void Erase(NodeId id);
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }

 private:
  std::vector<Item> items_;
};

std::string_view Name(ProgressState state);
// "StateReplicate match=11 next=12 learner paused pendingSnap=9 inactive inflight=3[full]", without
// what is not so.
std::string Describe(const Progress& progress);
// "1: ..." a member a line.
std::string Describe(const ProgressMap& progress);

}  // namespace metastore::raft
