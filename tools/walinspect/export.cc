#include "tools/walinspect/export.h"

#include "io/log.h"
#include "tools/walinspect/commands.h"
#include "tools/walinspect/filter.h"
#include "tools/walinspect/histogram.h"
#include "tools/walinspect/scan_run.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

class JsonExporter final : public Exporter {
 public:
  explicit JsonExporter(Print print) : print_(std::move(print)) {}

  void OnFlush(const Flush& flush) override {
    print_(Concat("{",
                  io::JsonFields({{"schema", "walinspect.flush/1"},
                                  {"lsn", flush.lsn.value()},
                                  {"epoch", flush.epoch.value()},
                                  {"segment", flush.segment.value()},
                                  {"time", FormatTime(flush.submitted)},
                                  {"submit_ns", flush.submitted_mono.ns},
                                  {"gather_us", flush.gather_us},
                                  {"flush_us", flush.flush_us},
                                  {"bytes", flush.bytes},
                                  {"body_bytes", flush.body_bytes},
                                  {"requests", flush.requests},
                                  {"records", flush.records},
                                  {"switches_segment", flush.switches_segment()},
                                  {"promise", (flush.flags & wal::kFramePromiseOnly) != 0}}),
                  "}\n"));
  }
  void Finish(const wal::Finding&) override {}

 private:
  Print print_;
};

class PrometheusExporter final : public Exporter {
 public:
  explicit PrometheusExporter(Print print) : print_(std::move(print)) {}

  void OnFlush(const Flush& flush) override {
    gather_us_.Add(flush.gather_us);
    flush_us_.Add(flush.flush_us);
    bytes_.Add(flush.bytes);
    requests_.Add(flush.requests);
  }
  void Finish(const wal::Finding& finding) override {
    Put("walinspect_gather_seconds", "First record to submission of a frame.", gather_us_, 1e-6);
    Put("walinspect_flush_seconds", "Submission to durable of a frame.", flush_us_, 1e-6);
    Put("walinspect_flush_bytes", "Bytes of a durable write.", bytes_, 1);
    Put("walinspect_flush_requests", "Client requests that a durable write served.", requests_, 1);
    print_(Concat("# HELP walinspect_verdict How the log ends; 1 for the verdict it has.\n",
                  "# TYPE walinspect_verdict gauge\nwalinspect_verdict{verdict=\"",
                  wal::VerdictText(finding.verdict), "\"} 1\n"));
  }

 private:
  static constexpr int kPowerMax = 26;  // 67 s, 64 MiB

  void Put(std::string_view name, std::string_view help, const Histogram& histogram,
           double unit) const {
    std::string text = Concat("# HELP ", name, " ", help, "\n# TYPE ", name, " histogram\n");
    for (int power = 0; power <= kPowerMax; ++power) {
      // Values are whole: those below 2^power are those up to one less.
      const uint64_t last = (uint64_t{1} << power) - 1;
      text += Concat(name, "_bucket{le=\"", Number(static_cast<double>(last) * unit), "\"} ",
                     histogram.CountUpTo(last), "\n");
    }
    text += Concat(name, "_bucket{le=\"+Inf\"} ", histogram.count(), "\n", name, "_sum ",
                   Number(histogram.sum() * unit), "\n", name, "_count ", histogram.count(), "\n");
    print_(text);
  }
  static std::string Number(double value) {
    std::string text = RealText(value, 6);
    text.resize(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
  }

  Print print_;
  Histogram gather_us_;
  Histogram flush_us_;
  Histogram bytes_;
  Histogram requests_;
};

class ChromeExporter final : public Exporter {
 public:
  explicit ChromeExporter(Print print) : print_(std::move(print)) {
    print_("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    for (size_t slot = 0; slot < limits::kWalDepthMax; ++slot) {
      Name(FlushTrack(slot), Concat("slot ", slot, " flush"));
      Name(GatherTrack(slot), Concat("slot ", slot, " gather"));
    }
  }

  void OnFlush(const Flush& flush) override {
    if (flush.epoch != epoch_) busy_until_ns_ = {};
    epoch_ = flush.epoch;
    size_t slot = 0;
    while (slot + 1 < busy_until_ns_.size() && busy_until_ns_[slot] > flush.submitted_mono.ns) {
      ++slot;
    }
    busy_until_ns_[slot] = flush.end_ns();
    Event("gather", GatherTrack(slot), flush, -int64_t{flush.gather_us}, flush.gather_us);
    Event("flush", FlushTrack(slot), flush, 0, flush.flush_us);
  }
  // The last event of the array is no flush, so that each of these can end with a comma.
  void Finish(const wal::Finding& finding) override {
    print_(Concat("{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{",
                  io::JsonFields({{"name", Concat("log, ", wal::VerdictText(finding.verdict))}}),
                  "}}\n]}\n"));
  }

 private:
  static size_t FlushTrack(size_t slot) { return slot * 2 + 2; }
  static size_t GatherTrack(size_t slot) { return slot * 2 + 1; }

  void Name(size_t track, const std::string& name) {
    print_(Concat("{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":", track, ",\"args\":{",
                  io::JsonFields({{"name", name}}), "}},\n"));
  }
  void Event(std::string_view name, size_t track, const Flush& flush, int64_t from_us,
             uint32_t span_us) {
    print_(Concat("{\"name\":\"", name, "\",\"ph\":\"X\",\"pid\":1,\"tid\":", track, ",\"ts\":",
                  flush.submitted.ns / 1000 + from_us, ",\"dur\":", span_us, ",\"args\":{",
                  io::JsonFields({{"lsn", flush.lsn.value()},
                                  {"bytes", flush.bytes},
                                  {"requests", flush.requests},
                                  {"records", flush.records},
                                  {"switches_segment", flush.switches_segment()}}),
                  "}},\n"));
  }

  Print print_;
  Epoch epoch_;
  std::array<int64_t, limits::kWalDepthMax> busy_until_ns_{};
};

}  // namespace

StatusOr<std::unique_ptr<Exporter>> MakeExporter(std::string_view format, Exporter::Print print) {
  if (format == "json") return std::make_unique<JsonExporter>(std::move(print));
  if (format == "prometheus") return std::make_unique<PrometheusExporter>(std::move(print));
  if (format == "chrome-trace") return std::make_unique<ChromeExporter>(std::move(print));
  return InvalidArgumentError("no format of export (json, prometheus, chrome-trace): ", format);
}

// Printed while it is read: a scan of a running node's log is not tried again.
io::Task<StatusOr<int>> Export(io::Runtime& runtime, const Request& request) {
  StatusOr<std::unique_ptr<Exporter>> exporter = MakeExporter(request.export_format, request.print);
  if (!exporter.ok()) co_return exporter.status();
  FlushFeed feed(**exporter);
  wal::LogScan scan(runtime, OptionsOf(request));
  Status scanned = co_await RunScan(scan, feed, request);
  if (!scanned.ok()) co_return scanned;
  (*exporter)->Finish(scan.finding());
  co_return ExitCode(scan.finding().verdict);
}

}  // namespace metastore::walinspect
