// cluster_bench: what three members can commit without clients of their own: one raft group, three
// replicas in this process, each with its log on the real disk.
//
// Each replica is a StateCore as the server boots it (log, raft, engine, links to the others over
// loopback) on a reactor and thread of its own. `in-flight` writers on the leader's core propose
// puts of 8-byte keys and 8-byte values (16 bytes, an entry of 43 with its header), each the next
// when its last is answered: durable on two disks and applied by the leader. So HTTP/2 and gRPC are
// left out, and nothing else. Afterwards all three must hold the same state.
//
// Figures: commits a second; by processor time of the whole process, user and kernel; how many
// share one durable write of the leader's log; writes refused while the log prepared its next
// segments, and tried again. Expected before measuring: a put costs a lone server 2.4 us with its
// client's connection, of which half remains; two followers that append and apply, and two links,
// two thirds as much each: 3 us in all, so some 330,000 a core-second while many share each flush.
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "engine/command.h"
#include "io/base/prng.h"
#include "io/cross_call.h"
#include "io/gate.h"
#include "io/metrics.h"
#include "io/uring/uring_runtime.h"
#include "server/state_core.h"

namespace metastore::bench {
namespace {

constexpr char kUsage[] = R"(usage: cluster_bench [options]
  --directory PATH      on the disk to measure; made, and removed in the end (cluster_bench.tmp)
  --in-flight LIST      writes under way at once (default 1,64,1024,8192)
  --seconds S           of each measurement, and of the load before it (default 2)
  --rounds N            of which the medians are printed (default 3)
  --json                a line a row, for programs
)";

constexpr int kReplicas = 3;
constexpr uint64_t kKeys = 100'000;
constexpr uint64_t kInFlightMax = 10'000;  // a group admits 16,384
constexpr Duration kWriteTimeout = Seconds(10);
constexpr Duration kSettleMax = Seconds(30);

struct Options {
  std::string directory = "cluster_bench.tmp";
  std::string in_flight = "1,64,1024,8192";
  double seconds = 2;
  uint64_t rounds = 3;
  bool json = false;
};

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "cluster_bench: %s\n", what.c_str());
  std::exit(1);
}

double CpuSeconds() {
  rusage used{};
  CHECK_EQ(getrusage(RUSAGE_SELF, &used), 0);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// --- the replicas

// All but the constructor and the runtime on its own core.
struct Replica {
  Replica(io::Runtime& on, server::Config with) : runtime(on), config(std::move(with)) {}

  server::Group& group() { return state->group(); }

  io::Runtime& runtime;
  const server::Config config;
  std::unique_ptr<server::StateCore> state;
  uint64_t digest = 0;
};

io::Task<void> Start(Replica& replica) {
  replica.state = std::make_unique<server::StateCore>(replica.runtime, replica.config);
  const Status started = co_await replica.state->Start();
  if (!started.ok()) Die(started.ToString());
}

io::Task<void> Stop(Replica& replica) {
  co_await replica.state->Stop();
  replica.state.reset();
}

io::Task<void> WaitServing(Replica& replica) {
  const io::WaitLimit limit{.timers = &replica.runtime,
                            .deadline = replica.runtime.Now() + kSettleMax};
  while (!replica.group().serving()) {
    const io::WaitResult result = co_await replica.group().serving_changed().Wait(limit);
    if (result != io::WaitResult::kNotified) Die("the three members found no leader");
  }
}

// Of what is applied up to `index`, which the others have committed.
io::Task<void> TakeDigest(Replica& replica, LogIndex index) {
  const MonoTime deadline = replica.runtime.Now() + kSettleMax;
  while (replica.group().status().applied < index) {
    if (replica.runtime.Now() > deadline) Die("a follower does not catch up");
    co_await io::SleepUntil(replica.runtime, replica.runtime.Now() + Milliseconds(20), {});
  }
  replica.digest = co_await replica.group().engine().Digest();
}

uint64_t DurableWrites(const Replica& replica) {
  io::MetricList list;
  replica.state->AddMetrics(list);
  for (const io::MetricSample& sample : list.samples()) {
    if (sample.name == "metastore_wal_durable_writes_total") return sample.count;
  }
  Die("no count of durable writes");
}

// --- the load, on the leader's core

struct Load {
  Replica& leader;
  uint64_t in_flight;
  double seconds;  // before it is measured, and while it is
  uint64_t counter = 0;
  bool ending = false;
  uint64_t commits = 0;
  uint64_t refused = 0;
  LatencyHistogram latency;
  Prng prng = Prng(1);

  double took_s = 0;  // of what was measured
  double cpu_s = 0;
  uint64_t flushes = 0;
};

std::string_view Bytes(const uint64_t& number) {
  return {reinterpret_cast<const char*>(&number), sizeof(number)};
}

io::Task<void> Writer(Load& load) {
  io::Runtime& runtime = load.leader.runtime;
  const server::Identity& identity = load.leader.state->identity();
  while (!load.ending) {
    const MonoTime began = runtime.Now();
    server::ProposeCall call(runtime, runtime.core(), load.leader.group());
    call.id = {.node = identity.member, .boot = identity.boot, .counter = ++load.counter};
    call.terms.deadline = began + kWriteTimeout;
    const uint64_t key = load.prng.Below(kKeys);
    const engine::PutOp put{.key = Bytes(key), .value = Bytes(load.counter)};
    const engine::CommandHeader header{.request = call.id};
    call.command = raft::Payload::Uninitialized(engine::EncodedPutBytes(header, put));
    engine::EncodePutTo(header, put, call.command.mutable_data());
    call.quota_cost_bytes = call.command.size();
    const bool arrived = co_await call;
    CHECK(arrived);
    if (call.result.ok()) {
      ++load.commits;
      load.latency.Record(static_cast<uint64_t>((runtime.Now() - began).ns));
    } else if (call.result.status().code() == StatusCode::kResourceExhausted) {
      ++load.refused;  // the log still prepares its next segments
      co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(1), {});
    } else {
      Die(call.result.status().ToString());
    }
  }
}

io::Task<void> Drive(Load& load) {
  io::Runtime& runtime = load.leader.runtime;
  const auto span = Nanoseconds(static_cast<int64_t>(load.seconds * 1e9));
  io::Gate gate(runtime.scheduler());
  for (uint64_t i = 0; i < load.in_flight; ++i) {
    gate.Spawn("bench.write", io::ReadyClass::kClient, Writer(load));
  }
  co_await io::SleepUntil(runtime, runtime.Now() + span, {});
  load.commits = load.refused = 0;
  load.latency = {};
  const uint64_t flushes = DurableWrites(load.leader);
  const double cpu = CpuSeconds();
  const MonoTime began = runtime.Now();
  co_await io::SleepUntil(runtime, began + span, {});
  load.took_s = static_cast<double>((runtime.Now() - began).ns) / 1e9;
  load.cpu_s = CpuSeconds() - cpu;
  load.flushes = DurableWrites(load.leader) - flushes;
  const uint64_t commits = load.commits;
  load.ending = true;
  co_await gate.Close();
  load.commits = commits;
}

// --- the run

struct Figures {
  double commits = 0;       // a second
  double core_commits = 0;  // a core-second
  double cores = 0;
  double flush_commits = 0;  // a durable write of the leader
  double p50_us = 0;
  double p99_us = 0;
  double refused = 0;
};

Figures FiguresOf(const Load& load) {
  const auto commits = static_cast<double>(load.commits);
  return {.commits = commits / load.took_s,
          .core_commits = commits / load.cpu_s,
          .cores = load.cpu_s / load.took_s,
          .flush_commits = commits / static_cast<double>(std::max<uint64_t>(1, load.flushes)),
          .p50_us = load.latency.PercentileUs(50),
          .p99_us = load.latency.PercentileUs(99),
          .refused = static_cast<double>(load.refused)};
}

void PrintHead() {
  std::printf("%9s %11s %14s %6s %14s %9s %9s %8s\n", "in flight", "commits/s", "a core-second",
              "cores", "a flush", "p50 us", "p99 us", "refused");
}

void PrintRow(uint64_t in_flight, const std::vector<Figures>& rounds, bool json) {
  const auto median = [&rounds](double Figures::* figure) {
    std::vector<double> values;
    for (const Figures& figures : rounds) values.push_back(figures.*figure);
    std::ranges::sort(values);
    return values[values.size() / 2];
  };
  constexpr char kRow[] = "%9llu %11.0f %14.0f %6.2f %14.1f %9.0f %9.0f %8.0f\n";
  constexpr char kJson[] =
      "{\"in_flight\":%llu,\"commits\":%.0f,\"core_commits\":%.0f,\"cores\":%.2f,"
      "\"flush_commits\":%.1f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"refused\":%.0f}\n";
  std::printf(json ? kJson : kRow, static_cast<unsigned long long>(in_flight),
              median(&Figures::commits), median(&Figures::core_commits), median(&Figures::cores),
              median(&Figures::flush_commits), median(&Figures::p50_us), median(&Figures::p99_us),
              median(&Figures::refused));
  std::fflush(stdout);
}

class Run final {
 public:
  Run(io::uring::UringHost& host, std::span<io::Runtime* const> cores, const Options& options)
      : host_(host), home_(*cores.front()), options_(options) {
    for (size_t i = 0; i < cores.size(); ++i) {
      StatusOr<std::unique_ptr<io::Listener>> port = home_.Listen({"127.0.0.1", 0});
      if (!port.ok()) Die(port.status().ToString());
      ports_.push_back((*port)->local().port);  // free again, for the replica
    }
    for (size_t i = 0; i < cores.size(); ++i) {
      replicas_.push_back(std::make_unique<Replica>(*cores[i], ConfigOf(i)));
    }
  }

  io::Task<void> Main() {
    for (auto& replica : replicas_) co_await On(*replica, Start);
    for (auto& replica : replicas_) co_await On(*replica, WaitServing);
    if (!options_.json) PrintHead();
    for (const std::string& in_flight : SplitList(options_.in_flight)) {
      const uint64_t count = std::strtoull(in_flight.c_str(), nullptr, 10);
      co_await Measure(std::clamp<uint64_t>(count, 1, kInFlightMax));
    }
    co_await Compare();
    for (auto& replica : replicas_) co_await On(*replica, Stop);
    host_.RequestExit(0);
  }

 private:
  server::Config ConfigOf(size_t number) const {
    server::Config config;
    config.member.name = Concat("m", number + 1);
    config.member.data_dir = Concat(options_.directory, "/", config.member.name);
    config.member.listen_peer_urls = {{"http", "127.0.0.1", ports_[number]}};
    config.member.initial_advertise_peer_urls = config.member.listen_peer_urls;
    for (size_t i = 0; i < ports_.size(); ++i) {
      config.cluster.initial_cluster.push_back(
          {Concat("m", i + 1), {Concat("http://127.0.0.1:", ports_[i])}});
    }
    return config;
  }

  io::Task<void> On(Replica& replica, io::Task<void> (*what)(Replica&)) {
    io::CrossTask task(home_, replica.runtime, [&replica, what] { return what(replica); });
    const bool arrived = co_await task;
    CHECK(arrived);
  }

  io::Task<Replica*> Leader() {
    Replica* found = nullptr;
    for (auto& replica : replicas_) {
      server::LookCall look(home_, replica->runtime, [&found, &replica] {
        if (replica->group().status().is_leader) found = replica.get();
      });
      const bool arrived = co_await look;
      CHECK(arrived);
    }
    if (found == nullptr) Die("nobody leads");
    co_return found;
  }

  io::Task<void> Measure(uint64_t in_flight) {
    std::vector<Figures> rounds;
    for (uint64_t round = 0; round < options_.rounds; ++round) {
      Replica* leader = co_await Leader();
      auto load = std::make_unique<Load>(Load{.leader = *leader,
                                              .in_flight = in_flight,
                                              .seconds = options_.seconds,
                                              .counter = commands_});
      io::CrossTask drive(home_, leader->runtime, [&load] { return Drive(*load); });
      const bool arrived = co_await drive;
      CHECK(arrived);
      commands_ = load->counter;
      rounds.push_back(FiguresOf(*load));
    }
    PrintRow(in_flight, rounds, options_.json);
  }

  // Three states that went through all of it are one.
  io::Task<void> Compare() {
    Replica* leader = co_await Leader();
    LogIndex committed;
    server::LookCall look(home_, leader->runtime,
                          [&] { committed = leader->group().status().committed; });
    const bool looked = co_await look;
    CHECK(looked);
    for (auto& replica : replicas_) {
      Replica* one = replica.get();
      io::CrossTask digest(home_, one->runtime,
                           [one, committed] { return TakeDigest(*one, committed); });
      const bool arrived = co_await digest;
      CHECK(arrived);
      if (one->digest != replicas_.front()->digest) Die("the members' states differ");
    }
    if (options_.json) co_return;
    std::printf("after %llu puts the three members' states are equal\n",
                static_cast<unsigned long long>(commands_));
  }

  io::uring::UringHost& host_;
  io::Runtime& home_;
  const Options& options_;
  std::vector<uint16_t> ports_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  uint64_t commands_ = 0;
};

int Main(const Options& options) {
  if (mkdir(options.directory.c_str(), 0700) != 0) {
    Die(options.directory + ": " + std::strerror(errno));
  }
  io::uring::UringOptions uring;
  uring.reactors = kReplicas;
  uring.handle_signals = false;
  uring.log.level = io::LogLevel::kError;
  StatusOr<std::unique_ptr<io::uring::UringHost>> host =
      io::uring::UringHost::Create(std::move(uring));
  if (!host.ok()) Die(host.status().ToString());
  std::unique_ptr<io::Gate> gate;
  std::unique_ptr<Run> run;
  const int code = (*host)->Run([&](std::span<io::Runtime* const> cores) {
    run = std::make_unique<Run>(**host, cores, options);
    gate = std::make_unique<io::Gate>(cores.front()->scheduler());
    gate->Spawn("bench.main", io::ReadyClass::kCritical, run->Main());
  });
  run.reset();
  gate.reset();
  std::error_code ignored;
  std::filesystem::remove_all(options.directory, ignored);
  return code;
}

Options Parse(int argc, char** argv) {
  Options options;
  CommandLine line(kUsage);
  line.Text("directory", &options.directory);
  line.Text("in-flight", &options.in_flight);
  line.Number("seconds", &options.seconds);
  line.Count("rounds", &options.rounds);
  line.Switch("json", &options.json);
  line.Parse(argc, argv);
  if (options.rounds == 0 || options.seconds <= 0) line.Stop(2, "nothing to measure");
  return options;
}

}  // namespace
}  // namespace metastore::bench

int main(int argc, char** argv) {
  return metastore::bench::Main(metastore::bench::Parse(argc, argv));
}
