// Aim: nothing acknowledged is ever lost, and nothing that was never appended appears, whatever I/O
// the machine stops at. Method: one script that appends, splits, switches segments, truncates,
// installs, purges (so that segments are recycled) and reopens, run once for every I/O operation it
// makes, with the crash at that operation: before it, within it, after it, by power loss and by
// kill. After the crash the log must hold exactly what some prefix of the appends gives, at least
// all that was acknowledged; then it must work on.
#include <gtest/gtest.h>

#include "tests/wal/crash_script.h"

namespace metastore::wal {
namespace {

struct CrashCase {
  sim::SimCrash crash;
  sim::SimCrashKind kind;
  uint32_t depth;
};

class CrashTest : public ::testing::TestWithParam<CrashCase> {};

TEST_P(CrashTest, NothingAcknowledgedIsLostAtAnyIo) {
  const CrashCase& test = GetParam();
  const Script script(3);
  uint64_t io_count = 0;
  {
    WalMachine machine({.seed = 11, .depth = test.depth});
    SetScriptOptions(machine);
    ScriptRun run(machine, script);
    ASSERT_EQ(run.Run(), RunEnd::kEnded);
    io_count = machine.disk().io_count();
    EXPECT_GT(run.covered().sealed, 3u);
    EXPECT_GT(run.covered().recycled, 0u);
    EXPECT_GT(run.covered().rewritten, 0u);
  }
  ASSERT_GT(io_count, 200u);
  for (uint64_t k = 1; k < io_count && !HasFailure(); ++k) {
    SCOPED_TRACE(Concat("crash at I/O ", k));
    WalMachine machine({.seed = 11, .depth = test.depth});
    SetScriptOptions(machine);
    machine.disk().CrashAt(k, test.crash, test.kind);
    ScriptRun run(machine, script);
    ASSERT_EQ(run.Run(), RunEnd::kDied) << "the crash did not happen";
    ASSERT_EQ(CheckRecovered(machine, script, run.progress()), "");
    if (k % 4 == 0) ASSERT_EQ(CheckGoesOn(machine), "");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, CrashTest,
    ::testing::Values(CrashCase{sim::SimCrash::kTorn, sim::SimCrashKind::kPowerLoss, 1},
                      CrashCase{sim::SimCrash::kTorn, sim::SimCrashKind::kPowerLoss, 2},
                      CrashCase{sim::SimCrash::kBefore, sim::SimCrashKind::kPowerLoss, 1},
                      CrashCase{sim::SimCrash::kAfter, sim::SimCrashKind::kPowerLoss, 1},
                      CrashCase{sim::SimCrash::kTorn, sim::SimCrashKind::kKill, 1}),
    [](const auto& test) {
      const char* crash = test.param.crash == sim::SimCrash::kTorn     ? "Torn"
                          : test.param.crash == sim::SimCrash::kBefore ? "Before"
                                                                       : "After";
      const char* kind = test.param.kind == sim::SimCrashKind::kKill ? "Kill" : "PowerLoss";
      return Concat(crash, kind, test.param.depth);
    });

// Appends `count` small entries and a purge of them all; whether the purge's frame sealed its
// segment. `then` (if given) is submitted while that frame is in flight. `armed` is set before
// both.
bool PurgeSeals(WalMachine& machine, uint64_t count, TestOp* then, bool& armed) {
  machine.MustAppend(kGroup, {HardState("vote")});
  for (uint64_t i = 1; i <= count; ++i) {
    machine.WaitFor([&] { return machine.log().accepting(); });
    machine.MustAppend(kGroup, {Entry(i, 1, std::string(100, 'x'))});
  }
  armed = true;
  const uint64_t sealed = machine.log().stats().segments_sealed;
  TestOp purge;
  CHECK(machine.log().Purge(kGroup, LogIndex(count), purge).ok());
  machine.world().RunFor(Microseconds(20));
  const bool seals = machine.log().stats().segments_sealed > sealed;
  if (then != nullptr) {
    CHECK(machine.Submit(kGroup, {Entry(count + 1, 1, "then")}, *then).ok());
  }
  machine.WaitFor([&] { return machine.machine().dead() || purge.done; });
  return seals;
}

// The first write of a segment is torn, right after a purge freed every segment before: neither may
// that write go to a file that the durable log still counts as its own, nor may its header declare
// the segments before it free while it is not durable itself.
TEST(CrashAtSegmentStartTest, WhatItFreesIsStillThere) {
  for (const bool queued : {false, true}) {
    uint64_t count = 80;  // into the third segment
    for (bool seals = false; !seals; ++count) {
      ASSERT_LT(count, 200u);
      WalMachine machine;
      machine.MustOpen();
      bool unused = false;
      seals = PurgeSeals(machine, count, nullptr, unused);
    }
    --count;
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      SCOPED_TRACE(Concat("queued ", queued, ", seed ", seed));
      WalMachine machine({.seed = seed});
      machine.MustOpen();
      bool armed = false;
      machine.disk().OnIo([&](const sim::SimIo& io) {
        sim::SimIoVerdict verdict;
        const bool start = io.op == sim::SimDiskOp::kDurableWrite && io.offset == 0;
        if (armed && start) verdict.crash = sim::SimCrash::kTorn;
        return verdict;
      });
      machine.WaitFor([&] { return machine.log().stats().segments_prepared == 3; });
      TestOp then;
      ASSERT_TRUE(PurgeSeals(machine, count, queued ? &then : nullptr, armed));
      machine.WaitFor([&] { return machine.machine().dead(); });
      ASSERT_TRUE(machine.machine().dead());
      machine.Bury();
      machine.disk().OnIo(nullptr);
      machine.options().verify_sealed = true;
      const Status opened = machine.Open();
      ASSERT_TRUE(opened.ok()) << opened;
      EXPECT_EQ(machine.log().FirstIndex(kGroup), LogIndex(count + 1));
      EXPECT_EQ(machine.log().Find(kGroup)->hard_state, "vote");
    }
  }
}

// Many frames in flight and queued, no waiting: a crash anywhere leaves a prefix.
TEST(CrashBurstTest, ABurstLeavesAPrefix) {
  for (uint64_t seed = 1; seed <= 60 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    WalMachine machine({.seed = seed, .depth = 2});
    machine.options().prepared_target = 6;
    machine.MustOpen();
    ASSERT_TRUE(machine.WaitFor([&] { return machine.log().stats().segments_prepared >= 6; }));
    Prng prng(seed);
    std::vector<std::unique_ptr<TestOp>> ops;
    std::vector<std::string> bytes(1);
    machine.disk().CrashAt(prng.Between(1, 30), sim::SimCrash::kTorn);
    const auto dead = [&] { return machine.machine().dead(); };
    for (uint64_t i = 1; i <= 60 && !dead(); ++i) {
      bytes.push_back(std::string(prng.Between(1, 12000), static_cast<char>('a' + i % 26)));
      ops.push_back(std::make_unique<TestOp>());
      ASSERT_TRUE(machine.Submit(kGroup, {Entry(i, 1, bytes.back())}, *ops.back()).ok());
      if (prng.Chance(1, 3))
        machine.world().RunFor(Microseconds(static_cast<int64_t>(prng.Below(300))));
    }
    machine.WaitFor([&] { return dead() || ops.back()->done; });
    const auto acknowledged = static_cast<uint64_t>(
        std::ranges::count_if(ops, [](const auto& op) { return op->done && op->status.ok(); }));
    if (dead()) {
      machine.Bury();
    } else {
      machine.Reboot();
    }
    machine.disk().CrashAt(0, sim::SimCrash::kNone);
    machine.MustOpen();
    const uint64_t last = machine.log().LastIndex(kGroup).value();
    EXPECT_GE(last, acknowledged);
    EXPECT_LE(last, ops.size());
    const StatusOr<LogModel> contents = machine.Contents();
    ASSERT_TRUE(contents.ok()) << contents.status();
    for (uint64_t i = 1; i <= last; ++i) {
      EXPECT_EQ(contents->at(kGroup).entries.at(LogIndex(i)).second, bytes[i]) << i;
    }
  }
}

}  // namespace
}  // namespace metastore::wal
