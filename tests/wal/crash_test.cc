// Aim: nothing acknowledged is ever lost, and nothing that was never appended appears, whatever I/O
// the machine stops at. Method: one script that appends, splits, switches segments, truncates,
// installs, purges (so that segments are recycled) and reopens, run once for every I/O operation it
// makes, with the crash at that operation: before it, within it, after it, by power loss and by
// kill. After the crash the log must hold exactly what some prefix of the appends gives, at least
// all that was acknowledged; then it must work on.
#include <gtest/gtest.h>

#include "tests/wal/wal_fixture.h"

namespace metastore::wal {
namespace {

struct Step {
  GroupId group;
  std::vector<OwnedRecord> records;
  bool reopen = false;
};

std::vector<Step> MakeScript(uint64_t seed) {
  Prng prng(seed);
  std::map<GroupId, GroupModel> model;
  std::vector<Step> steps;
  uint64_t term = 1;
  for (int i = 0; i < 170; ++i) {
    if (i == 60 || i == 61 || i == 120) {
      steps.push_back({GroupId(), {}, true});
      continue;
    }
    const GroupId id(1 + prng.Below(3));
    GroupModel& group = model[id];
    Step step{id, {}, false};
    const uint64_t choice = prng.Below(20);
    const uint64_t last = group.last().value();
    const std::string bytes(prng.Between(10, 9000), static_cast<char>('a' + i % 26));
    if (choice < 12) {
      step.records.push_back(HardState(Concat("h", i)));
      step.records.push_back(Entry(last + 1, term, bytes));
      if (choice < 4) step.records.push_back(Entry(last + 2, term, Concat("second ", i)));
    } else if (choice < 14 && last > group.purged.index.value() + 2) {
      step.records.push_back(Entry(last - 1, ++term, bytes));
    } else if (choice == 14 && last > group.purged.index.value()) {
      step.records.push_back({RecordKind::kTruncate, Term(), LogIndex(last), ""});
    } else if (choice == 15) {
      step.records.push_back(
          {RecordKind::kSnapshotMeta, Term(term), LogIndex(last + 5), Concat("meta ", i)});
      step.records.push_back(HardState(Concat("installed ", i)));
    } else if (choice >= 16 && !group.entries.empty()) {
      const auto& [index, entry] = *std::prev(group.entries.end());
      step.records.push_back({RecordKind::kPurge, entry.first, index, ""});
    } else {
      step.records.push_back(HardState(Concat("only ", i)));
    }
    for (const OwnedRecord& record : step.records) group.Apply(record);
    steps.push_back(std::move(step));
  }
  return steps;
}

// What the log must hold after each number of steps.
std::vector<LogModel> States(const std::vector<Step>& steps) {
  std::vector<LogModel> states(1);
  for (const Step& step : steps) {
    LogModel next = states.back();
    for (const OwnedRecord& record : step.records) next[step.group].Apply(record);
    states.push_back(std::move(next));
  }
  return states;
}

struct Progress {
  size_t begun = 0;  // steps
  size_t acknowledged = 0;
  uint64_t boots = 0;  // greatest boot count seen
};

// Steps until the machine dies or the script ends. True: it ended.
bool RunScript(WalMachine& machine, const std::vector<Step>& steps, Progress& progress) {
  const auto dead = [&] { return machine.machine().dead(); };
  if (!machine.TryOpen()) return false;
  progress.boots = std::max(progress.boots, machine.log().boot_count());
  for (const Step& step : steps) {
    if (step.reopen) {
      if (!machine.TryClose() || !machine.TryOpen()) return false;
      progress.boots = std::max(progress.boots, machine.log().boot_count());
    } else {
      TestOp op;
      Status submitted;
      do {
        machine.WaitFor([&] { return dead() || machine.log().stats().segments_prepared > 0; });
        if (dead()) return false;
        ++progress.begun;
        submitted = machine.Submit(step.group, step.records, op);
        if (!submitted.ok()) --progress.begun;
        if (!submitted.ok()) machine.world().RunFor(Milliseconds(1));
      } while (absl::IsResourceExhausted(submitted) && !dead());
      if (dead()) {
        machine.Bury();
        return false;
      }
      CHECK(submitted.ok());
      machine.WaitFor([&] { return dead() || op.done; });
      if (dead()) {
        machine.Bury();
        return false;
      }
    }
    progress.begun = std::max(progress.begun, progress.acknowledged + 1);
    ++progress.acknowledged;
  }
  return true;
}

std::string Describe(const LogModel& model) {
  std::string text;
  for (const auto& [id, group] : model) {
    text += Concat("group ", id.value(), ": ", group.hard_state, ", ", group.snapshot_meta,
                   ", purged ", group.purged.term.value(), "/", group.purged.index.value(),
                   ", last ", group.last().value(), " of ", group.entries.size(), "; ");
    for (const auto& [index, entry] : group.entries) {
      text += Concat(index.value(), ":", entry.first.value(), ":", entry.second.size(),
                     entry.second.substr(0, 1), " ");
    }
  }
  return text;
}

void CheckRecovered(WalMachine& machine, const std::vector<LogModel>& states,
                    const Progress& progress) {
  const Status opened = machine.Open();
  ASSERT_TRUE(opened.ok()) << opened;
  EXPECT_GT(machine.log().boot_count(), progress.boots);
  const StatusOr<LogModel> contents = machine.Contents();
  ASSERT_TRUE(contents.ok()) << contents.status();
  bool matches = false;
  for (size_t n = progress.acknowledged; n <= progress.begun && !matches; ++n) {
    LogModel expected = states[n];
    std::erase_if(expected, [](const auto& item) { return item.second == GroupModel(); });
    LogModel got = *contents;
    std::erase_if(got, [](const auto& item) { return item.second == GroupModel(); });
    matches = expected == got;
  }
  EXPECT_TRUE(matches) << "acknowledged " << progress.acknowledged << ", begun " << progress.begun
                       << "\ngot " << Describe(*contents) << "\nexpected "
                       << Describe(states[progress.acknowledged]) << "\nor "
                       << Describe(states[progress.begun]);
}

// The log goes on: appends, and holds everything after one more open.
void CheckGoesOn(WalMachine& machine) {
  const LogModel before = *machine.Contents();
  const uint64_t next = machine.log().LastIndex(GroupId(9)).value() + 1;
  ASSERT_TRUE(machine.WaitFor([&] { return machine.log().accepting(); }));
  machine.MustAppend(GroupId(9), {Entry(next, 99, "after the crash")});
  machine.Reboot();
  machine.MustOpen();
  LogModel expected = before;
  expected[GroupId(9)].Apply(Entry(next, 99, "after the crash"));
  const StatusOr<LogModel> after = machine.Contents();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_TRUE(*after == expected);
}

struct CrashCase {
  sim::SimCrash crash;
  sim::SimCrashKind kind;
  uint32_t depth;
};

class CrashTest : public ::testing::TestWithParam<CrashCase> {};

TEST_P(CrashTest, NothingAcknowledgedIsLostAtAnyIo) {
  const CrashCase& test = GetParam();
  const std::vector<Step> steps = MakeScript(3);
  const std::vector<LogModel> states = States(steps);
  uint64_t io_count = 0;
  {
    WalMachine machine({.seed = 11, .depth = test.depth});
    Progress progress;
    ASSERT_TRUE(RunScript(machine, steps, progress));
    io_count = machine.disk().io_count();
    EXPECT_GT(machine.log().stats().segments_recycled, 0u);
  }
  ASSERT_GT(io_count, 200u);
  for (uint64_t k = 1; k < io_count && !HasFailure(); ++k) {
    SCOPED_TRACE(Concat("crash at I/O ", k));
    WalMachine machine({.seed = 11, .depth = test.depth});
    machine.disk().CrashAt(k, test.crash, test.kind);
    Progress progress;
    if (RunScript(machine, steps, progress)) {
      ADD_FAILURE() << "the crash did not happen";
      continue;
    }
    CheckRecovered(machine, states, progress);
    if (!HasFailure() && k % 4 == 0) CheckGoesOn(machine);
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

TEST(CrashAgainTest, ASecondCrashDuringRecoveryLosesNothingEither) {
  const std::vector<Step> steps = MakeScript(5);
  const std::vector<LogModel> states = States(steps);
  for (uint64_t k = 40; k < 400 && !::testing::Test::HasFailure(); k += 23) {
    for (uint64_t second = 1; second < 40; ++second) {
      SCOPED_TRACE(Concat("crash at I/O ", k, ", then ", second));
      WalMachine machine({.seed = 12, .depth = 2});
      machine.disk().CrashAt(k, sim::SimCrash::kTorn);
      Progress progress;
      if (RunScript(machine, steps, progress)) return;
      machine.disk().CrashAt(second, sim::SimCrash::kTorn);
      // Its boot may have begun, and then its count is spent.
      if (machine.TryOpen()) {
        progress.boots = std::max(progress.boots, machine.log().boot_count());
        machine.Reboot();
      }
      machine.disk().CrashAt(0, sim::SimCrash::kNone);
      CheckRecovered(machine, states, progress);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

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
