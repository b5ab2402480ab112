// Aim: how Open tells the end of the log from damage, and what it does about either. Method: a
// closed or crashed log's files are changed byte by byte, sector by sector or block by block, and
// opened again.
#include "wal/recovery.h"

#include <gtest/gtest.h>

#include "tests/wal/crash_script.h"

namespace metastore::wal {
namespace {

constexpr size_t kBlock = limits::kBlockBytes;
constexpr size_t kSector = 512;

// A log of `entries` entries of 300 bytes, the machine crashed right after the last was
// acknowledged, before a promise.
void FillAndCrash(WalMachine& machine, uint64_t entries) {
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, entries, 300);
  machine.Reboot();
}

TEST(RecoveryTest, TornTailIsCutAtEverySectorOfTheLastFrame) {
  for (const bool wide : {false, true}) {
    for (size_t sector = 0; sector < (wide ? 22 : 8); ++sector) {
      for (const char fill : {'\0', '\x5a'}) {
        SCOPED_TRACE(Concat("sector ", sector, " wide ", wide));
        WalMachine machine;
        machine.MustOpen();
        machine.MustAppendRange(kGroup, 1, 3, 300);
        machine.MustAppend(kGroup, {Entry(4, 1, std::string(wide ? 11000 : 3800, 'x'))});
        machine.Reboot();
        const PlacedFrame last = Frames(machine).back();
        machine.disk().WriteRaw(last.path, last.offset() + sector * kSector,
                                std::string(kSector, fill));
        const Status opened = machine.Open();
        ASSERT_TRUE(opened.ok()) << opened;
        EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(3));
        // Not repaired by what lies behind: the entry can be written again, otherwise.
        machine.MustAppend(kGroup, {Entry(4, 2, "other")});
        machine.Reboot();
        machine.MustOpen();
        EXPECT_EQ((*machine.Read(kGroup, 4, 5))[0].bytes, "other");
      }
    }
  }
}

TEST(RecoveryTest, AByteFlippedBelowThePromiseIsDamage) {
  // One machine a flip would take minutes at -O0: the image is restored instead, and strides differ
  // by place.
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppend(kGroup, {HardState("vote"), Entry(1, 1, "one")});
  machine.MustAppendRange(kGroup, 2, 4, 700);
  ASSERT_TRUE(machine.Close().ok());
  const std::vector<PlacedFrame> frames = Frames(machine);
  ASSERT_GE(frames.size(), 5u);
  const uint64_t end = frames.back().offset();  // the promise itself is not promised
  int flips = 0;
  sim::SimImage image = machine.disk().Clone();
  for (uint64_t offset = 0; offset < end; offset += offset % kBlock < 1024 ? 7 : 97) {
    SCOPED_TRACE(Concat("byte ", offset));
    machine.disk().FlipBit(frames[0].path, offset, static_cast<unsigned>(offset % 8));
    const Status opened = machine.Open();
    EXPECT_EQ(opened.code(), StatusCode::kDataLoss) << opened;
    const uint64_t frame = offset < kBlock ? 0 : offset / kBlock * kBlock;
    EXPECT_NE(std::string(opened.message()).find(Concat("at offset ", frame, ":")),
              std::string::npos)
        << opened;
    EXPECT_NE(std::string(opened.message()).find(frames[0].path), std::string::npos);
    if (opened.ok() && machine.Close().ok()) return;
    machine.disk().Restore(image.Clone());
    ++flips;
  }
  EXPECT_GT(flips, 300);
}

TEST(RecoveryTest, DamageTellsWhetherAHardStateMayBeHidden) {
  for (const bool hard_state : {false, true}) {
    WalMachine machine;
    machine.MustOpen();
    machine.MustAppend(kGroup, {hard_state ? HardState("vote") : Entry(1, 1, "one")});
    machine.MustAppend(kGroup, {Entry(machine.log().LastIndex(kGroup).value() + 1, 1, "two")});
    ASSERT_TRUE(machine.Close().ok());
    const PlacedFrame frame = Frames(machine)[1];
    machine.disk().FlipBit(frame.path, frame.offset() + 220, 0);
    const Status opened = machine.Open();
    EXPECT_EQ(opened.code(), StatusCode::kDataLoss);
    EXPECT_EQ(std::string(opened.message()).find("a hard state (a vote) may be hidden") !=
                  std::string::npos,
              hard_state)
        << opened;
  }
}

TEST(RecoveryTest, AMissingSegmentIsDamage) {
  WalMachine machine;
  machine.MustOpen();
  for (uint64_t i = 1; i <= 40; ++i) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    machine.MustAppend(kGroup, {Entry(i, 1, std::string(20000, 'x'))});
  }
  ASSERT_TRUE(machine.Close().ok());
  const std::vector<std::string> live = machine.LivePaths();
  ASSERT_GE(live.size(), 4u);
  const sim::SimImage image = machine.disk().Clone();
  for (const size_t lost : {size_t{0}, size_t{1}, live.size() - 1}) {
    machine.disk().Restore(image.Clone());
    ASSERT_TRUE(
        machine.world().Await(machine.runtime(), machine.runtime().RemoveFile(live[lost])).ok());
    // Without the last one the log ends, as far as anybody can tell, after the footer before it.
    const Status opened = machine.Open();
    if (lost == live.size() - 1) {
      EXPECT_TRUE(opened.ok()) << opened;
    } else {
      EXPECT_EQ(opened.code(), StatusCode::kDataLoss) << opened;
    }
  }
}

// A closed log of two segments, with two frames and its promise in the second.
void WriteTwoSegments(WalMachine& machine) {
  machine.MustOpen();
  while (machine.LivePaths().size() < 2) {
    machine.MustAppend(kGroup, {Entry(machine.log().LastIndex(kGroup).value() + 1, 1, "x")});
  }
  machine.MustAppend(kGroup, {Entry(machine.log().LastIndex(kGroup).value() + 1, 1, "x")});
  ASSERT_TRUE(machine.Close().ok());
}

// Its header and first frame are whole there, so the segment would seem to end after them.
TEST(RecoveryTest, AFirstWriteThatTheDevicePutIntoAnotherFileIsDamage) {
  WalMachine machine;
  WriteTwoSegments(machine);
  const std::vector<std::string> live = machine.LivePaths();
  const std::vector<std::string> files = machine.disk().ListFiles();
  const auto spare = std::ranges::find_if(
      files, [&](const std::string& path) { return std::ranges::find(live, path) == live.end(); });
  ASSERT_NE(spare, files.end());
  SegmentHeader header;
  const std::string before = machine.disk().ReadCached(*spare, 0, kBlock);
  ASSERT_EQ(DecodeSegmentHeader(before, header), Decoded::kGood);
  std::string prepared(kBlock, '\0');
  header.file = *SegmentFileNumber(std::string_view(live[1]).substr(live[1].rfind('/') + 1));
  EncodeSegmentHeader(header, prepared.data());
  machine.disk().WriteRaw(*spare, 0, machine.disk().ReadCached(live[1], 0, 2 * kBlock));
  machine.disk().WriteRaw(live[1], 0, prepared + std::string(kBlock, '\0'));
  const Status opened = machine.Open();
  EXPECT_EQ(opened.code(), StatusCode::kDataLoss) << opened;
}

TEST(RecoveryTest, ADamagedHeaderOfTheLastSegmentIsDamage) {
  WalMachine machine;
  WriteTwoSegments(machine);
  machine.disk().FlipBit(machine.LivePaths()[1], 100, 3);
  const Status opened = machine.Open();
  EXPECT_EQ(opened.code(), StatusCode::kDataLoss) << opened;
}

TEST(RecoveryTest, TheOnlySegmentsDamagedHeaderIsDamageNotANewLog) {
  WalMachine machine;
  FillAndCrash(machine, 3);
  machine.disk().FlipBit(machine.LivePaths()[0], 40, 0);
  EXPECT_EQ(machine.Open().code(), StatusCode::kDataLoss);
}

TEST(RecoveryTest, ALostHeaderOfTheOnlySegmentIsDamageNotANewLog) {
  WalMachine machine;
  FillAndCrash(machine, 3);
  machine.disk().WriteRaw(machine.LivePaths()[0], 0, std::string(2 * kBlock, '\0'));
  EXPECT_EQ(machine.Open().code(), StatusCode::kDataLoss);
}

TEST(RecoveryTest, AnUnreadableSectorBelowThePromiseIsDamage) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 4, 300);
  ASSERT_TRUE(machine.Close().ok());
  const PlacedFrame frame = Frames(machine)[2];
  machine.disk().MarkUnreadable(frame.path, frame.offset() + 1024);
  const Status opened = machine.Open();
  EXPECT_EQ(opened.code(), StatusCode::kDataLoss) << opened;
  EXPECT_NE(std::string(opened.message()).find(Concat("at offset ", frame.offset())),
            std::string::npos)
      << opened;
}

TEST(RecoveryTest, AnUnreadableTailStopsTheStart) {
  WalMachine machine;
  FillAndCrash(machine, 4);
  const PlacedFrame last = Frames(machine).back();
  machine.disk().MarkUnreadable(last.path, last.offset());
  const Status opened = machine.Open();
  EXPECT_EQ(opened.code(), StatusCode::kDataLoss) << opened;
  EXPECT_NE(std::string(opened.message()).find("tail cannot be read"), std::string::npos) << opened;
}

TEST(RecoveryTest, ATransientReadErrorIsReadAgain) {
  WalMachine machine;
  FillAndCrash(machine, 4);
  machine.disk().FailNext(sim::SimFault::kReadError);
  machine.disk().FailNext(sim::SimFault::kReadError);
  machine.MustOpen();
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(4));
}

TEST(RecoveryTest, AForeignLogIsRefused) {
  WalMachine machine;
  FillAndCrash(machine, 1);
  machine.options().cluster = ClusterId(0xbad);
  const Status opened = machine.Open();
  EXPECT_EQ(opened.code(), StatusCode::kFailedPrecondition) << opened;
  EXPECT_NE(std::string(opened.message()).find("foreign"), std::string::npos);
  machine.options().cluster = ClusterId(0xc1);
  machine.options().member = NodeId(0xbad);
  EXPECT_EQ(machine.Open().code(), StatusCode::kFailedPrecondition);
  machine.options().member = NodeId(0xa1);
  machine.MustOpen();
}

TEST(RecoveryTest, ASegmentOfAnotherLogOfTheMemberIsRefused) {
  WalMachine machine;
  WalMachine other({.seed = 2});
  FillAndCrash(machine, 1);
  FillAndCrash(other, 1);
  const std::string path = other.LivePaths()[0];
  machine.disk().WriteRaw("/data/wal/00000000000000000077.wal", 0,
                          other.disk().ReadCached(path, 0, 4 * kBlock));
  EXPECT_EQ(machine.Open().code(), StatusCode::kFailedPrecondition);
}

TEST(RecoveryTest, TheBootCountGrowsWithEveryOpenAndCrash) {
  WalMachine machine;
  machine.MustOpen();
  EXPECT_EQ(machine.log().boot_count(), 1u);
  for (uint64_t boot = 2; boot <= 6; ++boot) {
    if (boot % 2 == 0) {
      machine.Reboot();
    } else {
      ASSERT_TRUE(machine.Close().ok());
    }
    machine.MustOpen();
    EXPECT_EQ(machine.log().boot_count(), boot);
    EXPECT_EQ(machine.log().epoch(), Epoch(boot));
  }
}

TEST(RecoveryTest, FramesOfTheOldEpochNeverComeBack) {
  // Two frames in flight: the first is torn, the second whole. After the cut, new frames of the
  // same sizes are written up to where the old one would follow.
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    WalMachine machine({.seed = seed, .depth = 2});
    machine.MustOpen();
    machine.MustAppendRange(kGroup, 1, 2, 100);
    const PlacedFrame last = Frames(machine).back();
    TestOp first;
    TestOp second;
    ASSERT_TRUE(machine.Submit(kGroup, {Entry(3, 1, std::string(3000, 'x'))}, first).ok());
    machine.world().RunFor(Microseconds(15));
    ASSERT_TRUE(machine.Submit(kGroup, {Entry(4, 1, "OLD")}, second).ok());
    ASSERT_TRUE(machine.WaitFor([&] { return first.done && second.done; }));
    machine.Reboot();
    // The first of the two is lost as if its write had been torn; neither was promised.
    machine.disk().WriteRaw(last.path, last.offset() + kBlock, std::string(kSector, '\0'));
    machine.MustOpen();
    EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(2));
    machine.Reboot();
    machine.MustOpen();
    EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(2));
    machine.MustAppend(kGroup, {Entry(3, 2, "new")});
    machine.Reboot();
    machine.MustOpen();
    EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(3));
  }
}

TEST(RecoveryTest, StaleFramesOfRecycledSegmentsNeverComeBack) {
  // Segments go round several times, and the log is cut off by a crash at many places within a
  // recycled one.
  WalMachine machine;
  machine.MustOpen();
  uint64_t next = 1;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(Concat("round ", round));
    for (int i = 0; i < 9; ++i, ++next) {
      ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
      machine.MustAppend(
          kGroup, {Entry(next, 1, Concat("entry ", next, std::string(next * 37 % 5000, 'p')))});
    }
    machine.MustPurge(kGroup, next - 3);
    if (round % 2 == 1) continue;
    machine.Reboot();
    machine.MustOpen();
    ASSERT_EQ(machine.log().LastIndex(kGroup), LogIndex(next - 1));
    const auto entries = machine.Read(kGroup, next - 2, next);
    ASSERT_TRUE(entries.ok()) << entries.status();
    EXPECT_EQ((*entries)[0].bytes.rfind(Concat("entry ", next - 2), 0), 0u);
  }
  EXPECT_LE(machine.disk().ListFiles().size(), 8u) << "segments are recycled";
}

TEST(RecoveryTest, ASequenceGapNamesTheGroupThatLostSomething) {
  // A frame of group 2 is taken out and the later ones are rechained by hand: only the sequence
  // tells.
  GroupTable groups;
  SegmentTable segments;
  auto segment = std::make_unique<Segment>();
  segment->seq = SegmentSeq(1);
  segments.PushBack(std::move(segment));
  const GroupLog::Place place{SegmentSeq(1), Lsn(1)};
  Effect effect{.kind = RecordKind::kHardState, .bytes = "h"};
  ASSERT_TRUE(groups.Replay(GroupId(2), 1, effect, place, segments).ok());
  const Status gap = groups.Replay(GroupId(2), 3, effect, place, segments);
  EXPECT_EQ(gap.code(), StatusCode::kDataLoss);
  EXPECT_EQ(std::string(gap.message()), "group 2 lacks its records 2 to 2");
}

TEST(RecoveryTest, FootersGiveTheSameIndexAsAFullScan) {
  WalMachine machine;
  machine.options().prepared_target = 4;
  machine.MustOpen();
  for (uint64_t i = 1; i <= 60; ++i) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    const GroupId group(1 + i % 3);
    const uint64_t index = machine.log().LastIndex(group).value() + 1;
    machine.MustAppend(
        group, {HardState(Concat("h", i)), Entry(index, i / 10 + 1, std::string(9000, 'x'))});
    if (i == 30) machine.MustAppend(group, {Entry(index - 2, 7, "conflict")});
    if (i == 40) machine.MustAppend(group, {{RecordKind::kTruncate, Term(), LogIndex(index), ""}});
    if (i == 50) {
      machine.MustAppend(group, {{RecordKind::kSnapshotMeta, Term(9), LogIndex(500), "meta"}});
    }
  }
  ASSERT_GE(machine.log().stats().segments_sealed, 2u);
  const LogModel before = *machine.Contents();
  machine.Reopen();
  const uint64_t reads_with_footers = machine.disk().counters().read_bytes;
  EXPECT_TRUE(*machine.Contents() == before);
  machine.options().verify_sealed = true;
  const uint64_t reads_before = machine.disk().counters().read_bytes;
  machine.Reopen();
  EXPECT_TRUE(*machine.Contents() == before);
  static_cast<void>(reads_with_footers);
  EXPECT_GT(machine.disk().counters().read_bytes - reads_before, 0u);
}

TEST(RecoveryTest, WithADamagedFooterTheSegmentIsScanned) {
  WalMachine machine;
  machine.MustOpen();
  for (uint64_t i = 1; i <= 30; ++i) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    machine.MustAppend(kGroup, {Entry(i, 1, std::string(9000, 'x'))});
  }
  const LogModel before = *machine.Contents();
  ASSERT_TRUE(machine.Close().ok());
  SegmentHeader second;
  const std::vector<std::string> live = machine.LivePaths();
  ASSERT_EQ(DecodeSegmentHeader(machine.disk().ReadCached(live[1], 0, kBlock), second),
            Decoded::kGood);
  ASSERT_GT(second.previous_footer_block, 0u);
  machine.disk().FlipBit(live[0], second.previous_footer_block * kBlock + 50, 1);
  machine.MustOpen();
  EXPECT_TRUE(*machine.Contents() == before);
}

TEST(RecoveryTest, VerifyingEverythingFindsDamageUnderAFooter) {
  WalMachine machine;
  machine.MustOpen();
  for (uint64_t i = 1; i <= 30; ++i) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    machine.MustAppend(kGroup, {Entry(i, 1, std::string(9000, 'x'))});
  }
  ASSERT_TRUE(machine.Close().ok());
  machine.disk().FlipBit(machine.LivePaths()[0], 3 * kBlock + 900, 1);
  machine.MustOpen();  // by the footer
  EXPECT_EQ(machine.Read(kGroup, 1, 30).status().code(), StatusCode::kDataLoss);
  ASSERT_TRUE(machine.Close().ok());
  machine.options().verify_sealed = true;
  EXPECT_EQ(machine.Open().code(), StatusCode::kDataLoss);
}

TEST(RecoveryTest, AnotherSegmentSizeTakesEffectWithTheNextSegment) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 100);
  ASSERT_TRUE(machine.Close().ok());
  machine.options().segment_bytes = 512 * limits::kKiB;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 6, 9, 100);
  machine.Reopen();
  EXPECT_EQ(machine.Read(kGroup, 1, 10)->size(), 9u);
}

TEST(RecoveryTest, WhatATornFirstWriteLeftInASpareFileIsNoTornTailLater) {
  WalMachine machine;
  FillAndCrash(machine, 2);
  const std::vector<std::string> live = machine.LivePaths();
  for (const std::string& path : machine.disk().ListFiles()) {
    if (std::ranges::count(live, path) > 0) continue;
    machine.disk().WriteRaw(path, 40 * kBlock + kSector, std::string(kSector, 'x'));
  }
  machine.options().prepared_target = 2;  // these are taken, not new ones
  machine.MustOpen();
  while (machine.LivePaths().size() < 2) {
    machine.MustAppend(
        kGroup, {Entry(machine.log().LastIndex(kGroup).value() + 1, 1, std::string(20'000, 'y'))});
  }
  ASSERT_TRUE(machine.Close().ok());
  EXPECT_EQ(VerdictText(Verify(machine).verdict), "CLEAN");
}

TEST(RecoveryTest, AnInterruptedPreparationIsRemoved) {
  WalMachine machine;
  FillAndCrash(machine, 2);
  machine.disk().WriteRaw("/data/wal/00000000000000000050.wal", 0, std::string(3 * kBlock, '\0'));
  machine.MustOpen();
  for (const std::string& path : machine.disk().ListFiles()) {
    EXPECT_NE(path, "/data/wal/00000000000000000050.wal");
  }
}

}  // namespace
}  // namespace metastore::wal
