// Aim: `walinspect fsync` finds in a log what the disk under it did, and nothing that it did not.
// Method: logs written by wal/ in simulation on a disk with an injected ripple, stalls or neither;
// the parts (fit, ripple, heat map, histogram, queue model) also on made-up numbers.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/tools/walinspect_fixture.h"
#include "tools/walinspect/fsync_profile.h"
#include "tools/walinspect/fsync_report.h"
#include "tools/walinspect/scan_run.h"

namespace metastore::walinspect {
namespace {

// Passes flushes on to a profile.
struct Profiled {
  FsyncProfile profile;
  FlushFeed feed{profile};
};

std::unique_ptr<Profiled> ProfileOf(wal::WalMachine& machine) {
  auto profiled = std::make_unique<Profiled>();
  wal::LogScan scan(machine.runtime(), {.directory = machine.options().directory});
  Request request;
  const Status scanned =
      machine.world().Await(machine.runtime(), RunScan(scan, profiled->feed, request));
  EXPECT_TRUE(scanned.ok()) << scanned.message();
  return profiled;
}

// Within the first 30 ms of every 2.5 s.
bool InRipple(MonoTime now) { return now.ns % 2'500'000'000 < 30'000'000; }

TEST(WalinspectFsync, FindsTheRippleThatTheDiskHad) {
  InspectedMachine inspected;
  inspected.machine.options().segment_bytes = 4 * limits::kMiB;
  inspected.machine.Reopen();
  inspected.DelayWrites(InRipple, Milliseconds(3));
  inspected.Write(4000, Milliseconds(10));  // 40 s
  const auto profiled = ProfileOf(inspected.machine);
  const std::optional<Ripple> ripple = profiled->profile.ripples.Find();
  ASSERT_TRUE(ripple.has_value());
  EXPECT_NEAR(ripple->period_s, 2.5, 0.1);
  EXPECT_LT(ripple->probability, 0.001);
  EXPECT_GT(ripple->slow_us, 2500);
  ASSERT_EQ(*inspected.Run(Fsync), kExitClean);
  EXPECT_TRUE(inspected.Has("ripple: every 2.")) << inspected.output;
  EXPECT_TRUE(inspected.output.starts_with("GOOD")) << inspected.output;
}

TEST(WalinspectFsync, FindsTheStallsAndTheirNeighbours) {
  int writes = 0;  // outlives the machine, which writes to its end
  InspectedMachine inspected;
  inspected.DelayWrites([&](MonoTime) { return ++writes % 100 == 50; }, Milliseconds(40));
  inspected.Write(300, Milliseconds(1));
  const auto profiled = ProfileOf(inspected.machine);
  const std::vector<Outlier> outliers = profiled->profile.Outliers();
  ASSERT_EQ(outliers.size(), 3u);
  for (const Outlier& outlier : outliers) {
    EXPECT_GE(outlier.flush.flush_us, 40'000u);
    EXPECT_LT(outlier.flush.flush_us, 42'000u);
    ASSERT_EQ(outlier.before.size(), 2u);
    ASSERT_EQ(outlier.after.size(), 2u);
    EXPECT_EQ(outlier.before[1].lsn + 1, outlier.flush.lsn);
    EXPECT_EQ(outlier.after[0].lsn, outlier.flush.lsn + 1);
    EXPECT_LT(outlier.after[0].flush_us, 2000u);
  }
  EXPECT_EQ(profiled->profile.flush_us.CountUpTo(30'000), profiled->profile.flush_us.count() - 3);
}

TEST(WalinspectFsync, ASlowDiskIsCalledSlow) {
  InspectedMachine inspected;
  inspected.DelayWrites([](MonoTime) { return true; }, Milliseconds(15));
  inspected.Write(150, Milliseconds(1));
  ASSERT_EQ(*inspected.Run(Fsync, {.fsync = {.check = true}}), kExitSlow);
  EXPECT_TRUE(inspected.output.starts_with("SLOW: 99 of 100")) << inspected.output;
  ASSERT_EQ(*inspected.Run(Fsync), kExitClean);
}

TEST(WalinspectFsync, TooFewFlushesAreNotJudged) {
  InspectedMachine inspected;
  inspected.Write(5, Milliseconds(1));
  ASSERT_EQ(*inspected.Run(Fsync, {.fsync = {.check = true}}), kExitSlow);
  EXPECT_TRUE(inspected.output.starts_with("TOO FEW")) << inspected.output;
}

TEST(WalinspectFsync, EveryFlushButTheLastHasItsTime) {
  for (const uint32_t depth : {1u, 2u}) {
    InspectedMachine inspected({.depth = depth});
    inspected.Write(500, Microseconds(10), 3000);
    ASSERT_TRUE(inspected.machine.Close().ok());
    inspected.machine.MustOpen();
    inspected.Write(10, Microseconds(10));
    const auto profiled = ProfileOf(inspected.machine);
    // The last of each of the two boots, and the promise that is under way.
    EXPECT_LE(profiled->feed.untimed(), 4u) << "depth " << depth;
    EXPECT_GT(profiled->profile.switch_us.count(), 5u);
  }
}

TEST(WalinspectFsync, DrawsAndWritesItsJson) {
  InspectedMachine inspected;
  inspected.Write(200, Milliseconds(1));
  ASSERT_EQ(*inspected.RunJson(Fsync, {.fsync = {.svg = "heat.svg", .what_if = "depth=2"}}),
            kExitClean);
  EXPECT_TRUE(inspected.output.starts_with("{\"schema\":\"walinspect.fsync/1\""))
      << inspected.output;
  for (const char* key : {"\"verdict\":\"good\"", "\"heat_map\"", "\"by_size\"", "\"changed\"",
                          "\"settings\":\"policy=natural,depth=2\""}) {
    EXPECT_TRUE(inspected.Has(key)) << key;
  }
  EXPECT_TRUE(inspected.files["heat.svg"].ends_with("</svg>\n"));
  const StatusOr<int> wrong = inspected.Run(Fsync, {.fsync = {.what_if = "depth=3"}});
  EXPECT_EQ(wrong.status().code(), StatusCode::kInvalidArgument);
}

// --- parts

TEST(WalinspectHistogram, PercentilesAreAtMostABucketTooHigh) {
  Histogram histogram;
  for (uint64_t value = 1; value <= 100'000; ++value) histogram.Add(value);
  for (const double fraction : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const double exact = fraction * 100'000;
    const auto told = static_cast<double>(histogram.Percentile(fraction));
    EXPECT_GE(told, exact);
    EXPECT_LE(told, exact * 1.033);
  }
  EXPECT_EQ(histogram.Percentile(1), 100'000u);
  EXPECT_EQ(histogram.OctaveCount(0), 1u);
  EXPECT_EQ(histogram.OctaveCount(10), 1024u);
}

TEST(WalinspectSizeFit, FindsTheLineAndBearsStalls) {
  Prng prng(1);
  SizeFit fit;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t bytes = (1 + prng.Below(256)) * wal::kBlockBytes;
    const double us = 120 + 4000 * static_cast<double>(bytes) / (1 << 20);
    fit.Add(bytes, static_cast<uint32_t>(prng.Chance(1, 50) ? us + 50'000 : us));
  }
  const CostLine line = fit.Line();
  ASSERT_TRUE(line.has_slope);
  EXPECT_NEAR(line.fixed_us, 120, 25);
  EXPECT_NEAR(line.us_per_mib, 4000, 250);
}

TEST(WalinspectSizeFit, OneSizeHasNoSlope) {
  SizeFit fit;
  for (int i = 0; i < 100; ++i) fit.Add(wal::kBlockBytes, 80);
  EXPECT_FALSE(fit.Line().has_slope);
  EXPECT_NEAR(fit.Line().fixed_us, 80, 3);
}

TEST(WalinspectRipple, ChanceAloneIsSeldomARipple) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Prng prng(seed);
    RippleFinder finder;
    int64_t now_ns = 0;
    for (int i = 0; i < 30'000; ++i) {
      now_ns += 5'000'000;
      finder.Add(now_ns, prng.Chance(1, 200) ? 1000 : 100, 4096, 100);
    }
    if (finder.Find()) ++found;
  }
  EXPECT_LE(found, 1);
}

TEST(WalinspectRipple, BurstsOfStallsAreNoRipple) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Prng prng(seed);
    RippleFinder finder;
    int64_t burst_until_ns = 0;
    // Bursts of 600 ms come at random, every 5 s on average; the first seeds end after two.
    const int64_t end_ns = seed <= 10 ? 12'000'000'000 : 200'000'000'000;
    for (int64_t now_ns = 0; now_ns < end_ns; now_ns += 5'000'000) {
      if (prng.Chance(1, 1000)) burst_until_ns = now_ns + 600'000'000;
      const bool slow = now_ns < burst_until_ns && prng.Chance(1, 8);
      finder.Add(now_ns, slow ? 1000 : 100, 4096, 100);
    }
    if (finder.Find()) ++found;
  }
  EXPECT_LE(found, 1);
}

TEST(WalinspectRipple, JournalCommitsAreFoundAmongStallsThoughTheyDrift) {
  Prng prng(7);
  RippleFinder finder;
  int64_t commit_ns = 0;
  for (int64_t now_ns = 0; now_ns < 180'000'000'000; now_ns += 4'000'000) {
    // A commit comes 5 s after the one before was done, not on a fixed beat.
    if (now_ns > commit_ns + 30'000'000) {
      commit_ns += 5'000'000'000 + static_cast<int64_t>(prng.Below(60'000'000));
    }
    const bool slow = now_ns > commit_ns || prng.Chance(1, 1000);
    finder.Add(now_ns, slow ? 5000 : 100, 4096, 100);
  }
  const std::optional<Ripple> ripple = finder.Find();
  ASSERT_TRUE(ripple.has_value());
  EXPECT_NEAR(ripple->period_s, 5.03, 0.15);
}

TEST(WalinspectTick, FlushesThatWaitedForAProcessorAreTold) {
  for (const uint32_t tick_us : {1'000u, 4'000u, 10'000u}) {
    Prng prng(tick_us);
    TickFinder waits;
    TickFinder even;
    for (int i = 0; i < 1000; ++i) {
      const auto ticks = static_cast<uint32_t>(prng.Below(4));
      const auto jitter = static_cast<uint32_t>(prng.Below(tick_us / 12));
      waits.Add(ticks == 0 ? 100 + jitter : ticks * tick_us + jitter);
      even.Add(static_cast<uint32_t>(prng.Below(60'000)));
    }
    ASSERT_TRUE(waits.Find().has_value());
    EXPECT_EQ(waits.Find()->us, tick_us);
    EXPECT_FALSE(even.Find().has_value());
  }
}

// Flushes one after the other for 30 s; `next_us` says how long each takes.
std::optional<RateLimit> RateOf(const std::function<uint64_t(int64_t now_us)>& next_us) {
  RateLimitFinder finder;
  Histogram flushes;
  for (int64_t now_us = 0; now_us < 30'000'000;) {
    const uint64_t flush_us = next_us(now_us);
    now_us += static_cast<int64_t>(flush_us);
    finder.Add(now_us * 1000, flush_us);
    flushes.Add(flush_us);
  }
  return finder.Find(flushes);
}

TEST(WalinspectRateLimit, ALimitIsTold) {
  // Six in each tenth of a second, the next one held back until the tenth is over.
  int64_t tenth = -1;
  int passed = 0;
  const std::optional<RateLimit> limit = RateOf([&](int64_t now_us) -> uint64_t {
    if (now_us / 100'000 != tenth) {
      tenth = now_us / 100'000;
      passed = 0;
    }
    if (++passed < 6) return 300;
    return static_cast<uint64_t>((tenth + 1) * 100'000 - now_us);
  });
  ASSERT_TRUE(limit.has_value());
  EXPECT_NEAR(static_cast<double>(limit->per_second), 60, 1);
  EXPECT_GE(limit->seconds, 29u);
}

TEST(WalinspectRateLimit, ASlowDiskAndAWaitingNodeAreNoLimit) {
  Prng prng(4);
  EXPECT_FALSE(RateOf([](int64_t) { return 8'300; }).has_value());
  EXPECT_FALSE(RateOf([&](int64_t) { return 6'000 + prng.Below(5'000); }).has_value());
  // As long as others leave the processor to the node, it is quick.
  EXPECT_FALSE(RateOf([&](int64_t now_us) -> uint64_t {
                 const bool others = now_us / 1'000'000 % 3 == 0;
                 return prng.Below(others ? 2 : 20) == 0 ? 4'000 * (1 + prng.Below(6)) : 400;
               }).has_value());
}

TEST(WalinspectHeatMap, KeepsEveryValueWhileItGrows) {
  HeatMap heat;
  for (int64_t i = 0; i < 100'000; ++i) heat.Add(i * 1'000'000, i % 1000 == 0 ? 9000 : 90);
  uint64_t count = 0;
  uint64_t slow = 0;
  for (size_t column = 0; column < heat.columns_used(); ++column) {
    for (size_t row = 0; row < HeatMap::kRows; ++row) {
      count += heat.count(row, column);
      if (HeatMap::RowFloorUs(row) >= 8192) slow += heat.count(row, column);
    }
  }
  EXPECT_EQ(count, 100'000u);
  EXPECT_EQ(slow, 100u);
  EXPECT_GT(heat.columns_used(), HeatMap::kColumns / 2 - 1);
}

// Requests every 100 us, all served alone: a flush takes 60 us.
QueueResult Serve(const WhatIfSettings& settings, int64_t gap_ns, double fixed_us) {
  QueueModel model(settings, {.fixed_us = fixed_us});
  for (int64_t i = 0; i < 10'000; ++i) model.Arrive({.at_ns = i * gap_ns, .bytes = 200});
  model.Drain();
  return model.result();
}

TEST(WalinspectWhatIf, TheModelIsTheQueueItSaysItIs) {
  // An idle disk: one flush a request, each the fixed cost.
  const QueueResult idle = Serve({}, 100'000, 60);
  EXPECT_EQ(idle.flushes, 10'000u);
  EXPECT_EQ(idle.latency_us.max(), 60u);
  // A request each 10 us at 60 us a flush: six share one, and wait half a flush on average.
  const QueueResult shared = Serve({}, 10'000, 60);
  EXPECT_NEAR(static_cast<double>(shared.flushes), 10'000 / 6.0, 20);
  EXPECT_NEAR(shared.latency_us.mean(), 60 + 30, 10);
  // Unshared, the same load is beyond the disk: the last waits for all before it.
  const QueueResult alone = Serve({.policy = server::BatchPolicyKind::kOff}, 10'000, 60);
  EXPECT_EQ(alone.flushes, 10'000u);
  EXPECT_NEAR(static_cast<double>(alone.latency_us.max()), 10'000 * 50.0, 20'000);
  // At most two a flush is also too few; a wait for batches saves flushes.
  EXPECT_EQ(Serve({.batch_max = 2}, 10'000, 60).flushes, 5'000u + 1);
  const QueueResult adaptive = Serve({.policy = server::BatchPolicyKind::kAdaptive}, 10'000, 5000);
  EXPECT_EQ(adaptive.latency_us.count(), 10'000u);
  EXPECT_LE(adaptive.flushes, Serve({}, 10'000, 5000).flushes + 1);
  EXPECT_LT(Serve({.depth = 2}, 10'000, 60).latency_us.mean(), shared.latency_us.mean());
}

TEST(WalinspectWhatIf, ALogThatCouldNotHaveKeptUpSaysSo) {
  QueueModel model({.policy = server::BatchPolicyKind::kOff}, {.fixed_us = 1e9});
  for (size_t i = 0; i <= QueueModel::kBacklogMax; ++i) model.Arrive({.at_ns = 0, .bytes = 1});
  EXPECT_TRUE(model.result().saturated);
  model.Drain();
}

TEST(WalinspectWhatIf, NoFrameHasMoreRequestsThanItHasRoomFor) {
  WhatIf what_if({}, {.fixed_us = 60}, 1);
  what_if.OnFlush({.flush_us = 60, .bytes = 4096, .requests = UINT32_MAX, .body_bytes = 700});
  what_if.Finish();
  EXPECT_EQ(what_if.measured().latency_us.count(), 101u);
}

TEST(WalinspectWhatIf, SettingsAreReadBack) {
  const StatusOr<WhatIfSettings> settings = ParseWhatIf("policy=adaptive,depth=2,max-batch=64");
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(SettingsText(*settings), "policy=adaptive,depth=2,max-batch=64");
  for (const char* wrong : {"policy=none", "depth=0", "depth=3", "max-batch=0", "batch", "x=1"}) {
    EXPECT_EQ(ParseWhatIf(wrong).status().code(), StatusCode::kInvalidArgument) << wrong;
  }
}

TEST(WalinspectFsync, TheModelAgreesWithWhatWasMeasured) {
  InspectedMachine inspected;
  inspected.Write(500, Microseconds(300));
  ASSERT_EQ(*inspected.Run(Fsync, {.fsync = {.what_if = "policy=natural"}}), kExitClean);
  const auto profiled = ProfileOf(inspected.machine);
  WhatIf what_if({}, profiled->profile.sizes.Line(), 1);
  FlushFeed feed(what_if);
  wal::LogScan scan(inspected.machine.runtime(),
                    {.directory = inspected.machine.options().directory});
  Request request;
  ASSERT_TRUE(inspected.machine.world()
                  .Await(inspected.machine.runtime(), RunScan(scan, feed, request))
                  .ok());
  what_if.Finish();
  const auto measured = static_cast<double>(what_if.measured().latency_us.Percentile(0.5));
  const auto modelled = static_cast<double>(what_if.modelled().latency_us.Percentile(0.5));
  EXPECT_NEAR(modelled / measured, 1, 0.15);
  EXPECT_EQ(what_if.measured().latency_us.count(), what_if.modelled().latency_us.count());
}

}  // namespace
}  // namespace metastore::walinspect
