// leasegen: leases, their renewals and their end, on the loopback, for MetaStore and etcd alike.
//
// One thread, epoll. --op renew: keepalives in flight over many streams, closed loop; the answers
// come in the order of the requests, each renews its lease to the full time. --op expire: leases
// with a key each, granted such that all end at the same moment, under paced puts; a watcher tells
// when each key goes: once, each in a revision of its own, and not before its lease's time. Status
// 1 when anything of that failed.
//
// With --hold it prints "ready" when the leases are granted, and goes on when a line comes on
// standard input: its caller looks at the server's memory meanwhile.

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/clock.h"
#include "bench/load/faults.h"
#include "bench/load/file_limit.h"
#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "bench/load/poller.h"
#include "bench/load/put_load.h"
#include "bench/load/stream_connection.h"
#include "bench/load/watch_events.h"
#include "bench/load/workload.h"

namespace metastore::bench {
namespace {

constexpr char kUsage[] = R"(usage: leasegen [options]
  --port N[,N...]       servers on 127.0.0.1; connections go round (default 2379)
  --op renew|expire|grant   grant: grants and nothing else (default renew)
  --leases N            default 10000
  --first N             the id of the first; the others follow (default 1000000)
  --ttl S               of renew and grant: each lease's time (default 3600); of expire: how long
                        after the first grant they all end (default 30)
  --connections N --streams N   keepalive streams: N connections with N each (default 10 x 10)
  --pipeline N          keepalives in flight a stream (default 16)
  --put-rate N          puts a second while leases expire (default 500)
  --duration S --warmup S   of renew: measured and unmeasured seconds (default 3 and 0.5); of
                        expire: how long to wait for the last at most (default 60)
  --hold                wait for a line of input once the leases are granted
)";

constexpr uint32_t kStreamWindowBytes = 4 * 1024 * 1024;
constexpr uint64_t kSetUpNs = 300'000'000'000;
constexpr uint64_t kUnaryInFlight = 256;  // a connection
constexpr uint64_t kSetUpConnections = 4;
constexpr uint64_t kPuts = 10'000;  // distinct keys of the paced puts
constexpr std::string_view kGrantPath = "/etcdserverpb.Lease/LeaseGrant";
constexpr std::string_view kKeepAlivePath = "/etcdserverpb.Lease/LeaseKeepAlive";
constexpr std::string_view kPutPath = "/etcdserverpb.KV/Put";
constexpr std::string_view kWatchPath = "/etcdserverpb.Watch/Watch";

struct Options {
  std::string port = "2379";
  std::vector<uint16_t> ports;
  std::string op = "renew";
  uint64_t leases = 10'000;
  uint64_t first = 1'000'000;
  uint64_t ttl_s = 0;
  uint64_t connections = 10;
  uint64_t streams = 10;
  uint64_t pipeline = 16;
  double put_rate = 500;
  double duration_s = 0;
  double warmup_s = 0.5;
  bool hold = false;
};

Options ParseOptions(int argc, char** argv) {
  Options options;
  CommandLine line(kUsage);
  line.Text("port", &options.port);
  line.Text("op", &options.op);
  line.Count("leases", &options.leases);
  line.Count("first", &options.first);
  line.Count("ttl", &options.ttl_s);
  line.Count("connections", &options.connections);
  line.Count("streams", &options.streams);
  line.Count("pipeline", &options.pipeline);
  line.Number("put-rate", &options.put_rate);
  line.Number("duration", &options.duration_s);
  line.Number("warmup", &options.warmup_s);
  line.Switch("hold", &options.hold);
  line.Parse(argc, argv);
  const auto require = [&line](bool holds, const char* rule) {
    if (!holds) line.Stop(2, rule);
  };
  options.ports = PortsOf(options.port);
  require(!options.ports.empty(), "--port: 1 to 65535, or several of them joined by commas");
  const bool expire = options.op == "expire";
  require(expire || options.op == "renew" || options.op == "grant", "--op: renew, expire or grant");
  require(options.leases >= 1 && options.leases <= 10'000'000, "--leases: 1 to 10000000");
  require(options.connections >= 1 && options.connections <= 10000, "--connections: 1 to 10000");
  require(options.streams >= 1 && options.streams <= 10000, "--streams: 1 to 10000");
  require(options.pipeline >= 1 && options.pipeline <= 10000, "--pipeline: 1 to 10000");
  if (options.ttl_s == 0) options.ttl_s = expire ? 30 : 3600;
  if (options.duration_s == 0) options.duration_s = expire ? 60 : 3;
  return options;
}

std::string LeaseKey(uint64_t index) {
  std::string key = "l/0000000000";
  for (size_t at = key.size(); index > 0; index /= 10) {
    key[--at] = static_cast<char>('0' + index % 10);
  }
  return key;
}

// Unary calls, one a lease, a bounded number in flight. Grants, or puts of the leases' keys.
class SetUp final : public StreamSink {
 public:
  SetUp(const Options& options, Faults& faults) : options_(options), faults_(faults) {
    ends_s_.resize(options.leases);
    granted_ns_.resize(options.leases);
  }

  bool Open(Poller& poller) {
    for (uint64_t i = 0; i < kSetUpConnections; i++) {
      auto connection = std::make_unique<StreamConnection>(*this, kStreamWindowBytes);
      if (!connection->Open(options_.ports[i % options_.ports.size()])) {
        faults_.Add("connection: " + connection->failure());
        return false;
      }
      poller.Add(*connection);
      connections_.push_back(std::move(connection));
    }
    begin_ns_ = NowNs();
    return true;
  }

  // Begins what may be begun. Puts come after all grants.
  void Pump() {
    for (const auto& connection : connections_) {
      while (next_ < options_.leases && in_flight_ < kUnaryInFlight * kSetUpConnections) {
        const uint64_t index = next_++;
        in_flight_++;
        const std::string_view path = putting_ ? kPutPath : kGrantPath;
        connection->Send(connection->Begin(path, index), putting_ ? Put(index) : Grant(index),
                         true);
        if (next_ % kUnaryInFlight == 0) break;  // the next ones go over the next connection
      }
      connection->Flush();
    }
  }

  void ThenPut() {
    putting_ = true;
    next_ = done_ = 0;
  }
  bool done() const { return done_ == options_.leases; }
  uint64_t begin_ns() const { return begin_ns_; }
  uint64_t granted_ns(uint64_t index) const { return granted_ns_[index]; }
  uint64_t ttl_ns(uint64_t index) const { return uint64_t{ends_s_[index]} * 1'000'000'000; }

  void OnMessage(uint64_t index, std::string_view message) override {
    FieldReader fields(message);
    uint64_t id = 0;
    uint64_t ttl_s = 0;
    while (fields.Next()) {
      if (fields.field() == 2) id = static_cast<uint64_t>(fields.number());
      if (fields.field() == 3) ttl_s = static_cast<uint64_t>(fields.number());
    }
    if (putting_) return;
    if (id != options_.first + index || ttl_s != ends_s_[index])
      faults_.Add("grant: a wrong answer");
  }

  void OnEnd(uint64_t, int grpc_status, std::string_view why) override {
    in_flight_--;
    done_++;
    if (grpc_status != 0) {
      faults_.Add("set-up: grpc-status " + std::to_string(grpc_status) + " " + std::string(why));
    }
  }

 private:
  // Expiring leases all end at the same moment: the later granted, the shorter.
  std::string Grant(uint64_t index) {
    const uint64_t now = NowNs();
    const uint64_t passed_s = options_.op == "expire" ? (now - begin_ns_) / 1'000'000'000 : 0;
    ends_s_[index] = static_cast<uint32_t>(options_.ttl_s - std::min(passed_s, options_.ttl_s - 5));
    granted_ns_[index] = now;
    std::string request;
    AppendNumberField(&request, 1, ends_s_[index]);
    AppendNumberField(&request, 2, options_.first + index);
    return request;
  }

  std::string Put(uint64_t index) const {
    std::string request;
    AppendBytesField(&request, 1, LeaseKey(index));
    AppendBytesField(&request, 2, "v");
    AppendNumberField(&request, 3, options_.first + index);
    return request;
  }

  const Options& options_;
  Faults& faults_;
  std::vector<std::unique_ptr<StreamConnection>> connections_;
  std::vector<uint32_t> ends_s_;
  std::vector<uint64_t> granted_ns_;
  bool putting_ = false;
  uint64_t begin_ns_ = 0;
  uint64_t next_ = 0;
  uint64_t done_ = 0;
  uint64_t in_flight_ = 0;
};

// Keepalives, closed loop: each stream renews its share of the leases in turn.
class Renewals final : public StreamSink {
 public:
  Renewals(const Options& options, Faults& faults) : options_(options), faults_(faults) {}

  bool Open(Poller& poller) {
    const uint64_t streams = options_.connections * options_.streams;
    streams_.resize(streams);
    for (uint64_t i = 0; i < options_.connections; i++) {
      auto connection = std::make_unique<StreamConnection>(*this, kStreamWindowBytes);
      if (!connection->Open(options_.ports[i % options_.ports.size()])) {
        faults_.Add("connection: " + connection->failure());
        return false;
      }
      for (uint64_t s = i * options_.streams; s < (i + 1) * options_.streams; s++) {
        streams_[s].connection = connection.get();
        streams_[s].id = connection->Begin(kKeepAlivePath, s);
        streams_[s].asked = streams_[s].answered = s;
      }
      poller.Add(*connection);
      connections_.push_back(std::move(connection));
    }
    return true;
  }

  void Start() {
    for (Stream& stream : streams_) {
      stream.sent_ns.resize(options_.pipeline);
      for (uint64_t n = 0; n < options_.pipeline; n++) Ask(stream);
    }
    Flush();
  }
  void Stop() { running_ = false; }
  void MeasureFrom(uint64_t begin, uint64_t end) {
    measure_ns_ = begin;
    end_ns_ = end;
  }
  void SetNow(uint64_t now) { now_ = now; }
  void Flush() {
    for (const auto& connection : connections_) connection->Flush();
  }

  bool idle() const { return in_flight_ == 0; }
  const LatencyHistogram& latency() const { return latency_; }

  void OnMessage(uint64_t tag, std::string_view message) override {
    Stream& stream = streams_[tag];
    FieldReader fields(message);
    uint64_t id = 0;
    uint64_t ttl_s = 0;
    while (fields.Next()) {
      if (fields.field() == 2) id = static_cast<uint64_t>(fields.number());
      if (fields.field() == 3) ttl_s = static_cast<uint64_t>(fields.number());
    }
    if (id != LeaseOf(stream.answered) || ttl_s != options_.ttl_s) {
      faults_.Add("keepalive: a wrong answer, or not in order: id " + std::to_string(id) +
                  ", TTL " + std::to_string(ttl_s));
    }
    const uint64_t sent = stream.sent_ns[Turn(stream.answered)];
    if (sent >= measure_ns_ && now_ < end_ns_) latency_.Record(now_ - sent);
    stream.answered += streams_.size();
    in_flight_--;
    if (running_) Ask(stream);
  }

  void OnEnd(uint64_t, int grpc_status, std::string_view why) override {
    faults_.Add("keepalive: the stream ended, grpc-status " + std::to_string(grpc_status) + " " +
                std::string(why));
  }

 private:
  struct Stream {
    StreamConnection* connection = nullptr;
    uint32_t id = 0;
    uint64_t asked = 0;  // turns; those of one stream are streams_.size() apart
    uint64_t answered = 0;
    std::vector<uint64_t> sent_ns{};  // ring of the pipeline
  };

  uint64_t LeaseOf(uint64_t turn) const { return options_.first + turn % options_.leases; }
  size_t Turn(uint64_t turn) const {
    return static_cast<size_t>(turn / streams_.size() % options_.pipeline);
  }

  void Ask(Stream& stream) {
    std::string request;
    AppendNumberField(&request, 1, LeaseOf(stream.asked));
    stream.sent_ns[Turn(stream.asked)] = now_;
    stream.asked += streams_.size();
    stream.connection->Send(stream.id, request, false);
    in_flight_++;
  }

  const Options& options_;
  Faults& faults_;
  std::vector<std::unique_ptr<StreamConnection>> connections_;
  std::vector<Stream> streams_;
  LatencyHistogram latency_;
  bool running_ = true;
  uint64_t in_flight_ = 0;
  uint64_t now_ = 0;
  uint64_t measure_ns_ = UINT64_MAX;
  uint64_t end_ns_ = UINT64_MAX;
};

// Sees the leases' keys go.
class Ends final : public StreamSink {
 public:
  Ends(const Options& options, const SetUp& set_up, Faults& faults)
      : options_(options), set_up_(set_up), faults_(faults), gone_(options.leases) {}

  bool Open(Poller& poller) {
    connection_ = std::make_unique<StreamConnection>(*this, kStreamWindowBytes);
    if (!connection_->Open(options_.ports.front())) {
      faults_.Add("watch connection: " + connection_->failure());
      return false;
    }
    connection_->Send(connection_->Begin(kWatchPath, 0), WatchCreate("l/", "l0", 0), false);
    connection_->Flush();
    poller.Add(*connection_);
    return true;
  }

  bool created() const { return created_; }
  uint64_t count() const { return count_; }
  uint64_t first_ns() const { return first_ns_; }
  uint64_t last_ns() const { return last_ns_; }
  // How much longer than its time a lease lived.
  const LatencyHistogram& late() const { return late_; }

  void OnMessage(uint64_t, std::string_view message) override {
    ParseWatchAnswer(message, &answer_);
    if (!answer_.parsed || answer_.canceled) faults_.Add("watch: a wrong answer");
    created_ = created_ || answer_.created;
    for (const std::string_view event : answer_.events) Gone(parser_.Parse(event));
  }

  void OnEnd(uint64_t, int, std::string_view) override { faults_.Add("watch: the stream ended"); }

 private:
  void Gone(const WatchEvent& event) {
    const uint64_t index =
        event.key.size() < 3 ? gone_.size() : std::strtoull(event.key.c_str() + 2, nullptr, 10);
    if (!event.parsed || !event.deletion || index >= gone_.size() || gone_[index] ||
        event.mod_revision <= revision_) {
      faults_.Add(
          "expiry: an event that is no deletion, repeated, out of order or not alone in "
          "its revision: " +
          event.key);
      return;
    }
    const uint64_t now = NowNs();
    const uint64_t end = set_up_.granted_ns(index) + set_up_.ttl_ns(index);
    if (now < end) faults_.Add("expiry: a lease ended before its time");
    late_.Record(now - std::min(now, end));
    gone_[index] = true;
    revision_ = event.mod_revision;
    if (count_++ == 0) first_ns_ = now;
    last_ns_ = now;
  }

  const Options& options_;
  const SetUp& set_up_;
  Faults& faults_;
  std::unique_ptr<StreamConnection> connection_;
  std::vector<bool> gone_;
  bool created_ = false;
  int64_t revision_ = 0;
  uint64_t count_ = 0;
  uint64_t first_ns_ = 0;
  uint64_t last_ns_ = 0;
  LatencyHistogram late_;
  WatchAnswer answer_;
  EventParser parser_;
};

class Generator final {
 public:
  explicit Generator(const Options& options)
      : options_(options),
        workload_({.seed = 1, .keys = kPuts, .key_bytes = 32, .value_bytes = 256}),
        set_up_(options_, faults_) {}

  int Run() {
    const bool ran = GrantAll() && (options_.op == "renew"    ? Renew()
                                    : options_.op == "expire" ? Expire()
                                                              : Hold());
    if (!ran && faults_.count() == 0) faults_.Add("not done in time " + poller_.why_dead());
    std::printf("{\"leases\":%" PRIu64 ",\"grant_rate\":%.1f%s,\"faults\":%" PRIu64 "}\n",
                options_.leases, grant_rate_, report_.c_str(), faults_.count());
    return faults_.count() == 0 ? 0 : 1;
  }

 private:
  // Turns until `done` or the time is over; `pump` runs before each turn and gives how long that
  // may wait. False: the time is over, or something went wrong.
  template <typename Pump, typename SetNow, typename Done>
  bool TurnUntil(uint64_t timeout_ns, Pump pump, SetNow set_now, Done done) {
    const uint64_t deadline = NowNs() + timeout_ns;
    while (!done()) {
      if (poller_.dead() > 0 || faults_.count() > 0 || NowNs() > deadline) return false;
      const uint64_t wait_ns = pump();
      poller_.Turn(wait_ns, set_now);
    }
    return true;
  }

  bool SetUpAll() {
    const auto pump = [this] {
      set_up_.Pump();
      return PutLoad::kWaitMaxNs;
    };
    return TurnUntil(kSetUpNs, pump, [](uint64_t) {}, [this] { return set_up_.done(); });
  }

  bool GrantAll() {
    if (!set_up_.Open(poller_) || !SetUpAll()) return false;
    grant_rate_ = static_cast<double>(options_.leases) * 1e9 /
                  static_cast<double>(NowNs() - set_up_.begin_ns());
    return true;
  }

  bool Hold() const {
    if (!options_.hold) return true;
    std::printf("ready\n");
    std::fflush(stdout);
    for (int byte = std::getchar(); byte != '\n' && byte != EOF;) byte = std::getchar();
    return true;
  }

  bool Renew() {
    Hold();
    Renewals renewals(options_, faults_);
    Poller poller;
    if (!renewals.Open(poller)) return false;
    const uint64_t begin = NowNs();
    const uint64_t measure = begin + static_cast<uint64_t>(options_.warmup_s * 1e9);
    const uint64_t end = measure + static_cast<uint64_t>(options_.duration_s * 1e9);
    renewals.SetNow(begin);
    renewals.MeasureFrom(measure, end);
    renewals.Start();
    bool stopped = false;
    while (!renewals.idle() || !stopped) {
      const uint64_t now = NowNs();
      if (poller.dead() > 0 || faults_.count() > 0 || now > end + kSetUpNs / 10) return false;
      if (now >= end && !stopped) {
        renewals.Stop();
        stopped = true;
      }
      poller.Turn(PutLoad::kWaitMaxNs, [&renewals](uint64_t moment) { renewals.SetNow(moment); });
    }
    Report("renew_rate", static_cast<double>(renewals.latency().count()) / options_.duration_s);
    Report("renew", renewals.latency());
    return true;
  }

  bool Expire() {
    set_up_.ThenPut();
    if (!SetUpAll()) return false;
    Hold();
    Ends ends(options_, set_up_, faults_);
    PutLoad puts({.connections = 1, .streams = 256, .rate = options_.put_rate}, workload_, faults_);
    if (!ends.Open(poller_) || !puts.Open(options_.ports, poller_)) return false;
    const auto pump = [&puts] {
      const uint64_t now = NowNs();
      puts.Pump(now);
      return puts.WaitNs(now);
    };
    const auto set_now = [&puts](uint64_t now) { puts.SetNow(now); };
    if (!TurnUntil(kSetUpNs, pump, set_now, [&ends] { return ends.created(); })) return false;
    const uint64_t expected = set_up_.begin_ns() + options_.ttl_s * 1'000'000'000;
    const auto wait = static_cast<uint64_t>(options_.duration_s * 1e9);
    const uint64_t now = NowNs();
    // Latencies count from when the first may end.
    puts.Start(now, expected, UINT64_MAX);
    const auto all_gone = [&] {
      return ends.count() == options_.leases || NowNs() > expected + wait;
    };
    if (!TurnUntil(wait + kSetUpNs, pump, set_now, all_gone)) return false;
    puts.Stop();
    if (!TurnUntil(kSetUpNs / 10, pump, set_now, [&puts] { return puts.incomplete() == 0; })) {
      return false;
    }
    const double seconds = static_cast<double>(ends.last_ns() - ends.first_ns()) / 1e9;
    Report("expired", static_cast<double>(ends.count()));
    Report("expire_s", seconds);
    Report("expire_rate", static_cast<double>(ends.count()) / std::max(seconds, 1e-3));
    Report("late", ends.late());
    Report("put", puts.latency());
    return true;
  }

  void Report(const char* name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, ",\"%s\":%.3f", name, value);
    report_ += text;
  }
  void Report(const std::string& name, const LatencyHistogram& latency) {
    Report((name + "_p50_us").c_str(), latency.PercentileUs(50));
    Report((name + "_p99_us").c_str(), latency.PercentileUs(99));
    Report((name + "_max_us").c_str(), latency.max_us());
  }

  const Options options_;
  const Workload workload_;
  Faults faults_;
  SetUp set_up_;
  Poller poller_;
  double grant_rate_ = 0;
  std::string report_;
};

}  // namespace
}  // namespace metastore::bench

int main(int argc, char** argv) {
  const metastore::bench::Options options = metastore::bench::ParseOptions(argc, argv);
  metastore::bench::RaiseFileLimit();
  return std::make_unique<metastore::bench::Generator>(options)->Run();
}
