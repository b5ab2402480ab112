// Aim: whatever I/O a log stops at, and whatever a device does to it, recovery and `walinspect
// verify` say what is true: below the last promise damage is damage and nothing acknowledged is
// lost; above it there is at most a torn tail. Method: the parts of crash_matrix.h;
// MS_CRASH_MATRIX=full runs the long form.
#include "tests/wal/crash_matrix.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace metastore::wal {
namespace {

MatrixOptions Options(uint32_t depth) {
  const char* form = std::getenv("MS_CRASH_MATRIX");
  if (form == nullptr || std::string_view(form) != "full") return {.depth = depth};
  return {.depth = depth,
          .again_every = 1,
          .goes_on_every = 2,
          .device_every = 1,
          .subsets_max = 1024,
          .open_every = 1};
}

void RunAtBothDepths(void (*part)(const MatrixOptions&, MatrixReport&), uint64_t cases_min) {
  uint64_t cases = 0;
  for (const uint32_t depth : {1u, 2u}) {
    MatrixReport report;
    part(Options(depth), report);
    EXPECT_EQ(report.failure, "") << report.where;
    cases += report.cases;
  }
  std::printf("%llu cases\n", static_cast<unsigned long long>(cases));
  EXPECT_GE(cases, cases_min);
}

void RunOnce(void (*part)(const MatrixOptions&, MatrixReport&), uint64_t cases_min) {
  MatrixReport report;
  part(Options(1), report);
  EXPECT_EQ(report.failure, "") << report.where;
  std::printf("%llu cases\n", static_cast<unsigned long long>(report.cases));
  EXPECT_GE(report.cases, cases_min);
}

TEST(CrashMatrixTest, ACrashAtEveryChangeAndAgainInRecovery) {
  RunAtBothDepths(CrashAtEveryChange, 3000);
}
TEST(CrashMatrixTest, ACrashInAPurgeThatFreesSegments) { RunAtBothDepths(CrashInPurge, 200); }
TEST(CrashMatrixTest, ACrashInARecycledSegment) { RunAtBothDepths(CrashInRecycled, 200); }
TEST(CrashMatrixTest, AnySubsetOfTheSectorsOfAWrite) { RunAtBothDepths(CrashWithSubsets, 1000); }
TEST(CrashMatrixTest, AWriteThatFails) { RunAtBothDepths(FailEachWrite, 60); }
TEST(CrashMatrixTest, AWriteThatIsLostOrMisdirected) { RunAtBothDepths(LoseEachWrite, 60); }
TEST(CrashMatrixTest, ACutWhoseZerosAreLost) { RunAtBothDepths(LoseZeros, 100); }
TEST(DamageMatrixTest, EveryByteFlipped) { RunOnce(FlipEachByte, 35000); }
TEST(DamageMatrixTest, EverySectorTorn) { RunOnce(TearEachSector, 70); }
TEST(DamageMatrixTest, EverySectorUnreadable) { RunOnce(LoseEachSector, 150); }
TEST(DamageMatrixTest, EveryByteOfAFooterFlipped) { RunOnce(FlipFooter, 200); }
TEST(DamageMatrixTest, FramesOfAnotherContinuation) { RunOnce(MixHistories, 6); }

}  // namespace
}  // namespace metastore::wal
