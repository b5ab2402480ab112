// Aim: under any schedule nothing committed is lost, no term has two leaders, replicas apply the
// same entries, reads are not stale, and when the faults stop the cluster makes progress again.
// Method: random runs (random_run.h), checked after each step (cluster_safety.cc). One that fails
// is shrunk and printed as a script.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/raft/random_run.h"

namespace metastore::raft {
namespace {

constexpr int kSteps = 4000;
constexpr int kAttemptsMax = 5000;  // of shrinking

uint64_t Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::strtoull(value, nullptr, 10);
}

// MS_RAFT_SEEDS in the environment runs that many more; MS_RAFT_SEED only that one.
void RunSeeds(uint64_t first, Elections elections) {
  uint64_t count = 150 + Environment("MS_RAFT_SEEDS");
  if (const uint64_t only = Environment("MS_RAFT_SEED"); only != 0) {
    first = only;
    count = 1;
  }
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const RunOptions options{seed, elections};
    RandomRun run(options);
    run.Draw(kSteps);
    if (run.record().broken.empty()) continue;
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    GTEST_FAIL() << run.record().broken << "\nreplay: MS_RAFT_SEED=" << seed
                 << " raft_test --gtest_filter=" << test.test_suite_name() << "." << test.name()
                 << "\nor as MS_RAFT_SCRIPT of RandomScript.Replays:\n"
                 << ScriptText(Shrink(run.record(), kAttemptsMax));
  }
}

TEST(RandomCluster, IsSafeAndRecoversWithPreVoteAndCheckQuorum) { RunSeeds(1, Elections::kSafe); }
TEST(RandomCluster, IsSafeAndRecoversWithPlainElections) { RunSeeds(1000001, Elections::kPlain); }
TEST(RandomCluster, IsSafeAndRecoversWithLeasesOfDriftingClocks) {
  RunSeeds(2000001, Elections::kLeases);
}

TEST(RandomCluster, TheRunsElectCommitAndSurviveFaults) {
  constexpr uint64_t kRuns = 24;
  uint64_t committed = 0;
  size_t leaders = 0;
  size_t crashes = 0;
  for (uint64_t seed = 1; seed <= kRuns; ++seed) {
    RandomRun run({seed, Elections::kSafe});
    run.Draw(kSteps);
    ASSERT_EQ(run.record().broken, "");
    committed += run.cluster().committed_anywhere().value();
    leaders += run.cluster().leaders_seen();
    for (const RandomStep& step : run.record().steps) crashes += step.kind == StepKind::kCrash;
  }
  RecordProperty("committed", std::to_string(committed));
  EXPECT_GT(committed, kRuns * 50) << leaders << " leaders, " << crashes << " crashes";
  EXPECT_GT(leaders, kRuns * 2) << committed << " committed, " << crashes << " crashes";
  EXPECT_GT(crashes, kRuns * 5);
}

TEST(RandomScript, ARunIsTheSameWhenItsTextIsReplayed) {
  RandomRun run({7, Elections::kLeases});
  run.Draw(2000);
  ASSERT_EQ(run.record().broken, "");
  const std::string text = ScriptText(run.record());
  const StatusOr<std::vector<Directive>> script = ParseScript(text);
  ASSERT_TRUE(script.ok()) << script.status();
  const StatusOr<RecordedRun> parsed = ParseRun(script->front());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  RandomRun again(parsed->options);
  again.Replay(parsed->steps);
  EXPECT_EQ(ScriptText(again.record()), text);
}

TEST(RandomScript, WhatIsNoStepIsRefused) {
  for (const std::string line : {"dance 1", "tick", "deliver 1 2", "change 1 x2 transition=auto",
                                 "change 1 v2 transition=soon"}) {
    const StatusOr<std::vector<Directive>> script =
        ParseScript("cluster seed=1 elections=safe\n" + line + "\n----\nok\n");
    ASSERT_TRUE(script.ok());
    EXPECT_FALSE(ParseRun(script->front()).ok()) << line;
  }
}

// MS_RAFT_SCRIPT names a file that a failing run printed.
TEST(RandomScript, Replays) {
  const char* path = std::getenv("MS_RAFT_SCRIPT");
  if (path == nullptr) GTEST_SKIP() << "no MS_RAFT_SCRIPT";
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  const StatusOr<std::vector<Directive>> script = ParseScript(text.str());
  ASSERT_TRUE(script.ok() && !script->empty()) << script.status();
  const StatusOr<RecordedRun> run = ParseRun(script->front());
  ASSERT_TRUE(run.ok()) << run.status();
  RandomRun again(run->options);
  again.Replay(run->steps);
  EXPECT_EQ(again.record().broken, "");
}

}  // namespace
}  // namespace metastore::raft
