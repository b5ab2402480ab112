// Aim: what random clusters meet too rarely: a member that is removed stops, a leader whose disk
// stalls gives up, a vote outlives a restart. Method: directed scenarios (cluster_harness.h), each
// also with the bug planted that it is there to find.
#include <gtest/gtest.h>

#include "server/mutation.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {
namespace {

class DriverSim : public testing::Test {
 protected:
  ~DriverSim() override {
#ifdef MS_MUTATIONS
    Plant(server::Mutation::kNone);
#endif
  }

  void Boot(ClusterOptions options) {
    cluster_ = std::make_unique<ClusterHarness>(std::move(options));
    ASSERT_EQ(cluster_->Boot(), OkStatus());
    cluster_->workload().Start({.writers = 4, .pause_max = Milliseconds(20)});
    cluster_->RunFor(Seconds(1));
    ASSERT_NE(cluster_->Leader(), nullptr);
  }

  std::string FirstProblem() const { return cluster_->ok() ? "" : cluster_->problems().front(); }

  bool StopsWhenRemoved();
  void StallTheLeader();
  void VoteAndRestart(uint64_t seed);

  std::unique_ptr<ClusterHarness> cluster_;
};

io::Task<void> Remove(SimNode& node, NodeId id, bool& done) {
  server::Member member{.id = id};
  const Status removed =
      co_await ChangeMember(node, server::MemberOp::kRemove, std::move(member), 1, Seconds(5));
  done = removed.ok();
}

bool DriverSim::StopsWhenRemoved() {
  Boot({.seed = 41});
  cluster_->workload().Stop();
  cluster_->RunFor(Seconds(7));  // links must have been up for a while
  ClusterMember* const leader = cluster_->Leader();
  ClusterMember* removed = nullptr;
  for (const auto& member : cluster_->members()) {
    if (member.get() != leader) removed = member.get();
  }
  removed->standing = Standing::kLeaving;
  bool done = false;
  leader->node.SpawnCall(Remove(leader->node, removed->id, done));
  EXPECT_TRUE(cluster_->RunUntil([&] { return done; }, Seconds(10)));
  return cluster_->RunUntil([&] { return removed->refused; }, Seconds(10));
}

TEST_F(DriverSim, AMemberThatIsRemovedStops) {
  EXPECT_TRUE(StopsWhenRemoved());
  EXPECT_EQ(FirstProblem(), "");
}

void DriverSim::StallTheLeader() {
  Boot({.seed = 42});
  sim::SimDisk& disk = cluster_->Leader()->node.disk();
  disk.Stall();
  cluster_->RunFor(Seconds(4));
  disk.Release();
  cluster_->RunFor(Seconds(1));
}

TEST_F(DriverSim, ALeaderWhoseDiskStallsGivesUp) {
  StallTheLeader();
  EXPECT_EQ(FirstProblem(), "");
}

// The winner of an election is cut off before anybody hears of it, its voter restarts, and the
// former leader, which knows nothing of that term, comes back and campaigns for it.
void DriverSim::VoteAndRestart(uint64_t seed) {
  ClusterOptions options{.seed = seed};
  options.world.network.delay_min = options.world.network.delay_max = Milliseconds(15);
  Boot(std::move(options));
  cluster_->workload().Stop();
  cluster_->RunFor(Seconds(1));
  ClusterMember* const former = cluster_->Leader();
  former->node.PowerLoss();
  former->restart_at = MonoTime::Max() - Nanoseconds(1);  // when it is told
  ASSERT_TRUE(cluster_->RunUntil([&] { return cluster_->Leader() != nullptr; }, Seconds(10)));
  ClusterMember* const winner = cluster_->Leader();
  cluster_->world().network().Isolate(winner->node.machine());
  for (const auto& member : cluster_->members()) {
    if (member.get() == winner || member.get() == former) continue;
    member->node.PowerLoss();
    cluster_->Start(*member);
  }
  cluster_->Start(*former);
  cluster_->RunFor(Seconds(5));
  cluster_->world().network().HealAll();
  cluster_->RunFor(Seconds(2));
}

constexpr uint64_t kVoteSeeds = 4;

TEST_F(DriverSim, AVoteOutlivesARestart) {
  for (uint64_t seed = 1; seed <= kVoteSeeds; ++seed) {
    VoteAndRestart(seed);
    EXPECT_EQ(FirstProblem(), "") << seed;
  }
}

#ifdef MS_MUTATIONS
TEST_F(DriverSim, OneThatGoesOnAfterItsRemovalIsFound) {
  Plant(server::Mutation::kRemovedGoesOn);
  EXPECT_FALSE(StopsWhenRemoved());
}

TEST_F(DriverSim, ASlowDiskThatLeadsOnIsFound) {
  Plant(server::Mutation::kSlowDiskLeads);
  StallTheLeader();
  EXPECT_NE(FirstProblem(), "");
}

TEST_F(DriverSim, AForgottenVoteIsFound) {
  Plant(server::Mutation::kVoteForgotten);
  std::string found;
  for (uint64_t seed = 1; seed <= kVoteSeeds && found.empty(); ++seed) {
    VoteAndRestart(seed);
    found = FirstProblem();
  }
  EXPECT_NE(found.find("two leaders in term"), std::string::npos) << found;
}
#endif

}  // namespace
}  // namespace metastore::sim_test
