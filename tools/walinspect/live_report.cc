#include "tools/walinspect/live_report.h"

#include <algorithm>

#include "tools/walinspect/filter.h"
#include "tools/walinspect/fsync_report.h"
#include "tools/walinspect/json.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

std::string NsText(uint64_t ns) { return MicrosText(static_cast<double>(ns) / 1000); }
std::string Us(uint64_t us) { return MicrosText(static_cast<double>(us)); }

double PerSecond(uint64_t count, Duration span) {
  return span.ns <= 0 ? 0 : static_cast<double>(count) * 1e9 / static_cast<double>(span.ns);
}

std::string HeadText(const LiveReport& report) {
  const LiveSnapshot& snapshot = report.snapshot;
  std::string text = Concat(report.directory, "  process ", snapshot.process, ", ");
  if (snapshot.boot != Epoch()) text += Concat("boot ", snapshot.boot.value(), ", ");
  text += FormatTime(snapshot.at) + "\n";
  if (!snapshot.running)
    text += "THE NODE HAS ENDED; this is what it left. Waiting for the next.\n";
  if (snapshot.failed > 0) {
    text += Concat("FAILED: ", snapshot.failed,
                   " durable writes ended with an error; the log has "
                   "stopped (the node's own log says why)\n");
  }
  const Histogram& recent = snapshot.recent_us;
  const double seconds = static_cast<double>(snapshot.recent_span.ns) / 1e9;
  text += Concat("last ", RealText(seconds, 1), " s: ");
  if (recent.count() == 0) return text + "no flush\n";
  const auto bytes_per_s = PerSecond(snapshot.recent_bytes, snapshot.recent_span);
  return text + Concat(RealText(PerSecond(recent.count(), snapshot.recent_span), 1),
                       " flushes/s, p50 ", Us(recent.Percentile(0.5)), ", p99 ",
                       Us(recent.Percentile(0.99)), ", max ", Us(recent.max()), "; ",
                       RealText(static_cast<double>(snapshot.recent_requests) /
                                    static_cast<double>(recent.count()),
                                1),
                       " requests a flush, ", BytesText(static_cast<uint64_t>(bytes_per_s)),
                       "/s\n");
}

std::string RingText(const LiveSnapshot& snapshot) {
  return Concat("the last ", snapshot.profile.flush_us.count(), " of ", snapshot.written,
                " flushes since the node began, since ",
                FormatTime(snapshot.profile.first->submitted), "\n");
}

std::string SlowestText(const SplitProfile& split) {
  std::string text;
  for (const SplitFlush& slow : split.slowest()) {
    const int64_t total_ns = (slow.flush.completed - slow.flush.submitted).ns;
    text += Concat("  ", NsText(static_cast<uint64_t>(std::max<int64_t>(total_ns, 0))), " (frame ",
                   slow.flush.lsn.value(), ", ", BytesText(slow.flush.bytes), "):");
    std::array<size_t, kFlushStages> order;
    for (size_t i = 0; i < kFlushStages; ++i) order[i] = i;
    std::ranges::sort(order, std::greater<>(), [&](size_t i) { return slow.stage_ns[i]; });
    for (size_t i = 0; i < 3; ++i) {
      text += Concat(i == 0 ? " " : ", ", StageName(static_cast<FlushStage>(order[i])), " ",
                     NsText(static_cast<uint64_t>(slow.stage_ns[order[i]])));
    }
    text += "\n";
  }
  return text.empty() ? text : "slowest of these, and where most of their time went:\n" + text;
}

std::string SplitSection(const LiveReport& report) {
  if (report.split != nullptr) return SplitText(*report.split);
  return Concat("no split by the kernel's trace: ", report.split_absent, "\n");
}

size_t Lines(std::string_view text) { return static_cast<size_t>(std::ranges::count(text, '\n')); }

std::vector<std::string> StageRow(std::string name, const Histogram& ns, double share) {
  return {std::move(name),
          PercentText(share),
          MicrosText(ns.mean() / 1000),
          NsText(ns.Percentile(0.5)),
          NsText(ns.Percentile(0.9)),
          NsText(ns.Percentile(0.99)),
          NsText(ns.max())};
}

void PutStage(JsonWriter& json, std::string_view key, const Histogram& ns) {
  json.BeginObject(key);
  json.Real("mean_us", ns.mean() / 1000);
  json.Real("p50_us", static_cast<double>(ns.Percentile(0.5)) / 1000);
  json.Real("p90_us", static_cast<double>(ns.Percentile(0.9)) / 1000);
  json.Real("p99_us", static_cast<double>(ns.Percentile(0.99)) / 1000);
  json.Real("max_us", static_cast<double>(ns.max()) / 1000);
  json.EndObject();
}

void PutSlowest(JsonWriter& json, const SplitProfile& split) {
  json.BeginArray("slowest");
  for (const SplitFlush& slow : split.slowest()) {
    json.BeginObject();
    json.Number("lsn", slow.flush.lsn.value());
    json.Text("time", FormatTime(slow.flush.submitted_wall));
    json.Number("bytes", slow.flush.bytes);
    json.Real("flush_us",
              static_cast<double>((slow.flush.completed - slow.flush.submitted).ns) / 1000);
    for (size_t i = 0; i < kFlushStages; ++i) {
      json.Real(Concat(StageKey(static_cast<FlushStage>(i)), "_us"),
                static_cast<double>(slow.stage_ns[i]) / 1000);
    }
    json.EndObject();
  }
  json.EndArray();
}

void PutSplit(JsonWriter& json, const LiveReport& report) {
  if (report.split == nullptr) {
    json.Text("split_absent", report.split_absent);
    return;
  }
  const SplitProfile& split = *report.split;
  json.BeginObject("split");
  json.Number("flushes", split.count());
  json.Number("unsplit", split.unsplit());
  json.Number("lost_events", split.lost_events());
  PutStage(json, "gather", split.gather_ns());
  PutStage(json, "flush", split.total_ns());
  json.BeginObject("stages");
  for (size_t i = 0; i < kFlushStages; ++i) {
    const auto stage = static_cast<FlushStage>(i);
    PutStage(json, StageKey(stage), split.stage_ns(stage));
  }
  json.EndObject();
  PutSlowest(json, split);
  json.EndObject();
}

void PutRecent(JsonWriter& json, const LiveSnapshot& snapshot) {
  json.BeginObject("recent");
  json.Real("seconds", static_cast<double>(snapshot.recent_span.ns) / 1e9);
  json.Number("flushes", snapshot.recent_us.count());
  json.Number("requests", snapshot.recent_requests);
  json.Number("bytes", snapshot.recent_bytes);
  json.Number("p50_us", snapshot.recent_us.Percentile(0.5));
  json.Number("p99_us", snapshot.recent_us.Percentile(0.99));
  json.Number("max_us", snapshot.recent_us.max());
  json.EndObject();
}

}  // namespace

void LiveSnapshot::Add(const wal::FlushRecord& record, bool recent) {
  const auto us = [](Duration span) {
    return static_cast<uint32_t>(std::clamp<int64_t>(span.us(), 0, UINT32_MAX));
  };
  if (record.failed) {
    ++failed;
    return;
  }
  const Flush flush{.lsn = record.lsn,
                    .epoch = record.epoch,
                    .segment = record.segment,
                    .submitted = record.submitted_wall,
                    .submitted_mono = record.submitted,
                    .gather_us = us(record.submitted - record.opened),
                    .flush_us = us(record.completed - record.submitted),
                    .bytes = record.bytes,
                    .requests = record.requests,
                    .records = record.records,
                    .body_bytes = record.body_bytes,
                    .flags = record.flags};
  profile.OnFlush(flush);
  boot = record.epoch;
  if (!recent) return;
  recent_us.Add(flush.flush_us);
  recent_requests += record.requests;
  recent_bytes += record.bytes;
}

std::string SplitText(const SplitProfile& split) {
  std::string text =
      Concat("where the time went, by the kernel's trace: ", split.count(), " flushes");
  if (split.unsplit() > 0) text += Concat(", ", split.unsplit(), " could not be split");
  if (split.lost_events() > 0) text += Concat(", ", split.lost_events(), " events lost");
  text += "\n";
  if (split.count() == 0) return text;
  std::vector<std::vector<std::string>> rows{{"", "share", "mean", "p50", "p90", "p99", "max"}};
  rows.push_back(StageRow("gather (before the flush)", split.gather_ns(), 0));
  rows.back()[1] = "";
  for (size_t i = 0; i < kFlushStages; ++i) {
    const auto stage = static_cast<FlushStage>(i);
    rows.push_back(
        StageRow(std::string(StageName(stage)), split.stage_ns(stage), split.Share(stage)));
  }
  rows.push_back(StageRow("flush", split.total_ns(), 1));
  return text + TableText(rows) + SlowestText(split);
}

std::string LiveText(const LiveReport& report, size_t rows) {
  const FsyncProfile& profile = report.snapshot.profile;
  const ReportSections parts = SectionsOf(profile);
  std::string text = HeadText(report) + VerdictSentence(profile) + "\n";
  if (profile.flush_us.count() > 0) text += RingText(report.snapshot);
  // The most telling first; where the screen ends, smaller ones may still fit.
  for (const std::string& part : {parts.times, SplitSection(report), parts.heat, parts.pace,
                                  parts.outliers, parts.causes, parts.histogram, parts.sizes}) {
    if (rows == 0 || Lines(text) + Lines(part) <= rows) text += part;
  }
  return text;
}

std::string LiveJson(const LiveReport& report) {
  const LiveSnapshot& snapshot = report.snapshot;
  JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.live/1");
  json.Text("time", FormatTime(snapshot.at));
  json.Flag("running", snapshot.running);
  json.Number("process", snapshot.process);
  json.Number("boot", snapshot.boot.value());
  json.Number("written", snapshot.written);
  json.Number("missed", snapshot.missed);
  json.Number("failed", snapshot.failed);
  PutRecent(json, snapshot);
  PutSplit(json, report);
  PutProfile(json, snapshot.profile);
  json.EndObject();
  return json.Take();
}

std::string WaitingText(std::string_view directory, std::string_view reason) {
  return Concat(directory, "  waiting for a node: ", reason, "\n");
}

std::string WaitingJson(WallTime at, std::string_view reason) {
  JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.live/1");
  json.Text("time", FormatTime(at));
  json.Flag("running", false);
  json.Text("reason", reason);
  json.EndObject();
  return json.Take();
}

}  // namespace metastore::walinspect
