// Aim: our session and nghttp2's hear and say the same, whatever a client sends and however it is
// cut. Method: random frames, mostly well-formed, fed to both (tests/net/oracle/differ.h). A
// failure names its seed; MS_SEED runs that one alone.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/net/oracle/differ.h"

namespace metastore::net_test {
namespace {

constexpr uint64_t kSeeds = 3000;
constexpr size_t kFrames = 60;

void Run(uint64_t seed, bool across_frames) {
  const DifferOptions options{.seed = seed,
                              .habit = static_cast<uint8_t>(seed % 16),
                              .across_frames = across_frames,
                              .shut_down = seed % 11 == 0,
                              .acknowledge = seed % 3 != 0};
  const std::string difference = DifferenceOfSessions(RandomFrames(seed, kFrames), options);
  ASSERT_EQ(difference, "") << "MS_SEED=" << seed;
}

void RunAll(bool across_frames) {
  if (const char* seed = std::getenv("MS_SEED"); seed != nullptr)
    return Run(std::strtoull(seed, nullptr, 10), across_frames);
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Run(seed, across_frames);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Http2DifferTest, AnyCutWithinFrames) { RunAll(false); }

TEST(Http2DifferTest, AnyCutAcrossFrames) { RunAll(true); }

}  // namespace
}  // namespace metastore::net_test
