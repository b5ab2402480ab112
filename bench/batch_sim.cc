// The batch policies on a simulated disk: puts by N closed-loop clients in virtual time, so that a
// disk of any speed can be asked for. Processor time is the simulator's model of it: compare
// policies here, not servers.
//
//   batch_sim [--disk-us 5000] [--in-flight 1,16,256,1024] [--seconds 1] [--policies ...]
//
// One JSON object a line: policy, in_flight, rate (a virtual second), p50_us, p99_us,
// durable_writes.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "io/base/check.h"
#include "tests/sim/node_harness.h"

namespace metastore {
namespace {

struct Options {
  int64_t disk_us = 5000;
  int64_t seconds = 1;
  std::vector<int> in_flight = {1, 16, 256, 1024};
  std::vector<std::string> policies = {"natural", "adaptive", "off"};
};

server::BatchPolicyKind KindOf(const std::string& name) {
  if (name == "natural") return server::BatchPolicyKind::kNatural;
  if (name == "adaptive") return server::BatchPolicyKind::kAdaptive;
  if (name == "off") return server::BatchPolicyKind::kOff;
  std::fprintf(stderr, "batch_sim: no policy called %s\n", name.c_str());
  std::exit(2);
}

struct Load {
  sim_test::NodeHarness& harness;
  MonoTime end;
  std::vector<int64_t> latencies_us = {};
};

io::Task<void> Client(Load& load, int number) {
  io::Runtime& runtime = load.harness.client_runtime();
  sim_test::KvClient client(runtime, load.harness.address());
  for (uint64_t i = 0; runtime.Now() < load.end; ++i) {
    const MonoTime began = runtime.Now();
    const StatusOr<sim_test::PutAck> ack = co_await client.Put(
        Concat("key", number, ".", i % 100), std::string(256, 'v'), began + Seconds(60));
    CHECK(ack.ok());
    load.latencies_us.push_back((runtime.Now() - began).us());
  }
  co_await client.Reset();
}

int64_t Percentile(std::vector<int64_t>& values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

void RunOne(const Options& options, const std::string& policy, int in_flight) {
  sim_test::NodeHarness harness({.seed = 1,
                                 .snapshot_count = 1'000'000'000,
                                 .batch_policy = KindOf(policy),
                                 .segment_bytes = limits::kSegmentBytes});
  const Status booted = harness.Boot();
  CHECK(booted.ok());
  harness.world().RunFor(Seconds(2));  // segments are prepared
  harness.disk().options().latency = Microseconds(options.disk_us);
  const uint64_t before = harness.disk().counters().durable_writes;
  Load load{.harness = harness, .end = harness.client_runtime().Now() + Seconds(options.seconds)};
  {
    io::Gate gate(harness.client_runtime().scheduler());
    for (int i = 0; i < in_flight; ++i) {
      gate.Spawn("bench.client", io::ReadyClass::kClient, Client(load, i));
    }
    CHECK(harness.world().RunUntil([&] { return gate.running() == 0; },
                                   Seconds(options.seconds + 120)));
  }
  const uint64_t flushes = harness.disk().counters().durable_writes - before;
  const double rate =
      static_cast<double>(load.latencies_us.size()) / static_cast<double>(options.seconds);
  std::printf(
      "{\"policy\":\"%s\",\"disk_us\":%lld,\"in_flight\":%d,\"rate\":%.0f,\"p50_us\":%lld,"
      "\"p99_us\":%lld,\"durable_writes\":%llu}\n",
      policy.c_str(), static_cast<long long>(options.disk_us), in_flight, rate,
      static_cast<long long>(Percentile(load.latencies_us, 0.5)),
      static_cast<long long>(Percentile(load.latencies_us, 0.99)),
      static_cast<unsigned long long>(flushes));
  std::fflush(stdout);
}

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return parts;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--disk-us" && !value.empty()) {
      options.disk_us = std::max(1LL, std::atoll(value.c_str()));
    } else if (name == "--seconds" && !value.empty()) {
      options.seconds = std::max(1LL, std::atoll(value.c_str()));
    } else if (name == "--in-flight" && !value.empty()) {
      options.in_flight.clear();
      for (const std::string& part : Split(value)) {
        options.in_flight.push_back(std::clamp(std::atoi(part.c_str()), 1, 4096));
      }
    } else if (name == "--policies" && !value.empty()) {
      options.policies = Split(value);
    } else {
      std::fprintf(stderr,
                   "usage: batch_sim [--disk-us N] [--in-flight N,N] [--seconds N] "
                   "[--policies natural,adaptive,off]\n");
      std::exit(2);
    }
  }
  return options;
}

}  // namespace
}  // namespace metastore

int main(int argc, char** argv) {
  const metastore::Options options = metastore::Parse(argc, argv);
  for (const int in_flight : options.in_flight) {
    for (const std::string& policy : options.policies) {
      metastore::RunOne(options, policy, in_flight);
    }
  }
  return 0;
}
