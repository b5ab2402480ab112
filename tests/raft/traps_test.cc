// Aim: ways in which raft implementations have failed that no other test here walks into (numbers
// of docs/RAFT_TRAPS.md). Method: small clusters, one schedule each.
#include <gtest/gtest.h>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

Cluster::Options Voters(size_t nodes, size_t voters) {
  Cluster::Options options;
  options.nodes = nodes;
  options.voters = voters;
  return options;
}

bool Between(const Message& message, uint64_t a, uint64_t b) {
  const uint64_t from = message.from.value();
  const uint64_t to = message.to.value();
  return (from == a && to == b) || (from == b && to == a);
}

void PassTime(Cluster& cluster, int ticks) {
  for (int i = 0; i < ticks; ++i) {
    for (uint64_t id = 1; id <= cluster.size(); ++id) cluster.Tick(id);
    cluster.Settle();
  }
}

// Trap 10.
TEST(Traps, AMemberWithoutPreVoteDoesNotWedgeTheOthers) {
  Cluster::Options options = Voters(3, 3);
  options.configure = [](Config& config) { config.pre_vote = config.id != NodeId(3); };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return Between(m, 3, 1) || Between(m, 3, 2); };
  PassTime(cluster, 60);
  EXPECT_GT(cluster.core(3).term(), cluster.core(1).term());
  cluster.lost = [](const Message&) { return false; };
  PassTime(cluster, 60);
  const uint64_t leader = cluster.Leader();
  ASSERT_NE(leader, 0u);
  EXPECT_EQ(cluster.Propose(leader, "x").code, ProposeCode::kAccepted);
  PassTime(cluster, 2);
  EXPECT_TRUE(cluster.Converged()) << cluster.Describe();
}

// Trap 13: 1 led and now reaches 2 only, whom 3, 4 and 5 need for a quorum.
TEST(Traps, ALeaderThatReachesOneMemberDoesNotKeepItFromTheOthers) {
  Cluster cluster(Voters(5, 5));
  cluster.Elect(1);
  cluster.Crash(5);
  cluster.lost = [](const Message& m) { return Between(m, 1, 3) || Between(m, 1, 4); };
  PassTime(cluster, 80);
  const uint64_t leader = cluster.Leader();
  ASSERT_NE(leader, 0u);
  EXPECT_NE(leader, 1u) << cluster.Describe();
  EXPECT_EQ(cluster.Propose(leader, "x").code, ProposeCode::kAccepted);
  cluster.Settle();
  EXPECT_EQ(cluster.core(leader).applied(), cluster.core(leader).last_index());
}

// Trap 23.
TEST(Traps, AMemberWhoseLogIsOnlyASnapshotCanBeElected) {
  Cluster cluster(Voters(3, 3));
  cluster.Elect(1);
  cluster.Propose(1, "x");
  cluster.Settle();
  const Term term = cluster.core(1).term();
  for (uint64_t id = 1; id <= 3; ++id) {
    PassTime(cluster, 1);
    cluster.Snapshot(id);
    ASSERT_TRUE(cluster.node(id).entries.empty());
    EXPECT_EQ(cluster.node(id).start.last.term, term);
  }
  cluster.Crash(2);
  cluster.Restart(2);
  cluster.Crash(1);
  PassTime(cluster, 60);
  const uint64_t leader = cluster.Leader();
  ASSERT_NE(leader, 0u);
  EXPECT_GT(cluster.core(leader).term(), term);
}

// Trap 52.
TEST(Traps, AHeartbeatAnswerOfAHigherTermEndsTheLeadership) {
  Cluster cluster(Voters(3, 3));
  cluster.Elect(1);
  Message answer;
  answer.type = MessageType::kHeartbeatResponse;
  answer.from = NodeId(2);
  answer.to = NodeId(1);
  answer.term = cluster.core(1).term() + 1;
  ASSERT_TRUE(cluster.core(1).Step(answer).ok());
  EXPECT_FALSE(cluster.core(1).is_leader());
  EXPECT_EQ(cluster.core(1).term(), answer.term);
}

// Trap 56: whoever keeps a copy without a vote commits nothing.
TEST(Traps, ALearnersCopyDoesNotCommit) {
  Cluster cluster(Voters(5, 3));
  cluster.Elect(1);
  for (const uint64_t learner : {4u, 5u}) {
    cluster.core(1).ProposeConfChange({{}, {{ConfChangeKind::kAddLearner, NodeId(learner)}}, ""});
    cluster.Pump(1);
    cluster.Settle();
    PassTime(cluster, 2);
  }
  ASSERT_EQ(cluster.core(1).conf().learners.size(), 2u);
  cluster.lost = [](const Message& m) { return Between(m, 1, 2) || Between(m, 1, 3); };
  const LogIndex before = cluster.core(1).commit();
  cluster.Propose(1, "x");
  cluster.Settle();
  EXPECT_GT(cluster.core(4).last_index(), before);
  EXPECT_GT(cluster.core(5).last_index(), before);
  EXPECT_EQ(cluster.core(1).commit(), before);
}

}  // namespace
}  // namespace metastore::raft
