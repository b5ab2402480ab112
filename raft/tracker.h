// The configuration in effect, a leader's progress of each member, and the votes of an election.
//
// Owner: RaftCore.
// Invariants:
// 1. Every voter of either half and every learner has a Progress, and nobody else.
// 2. No learner is a voter; learners_next are voters of the outgoing half.
// 3. Without an outgoing half there are no learners_next and no auto_leave.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "raft/progress.h"
#include "raft/quorum.h"
#include "raft/types.h"

namespace metastore::raft {

struct TrackerConfig {
  JointQuorum voters;
  NodeSet learners;
  NodeSet learners_next;
  bool auto_leave = false;

  ConfState State() const;
  bool operator==(const TrackerConfig&) const = default;
};

// "voters=(1 2 3)&&(1) learners=(2) learners_next=(1) autoleave", without what is empty.
std::string Describe(const TrackerConfig& config);

class Tracker final : private AckedIndexer, private VoteLookup {
 public:
  const TrackerConfig& config() const { return config_; }
  ProgressMap& progress() { return progress_; }
  const ProgressMap& progress() const { return progress_; }
  Progress* Find(NodeId id) { return progress_.Find(id); }
  const Progress* Find(NodeId id) const { return progress_.Find(id); }

  void Switch(TrackerConfig config, ProgressMap progress);

  // The index that both halves have acknowledged (thesis 3.6.2 by match index).
  LogIndex Committed() const;
  // Whether a quorum was heard since the last check.
  bool QuorumActive() const;
  // Whether the nodes of `acked` are a quorum.
  bool IsQuorum(const NodeSet& acked) const;

  void ResetVotes() { votes_.clear(); }
  // The first vote of a node counts.
  void RecordVote(NodeId id, bool granted);
  VoteResult TallyVotes() const;

 private:
  std::optional<LogIndex> AckedIndex(NodeId id) const override;
  std::optional<bool> Vote(NodeId id) const override;

  TrackerConfig config_;
  ProgressMap progress_;
  std::vector<std::pair<NodeId, bool>> votes_;  // in order of arrival; at most one a node
};

}  // namespace metastore::raft
