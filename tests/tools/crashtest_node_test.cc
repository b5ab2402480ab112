// Aim: crashtest on the real node: a recording explains every byte the node left on its disk; no
// crash in it loses anything; and what would be lost is found: acknowledgements that come too
// early, and, where they are compiled in, planted bugs of the log. Method: the metastore of this
// build, on the loopback, with data below the working directory; a few dozen images each.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "tools/walinspect/crashtest/command.h"
#include "tools/walinspect/crashtest/real_disk.h"
#include "tools/walinspect/crashtest/record.h"
#include "tools/walinspect/crashtest/run.h"

namespace metastore::crashtest {
namespace {

class CrashtestNodeTest : public ::testing::Test {
 protected:
  CrashtestNodeTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::absolute(Concat("crashtest.", getpid(), ".", info->name()));
    EXPECT_TRUE(MakeDirectory(directory_).ok());
  }
  ~CrashtestNodeTest() override {
    unsetenv("METASTORE_MUTATION");
    EXPECT_TRUE(RemoveTree(directory_).ok());
  }

  StatusOr<Recording> MakeRecording(uint64_t writes) {
    StatusOr<std::string> bytes =
        Record({.node = node_, .work = directory_ + "/data", .writes = writes}, [](auto) {});
    MS_RETURN_IF_ERROR(bytes.status());
    return ParseRecording(*std::move(bytes));
  }

  RunReport Run(const Recording& recording, RunOptions options) {
    options.node = node_;
    options.work = directory_ + "/images";
    const StatusOr<RunReport> report = RunCrashes(recording, options, [](auto...) {});
    EXPECT_TRUE(report.ok()) << report.status();
    return report.value_or(RunReport());
  }

  NodeSettings node_{.program = MS_NODE};
  std::string directory_;
};

TEST_F(CrashtestNodeTest, NoCrashLosesAnything) {
  const StatusOr<Recording> recording = MakeRecording(400);
  ASSERT_TRUE(recording.ok()) << recording.status();
  const StatusOr<RecordSummary> summary = Summarize(*recording->bytes);
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->lives, 4u);
  EXPECT_EQ(summary->calls, 400u);
  EXPECT_GE(summary->answered, 390u);
  EXPECT_GE(summary->segments_begun, 4u);
  const RunReport report = Run(
      *recording,
      {.points = 14, .images_max = 40, .goes_on_every = 6, .double_every = 16, .double_points = 3});
  EXPECT_EQ(report.failed, 0u) << ReportText(report, "");
  // How many of the images are equal, and so not run again, depends on the timing.
  EXPECT_GE(report.images + report.same, 50u);
  EXPECT_GE(report.images, 14u);
  EXPECT_GT(report.doubles, 0u);
  EXPECT_GT(report.went_on, 0u);
}

TEST_F(CrashtestNodeTest, AtDepthTwoNoCrashLosesAnything) {
  node_.depth = 2;
  const StatusOr<Recording> recording = MakeRecording(200);
  ASSERT_TRUE(recording.ok()) << recording.status();
  const RunReport report = Run(*recording, {.points = 8, .images_max = 20});
  EXPECT_EQ(report.failed, 0u) << ReportText(report, "");
}

// As if the node had answered when it submitted: what is acknowledged is not durable.
TEST_F(CrashtestNodeTest, AnAnswerBeforeItsDurableWriteIsFound) {
  StatusOr<Recording> recording = MakeRecording(60);
  ASSERT_TRUE(recording.ok()) << recording.status();
  std::vector<io::TraceRecord> early;
  for (const io::TraceRecord& record : recording->records) {
    const Note note = NoteOf(record);
    if (note == Note::kAnswered) continue;
    early.push_back(record);
    if (note != Note::kPut && note != Note::kDelete) continue;
    const auto answer = std::ranges::find_if(recording->records, [&](const auto& each) {
      return NoteOf(each) == Note::kAnswered && each.operation == record.operation;
    });
    if (answer != recording->records.end()) early.push_back(*answer);
  }
  recording->records = early;
  const RunReport report = Run(*recording, {.points = 40, .failures_max = 1, .goes_on_every = 0});
  ASSERT_GT(report.failed, 0u);
  const Failure& failure = report.failures.front();
  EXPECT_TRUE(failure.what.starts_with("LOST: ")) << failure.what;
  // The one image alone fails again; what was kept is as it was.
  const StatusOr<CrashImage> kept = ReadImage(failure.kept + "/data");
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_TRUE(std::filesystem::exists(failure.kept + "/node.log"));
  const RunReport again = Run(*recording, {.only = failure.image});
  EXPECT_EQ(again.images, 1u);
  EXPECT_EQ(again.failed, 1u);
}

TEST_F(CrashtestNodeTest, WhatCannotBeRunIsRefused) {
  EXPECT_TRUE(absl::IsDataLoss(ParseRecording("no trace").status()));
  const StatusOr<Recording> nothing = ParseRecording(io::IoTraceHead());
  ASSERT_TRUE(nothing.ok());
  for (const char* only : {"5/s1", "x", "5/z", "5/s1x"}) {
    const auto report = RunCrashes(
        *nothing, {.node = node_, .work = directory_ + "/images", .only = only}, [](auto...) {});
    EXPECT_TRUE(absl::IsInvalidArgument(report.status())) << only << " " << report.status();
  }
  // Somebody's own directory is not emptied.
  EXPECT_TRUE(MakeDirectory(directory_ + "/mine").ok());
  EXPECT_TRUE(WriteWholeFile(directory_ + "/mine/file", "x").ok());
  const auto taken =
      RunCrashes(*nothing, {.node = node_, .work = directory_ + "/mine"}, [](auto...) {});
  EXPECT_TRUE(absl::IsFailedPrecondition(taken.status())) << taken.status();
  EXPECT_EQ(ReadWholeFile(directory_ + "/mine/file").value_or(""), "x");
  node_.program = directory_ + "/none";
  const auto recording = MakeRecording(10);
  EXPECT_FALSE(recording.ok());
}

#ifdef MS_MUTATIONS

// The bug is in the node that is recorded and in those that start.
TEST_F(CrashtestNodeTest, PlantedBugsAreFound) {
  for (const char* mutation : {"ack-at-submit", "directory-not-synced", "body-unchecked"}) {
    setenv("METASTORE_MUTATION", mutation, 1);
    const StatusOr<Recording> recording = MakeRecording(200);
    ASSERT_TRUE(recording.ok()) << mutation << ": " << recording.status();
    const RunReport report =
        Run(*recording, {.points = 100, .failures_max = 1, .goes_on_every = 0});
    ASSERT_GT(report.failed, 0u) << mutation;
    std::printf(
        "%s: image %llu, %s: %s\n", mutation, static_cast<unsigned long long>(report.images),
        report.failures.front().image.c_str(), report.failures.front().what.substr(0, 120).c_str());
  }
}

#endif

}  // namespace
}  // namespace metastore::crashtest
