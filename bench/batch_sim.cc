// The batch policies on a simulated disk: puts by N closed-loop clients in virtual time, so that a
// disk of any speed can be asked for. Processor time is the simulator's model of it: compare
// policies here, not servers.
//
//   batch_sim [--disk-us 5000] [--in-flight 1,16,256,1024] [--seconds 1] [--policies ...]
//
// One JSON object a line: policy, in_flight, rate (a virtual second), p50_us, p99_us,
// durable_writes.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "io/base/check.h"
#include "tests/sim/node_harness.h"

namespace metastore {
namespace {

constexpr char kUsage[] = R"(usage: batch_sim [options]
  --disk-us N           what a write of the simulated disk takes (default 5000)
  --in-flight LIST      clients (default 1,16,256,1024)
  --seconds N           virtual seconds of each (default 1)
  --policies LIST       of natural, adaptive, off (default all)
)";
constexpr int kInFlightMax = 4096;

struct Options {
  uint64_t disk_us = 5000;
  uint64_t seconds = 1;
  std::string in_flight = "1,16,256,1024";
  std::string policies = "natural,adaptive,off";
};

struct Load {
  sim_test::NodeHarness& harness;
  MonoTime end;
  bench::LatencyHistogram latency = {};
};

io::Task<void> Client(Load& load, int number) {
  io::Runtime& runtime = load.harness.client_runtime();
  sim_test::KvClient client(runtime, load.harness.address());
  for (uint64_t i = 0; runtime.Now() < load.end; ++i) {
    const MonoTime began = runtime.Now();
    const StatusOr<sim_test::PutAck> ack = co_await client.Put(
        Concat("key", number, ".", i % 100), std::string(256, 'v'), began + Seconds(60));
    CHECK(ack.ok());
    load.latency.Record(static_cast<uint64_t>((runtime.Now() - began).ns));
  }
  co_await client.Reset();
}

void RunOne(const Options& options, server::BatchPolicyKind policy, int in_flight) {
  sim_test::NodeHarness harness({.seed = 1,
                                 .snapshot_count = 1'000'000'000,
                                 .batch_policy = policy,
                                 .segment_bytes = limits::kSegmentBytes});
  const Status booted = harness.Boot();
  CHECK(booted.ok());
  harness.world().RunFor(Seconds(2));  // segments are prepared
  harness.disk().options().latency = Microseconds(static_cast<int64_t>(options.disk_us));
  const uint64_t before = harness.disk().counters().durable_writes;
  const auto seconds = static_cast<int64_t>(options.seconds);
  Load load{.harness = harness, .end = harness.client_runtime().Now() + Seconds(seconds)};
  {
    io::Gate gate(harness.client_runtime().scheduler());
    for (int i = 0; i < in_flight; ++i) {
      gate.Spawn("bench.client", io::ReadyClass::kClient, Client(load, i));
    }
    CHECK(harness.world().RunUntil([&] { return gate.running() == 0; }, Seconds(seconds + 120)));
  }
  const uint64_t flushes = harness.disk().counters().durable_writes - before;
  std::printf("{\"policy\":\"%s\",\"disk_us\":%" PRIu64
              ",\"in_flight\":%d,\"rate\":%.0f,\"p50_us\":%.0f,"
              "\"p99_us\":%.0f,\"durable_writes\":%" PRIu64 "}\n",
              std::string(server::BatchPolicyName(policy)).c_str(), options.disk_us, in_flight,
              static_cast<double>(load.latency.count()) / static_cast<double>(options.seconds),
              load.latency.PercentileUs(50), load.latency.PercentileUs(99), flushes);
  std::fflush(stdout);
}

int Run(int argc, char** argv) {
  Options options;
  bench::CommandLine line(kUsage);
  line.Count("disk-us", &options.disk_us);
  line.Text("in-flight", &options.in_flight);
  line.Count("seconds", &options.seconds);
  line.Text("policies", &options.policies);
  line.Parse(argc, argv);
  if (options.disk_us == 0 || options.seconds == 0) line.Stop(2, "nothing to measure");
  for (const std::string& in_flight : bench::SplitList(options.in_flight)) {
    for (const std::string& name : bench::SplitList(options.policies)) {
      const std::optional<server::BatchPolicyKind> policy = server::BatchPolicyCalled(name);
      if (!policy.has_value()) line.Stop(2, "no policy called " + name);
      RunOne(options, *policy, std::clamp(std::atoi(in_flight.c_str()), 1, kInFlightMax));
    }
  }
  return 0;
}

}  // namespace
}  // namespace metastore

int main(int argc, char** argv) { return metastore::Run(argc, argv); }
