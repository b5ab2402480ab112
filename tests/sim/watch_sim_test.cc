// Aim: whatever happens to members, networks and disks, a watcher is told of every change of its
// range from its start on, once, in order, in whole revisions, or that what it needs was compacted.
// Method: clusters of one and three under faults, clients that watch at every member, fall behind,
// lose their streams and come back, each held against the store's history afterwards; and the same
// with bugs planted that it is there to find.
//
// MS_WATCH_SEEDS (default 4) and MS_WATCH_FROM choose the seeds, MS_WATCH_MUTATION plants a bug.
#include <gtest/gtest.h>

#include <algorithm>

#include "io/base/status.h"
#include "server/mutation.h"
#include "tests/sim/seeds.h"
#include "tests/sim/watch_run.h"

namespace metastore::sim_test {
namespace {

std::string Show(const WatchRunReport& report) {
  std::string text;
  for (const std::string& problem : report.problems) text += problem + "\n";
  return text + report.logs;
}

class WatchFaultsSim : public testing::TestWithParam<int> {
  const PlantedByName planted_{"MS_WATCH_MUTATION"};
};

TEST_P(WatchFaultsSim, NothingIsLostToldTwiceOrOutOfOrder) {
  const uint64_t from = FromEnvironment("MS_WATCH_FROM", 1);
  const uint64_t seeds = FromEnvironment("MS_WATCH_SEEDS", 4);
  WatchRunReport all;
  for (uint64_t seed = from; seed < from + seeds; ++seed) {
    const WatchRunReport report = RunWatchers({.seed = seed, .nodes = GetParam()});
    ASSERT_TRUE(report.problems.empty())
        << Show(report) << "replay: MS_WATCH_FROM=" << seed << " MS_WATCH_SEEDS=1";
    all.changes += report.changes;
    all.lives += report.lives;
    all.events += report.events;
    all.progress += report.progress;
    all.compacted += report.compacted;
    all.holds += report.holds;
    all.faults += report.faults;
  }
  RecordProperty("told", Concat(all.events, " events of ", all.changes, " changes to ", all.lives,
                                " watchers, ", all.progress, " progress answers, ", all.compacted,
                                " compacted, ", all.holds, " holds, ", all.faults, " faults"));
  EXPECT_GT(all.changes, 100 * seeds);
  EXPECT_GT(all.events, 300 * seeds);
  EXPECT_GT(all.lives, 20 * seeds);
  EXPECT_GT(all.progress, 10 * seeds);
  EXPECT_GT(all.compacted, 0u);
  EXPECT_GT(all.faults, 2 * seeds);
}

INSTANTIATE_TEST_SUITE_P(Nodes, WatchFaultsSim, testing::Values(1, 3),
                         [](const auto& one) { return Concat("Members", one.param); });

TEST(WatchSim, AMemberThatTakesASnapshotTellsWhatItHasMissed) {
  uint64_t snapshots = 0;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const WatchRunReport report = RunWatchers({.seed = seed, .cut_off = true});
    EXPECT_TRUE(report.problems.empty()) << seed << ": " << Show(report);
    snapshots += report.snapshots;
  }
  EXPECT_GT(snapshots, 0u);
}

#ifdef MS_MUTATIONS
struct Planted {
  server::Mutation mutation = server::Mutation::kNone;
  uint64_t seeds = 1;     // within which it is found, at most
  bool cut_off = false;   // by the scenario of one that is cut off
  std::string_view says;  // part of what is said of it
};

class PlantedWatchSim : public testing::TestWithParam<Planted> {
 protected:
  ~PlantedWatchSim() override { Plant(server::Mutation::kNone); }
};

TEST_P(PlantedWatchSim, IsFound) {
  Plant(GetParam().mutation);
  std::string found;
  for (uint64_t seed = 1; seed <= GetParam().seeds && found.empty(); ++seed) {
    const WatchRunReport report = RunWatchers({.seed = seed, .cut_off = GetParam().cut_off});
    if (!report.problems.empty()) found = report.problems.front();
  }
  EXPECT_NE(found.find(GetParam().says), std::string::npos) << found;
}

std::string NameOf(const testing::TestParamInfo<Planted>& planted) {
  for (const auto& known : server::ServiceMutations()) {
    if (known.mutation != planted.param.mutation) continue;
    std::string name(known.name);
    std::ranges::replace(name, '-', '_');
    return name;
  }
  return "unnamed";
}

INSTANTIATE_TEST_SUITE_P(
    Mutations, PlantedWatchSim,
    testing::Values(Planted{server::Mutation::kWatchGapIgnored, 6, true, "is next"},
                    Planted{server::Mutation::kWatchSyncedEarly, 20, false, "told"},
                    Planted{server::Mutation::kWatchStartOffByOne, 3, false, "is next"},
                    Planted{server::Mutation::kWatchBudgetDrops, 6, false, "is next"},
                    Planted{server::Mutation::kWatchPlaceForgotten, 6, false, "is next"},
                    Planted{server::Mutation::kWatchProgressBehind, 6, false, "everything up to"},
                    Planted{server::Mutation::kWatchCompactionSilent, 6, false, "is next"}),
    NameOf);
#endif

}  // namespace
}  // namespace metastore::sim_test
