#include "raft/tracker.h"

#include "raft/mutation.h"

#include <algorithm>

namespace metastore::raft {

ConfState TrackerConfig::State() const {
  return {voters.incoming.ids(), voters.outgoing.ids(), learners.ids(), learners_next.ids(),
          auto_leave};
}

std::string Describe(const TrackerConfig& config) {
  std::string out = "voters=" + Describe(config.voters);
  if (!config.learners.empty()) out += " learners=" + Describe(config.learners);
  if (!config.learners_next.empty()) out += " learners_next=" + Describe(config.learners_next);
  if (config.auto_leave) out += " autoleave";
  return out;
}

void Tracker::Switch(TrackerConfig config, ProgressMap progress) {
  config_ = std::move(config);
  progress_ = std::move(progress);
}

LogIndex Tracker::Committed() const {
  if (Mutated(Mutation::kLearnerCounted)) {
    JointQuorum counted = config_.voters;
    for (const NodeId learner : config_.learners) counted.incoming.Insert(learner);
    return CommittedIndex(counted, *this);
  }
  return CommittedIndex(config_.voters, *this);
}

namespace {

class Activity final : public VoteLookup {
 public:
  explicit Activity(const ProgressMap& progress) : progress_(progress) {}
  std::optional<bool> Vote(NodeId id) const override {
    const Progress* progress = progress_.Find(id);
    return progress != nullptr && progress->recent_active();
  }

 private:
  const ProgressMap& progress_;
};

class Membership final : public VoteLookup {
 public:
  explicit Membership(const NodeSet& set) : set_(set) {}
  std::optional<bool> Vote(NodeId id) const override { return set_.Contains(id); }

 private:
  const NodeSet& set_;
};

}  // namespace

bool Tracker::QuorumActive() const {
  return CountVotes(config_.voters, Activity(progress_)) == VoteResult::kWon;
}

bool Tracker::IsQuorum(const NodeSet& acked) const {
  return CountVotes(config_.voters, Membership(acked)) == VoteResult::kWon;
}

void Tracker::RecordVote(NodeId id, bool granted) {
  if (!Vote(id)) votes_.emplace_back(id, granted);
}

VoteResult Tracker::TallyVotes() const {
  return CountVotes(config_.voters, static_cast<const VoteLookup&>(*this));
}

std::optional<LogIndex> Tracker::AckedIndex(NodeId id) const {
  const Progress* progress = progress_.Find(id);
  if (progress == nullptr) return std::nullopt;
  return progress->match();
}

std::optional<bool> Tracker::Vote(NodeId id) const {
  const auto at = std::find_if(votes_.begin(), votes_.end(),
                               [id](const auto& vote) { return vote.first == id; });
  if (at == votes_.end()) return std::nullopt;
  return at->second;
}

}  // namespace metastore::raft
