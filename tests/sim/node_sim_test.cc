// Aim: one member loses nothing acknowledged, repeats no revision, and replays from its seed,
// whatever its disk and its power do. Method: the Node of main.cc on simulated runtimes, clients
// with real bytes, crashes at exact operations and at random; every acknowledged write is read
// back.
//
// MS_SIM_SEEDS (default 20) and MS_SIM_FROM choose the seeds of the random runs; a failure prints
// what replays it.

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/node_harness.h"

namespace metastore::sim_test {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

std::string Lines(const std::vector<std::string>& problems) {
  std::string text;
  for (size_t i = 0; i < problems.size() && i < 10; ++i) text += problems[i] + "\n";
  return Concat(problems.size(), " problems\n", text);
}

void ExpectIntact(NodeHarness& harness) {
  const std::vector<std::string> problems = harness.Verify();
  EXPECT_TRUE(problems.empty()) << Lines(problems) << harness.world().PrintLogs(30);
}

class NodeSim : public testing::TestWithParam<int> {};

TEST_P(NodeSim, ServesRestartsAndKeepsItsData) {
  NodeHarness harness({.seed = 7, .reactors = GetParam()});
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(harness.Boot(), OkStatus());
    harness.StartWorkload({});
    harness.world().RunFor(Milliseconds(500));
    harness.StopWorkload();
    ExpectIntact(harness);
    harness.Stop();
  }
  EXPECT_GT(harness.history().writes().size(), 500u);
  EXPECT_GT(harness.history().reads().size(), 200u);
  EXPECT_EQ(harness.history().unknown(), 0u);
}

// A crash at the k-th disk operation of a short life, for every k, then a normal start.
TEST_P(NodeSim, LosesNothingWhereverItCrashes) {
  constexpr sim::SimCrash kCrashes[] = {sim::SimCrash::kBefore, sim::SimCrash::kTorn,
                                        sim::SimCrash::kAfter};
  uint64_t crashes = 0;
  for (uint64_t k = 1; k < 400; ++k) {
    NodeHarness harness({.seed = k, .reactors = GetParam(), .snapshot_count = 40});
    harness.disk().CrashAt(k, kCrashes[k % 3],
                           k % 2 == 0 ? sim::SimCrashKind::kPowerLoss : sim::SimCrashKind::kKill);
    Status booted = harness.Boot();
    if (booted.ok()) {
      // Enough for segment switches, a snapshot and the purge behind it.
      harness.StartWorkload({.writers = 4, .value_bytes_max = 12'000, .operations_max = 40});
      harness.world().RunUntil([&] { return harness.dead(); }, Seconds(2));
    }
    if (!harness.dead()) break;  // its life has fewer operations than k
    ++crashes;
    harness.Bury();
    ASSERT_EQ(harness.Boot(), OkStatus()) << "crash at operation " << k;
    harness.StopWorkload();
    ExpectIntact(harness);
    if (HasFailure()) FAIL() << "crash at operation " << k;
  }
  EXPECT_GT(crashes, 120u);
}

// And again while it recovers from the first.
TEST_P(NodeSim, LosesNothingWhenRecoveryCrashesToo) {
  for (uint64_t k = 1; k < 40; ++k) {
    NodeHarness harness({.seed = 1000 + k, .reactors = GetParam()});
    ASSERT_EQ(harness.Boot(), OkStatus());
    harness.StartWorkload({.writers = 3});
    harness.world().RunFor(Milliseconds(100));
    harness.PowerLoss();
    harness.disk().CrashAt(k, sim::SimCrash::kTorn);
    Status booted = harness.Boot();
    if (harness.dead()) {
      harness.Bury();
      booted = harness.Boot();
    }
    ASSERT_EQ(booted, OkStatus()) << "second crash at operation " << k;
    harness.disk().CrashAt(0, sim::SimCrash::kNone);
    harness.StopWorkload();
    ExpectIntact(harness);
    if (HasFailure()) FAIL() << "second crash at operation " << k;
  }
}

struct RunResult {
  uint64_t trace_hash = 0;
  uint64_t writes = 0;
};

constexpr server::BatchPolicyKind kPolicies[] = {server::BatchPolicyKind::kNatural,
                                                 server::BatchPolicyKind::kAdaptive,
                                                 server::BatchPolicyKind::kOff};

// One life of a seed: a few crashes of random kinds at random times, with a disk that is sometimes
// slow and sometimes fails, which must stop the node rather than lose a write.
RunResult RunSeed(uint64_t seed, int reactors) {
  NodeHarness harness({.seed = seed,
                       .reactors = reactors,
                       .snapshot_count = 50,
                       .wal_depth = 1 + static_cast<int>(seed % 2),
                       .batch_policy = kPolicies[seed % 5 < 2 ? seed % 5 + 1 : 0]});
  Prng prng(seed * 77);
  harness.disk().options().spike_max = Seconds(2);
  harness.disk().faults().Set(sim::SimFault::kSpike, 500);
  EXPECT_EQ(harness.Boot(), OkStatus()) << harness.world().PrintLogs(20);
  harness.StartWorkload({.writers = 1 + static_cast<int>(prng.Below(8)),
                         .keys = 1 + static_cast<int>(prng.Below(20)),
                         .value_bytes_max = prng.Chance(1, 2) ? 300 : 8'000});
  const uint64_t crashes = 1 + prng.Below(4);
  for (uint64_t i = 0; i < crashes && !testing::Test::HasFailure(); ++i) {
    const uint64_t choice = prng.Below(4);
    if (choice == 0) {
      harness.disk().FailNext(
          prng.Chance(1, 2) ? sim::SimFault::kWriteError : sim::SimFault::kSyncError, "wal");
    }
    harness.world().RunFor(Microseconds(static_cast<int64_t>(prng.Between(100, 400'000))));
    if (choice <= 1) {
      harness.Kill();
    } else if (choice == 2) {
      harness.PowerLoss();
    } else {
      harness.disk().CrashAt(1 + prng.Below(50), sim::SimCrash::kTorn);
      harness.world().RunUntil([&] { return harness.dead(); }, Seconds(5));
      harness.disk().CrashAt(0, sim::SimCrash::kNone);
      harness.PowerLoss();
    }
    Status booted = harness.Boot();
    if (!booted.ok() && choice == 0) {
      // The planted error met the recovery, which must refuse rather than guess; it passes.
      harness.Stop();
      booted = harness.Boot();
    }
    EXPECT_EQ(booted, OkStatus()) << harness.world().PrintLogs(20);
  }
  if (!testing::Test::HasFailure()) {
    harness.world().RunFor(Milliseconds(200));
    harness.StopWorkload();
    ExpectIntact(harness);
  }
  return {harness.world().TraceHash(), harness.history().writes().size()};
}

TEST_P(NodeSim, RandomLivesLoseNothing) {
  const uint64_t from = FromEnvironment("MS_SIM_FROM", 1);
  const uint64_t count = FromEnvironment("MS_SIM_SEEDS", 20);
  uint64_t writes = 0;
  for (uint64_t seed = from; seed < from + count; ++seed) {
    writes += RunSeed(seed, GetParam()).writes;
    if (HasFailure())
      FAIL() << "replay: MS_SIM_SEEDS=1 MS_SIM_FROM=" << seed
             << " sim_test --gtest_filter='*Random*'";
  }
  EXPECT_GT(writes, 50 * count) << "the workload hardly runs";
}

TEST_P(NodeSim, ASeedReplaysExactly) {
  const RunResult first = RunSeed(424242, GetParam());
  const RunResult second = RunSeed(424242, GetParam());
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(first.writes, second.writes);
}

TEST_P(NodeSim, AFullDiskRefusesWritesServesReadsAndRecoversByItself) {
  NodeHarness harness({.seed = 5,
                       .reactors = GetParam(),
                       .snapshot_count = 1'000'000'000,
                       .segment_bytes = 16 * limits::kMiB});
  ASSERT_EQ(harness.Boot(), OkStatus());
  harness.world().RunFor(Seconds(5));  // segments are prepared
  harness.disk().options().capacity_bytes = harness.disk().used_bytes();
  KvClient client(harness.client_runtime(), harness.address());
  const auto deadline = [&] { return harness.client_runtime().Now() + Seconds(10); };
  Status refused;
  int64_t accepted = 0;
  for (int i = 0; i < 400 && refused.ok(); ++i) {
    const StatusOr<PutAck> ack =
        harness.OnClient(client.Put("k", std::string(1 << 20, 'x'), deadline()));
    refused = ack.status();
    if (ack.ok()) accepted = ack->revision;
  }
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ(StdView(refused.message()), "etcdserver: mvcc: database space exceeded");
  const StatusOr<ReadAck> read = harness.OnClient(client.Get("k", 0, deadline()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->mod_revision, accepted);
  harness.disk().options().capacity_bytes = uint64_t{64} << 30;
  harness.world().RunFor(Seconds(30));
  const StatusOr<PutAck> again = harness.OnClient(client.Put("k", "small", deadline()));
  EXPECT_TRUE(again.ok()) << again.status();
  harness.world().Await(harness.client_runtime(), client.Reset());
}

TEST_P(NodeSim, LonePutsCostOneDurableWriteEachAndIdleCostsNone) {
  NodeHarness harness({.seed = 3, .reactors = GetParam()});
  ASSERT_EQ(harness.Boot(), OkStatus());
  harness.world().RunFor(Seconds(10));
  const uint64_t idle_before = harness.disk().counters().flushes();
  harness.world().RunFor(Seconds(60));
  EXPECT_EQ(harness.disk().counters().flushes(), idle_before) << "an idle node wrote";

  KvClient client(harness.client_runtime(), harness.address());
  const uint64_t before = harness.disk().counters().durable_writes;
  constexpr uint64_t kPuts = 50;
  for (uint64_t i = 0; i < kPuts; ++i) {
    const StatusOr<PutAck> ack =
        harness.OnClient(client.Put("k", "v", harness.client_runtime().Now() + Seconds(5)));
    ASSERT_TRUE(ack.ok()) << ack.status();
  }
  EXPECT_EQ(harness.disk().counters().durable_writes - before, kPuts);
  harness.world().Await(harness.client_runtime(), client.Reset());
}

// Durable writes and acknowledged writes of eight clients on a disk that takes 5 ms a write.
struct Shared {
  uint64_t flushes = 0;
  uint64_t writes = 0;
};
Shared RunPolicy(server::BatchPolicyKind policy, int reactors) {
  NodeHarness harness({.seed = 9, .reactors = reactors, .batch_policy = policy});
  EXPECT_EQ(harness.Boot(), OkStatus());
  harness.world().RunFor(Seconds(1));
  harness.disk().options().latency = Milliseconds(5);
  const uint64_t before = harness.disk().counters().durable_writes;
  harness.StartWorkload({.writers = 8, .operations_max = 25, .deletes = false, .swaps = false});
  harness.world().RunFor(Seconds(5));
  const uint64_t flushes = harness.disk().counters().durable_writes - before;
  harness.StopWorkload();
  ExpectIntact(harness);
  return {flushes, harness.history().writes().size()};
}

TEST_P(NodeSim, NaturalAndAdaptiveShareFlushesAndOffDoesNot) {
  const Shared natural = RunPolicy(server::BatchPolicyKind::kNatural, GetParam());
  const Shared adaptive = RunPolicy(server::BatchPolicyKind::kAdaptive, GetParam());
  const Shared off = RunPolicy(server::BatchPolicyKind::kOff, GetParam());
  EXPECT_GT(natural.writes, 50u);
  EXPECT_LT(natural.flushes, natural.writes * 3 / 4);
  EXPECT_LT(adaptive.flushes, adaptive.writes * 3 / 4);
  EXPECT_GE(off.flushes, off.writes);
}

INSTANTIATE_TEST_SUITE_P(Reactors, NodeSim, testing::Values(1, 2));

}  // namespace
}  // namespace metastore::sim_test
