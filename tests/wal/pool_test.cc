// Aim: preparing, recycling and running out of segments. Method: disks that are full at the right
// moment.
#include "wal/segment_pool.h"

#include <gtest/gtest.h>

#include "tests/wal/wal_fixture.h"

namespace metastore::wal {
namespace {

// Appends until the log refuses for lack of segments; the number appended.
uint64_t AppendUntilRefused(WalMachine& machine) {
  uint64_t next = machine.log().LastIndex(kGroup).value() + 1;
  for (;; ++next) {
    const Status appended = machine.Append(kGroup, {Entry(next, 1, std::string(20000, 'x'))});
    if (absl::IsResourceExhausted(appended)) return next - 1;
    CHECK(appended.ok());
    CHECK_LT(next, 1000u);
  }
}

TEST(PoolTest, AFullDiskClosesAdmissionAndItReopensByItself) {
  WalMachine machine;
  machine.MustOpen();
  ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
  machine.disk().options().capacity_bytes = machine.disk().used_bytes();
  uint64_t next = 1;
  while (machine.log().accepting()) {
    machine.MustAppend(kGroup, {Entry(next++, 1, std::string(20000, 'x'))});
    ASSERT_LT(next, 100u);
  }
  machine.world().RunFor(Seconds(3));
  EXPECT_FALSE(machine.log().accepting());
  EXPECT_TRUE(machine.log().poisoned().ok());
  EXPECT_GT(machine.log().stats().preparation_failures, 0u);
  EXPECT_FALSE(machine.log().stats().preparation_error.empty());
  // What was admitted before still finds room.
  machine.MustAppend(kGroup, {Entry(next, 1, "admitted")});
  machine.disk().options().capacity_bytes += 4 * machine.options().segment_bytes;
  EXPECT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
  ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
  EXPECT_TRUE(machine.log().stats().preparation_error.empty());
}

TEST(PoolTest, WithoutAnySegmentAppendsAreRefusedAndThePurgeFreesSome) {
  WalMachine machine;
  machine.MustOpen();
  ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
  machine.disk().options().capacity_bytes = machine.disk().used_bytes();
  const uint64_t last = AppendUntilRefused(machine);
  EXPECT_TRUE(machine.log().poisoned().ok());
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(last));
  // A purge is small: it fits the tail, and its segments come back without a byte of new space.
  machine.MustPurge(kGroup, last);
  machine.MustAppend(kGroup, {HardState("one more frame says what is free")});
  EXPECT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
  EXPECT_GE(machine.log().stats().segments_recycled, 2u);
  machine.MustAppend(kGroup, {Entry(last + 1, 1, "on we go")});
  machine.Reopen();
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(last + 1));
}

TEST(PoolTest, TheReserveIsLeftToOthers) {
  WalMachine machine;
  machine.options().free_bytes_reserve = 10 * limits::kMiB;
  machine.disk().options().capacity_bytes = 11 * limits::kMiB;
  machine.MustOpen();
  machine.world().RunFor(Seconds(5));
  EXPECT_LE(machine.disk().used_bytes(), limits::kMiB);
  EXPECT_GT(machine.disk().used_bytes(), machine.options().segment_bytes);
}

TEST(PoolTest, NoRoomForTheFirstSegmentFailsTheOpen) {
  WalMachine machine;
  machine.disk().options().capacity_bytes = 128 * limits::kKiB;
  EXPECT_EQ(machine.Open().code(), StatusCode::kResourceExhausted);
  machine.disk().options().capacity_bytes = 64 * limits::kMiB;
  machine.MustOpen();
}

TEST(PoolTest, AFailedPreparationLeavesNoFile) {
  for (const sim::SimFault fault :
       {sim::SimFault::kNoSpace, sim::SimFault::kWriteError, sim::SimFault::kSyncError}) {
    WalMachine machine;
    machine.MustOpen();
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
    const size_t files = machine.disk().ListFiles().size();
    machine.disk().FailNext(fault, SegmentFileName(files + 1));
    while (machine.log().stats().preparation_failures == 0) {
      ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
      const uint64_t next = machine.log().LastIndex(kGroup).value() + 1;
      machine.MustAppend(kGroup, {Entry(next, 1, std::string(20000, 'x'))});
      ASSERT_LT(next, 40u);
    }
    EXPECT_TRUE(machine.log().poisoned().ok()) << sim::FaultName(fault);
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
    EXPECT_EQ(machine.disk().ListFiles().size(), machine.log().stats().segments_live + 3);
  }
}

constexpr uint64_t kReserve = 512 * limits::kKiB;

// A log that grows to 12 segments and is purged, over and over.
class GrowingLog {
 public:
  GrowingLog() {
    machine.options().rewrite_after_segments = 100;
    machine.options().free_bytes_reserve = kReserve;
    machine.MustOpen();
  }

  void GrowAndPurge() {
    while (machine.log().stats().segments_live < 12) {
      ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
      machine.MustAppend(kGroup, {Entry(next_++, 1, std::string(20000, 'x'))});
    }
    machine.MustPurge(kGroup, next_ - 1);
    machine.MustAppend(kGroup, {Entry(next_++, 1, "x")});
    machine.world().RunFor(Seconds(2));
  }
  size_t files() { return machine.disk().ListFiles().size(); }
  LogIndex last() const { return LogIndex(next_ - 1); }

  WalMachine machine;

 private:
  uint64_t next_ = 1;
};

constexpr size_t kFilesKeptAtLeast = 12;
constexpr size_t kFilesAtRest = 3 + SegmentPool::kSurplusMax + 2;

TEST(PoolTest, WhatTheLogNeedsAgainIsNeitherRemovedNorMadeAgain) {
  GrowingLog log;
  log.GrowAndPurge();
  EXPECT_GE(log.files(), kFilesKeptAtLeast);
  const std::vector<std::string> files = log.machine.disk().ListFiles();
  for (int cycle = 0; cycle < 5; ++cycle) log.GrowAndPurge();
  EXPECT_EQ(log.machine.disk().ListFiles(), files);
  log.machine.Reopen();
  EXPECT_EQ(log.machine.log().LastIndex(kGroup), log.last());
}

TEST(PoolTest, SpareFilesNotNeededForLongAreRemoved) {
  GrowingLog log;
  log.GrowAndPurge();
  log.machine.world().RunFor(SegmentPool::kNeedRemembered * 2 + Seconds(30));
  EXPECT_LE(log.files(), kFilesAtRest);
  log.machine.Reopen();
  EXPECT_EQ(log.machine.log().LastIndex(kGroup), log.last());
}

TEST(PoolTest, SpareFilesAreRemovedWhenSpaceRunsShort) {
  GrowingLog log;
  log.GrowAndPurge();
  EXPECT_GE(log.files(), kFilesKeptAtLeast);
  const uint64_t used = log.machine.disk().used_bytes();
  log.machine.disk().options().capacity_bytes = used;
  log.machine.world().RunFor(Seconds(30));
  EXPECT_LE(log.machine.disk().used_bytes(), used - kReserve);
  EXPECT_GE(log.files(), kFilesAtRest - 2);
  log.GrowAndPurge();
  EXPECT_TRUE(log.machine.log().poisoned().ok());
}

TEST(PoolTest, TheSmallestPoolWorks) {
  WalMachine machine;
  machine.options().prepared_target = 2;
  machine.MustOpen();
  for (uint64_t i = 1; i <= 60; ++i) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    machine.MustAppend(kGroup, {Entry(i, 1, std::string(9000, 'x'))});
  }
  machine.Reopen();
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(60));
}

TEST(PoolTest, PreparedSegmentsAreKeptAcrossOpens) {
  WalMachine machine;
  machine.MustOpen();
  ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
  const std::vector<std::string> files = machine.disk().ListFiles();
  machine.Reopen();
  EXPECT_TRUE(machine.log().accepting());
  EXPECT_EQ(machine.disk().ListFiles(), files);
}

}  // namespace
}  // namespace metastore::wal
