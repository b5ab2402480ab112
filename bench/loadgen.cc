// loadgen: a light load generator for etcd's KV service on the loopback, for MetaStore and etcd
// alike.
//
// One thread, epoll, pre-built HTTP/2 frames, closed loop: `connections` times `streams` calls are
// always in flight. Every grpc-status is checked, no put may get a revision twice or one below what
// was acknowledged before it began, and no linearizable read may miss such a put. It ends with
// status 1 when anything of that failed.
#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/acked.h"
#include "bench/load/clock.h"
#include "bench/load/connection.h"
#include "bench/load/faults.h"
#include "bench/load/file_limit.h"
#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "bench/load/responder.h"
#include "bench/load/workload.h"

namespace metastore::bench {
namespace {

constexpr char kUsage[] = R"(usage: loadgen [options]
  --port N[,N...]       servers on 127.0.0.1, of one cluster; connections go round (default 2379)
  --op put|range|mixed|fill   fill puts every key once, in order (default put)
  --read-percent N      share of reads of mixed (default 90)
  --connections N --streams N   calls in flight: N x N (default 64 x 16)
  --duration S --warmup S   measured and unmeasured seconds (default 3 and 0.5)
  --count N             stop after N calls instead; no warm-up
  --keys N --key-bytes N --value-bytes N   default 100000, 32, 256
  --seed N              of the key space; the same seed gives the same keys (default 1)
  --cpu N               run on this core only
  --record-acked FILE   write every acknowledged put
  --record-last S       of those, only the ones of the last S seconds
  --verify FILE         read back what FILE says was acknowledged, then end
  --allow-disconnect    the server may go away: stop and report, status 0
  --allow-missing       a read may find no key
  --json FILE           the report as JSON (else it is the last line of the output)
  --self-test           measure this program against a canned answerer in its own process
  --responder-cpu N     the answerer's core
)";

struct Options {
  std::string port = "2379";
  std::vector<uint16_t> ports;  // of `port`
  std::string op = "put";
  uint64_t read_percent = 90;
  uint64_t connections = 64;
  uint64_t streams = 16;
  double duration_s = 3;
  double warmup_s = 0.5;
  uint64_t count = 0;
  uint64_t keys = 100'000;
  uint64_t key_bytes = 32;
  uint64_t value_bytes = 256;
  uint64_t seed = 1;
  uint64_t cpu = kAnyCpu;
  uint64_t responder_cpu = kAnyCpu;
  std::string record_acked;
  double record_last_s = 0;
  std::string verify;
  std::string json;
  bool allow_disconnect = false;
  bool allow_missing = false;
  bool self_test = false;

  static constexpr uint64_t kAnyCpu = 1 << 20;
  KeySpace Space() const {
    return {.seed = seed,
            .keys = static_cast<uint32_t>(keys),
            .key_bytes = static_cast<uint32_t>(key_bytes),
            .value_bytes = static_cast<uint32_t>(value_bytes)};
  }
  static int Cpu(uint64_t cpu) { return cpu == kAnyCpu ? -1 : static_cast<int>(cpu); }
};

Options ParseOptions(int argc, char** argv) {
  Options options;
  CommandLine line(kUsage);
  line.Text("port", &options.port);
  line.Text("op", &options.op);
  line.Count("read-percent", &options.read_percent);
  line.Count("connections", &options.connections);
  line.Count("streams", &options.streams);
  line.Number("duration", &options.duration_s);
  line.Number("warmup", &options.warmup_s);
  line.Count("count", &options.count);
  line.Count("keys", &options.keys);
  line.Count("key-bytes", &options.key_bytes);
  line.Count("value-bytes", &options.value_bytes);
  line.Count("seed", &options.seed);
  line.Count("cpu", &options.cpu);
  line.Count("responder-cpu", &options.responder_cpu);
  line.Text("record-acked", &options.record_acked);
  line.Number("record-last", &options.record_last_s);
  line.Text("verify", &options.verify);
  line.Text("json", &options.json);
  line.Switch("allow-disconnect", &options.allow_disconnect);
  line.Switch("allow-missing", &options.allow_missing);
  line.Switch("self-test", &options.self_test);
  line.Parse(argc, argv);

  const auto require = [&line](bool holds, const char* rule) {
    if (!holds) line.Stop(2, rule);
  };
  options.ports = PortsOf(options.port);
  require(!options.ports.empty(), "--port: 1 to 65535, or several of them joined by commas");
  require(
      options.op == "put" || options.op == "range" || options.op == "mixed" || options.op == "fill",
      "--op: put, range, mixed or fill");
  require(options.read_percent <= 100, "--read-percent: 0 to 100");
  require(options.connections >= 1 && options.connections <= 20000, "--connections: 1 to 20000");
  require(options.streams >= 1 && options.streams <= 4096, "--streams: 1 to 4096");
  require(options.keys >= 1 && options.keys <= kKeysMax, "--keys: 1 to 50000000");
  require(options.key_bytes >= kKeyBytesMin && options.key_bytes <= kKeyBytesMax,
          "--key-bytes: 18 to 4096");
  require(options.value_bytes >= kValueBytesMin && options.value_bytes <= kValueBytesMax,
          "--value-bytes: 24 to 524288");
  return options;
}

double ProcessCpuSeconds() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

volatile std::sig_atomic_t g_stop = 0;

// The load: which call comes next, and what its answer must hold.
class Load final : public CallSource {
 public:
  Load(const Options& options, const Workload& workload)
      : options_(options),
        workload_(workload),
        random_(options.seed * 7919 + NowNs()),
        acked_(static_cast<uint64_t>(options.record_last_s * 1e9)),
        newest_(workload.space().keys),
        value_id_(Mix64(NowNs()) << 40) {
    reads_ = options.op == "range" ? 100 : options.op == "mixed" ? options.read_percent : 0;
    fill_ = options.op == "fill";
    limit_ = fill_ ? workload.space().keys : options.count != 0 ? options.count : UINT64_MAX;
  }

  void StartAt(uint64_t now) { begin_ns_ = now; }
  void MeasureFrom(uint64_t now) { measure_ns_ = now; }
  void MeasureUntil(uint64_t now) { measured_until_ns_ = now; }
  void StopIssuing() { limit_ = 0; }
  void SetNow(uint64_t now) { now_ = now; }
  bool exhausted() const { return issued_ >= limit_; }

  bool Next(Request* request) override {
    if (issued_ >= limit_) return false;
    const uint32_t keys = workload_.space().keys;
    request->key = fill_ ? static_cast<uint32_t>(issued_) : random_.Below(keys);
    request->op = reads_ != 0 && random_.Below(100) < reads_ ? Op::kRange : Op::kPut;
    request->floor = request->op == Op::kPut ? revision_max_ : newest_[request->key];
    request->value_id = request->op == Op::kPut ? ++value_id_ : 0;
    issued_++;
    return true;
  }

  void Done(const Request& request, const Answer& answer, const Outcome& outcome) override {
    if (outcome.grpc_status != 0) {
      errors_.Add("grpc-status " + std::to_string(outcome.grpc_status) + " " +
                  std::string(outcome.message));
      return;
    }
    acknowledged_++;
    request.op == Op::kPut ? CheckPut(request, answer) : CheckRange(request, answer);
    if (now_ >= measure_ns_ && now_ < measured_until_ns_) latency_.Record(now_ - request.start_ns);
  }

  void Lost(const Request& request) override {
    lost_++;
    if (request.op == Op::kPut) lost_puts_++;
  }

  const LatencyHistogram& latency() const { return latency_; }
  const AckedLog& acked() const { return acked_; }
  const Faults& errors() const { return errors_; }
  const Faults& violations() const { return violations_; }
  uint64_t issued() const { return issued_; }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t lost() const { return lost_; }
  uint64_t begin_ns() const { return begin_ns_; }
  int64_t revision_max() const { return revision_max_; }

 private:
  void CheckPut(const Request& request, const Answer& answer) {
    if (!revisions_.Insert(answer.revision)) {
      violations_.Add("revision " + std::to_string(answer.revision) + " came twice");
    }
    if (answer.revision <= request.floor) {
      violations_.Add("revision " + std::to_string(answer.revision) +
                      " for a put that began after " + std::to_string(request.floor) +
                      " was acknowledged");
    }
    revision_max_ = std::max(revision_max_, answer.revision);
    newest_[request.key] = std::max(newest_[request.key], answer.revision);
    if (options_.record_acked.empty()) return;
    acked_.Add({.time_ns = now_,
                .revision = answer.revision,
                .value_id = request.value_id,
                .key = request.key});
  }

  void CheckRange(const Request& request, const Answer& answer) {
    const std::string key(workload_.Key(request.key));
    if (answer.count == 0) {
      if (!options_.allow_missing || request.floor > 0) violations_.Add("key not found: " + key);
      return;
    }
    if (answer.mod_revision < request.floor) {
      violations_.Add("stale read of " + key + ": revision " + std::to_string(answer.mod_revision) +
                      ", acknowledged before: " + std::to_string(request.floor));
    }
    if (answer.value_id == 0 || answer.value_key != request.key) {
      violations_.Add("wrong value of " + key);
    }
  }

  const Options& options_;
  const Workload& workload_;
  Random random_;
  AckedLog acked_;
  std::vector<int64_t> newest_;  // by key: the newest acknowledged revision of this run
  uint64_t value_id_;
  RevisionSet revisions_;
  LatencyHistogram latency_;
  Faults errors_;
  Faults violations_;
  uint64_t reads_ = 0;
  bool fill_ = false;
  uint64_t limit_ = 0;
  uint64_t issued_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t lost_ = 0;
  uint64_t lost_puts_ = 0;
  uint64_t now_ = 0;
  uint64_t begin_ns_ = 0;
  uint64_t measure_ns_ = 0;
  uint64_t measured_until_ns_ = UINT64_MAX;
  int64_t revision_max_ = 0;
};

// Reads every acknowledged key back. A key must hold its newest acknowledged write, or a newer one
// of ours: a put whose answer was lost may have happened.
class Verify final : public CallSource {
 public:
  Verify(const AckedKeys& acked, const Workload& workload) : acked_(acked), workload_(workload) {}

  bool Next(Request* request) override {
    if (next_ == acked_.newest.size()) return false;
    request->op = Op::kRange;
    request->key = acked_.newest[next_].key;
    request->value_id = next_++;
    return true;
  }

  void Done(const Request& request, const Answer& answer, const Outcome& outcome) override {
    const AckedWrite& write = acked_.newest[request.value_id];
    const std::string key(workload_.Key(request.key));
    checked_++;
    header_revision_ = std::max(header_revision_, answer.revision);
    if (outcome.grpc_status != 0) {
      faults_.Add("grpc-status " + std::to_string(outcome.grpc_status) + " " +
                  std::string(outcome.message));
    } else if (answer.count == 0) {
      faults_.Add("LOST: key " + key + " acknowledged at revision " +
                  std::to_string(write.revision) + " is not there");
    } else if (answer.mod_revision < write.revision) {
      faults_.Add("LOST: key " + key + " acknowledged at revision " +
                  std::to_string(write.revision) + " is at " + std::to_string(answer.mod_revision));
    } else if (answer.value_id == 0 || answer.value_key != request.key) {
      faults_.Add("DAMAGED: the value of key " + key + " is none of ours");
    } else if (answer.mod_revision == write.revision && answer.value_id != write.value_id) {
      faults_.Add("REUSED: revision " + std::to_string(write.revision) + " of key " + key +
                  " holds another value than was acknowledged");
    }
    if (answer.mod_revision > write.revision) newer_++;
  }

  void Lost(const Request&) override { faults_.Add("the connection died while reading back"); }

  bool done() const { return checked_ == acked_.newest.size(); }
  uint64_t checked() const { return checked_; }
  uint64_t newer() const { return newer_; }
  int64_t header_revision() const { return header_revision_; }
  Faults& faults() { return faults_; }

 private:
  const AckedKeys& acked_;
  const Workload& workload_;
  size_t next_ = 0;
  uint64_t checked_ = 0;
  uint64_t newer_ = 0;
  int64_t header_revision_ = 0;
  Faults faults_;
};

// The connections and the epoll set over them.
class Pool final {
 public:
  // Opens all. False: a message is on stderr.
  bool Open(const Options& options, const Workload& workload, CallSource& source) {
    poll_ = epoll_create1(EPOLL_CLOEXEC);
    events_.resize(512);
    for (uint64_t i = 0; i < options.connections; i++) {
      auto connection =
          std::make_unique<Connection>(workload, source, static_cast<uint32_t>(options.streams));
      if (!connection->Open(options.ports[i % options.ports.size()])) {
        std::fprintf(stderr, "loadgen: connection %" PRIu64 ": %s\n", i,
                     connection->failure().c_str());
        return false;
      }
      epoll_event event{.events = EPOLLIN, .data = {.ptr = connection.get()}};
      if (epoll_ctl(poll_, EPOLL_CTL_ADD, connection->fd(), &event) != 0) return false;
      connections_.push_back(std::move(connection));
    }
    return true;
  }

  // Waits for events up to `timeout_ms` and handles them.
  template <typename SetNow>
  void Turn(int timeout_ms, SetNow set_now) {
    const int ready =
        epoll_wait(poll_, events_.data(), static_cast<int>(events_.size()), timeout_ms);
    for (int i = 0; i < ready; i++) {
      const epoll_event& event = events_[static_cast<size_t>(i)];
      auto& connection = *static_cast<Connection*>(event.data.ptr);
      if (!connection.alive()) continue;
      const bool wanted_write = connection.wants_write();
      const uint64_t now = NowNs();
      set_now(now);
      if ((event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) connection.OnReadable(now);
      if ((event.events & EPOLLOUT) != 0 && connection.alive()) connection.OnWritable(now);
      Arm(connection, wanted_write);
    }
  }

  uint64_t in_flight() const {
    uint64_t sum = 0;
    for (const auto& connection : connections_) sum += connection->in_flight();
    return sum;
  }
  uint64_t inflated_blocks() const {
    uint64_t sum = 0;
    for (const auto& connection : connections_) sum += connection->inflated_blocks();
    return sum;
  }
  uint64_t dead() const { return dead_; }
  const std::string& why_dead() const { return why_dead_; }

 private:
  void Arm(Connection& connection, bool wanted_write) {
    if (!connection.alive()) {
      dead_++;
      if (why_dead_.empty()) why_dead_ = connection.failure();
      epoll_ctl(poll_, EPOLL_CTL_DEL, connection.fd(), nullptr);
      return;
    }
    if (connection.wants_write() == wanted_write) return;
    const uint32_t writing = connection.wants_write() ? EPOLLOUT : 0;
    epoll_event event{.events = EPOLLIN | writing, .data = {.ptr = &connection}};
    epoll_ctl(poll_, EPOLL_CTL_MOD, connection.fd(), &event);
  }

  int poll_ = -1;
  std::vector<epoll_event> events_;
  std::vector<std::unique_ptr<Connection>> connections_;
  uint64_t dead_ = 0;
  std::string why_dead_;
};

struct Window {
  uint64_t requests = 0;
  double seconds = 0;
  double cpu_seconds = 0;
};

constexpr uint64_t kDrainNs = 10'000'000'000;

// Runs the load through warm-up, measurement and drain.
Window RunLoad(const Options& options, Load& load, Pool& pool) {
  const auto set_now = [&load](uint64_t now) { load.SetNow(now); };
  const uint64_t begin = NowNs();
  const bool counted = load.exhausted() || options.count != 0 || options.op == "fill";
  const uint64_t warm = counted ? begin : begin + static_cast<uint64_t>(options.warmup_s * 1e9);
  const uint64_t end =
      counted ? UINT64_MAX : warm + static_cast<uint64_t>(options.duration_s * 1e9);
  load.StartAt(begin);
  load.MeasureFrom(warm);
  load.MeasureUntil(end);
  double cpu_begin = ProcessCpuSeconds();
  double cpu_end = 0;
  bool warming = true;
  uint64_t now = begin;
  uint64_t stopped = 0;
  while (pool.dead() < options.connections) {
    pool.Turn(20, set_now);
    now = NowNs();
    if (warming && now >= warm) {
      warming = false;
      cpu_begin = ProcessCpuSeconds();
    }
    if (stopped == 0 && (now >= end || load.exhausted() || g_stop != 0 || pool.dead() > 0)) {
      stopped = now;
      cpu_end = ProcessCpuSeconds();
      load.StopIssuing();
    }
    if (stopped != 0 && (pool.in_flight() == 0 || now > stopped + kDrainNs)) break;
  }
  const uint64_t last = counted ? now : std::min(now, end);
  return {.requests = load.latency().count(),
          .seconds = static_cast<double>(last - std::min(last, warm)) / 1e9,
          .cpu_seconds = (cpu_end == 0 ? ProcessCpuSeconds() : cpu_end) - cpu_begin};
}

// `text` as a JSON string.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') out.push_back('\\');
    out.push_back(byte >= 0 && byte < ' ' ? ' ' : byte);
  }
  return out + "\"";
}

std::string Json(const Options& options, const Load& load, const Pool& pool, const Window& window) {
  const LatencyHistogram& latency = load.latency();
  char text[2048];
  std::snprintf(text, sizeof text,
                "{\"op\":%s,\"connections\":%" PRIu64 ",\"streams\":%" PRIu64 ",\"keys\":%" PRIu64
                ",\"key_bytes\":%" PRIu64 ",\"value_bytes\":%" PRIu64
                ",\"seconds\":%.3f,\"requests\":%" PRIu64
                ",\"rate\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f"
                ",\"max_us\":%.1f,\"mean_us\":%.1f,\"acknowledged\":%" PRIu64 ",\"lost\":%" PRIu64
                ",\"errors\":%" PRIu64 ",\"violations\":%" PRIu64 ",\"disconnects\":%" PRIu64
                ",\"undrained\":%" PRIu64 ",\"revision_max\":%" PRId64
                ",\"inflated_blocks\":%" PRIu64 ",\"generator_cpu_cores\":%.3f,\"first_error\":",
                Quoted(options.op).c_str(), options.connections, options.streams, options.keys,
                options.key_bytes, options.value_bytes, window.seconds, window.requests,
                window.seconds > 0 ? static_cast<double>(window.requests) / window.seconds : 0.0,
                latency.PercentileUs(50), latency.PercentileUs(90), latency.PercentileUs(99),
                latency.PercentileUs(99.9), latency.max_us(), latency.mean_us(),
                load.acknowledged(), load.lost(), load.errors().count(), load.violations().count(),
                pool.dead(), pool.in_flight(), load.revision_max(), pool.inflated_blocks(),
                window.seconds > 0 ? window.cpu_seconds / window.seconds : 0.0);
  const std::string& error = load.violations().count() != 0 ? load.violations().first()
                             : load.errors().count() != 0   ? load.errors().first()
                                                            : pool.why_dead();
  return text + Quoted(error) + "}";
}

void PrintText(const Load& load, const Window& window) {
  const LatencyHistogram& latency = load.latency();
  const double rate =
      window.seconds > 0 ? static_cast<double>(window.requests) / window.seconds : 0.0;
  std::printf("%.0f requests/s over %.2f s; p50 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us\n",
              rate, window.seconds, latency.PercentileUs(50), latency.PercentileUs(99),
              latency.PercentileUs(99.9), latency.max_us());
  std::printf("acknowledged %" PRIu64 ", errors %" PRIu64 ", lost %" PRIu64 ", violations %" PRIu64
              "; generator used %.2f of a core\n",
              load.acknowledged(), load.errors().count(), load.lost(), load.violations().count(),
              window.seconds > 0 ? window.cpu_seconds / window.seconds : 0.0);
}

// Prints `json` as the last line, and into the file when one is named.
bool Emit(const Options& options, const std::string& json) {
  std::printf("%s\n", json.c_str());
  if (options.json.empty()) return true;
  const File file(std::fopen(options.json.c_str(), "w"));
  return file && std::fprintf(file.get(), "%s\n", json.c_str()) > 0;
}

int RunVerify(const Options& given) {
  AckedKeys acked;
  if (!LoadAcked(given.verify, &acked)) {
    std::fprintf(stderr, "loadgen: %s: not a file of acknowledged writes\n", given.verify.c_str());
    return 2;
  }
  Options options = given;
  options.connections = std::min<uint64_t>(given.connections, 8);
  const Workload workload(acked.space);
  Verify verify(acked, workload);
  Pool pool;
  if (!pool.Open(options, workload, verify)) return 1;
  const uint64_t deadline = NowNs() + 120'000'000'000U;
  while (!verify.done() && pool.dead() == 0 && NowNs() < deadline && g_stop == 0) {
    pool.Turn(50, [](uint64_t) {});
  }
  if (!verify.done()) verify.faults().Add("not everything was read back " + pool.why_dead());
  if (verify.checked() > 0 && verify.header_revision() < acked.revision_max) {
    verify.faults().Add("the store is at revision " + std::to_string(verify.header_revision()) +
                        ", acknowledged was " + std::to_string(acked.revision_max));
  }
  char json[512];
  std::snprintf(json, sizeof json,
                "{\"verified_keys\":%" PRIu64 ",\"acknowledged_writes\":%" PRIu64
                ",\"newer\":%" PRIu64 ",\"faults\":%" PRIu64 ",\"revision\":%" PRId64
                ",\"acknowledged_revision\":%" PRId64 "}",
                verify.checked(), acked.writes, verify.newer(), verify.faults().count(),
                verify.header_revision(), acked.revision_max);
  return Emit(options, json) && verify.faults().count() == 0 ? 0 : 1;
}

int RunMain(Options options) {
  std::optional<Responder> responder;
  if (options.self_test) {
    responder.emplace(Options::Cpu(options.responder_cpu));
    if (!responder->ok()) return 1;
    options.ports = {responder->port()};
  }
  PinThread(Options::Cpu(options.cpu));
  if (!options.verify.empty()) return RunVerify(options);
  const Workload workload(options.Space());
  auto load = std::make_unique<Load>(options, workload);
  Pool pool;
  if (!pool.Open(options, workload, *load)) return 1;
  const Window window = RunLoad(options, *load, pool);
  if (!options.record_acked.empty() &&
      load->acked().Save(options.record_acked, options.Space(), load->begin_ns()) < 0) {
    std::fprintf(stderr, "loadgen: cannot write %s\n", options.record_acked.c_str());
    return 1;
  }
  PrintText(*load, window);
  const bool emitted = Emit(options, Json(options, *load, pool, window));
  const bool connected = options.allow_disconnect || (pool.dead() == 0 && pool.in_flight() == 0);
  if (pool.dead() > 0) std::fprintf(stderr, "loadgen: %s\n", pool.why_dead().c_str());
  const bool clean = load->errors().count() == 0 && load->violations().count() == 0;
  return emitted && connected && clean ? 0 : 1;
}

void OnSignal(int) { g_stop = 1; }

}  // namespace
}  // namespace metastore::bench

int main(int argc, char** argv) {
  using metastore::bench::OnSignal;
  const metastore::bench::Options options = metastore::bench::ParseOptions(argc, argv);
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  metastore::bench::RaiseFileLimit();
  return metastore::bench::RunMain(options);
}
