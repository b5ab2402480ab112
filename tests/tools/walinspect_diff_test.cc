// Aim: `walinspect diff` says of two logs what is the same, what one lacks and where they first
// differ. Method: pairs of logs written by wal/ in simulation.
#include <gtest/gtest.h>

#include "tests/tools/walinspect_fixture.h"
#include "tools/walinspect/diff.h"

namespace metastore::walinspect {
namespace {

using wal::Entry;

constexpr const char* kOther = "/data/other";

// Ends the first log and begins the second, of the same machine and cluster.
void BeginOther(InspectedMachine& inspected) {
  ASSERT_TRUE(inspected.machine.Close().ok());
  inspected.machine.options().directory = kOther;
  inspected.machine.MustOpen();
}

StatusOr<int> DiffBoth(InspectedMachine& inspected) {
  return inspected.Run(Diff, {.directory = "/data/wal", .other_directory = kOther});
}

TEST(WalinspectDiff, TheSameEntriesInOtherFramesAreTheSame) {
  InspectedMachine inspected;
  wal::WalMachine& machine = inspected.machine;
  machine.MustAppendRange(wal::kGroup, 1, 300, 2000);
  BeginOther(inspected);
  std::vector<wal::OwnedRecord> records;
  for (uint64_t i = 1; i <= 300; ++i) {
    records.push_back(Entry(i, 1, std::string(2000, static_cast<char>('a' + i % 26))));
    if (records.size() == 10) machine.MustAppend(wal::kGroup, std::exchange(records, {}));
  }
  machine.MustPurge(wal::kGroup, 100);
  ASSERT_EQ(*DiffBoth(inspected), 0) << inspected.output;
  EXPECT_TRUE(inspected.Has("group 1 same: first log 1..300, second log 101..300"))
      << inspected.output;
}

TEST(WalinspectDiff, AnOverwrittenEntryDoesNotCount) {
  InspectedMachine inspected;
  wal::WalMachine& machine = inspected.machine;
  machine.MustAppendRange(wal::kGroup, 1, 9, 20);
  machine.MustAppendRange(wal::kGroup, 5, 9, 30, 2);  // a new leader overwrites 5..9
  BeginOther(inspected);
  machine.MustAppendRange(wal::kGroup, 1, 4, 20);
  machine.MustAppendRange(wal::kGroup, 5, 9, 30, 2);
  ASSERT_EQ(*DiffBoth(inspected), 0) << inspected.output;
}

TEST(WalinspectDiff, NamesWhatOneLacks) {
  InspectedMachine inspected;
  wal::WalMachine& machine = inspected.machine;
  machine.MustAppendRange(wal::kGroup, 1, 20, 100);
  machine.MustAppendRange(GroupId(3), 1, 2, 100);
  BeginOther(inspected);
  machine.MustAppendRange(wal::kGroup, 1, 15, 100);
  ASSERT_EQ(*DiffBoth(inspected), 1);
  EXPECT_TRUE(inspected.Has("group 1 shorter")) << inspected.output;
  EXPECT_TRUE(inspected.Has("the second log lacks indexes 16..20")) << inspected.output;
  EXPECT_TRUE(inspected.Has("group 3 missing")) << inspected.output;
}

TEST(WalinspectDiff, FindsTheFirstDifference) {
  InspectedMachine inspected;
  wal::WalMachine& machine = inspected.machine;
  machine.MustAppendRange(wal::kGroup, 1, 500, 100);
  BeginOther(inspected);
  machine.MustAppendRange(wal::kGroup, 1, 400, 100);
  machine.MustAppend(wal::kGroup, {Entry(401, 1, "other")});
  machine.MustAppendRange(wal::kGroup, 402, 500, 90);
  ASSERT_EQ(*DiffBoth(inspected), 2);
  EXPECT_TRUE(inspected.Has("first difference at index 401: term 1, 100 bytes"))
      << inspected.output;
  EXPECT_TRUE(inspected.Has("| term 1, 5 bytes")) << inspected.output;
  ASSERT_EQ(*inspected.RunJson(Diff, {.directory = "/data/wal", .other_directory = kOther}), 2);
  EXPECT_TRUE(inspected.Has("{\"schema\":\"walinspect.diff/1\"")) << inspected.output;
  EXPECT_TRUE(inspected.Has("\"difference\":{\"index\":401")) << inspected.output;
}

TEST(WalinspectDiff, LogsOfDifferentClustersAreNotCompared) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 3, 100);
  ASSERT_TRUE(inspected.machine.Close().ok());
  inspected.machine.options().cluster = ClusterId(0xc2);
  inspected.machine.options().directory = kOther;
  inspected.machine.MustOpen();
  EXPECT_EQ(*DiffBoth(inspected), kExitForeign);
}

TEST(WalinspectDiff, ADamagedLogIsNotCompared) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 30, 100);
  inspected.Damage(inspected.Frames()[10]);
  EXPECT_EQ(inspected.Run(Diff, {.other_directory = "/data/wal"}).status().code(),
            StatusCode::kDataLoss);
}

// Chunks wider than an entry: the same answers.
TEST(WalinspectDiff, WindowsCoverTheCommonRangeInBoundedChunks) {
  RunsByGroup a;
  RunsByGroup b;
  for (uint64_t id = 1; id <= 20; ++id) {
    for (uint64_t i = 1; i <= 20'000; ++i) {
      const wal::LoggedRecord logged{
          .group = GroupId(id), .sequence = i, .record = {.index = LogIndex(i)}};
      a[GroupId(id)].Apply(logged, wal::SegmentSeq(1));
      if (i <= 15'000) b[GroupId(id)].Apply(logged, wal::SegmentSeq(1));
    }
  }
  uint64_t chunks = 0;
  for (const auto& [id, window] : CommonWindows(a, b)) {
    EXPECT_EQ(window.first, 1u);
    EXPECT_EQ(window.last, 15'000u);
    chunks += (window.count() + window.width - 1) / window.width;
  }
  EXPECT_LE(chunks, Digests::kChunksMax);
  EXPECT_GT(chunks, Digests::kChunksMax / 2);
}

}  // namespace
}  // namespace metastore::walinspect
