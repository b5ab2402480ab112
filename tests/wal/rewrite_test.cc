// Aim: an idle group must not pin the log. Method: one group writes a little and rests while
// another writes and purges through many segments.
#include "wal/rewriter.h"

#include <gtest/gtest.h>

#include "tests/wal/wal_fixture.h"

namespace metastore::wal {
namespace {

constexpr GroupId kIdle{7};

// Group 1 appends and purges until `segments` more were sealed.
void RunBusyGroup(WalMachine& machine, uint64_t segments) {
  const uint64_t goal = machine.log().stats().segments_sealed + segments;
  while (machine.log().stats().segments_sealed < goal) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    const uint64_t next = machine.log().LastIndex(kGroup).value() + 1;
    machine.MustAppend(kGroup, {Entry(next, 1, std::string(3000, 'x'))});
    if (next % 5 == 0) machine.MustPurge(kGroup, next - 2);
  }
}

LogModel IdleOnly(const LogModel& contents) { return {{kIdle, contents.at(kIdle)}}; }

TEST(RewriteTest, AnIdleGroupsEntriesMoveSoThatTheirSegmentIsFreed) {
  WalMachine machine;
  machine.options().rewrite_after_segments = 3;
  machine.MustOpen();
  machine.MustAppend(kIdle, {HardState("idle vote"), Entry(1, 1, "one"), Entry(2, 1, "two")});
  machine.MustAppend(kIdle, {Entry(3, 2, "three")});
  const LogModel before = IdleOnly(*machine.Contents());
  RunBusyGroup(machine, 12);
  EXPECT_GT(machine.log().stats().rewritten_records, 0u);
  EXPECT_LE(machine.log().stats().segments_live, 7u);
  EXPECT_TRUE(IdleOnly(*machine.Contents()) == before);
  machine.Reboot();
  machine.MustOpen();
  EXPECT_TRUE(IdleOnly(*machine.Contents()) == before);
  EXPECT_EQ(*machine.log().TermAt(kIdle, LogIndex(3)), Term(2));
  RunBusyGroup(machine, 12);
  machine.options().verify_sealed = true;
  machine.Reopen();
  EXPECT_TRUE(IdleOnly(*machine.Contents()) == before);
}

TEST(RewriteTest, ABusyGroupsEntriesAreLeftToItsPurge) {
  WalMachine machine;
  machine.options().rewrite_after_segments = 2;
  machine.MustOpen();
  for (uint64_t i = 1; i <= 80; ++i) {
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
    machine.MustAppend(kGroup, {Entry(i, 1, std::string(9000, 'x'))});
  }
  EXPECT_GT(machine.log().stats().segments_live, 3u);
  EXPECT_EQ(machine.log().stats().rewritten_records, 0u);
}

TEST(RewriteTest, AnEntryThatCannotBeReadIsNotMovedAndNotLost) {
  WalMachine machine;
  machine.options().rewrite_after_segments = 3;
  machine.MustOpen();
  machine.MustAppend(kIdle, {Entry(1, 1, "one")});
  machine.disk().FlipBit(machine.LivePaths()[0], 2 * limits::kBlockBytes + 230, 1);
  RunBusyGroup(machine, 8);
  EXPECT_EQ(machine.log().stats().rewritten_records, 0u);
  EXPECT_EQ(machine.Read(kIdle, 1, 2).status().code(), StatusCode::kDataLoss);
}

TEST(RewriteTest, CrashesWhileRewritingLoseNothing) {
  for (uint64_t k = 300; k < 520 && !::testing::Test::HasFailure(); k += 3) {
    SCOPED_TRACE(Concat("crash at I/O ", k));
    WalMachine machine({.seed = 5, .depth = 2});
    machine.options().rewrite_after_segments = 3;
    machine.MustOpen();
    machine.MustAppend(kIdle, {HardState("v"), Entry(1, 1, "one"), Entry(2, 1, "two")});
    const LogModel before = IdleOnly(*machine.Contents());
    const auto dead = [&] { return machine.machine().dead(); };
    machine.disk().CrashAt(k, sim::SimCrash::kTorn);
    uint64_t next = 1;
    while (!dead()) {
      machine.WaitFor([&] { return dead() || machine.log().accepting(); });
      TestOp entry;
      TestOp purge;
      if (dead()) break;
      std::vector<OwnedRecord> records{Entry(next, 1, std::string(3000, 'x'))};
      if (next % 5 == 0) records.push_back({RecordKind::kPurge, Term(1), LogIndex(next - 2), ""});
      if (!machine.Submit(kGroup, records, entry).ok()) break;
      ++next;
      machine.WaitFor([&] { return dead() || entry.done; });
      if (dead()) {
        machine.Bury();
        break;
      }
    }
    if (dead()) machine.Bury();
    const Status opened = machine.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    const StatusOr<LogModel> after = machine.Contents();
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_TRUE(IdleOnly(*after) == before);
  }
}

}  // namespace
}  // namespace metastore::wal
