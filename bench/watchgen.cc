// watchgen: watchers and the puts that they see, on the loopback, for MetaStore and etcd alike.
//
// One thread, epoll. Every answer is checked: ids are given in order, no watcher misses an event,
// sees one twice or out of order (of a prefix, whose revisions are all its own, every revision in
// turn), and at the end each has seen everything. Status 1 when anything of that failed.
//
// With --hold it prints "ready" when the watchers are there, and goes on when a line comes on
// standard input: its caller looks at the server's memory meanwhile.

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/clock.h"
#include "bench/load/faults.h"
#include "bench/load/file_limit.h"
#include "bench/load/options.h"
#include "bench/load/poller.h"
#include "bench/load/put_load.h"
#include "bench/load/stream_connection.h"
#include "bench/load/watch_events.h"
#include "bench/load/workload.h"

namespace metastore::bench {
namespace {

constexpr char kUsage[] = R"(usage: watchgen [options]
  --port N[,N...]       servers on 127.0.0.1; connections go round (default 2379)
  --watchers N          in all (default 1000)
  --connections N --streams N   watch streams: N connections with N each (default 100 x 1)
  --on prefix|keys      all watch the prefix of all keys, or each a key of its own (default prefix)
  --never-read          nothing is read once the watchers are created
  --fill N              N puts before all else, in order of the keys, unmeasured
  --catch-up            the watchers begin at the first of these, while puts go on
  --put-connections N --put-streams N   (default 1 x 16)
  --put-rate N          puts a second by a schedule; 0: closed loop (default 0)
  --window N            puts that are not yet delivered to all; 0: no bound (default 0)
  --duration S --warmup S   measured and unmeasured seconds (default 3 and 0.5)
  --keys N --key-bytes N --value-bytes N   default 100000, 32, 256
  --hold                wait for a line of input once the watchers are created
)";

constexpr uint32_t kStreamWindowBytes = 4 * 1024 * 1024;
constexpr uint32_t kUnreadWindowBytes = 65535;
constexpr uint64_t kTurnNs = 100'000;
constexpr size_t kBatch = 4;  // watch connections between two looks at the puts
constexpr uint64_t kSetUpNs = 120'000'000'000;
constexpr uint64_t kDrainNs = 60'000'000'000;
constexpr std::string_view kWatchPath = "/etcdserverpb.Watch/Watch";

struct Options {
  std::string port = "2379";
  std::vector<uint16_t> ports;
  uint64_t watchers = 1000;
  uint64_t connections = 100;
  uint64_t streams = 1;
  std::string on = "prefix";
  uint64_t fill = 0;
  PutOptions puts;
  double duration_s = 3;
  double warmup_s = 0.5;
  uint64_t keys = 100'000;
  uint64_t key_bytes = 32;
  uint64_t value_bytes = 256;
  bool never_read = false;
  bool catch_up = false;
  bool hold = false;

  KeySpace Space() const {
    return {.seed = 1,
            .keys = static_cast<uint32_t>(keys),
            .key_bytes = static_cast<uint32_t>(key_bytes),
            .value_bytes = static_cast<uint32_t>(value_bytes)};
  }
};

void Check(Options& options, const CommandLine& line) {
  const auto require = [&line](bool holds, const char* rule) {
    if (!holds) line.Stop(2, rule);
  };
  options.ports = PortsOf(options.port);
  const uint64_t streams = options.connections * options.streams;
  require(!options.ports.empty(), "--port: 1 to 65535, or several of them joined by commas");
  require(options.on == "prefix" || options.on == "keys", "--on: prefix or keys");
  require(options.watchers <= 1'000'000, "--watchers: up to 1000000");
  require(options.connections >= 1 && options.connections <= 10000, "--connections: 1 to 10000");
  require(options.streams >= 1 && options.streams <= 10000, "--streams: 1 to 10000");
  require(options.watchers % streams == 0, "--watchers: a multiple of the streams");
  require(options.keys >= 1 && options.keys <= 10'000'000, "--keys: 1 to 10000000");
  require(options.on == "prefix" || options.keys == options.watchers,
          "--on keys: as many keys as watchers");
  require(options.key_bytes >= kKeyBytesMin && options.key_bytes <= kKeyBytesMax,
          "--key-bytes: 18 to 4096");
  require(options.value_bytes >= kValueBytesMin && options.value_bytes <= kValueBytesMax,
          "--value-bytes: 24 to 524288");
  require(options.puts.streams >= 1 && options.puts.connections >= 1, "--put-...: 1 or more");
  require(!options.catch_up || (options.fill > 0 && options.on == "prefix"),
          "--catch-up: with --fill, on the prefix");
  if (!options.never_read && !options.catch_up && options.watchers > 0) {
    options.puts.deliveries = options.on == "prefix" ? options.watchers : 1;
  }
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  CommandLine line(kUsage);
  line.Text("port", &options.port);
  line.Count("watchers", &options.watchers);
  line.Count("connections", &options.connections);
  line.Count("streams", &options.streams);
  line.Text("on", &options.on);
  line.Switch("never-read", &options.never_read);
  line.Count("fill", &options.fill);
  line.Switch("catch-up", &options.catch_up);
  line.Count("put-connections", &options.puts.connections);
  line.Count("put-streams", &options.puts.streams);
  line.Number("put-rate", &options.puts.rate);
  line.Count("window", &options.puts.window);
  line.Number("duration", &options.duration_s);
  line.Number("warmup", &options.warmup_s);
  line.Count("keys", &options.keys);
  line.Count("key-bytes", &options.key_bytes);
  line.Count("value-bytes", &options.value_bytes);
  line.Switch("hold", &options.hold);
  line.Parse(argc, argv);
  Check(options, line);
  return options;
}

// The watchers, over their connections, and what each has seen.
class Watchers final : public StreamSink {
 public:
  Watchers(const Options& options, const Workload& workload, PutLoad& puts, Faults& faults)
      : options_(options), workload_(workload), puts_(puts), faults_(faults) {
    if (options.watchers == 0) return;
    per_stream_ = options.watchers / (options.connections * options.streams);
    state_.resize(options.watchers);
    created_of_.resize(options.connections * options.streams);
  }

  // Creates all, from revision `start` on (0: from now). False: the reason is among the faults.
  bool Open(Poller& poller, int64_t start) {
    start_ = start;
    for (uint64_t i = 0; i < options_.connections && options_.watchers > 0; i++) {
      const uint32_t window = options_.never_read ? kUnreadWindowBytes : kStreamWindowBytes;
      auto connection = std::make_unique<StreamConnection>(*this, window);
      if (!connection->Open(options_.ports[i % options_.ports.size()])) {
        faults_.Add("watch connection: " + connection->failure());
        return false;
      }
      for (uint64_t s = 0; s < options_.streams; s++) {
        CreateOn(*connection, i * options_.streams + s);
      }
      connection->Flush();
      poller.Add(*connection);
      connections_.push_back(std::move(connection));
    }
    return true;
  }

  void StopReading() {
    for (const auto& connection : connections_) connection->StopReading();
  }

  bool all_created() const { return created_ == options_.watchers; }
  uint64_t events() const { return events_; }
  uint64_t bytes() const { return bytes_; }

  // How many have seen everything up to `revision`.
  uint64_t Reached(int64_t revision) const {
    uint64_t count = 0;
    for (const int64_t last : state_) count += last >= revision ? 1 : 0;
    return count;
  }

  void OnMessage(uint64_t tag, std::string_view message) override {
    bytes_ += message.size();
    ParseWatchAnswer(message, &answer_);
    const auto id = static_cast<uint64_t>(answer_.watch_id);
    if (!answer_.parsed || id >= per_stream_ || answer_.canceled) {
      faults_.Add("watch: an answer that is malformed, of no watcher or a cancel: " +
                  std::string(answer_.reason));
      return;
    }
    const uint64_t index = tag * per_stream_ + id;
    if (answer_.created) return Created(tag, index);
    for (const std::string_view event : answer_.events) Seen(index, parser_.Parse(event));
  }

  void OnEnd(uint64_t, int grpc_status, std::string_view why) override {
    faults_.Add("watch: the stream ended, grpc-status " + std::to_string(grpc_status) + " " +
                std::string(why));
  }

 private:
  void CreateOn(StreamConnection& connection, uint64_t stream) {
    const uint32_t id = connection.Begin(kWatchPath, stream);
    for (uint64_t w = 0; w < per_stream_; w++) {
      const auto key = static_cast<uint32_t>(stream * per_stream_ + w);
      const bool prefix = options_.on == "prefix";
      connection.Send(
          id, WatchCreate(prefix ? "k/" : workload_.Key(key), prefix ? "k0" : "", start_), false);
    }
  }

  void Created(uint64_t stream, uint64_t index) {
    if (index != stream * per_stream_ + created_of_[stream]) {
      faults_.Add("watch: ids are not given in order");
    }
    created_of_[stream]++;
    created_++;
    state_[index] = start_ == 0 ? answer_.revision : start_ - 1;
  }

  void Seen(uint64_t index, const WatchEvent& event) {
    int64_t& last = state_[index];
    const bool next =
        options_.on == "prefix" ? event.mod_revision == last + 1 : event.mod_revision > last;
    if (!event.parsed || event.deletion || event.value_id == 0 || !next) {
      faults_.Add("watch: an event that is malformed, lost, repeated or out of order: revision " +
                  std::to_string(event.mod_revision) + " after " + std::to_string(last));
    }
    if (options_.on == "keys" && event.key != workload_.Key(static_cast<uint32_t>(index))) {
      faults_.Add("watch: an event of another key");
    }
    last = std::max(last, event.mod_revision);
    events_++;
    if (options_.puts.deliveries != 0 && !puts_.Delivered(event.value_id)) {
      faults_.Add("watch: an event of no put, or delivered too often");
    }
  }

  const Options& options_;
  const Workload& workload_;
  PutLoad& puts_;
  Faults& faults_;
  std::vector<std::unique_ptr<StreamConnection>> connections_;
  uint64_t per_stream_ = 0;
  int64_t start_ = 0;
  std::vector<int64_t> state_;  // by watcher: the last revision seen
  std::vector<uint64_t> created_of_;
  uint64_t created_ = 0;
  uint64_t events_ = 0;
  uint64_t bytes_ = 0;
  WatchAnswer answer_;
  EventParser parser_;
};

struct Report {
  double seconds = 0;
  uint64_t events = 0;
  uint64_t bytes = 0;
  uint64_t puts = 0;
  double catch_up_s = 0;  // 0: not all caught up
  uint64_t caught_up = 0;
};

class Generator final {
 public:
  explicit Generator(const Options& options)
      : options_(options),
        workload_(options.Space()),
        puts_(options.puts, workload_, faults_),
        watchers_(options_, workload_, puts_, faults_) {}

  int Run() {
    const bool ran = Fill() && puts_.Open(options_.ports, put_poller_) && Measure();
    if (!ran && faults_.count() == 0)
      faults_.Add("not done in time " + poller_.why_dead() + put_poller_.why_dead());
    Print();
    return faults_.count() == 0 ? 0 : 1;
  }

 private:
  // Turns until `done` or the time is over. False: it is over, or something went wrong.
  template <typename Done>
  bool TurnUntil(uint64_t timeout_ns, PutLoad& puts, Done done) {
    const uint64_t deadline = NowNs() + timeout_ns;
    const auto set_now = [&puts](uint64_t now) { puts.SetNow(now); };
    while (!done() && !broken()) {
      const uint64_t now = NowNs();
      if (now > deadline) return false;
      puts.Pump(now);
      // First: what comes to the watchers must not make the puts look slow.
      put_poller_.Turn(0, set_now);
      poller_.Turn(std::min(puts.WaitNs(NowNs()), kTurnNs), set_now);
    }
    return !broken();
  }

  bool broken() const {
    return poller_.dead() > 0 || put_poller_.dead() > 0 || faults_.count() > 0;
  }

  bool Fill() {
    if (options_.fill == 0) return true;
    filler_ =
        std::make_unique<PutLoad>(PutOptions{.connections = 16, .streams = 16}, workload_, faults_);
    if (!filler_->Open(options_.ports, put_poller_)) return false;
    filler_->InOrder();
    filler_->LimitTo(options_.fill);
    filler_->Start(NowNs(), UINT64_MAX, UINT64_MAX);
    const bool filled = TurnUntil(
        kSetUpNs, *filler_, [this] { return !filler_->running() && filler_->incomplete() == 0; });
    fill_revision_ = filler_->revision_max() - static_cast<int64_t>(options_.fill) + 1;
    return filled;
  }

  bool CreateWatchers(int64_t start) {
    if (!watchers_.Open(poller_, start)) return false;
    return TurnUntil(kSetUpNs, puts_, [this] { return watchers_.all_created(); });
  }

  void Hold() const {
    if (!options_.hold) return;
    std::printf("ready\n");
    std::fflush(stdout);
    for (int byte = std::getchar(); byte != '\n' && byte != EOF;) byte = std::getchar();
  }

  bool Measure() {
    if (!options_.catch_up && !CreateWatchers(0)) return false;
    if (options_.never_read) watchers_.StopReading();
    Hold();
    const uint64_t begin = NowNs();
    const auto warmup = static_cast<uint64_t>(options_.warmup_s * 1e9);
    const auto duration = static_cast<uint64_t>(options_.duration_s * 1e9);
    puts_.Start(begin, begin + warmup, begin + warmup + duration);
    if (!TurnUntil(warmup + 1'000'000'000, puts_, [&] { return NowNs() >= begin + warmup; })) {
      return false;
    }
    const bool measured = options_.catch_up ? CatchUp(duration) : Feed(begin + warmup, duration);
    puts_.Stop();
    return measured && Drain();
  }

  bool Feed(uint64_t begin, uint64_t duration) {
    const uint64_t events = watchers_.events();
    const uint64_t bytes = watchers_.bytes();
    const uint64_t acknowledged = puts_.acknowledged();
    const bool fed =
        TurnUntil(duration + kSetUpNs, puts_, [&] { return NowNs() >= begin + duration; });
    Note(begin, events, bytes, acknowledged);
    return fed;
  }

  void Note(uint64_t begin, uint64_t events, uint64_t bytes, uint64_t acknowledged) {
    report_.seconds = static_cast<double>(NowNs() - begin) / 1e9;
    report_.events = watchers_.events() - events;
    report_.bytes = watchers_.bytes() - bytes;
    report_.puts = puts_.acknowledged() - acknowledged;
  }

  // The watchers begin at the first revision of the fill; done when all have what there was when
  // they began, or the time is over.
  bool CatchUp(uint64_t duration) {
    const int64_t target = puts_.revision_max();
    const uint64_t acknowledged = puts_.acknowledged();
    const uint64_t begin = NowNs();
    if (!CreateWatchers(fill_revision_)) return false;
    uint64_t next_look = 0;
    const auto done = [&] {
      const uint64_t now = NowNs();
      if (now < next_look) return false;
      next_look = now + 10'000'000;
      report_.caught_up = watchers_.Reached(target);
      return report_.caught_up == options_.watchers || now >= begin + duration;
    };
    const bool turned = TurnUntil(duration + kSetUpNs, puts_, done);
    Note(begin, 0, 0, acknowledged);
    if (report_.caught_up == options_.watchers) report_.catch_up_s = report_.seconds;
    return turned;
  }

  // Everything that was put reaches every watcher.
  bool Drain() {
    const bool whole = !options_.catch_up || report_.caught_up == options_.watchers;
    const bool drained = TurnUntil(kDrainNs, puts_, [&] {
      if (puts_.incomplete() > 0) return false;
      return !options_.catch_up || !whole ||
             watchers_.Reached(puts_.revision_max()) == options_.watchers;
    });
    if (!drained) faults_.Add("events that were put do not come");
    return drained;
  }

  void Print() {
    const LatencyHistogram& put = puts_.latency();
    const LatencyHistogram& last = puts_.last_delivery();
    const double seconds = std::max(report_.seconds, 1e-9);
    std::printf("{\"watchers\":%" PRIu64 ",\"seconds\":%.3f,\"events\":%" PRIu64
                ",\"events_rate\":%.1f,\"bytes_rate\":%.1f,\"puts\":%" PRIu64
                ",\"put_rate\":%.1f,\"put_p50_us\":%.1f,\"put_p99_us\":%.1f,\"put_max_us\":%.1f"
                ",\"last_p50_us\":%.1f,\"last_p99_us\":%.1f,\"last_max_us\":%.1f"
                ",\"caught_up\":%" PRIu64 ",\"catch_up_s\":%.3f,\"acknowledged\":%" PRIu64
                ",\"faults\":%" PRIu64 "}\n",
                options_.watchers, report_.seconds, report_.events,
                static_cast<double>(report_.events) / seconds,
                static_cast<double>(report_.bytes) / seconds, report_.puts,
                static_cast<double>(report_.puts) / seconds, put.PercentileUs(50),
                put.PercentileUs(99), put.max_us(), last.PercentileUs(50), last.PercentileUs(99),
                last.max_us(), report_.caught_up, report_.catch_up_s, puts_.acknowledged(),
                faults_.count());
  }

  const Options options_;
  const Workload workload_;
  Faults faults_;
  PutLoad puts_;
  std::unique_ptr<PutLoad> filler_;
  Watchers watchers_;
  Poller put_poller_;
  Poller poller_{kBatch};
  int64_t fill_revision_ = 0;
  Report report_;
};

}  // namespace
}  // namespace metastore::bench

int main(int argc, char** argv) {
  const metastore::bench::Options options = metastore::bench::ParseOptions(argc, argv);
  metastore::bench::RaiseFileLimit();
  return std::make_unique<metastore::bench::Generator>(options)->Run();
}
