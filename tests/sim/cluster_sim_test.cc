// Aim: three members survive what a minority of them meets, and lose nothing acknowledged. Method:
// whole nodes on simulated machines, clients with real bytes, faults and their ends under one seed
// (nemesis.h), and every check of cluster_harness.h. Few seeds here: `./tools/dev sim` runs more.

#include <gtest/gtest.h>

#include "tests/sim/cluster_run.h"

namespace metastore::sim_test {
namespace {

std::string Lines(const ClusterHarness& cluster) {
  std::string text = Concat(cluster.problems().size(), " problems\n");
  for (const std::string& problem : cluster.problems()) text += problem + "\n";
  return text;
}

TEST(ClusterSim, ServesThroughEveryMemberAndRestarts) {
  ClusterHarness cluster({.seed = 11});
  ASSERT_EQ(cluster.Boot(), OkStatus());
  cluster.workload().Start({.writers = 6,
                            .pause_max = Milliseconds(20),
                            .transactions = true,
                            .serializable_percent = 20});
  cluster.RunFor(Seconds(2));
  for (const auto& member : cluster.members()) {
    member->node.Stop();
    member->restart_at = cluster.world().Now() + Milliseconds(500);
    cluster.RunFor(Seconds(2));
  }
  cluster.workload().Stop();
  cluster.Settle(Seconds(20));
  EXPECT_TRUE(cluster.ok()) << Lines(cluster) << cluster.world().PrintLogs(30);
  EXPECT_GT(cluster.workload().counts().acknowledged, 500u);
  EXPECT_GT(cluster.counts().digests, 2u);
}

struct Founders {
  int nodes = 3;
  uint64_t seeds = 1;
};

class ClusterFaultsSim : public testing::TestWithParam<Founders> {};

TEST_P(ClusterFaultsSim, LosesNothingAndServesAgain) {
  const auto [nodes, seeds] = GetParam();
  ClusterRunTotals totals;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const ClusterRunReport report =
        RunCluster({.seed = seed, .nodes = nodes, .faults_for = Seconds(6)});
    totals.Add(report);
    if (report.problems.empty()) continue;
    std::string text;
    for (const std::string& problem : report.problems) text += problem + "\n";
    FAIL() << text << report.logs << "replay: ./tools/dev sim --seeds 1 --from " << seed
           << " --nodes " << nodes << " --seconds 6 --trace";
  }
  EXPECT_GT(totals.operations(), 200 * seeds) << totals.Print();
  EXPECT_GT(totals.faults(), 5 * seeds) << totals.Print();
}

INSTANTIATE_TEST_SUITE_P(Nodes, ClusterFaultsSim,
                         testing::Values(Founders{.nodes = 1, .seeds = 3},
                                         Founders{.nodes = 3, .seeds = 3},
                                         Founders{.nodes = 5, .seeds = 1}),
                         [](const auto& one) { return Concat("Founders", one.param.nodes); });

TEST(ClusterSim, ASeedReplaysExactly) {
  const ClusterRunOptions options{.seed = 424242, .faults_for = Seconds(4)};
  const ClusterRunReport first = RunCluster(options);
  const ClusterRunReport second = RunCluster(options);
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(first.events, second.events);
  EXPECT_EQ(first.operations.operations(), second.operations.operations());
}

}  // namespace
}  // namespace metastore::sim_test
