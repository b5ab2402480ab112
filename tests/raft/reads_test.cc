// Aim: a read index is never older than what was committed when the read arrived, costs one round
// for all that wait, and is refused when leadership moves (thesis 6.4; traps 3 to 5, 36). Method:
// clusters with heartbeats held back; Cluster checks every read index served.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

Cluster::Options Nodes(size_t voters) {
  Cluster::Options options;
  options.nodes = options.voters = voters;
  return options;
}

size_t Heartbeats(Cluster& cluster) {
  return static_cast<size_t>(
      std::count_if(cluster.network().begin(), cluster.network().end(),
                    [](const Message& m) { return m.type == MessageType::kHeartbeat; }));
}

TEST(Reads, OfALoneVoterComeOutOfTheNextReady) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  cluster.Settle();
  ASSERT_EQ(cluster.core(1).ReadIndex(ReadToken(1)), ReadCode::kAccepted);
  ASSERT_TRUE(cluster.core(1).HasReady());
  const Ready ready = cluster.core(1).TakeReady();
  ASSERT_EQ(ready.reads.size(), 1u);
  EXPECT_EQ(ready.reads.front(),
            (ReadState{ReadToken(1), cluster.core(1).commit(), ReadOutcome::kServe}));
  EXPECT_FALSE(ready.append.has_value());
}

TEST(Reads, WaitForTheFirstCommitOfTheTerm) {
  // Trap 3.
  Cluster cluster(Nodes(1));
  cluster.core(1).Campaign();
  cluster.Pump(1);
  while (!cluster.core(1).is_leader()) ASSERT_TRUE(cluster.Flush(1));
  ASSERT_EQ(cluster.Read(1, ReadToken(1)), ReadCode::kAccepted);
  EXPECT_TRUE(cluster.node(1).reads.empty());
  while (cluster.Flush(1)) {
  }
  ASSERT_EQ(cluster.node(1).reads.size(), 1u);
  EXPECT_EQ(cluster.node(1).reads.front().index, LogIndex(2));
}

TEST(Reads, ThatWaitTogetherShareOneRound) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  for (uint64_t i = 1; i <= 100; ++i) {
    ASSERT_EQ(cluster.core(1).ReadIndex(ReadToken(i)), ReadCode::kAccepted);
  }
  Ready ready = cluster.core(1).TakeReady();
  EXPECT_EQ(ready.send_now.size(), 2u);
  EXPECT_TRUE(ready.reads.empty());
}

TEST(Reads, AreServedByAMajorityAndNotBefore) {
  // Trap 5.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  ASSERT_EQ(cluster.Read(1, ReadToken(1)), ReadCode::kAccepted);
  EXPECT_EQ(Heartbeats(cluster), 2u);
  EXPECT_TRUE(cluster.node(1).reads.empty());
  cluster.Deliver(0);  // to one follower
  EXPECT_TRUE(cluster.node(1).reads.empty());
  cluster.Deliver(cluster.network().size() - 1);  // its answer
  EXPECT_EQ(cluster.node(1).reads.size(), 1u);
}

TEST(Reads, AnAnswerToAnEarlierRoundDoesNotConfirmALaterOne) {
  // Trap 4.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  ASSERT_EQ(cluster.Read(1, ReadToken(1)), ReadCode::kAccepted);
  cluster.Deliver(0);
  const Message answer = cluster.network().back();
  ASSERT_EQ(answer.type, MessageType::kHeartbeatResponse);
  cluster.Settle();
  ASSERT_EQ(cluster.node(1).reads.size(), 1u);
  ASSERT_EQ(cluster.Read(1, ReadToken(2)), ReadCode::kAccepted);
  ASSERT_TRUE(cluster.core(1).Step(answer).ok());
  cluster.Pump(1);
  EXPECT_EQ(cluster.node(1).reads.size(), 1u);
  cluster.Settle();
  EXPECT_EQ(cluster.node(1).reads.size(), 2u);
}

TEST(Reads, ARoundWhoseHeartbeatsWereLostIsRepeatedWithTheNext) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  cluster.lost = [](const Message&) { return true; };
  ASSERT_EQ(cluster.Read(1, ReadToken(1)), ReadCode::kAccepted);
  cluster.Settle();
  cluster.lost = [](const Message&) { return false; };
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_EQ(cluster.node(1).reads.size(), 1u);
}

TEST(Reads, OfADeposedLeaderAreRefused) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  cluster.lost = [](const Message& m) { return m.from == NodeId(1) || m.to == NodeId(1); };
  ASSERT_EQ(cluster.Read(1, ReadToken(1)), ReadCode::kAccepted);
  ASSERT_EQ(cluster.Read(1, ReadToken(2)), ReadCode::kAccepted);
  for (int i = 0; i < 40; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  ASSERT_EQ(cluster.node(1).reads.size(), 2u);
  EXPECT_EQ(cluster.node(1).reads[0].outcome, ReadOutcome::kRefused);
  EXPECT_EQ(cluster.node(1).reads[1].outcome, ReadOutcome::kRefused);
}

TEST(Reads, OnAFollowerGetTheirIndexFromTheLeader) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  cluster.Propose(1, "x");
  while (cluster.core(1).commit() < cluster.core(1).last_index()) {
    ASSERT_TRUE(cluster.Deliver(0) | cluster.Flush(1) | cluster.Flush(2) | cluster.Flush(3));
  }
  ASSERT_EQ(cluster.Read(3, ReadToken(1)), ReadCode::kAccepted);
  ASSERT_EQ(cluster.Read(3, ReadToken(2)), ReadCode::kAccepted);
  cluster.Settle();
  ASSERT_EQ(cluster.node(3).reads.size(), 2u);
  EXPECT_EQ(cluster.node(3).reads[0].index, cluster.core(1).commit());
}

TEST(Reads, ALostBatchOfAFollowerIsRepeated) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  cluster.lost = [](const Message&) { return true; };
  ASSERT_EQ(cluster.Read(3, ReadToken(1)), ReadCode::kAccepted);
  cluster.Settle();
  cluster.lost = [](const Message&) { return false; };
  cluster.Tick(3, 2);
  cluster.Settle();
  EXPECT_EQ(cluster.node(3).reads.size(), 1u);
}

TEST(Reads, AFollowerThatAsksAFormerLeaderIsRefused) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  ASSERT_EQ(cluster.Read(3, ReadToken(1)), ReadCode::kAccepted);
  cluster.core(1).StepDown();
  cluster.Settle();
  ASSERT_EQ(cluster.node(3).reads.size(), 1u);
  EXPECT_EQ(cluster.node(3).reads[0].outcome, ReadOutcome::kRefused);
}

TEST(Reads, WithoutALeaderAreRefusedAtOnce) {
  Cluster cluster(Nodes(3));
  EXPECT_EQ(cluster.core(1).ReadIndex(ReadToken(1)), ReadCode::kNoLeader);
}

TEST(Reads, AreBounded) {
  Cluster::Options options = Nodes(3);
  options.configure = [](Config& config) { config.reads_max = 2; };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Settle();
  EXPECT_EQ(cluster.Read(1, ReadToken(1)), ReadCode::kAccepted);
  EXPECT_EQ(cluster.Read(1, ReadToken(2)), ReadCode::kAccepted);
  EXPECT_EQ(cluster.Read(1, ReadToken(3)), ReadCode::kQueueFull);
  cluster.Settle();
  EXPECT_EQ(cluster.Read(1, ReadToken(4)), ReadCode::kAccepted);
}

TEST(Reads, AForgottenLeaderRefusesThem) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  ASSERT_EQ(cluster.Read(2, ReadToken(1)), ReadCode::kAccepted);
  ASSERT_TRUE(cluster.core(2).ForgetLeader().ok());
  cluster.Pump(2);
  ASSERT_EQ(cluster.node(2).reads.size(), 1u);
  EXPECT_EQ(cluster.node(2).reads[0].outcome, ReadOutcome::kRefused);
}

TEST(Reads, RoundsOfAnotherBootHaveOtherNumbers) {
  // Trap 36: a late answer to this node's former self must not fit.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  ASSERT_EQ(cluster.Read(3, ReadToken(1)), ReadCode::kAccepted);
  const uint64_t before = cluster.network().back().read_round;
  cluster.network().clear();
  cluster.Crash(3);
  cluster.Restart(3);
  cluster.Tick(1);
  cluster.Settle();
  ASSERT_EQ(cluster.Read(3, ReadToken(2)), ReadCode::kAccepted);
  EXPECT_NE(cluster.network().back().read_round, before);
  EXPECT_NE(before, 0u);
}

TEST(ReadQueue, ALaterBatchOfAFollowerReplacesItsEarlierOne) {
  ReadQueue queue(10, 5);
  queue.AddRemote({NodeId(2), 7});
  queue.AddRemote({NodeId(2), 9});
  queue.AddRemote({NodeId(3), 1});
  EXPECT_EQ(queue.StartRound(LogIndex(4)), 6u);
  const std::vector<RemoteRead> reads = queue.FinishRound(LogIndex(4));
  ASSERT_EQ(reads.size(), 2u);
  EXPECT_EQ(reads[0].batch, 9u);
  EXPECT_FALSE(queue.has_states());
}

TEST(ReadQueue, KnowsWhoAnsweredThePresentRoundOnly) {
  ReadQueue queue(10, 0);
  ASSERT_TRUE(queue.Add(ReadToken(1)));
  EXPECT_EQ(queue.Acknowledge(NodeId(1), 0), nullptr);
  const uint64_t round = queue.StartRound(LogIndex(1));
  EXPECT_EQ(queue.Acknowledge(NodeId(1), round - 1), nullptr);
  ASSERT_NE(queue.Acknowledge(NodeId(1), round), nullptr);
  EXPECT_EQ(queue.acked().size(), 1u);
  queue.RefuseAll();
  EXPECT_EQ(queue.TakeStates().size(), 1u);
  EXPECT_EQ(queue.Acknowledge(NodeId(2), round), nullptr);
}

}  // namespace
}  // namespace metastore::raft
