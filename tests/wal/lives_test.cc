// Aim: over many lives of one machine, with failing writes and flushes in any of them, a log never
// loses what it acknowledged nor what an open has shown. Method: random appends, purges and ends
// (close, kill, power loss, poison) under random disk faults; each successful open is compared with
// everything ever appended.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/wal/wal_fixture.h"

namespace metastore::wal {
namespace {

struct History {
  std::map<uint64_t, std::string> entries;  // by index, as last appended
  uint64_t floor = 0;   // entries up to here were acknowledged, or shown by an open
  uint64_t last = 0;    // appended
  uint64_t purged = 0;  // asked for; may or may not have become durable
  uint64_t boots = 0;
  std::vector<std::unique_ptr<TestOp>> ops;  // kept until the log that has them is gone
};

void SetFaults(WalMachine& machine, uint32_t per_million) {
  for (const sim::SimFault fault : {sim::SimFault::kSyncError, sim::SimFault::kWriteError,
                                    sim::SimFault::kShortWrite, sim::SimFault::kReadError}) {
    machine.disk().faults().Set(fault, per_million);
  }
}

void CheckShown(WalMachine& machine, History& history) {
  const uint64_t last = machine.log().LastIndex(kGroup).value();
  ASSERT_GE(last, history.floor);
  ASSERT_LE(last, history.last);
  ASSERT_LE(machine.log().FirstIndex(kGroup).value(), history.purged + 1);
  const StatusOr<LogModel> contents = machine.Contents();
  ASSERT_TRUE(contents.ok()) << contents.status();
  if (last > 0) {
    for (const auto& [index, entry] : contents->at(kGroup).entries) {
      ASSERT_EQ(entry.second, history.entries[index.value()]) << index.value();
    }
  }
  ASSERT_GT(machine.log().boot_count(), history.boots);
  history.boots = machine.log().boot_count();
  history.floor = history.last = last;
}

// Opens, by as many attempts as the faults make necessary.
void OpenSomehow(WalMachine& machine, Prng& prng) {
  for (int attempt = 0;; ++attempt) {
    SetFaults(machine, attempt < 10 ? 20'000 : 0);
    const Status opened = machine.Open();
    SetFaults(machine, 0);
    if (opened.ok()) return;
    ASSERT_LT(attempt, 11) << opened;
    if (prng.Chance(1, 2)) machine.Reboot(prng.Chance(1, 2));
  }
}

// Appends until something fails or enough was done.
void Live(WalMachine& machine, History& history, Prng& prng) {
  std::vector<std::unique_ptr<TestOp>>& ops = history.ops;
  const uint64_t first = history.last + 1;
  SetFaults(machine, static_cast<uint32_t>(prng.Below(3) * 8000));
  const uint64_t count = prng.Between(1, 25);
  for (uint64_t i = 0; i < count; ++i) {
    machine.WaitFor([&] { return machine.log().accepting() || !machine.log().poisoned().ok(); });
    const uint64_t index = history.last + 1;
    const std::string bytes =
        Concat("life ", history.boots, " ", std::string(prng.Below(9000), 'x'));
    ops.push_back(std::make_unique<TestOp>());
    std::vector<OwnedRecord> records{Entry(index, history.boots, bytes)};
    const bool purge = prng.Chance(1, 6) && history.floor > history.purged;
    if (purge) {
      const StatusOr<Term> term = machine.log().TermAt(kGroup, LogIndex(history.floor));
      records.push_back({RecordKind::kPurge, *term, LogIndex(history.floor), ""});
    }
    if (!machine.Submit(kGroup, records, *ops.back()).ok()) {
      ops.pop_back();
      break;
    }
    history.entries[index] = bytes;
    history.last = index;
    if (purge) history.purged = history.floor;
    if (prng.Chance(1, 2)) {
      machine.world().RunFor(Microseconds(static_cast<int64_t>(prng.Below(400))));
    }
  }
  SetFaults(machine, 0);
  for (size_t i = 0; i < ops.size(); ++i) {
    if (ops[i]->done && ops[i]->status.ok()) history.floor = first + i;
  }
}

TEST(LivesTest, NothingShownOrAcknowledgedIsEverLost) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    WalMachine machine({.seed = seed, .depth = seed % 2 == 0 ? 2u : 1u});
    Prng prng(seed);
    History history;
    for (int life = 0; life < 25; ++life) {
      SCOPED_TRACE(Concat("life ", life));
      OpenSomehow(machine, prng);
      if (HasFatalFailure()) return;
      CheckShown(machine, history);
      if (HasFatalFailure()) return;
      history.ops.clear();
      // An open alone makes what it shows durable.
      if (prng.Chance(3, 4)) Live(machine, history, prng);
      const uint64_t end = prng.Below(4);
      if (end == 0) {
        if (machine.Close().ok()) history.floor = history.last;
      } else {
        machine.Reboot(end != 1);
      }
    }
  }
}

}  // namespace
}  // namespace metastore::wal
