// Aim: the tests bite: each bug that can be planted in the core is found, by the table tests and
// our own scripts or by the random clusters. Method: this program runs itself with the bug planted
// (MS_RAFT_MUTATION) and all tests but the random ones; then random runs in processes of their own,
// from seed 1 on, at most kSeedsMax of each kind (or MS_RAFT_SEEDS), the failing one shrunk. The
// seeds of docs/RAFT_TRAPS.md are those of MS_RAFT_SEEDS=150.
// A bug that nothing finds fails the test. What found it is printed as a row of docs/RAFT_TRAPS.md.
#include "raft/mutation.h"

#ifdef MS_MUTATIONS

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/raft/random_run.h"

namespace metastore::raft {
namespace {

constexpr uint64_t kSeedsMax = 20;
constexpr int kAttemptsMax = 150;
constexpr int kSteps = 3000;

// Before any test runs, of the process that a MutationTest started.
class PlantNamed final : public testing::Environment {
 public:
  void SetUp() override {
    const char* name = std::getenv("MS_RAFT_MUTATION");
    for (const MutationName<Mutation>& mutation : Mutations()) {
      if (name != nullptr && mutation.name == name) Plant(mutation.mutation);
    }
  }
};

[[maybe_unused]] testing::Environment* const plant_named =
    testing::AddGlobalTestEnvironment(new PlantNamed);

class MutationTest : public testing::TestWithParam<MutationName<Mutation>> {
 protected:
  void TearDown() override { Plant(Mutation::kNone); }

  // The first of the tests that fails; empty: none.
  std::string FailingTest() {
    const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
    const std::string command = "MS_RAFT_MUTATION=" + std::string(GetParam().name) +
                                " timeout 30 '" + program +
                                "' --gtest_filter='-*MutationTest*:Random*' 2>&1";
    FILE* const output = popen(command.c_str(), "r");
    if (output == nullptr) return "";
    std::string running;
    std::string failed;
    char line[512];
    while (std::fgets(line, sizeof line, output) != nullptr) {
      const std::string_view text(line);
      const std::string_view name = text.substr(std::min<size_t>(text.size(), 13));
      if (text.starts_with("[ RUN      ]")) running = name.substr(0, name.find('\n'));
      if (failed.empty() && text.starts_with("[  FAILED  ]")) failed = running;
    }
    // Ended by a CHECK, or not at all: in the test that was running.
    const bool ended_well = pclose(output) == 0;
    return ended_well || !failed.empty() ? failed : running;
  }

  std::string FailingRun() {
    Plant(GetParam().mutation);
    const char* chosen = std::getenv("MS_RAFT_SEEDS");
    const uint64_t last = chosen == nullptr ? kSeedsMax : std::strtoull(chosen, nullptr, 10);
    for (uint64_t seed = 1; seed <= last; ++seed) {
      for (const Elections elections : {Elections::kSafe, Elections::kPlain, Elections::kLeases}) {
        const std::optional<RecordedRun> run = FindFailure({seed, elections}, kSteps);
        if (!run) continue;
        const RecordedRun least = Shrink(*run, kAttemptsMax);
        EXPECT_LE(least.steps.size(), run->steps.size());
        EXPECT_FALSE(least.broken.empty());
        return Concat("seed ", seed, " ", Name(elections), ", step ", run->steps.size(), ": ",
                      least.broken);
      }
    }
    return "";
  }
};

TEST_P(MutationTest, IsFound) {
  const std::string test = FailingTest();
  const std::string run = FailingRun();
  std::printf("| %s | %s | %s |\n", std::string(GetParam().name).c_str(), test.c_str(),
              run.c_str());
  EXPECT_FALSE(test.empty() && run.empty()) << GetParam().name;
}

std::string TestName(const testing::TestParamInfo<MutationName<Mutation>>& param) {
  std::string name(param.param.name);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, MutationTest,
                         testing::ValuesIn(Mutations().begin(), Mutations().end()), TestName);

}  // namespace
}  // namespace metastore::raft

#endif
