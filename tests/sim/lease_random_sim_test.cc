// Aim: whatever happens to members, networks, disks and clocks, a lease lives as long as a client
// was told that it would, goes soon after that when nobody keeps it alive, and its keys with it.
// Method: clusters of one and three under faults, clients that hold leases at every member, each
// answer held against the cluster's log afterwards; and the same with bugs planted that it is there
// to find.
//
// MS_LEASE_SEEDS (default 3) and MS_LEASE_FROM choose the seeds, MS_LEASE_MUTATION plants a bug,
// MS_LEASE_TRACE says what happens.
#include <gtest/gtest.h>

#include "io/base/status.h"
#include "server/mutation.h"
#include "tests/sim/lease_run.h"
#include "tests/sim/seeds.h"

namespace metastore::sim_test {
namespace {

std::string Show(const LeaseRunReport& report) {
  std::string text;
  for (const std::string& problem : report.problems) text += problem + "\n";
  return text + report.logs;
}

class LeaseFaultsSim : public testing::TestWithParam<int> {
  const PlantedByName planted_{"MS_LEASE_MUTATION"};
};

TEST_P(LeaseFaultsSim, NoneEndsEarlyOrLate) {
  const uint64_t from = FromEnvironment("MS_LEASE_FROM", 1);
  const uint64_t seeds = FromEnvironment("MS_LEASE_SEEDS", 3);
  LeaseRunReport all;
  for (uint64_t seed = from; seed < from + seeds; ++seed) {
    const LeaseRunReport report = RunLeases(
        {.seed = seed, .nodes = GetParam(), .trace = FromEnvironment("MS_LEASE_TRACE", 0) != 0});
    EXPECT_TRUE(report.problems.empty())
        << Show(report) << "replay: MS_LEASE_FROM=" << seed << " MS_LEASE_SEEDS=1";
    all.lives += report.lives;
    all.expired += report.expired;
    all.kept += report.kept;
    all.renewed += report.renewed;
    all.gone += report.gone;
    all.unanswered += report.unanswered;
    all.checkpoints += report.checkpoints;
    all.elections += report.elections;
    all.faults += report.faults;
  }
  const std::string told = Concat(
      all.lives, " leases, ", all.expired, " expired, ", all.kept, " kept to the end; ",
      all.renewed, " renewals, ", all.gone, " told gone, ", all.unanswered, " unanswered; ",
      all.checkpoints, " checkpoints, ", all.elections, " elections, ", all.faults, " faults");
  RecordProperty("told", told);
  EXPECT_GT(all.lives, 10 * seeds) << told;
  EXPECT_GT(all.expired, 5 * seeds) << told;
  EXPECT_GT(all.renewed, 20 * seeds) << told;
  EXPECT_GT(all.gone, 5 * seeds) << told;
  EXPECT_GT(all.kept, 0u) << told;
  EXPECT_GT(all.faults, 5 * seeds) << told;
}

INSTANTIATE_TEST_SUITE_P(Nodes, LeaseFaultsSim, testing::Values(1, 3),
                         [](const auto& one) { return Concat("Members", one.param); });

#ifdef MS_MUTATIONS
struct Planted {
  server::Mutation mutation = server::Mutation::kNone;
  uint64_t from = 1;
  std::string_view says;  // part of what is said of it
};

class PlantedLeaseSim : public testing::TestWithParam<Planted> {
 protected:
  ~PlantedLeaseSim() override { Plant(server::Mutation::kNone); }
};

// By a seed that has found it; two more, since what a seed does changes with the code.
TEST_P(PlantedLeaseSim, IsFound) {
  Plant(GetParam().mutation);
  std::string found;
  for (uint64_t seed = GetParam().from; seed < GetParam().from + 3 && found.empty(); ++seed) {
    for (const std::string& problem : RunLeases({.seed = seed}).problems) found += problem + "\n";
  }
  EXPECT_NE(found.find(GetParam().says), std::string::npos) << found;
}

INSTANTIATE_TEST_SUITE_P(
    Mutations, PlantedLeaseSim,
    testing::Values(Planted{server::Mutation::kOldTimesKept, 6, "its time was over before"},
                    Planted{server::Mutation::kCheckpointKept, 6, "it was promised"},
                    Planted{server::Mutation::kCheckpointIgnored, 2, "should have ended by"}),
    [](const auto& planted) { return Concat("Bug", planted.index); });
#endif

}  // namespace
}  // namespace metastore::sim_test
