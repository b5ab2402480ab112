// Aim: appending, acknowledging and reading back, and what each costs in durable writes. Method: a
// small log on a simulated disk; its counters tell how many durable writes there were.
#include "wal/log.h"

#include <gtest/gtest.h>

#include "tests/wal/wal_fixture.h"

namespace metastore::wal {
namespace {

std::string Text(const Status& status) { return std::string(status.message()); }

TEST(LogTest, ANewLogIsEmptyAndAccepts) {
  WalMachine machine;
  machine.MustOpen();
  EXPECT_TRUE(machine.log().created());
  EXPECT_TRUE(machine.log().accepting());
  EXPECT_EQ(machine.log().boot_count(), 1u);
  EXPECT_TRUE(machine.log().Groups().empty());
  EXPECT_EQ(machine.log().FirstIndex(kGroup), LogIndex(1));
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(0));
  EXPECT_EQ(machine.log().Find(kGroup), nullptr);
}

TEST(LogTest, WhatWasAppendedIsThereAfterReopening) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppend(kGroup, {HardState("vote 7"), Entry(1, 1, "one"), Entry(2, 1, "two")});
  machine.MustAppend(GroupId(2), {Entry(1, 5, "other")});
  machine.Reopen();
  EXPECT_FALSE(machine.log().created());
  EXPECT_EQ(machine.log().boot_count(), 2u);
  ASSERT_NE(machine.log().Find(kGroup), nullptr);
  EXPECT_EQ(machine.log().Find(kGroup)->hard_state, "vote 7");
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(2));
  EXPECT_EQ(*machine.log().TermAt(GroupId(2), LogIndex(1)), Term(5));
  const auto entries = machine.Read(kGroup, 1, 3);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].bytes, "one");
  EXPECT_EQ((*entries)[1].bytes, "two");
}

TEST(LogTest, TheTagOfAnEntryIsKept) {
  WalMachine machine;
  machine.MustOpen();
  TestOp op;
  const Record record{
      .kind = RecordKind::kEntry, .tag = 2, .term = Term(1), .index = LogIndex(1), .bytes = "conf"};
  ASSERT_TRUE(machine.log().Append(kGroup, {&record, 1}, op).ok());
  ASSERT_TRUE(machine.WaitFor([&] { return op.done; }));
  EXPECT_EQ((*machine.Read(kGroup, 1, 2))[0].tag, 2);
}

TEST(LogTest, LoneAppendsCostOneDurableWriteEach) {
  WalMachine machine;
  machine.MustOpen();
  machine.world().RunFor(Seconds(2));
  const uint64_t before = machine.disk().counters().flushes();
  for (uint64_t i = 1; i <= 20; ++i) {
    machine.MustAppend(kGroup, {Entry(i, 1, "value"), HardState(std::to_string(i))});
    // The commit index moves: it must not cost a write of its own.
    TestOp commit;
    commit.must_sync = false;
    ASSERT_TRUE(machine.Submit(kGroup, {HardState(Concat("c", i))}, commit).ok());
    ASSERT_TRUE(machine.WaitFor([&] { return commit.done; }));
  }
  EXPECT_EQ(machine.disk().counters().flushes() - before, 20u);
}

TEST(LogTest, AnIdleLogWritesOnePromiseAndThenNothing) {
  WalMachine machine;
  machine.MustOpen();
  ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
  machine.MustAppendRange(kGroup, 1, 5, 100);
  const uint64_t before = machine.disk().counters().flushes();
  machine.world().RunFor(Milliseconds(40));
  EXPECT_EQ(machine.disk().counters().flushes() - before, 0u);
  machine.world().RunFor(Seconds(3600));
  EXPECT_EQ(machine.disk().counters().flushes() - before, 1u);
  EXPECT_EQ(machine.log().stats().promise_frames, 1u);
}

TEST(LogTest, WhatArrivesDuringAFlushSharesTheNext) {
  WalMachine machine;
  machine.MustOpen();
  const uint64_t before = machine.log().stats().frames;
  std::vector<std::unique_ptr<TestOp>> ops;
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) {
    ops.push_back(std::make_unique<TestOp>(&order, i));
    const GroupId group(static_cast<uint64_t>(i % 4 + 1));
    const auto index = static_cast<uint64_t>(i / 4 + 1);
    ASSERT_TRUE(machine.Submit(group, {Entry(index, 1, "v")}, *ops.back()).ok());
  }
  ASSERT_TRUE(machine.WaitFor([&] { return order.size() == 100; }));
  EXPECT_EQ(machine.log().stats().frames - before, 1u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(LogTest, ANoSyncOpWaitsForWhatItsGroupAppendedBefore) {
  WalMachine machine;
  machine.MustOpen();
  std::vector<int> order;
  TestOp entry(&order, 1);
  TestOp commit(&order, 2);
  TestOp other(&order, 3);
  commit.must_sync = other.must_sync = false;
  ASSERT_TRUE(machine.Submit(kGroup, {Entry(1, 1, "v")}, entry).ok());
  ASSERT_TRUE(machine.Submit(kGroup, {HardState("c1")}, commit).ok());
  // Another group has nothing to wait for.
  ASSERT_TRUE(machine.Submit(GroupId(2), {HardState("c2")}, other).ok());
  EXPECT_FALSE(commit.done);
  ASSERT_TRUE(machine.WaitFor([&] { return order.size() == 3; }));
  EXPECT_EQ(order, (std::vector<int>{3, 1, 2}));
}

TEST(LogTest, ANoSyncRecordRidesWithTheNextFrame) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppend(kGroup, {Entry(1, 1, "v")});
  TestOp commit;
  commit.must_sync = false;
  ASSERT_TRUE(machine.Submit(kGroup, {HardState("commit 1")}, commit).ok());
  machine.MustAppend(kGroup, {Entry(2, 1, "v")});
  machine.Reboot();
  machine.MustOpen();
  EXPECT_EQ(machine.log().Find(kGroup)->hard_state, "commit 1");
}

TEST(LogTest, FramesAreAcknowledgedInOrderWhateverOrderTheyCompleteIn) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    WalMachine machine({.seed = seed, .depth = 2});
    machine.MustOpen();
    machine.disk().faults().Set(sim::SimFault::kSpike, 300'000);
    machine.disk().options().spike_min = Milliseconds(1);
    machine.disk().options().spike_max = Milliseconds(5);
    std::vector<std::unique_ptr<TestOp>> ops;
    std::vector<int> order;
    for (int i = 0; i < 40; ++i) {
      ops.push_back(std::make_unique<TestOp>(&order, i));
      const auto index = static_cast<uint64_t>(i + 1);
      ASSERT_TRUE(
          machine.Submit(kGroup, {Entry(index, 1, std::string(3000, 'v'))}, *ops.back()).ok());
      if (i % 3 == 0) machine.world().RunFor(Microseconds(70));
    }
    ASSERT_TRUE(machine.WaitFor([&] { return order.size() == 40; }));
    for (int i = 0; i < 40; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i) << "seed " << seed;
  }
}

TEST(LogTest, TheFrameTellsLatencyRequestsAndPromise) {
  WalMachine machine;
  machine.MustOpen();
  TestOp op;
  op.requests = 3;
  ASSERT_TRUE(machine.Submit(kGroup, {Entry(1, 1, "v")}, op).ok());
  ASSERT_TRUE(machine.WaitFor([&] { return op.done; }));
  EXPECT_EQ(op.lsn, machine.log().stats().durable);
  EXPECT_EQ(machine.log().metrics().flush.count(), machine.log().stats().frames);
  EXPECT_EQ(machine.log().stats().oldest_unfinished, MonoTime::Max());
}

TEST(LogTest, TheOldestUnfinishedFlushIsKnown) {
  WalMachine machine;
  machine.MustOpen();
  machine.disk().Stall();
  TestOp op;
  ASSERT_TRUE(machine.Submit(kGroup, {Entry(1, 1, "v")}, op).ok());
  machine.world().RunFor(Seconds(1));
  EXPECT_GE(machine.runtime().Now() - machine.log().stats().oldest_unfinished, Milliseconds(900));
  machine.disk().Release();
  ASSERT_TRUE(machine.WaitFor([&] { return op.done; }));
}

TEST(LogTest, EveryDurableMethodKeepsWhatItAcknowledged) {
  for (const io::DurableMethod method :
       {io::DurableMethod::kDsync, io::DurableMethod::kFdatasync, io::DurableMethod::kLinked}) {
    for (const uint32_t depth : {1u, 2u}) {
      WalMachine machine({.seed = 7, .depth = depth});
      machine.options().method = method;
      machine.MustOpen();
      machine.MustAppendRange(kGroup, 1, 10, 300);
      machine.Reboot();
      machine.MustOpen();
      EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(10));
    }
  }
}

TEST(LogTest, AnAppendLargerThanAFrameIsSplitInOrder) {
  WalMachine machine;
  machine.MustOpen();
  ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; }));
  std::vector<OwnedRecord> records{HardState("first of all")};
  for (uint64_t i = 1; i <= 20; ++i) records.push_back(Entry(i, 1, std::string(9000, 'x')));
  const uint64_t before = machine.log().stats().frames;
  machine.MustAppend(kGroup, records);
  EXPECT_GE(machine.log().stats().frames - before, 3u);
  machine.Reopen();
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(20));
  EXPECT_EQ(machine.log().Find(kGroup)->hard_state, "first of all");
  const auto entries = machine.Read(kGroup, 20, 21);
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ((*entries)[0].bytes, std::string(9000, 'x'));
}

TEST(LogTest, TheLargestRecordFitsAndALargerOneIsRefused) {
  WalMachine machine;
  machine.MustOpen();
  const size_t most = machine.log().record_bytes_max();
  for (uint64_t i = 1; i <= 20; ++i) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    machine.MustAppend(kGroup, {Entry(i, 1, std::string(most, 'x'))});
  }
  const Status refused = machine.Append(kGroup, {Entry(21, 1, std::string(most + 1, 'x'))});
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << refused;
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(20));
  EXPECT_EQ(machine.Append(kGroup, {HardState(std::string(most, 'x'))}).code(),
            StatusCode::kInvalidArgument);
}

TEST(LogTest, AFullWindowRefusesWithoutAppending) {
  WalMachine machine;
  machine.options().segment_bytes = 64 * limits::kMiB;
  machine.options().frame_bytes_max = 8 * limits::kMiB;
  machine.MustOpen();
  machine.disk().Stall();
  std::vector<std::unique_ptr<TestOp>> ops;
  Status status;
  uint64_t index = 0;
  while (status.ok()) {
    ops.push_back(std::make_unique<TestOp>());
    status =
        machine.Submit(kGroup, {Entry(++index, 1, std::string(limits::kMiB, 'x'))}, *ops.back());
    ASSERT_LT(index, 100u);
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(index - 1));
  machine.disk().Release();
  ASSERT_TRUE(machine.WaitFor([&] { return ops[ops.size() - 2]->done; }));
  EXPECT_TRUE(machine.Append(kGroup, {Entry(index, 1, "x")}).ok());
}

TEST(LogTest, AConflictingEntryDropsWhatFollows) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 10);
  machine.MustAppend(kGroup, {Entry(3, 2, "new")});
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(3));
  machine.Reopen();
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(3));
  const auto entries = machine.Read(kGroup, 2, 4);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ((*entries)[1].bytes, "new");
  EXPECT_EQ((*entries)[1].term, Term(2));
}

TEST(LogTest, ASnapshotEmptiesTheLogAndBeginsAfterIt) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 10);
  machine.MustAppend(kGroup, {HardState("h"),
                              {RecordKind::kSnapshotMeta, Term(3), LogIndex(90), "conf"},
                              Entry(91, 3, "after")});
  machine.Reopen();
  EXPECT_EQ(machine.log().FirstIndex(kGroup), LogIndex(91));
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(91));
  EXPECT_EQ(machine.log().Find(kGroup)->snapshot_meta, "conf");
  EXPECT_EQ(machine.log().Find(kGroup)->snapshot, (EntryRef{Term(3), LogIndex(90)}));
  EXPECT_EQ(*machine.log().TermAt(kGroup, LogIndex(90)), Term(3));
}

TEST(LogTest, PurgeDropsEntriesAndKeepsTheTermAtItsPoint) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 9, 10, 4);
  machine.MustPurge(kGroup, 6);
  machine.MustPurge(kGroup, 2);  // no effect
  machine.Reopen();
  EXPECT_EQ(machine.log().FirstIndex(kGroup), LogIndex(7));
  EXPECT_EQ(*machine.log().TermAt(kGroup, LogIndex(6)), Term(4));
  EXPECT_EQ(machine.log().TermAt(kGroup, LogIndex(5)).status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(machine.Read(kGroup, 6, 8).status().code(), StatusCode::kOutOfRange);
  TestOp op;
  EXPECT_EQ(machine.log().Purge(kGroup, LogIndex(10), op).code(), StatusCode::kOutOfRange);
}

TEST(LogTest, TruncateDropsFromItsIndexOn) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 10);
  machine.MustAppend(kGroup, {{RecordKind::kTruncate, Term(), LogIndex(4), ""}});
  machine.Reopen();
  EXPECT_EQ(machine.log().LastIndex(kGroup), LogIndex(3));
}

TEST(LogTest, ReadingIsBoundedInBytesButGivesAtLeastOne) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 10, 1000);
  EXPECT_EQ(machine.Read(kGroup, 1, 11, 2500)->size(), 2u);
  EXPECT_EQ(machine.Read(kGroup, 1, 11, 0)->size(), 1u);
  EXPECT_EQ(machine.Read(kGroup, 1, 11)->size(), 10u);
  EXPECT_EQ(machine.Read(kGroup, 5, 5).status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(machine.Read(kGroup, 5, 12).status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(machine.Read(GroupId(9), 1, 2).status().code(), StatusCode::kOutOfRange);
}

TEST(LogTest, AnEntryThatIsNotDurableYetCannotBeRead) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 2, 10);
  machine.disk().FailNext(sim::SimFault::kSpike);
  TestOp op;
  ASSERT_TRUE(machine.Submit(kGroup, {Entry(3, 1, "x")}, op).ok());
  EXPECT_EQ(machine.Read(kGroup, 1, 4)->size(), 2u);
  EXPECT_EQ(machine.Read(kGroup, 3, 4).status().code(), StatusCode::kUnavailable);
  ASSERT_TRUE(machine.WaitFor([&] { return op.done; }));
  EXPECT_EQ(machine.Read(kGroup, 3, 4)->size(), 1u);
}

TEST(LogTest, ADamagedEntryIsNamedWhenItIsRead) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 3, 100);
  machine.disk().FlipBit(machine.LivePaths()[0], 3 * limits::kBlockBytes + 300, 2);
  const auto read = machine.Read(kGroup, 1, 4);
  EXPECT_EQ(read.status().code(), StatusCode::kDataLoss) << read.status();
  EXPECT_NE(Text(read.status()).find("offset 12288"), std::string::npos) << read.status();
}

TEST(LogTest, AFailedWritePoisonsTheLog) {
  for (const sim::SimFault fault : {sim::SimFault::kWriteError, sim::SimFault::kSyncError,
                                    sim::SimFault::kNoSpace, sim::SimFault::kShortWrite}) {
    WalMachine machine;
    machine.MustOpen();
    machine.world().RunFor(Seconds(1));
    machine.disk().FailNext(fault);
    TestOp failed;
    TestOp queued;
    ASSERT_TRUE(machine.Submit(kGroup, {Entry(1, 1, "x")}, failed).ok());
    machine.world().RunFor(Microseconds(20));
    ASSERT_TRUE(machine.Submit(kGroup, {Entry(2, 1, "x")}, queued).ok());
    ASSERT_TRUE(machine.WaitFor([&] { return failed.done && queued.done; }));
    EXPECT_FALSE(failed.status.ok()) << sim::FaultName(fault);
    EXPECT_EQ(queued.status.code(), failed.status.code());
    EXPECT_FALSE(machine.log().poisoned().ok());
    EXPECT_FALSE(machine.log().accepting());
    const uint64_t before = machine.disk().counters().flushes();
    EXPECT_EQ(machine.Append(kGroup, {Entry(3, 1, "x")}).code(), StatusCode::kFailedPrecondition);
    machine.world().RunFor(Seconds(1));
    EXPECT_EQ(machine.disk().counters().flushes(), before) << "written after the failure";
    EXPECT_FALSE(machine.Close().ok());
  }
}

TEST(LogTest, OptionsListEveryProblem) {
  WalMachine machine;
  machine.options().depth = 3;
  machine.options().prepared_target = 1;
  const Status refused = machine.Open();
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(Text(refused).find("depth"), std::string::npos);
  EXPECT_NE(Text(refused).find("prepared"), std::string::npos);
}

}  // namespace
}  // namespace metastore::wal
