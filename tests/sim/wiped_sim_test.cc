// Aim: a member that comes back without its disk is let in by nobody, also not by one that has just
// restarted and has applied nothing yet: what it has logged tells it from the former one. Method:
// all lose power; the wiped one and a restarted one would be a majority.
#include <gtest/gtest.h>

#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {
namespace {

struct WipedSim : testing::TestWithParam<uint64_t> {};

TEST_P(WipedSim, ARestartedMemberElectsNobodyWithAWipedOne) {
  ClusterHarness cluster({.seed = GetParam()});
  ASSERT_EQ(cluster.Boot(), OkStatus());
  cluster.workload().Start({.writers = 4, .pause_max = Milliseconds(20)});
  cluster.RunFor(Seconds(2));
  ClusterMember& down = *cluster.members()[0];
  ClusterMember& wiped = *cluster.members()[1];
  ClusterMember& restarted = *cluster.members()[2];
  for (const auto& member : cluster.members()) {
    member->node.PowerLoss();
    member->restart_at = MonoTime::Max() - Nanoseconds(1);  // when it is told
  }
  wiped.wiped = true;
  wiped.remove_after = MonoTime::Max();
  cluster.LoseDisk(wiped);
  cluster.Start(restarted);
  cluster.Start(wiped);
  cluster.RunFor(Seconds(10));
  EXPECT_EQ(cluster.Leader(), nullptr);
  EXPECT_TRUE(wiped.refused);
  cluster.Start(down);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Leader() != nullptr; }, Seconds(10)));
  cluster.RunFor(Seconds(2));
  EXPECT_TRUE(cluster.ok()) << cluster.problems().front();
  EXPECT_FALSE(wiped.node.running());
}

INSTANTIATE_TEST_SUITE_P(Seeds, WipedSim, testing::Values(1, 2, 3));

}  // namespace
}  // namespace metastore::sim_test
