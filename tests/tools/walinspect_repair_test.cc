// Aim: `walinspect repair` plans exactly what is lost, changes nothing unasked, keeps a copy of
// what it changes, and leaves a log that a node starts from. Method: logs written by wal/ in
// simulation, damaged at known frames, repaired, and opened again by wal/'s own recovery.
#include <gtest/gtest.h>

#include "tests/tools/walinspect_fixture.h"
#include "tools/walinspect/repair.h"

namespace metastore::walinspect {
namespace {

constexpr const char* kLog = "/data/wal";
constexpr const char* kBackup = "/data/backup";

Request Applying(bool accept_loss) {
  return {.other_directory = kBackup,
          .repair = {.apply = true, .accept_loss = accept_loss, .data_directory = "/data"}};
}

TEST(WalinspectRepair, ACleanLogNeedsNone) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 5, 100);
  ASSERT_TRUE(inspected.machine.Close().ok());
  const auto before = inspected.Bytes(kLog);
  EXPECT_EQ(*inspected.Run(Repair, Applying(true)), kExitClean);
  EXPECT_TRUE(inspected.Has("nothing to repair")) << inspected.output;
  EXPECT_EQ(inspected.Bytes(kLog), before);
}

TEST(WalinspectRepair, ATornTailIsCutWithoutLoss) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 5, 100);
  ASSERT_TRUE(inspected.machine.Close().ok());
  inspected.Damage(inspected.Frames().back());  // nothing promises the last frame
  ASSERT_EQ(*inspected.Run(Repair), kExitTornTail);
  EXPECT_TRUE(inspected.Has("none of it was ever acknowledged")) << inspected.output;
  EXPECT_EQ(*inspected.Run(Repair, Applying(false)), kExitClean) << inspected.output;
  inspected.machine.MustOpen();
  EXPECT_EQ(inspected.machine.log().LastIndex(wal::kGroup), LogIndex(5));
}

TEST(WalinspectRepair, DamageIsCutOnlyWhenTheLossIsAccepted) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 30, 100);
  inspected.machine.MustAppend(GroupId(2), {wal::HardState("vote")});
  ASSERT_TRUE(inspected.machine.Close().ok());
  const std::vector<PlacedFrame> frames = inspected.Frames();
  inspected.Damage(frames.at(11));  // the epoch's first frame is 0, entry i lies in frame i
  const auto before = inspected.Bytes(kLog);
  ASSERT_EQ(*inspected.Run(Repair), kExitCorrupt);
  EXPECT_TRUE(inspected.Has("12..30")) << inspected.output;
  EXPECT_TRUE(inspected.Has("below a promise")) << inspected.output;
  EXPECT_EQ(inspected.Run(Repair, Applying(false)).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(inspected.Bytes(kLog), before);
  EXPECT_TRUE(inspected.Bytes(kBackup).empty());
  ASSERT_EQ(*inspected.Run(Repair, Applying(true)), kExitClean) << inspected.output;
  const auto copies = inspected.Bytes(kBackup);
  ASSERT_EQ(copies.size(), 1u);
  EXPECT_EQ(copies.begin()->second, before.at(copies.begin()->first));
  inspected.machine.MustOpen();
  EXPECT_EQ(inspected.machine.log().LastIndex(wal::kGroup), LogIndex(10));
  EXPECT_EQ(inspected.machine.log().Find(GroupId(2)), nullptr);
  inspected.machine.MustAppendRange(wal::kGroup, 11, 12, 100);
}

TEST(WalinspectRepair, LaterSegmentsGoAndAreKeptInTheBackup) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 250, 3000);
  ASSERT_TRUE(inspected.machine.Close().ok());
  const std::vector<PlacedFrame> frames = inspected.Frames();
  ASSERT_GT(frames.back().header.segment, wal::SegmentSeq(3));
  inspected.Damage(frames.at(100));
  const auto before = inspected.Bytes(kLog);
  ASSERT_EQ(*inspected.Run(Repair, Applying(true)), kExitClean) << inspected.output;
  for (const auto& [name, bytes] : before) {
    const auto now = inspected.Bytes(kLog);
    const bool unchanged = now.contains(name) && now.at(name) == bytes;
    const auto copies = inspected.Bytes(kBackup);
    EXPECT_TRUE(unchanged || copies.at(name) == bytes) << name;
  }
  inspected.machine.MustOpen();
  EXPECT_EQ(inspected.machine.log().LastIndex(wal::kGroup), LogIndex(99));
  const StatusOr<wal::LogModel> contents = inspected.machine.Contents();
  ASSERT_TRUE(contents.ok()) << contents.status().message();
  EXPECT_EQ(contents->at(wal::kGroup).entries.size(), 99u);
}

TEST(WalinspectRepair, EveryFrameOfALogCanBeTheDamagedOne) {
  for (size_t place = 1; place <= 24; ++place) {
    InspectedMachine inspected;
    inspected.machine.MustAppendRange(wal::kGroup, 1, 24, 20'000);
    ASSERT_TRUE(inspected.machine.Close().ok());
    const std::vector<PlacedFrame> frames = inspected.Frames();
    inspected.Damage(frames.at(place));
    ASSERT_EQ(*inspected.Run(Repair, Applying(true)), kExitClean) << "frame " << place << "\n"
                                                                  << inspected.output;
    inspected.machine.MustOpen();
    EXPECT_LT(inspected.machine.log().LastIndex(wal::kGroup), LogIndex(24)) << place;
  }
}

TEST(WalinspectRepair, WhatNeedsFreedSegmentsCannotBeCut) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 300, 3000);
  inspected.machine.MustPurge(wal::kGroup, 250);
  inspected.machine.MustAppendRange(wal::kGroup, 301, 310, 3000);
  ASSERT_TRUE(inspected.machine.Close().ok());
  inspected.Damage(inspected.Frames().at(5));  // before the purge
  const auto before = inspected.Bytes(kLog);
  ASSERT_EQ(*inspected.Run(Repair), kExitCorrupt);
  EXPECT_TRUE(inspected.Has("cannot be repaired by cutting")) << inspected.output;
  EXPECT_EQ(inspected.Run(Repair, Applying(true)).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(inspected.Bytes(kLog), before);
}

TEST(WalinspectRepair, RefusesWhatIsNotSafe) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 9, 100);
  ASSERT_TRUE(inspected.machine.Close().ok());
  inspected.Damage(inspected.Frames()[4]);
  const auto before = inspected.Bytes(kLog);
  Request without = Applying(true);
  without.other_directory.clear();
  EXPECT_EQ(inspected.Run(Repair, without).status().code(), StatusCode::kInvalidArgument);
  Request unnamed = Applying(true);
  unnamed.repair.data_directory.clear();  // and the log is not in .../member/wal
  EXPECT_EQ(inspected.Run(Repair, unnamed).status().code(), StatusCode::kInvalidArgument);
  inspected.machine.disk().WriteRaw("/data/wal/notes.txt", 0, "mine");
  EXPECT_EQ(inspected.Run(Repair, Applying(true)).status().code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(inspected.machine.disk().TryLock("/data", 999));
  EXPECT_EQ(inspected.Run(Repair, Applying(true)).status().code(), StatusCode::kAlreadyExists);
  auto after = inspected.Bytes(kLog);
  after.erase("notes.txt");
  EXPECT_EQ(after, before);
}

TEST(WalinspectRepair, ItsJsonNamesTheSchema) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 9, 100);
  ASSERT_TRUE(inspected.machine.Close().ok());
  inspected.Damage(inspected.Frames()[4]);
  ASSERT_EQ(*inspected.RunJson(Repair), kExitCorrupt);
  EXPECT_TRUE(inspected.output.starts_with("{\"schema\":\"walinspect.repair/1\""))
      << inspected.output;
  EXPECT_TRUE(inspected.Has("\"below_promise\":true,\"applied\":false")) << inspected.output;
}

// --- export, which has no other home

TEST(WalinspectExport, EachFormatHasEveryFlush) {
  InspectedMachine inspected;
  inspected.machine.MustAppendRange(wal::kGroup, 1, 50, 100);
  ASSERT_TRUE(inspected.machine.Close().ok());
  const auto count = [&](std::string_view text) {
    size_t found = 0;
    for (size_t at = inspected.output.find(text); at != std::string::npos;
         at = inspected.output.find(text, at + 1)) {
      ++found;
    }
    return found;
  };
  ASSERT_EQ(*inspected.Run(Export, {.export_format = "json"}), kExitClean);
  const size_t flushes = count("\"walinspect.flush/1\"");
  EXPECT_GE(flushes, 50u);
  ASSERT_EQ(*inspected.Run(Export, {.export_format = "chrome-trace"}), kExitClean);
  EXPECT_EQ(count("\"name\":\"flush\",\"ph\":\"X\""), flushes);
  EXPECT_EQ(count("\"name\":\"gather\",\"ph\":\"X\""), flushes);
  EXPECT_TRUE(inspected.output.ends_with("]}\n"));
  ASSERT_EQ(*inspected.Run(Export, {.export_format = "prometheus"}), kExitClean);
  EXPECT_TRUE(inspected.Has(Concat("walinspect_flush_seconds_count ", flushes, "\n")));
  EXPECT_TRUE(inspected.Has("walinspect_verdict{verdict=\"CLEAN\"} 1\n"));
  EXPECT_EQ(inspected.Run(Export, {.export_format = "xml"}).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace metastore::walinspect
