// Majorities: what a set of voters has committed and how it votes; and pairs of sets in joint
// consensus (thesis 4.3).
//
// Pure functions of the sets. Sets ascend and are small (limits::kVotersMax), so they are sorted
// vectors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/types.h"

namespace metastore::raft {

// A sorted set of node ids.
class NodeSet {
 public:
  NodeSet() = default;
  NodeSet(std::initializer_list<NodeId> ids);
  explicit NodeSet(const std::vector<NodeId>& ids);

  bool Contains(NodeId id) const;
  void Insert(NodeId id);
  void Erase(NodeId id);
  void Clear() { ids_.clear(); }
  bool empty() const { return ids_.empty(); }
  size_t size() const { return ids_.size(); }
  auto begin() const { return ids_.begin(); }
  auto end() const { return ids_.end(); }
  const std::vector<NodeId>& ids() const { return ids_; }
  bool operator==(const NodeSet&) const = default;

 private:
  std::vector<NodeId> ids_;
};

// How many ids are in exactly one of the two.
size_t SymmetricDifference(const NodeSet& a, const NodeSet& b);

enum class VoteResult : uint8_t { kPending, kLost, kWon };

// What an empty set commits: everything, so that it does not matter in a pair.
inline constexpr LogIndex kCommitsAll{UINT64_MAX};

// The index voters have acknowledged; unknown nodes have none.
class AckedIndexer {
 public:
  virtual ~AckedIndexer() = default;
  virtual std::optional<LogIndex> AckedIndex(NodeId id) const = 0;
};
// The vote of a node; nothing: not yet cast.
class VoteLookup {
 public:
  virtual ~VoteLookup() = default;
  virtual std::optional<bool> Vote(NodeId id) const = 0;
};

// The largest index a majority of `voters` has acknowledged.
LogIndex CommittedIndex(const NodeSet& voters, const AckedIndexer& acked);
VoteResult CountVotes(const NodeSet& voters, const VoteLookup& votes);

// The voters of one configuration: one majority, or two that must agree.
struct JointQuorum {
  NodeSet incoming;
  NodeSet outgoing;  // not empty: joint consensus

  bool joint() const { return !outgoing.empty(); }
  NodeSet All() const;
  bool Contains(NodeId id) const { return incoming.Contains(id) || outgoing.Contains(id); }
  bool operator==(const JointQuorum&) const = default;
};

LogIndex CommittedIndex(const JointQuorum& quorum, const AckedIndexer& acked);
VoteResult CountVotes(const JointQuorum& quorum, const VoteLookup& votes);

std::string_view Name(VoteResult result);
// A small plot of who has acknowledged what, one voter a line, for people.
std::string Describe(const NodeSet& voters, const AckedIndexer& acked);
// "(1 2 3)" and "(1 2 3)&&(1 2)".
std::string Describe(const NodeSet& set);
std::string Describe(const JointQuorum& quorum);

}  // namespace metastore::raft
