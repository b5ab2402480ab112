// Aim: the crash matrix bites: each bug that can be planted in the log is found by it. Method: each
// mutation runs the matrix in a process of its own until a case fails, by its judgement or by a
// CHECK; the case is printed. One that no case finds fails the test.
#include "wal/mutation.h"

#ifdef MS_MUTATIONS

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/wal/crash_matrix.h"

namespace metastore::wal {
namespace {

constexpr int kFound = 17;
constexpr int kNotFound = 18;

using Part = void (*)(const MatrixOptions&, MatrixReport&);

constexpr Part kParts[] = {CrashAtEveryChange, CrashInPurge,   CrashInRecycled, MixHistories,
                           LoseEachSector,     TearEachSector, FlipFooter,      FailEachWrite,
                           LoseZeros,          LoseEachWrite,  FlipEachByte};

MatrixReport report;
std::string_view planted;

void Say(const char* how, std::string_view what) {
  std::printf("%.*s: %s in case %llu, %s%s%.*s\n", static_cast<int>(planted.size()), planted.data(),
              how, static_cast<unsigned long long>(report.cases), report.where.c_str(),
              what.empty() ? "" : ": ", static_cast<int>(what.size()), what.data());
  std::fflush(stdout);
}

// The process ends right here, so what a signal handler may not do otherwise is harmless.
void OnAbort(int) {
  Say("found by a CHECK", "");
  std::_Exit(kFound);
}

// Ends the process if the part finds something.
void Try(Part part, MatrixOptions options, uint32_t depth) {
  options.depth = depth;
  report.where = "what sets a part up";
  part(options, report);
  if (!report.failed()) return;
  Say("found", report.failure.substr(0, std::min<size_t>(report.failure.find('\n'), 200)));
  std::_Exit(kFound);
}

void Hunt(const MutationName<Mutation>& mutation) {
  planted = mutation.name;
  Plant(mutation.mutation);
  std::signal(SIGABRT, OnAbort);
  // What is quick first.
  const MatrixOptions sparse{.change_every = 5,
                             .again_every = 60,
                             .goes_on_every = 10,
                             .device_every = 12,
                             .byte_step = 97};
  for (const MatrixOptions& options : {sparse, MatrixOptions{.byte_step = 7}}) {
    for (const uint32_t depth : {1u, 2u}) {
      for (const Part part : kParts) Try(part, options, depth);
    }
  }
  Say("NOT FOUND", "");
  std::_Exit(kNotFound);
}

class MutationTest : public ::testing::TestWithParam<MutationName<Mutation>> {};

TEST_P(MutationTest, IsFound) {
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_EXIT(Hunt(GetParam()), ::testing::ExitedWithCode(kFound), "") << GetParam().name;
}

INSTANTIATE_TEST_SUITE_P(All, MutationTest, ::testing::ValuesIn(Mutations()), [](const auto& test) {
  std::string name(test.param.name);
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace metastore::wal

#else

// Without the option there is nothing to switch on, and nothing is left of it in the code.
static_assert(!metastore::Mutated(metastore::wal::Mutation::kAckAtSubmit));

#endif
