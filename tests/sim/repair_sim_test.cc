// Aim: a member whose log is damaged gets everything from the others and never lets go of what it
// had promised. Method: whole clusters (cluster_harness.h); flipped bits below a promise; the worst
// partition for one that votes too early; crashes at the operations of the repair's start.
#include <gtest/gtest.h>

#include "server/mutation.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {
namespace {

std::string Lines(const ClusterHarness& cluster) {
  std::string text;
  for (const std::string& problem : cluster.problems()) text += problem + "\n";
  return text;
}

server::GroupStatus StatusOf(ClusterMember& member) { return member.node.state().group().status(); }

class RepairSim : public testing::Test {
 protected:
  void Boot(uint64_t seed) {
    cluster_ = std::make_unique<ClusterHarness>(
        ClusterOptions{.seed = seed, .segment_bytes = 4 * limits::kMiB});
    ASSERT_EQ(cluster_->Boot(), OkStatus());
    cluster_->workload().Start({.writers = 4, .pause_max = Milliseconds(20)});
    cluster_->RunFor(Seconds(1));
    leader_ = cluster_->Leader();
    ASSERT_NE(leader_, nullptr);
    for (const auto& member : cluster_->members()) {
      if (member.get() == leader_) continue;
      (damaged_ == nullptr ? damaged_ : other_) = member.get();
    }
  }

  void Damage(ClusterMember& member) {
    member.node.PowerLoss();
    Prng prng(7);
    ASSERT_TRUE(cluster_->DamageLog(member, prng));
    member.restart_at = cluster_->world().Now();
  }

  void SettleAndCheck() {
    cluster_->workload().Stop();
    cluster_->Settle(Seconds(60));
    EXPECT_TRUE(cluster_->ok()) << Lines(*cluster_) << cluster_->world().PrintLogs(30);
  }

  bool ElectsWithoutTheLeader();

  std::unique_ptr<ClusterHarness> cluster_;
  ClusterMember* leader_ = nullptr;
  ClusterMember* damaged_ = nullptr;
  ClusterMember* other_ = nullptr;
};

TEST_F(RepairSim, AFollowerGetsEverythingAgainAndVotes) {
  Boot(3);
  Damage(*damaged_);
  ASSERT_TRUE(cluster_->RunUntil([&] { return !damaged_->log_damaged; }, Seconds(20)))
      << cluster_->world().PrintLogs(30);
  // Without it there is no majority now.
  leader_->node.PowerLoss();
  leader_->restart_at = cluster_->world().Now() + Seconds(30);
  EXPECT_TRUE(cluster_->RunUntil([&] { return cluster_->Leader() != nullptr; }, Seconds(10)));
  SettleAndCheck();
}

TEST_F(RepairSim, ALeaderIsRepairedToo) {
  Boot(4);
  Damage(*leader_);
  EXPECT_TRUE(cluster_->RunUntil([&] { return !leader_->log_damaged; }, Seconds(20)))
      << cluster_->world().PrintLogs(30);
  SettleAndCheck();
}

// What was acknowledged last is on the leader alone, and one that lacks it sees only the member
// that has forgotten it: the two are a majority. Whether somebody is elected while the leader
// stands still.
bool RepairSim::ElectsWithoutTheLeader() {
  Boot(5);
  cluster_->workload().Stop();
  cluster_->RunFor(Seconds(1));  // all have applied all, so that they answer without a leader
  sim::SimNetwork& network = cluster_->world().network();
  for (ClusterMember* one : {leader_, damaged_}) {
    network.Cut(one->node.machine(), other_->node.machine());
  }
  cluster_->workload().Start({.writers = 4, .pause_max = Milliseconds(20)});
  const uint64_t before = cluster_->workload().counts().acknowledged;
  cluster_->RunFor(Seconds(3));
  EXPECT_GT(cluster_->workload().counts().acknowledged, before + 20);
  cluster_->workload().Stop();
  cluster_->RunFor(Milliseconds(300));
  network.HealAll();
  network.Cut(leader_->node.machine(), other_->node.machine());
  Damage(*damaged_);
  const auto repairs = [&] {
    return damaged_->node.running() && StatusOf(*damaged_).repair_term != Term();
  };
  EXPECT_TRUE(cluster_->RunUntil(repairs, Seconds(30))) << cluster_->world().PrintLogs(30);
  leader_->node.machine().Pause();
  cluster_->RunFor(Seconds(10));
  const ClusterMember* const leads = cluster_->Leader();
  const bool elected = leads != nullptr && leads != leader_;
  leader_->node.machine().Resume();
  network.HealAll();
  return elected;
}

TEST_F(RepairSim, WhoHasForgottenElectsNobody) {
  EXPECT_FALSE(ElectsWithoutTheLeader());
  SettleAndCheck();
}

#ifdef MS_MUTATIONS
// The leader goes on counting what is not there any more.
TEST_F(RepairSim, BelowTheOthersTermNothingIsRepaired) {
  Boot(3);
  Plant(server::Mutation::kTermsNotAsked);
  Damage(*damaged_);
  EXPECT_FALSE(cluster_->RunUntil([&] { return !damaged_->log_damaged; }, Seconds(10)));
  Plant(server::Mutation::kNone);
}

TEST_F(RepairSim, VotingAtOnceLosesWhatWasAcknowledged) {
  Plant(server::Mutation::kElectionsNotClosed);
  EXPECT_TRUE(ElectsWithoutTheLeader());
  cluster_->RunUntil([&] { return !cluster_->ok(); }, Seconds(20));
  EXPECT_FALSE(cluster_->ok());  // another entry is committed in the place of one
  Plant(server::Mutation::kNone);
}
#endif

// It restarts before it has heard of anybody, beside one that has just restarted too and knows
// nobody yet: an answer without members is none.
TEST_F(RepairSim, WhoKnowsNobodyAsksUntilItIsTold) {
  Boot(8);
  cluster_->workload().Stop();
  cluster_->RunFor(Seconds(1));
  cluster_->world().network().Cut(leader_->node.machine(), other_->node.machine());
  damaged_->node.PowerLoss();
  damaged_->restart_at = MonoTime::Max() - Nanoseconds(1);  // when it is told
  ASSERT_TRUE(cluster_->RunUntil([&] { return cluster_->Leader() == nullptr; }, Seconds(10)));
  Prng prng(7);
  ASSERT_TRUE(cluster_->DamageLog(*damaged_, prng));
  damaged_->restart_at = cluster_->world().Now();
  const auto repairs = [&] {
    return damaged_->node.running() && StatusOf(*damaged_).repair_term != Term();
  };
  ASSERT_TRUE(cluster_->RunUntil(repairs, Seconds(30))) << cluster_->world().PrintLogs(30);
  for (ClusterMember* member : {leader_, damaged_, other_}) {
    member->node.Kill();
    member->restart_at = MonoTime::Max() - Nanoseconds(1);
  }
  cluster_->world().network().HealAll();
  other_->node.disk().SetSlowFactor(50);
  cluster_->Start(*other_);
  ASSERT_TRUE(cluster_->RunUntil([&] { return other_->node.running(); }, Seconds(10)));
  other_->node.disk().Stall();
  ASSERT_TRUE(other_->node.state().group().members().all().empty());
  cluster_->Start(*damaged_);
  cluster_->RunFor(Seconds(2));
  other_->node.disk().SetSlowFactor(1);
  other_->node.disk().Release();
  cluster_->Start(*leader_);
  EXPECT_TRUE(cluster_->RunUntil([&] { return !damaged_->log_damaged; }, Seconds(20)));
  SettleAndCheck();
}

// A cluster of one, or of two, has nobody who could say what was promised.
TEST_F(RepairSim, OneOfTwoWaitsAndKeepsItsLog) {
  cluster_ = std::make_unique<ClusterHarness>(ClusterOptions{.seed = 6, .nodes = 2});
  ASSERT_EQ(cluster_->Boot(), OkStatus());
  cluster_->RunFor(Seconds(1));
  ClusterMember& member = *cluster_->members().front();
  Damage(member);
  cluster_->RunFor(Seconds(1));
  const auto gives_up = [&] { return member.last_end == LifeEnd::kDamaged; };
  EXPECT_TRUE(cluster_->RunUntil(gives_up, Seconds(30)));
  EXPECT_TRUE(cluster_->ok()) << Lines(*cluster_);
  EXPECT_GT(member.node.machine().log().Count("asking the other members"), 0u);
  EXPECT_EQ(member.node.machine().log().Count("was set aside"), 0u);
}

TEST_F(RepairSim, ACrashAtAnyStepOfItEndsInARepairedMember) {
  for (uint64_t at = 1; at < 120; at += 7) {
    SCOPED_TRACE(Concat("crash at operation ", at));
    leader_ = damaged_ = other_ = nullptr;
    Boot(100 + at);
    damaged_->crash_in_recovery = at;
    Damage(*damaged_);
    EXPECT_TRUE(cluster_->RunUntil([&] { return !damaged_->log_damaged; }, Seconds(40)))
        << Lines(*cluster_) << cluster_->world().PrintLogs(30);
    SettleAndCheck();
  }
}

}  // namespace
}  // namespace metastore::sim_test
