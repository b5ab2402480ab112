// Scripts of majorities: committed indexes and vote results of single and joint ones. Each block
// gives sets and acknowledgements; a single majority is also tried as a pair with the empty set and
// with itself, which must not matter.
#include <algorithm>
#include <map>

#include "raft/quorum.h"
#include "tests/raft/golden.h"

namespace metastore::raft {
namespace {

class Acks final : public AckedIndexer {
 public:
  std::optional<LogIndex> AckedIndex(NodeId id) const override {
    const auto at = acks.find(id);
    return at == acks.end() ? std::nullopt : std::optional(at->second);
  }
  std::map<NodeId, LogIndex> acks;
};

class Votes final : public VoteLookup {
 public:
  std::optional<bool> Vote(NodeId id) const override {
    const auto at = votes.find(id);
    return at == votes.end() ? std::nullopt : std::optional(at->second);
  }
  std::map<NodeId, bool> votes;
};

std::string ShowIndex(LogIndex index) {
  return index == kCommitsAll ? "∞" : std::to_string(index.value());
}

// "zero" is the empty list.
StatusOr<std::vector<NodeId>> Ids(const Directive& directive, std::string_view key) {
  std::vector<NodeId> ids;
  const Directive::Arg* arg = directive.Find(key);
  if (arg == nullptr || (!arg->values.empty() && arg->values.front() == "zero")) return ids;
  for (const std::string& value : arg->values) {
    const std::optional<uint64_t> id = ParseNumber(value);
    if (!id) return InvalidArgumentError(value, " is no number");
    ids.emplace_back(*id);
  }
  return ids;
}

// The members in the order they are first named, and what the block says of each.
struct Members {
  JointQuorum quorum;
  std::vector<std::pair<NodeId, std::string>> values;  // without those that are "_"
};

StatusOr<Members> ParseMembers(const Directive& directive, std::string_view key) {
  StatusOr<std::vector<NodeId>> named = Ids(directive, "cfg");
  if (!named.ok()) return named.status();
  const StatusOr<std::vector<NodeId>> outgoing = Ids(directive, "cfgj");
  if (!outgoing.ok()) return outgoing.status();
  Members members{{NodeSet(*named), NodeSet(*outgoing)}, {}};
  named->insert(named->end(), outgoing->begin(), outgoing->end());
  std::vector<NodeId> order;
  for (const NodeId id : *named) {
    if (std::find(order.begin(), order.end(), id) == order.end()) order.push_back(id);
  }
  const Directive::Arg* arg = directive.Find(key);
  const size_t count = arg == nullptr ? 0 : arg->values.size();
  if (count != order.size()) {
    return InvalidArgumentError(order.size(), " members but ", count, " values");
  }
  for (size_t i = 0; i < count; ++i) {
    if (arg->values[i] != "_") members.values.emplace_back(order[i], arg->values[i]);
  }
  return members;
}

class QuorumScript final : public ScriptRunner {
 public:
  StatusOr<std::string> Run(const Directive& directive) override {
    if (directive.command == "committed") return Committed(directive);
    if (directive.command == "vote") return Vote(directive);
    return InvalidArgumentError("unknown command");
  }

 private:
  static StatusOr<std::string> Committed(const Directive& directive) {
    const StatusOr<Members> members = ParseMembers(directive, "idx");
    if (!members.ok()) return members.status();
    Acks acks;
    for (const auto& [id, value] : members->values) {
      const std::optional<uint64_t> index = ParseNumber(value);
      if (!index) return InvalidArgumentError(value, " is no number");
      acks.acks[id] = LogIndex(*index);
    }
    const JointQuorum& quorum = members->quorum;
    const LogIndex index = CommittedIndex(quorum, acks);
    std::string out = Describe(quorum.All(), acks) + ShowIndex(index);
    const auto same = [&](std::string_view how, LogIndex other) {
      if (other != index) out += Concat("\nbut ", how, " ", ShowIndex(other));
    };
    same("exchanged", CommittedIndex(JointQuorum{quorum.outgoing, quorum.incoming}, acks));
    if (quorum.joint()) return out;
    same("alone", CommittedIndex(quorum.incoming, acks));
    same("with itself", CommittedIndex(JointQuorum{quorum.incoming, quorum.incoming}, acks));
    return out;
  }

  static StatusOr<std::string> Vote(const Directive& directive) {
    const StatusOr<Members> members = ParseMembers(directive, "votes");
    if (!members.ok()) return members.status();
    Votes votes;
    for (const auto& [id, value] : members->values) {
      if (value != "y" && value != "n") {
        return InvalidArgumentError("a vote is y, n or _, not ", value);
      }
      votes.votes[id] = value == "y";
    }
    const JointQuorum& quorum = members->quorum;
    const VoteResult result = CountVotes(quorum, votes);
    std::string out(Name(result));
    const auto same = [&](std::string_view how, VoteResult other) {
      if (other != result) out += Concat("\nbut ", how, " ", Name(other));
    };
    same("exchanged", CountVotes(JointQuorum{quorum.outgoing, quorum.incoming}, votes));
    if (!quorum.joint()) same("alone", CountVotes(quorum.incoming, votes));
    return out;
  }
};

}  // namespace

std::unique_ptr<ScriptRunner> MakeQuorumScript() { return std::make_unique<QuorumScript>(); }

}  // namespace metastore::raft
