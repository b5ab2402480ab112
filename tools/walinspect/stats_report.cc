// How LogStatistics reads, as text and as JSON.
#include <algorithm>
#include <cmath>

#include "tools/walinspect/filter.h"
#include "tools/walinspect/json.h"
#include "tools/walinspect/record_text.h"
#include "tools/walinspect/stats.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

constexpr size_t kGroupsShown = 20;
constexpr size_t kBootsShown = 10;
constexpr size_t kPinnersShown = 4;
constexpr double kFractions[] = {0.5, 0.9, 0.99, 0.999};

double Fraction(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

struct Sizes {
  uint64_t files = 0;
  uint64_t frames = 0;
  uint64_t body = 0;
  uint64_t frames_count = 0;
};

Sizes SizesOf(const LogStatistics& stats) {
  Sizes sizes;
  for (const SegmentStatistics& segment : stats.segments) {
    sizes.files += segment.file_bytes;
    sizes.frames += segment.frame_bytes;
    sizes.body += segment.body_bytes;
    sizes.frames_count += segment.frames;
  }
  return sizes;
}

std::string SizesText(const LogStatistics& stats) {
  const Sizes sizes = SizesOf(stats);
  const auto share = [&](uint64_t bytes) {
    return Concat(BytesText(bytes), " (", PercentText(Fraction(bytes, sizes.frames)), ")");
  };
  return Concat("sizes: ", stats.segments.size(), " segments of ", BytesText(sizes.files), ", ",
                sizes.frames_count, " frames of ", BytesText(sizes.frames), "\n  payload ",
                share(stats.payload_bytes), ", record fields ",
                share(sizes.body - stats.payload_bytes), ", frame headers ",
                share(stats.header_bytes), ", padding ", share(stats.padding_bytes), "\n  ",
                stats.promise_frames, " frames only promise the one before (idling)\n");
}

template <typename Format>
std::vector<std::string> BatchRow(std::string name, const Histogram& histogram, Format format) {
  std::vector<std::string> row{std::move(name)};
  row.push_back(format(static_cast<uint64_t>(std::llround(histogram.mean()))));
  for (double fraction : kFractions) row.push_back(format(histogram.Percentile(fraction)));
  row.push_back(format(histogram.max()));
  return row;
}

std::string BatchText(const LogStatistics& stats) {
  const auto plain = [](uint64_t value) { return std::to_string(value); };
  const auto micros = [](uint64_t value) { return MicrosText(static_cast<double>(value)); };
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"a frame has", "mean", "p50", "p90", "p99", "p99.9", "max"});
  rows.push_back(BatchRow("requests", stats.frame_requests, plain));
  rows.push_back(BatchRow("records", stats.frame_records, plain));
  rows.push_back(BatchRow("bytes", stats.frame_bytes, BytesText));
  rows.push_back(BatchRow("time since the one before", stats.frame_gap_us, micros));
  return "batches:\n" + TableText(rows);
}

std::vector<GroupId> LargestGroups(const LogStatistics& stats) {
  std::vector<std::pair<uint64_t, GroupId>> order;
  for (const auto& [id, group] : stats.groups) order.emplace_back(group.total().bytes, id);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  order.resize(std::min(order.size(), kGroupsShown));
  std::vector<GroupId> ids;
  for (const auto& [bytes, id] : order) ids.push_back(id);
  return ids;
}

std::string GroupsText(const LogStatistics& stats) {
  std::vector<std::vector<std::string>> rows{
      {"group", "kind", "records", "bytes", "live entries", "indexes"}};
  for (GroupId id : LargestGroups(stats)) {
    const LogStatistics::GroupStatistics& group = stats.groups.at(id);
    uint64_t live = 0;
    for (const auto& [first, run] : group.runs.runs()) live += run.last - first + 1;
    const std::string indexes =
        group.runs.empty() ? "-" : Concat(group.runs.first(), "..", group.runs.last());
    rows.push_back({std::to_string(id.value()), "all", std::to_string(group.total().records),
                    BytesText(group.total().bytes), std::to_string(live), indexes});
    for (size_t kind = 1; kind < LogStatistics::kKinds; ++kind) {
      const Tally& tally = group.kinds[kind];
      if (tally.records == 0) continue;
      rows.push_back({"", std::string(KindText(static_cast<wal::RecordKind>(kind))),
                      std::to_string(tally.records), BytesText(tally.bytes), "", ""});
    }
  }
  std::string text = "records by group and kind:\n" + TableText(rows);
  if (stats.groups.size() > kGroupsShown) {
    text += Concat("  ... and ", stats.groups.size() - kGroupsShown, " smaller groups (--json)\n");
  }
  return text;
}

std::string PinText(const SegmentStatistics& segment, bool waits) {
  if (segment.live.empty()) {
    return waits ? "nothing; waits for the segments before it" : "nothing; free soon";
  }
  std::vector<std::pair<uint64_t, GroupId>> order;
  for (const auto& [id, count] : segment.live) order.emplace_back(count, id);
  std::ranges::sort(order, std::greater<>());
  std::string text;
  for (size_t i = 0; i < order.size() && i < kPinnersShown; ++i) {
    text += Concat(text.empty() ? "" : ", ", "group ", order[i].second.value(), ": ",
                   order[i].first, " entries");
  }
  if (order.size() > kPinnersShown) {
    text += Concat(" and ", order.size() - kPinnersShown, " groups more");
  }
  return text;
}

std::string SegmentsText(const LogStatistics& stats) {
  std::string text = "what keeps each segment (segments are freed from the first one on):\n";
  bool waits = false;
  for (const SegmentStatistics& segment : stats.segments) {
    const bool last = &segment == &stats.segments.back();
    text += Concat("  ", segment.segment.value(), " ", segment.file, " ", segment.frames,
                   " frames, ", PercentText(Fraction(segment.frame_bytes, segment.file_bytes)),
                   " used: ", last ? "being written; " : "", PinText(segment, waits));
    if (!segment.hard_states.empty()) {
      text += Concat("; last hard state of ", segment.hard_states.size(), " groups");
    }
    text += "\n";
    waits = waits || !segment.live.empty();
  }
  return text;
}

std::string BootsText(const LogStatistics& stats) {
  std::vector<std::vector<std::string>> rows{{"epoch", "first frame", "frames", "from", "until"}};
  const size_t skipped = stats.boots.size() - std::min(stats.boots.size(), kBootsShown);
  for (size_t i = skipped; i < stats.boots.size(); ++i) {
    const BootStatistics& boot = stats.boots[i];
    rows.push_back({std::to_string(boot.epoch.value()), std::to_string(boot.first_lsn.value()),
                    std::to_string(boot.frames), FormatTime(boot.first), FormatTime(boot.last)});
  }
  return Concat("boots in the log: ", stats.boots_count, "\n", TableText(rows));
}

void PutHistogram(JsonWriter& json, std::string_view key, const Histogram& histogram) {
  json.BeginObject(key);
  json.Number("count", histogram.count());
  json.Real("mean", histogram.mean());
  json.Number("min", histogram.min());
  json.Number("p50", histogram.Percentile(0.5));
  json.Number("p90", histogram.Percentile(0.9));
  json.Number("p99", histogram.Percentile(0.99));
  json.Number("p99_9", histogram.Percentile(0.999));
  json.Number("max", histogram.max());
  json.EndObject();
}

void PutGroups(JsonWriter& json, const LogStatistics& stats) {
  json.BeginArray("groups");
  for (const auto& [id, group] : stats.groups) {
    json.BeginObject();
    json.Number("group", id.value());
    json.Number("first_index", group.runs.first());
    json.Number("last_index", group.runs.last());
    json.Number("hard_state_segment", group.hard_state.value());
    json.BeginObject("kinds");
    for (size_t kind = 1; kind < LogStatistics::kKinds; ++kind) {
      if (group.kinds[kind].records == 0) continue;
      json.BeginObject(KindText(static_cast<wal::RecordKind>(kind)));
      json.Number("records", group.kinds[kind].records);
      json.Number("bytes", group.kinds[kind].bytes);
      json.EndObject();
    }
    json.EndObject();
    json.EndObject();
  }
  json.EndArray();
}

void PutSegments(JsonWriter& json, const LogStatistics& stats) {
  json.BeginArray("segments");
  for (const SegmentStatistics& segment : stats.segments) {
    json.BeginObject();
    json.Number("segment", segment.segment.value());
    json.Text("file", segment.file);
    json.Number("epoch", segment.epoch.value());
    json.Number("first_lsn", segment.first_lsn.value());
    json.Number("file_bytes", segment.file_bytes);
    json.Number("frames", segment.frames);
    json.Number("frame_bytes", segment.frame_bytes);
    json.Number("body_bytes", segment.body_bytes);
    json.Flag("sealed", segment.sealed);
    json.BeginArray("live");
    for (const auto& [id, count] : segment.live) {
      json.BeginObject();
      json.Number("group", id.value());
      json.Number("entries", count);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
}

void PutBoots(JsonWriter& json, const LogStatistics& stats) {
  json.Number("boots_count", stats.boots_count);
  json.BeginArray("boots");
  for (const BootStatistics& boot : stats.boots) {
    json.BeginObject();
    json.Number("epoch", boot.epoch.value());
    json.Number("first_lsn", boot.first_lsn.value());
    json.Number("frames", boot.frames);
    json.Text("from", FormatTime(boot.first));
    json.Text("until", FormatTime(boot.last));
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

std::string StatisticsText(const LogStatistics& stats) {
  return SizesText(stats) + BatchText(stats) + GroupsText(stats) + SegmentsText(stats) +
         BootsText(stats);
}

std::string StatisticsJson(const LogStatistics& stats, const wal::Finding& finding) {
  const Sizes sizes = SizesOf(stats);
  JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.stats/1");
  json.Text("verdict", wal::VerdictText(finding.verdict));
  json.Number("file_bytes", sizes.files);
  json.Number("frames", sizes.frames_count);
  json.Number("promise_frames", stats.promise_frames);
  json.Number("frame_bytes", sizes.frames);
  json.Number("payload_bytes", stats.payload_bytes);
  json.Number("record_field_bytes", sizes.body - stats.payload_bytes);
  json.Number("header_bytes", stats.header_bytes);
  json.Number("padding_bytes", stats.padding_bytes);
  PutHistogram(json, "requests_a_frame", stats.frame_requests);
  PutHistogram(json, "records_a_frame", stats.frame_records);
  PutHistogram(json, "bytes_a_frame", stats.frame_bytes);
  PutHistogram(json, "gap_us", stats.frame_gap_us);
  PutGroups(json, stats);
  PutSegments(json, stats);
  PutBoots(json, stats);
  json.EndObject();
  return json.Take();
}

}  // namespace metastore::walinspect
