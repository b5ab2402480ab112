#include "raft/quorum.h"

#include <algorithm>
#include <array>

#include "io/base/check.h"
#include "io/base/limits.h"
#include "raft/mutation.h"

namespace metastore::raft {

NodeSet::NodeSet(std::initializer_list<NodeId> ids) {
  for (const NodeId id : ids) Insert(id);
}

NodeSet::NodeSet(const std::vector<NodeId>& ids) {
  for (const NodeId id : ids) Insert(id);
}

bool NodeSet::Contains(NodeId id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }

void NodeSet::Insert(NodeId id) {
  const auto at = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (at == ids_.end() || *at != id) ids_.insert(at, id);
}

void NodeSet::Erase(NodeId id) {
  const auto at = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (at != ids_.end() && *at == id) ids_.erase(at);
}

size_t SymmetricDifference(const NodeSet& a, const NodeSet& b) {
  size_t common = 0;
  for (const NodeId id : a) common += b.Contains(id) ? 1 : 0;
  return a.size() + b.size() - 2 * common;
}

LogIndex CommittedIndex(const NodeSet& voters, const AckedIndexer& acked) {
  const size_t count = voters.size();
  if (count == 0) return kCommitsAll;
  std::array<LogIndex, limits::kVotersMax> few;
  std::vector<LogIndex> many(count > few.size() ? count : 0);
  LogIndex* const indexes = many.empty() ? few.data() : many.data();
  size_t i = 0;
  for (const NodeId id : voters) indexes[i++] = acked.AckedIndex(id).value_or(LogIndex());
  // Descending, the last of a majority is at count / 2.
  std::sort(indexes, indexes + count, std::greater<>());
  return indexes[count / 2];
}

VoteResult CountVotes(const NodeSet& voters, const VoteLookup& votes) {
  if (voters.empty()) return VoteResult::kWon;
  size_t granted = 0;
  size_t missing = 0;
  for (const NodeId id : voters) {
    const std::optional<bool> vote = votes.Vote(id);
    if (!vote) {
      ++missing;
    } else if (*vote) {
      ++granted;
    }
  }
  const size_t majority = voters.size() / 2 + 1;
  if (granted >= majority) return VoteResult::kWon;
  return granted + missing >= majority ? VoteResult::kPending : VoteResult::kLost;
}

NodeSet JointQuorum::All() const {
  NodeSet all = incoming;
  for (const NodeId id : outgoing) all.Insert(id);
  return all;
}

LogIndex CommittedIndex(const JointQuorum& quorum, const AckedIndexer& acked) {
  if (Mutated(Mutation::kJointAsSimple)) return CommittedIndex(quorum.incoming, acked);
  return std::min(CommittedIndex(quorum.incoming, acked), CommittedIndex(quorum.outgoing, acked));
}

VoteResult CountVotes(const JointQuorum& quorum, const VoteLookup& votes) {
  const VoteResult incoming = CountVotes(quorum.incoming, votes);
  const VoteResult outgoing = CountVotes(quorum.outgoing, votes);
  if (incoming == outgoing) return incoming;
  const bool lost = incoming == VoteResult::kLost || outgoing == VoteResult::kLost;
  return lost ? VoteResult::kLost : VoteResult::kPending;
}

std::string_view Name(VoteResult result) {
  switch (result) {
    case VoteResult::kPending:
      return "VotePending";
    case VoteResult::kLost:
      return "VoteLost";
    case VoteResult::kWon:
      return "VoteWon";
  }
  CHECK_UNREACHABLE();
}

std::string Describe(const NodeSet& voters, const AckedIndexer& acked) {
  if (voters.empty()) return "<empty majority quorum>";
  struct Line {
    NodeId id;
    std::optional<LogIndex> index;
    size_t bar = 0;  // voters with a smaller index
  };
  std::vector<Line> lines;
  for (const NodeId id : voters) lines.push_back({id, acked.AckedIndex(id)});
  for (Line& line : lines) {
    line.bar = static_cast<size_t>(std::count_if(
        lines.begin(), lines.end(), [&line](const Line& l) { return l.index < line.index; }));
  }
  const size_t width = voters.size();
  std::string out = std::string(width, ' ') + "    idx\n";
  for (const Line& line : lines) {
    out += line.index ? std::string(line.bar, 'x') + ">" + std::string(width - line.bar, ' ')
                      : "?" + std::string(width, ' ');
    const std::string index = std::to_string(line.index.value_or(LogIndex()).value());
    out += ' ';
    if (index.size() < 5) out += std::string(5 - index.size(), ' ');
    out += index + "    (id=" + std::to_string(line.id.value()) + ")\n";
  }
  return out;
}

std::string Describe(const NodeSet& set) {
  std::string out = "(";
  for (const NodeId id : set) {
    if (out.size() > 1) out += ' ';
    out += std::to_string(id.value());
  }
  return out + ")";
}

std::string Describe(const JointQuorum& quorum) {
  if (!quorum.joint()) return Describe(quorum.incoming);
  return Describe(quorum.incoming) + "&&" + Describe(quorum.outgoing);
}

}  // namespace metastore::raft
