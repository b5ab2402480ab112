// Aim: a lease serves reads without a round, and only while no other leader can have been elected:
// it counts from the begin of its round, ends before the voters' promises do, and is given up with
// the leadership, with a transfer, with the membership and after a pause (thesis 6.4.1, traps 7 and
// 8). Method: clusters of 3 with an election timeout of 10 ticks and a margin of 2, messages held
// back by hand; Cluster checks every read index served.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

constexpr uint64_t kLeaseTicks = 8;
constexpr int kElectionTicks = 10;

Cluster::Options Leases(size_t nodes, size_t voters) {
  Cluster::Options options;
  options.nodes = nodes;
  options.voters = voters;
  options.configure = [](Config& config) { config.read_mode = ReadMode::kLease; };
  return options;
}

void Isolate(Cluster& cluster, uint64_t id) {
  cluster.lost = [node = NodeId(id)](const Message& m) { return m.from == node || m.to == node; };
}

void Heal(Cluster& cluster) {
  cluster.lost = [](const Message&) { return false; };
}

// Node 1 leads and has just got its lease.
void LeadWithLease(Cluster& cluster) {
  cluster.Elect(1);
  cluster.Settle();
  cluster.Tick(1);
  cluster.Settle();
  ASSERT_EQ(cluster.core(1).GetStatus().lease_ticks, kLeaseTicks);
}

// Whether the read comes back at once, without a message.
bool ServedAtOnce(Cluster& cluster, uint64_t id) {
  static uint64_t token = 1000;
  const size_t before = cluster.node(id).reads.size();
  const size_t messages = cluster.network().size();
  EXPECT_EQ(cluster.Read(id, ReadToken(++token)), ReadCode::kAccepted);
  return cluster.node(id).reads.size() > before && cluster.network().size() == messages;
}

bool SomebodyElseLeads(Cluster& cluster, int ticks) {
  for (int i = 0; i < ticks; ++i) {
    for (const uint64_t id : {2u, 3u}) {
      cluster.Tick(id);
      cluster.Settle();
    }
    if (cluster.core(2).is_leader() || cluster.core(3).is_leader()) return true;
  }
  return false;
}

TEST(Lease, ServesReadsWithoutARound) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  cluster.Propose(1, "x");
  cluster.Settle();
  EXPECT_TRUE(ServedAtOnce(cluster, 1));
  EXPECT_EQ(cluster.node(1).reads.back().index, cluster.core(1).commit());
}

TEST(Lease, ServesTheReadsOfFollowersToo) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  ASSERT_EQ(cluster.Read(3, ReadToken(1)), ReadCode::kAccepted);
  ASSERT_EQ(cluster.network().size(), 1u);
  cluster.Deliver(0);
  ASSERT_EQ(cluster.network().size(), 1u);
  EXPECT_EQ(cluster.network()[0].type, MessageType::kReadIndexResponse);
  cluster.Settle();
  EXPECT_EQ(cluster.node(3).reads.size(), 1u);
}

TEST(Lease, OfALoneVoterNeedsNobody) {
  Cluster cluster(Leases(1, 1));
  cluster.Elect(1);
  cluster.Settle();
  cluster.Tick(1);
  EXPECT_TRUE(ServedAtOnce(cluster, 1));
}

TEST(Lease, IsNotTakenInTheModeWithout) {
  Cluster::Options options = Leases(3, 3);
  options.configure = [](Config&) {};
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  EXPECT_FALSE(ServedAtOnce(cluster, 1));
}

TEST(Lease, EndsAMarginBeforeTheElectionTimeout) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  Isolate(cluster, 1);
  cluster.Tick(1, kLeaseTicks - 1);
  cluster.network().clear();
  EXPECT_TRUE(ServedAtOnce(cluster, 1));
  cluster.Tick(1);
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  EXPECT_FALSE(ServedAtOnce(cluster, 1));
}

TEST(Lease, IsHeldByHeartbeatsWhileNobodyReads) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  for (int i = 0; i < 30; ++i) {
    cluster.Tick(1);
    cluster.Settle();
    EXPECT_GE(cluster.core(1).GetStatus().lease_ticks, kLeaseTicks - 1);
  }
}

TEST(Lease, CountsFromTheBeginOfItsRound) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  cluster.Tick(1);
  std::vector<Message> heartbeats = std::exchange(cluster.network(), {});
  cluster.Tick(1, 5);
  cluster.network().clear();
  const uint64_t before = cluster.core(1).GetStatus().lease_ticks;
  cluster.network() = std::move(heartbeats);
  cluster.Settle();
  EXPECT_EQ(before, kLeaseTicks - 6);
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, kLeaseTicks - 5);
}

TEST(Lease, NeedsAQuorumOfItsRound) {
  Cluster cluster(Leases(5, 5));
  cluster.Elect(1);
  cluster.Settle();
  cluster.core(1).DropLease();
  cluster.lost = [](const Message& m) { return m.from.value() > 2; };
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  Heal(cluster);
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_GT(cluster.core(1).GetStatus().lease_ticks, 0u);
}

TEST(Lease, IsDroppedAfterAPauseAndByNoRoundBegunBefore) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  cluster.Tick(1);
  cluster.core(1).DropLease();
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  cluster.Settle();  // the round is answered, but who knows how long ago it began
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  EXPECT_FALSE(ServedAtOnce(cluster, 1));
  cluster.Settle();
  EXPECT_TRUE(ServedAtOnce(cluster, 1));
}

TEST(Lease, EndsWhenATransferBegins) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  cluster.Tick(1);  // a round on its way
  // Behind, so that nobody is told to campaign yet.
  cluster.lost = [](const Message& m) { return m.type == MessageType::kAppend; };
  cluster.Propose(1, "x");
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(2)).ok());
  cluster.Pump(1);
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  EXPECT_EQ(cluster.core(1).GetStatus().transferee, NodeId(2));
}

TEST(Lease, IsNotTakenAgainWhereSomebodyMayStillCampaign) {
  // The TimeoutNow is late: the transfer was given up, but its receiver may yet be elected, at once
  // and in spite of what the voters promised.
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(2)).ok());
  cluster.Pump(1);
  const std::vector<Message> late = std::exchange(cluster.network(), {});
  ASSERT_EQ(late.front().type, MessageType::kTimeoutNow);
  for (int i = 0; i < 2 * kElectionTicks; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  ASSERT_TRUE(cluster.core(1).is_leader());
  ASSERT_EQ(cluster.core(1).GetStatus().transferee, kNobody);
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  Isolate(cluster, 1);
  ASSERT_TRUE(cluster.core(2).Step(late.front()).ok());
  cluster.Pump(2);
  cluster.Settle();
  ASSERT_TRUE(cluster.core(2).is_leader());
  cluster.Propose(2, "y");
  cluster.Settle();
  EXPECT_FALSE(ServedAtOnce(cluster, 1));
}

TEST(Lease, EndsWhenAMembershipChangeIsProposedAndBeginsAgainAfterItIsApplied) {
  Cluster cluster(Leases(4, 3));
  LeadWithLease(cluster);
  cluster.Tick(1);  // a round on its way
  ASSERT_EQ(
      cluster.core(1).ProposeConfChange({{}, {{ConfChangeKind::kAddVoter, NodeId(4)}}, ""}).code,
      ProposeCode::kAccepted);
  cluster.Pump(1);
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  while (cluster.Deliver(0)) {  // everything but the disks
  }
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  cluster.Settle();
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).conf().voters.size(), 4u);
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, kLeaseTicks);
}

TEST(Lease, EndsWhenAMembershipChangeIsApplied) {
  Cluster cluster(Leases(4, 3));
  LeadWithLease(cluster);
  ASSERT_TRUE(
      cluster.core(1).ApplyConfChange({{}, {{ConfChangeKind::kAddVoter, NodeId(4)}}, ""}).ok());
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
}

TEST(Lease, OfAJointMembershipNeedsBothMajorities) {
  Cluster cluster(Leases(5, 3));
  LeadWithLease(cluster);
  const ConfChange change{ConfTransition::kJointExplicit,
                          {{ConfChangeKind::kAddVoter, NodeId(4)},
                           {ConfChangeKind::kAddVoter, NodeId(5)},
                           {ConfChangeKind::kRemove, NodeId(2)},
                           {ConfChangeKind::kRemove, NodeId(3)}},
                          ""};
  ASSERT_EQ(cluster.core(1).ProposeConfChange(change).code, ProposeCode::kAccepted);
  cluster.Pump(1);
  cluster.Settle();
  for (int i = 0; i < 3; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  ASSERT_FALSE(cluster.core(1).conf().voters_outgoing.empty());
  ASSERT_GT(cluster.core(1).GetStatus().lease_ticks, 0u);
  const auto lease_without = [&cluster](uint64_t a, uint64_t b) {
    cluster.core(1).DropLease();
    cluster.lost = [a, b](const Message& m) { return m.from.value() == a || m.from.value() == b; };
    for (int i = 0; i < 3; ++i) {
      cluster.Tick(1);
      cluster.Settle();
    }
    Heal(cluster);
    const uint64_t ticks = cluster.core(1).GetStatus().lease_ticks;
    cluster.Tick(1);
    cluster.Settle();
    return ticks;
  };
  EXPECT_EQ(lease_without(2, 3), 0u);
  EXPECT_EQ(lease_without(4, 5), 0u);
  EXPECT_GT(lease_without(2, 4), 0u);
}

TEST(Lease, EndsWithTheLeadership) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  cluster.Tick(1);  // a round on its way
  cluster.core(1).StepDown();
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
}

TEST(Lease, BeginsOnlyAfterTheFirstCommitOfTheTerm) {
  // Trap 3.
  Cluster cluster(Leases(3, 3));
  cluster.lost = [](const Message& m) { return m.type == MessageType::kAppend; };
  cluster.Elect(1);
  cluster.Tick(1, 2);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().lease_ticks, 0u);
  EXPECT_FALSE(ServedAtOnce(cluster, 1));
}

TEST(Promise, NobodyElectsWhileTheLeaseHolds) {
  // The leader's clock is as slow as the margin allows: 8 of its ticks are 9 of the others'.
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  Isolate(cluster, 1);
  EXPECT_FALSE(SomebodyElseLeads(cluster, kElectionTicks - 1));
  EXPECT_TRUE(SomebodyElseLeads(cluster, 3 * kElectionTicks));
}

TEST(Promise, HoldsAgainstACampaignByHand) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  cluster.core(2).Campaign();
  EXPECT_EQ(cluster.core(2).role(), Role::kFollower);
  cluster.Tick(2, kElectionTicks);
  cluster.core(2).Campaign();
  EXPECT_NE(cluster.core(2).role(), Role::kFollower);
}

TEST(Promise, OutlivesTheTermInWhichItWasGiven) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  Message answer;  // tells node 2 of a term in which nobody leads
  answer.type = MessageType::kHeartbeatResponse;
  answer.from = NodeId(3);
  answer.to = NodeId(2);
  answer.term = cluster.core(2).term() + 1;
  ASSERT_TRUE(cluster.core(2).Step(answer).ok());
  ASSERT_EQ(cluster.core(2).leader(), kNobody);
  Message vote;
  vote.type = MessageType::kVote;
  vote.from = NodeId(3);
  vote.to = NodeId(2);
  vote.term = answer.term;
  vote.log = {answer.term, LogIndex(100)};
  ASSERT_TRUE(cluster.core(2).Step(vote).ok());
  ASSERT_TRUE(cluster.core(2).HasReady());
  const Ready ready = cluster.core(2).TakeReady();
  ASSERT_EQ(ready.append->after_durable.size(), 1u);
  EXPECT_TRUE(ready.append->after_durable[0].reject);
}

TEST(Promise, IsKeptOverARestart) {
  // Node 2 answered the lease's round, forgets it, and would elect 3, who heard nothing for long.
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  Isolate(cluster, 3);
  cluster.core(3).SetRandomizedElectionTimeoutForTest(kElectionTicks);
  cluster.Tick(3, kElectionTicks - 1);
  cluster.Tick(1);
  cluster.Settle();
  ASSERT_EQ(cluster.core(1).GetStatus().lease_ticks, kLeaseTicks);
  cluster.Crash(2);
  cluster.Restart(2);
  Isolate(cluster, 1);
  EXPECT_FALSE(SomebodyElseLeads(cluster, kElectionTicks - 1));
  EXPECT_TRUE(SomebodyElseLeads(cluster, 4 * kElectionTicks));
}

TEST(Promise, DoesNotStopATransfer) {
  Cluster cluster(Leases(3, 3));
  LeadWithLease(cluster);
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(3)).ok());
  cluster.Pump(1);
  cluster.Settle();
  EXPECT_TRUE(cluster.core(3).is_leader());
}

TEST(Promise, IsNotOfANodeThatNeverRan) {
  Cluster cluster(Leases(3, 3));
  cluster.core(1).Campaign();
  EXPECT_NE(cluster.core(1).role(), Role::kFollower);
}

}  // namespace
}  // namespace metastore::raft
