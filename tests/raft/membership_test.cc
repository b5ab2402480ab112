// Aim: memberships change one at a time, at apply, through joint consensus where needed, and the
// cluster survives leaders and members that go on the way (thesis 4; traps 1, 15 to 20). Method:
// clusters in which the later members begin empty.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

Cluster::Options Nodes(size_t nodes, size_t voters) {
  Cluster::Options options;
  options.nodes = nodes;
  options.voters = voters;
  return options;
}

ConfChange Change(std::vector<ConfChangeStep> steps,
                  ConfTransition transition = ConfTransition::kAuto) {
  return {transition, std::move(steps), ""};
}

ConfChangeStep Voter(uint64_t id) { return {ConfChangeKind::kAddVoter, NodeId(id)}; }
ConfChangeStep Learner(uint64_t id) { return {ConfChangeKind::kAddLearner, NodeId(id)}; }
ConfChangeStep Removal(uint64_t id) { return {ConfChangeKind::kRemove, NodeId(id)}; }

ProposeCode Propose(Cluster& cluster, uint64_t id, const ConfChange& change) {
  const ProposeCode code = cluster.core(id).ProposeConfChange(change).code;
  cluster.Pump(id);
  return code;
}

void PassTime(Cluster& cluster, int ticks = 5) {
  for (int i = 0; i < ticks; ++i) {
    for (uint64_t id = 1; id <= cluster.size(); ++id) cluster.Tick(id);
    cluster.Settle();
  }
}

std::vector<NodeId> Ids(std::vector<uint64_t> ids) {
  return std::vector<NodeId>(ids.begin(), ids.end());
}

TEST(Membership, AMemberThatJoinsIsToldEverythingBySnapshot) {
  Cluster cluster(Nodes(2, 1));
  cluster.Elect(1);
  cluster.Propose(1, "a");
  cluster.Settle();
  EXPECT_EQ(Propose(cluster, 1, Change({Learner(2)})), ProposeCode::kAccepted);
  PassTime(cluster);
  EXPECT_EQ(cluster.core(2).conf().voters, Ids({1}));
  EXPECT_EQ(cluster.core(2).conf().learners, Ids({2}));
  EXPECT_TRUE(cluster.Converged());
  EXPECT_EQ(Propose(cluster, 1, Change({Voter(2)})), ProposeCode::kAccepted);
  PassTime(cluster);
  EXPECT_EQ(cluster.core(2).conf().voters, Ids({1, 2}));
  EXPECT_EQ(cluster.core(2).conf().learners, Ids({}));
}

TEST(Membership, ALearnerThatRestartsIsStillALearner) {
  // Trap 16.
  Cluster cluster(Nodes(2, 1));
  cluster.Elect(1);
  Propose(cluster, 1, Change({Learner(2)}));
  PassTime(cluster);
  cluster.Crash(2);
  cluster.Restart(2);
  EXPECT_EQ(cluster.core(2).conf().learners, Ids({2}));
  cluster.core(2).Campaign();
  EXPECT_EQ(cluster.core(2).role(), Role::kFollower);
}

TEST(Membership, AnUpdateDoesNotMakeALearnerAVoter) {
  // Trap 15.
  Cluster cluster(Nodes(2, 1));
  cluster.Elect(1);
  Propose(cluster, 1, Change({Learner(2)}));
  PassTime(cluster);
  Propose(cluster, 1, Change({{ConfChangeKind::kUpdate, NodeId(2)}}));
  PassTime(cluster);
  EXPECT_EQ(cluster.core(1).conf().learners, Ids({2}));
}

TEST(Membership, SeveralStepsGoThroughAJointOneThatIsLeftByItself) {
  Cluster cluster(Nodes(4, 3));
  cluster.Elect(1);
  cluster.Settle();
  EXPECT_EQ(Propose(cluster, 1, Change({Voter(4), Removal(3)})), ProposeCode::kAccepted);
  bool joint = false;
  for (int i = 0; i < 200; ++i) {
    cluster.Deliver(0);
    for (uint64_t id = 1; id <= 4; ++id) {
      cluster.Flush(id);
      cluster.Apply(id);
    }
    joint |= !cluster.core(1).conf().voters_outgoing.empty();
  }
  PassTime(cluster);
  EXPECT_TRUE(joint);
  EXPECT_EQ(cluster.core(1).conf().voters, Ids({1, 2, 4}));
  EXPECT_TRUE(cluster.core(1).conf().voters_outgoing.empty());
  EXPECT_EQ(cluster.core(4).conf(), cluster.core(1).conf());
}

TEST(Membership, AnExplicitJointOneStaysUntilItIsLeft) {
  Cluster cluster(Nodes(4, 3));
  cluster.Elect(1);
  cluster.Settle();
  Propose(cluster, 1, Change({Voter(4)}, ConfTransition::kJointExplicit));
  PassTime(cluster);
  EXPECT_EQ(cluster.core(1).conf().voters_outgoing, Ids({1, 2, 3}));
  EXPECT_EQ(Propose(cluster, 1, Change({Removal(4)})), ProposeCode::kConfChangeRefused);
  PassTime(cluster);
  EXPECT_EQ(Propose(cluster, 1, Change({})), ProposeCode::kAccepted);
  PassTime(cluster);
  EXPECT_TRUE(cluster.core(1).conf().voters_outgoing.empty());
}

TEST(Membership, OneChangeAtATimeTheOtherBecomesAnEmptyEntry) {
  Cluster cluster(Nodes(5, 3));
  cluster.Elect(1);
  cluster.Settle();
  const LogIndex before = cluster.core(1).last_index();
  EXPECT_EQ(Propose(cluster, 1, Change({Learner(4)})), ProposeCode::kAccepted);
  EXPECT_EQ(Propose(cluster, 1, Change({Learner(5)})), ProposeCode::kConfChangeRefused);
  EXPECT_EQ(cluster.core(1).last_index(), before + 2);
  PassTime(cluster);
  EXPECT_EQ(cluster.core(1).conf().learners, Ids({4}));
}

TEST(Membership, NoneIsProposedBeforeTheLeaderAppliedItsWholeLog) {
  // Trap 1.
  Cluster cluster(Nodes(1, 1));
  cluster.Elect(1);
  Propose(cluster, 1, Change({Learner(2)}));
  cluster.core(1).StepDown();
  cluster.core(1).Campaign();
  cluster.Pump(1);
  while (!cluster.core(1).is_leader()) ASSERT_TRUE(cluster.Flush(1));
  EXPECT_EQ(Propose(cluster, 1, Change({Learner(3)})), ProposeCode::kConfChangeRefused);
  cluster.Settle();
  EXPECT_EQ(Propose(cluster, 1, Change({Learner(3)})), ProposeCode::kAccepted);
}

TEST(Membership, LeavingWhatIsNotJointIsRefused) {
  Cluster cluster(Nodes(1, 1));
  cluster.Elect(1);
  cluster.Settle();
  EXPECT_EQ(Propose(cluster, 1, Change({})), ProposeCode::kConfChangeRefused);
}

TEST(Membership, ANewLeaderLeavesTheJointOneThatAnotherBegan) {
  // Trap 17.
  Cluster cluster(Nodes(4, 3));
  cluster.Elect(1);
  cluster.Settle();
  Propose(cluster, 1, Change({Voter(4), Removal(3)}));
  // Until node 2 has applied the joint one; the old leader's attempt to leave it never gets out.
  while (cluster.core(2).conf().voters_outgoing.empty()) {
    ASSERT_TRUE(cluster.Deliver(0) | cluster.Flush(1) | cluster.Flush(2) | cluster.Flush(3) |
                cluster.Flush(4) | cluster.Apply(1) | cluster.Apply(2));
    if (cluster.network().empty()) cluster.Tick(1);
  }
  cluster.Crash(1);
  for (int i = 0; i < 100 && !cluster.core(2).is_leader(); ++i) {
    for (uint64_t id = 2; id <= 4; ++id) cluster.Tick(id);
    cluster.Settle();
    if (cluster.Leader() != 0) break;
  }
  cluster.Restart(1);
  PassTime(cluster, 60);
  EXPECT_TRUE(cluster.core(2).conf().voters_outgoing.empty());
  EXPECT_EQ(cluster.core(2).conf().voters, Ids({1, 2, 4}));
}

TEST(Membership, ALeaderThatRemovedItselfStepsDown) {
  Cluster cluster(Nodes(3, 3));
  cluster.Elect(1);
  cluster.Settle();
  Propose(cluster, 1, Change({Removal(1)}));
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
  PassTime(cluster, 40);
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
  const uint64_t leader = cluster.Leader();
  ASSERT_NE(leader, 0u);
  EXPECT_EQ(cluster.core(leader).conf().voters, Ids({2, 3}));
}

TEST(Membership, ALeaderThatRemovedItselfAndStaysTakesNoProposals) {
  Cluster::Options options = Nodes(3, 3);
  options.configure = [](Config& config) { config.step_down_on_removal = false; };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Settle();
  Propose(cluster, 1, Change({Removal(1)}));
  cluster.Settle();
  EXPECT_TRUE(cluster.core(1).is_leader());
  EXPECT_EQ(cluster.Propose(1, "x").code, ProposeCode::kNotLeader);
}

TEST(Membership, AChangeThatDoesNotFitChangesNothing) {
  Cluster cluster(Nodes(1, 1));
  const ConfState before = cluster.core(1).conf();
  EXPECT_EQ(cluster.core(1).ApplyConfChange(Change({Removal(1)})).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(cluster.core(1).ApplyConfChange(Change({})).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(cluster.core(1).conf(), before);
}

TEST(Membership, ARemovedTransfereeEndsTheTransfer) {
  Cluster cluster(Nodes(3, 3));
  cluster.Elect(1);
  cluster.Settle();
  cluster.lost = [](const Message& m) { return m.type == MessageType::kTimeoutNow; };
  Propose(cluster, 1, Change({Removal(3)}));
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(3)).ok());
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().transferee, kNobody);
  EXPECT_EQ(cluster.Propose(1, "x").code, ProposeCode::kAccepted);
}

TEST(Membership, ASmallerQuorumCommitsWhatALargerOneHadNot) {
  Cluster cluster(Nodes(3, 3));
  cluster.Elect(1);
  cluster.Settle();
  Propose(cluster, 1, Change({Removal(3)}));
  // Nodes 2 and 3 store the change; then node 3 is cut off and "x" is on node 1 only.
  while (cluster.core(1).commit() < cluster.core(1).last_index()) {
    ASSERT_TRUE(cluster.Deliver(0) | cluster.Flush(1) | cluster.Flush(2) | cluster.Flush(3));
  }
  cluster.Propose(1, "x");
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).commit(), cluster.core(1).last_index());
  EXPECT_EQ(cluster.core(1).conf().voters, Ids({1, 2}));
}

TEST(Membership, AReadRoundIsJudgedByTheNewQuorum) {
  Cluster cluster(Nodes(2, 2));
  cluster.Elect(1);
  cluster.Settle();
  Propose(cluster, 1, Change({Removal(2)}));
  while (cluster.core(1).commit() < cluster.core(1).last_index()) {
    ASSERT_TRUE(cluster.Deliver(0) | cluster.Flush(1) | cluster.Flush(2));
  }
  cluster.lost = [](const Message&) { return true; };
  ASSERT_EQ(cluster.Read(1, ReadToken(1)), ReadCode::kAccepted);
  EXPECT_TRUE(cluster.node(1).reads.empty());
  cluster.Settle();
  EXPECT_EQ(cluster.node(1).reads.size(), 1u);
}

TEST(Membership, MembershipsNeedALogStartOfTheirOwn) {
  // Else a member that joins later and gets the whole log would not learn of the first members.
  TailLog log({}, SIZE_MAX);
  Config config;
  config.id = NodeId(1);
  InitialState state;
  state.conf.voters = {NodeId(1)};
  EXPECT_DEATH(RaftCore(config, log, state), "CHECK failed");
}

// A cluster of 3 voters and the learner 4, who heard of nothing but its first snapshot or less.
class Promotion : public testing::Test {
 protected:
  Promotion() {
    Cluster::Options options;
    options.nodes = 4;
    options.configure = [](Config& config) { config.learner_ready_percent = 90; };
    cluster_.emplace(options);
    cluster_->Elect(1);
    cluster_->Settle();
    cluster_->lost = [](const Message& m) { return m.to == NodeId(4) || m.from == NodeId(4); };
    EXPECT_EQ(Propose(1, {{ConfChangeKind::kAddLearner, NodeId(4)}}), ProposeCode::kAccepted);
    for (int i = 0; i < 100; ++i) Append();
  }
  void Append() {
    cluster_->Propose(1, "x");
    cluster_->Settle();
  }
  void Hear() {
    cluster_->lost = [](const Message&) { return false; };
    for (int i = 0; i < 3; ++i) {
      cluster_->Tick(1);
      cluster_->Settle();
    }
  }
  ProposeCode Propose(uint64_t id, std::vector<ConfChangeStep> steps) {
    const ProposeCode code = cluster_->core(id).ProposeConfChange({{}, std::move(steps), ""}).code;
    cluster_->Pump(id);
    cluster_->Settle();
    return code;
  }
  bool Votes(uint64_t id) {
    const std::vector<NodeId> voters = cluster_->core(1).conf().voters;
    return std::find(voters.begin(), voters.end(), NodeId(id)) != voters.end();
  }

  std::optional<Cluster> cluster_;
};

TEST_F(Promotion, OfALearnerFarBehindIsRefusedAndAppendsNothing) {
  // Trap 15.
  const LogIndex before = cluster_->core(1).last_index();
  EXPECT_EQ(Propose(1, {{ConfChangeKind::kAddVoter, NodeId(4)}}), ProposeCode::kLearnerNotReady);
  EXPECT_EQ(cluster_->core(1).last_index(), before);
  Hear();
  EXPECT_EQ(Propose(1, {{ConfChangeKind::kAddVoter, NodeId(4)}}), ProposeCode::kAccepted);
  EXPECT_TRUE(Votes(4));
}

TEST_F(Promotion, NeedsTheShareOfTheLogThatIsConfigured) {
  Hear();
  const uint64_t had = cluster_->core(1).last_index().value();
  cluster_->lost = [](const Message& m) { return m.from == NodeId(4); };
  // While it has no less than nine tenths.
  while (had * 10 >= (cluster_->core(1).last_index().value() + 1) * 9) Append();
  EXPECT_EQ(Propose(1, {{ConfChangeKind::kUpdate, NodeId(4)}}), ProposeCode::kAccepted);
  EXPECT_EQ(Propose(1, {{ConfChangeKind::kAddVoter, NodeId(4)}}), ProposeCode::kLearnerNotReady);
}

TEST_F(Promotion, AmongOtherStepsIsJudgedToo) {
  EXPECT_EQ(
      Propose(1, {{ConfChangeKind::kRemove, NodeId(3)}, {ConfChangeKind::kAddVoter, NodeId(4)}}),
      ProposeCode::kLearnerNotReady);
}

TEST_F(Promotion, ThatAFollowerForwardsIsRefusedByTheLeader) {
  EXPECT_EQ(Propose(2, {{ConfChangeKind::kAddVoter, NodeId(4)}}), ProposeCode::kForwarded);
  EXPECT_FALSE(Votes(4));
  Hear();
  EXPECT_EQ(Propose(2, {{ConfChangeKind::kAddVoter, NodeId(4)}}), ProposeCode::kForwarded);
  EXPECT_TRUE(Votes(4));
}

TEST_F(Promotion, OfAStrangerOrRemovalOfALearnerIsNoMatterOfItsLog) {
  EXPECT_EQ(Propose(1, {{ConfChangeKind::kRemove, NodeId(4)}}), ProposeCode::kAccepted);
  EXPECT_EQ(Propose(1, {{ConfChangeKind::kAddVoter, NodeId(4)}}), ProposeCode::kAccepted);
}

}  // namespace
}  // namespace metastore::raft
