// wal_bench: the log alone, beside the bare device in the same run: durable writes and records a
// second by batch size, depth and method.
//
// The log is driven as a group's pump drives it under load: one append more than the log writes at
// once, so that the next batch is built while the last is on its way; each of `batch` entries of
// `record-bytes`. It is purged behind itself and loaded for a while before it is measured, so that
// segments only go round. The reference (bare) are `depth` threads that write as many bytes as the
// log's frames have, with the same durability, into a file of written zeros: no reactor, no format,
// no checksums. Between the two (ring) are the same writes by the reactor, `depth` under way, into
// that file: what it lacks to the threads is the price of waiting in a ring, what the log lacks to
// it is the log's.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/load/clock.h"
#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "bench/load/scratch_file.h"
#include "io/gate.h"
#include "io/queue.h"
#include "io/uring/uring_runtime.h"
#include "wal/format.h"
#include "wal/log.h"

namespace metastore::bench {
namespace {

constexpr char kUsage[] = R"(usage: wal_bench [options]
  --directory PATH      on the disk to measure; made, and removed in the end (wal_bench.tmp)
  --batches LIST        entries an append (default 1,16,128,1024)
  --depths LIST         durable writes under way (default 1,2)
  --methods LIST        of dsync, fdatasync, linked (default dsync)
  --record-bytes N      of an entry (default 330)
  --seconds S           of each measurement, and of the load before it (default 1)
  --rounds N            of which the medians are printed (default 3)
  --spin                poll briefly before sleeping
)";

constexpr GroupId kGroup(1);

struct Options {
  std::string directory = "wal_bench.tmp";
  std::string batches = "1,16,128,1024";
  std::string depths = "1,2";
  std::string methods = "dsync";
  uint64_t record_bytes = 330;
  double seconds = 1;
  uint64_t rounds = 3;
  bool spin = false;
};

struct Shape {
  std::string method;
  uint32_t depth = 1;
  uint64_t batch = 1;
};

struct Figures {
  double flushes = 0;  // a second
  double records = 0;  // a second
  double p50_us = 0;
  double p99_us = 0;
  uint64_t frame_bytes = 0;  // mean, rounded up to blocks
};

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "wal_bench: %s\n", what.c_str());
  std::exit(1);
}

io::DurableMethod MethodOf(const std::string& name) {
  if (name == "dsync") return io::DurableMethod::kDsync;
  if (name == "fdatasync") return io::DurableMethod::kFdatasync;
  if (name == "linked") return io::DurableMethod::kLinked;
  Die("no method called " + name);
}

// --- the bare device

// Writes a second.
double MeasureBare(ScratchFile& scratch, uint64_t bytes, const Shape& shape, double seconds) {
  const WriteMode mode = shape.method == "dsync" ? WriteMode::kDsync : WriteMode::kFdatasync;
  std::vector<LatencyHistogram> latencies(shape.depth);
  std::vector<std::thread> writers;
  const uint64_t began = NowNs();
  for (LatencyHistogram& latency : latencies) {
    writers.emplace_back([&] { latency = scratch.Write(bytes, mode, seconds); });
  }
  for (std::thread& writer : writers) writer.join();
  const double took = static_cast<double>(NowNs() - began) / 1e9;
  double writes = 0;
  for (const LatencyHistogram& latency : latencies) writes += static_cast<double>(latency.count());
  return writes / took;
}

// --- the bare device through the reactor

struct RingLoad {
  io::Runtime& runtime;
  io::File& file;
  uint64_t bytes;
  io::DurableMethod method;
  MonoTime end;
  uint64_t next = 0;
  uint64_t writes = 0;
};

io::Task<void> RingWriter(RingLoad& load) {
  io::IoBuffer block = load.runtime.AllocateBuffer(load.bytes);
  std::memset(block.data(), 0x5a, load.bytes);
  while (load.runtime.Now() < load.end) {
    const uint64_t at = load.next++ % (ScratchFile::kBytes / load.bytes) * load.bytes;
    io::FileAwaiter write = load.file.DurableWrite(at, {block.data(), load.bytes}, load.method);
    write.op().registered_index = block.registered_index();
    const StatusOr<size_t> written = co_await write;
    if (!written.ok()) Die(written.status().ToString());
    ++load.writes;
  }
}

// Writes a second.
io::Task<double> MeasureRing(io::Runtime& runtime, const std::string& path, uint64_t bytes,
                             const Shape& shape, double seconds) {
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime.OpenFile(path, io::OpenMode::kReadWrite);
  if (!file.ok()) Die(file.status().ToString());
  const MonoTime began = runtime.Now();
  RingLoad load{.runtime = runtime,
                .file = **file,
                .bytes = bytes,
                .method = MethodOf(shape.method),
                .end = began + Nanoseconds(static_cast<int64_t>(seconds * 1e9))};
  io::Gate gate(runtime.scheduler());
  for (uint32_t i = 0; i < shape.depth; ++i) {
    gate.Spawn("bench.ring", io::ReadyClass::kCritical, RingWriter(load));
  }
  co_await gate.Close();
  co_return static_cast<double>(load.writes) * 1e9 /
      static_cast<double>((runtime.Now() - began).ns);
}

// --- the log

struct Append : wal::AppendOp {
  io::OneShot<bool> done;
  MonoTime appended;
};

void Prepare(wal::AppendOp& op, void (*run)(io::ReadyNode&)) {
  op.name = "bench.append";
  op.ready_class = io::ReadyClass::kCritical;
  op.run = run;
}

// One log under load for a while.
struct Load {
  wal::Log& log;
  io::Runtime& runtime;
  uint32_t depth;
  uint64_t batch;
  std::string bytes;
  LogIndex last;
  MonoTime end;
  uint64_t records = 0;
  LatencyHistogram latency;
};

// Keeps one batch more under way than the log writes at once. A batch is appended when the log has
// begun to write the one before, so that each has a frame of its own and is built while the others
// are on their way.
io::Task<void> Appender(Load& load) {
  std::vector<wal::Record> records(load.batch);
  std::deque<Append> under_way;
  while (load.runtime.Now() < load.end || !under_way.empty()) {
    const bool appends = load.runtime.Now() < load.end;
    if (!appends || under_way.size() > load.depth) {
      Append& first = under_way.front();
      co_await first.done;
      if (!first.status.ok()) Die(first.status.ToString());
      load.latency.Record(static_cast<uint64_t>((load.runtime.Now() - first.appended).ns));
      load.records += load.batch;
      under_way.pop_front();
    }
    if (!appends) continue;
    co_await io::Yield();  // the log writes what waits
    for (wal::Record& record : records) {
      load.last = load.last + 1;
      record = {.term = Term(1), .index = load.last, .bytes = load.bytes};
    }
    Append& op = under_way.emplace_back();
    op.requests = static_cast<uint32_t>(load.batch);
    op.appended = load.runtime.Now();
    Prepare(op, [](io::ReadyNode& node) { static_cast<Append&>(node).done.Set(true); });
    const Status appended = load.log.Append(kGroup, records, op);
    if (!appended.ok()) Die(appended.ToString());
  }
}

// Frees what is behind, as snapshots do; its records ride in other writes.
io::Task<void> Purger(Load& load) {
  while (load.runtime.Now() < load.end) {
    co_await io::SleepUntil(load.runtime, load.runtime.Now() + Milliseconds(100), {});
    if (load.last.value() < 2 * load.batch + 2) continue;
    Append op;
    op.must_sync = false;
    Prepare(op, [](io::ReadyNode& node) { static_cast<Append&>(node).done.Set(true); });
    const Status purged = load.log.Purge(kGroup, load.last - 2 * load.batch, op);
    if (!purged.ok()) Die(purged.ToString());
    co_await op.done;
  }
}

io::Task<void> Drive(Load& load, double seconds) {
  load.end = load.runtime.Now() + Nanoseconds(static_cast<int64_t>(seconds * 1e9));
  io::Gate gate(load.runtime.scheduler());
  gate.Spawn("bench.append", io::ReadyClass::kCritical, Appender(load));
  gate.Spawn("bench.purge", io::ReadyClass::kBackground, Purger(load));
  co_await gate.Close();
}

io::Task<Figures> MeasureLog(io::Runtime& runtime, const Options& options, const Shape& shape) {
  wal::LogOptions log_options{.directory = options.directory + "/log",
                              .cluster = ClusterId(1),
                              .member = NodeId(1),
                              .method = MethodOf(shape.method),
                              .depth = shape.depth};
  StatusOr<std::unique_ptr<wal::Log>> opened = co_await wal::Log::Open(runtime, log_options);
  if (!opened.ok()) Die(opened.status().ToString());
  wal::Log& log = **opened;
  while (log.stats().segments_prepared < log_options.prepared_target) {
    co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(20), {});
  }
  Load load{.log = log,
            .runtime = runtime,
            .depth = shape.depth,
            .batch = shape.batch,
            .bytes = std::string(options.record_bytes, 'r'),
            .last = log.LastIndex(kGroup)};
  // Until segments only go round, making them takes its part of the device.
  co_await Drive(load, options.seconds);
  load.records = 0;
  load.latency = {};
  const wal::LogStats before = log.stats();
  const MonoTime began = runtime.Now();
  co_await Drive(load, options.seconds);
  const double took = static_cast<double>((runtime.Now() - began).ns) / 1e9;
  const wal::LogStats after = log.stats();
  const uint64_t frames = std::max<uint64_t>(1, after.frames - before.frames);
  const uint64_t mean = (after.bytes_written - before.bytes_written) / frames;
  const Figures figures{
      .flushes = static_cast<double>(frames) / took,
      .records = static_cast<double>(load.records) / took,
      .p50_us = load.latency.PercentileUs(50),
      .p99_us = load.latency.PercentileUs(99),
      .frame_bytes = (mean + limits::kBlockBytes - 1) / limits::kBlockBytes * limits::kBlockBytes};
  const Status closed = co_await log.Close();
  if (!closed.ok()) Die(closed.ToString());
  co_return figures;
}

// --- the run

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Round {
  Figures log;
  double bare = 0;  // writes a second, as the next
  double ring = 0;
  double OfBare() const { return log.flushes / bare; }
  double OfRing() const { return log.flushes / ring; }
};

// Of what `figure` says of each round.
template <typename Figure>
double MedianOf(const std::vector<Round>& rounds, const Figure& figure) {
  std::vector<double> values;
  for (const Round& round : rounds) values.push_back(figure(round));
  return Median(std::move(values));
}

io::Task<void> MeasureShape(io::Runtime& runtime, ScratchFile& scratch, const Options& options,
                            const Shape& shape) {
  std::vector<Round> rounds;
  for (uint64_t i = 0; i < options.rounds; ++i) {
    Round& round = rounds.emplace_back();
    round.log = co_await MeasureLog(runtime, options, shape);
    const uint64_t bytes = round.log.frame_bytes;
    auto measure = [&] { round.bare = MeasureBare(scratch, bytes, shape, options.seconds); };
    co_await runtime.Offload("bench.bare", measure);
    round.ring = co_await MeasureRing(runtime, scratch.path(), bytes, shape, options.seconds);
  }
  const auto of_log = [&rounds](double Figures::* figure) {
    return MedianOf(rounds, [figure](const Round& round) { return round.log.*figure; });
  };
  std::printf("%-9s %5u %6llu %8llu %10.0f %11.0f %8.0f %8.0f %8.0f %8.0f %6.2f %7.2f\n",
              shape.method.c_str(), shape.depth, static_cast<unsigned long long>(shape.batch),
              static_cast<unsigned long long>(rounds.back().log.frame_bytes),
              of_log(&Figures::flushes), of_log(&Figures::records), of_log(&Figures::p50_us),
              of_log(&Figures::p99_us),
              MedianOf(rounds, [](const Round& round) { return round.bare; }),
              MedianOf(rounds, [](const Round& round) { return round.ring; }),
              MedianOf(rounds, [](const Round& round) { return round.OfBare(); }),
              MedianOf(rounds, [](const Round& round) { return round.OfRing(); }));
  std::fflush(stdout);
}

io::Task<void> Main(io::uring::UringHost& host, const Options& options) {
  io::Runtime& runtime = host.runtime(0);
  ScratchFile scratch(options.directory + "/bare");
  std::printf("%-9s %5s %6s %8s %10s %11s %8s %8s %8s %8s %6s %7s\n", "method", "depth", "batch",
              "bytes", "flushes/s", "records/s", "p50 us", "p99 us", "bare/s", "ring/s", "ratio",
              "of ring");
  for (const std::string& method : SplitList(options.methods)) {
    for (const std::string& depth : SplitList(options.depths)) {
      for (const std::string& batch : SplitList(options.batches)) {
        const Shape shape{
            .method = method,
            .depth = static_cast<uint32_t>(std::clamp(std::atoi(depth.c_str()), 1, 2)),
            .batch = static_cast<uint64_t>(std::max(1, std::atoi(batch.c_str())))};
        co_await MeasureShape(runtime, scratch, options, shape);
      }
    }
  }
  host.RequestExit(0);
}

Options Parse(int argc, char** argv) {
  Options options;
  CommandLine line(kUsage);
  line.Text("directory", &options.directory);
  line.Text("batches", &options.batches);
  line.Text("depths", &options.depths);
  line.Text("methods", &options.methods);
  line.Count("record-bytes", &options.record_bytes);
  line.Number("seconds", &options.seconds);
  line.Count("rounds", &options.rounds);
  line.Switch("spin", &options.spin);
  line.Parse(argc, argv);
  if (options.rounds == 0 || options.record_bytes == 0) line.Stop(2, "nothing to measure");
  return options;
}

int Run(const Options& options) {
  if (mkdir(options.directory.c_str(), 0700) != 0) {
    Die(options.directory + ": " + std::strerror(errno));
  }
  io::uring::UringOptions uring;
  uring.spin = options.spin;
  uring.log.level = io::LogLevel::kWarn;
  const StatusOr<int> code =
      io::uring::RunOneTask(std::move(uring), "bench.main",
                            [&](io::uring::UringHost& host) { return Main(host, options); });
  std::error_code ignored;
  std::filesystem::remove_all(options.directory, ignored);
  if (!code.ok()) Die(code.status().ToString());
  return *code;
}

}  // namespace
}  // namespace metastore::bench

int main(int argc, char** argv) {
  return metastore::bench::Run(metastore::bench::Parse(argc, argv));
}
