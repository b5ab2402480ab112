#include "tools/walinspect/bench_report.h"

#include <algorithm>

#include "io/base/check.h"
#include "tools/walinspect/fsync_report.h"
#include "tools/walinspect/json.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

constexpr uint64_t kNsPerUs = 1'000;
constexpr uint64_t kRuleNs = FsyncProfile::kRuleUs * kNsPerUs;
// A disk's turn at 15,000 a minute takes 4 ms: half of its writes wait for more than half a turn.
constexpr uint64_t kHalfTurnNs = 2'000'000;
constexpr uint64_t kFlushMinNs = 3'000;  // less is no round trip to any device
constexpr double kDriftMax = 1.25;       // still stable
constexpr double kWorthIt = 0.9;         // another method's median must be below this share
constexpr double kTailMax = 1.2;         // and its p99 within this share
constexpr double kOverlapMin = 1.8;      // rate of two at once by that of one: both about as quick
constexpr uint64_t kSamplesMin = 100;    // for a comparison and for a p99
constexpr uint64_t kSamplesMinP999 = 1000;

uint64_t P50(const Histogram& histogram) { return histogram.Percentile(0.5); }
uint64_t P99(const Histogram& histogram) { return histogram.Percentile(0.99); }

double Ratio(uint64_t a, uint64_t b) {
  return b == 0 ? 1 : static_cast<double>(a) / static_cast<double>(b);
}

std::string NsText(uint64_t ns) { return MicrosText(static_cast<double>(ns) / kNsPerUs); }

const Histogram& BaseOf(const BenchReport& report) {
  const CellResult* base = report.Find(kBaseCell);
  CHECK(base != nullptr);  // always the first
  return base->all;
}

// Enough of it to compare with; null: not.
const CellResult* Comparable(const BenchReport& report, const BenchCell& cell) {
  const CellResult* found = report.Find(cell);
  return found != nullptr && found->all.count() >= kSamplesMin ? found : nullptr;
}

// "-" where there are too few for it.
std::string PercentileText(const Histogram& histogram, double fraction) {
  const uint64_t needed = fraction > 0.99 ? kSamplesMinP999 : fraction > 0.9 ? kSamplesMin : 1;
  return histogram.count() < needed ? "-" : NsText(histogram.Percentile(fraction));
}

// --- text

std::string VerdictText(const BenchReport& report) {
  const Histogram& base = BaseOf(report);
  const DiskVerdict verdict = VerdictOf(report);
  std::string name(VerdictName(verdict));
  for (char& c : name) c = c == '-' ? ' ' : static_cast<char>(c - ('a' - 'A'));
  const uint64_t over = base.count() - base.CountUpTo(kRuleNs);
  switch (verdict) {
    case DiskVerdict::kTooFew:
      return Concat(name, ": ", base.count(), " durable writes; the rule needs ", kSamplesMin,
                    ": let it run longer (--seconds)\n");
    case DiskVerdict::kGood:
      return Concat(name, ": 99 of 100 durable writes of 4 KiB took at most ", NsText(P99(base)),
                    "; the rule is 10 ms (", base.count(), " writes)\n");
    case DiskVerdict::kSlow:
      return Concat(name, ": 99 of 100 durable writes should take at most 10 ms, here it is ",
                    NsText(P99(base)), " (", over, " of ", base.count(),
                    " took longer than 10 ms); every put waits for one\n");
    case DiskVerdict::kTooQuick:
      return Concat(name, ": half of the durable writes took at most ", NsText(P50(base)),
                    ": no medium does that\n");
  }
  CHECK_UNREACHABLE();
}

std::string MethodsText(const BenchReport& report) {
  std::vector<std::vector<std::string>> rows{{""}};
  for (const ExtentState extent : kExtentStates) {
    const std::string name(ExtentStateName(extent));
    for (const char* what : {" p50", "p99", "p99.9"}) {
      rows.front().push_back(what[0] == ' ' ? name + what : what);
    }
  }
  for (const BenchMethod method : kBenchMethods) {
    std::vector<std::string>& row = rows.emplace_back();
    row.emplace_back(BenchMethodName(method));
    for (const ExtentState extent : kExtentStates) {
      const CellResult* found = report.Find({.method = method, .extent = extent});
      for (const double fraction : {0.5, 0.99, 0.999}) {
        row.push_back(found == nullptr ? "-" : PercentileText(found->all, fraction));
      }
    }
  }
  return "by method and state of the blocks (4 KiB, one at a time; plain is not durable):\n" +
         TableText(rows);
}

std::vector<std::string> CellRow(const CellResult& result) {
  const double rate = result.WritesPerSecond();
  return {BytesText(result.cell.bytes),
          std::to_string(result.cell.depth),
          std::to_string(result.all.count()),
          PercentileText(result.all, 0.5),
          PercentileText(result.all, 0.9),
          PercentileText(result.all, 0.99),
          PercentileText(result.all, 0.999),
          RealText(rate, 0),
          RealText(rate * static_cast<double>(result.cell.bytes) / limits::kMiB, 0)};
}

// Of the results that `takes` takes; `lead` gives what stands before a row.
template <typename Takes, typename Lead>
std::string CellsText(const BenchReport& report, std::vector<std::string> heads, Takes takes,
                      Lead lead) {
  for (const char* head :
       {"bytes", "depth", "count", "p50", "p90", "p99", "p99.9", "a second", "MiB/s"}) {
    heads.emplace_back(head);
  }
  std::vector<std::vector<std::string>> rows{std::move(heads)};
  for (const CellResult& result : report.results) {
    if (result.all.count() == 0 || !takes(result.cell)) continue;
    std::vector<std::string> row = lead(result.cell);
    std::ranges::move(CellRow(result), std::back_inserter(row));
    rows.push_back(std::move(row));
  }
  return TableText(rows);
}

std::string SizesText(const BenchReport& report) {
  return "by size and depth (dsync, overwriting):\n" +
         CellsText(
             report, {},
             [](const BenchCell& cell) {
               return cell.method == kBaseCell.method && cell.extent == kBaseCell.extent;
             },
             [](const BenchCell&) { return std::vector<std::string>(); });
}

std::string AllText(const BenchReport& report) {
  return "everything:\n" +
         CellsText(
             report, {"method", "blocks"}, [](const BenchCell&) { return true; },
             [](const BenchCell& cell) {
               return std::vector<std::string>{std::string(BenchMethodName(cell.method)),
                                               std::string(ExtentStateName(cell.extent))};
             });
}

std::string StabilityText(const BenchReport& report) {
  const CellResult& base = *report.Find(kBaseCell);
  std::string text = "stability: ";
  for (const Histogram& round : base.rounds) {
    if (round.count() < kSamplesMin) return text + "too few writes to tell\n";
  }
  const Histogram& first = base.rounds.front();
  const Histogram& last = base.rounds.back();
  text += Concat("p50 ", NsText(P50(first)), " in the first third, ", NsText(P50(last)),
                 " in the last; p99 ", NsText(P99(first)), ", ", NsText(P99(last)));
  return text + (DriftOf(report).stable()
                     ? "; stable\n"
                     : "; NOT stable: others use the disk, or it slows down under load: again, "
                       "and longer\n");
}

// With a tick the figures are not the disk's.
std::string ProcessorText(const BenchReport& report) {
  const std::optional<Tick> tick = report.Find(kBaseCell)->ticks.Find();
  if (!tick) return "";
  return Concat("processor: ", tick->near_count, " of ", tick->count,
                " long writes took a whole multiple of ", MicrosText(tick->us),
                ", a scheduler tick:\n  they waited for a processor, not for the disk: again, "
                "when the machine has less to do\n");
}

std::string UnwrittenText(const BenchReport& report) {
  const CellResult* unwritten = Comparable(report, {.extent = ExtentState::kUnwritten});
  const CellResult* zeroed = Comparable(report, {.extent = ExtentState::kZeroed});
  if (unwritten == nullptr || zeroed == nullptr) return "";
  const double factor = Ratio(P50(unwritten->all), P50(zeroed->all));
  if (factor < kDriftMax) return "";
  return Concat(
      "blocks that were only allocated cost ", RealText(factor, 1),
      " times as much as written ones: the log writes its segments before it uses them\n");
}

std::string RecommendedText(const BenchReport& report) {
  const Recommended best = Recommend(report);
  const std::string method(BenchMethodName(best.method));
  std::string text = "recommended, for --config-file:\n";
  text += Concat("  wal-durable-method: ", method, "  # ", best.method_reason, "\n");
  text += Concat("  wal-depth: ", best.depth, "  # ", best.depth_reason, "\n");
  text += "  batch-policy: natural  # what arrives during a flush shares the next one\n";
  text += Concat("or as flags: --wal-durable-method=", method, " --wal-depth=", best.depth,
                 " --batch-policy=natural\n");
  if (VerdictOf(report) == DiskVerdict::kSlow && !report.Find(kBaseCell)->ticks.Find()) {
    text += "no setting makes this disk quick: give the log another one (wal-dir)\n";
  }
  return text;
}

// --- JSON

void PutTimes(JsonWriter& json, const Histogram& histogram) {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / kNsPerUs; };
  json.Number("count", histogram.count());
  json.Real("mean_us", histogram.mean() / kNsPerUs);
  json.Real("p50_us", us(histogram.Percentile(0.5)));
  json.Real("p90_us", us(histogram.Percentile(0.9)));
  json.Real("p99_us", us(histogram.Percentile(0.99)));
  json.Real("p99_9_us", us(histogram.Percentile(0.999)));
  json.Real("max_us", us(histogram.max()));
}

void PutDevice(JsonWriter& json, const DeviceFacts& device) {
  json.BeginObject("device");
  json.Text("name", device.name);
  json.Text("partition", device.partition);
  json.BeginArray("layers");
  for (const std::string& layer : device.layers) json.Text("", layer);
  json.EndArray();
  json.Text("model", device.model);
  json.Text("transport", device.transport);
  json.Number("bytes", device.bytes);
  json.Text("write_cache", device.write_cache);
  if (device.fua) json.Flag("fua", *device.fua);
  if (device.rotational) json.Flag("rotational", *device.rotational);
  json.Text("scheduler", device.scheduler);
  json.Number("logical_block_bytes", device.logical_block_bytes);
  json.Number("physical_block_bytes", device.physical_block_bytes);
  json.EndObject();
}

void PutCells(JsonWriter& json, const BenchReport& report) {
  json.BeginArray("cells");
  for (const CellResult& result : report.results) {
    json.BeginObject();
    json.Text("method", BenchMethodName(result.cell.method));
    json.Text("blocks", ExtentStateName(result.cell.extent));
    json.Number("bytes", result.cell.bytes);
    json.Number("depth", result.cell.depth);
    json.Real("writes_per_s", result.WritesPerSecond());
    PutTimes(json, result.all);
    json.BeginArray("rounds_p50_us");
    for (const Histogram& round : result.rounds) {
      json.Real("", static_cast<double>(P50(round)) / kNsPerUs);
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

const CellResult* BenchReport::Find(const BenchCell& cell) const {
  const auto found = std::ranges::find(results, cell, &CellResult::cell);
  return found == results.end() || found->all.count() == 0 ? nullptr : &*found;
}

DiskVerdict VerdictOf(const BenchReport& report) {
  const Histogram& base = BaseOf(report);
  const uint64_t over = base.count() - base.CountUpTo(kRuleNs);
  if (P99(base) > kRuleNs && over >= 2) return DiskVerdict::kSlow;
  if (base.count() < FsyncProfile::kFlushesMin) return DiskVerdict::kTooFew;
  if (P50(base) < FsyncProfile::kTooQuickUs * kNsPerUs) return DiskVerdict::kTooQuick;
  return DiskVerdict::kGood;
}

std::vector<std::string> Doubts(const BenchReport& report) {
  std::vector<std::string> doubts;
  const uint64_t durable = P50(BaseOf(report));
  if (durable < FsyncProfile::kTooQuickUs * kNsPerUs) {
    doubts.push_back(Concat("a durable write takes ", NsText(durable),
                            ", quicker than any medium: something acknowledges from memory"));
  }
  if (report.device.rotates() && durable < kHalfTurnNs) {
    doubts.push_back(Concat("the disk rotates, yet a durable write takes ", NsText(durable),
                            ", less than half a turn: its cache acknowledges, and is lost with "
                            "the power unless a controller's battery keeps it"));
  }
  BenchCell plain = kBaseCell;
  plain.method = BenchMethod::kPlain;
  const CellResult* without = Comparable(report, plain);
  const bool flushes = report.device.has_volatile_cache() && report.device.fua != true;
  if (without != nullptr && flushes && durable < P50(without->all) + kFlushMinNs) {
    doubts.push_back(Concat("a durable write (", NsText(durable),
                            ") costs no more than one that "
                            "is not (",
                            NsText(P50(without->all)),
                            "), though the device says "
                            "that it has a cache to flush: the flush does nothing"));
  }
  return doubts;
}

bool Drift::stable() const {
  const auto within = [](double ratio) { return ratio < kDriftMax && ratio > 1 / kDriftMax; };
  return within(p50) && p99 < 2 && p99 > 0.5;
}

Drift DriftOf(const BenchReport& report) {
  const CellResult* base = report.Find(kBaseCell);
  CHECK(base != nullptr);
  const Histogram& first = base->rounds.front();
  const Histogram& last = base->rounds.back();
  if (first.count() < kSamplesMin || last.count() < kSamplesMin) return {};
  return {.p50 = Ratio(P50(last), P50(first)), .p99 = Ratio(P99(last), P99(first))};
}

Recommended Recommend(const BenchReport& report) {
  Recommended best{
      .method_reason = "one request a flush; no other is quicker here",
      .depth_reason = "two at once are slower each than one, or not known to be as quick"};
  const Histogram& base = BaseOf(report);
  uint64_t quickest = static_cast<uint64_t>(static_cast<double>(P50(base)) * kWorthIt);
  for (const BenchMethod method : {BenchMethod::kLinked, BenchMethod::kFdatasync}) {
    const CellResult* other = Comparable(report, {.method = method});
    if (other == nullptr || base.count() < kSamplesMin || P50(other->all) >= quickest) continue;
    if (Ratio(P99(other->all), P99(base)) > kTailMax) continue;
    quickest = P50(other->all);
    best.method = method;
    best.method_reason = Concat("p50 ", NsText(quickest), ", dsync ", NsText(P50(base)));
  }
  double least = 0;
  for (const CellResult& one : report.results) {
    const BenchCell& cell = one.cell;
    if (cell.method != best.method || cell.extent != kBaseCell.extent || cell.depth != 1) continue;
    BenchCell twice = cell;
    twice.depth = 2;
    const CellResult* two = Comparable(report, twice);
    if (two == nullptr || one.all.count() < kSamplesMin) continue;
    const double gain = two->WritesPerSecond() / one.WritesPerSecond();
    least = least == 0 ? gain : std::min(least, gain);
  }
  if (least >= kOverlapMin) {
    best.depth = 2;
    best.depth_reason =
        Concat("two at once are at least ", RealText(least, 1), " times as many, at every size");
  }
  return best;
}

std::string BenchText(const BenchReport& report, bool all_cells) {
  std::string text = VerdictText(report);
  text += Concat(report.directory, ": ", report.file_system, "\n", DeviceText(report.device));
  for (const std::string& doubt : Doubts(report)) text += Concat("DOUBT: ", doubt, "\n");
  text += MethodsText(report) + UnwrittenText(report) + SizesText(report);
  if (all_cells) text += AllText(report);
  return text + StabilityText(report) + ProcessorText(report) + RecommendedText(report);
}

std::string BenchJson(const BenchReport& report) {
  JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.bench/1");
  json.Text("verdict", VerdictName(VerdictOf(report)));
  json.Text("directory", report.directory);
  json.Text("file_system", report.file_system);
  PutDevice(json, report.device);
  json.BeginArray("doubts");
  for (const std::string& doubt : Doubts(report)) json.Text("", doubt);
  json.EndArray();
  const Drift drift = DriftOf(report);
  json.BeginObject("drift");
  json.Real("p50", drift.p50);
  json.Real("p99", drift.p99);
  json.Flag("stable", drift.stable());
  json.EndObject();
  if (const std::optional<Tick> tick = report.Find(kBaseCell)->ticks.Find()) {
    json.BeginObject("tick");
    json.Number("us", tick->us);
    json.Number("near", tick->near_count);
    json.Number("of", tick->count);
    json.EndObject();
  }
  const Recommended best = Recommend(report);
  json.BeginObject("recommended");
  json.Text("wal-durable-method", BenchMethodName(best.method));
  json.Number("wal-depth", best.depth);
  json.Text("batch-policy", "natural");
  json.EndObject();
  PutCells(json, report);
  json.EndObject();
  return json.Take();
}

}  // namespace metastore::walinspect
