// Aim: committed indexes and vote results of single and joint majorities are those of the recorded
// scripts. Method: each block gives sets and acknowledgements; a single majority is also tried as a
// pair with the empty set and with itself, which must not matter.
#include <gtest/gtest.h>

#include <map>

#include "raft/quorum.h"
#include "tests/raft/datadriven.h"

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

std::vector<NodeId> Ids(const Directive& directive, std::string_view key) {
  std::vector<NodeId> ids;
  const Directive::Arg* arg = directive.Find(key);
  if (arg == nullptr || (!arg->values.empty() && arg->values.front() == "zero")) return ids;
  for (const std::string& value : arg->values) ids.emplace_back(std::stoull(value));
  return ids;
}

// Gives the values of `key` to the ids in the order they are first named; "_" is none.
template <typename Give>
void Assign(const Directive& directive, std::string_view key, const Give& give) {
  std::vector<NodeId> ids = Ids(directive, "cfg");
  for (const NodeId id : Ids(directive, "cfgj")) ids.push_back(id);
  std::vector<NodeId> seen;
  const Directive::Arg* arg = directive.Find(key);
  size_t next = 0;
  for (const NodeId id : ids) {
    if (std::find(seen.begin(), seen.end(), id) != seen.end()) continue;
    seen.push_back(id);
    if (arg == nullptr || next == arg->values.size()) return;
    const std::string& value = arg->values[next++];
    if (value != "_") give(id, value);
  }
}

std::string Show(LogIndex index) {
  return index == kCommitsAll ? "∞" : std::to_string(index.value());
}

std::string RunCommitted(const Directive& directive) {
  Acks acks;
  Assign(directive, "idx", [&](NodeId id, const std::string& value) {
    acks.acks[id] = LogIndex(std::stoull(value));
  });
  const JointQuorum quorum{NodeSet(Ids(directive, "cfg")), NodeSet(Ids(directive, "cfgj"))};
  const LogIndex index = CommittedIndex(quorum, acks);
  EXPECT_EQ(index, CommittedIndex(JointQuorum{quorum.outgoing, quorum.incoming}, acks));
  if (!quorum.joint()) {
    EXPECT_EQ(index, CommittedIndex(quorum.incoming, acks));
    EXPECT_EQ(index, CommittedIndex(JointQuorum{quorum.incoming, quorum.incoming}, acks));
  }
  return Describe(quorum.All(), acks) + Show(index);
}

std::string RunVote(const Directive& directive) {
  Votes votes;
  Assign(directive, "votes",
         [&](NodeId id, const std::string& value) { votes.votes[id] = value == "y"; });
  const JointQuorum quorum{NodeSet(Ids(directive, "cfg")), NodeSet(Ids(directive, "cfgj"))};
  const VoteResult result = CountVotes(quorum, votes);
  EXPECT_EQ(result, CountVotes(JointQuorum{quorum.outgoing, quorum.incoming}, votes));
  if (!quorum.joint()) EXPECT_EQ(result, CountVotes(quorum.incoming, votes));
  return std::string(Name(result));
}

std::string RunBlock(const Directive& directive) {
  if (directive.command == "committed") return RunCommitted(directive);
  if (directive.command == "vote") return RunVote(directive);
  return "unknown command";
}

TEST(QuorumGolden, EveryScriptGivesItsOutput) {
  const std::vector<std::string> files = GoldenFiles("quorum");
  if (files.empty()) GTEST_SKIP() << "no recorded scripts in " MS_SHARED_DIR;
  EXPECT_EQ(files.size(), 4u);
  for (const std::string& file : files) {
    RunScript(file, RunBlock, [](const std::string& text) { return text; });
  }
}

}  // namespace
}  // namespace metastore::raft
