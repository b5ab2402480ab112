// Aim: followers whose entries are gone get a snapshot, once, and go on from it; none is installed
// that is old, foreign or would overtake entries being applied (thesis 5; traps 21, 49). Method:
// clusters with messages to one follower lost, and single messages into a node.
#include <gtest/gtest.h>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

Cluster::Options Nodes(size_t voters) {
  Cluster::Options options;
  options.nodes = options.voters = voters;
  // Plain elections, so that tests can make terms at will.
  options.configure = [](Config& config) { config.pre_vote = config.check_quorum = false; };
  return options;
}

Entry MakeEntry(uint64_t term, uint64_t index, std::string_view value = "") {
  return {Term(term), LogIndex(index), EntryType::kNormal, Payload(value)};
}

Message MakeAppend(uint64_t from, uint64_t to, uint64_t term, EntryId log,
                   std::vector<Entry> entries, uint64_t commit) {
  Message message;
  message.type = MessageType::kAppend;
  message.from = NodeId(from);
  message.to = NodeId(to);
  message.term = Term(term);
  message.log = log;
  message.entries = std::move(entries);
  message.commit = LogIndex(commit);
  return message;
}

// Steps an append into node 1, makes everything durable, returns the answer.
Message Answer(Cluster& cluster, Message append) {
  cluster.network().clear();
  EXPECT_TRUE(cluster.core(1).Step(std::move(append)).ok());
  cluster.Pump(1);
  while (cluster.Flush(1)) {
  }
  EXPECT_EQ(cluster.network().size(), 1u);
  return cluster.network().empty() ? Message() : cluster.network().back();
}

constexpr EntryId kStart{Term(1), LogIndex(1)};

TEST(Snapshots, ReachAFollowerWhoseEntriesAreGone) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.to == NodeId(3); };
  for (int i = 0; i < 10; ++i) cluster.Propose(1, "x");
  cluster.Settle();
  cluster.Snapshot(1);
  cluster.Propose(1, "after");
  cluster.Settle();
  cluster.lost = [](const Message&) { return false; };
  for (int i = 0; i < 3; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  EXPECT_TRUE(cluster.Converged());
  EXPECT_GT(cluster.node(3).start.last.index, LogIndex(1));
  EXPECT_EQ(cluster.node(3).values.back(), "after");
}

TEST(Snapshots, AFailedOneIsTriedAgain) {
  // Trap 49.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.to == NodeId(3); };
  cluster.Propose(1, "x");
  cluster.Settle();
  cluster.Snapshot(1);
  cluster.lost = [](const Message& m) { return m.type == MessageType::kSnapshot; };
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().progress.Find(NodeId(3))->state(),
            ProgressState::kSnapshot);
  cluster.lost = [](const Message&) { return false; };
  cluster.core(1).ReportSnapshot(NodeId(3), /*ok=*/false);
  for (int i = 0; i < 3; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  EXPECT_TRUE(cluster.Converged());
}

TEST(Snapshots, WaitForEntriesBeingApplied) {
  // Trap 21.
  Cluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.core(1).Step(MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2)}, 2)).ok());
  cluster.Pump(1);
  while (cluster.Flush(1)) {
  }
  ASSERT_EQ(cluster.node(1).applies.size(), 1u);
  Message message;
  message.type = MessageType::kSnapshot;
  message.from = NodeId(2);
  message.to = NodeId(1);
  message.term = Term(2);
  SnapshotMeta meta;
  meta.last = {Term(2), LogIndex(9)};
  meta.conf.voters = {NodeId(1), NodeId(2)};
  message.snapshot = std::make_shared<const SnapshotMeta>(meta);
  ASSERT_TRUE(cluster.core(1).Step(message).ok());
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(2));
  EXPECT_EQ(cluster.core(1).conf().voters.size(), 3u);
  cluster.Apply(1);
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(9));
  EXPECT_EQ(cluster.core(1).conf().voters.size(), 2u);
  ASSERT_FALSE(cluster.node(1).appends.empty());
  EXPECT_TRUE(cluster.node(1).appends.back().task.must_sync);
  cluster.Flush(1);
  EXPECT_EQ(cluster.core(1).applied(), LogIndex(9));
}

TEST(Snapshots, OldOnesAndThoseOfOthersAreNotInstalled) {
  Cluster cluster(Nodes(3));
  const auto answer = [&cluster](EntryId last, std::vector<NodeId> voters) {
    Message message;
    message.type = MessageType::kSnapshot;
    message.from = NodeId(2);
    message.to = NodeId(1);
    message.term = Term(2);
    message.snapshot = std::make_shared<const SnapshotMeta>(
        SnapshotMeta{last, {std::move(voters), {}, {}, {}, false}});
    return Answer(cluster, message).log.index;
  };
  EXPECT_EQ(answer({Term(1), LogIndex(1)}, {NodeId(1), NodeId(2)}), LogIndex(1));
  EXPECT_EQ(answer({Term(2), LogIndex(5)}, {NodeId(2), NodeId(3)}), LogIndex(1));
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(1));
  EXPECT_EQ(answer({Term(2), LogIndex(5)}, {NodeId(1), NodeId(3)}), LogIndex(5));
}

TEST(Snapshots, OneThatTheLogAlreadyHasOnlyCommits) {
  Cluster cluster(Nodes(3));
  Answer(cluster, MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2), MakeEntry(2, 3)}, 1));
  Message message;
  message.type = MessageType::kSnapshot;
  message.from = NodeId(2);
  message.to = NodeId(1);
  message.term = Term(2);
  SnapshotMeta meta{{Term(2), LogIndex(2)}, {{NodeId(1), NodeId(2)}, {}, {}, {}, false}};
  message.snapshot = std::make_shared<const SnapshotMeta>(meta);
  EXPECT_EQ(Answer(cluster, message).log.index, LogIndex(2));
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(2));
  EXPECT_EQ(cluster.core(1).last_index(), LogIndex(3));
}

}  // namespace
}  // namespace metastore::raft
