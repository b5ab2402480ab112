#include "tools/walinspect/fsync_report.h"

#include <algorithm>
#include <cmath>

#include "io/base/check.h"
#include "tools/walinspect/filter.h"
#include "tools/walinspect/json.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

constexpr size_t kBarWidth = 40;
constexpr uint64_t kSwitchesMin = 5;

std::string Us(uint64_t us) { return MicrosText(static_cast<double>(us)); }

std::vector<std::string> TimesRow(std::string name, const Histogram& histogram) {
  return {std::move(name),
          std::to_string(histogram.count()),
          Us(histogram.Percentile(0.5)),
          Us(histogram.Percentile(0.9)),
          Us(histogram.Percentile(0.99)),
          Us(histogram.Percentile(0.999)),
          Us(histogram.max())};
}

std::string TimesText(const FsyncProfile& profile) {
  std::vector<std::vector<std::string>> rows{{"", "count", "p50", "p90", "p99", "p99.9", "max"}};
  rows.push_back(TimesRow("gather (first record to submission)", profile.gather_us));
  rows.push_back(TimesRow("flush (submission to durable)", profile.flush_us));
  rows.push_back(TimesRow("flush of segment switches", profile.switch_us));
  return TableText(rows);
}

// Rows of both histograms, from the first octave either has to the last.
std::string HistogramText(const FsyncProfile& profile) {
  const auto power = [](uint64_t value) { return value < 2 ? 0 : std::ilogb(value); };
  const int first = std::min(power(profile.gather_us.min()), power(profile.flush_us.min()));
  const int last = std::max(power(profile.gather_us.max()), power(profile.flush_us.max()));
  std::vector<std::vector<std::string>> rows{{"from", "gather", "flush"}};
  std::string bars;
  uint64_t most = 1;
  for (int i = first; i <= last; ++i) most = std::max(most, profile.flush_us.OctaveCount(i));
  for (int i = first; i <= last; ++i) {
    const uint64_t flushes = profile.flush_us.OctaveCount(i);
    const double share = static_cast<double>(flushes) / static_cast<double>(most);
    std::string bar = BarText(share, kBarWidth);
    bar.resize(kBarWidth, ' ');
    rows.push_back({Us(i == 0 ? 0 : uint64_t{1} << i),
                    std::to_string(profile.gather_us.OctaveCount(i)), std::to_string(flushes),
                    std::move(bar)});
  }
  rows.front().push_back(std::string(kBarWidth, ' '));
  return "histogram:\n" + TableText(rows);
}

std::string SizesText(const FsyncProfile& profile) {
  std::vector<std::vector<std::string>> rows{{"bytes (mean)", "count", "p50", "p99", "line"}};
  const CostLine line = profile.sizes.Line();
  for (const SizeFit::SizeClass* size : profile.sizes.classes()) {
    const auto bytes = static_cast<uint64_t>(size->bytes_mean);
    rows.push_back({BytesText(bytes), std::to_string(size->flush_us.count()),
                    Us(size->flush_us.Percentile(0.5)), Us(size->flush_us.Percentile(0.99)),
                    MicrosText(line.At(bytes))});
  }
  std::string text = "by size: ";
  if (line.has_slope && line.us_per_mib < 1) {
    text += Concat("a flush costs ", MicrosText(line.fixed_us), ", larger ones no more");
  } else if (line.has_slope) {
    text += Concat("a flush costs ", MicrosText(line.fixed_us), " and ",
                   MicrosText(line.us_per_mib), " for each MiB");
    text += Concat(" (", RealText(1e6 / line.us_per_mib, 0), " MiB/s)");
  } else {
    text += Concat("a flush costs ", MicrosText(line.fixed_us),
                   "; all were about one size, so the cost of a MiB cannot be told");
  }
  return text + "\n" + TableText(rows);
}

std::string NeighboursText(const std::vector<Flush>& flushes) {
  std::string text;
  for (const Flush& flush : flushes) {
    text += Concat(text.empty() ? "" : ", ", Us(flush.flush_us));
  }
  return text.empty() ? "-" : text;
}

std::string OutliersText(const FsyncProfile& profile) {
  const std::vector<Outlier> outliers = profile.Outliers();
  const std::string limit = Us(profile.flush_us.Percentile(0.5) * 4);
  if (outliers.empty()) return Concat("outliers: none beyond ", limit, " (4 times the median)\n");
  std::vector<std::vector<std::string>> rows{
      {"slowest", "flush", "gather", "bytes", "requests", "frame", "before", "after"}};
  for (const Outlier& outlier : outliers) {
    const Flush& flush = outlier.flush;
    rows.push_back({FormatTime(flush.submitted), Us(flush.flush_us), Us(flush.gather_us),
                    BytesText(flush.bytes), std::to_string(flush.requests),
                    std::to_string(flush.lsn.value()), NeighboursText(outlier.before),
                    NeighboursText(outlier.after)});
  }
  return Concat("outliers beyond ", limit, " (4 times the median):\n", TableText(rows));
}

std::string RippleCause(double period_s) {
  if (period_s > 4.5 && period_s < 5.6) {
    return "about 5 s is the rhythm of ext4's journal commits (mount option commit=) and of the\n"
           "  kernel's write-back: give the log a file system, best a device, of its own";
  }
  if (period_s > 28 && period_s < 32) {
    return "about 30 s is when the kernel writes dirty pages of others back, and btrfs's commit:\n"
           "  give the log a file system, best a device, of its own";
  }
  return "look for what runs in this rhythm: timers, backups, metrics agents, the load itself";
}

std::string RippleText(const FsyncProfile& profile) {
  const std::optional<Ripple> ripple = profile.ripples.Find();
  if (!ripple) {
    return "ripple: none (no period from 0.4 to 43 s beyond chance, p < 0.001)\n";
  }
  std::string text = Concat(
      "ripple: every ", RealText(ripple->period_s, 2), " s flushes take ",
      MicrosText(ripple->slow_us), " (median of those beyond ", ripple->multiple,
      " times the usual): ", ripple->intervals, " intervals in ", ripple->episodes,
      " episodes,\n  by chance ", RealText(ripple->expected, 1), ", probability of chance ",
      ripple->probability < 1e-9 ? "below 0.000000001" : RealText(ripple->probability, 9), "\n");
  if (ripple->slow_bytes > 2 * ripple->other_bytes) {
    return text + "  these flushes are larger than the others: the load itself has this rhythm\n";
  }
  return text + "  " + RippleCause(ripple->period_s) + "\n";
}

std::string RateText(const FsyncProfile& profile) {
  const std::optional<RateLimit> limit = profile.rate.Find(profile.flush_us);
  if (!limit) return "";
  return Concat("rate: about ", limit->per_second, " flushes in ", limit->seconds, " of ",
                limit->busy_seconds, " busy seconds, though many took far less than a second's ",
                limit->per_second,
                "th part:\n  something lets only so many pass: an I/O limit of "
                "the node's control group (io.max), or the volume's\n");
}

std::string TickText(const FsyncProfile& profile) {
  const std::optional<Tick> tick = profile.ticks.Find();
  if (tick && profile.rate.Find(profile.flush_us)) {
    return Concat("processor: flushes took whole multiples of ", Us(tick->us),
                  ", a scheduler tick, as a limit of the kernel makes them\n");
  }
  if (!tick) return "processor: no sign of the node having waited for one\n";
  return Concat("processor: ", tick->near_count, " of ", tick->count, " flushes from ",
                MicrosText(tick->us * 0.9), " on took a whole multiple of ", Us(tick->us),
                ", a scheduler tick:\n  the node waited for a processor, not for the disk; it "
                "needs one that others leave free\n");
}

std::string DepthText(const FsyncProfile& profile) {
  std::string text =
      Concat("pace: ", RealText(profile.FlushesPerSecond(), 1), " flushes/s, a flush under way ",
             PercentText(profile.BusyFraction()), " of the time; ");
  if (profile.overlapped_us.count() == 0) return text + "never two at once (depth 1)\n";
  return text + Concat("two at once for ", profile.overlapped_us.count(), " (depth 2): p50 ",
                       Us(profile.overlapped_us.Percentile(0.5)), ", alone ",
                       Us(profile.alone_us.Percentile(0.5)), "\n");
}

std::string SwitchText(const FsyncProfile& profile) {
  if (profile.switch_us.count() < kSwitchesMin) {
    return Concat("segment switches: ", profile.switch_us.count(),
                  " flushes began or ended a segment, too few to say what one costs\n");
  }
  return Concat("segment switches: ", profile.switch_us.count(),
                " flushes begin or end a segment; their median is ",
                MicrosText(std::abs(profile.SwitchExcessUs())),
                profile.SwitchExcessUs() >= 0 ? " above" : " below", " what their size explains\n");
}

std::vector<std::string> QueueRow(std::string name, const QueueResult& result) {
  const double each = result.flushes == 0 ? 0
                                          : static_cast<double>(result.latency_us.count()) /
                                                static_cast<double>(result.flushes);
  return {std::move(name),
          std::to_string(result.latency_us.count()),
          std::to_string(result.flushes),
          RealText(each, 1),
          Us(result.latency_us.Percentile(0.5)),
          Us(result.latency_us.Percentile(0.9)),
          Us(result.latency_us.Percentile(0.99)),
          Us(result.latency_us.max())};
}

std::string WhatIfText(const WhatIf& what_if) {
  std::vector<std::vector<std::string>> rows{
      {"what if", "requests", "flushes", "a flush", "p50", "p90", "p99", "max"}};
  rows.push_back(QueueRow("measured", what_if.measured()));
  rows.push_back(QueueRow("model, as it was", what_if.modelled()));
  rows.push_back(QueueRow("model, " + SettingsText(what_if.settings()), what_if.changed()));
  std::string text = TableText(rows);
  if (what_if.changed().saturated) {
    text += "  saturated: so set, the log could not have kept up with what came\n";
  }
  return text +
         "  latency from arrival to durable; compare the two models with each other, and\n"
         "  the first with what was measured to see how far to trust them\n";
}

// --- JSON

void PutTimes(JsonWriter& json, std::string_view key, const Histogram& histogram) {
  json.BeginObject(key);
  json.Number("count", histogram.count());
  json.Real("mean_us", histogram.mean());
  json.Number("p50_us", histogram.Percentile(0.5));
  json.Number("p90_us", histogram.Percentile(0.9));
  json.Number("p99_us", histogram.Percentile(0.99));
  json.Number("p99_9_us", histogram.Percentile(0.999));
  json.Number("max_us", histogram.max());
  json.BeginArray("octaves");  // how many from 2^i us on
  for (int i = 0; i < Histogram::kPowerMax && histogram.max() >> i != 0; ++i) {
    json.Number("", histogram.OctaveCount(i));
  }
  json.EndArray();
  json.EndObject();
}

void PutFlush(JsonWriter& json, std::string_view key, const Flush& flush) {
  json.BeginObject(key);
  json.Number("lsn", flush.lsn.value());
  json.Text("time", FormatTime(flush.submitted));
  json.Number("flush_us", flush.flush_us);
  json.Number("gather_us", flush.gather_us);
  json.Number("bytes", flush.bytes);
  json.Number("requests", flush.requests);
  json.EndObject();
}

void PutOutliers(JsonWriter& json, const FsyncProfile& profile) {
  json.BeginArray("outliers");
  for (const Outlier& outlier : profile.Outliers()) {
    json.BeginObject();
    PutFlush(json, "flush", outlier.flush);
    json.BeginArray("before");
    for (const Flush& flush : outlier.before) PutFlush(json, "", flush);
    json.EndArray();
    json.BeginArray("after");
    for (const Flush& flush : outlier.after) PutFlush(json, "", flush);
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
}

void PutSizes(JsonWriter& json, const FsyncProfile& profile) {
  const CostLine line = profile.sizes.Line();
  json.BeginObject("line");
  json.Real("fixed_us", line.fixed_us);
  json.Real("us_per_mib", line.us_per_mib);
  json.Flag("has_slope", line.has_slope);
  json.EndObject();
  json.BeginArray("by_size");
  for (const SizeFit::SizeClass* size : profile.sizes.classes()) {
    json.BeginObject();
    json.Real("bytes_mean", size->bytes_mean);
    json.Number("count", size->flush_us.count());
    json.Number("p50_us", size->flush_us.Percentile(0.5));
    json.Number("p99_us", size->flush_us.Percentile(0.99));
    json.EndObject();
  }
  json.EndArray();
}

void PutHeat(JsonWriter& json, const HeatMap& heat) {
  json.BeginObject("heat_map");
  json.Text("from", FormatTime(WallTime{heat.begin_ns()}));
  json.Number("column_us", heat.column_ns() / 1000);
  json.BeginArray("rows");
  for (size_t row = 0; row < HeatMap::kRows; ++row) {
    json.BeginObject();
    json.Number("from_us", HeatMap::RowFloorUs(row));
    json.BeginArray("counts");
    for (size_t i = 0; i < heat.columns_used(); ++i) json.Number("", heat.count(row, i));
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
}

void PutRipple(JsonWriter& json, const FsyncProfile& profile) {
  const std::optional<Ripple> ripple = profile.ripples.Find();
  if (!ripple) return;
  json.BeginObject("ripple");
  json.Real("period_s", ripple->period_s);
  json.Number("multiple", ripple->multiple);
  json.Number("slow", ripple->slow_count);
  json.Number("episodes", ripple->episodes);
  json.Number("intervals", ripple->intervals);
  json.Real("expected", ripple->expected);
  json.Real("probability", ripple->probability);
  json.Real("slow_us", ripple->slow_us);
  json.EndObject();
}

void PutTick(JsonWriter& json, const FsyncProfile& profile) {
  const std::optional<Tick> tick = profile.ticks.Find();
  if (!tick) return;
  json.BeginObject("tick");
  json.Number("us", tick->us);
  json.Number("near", tick->near_count);
  json.Number("count", tick->count);
  json.EndObject();
}

void PutRate(JsonWriter& json, const FsyncProfile& profile) {
  const std::optional<RateLimit> limit = profile.rate.Find(profile.flush_us);
  if (!limit) return;
  json.BeginObject("rate_limit");
  json.Number("per_s", limit->per_second);
  json.Number("seconds", limit->seconds);
  json.Number("busy_seconds", limit->busy_seconds);
  json.EndObject();
}

void PutQueue(JsonWriter& json, std::string_view key, const QueueResult& result) {
  json.BeginObject(key);
  json.Number("flushes", result.flushes);
  json.Flag("saturated", result.saturated);
  PutTimes(json, "latency", result.latency_us);
  json.EndObject();
}

}  // namespace

std::string_view VerdictName(DiskVerdict verdict) {
  switch (verdict) {
    case DiskVerdict::kTooFew:
      return "too-few";
    case DiskVerdict::kGood:
      return "good";
    case DiskVerdict::kSlow:
      return "slow";
    case DiskVerdict::kTooQuick:
      return "too-quick";
  }
  CHECK_UNREACHABLE();
}

std::string VerdictSentence(const FsyncProfile& profile) {
  const std::string p99 = Us(profile.flush_us.Percentile(0.99));
  switch (profile.Verdict()) {
    case DiskVerdict::kTooFew:
      return Concat("TOO FEW: ", profile.flush_us.count(), " flushes have a time here; ",
                    FsyncProfile::kFlushesMin, " are needed to judge the disk");
    case DiskVerdict::kGood:
      return Concat("GOOD: 99 of 100 durable writes took at most ", p99, "; the rule is 10 ms");
    case DiskVerdict::kSlow: {
      const uint64_t beyond =
          profile.flush_us.count() - profile.flush_us.CountUpTo(FsyncProfile::kRuleUs);
      return Concat("SLOW: 99 of 100 durable writes should take at most 10 ms, here it is ", p99,
                    " (", beyond, " of ", profile.flush_us.count(),
                    " took longer than 10 ms); every write waits for one");
    }
    case DiskVerdict::kTooQuick:
      return Concat("TOO QUICK: half of the durable writes took at most ",
                    Us(profile.flush_us.Percentile(0.5)),
                    ", which no medium does: is there a cache that a power loss empties?");
  }
  CHECK_UNREACHABLE();
}

ReportSections SectionsOf(const FsyncProfile& profile) {
  if (profile.flush_us.count() == 0) return {};
  return {
      .times = TimesText(profile),
      .pace = DepthText(profile),
      .histogram = HistogramText(profile),
      .heat = "flush time over time (a column's share from '.' to '@'):\n" + profile.heat.Text(),
      .sizes = SizesText(profile),
      .outliers = OutliersText(profile),
      .causes = RippleText(profile) + RateText(profile) + TickText(profile) + SwitchText(profile)};
}

std::string ReportText(const FsyncReport& report) {
  const FsyncProfile& profile = report.profile;
  std::string text = VerdictSentence(profile) + "\n";
  if (profile.flush_us.count() == 0) return text;
  text += Concat("flushes: ", profile.flush_us.count(), " with a time, ", report.untimed,
                 " without, ", FormatTime(profile.first->submitted), " to ",
                 FormatTime(profile.last->submitted), "\n");
  const ReportSections parts = SectionsOf(profile);
  text += parts.times + parts.pace + parts.histogram + parts.heat + parts.sizes + parts.outliers +
          parts.causes;
  if (report.what_if != nullptr) text += WhatIfText(*report.what_if);
  return text;
}

void PutProfile(JsonWriter& json, const FsyncProfile& profile) {
  json.Text("verdict", VerdictName(profile.Verdict()));
  json.Text("sentence", VerdictSentence(profile));
  PutTimes(json, "gather", profile.gather_us);
  PutTimes(json, "flush", profile.flush_us);
  PutTimes(json, "switches", profile.switch_us);
  json.Real("switch_excess_us", profile.SwitchExcessUs());
  json.Real("flushes_per_s", profile.FlushesPerSecond());
  json.Real("busy", profile.BusyFraction());
  PutTimes(json, "alone", profile.alone_us);
  PutTimes(json, "overlapped", profile.overlapped_us);
  PutHeat(json, profile.heat);
  PutSizes(json, profile);
  PutOutliers(json, profile);
  PutRipple(json, profile);
  PutTick(json, profile);
  PutRate(json, profile);
}

std::string ReportJson(const FsyncReport& report, const wal::Finding& finding) {
  JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.fsync/1");
  json.Text("log_verdict", wal::VerdictText(finding.verdict));
  json.Number("untimed", report.untimed);
  PutProfile(json, report.profile);
  if (report.what_if != nullptr) {
    json.BeginObject("what_if");
    json.Text("settings", SettingsText(report.what_if->settings()));
    PutQueue(json, "measured", report.what_if->measured());
    PutQueue(json, "modelled", report.what_if->modelled());
    PutQueue(json, "changed", report.what_if->changed());
    json.EndObject();
  }
  json.EndObject();
  return json.Take();
}

}  // namespace metastore::walinspect
