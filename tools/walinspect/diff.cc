#include "tools/walinspect/diff.h"

#include <algorithm>

#include "io/base/check.h"
#include "io/base/hash.h"
#include "tools/walinspect/json.h"

namespace metastore::walinspect {
namespace {

uint64_t HashOf(const wal::LoggedRecord& logged) {
  const wal::Record& record = logged.record;
  const uint64_t place = MixSeed(record.index.value(), record.term.value());
  return Hash64(record.bytes, MixSeed(place, record.tag));
}

// What a log has of a group; empty but at its place for a group whose entries are all purged.
Window RangeOf(const GroupRuns& runs) {
  if (runs.empty()) return {.first = runs.purged() + 1, .last = runs.purged()};
  return {.first = runs.first(), .last = runs.last()};
}

Window Common(const Window& a, const Window& b) {
  return {.first = std::max(a.first, b.first), .last = std::min(a.last, b.last)};
}

std::string RangeText(const Window& window) {
  if (window.empty()) return Concat("none after ", window.last);
  return Concat(window.first, "..", window.last);
}

std::string EntryText(const EntryPrint& entry) {
  return Concat("term ", entry.term.value(), ", ", entry.bytes, " bytes, hash ",
                absl::Hex(entry.hash));
}

}  // namespace

std::string_view GroupVerdictName(GroupVerdict verdict) {
  switch (verdict) {
    case GroupVerdict::kSame:
      return "same";
    case GroupVerdict::kShorter:
      return "shorter";
    case GroupVerdict::kMissing:
      return "missing";
    case GroupVerdict::kApart:
      return "apart";
    case GroupVerdict::kDifferent:
      return "different";
  }
  CHECK_UNREACHABLE();
}

Status LiveEntries::OnSegment(const wal::ScannedFile& file) {
  cluster = file.header.cluster;
  return OkStatus();
}

Status LiveEntries::OnFrame(const wal::ScannedFile&, const wal::FoundFrame& frame) {
  wal::RecordCursor cursor(frame);
  wal::LoggedRecord logged;
  while (cursor.Next(logged)) groups[logged.group].Apply(logged, frame.header.segment);
  return cursor.ok() ? OkStatus() : DataLossError("malformed record");
}

Status EntryVisitor::OnFrame(const wal::ScannedFile&, const wal::FoundFrame& frame) {
  wal::RecordCursor cursor(frame);
  wal::LoggedRecord logged;
  while (cursor.Next(logged)) {
    const auto window = windows_.find(logged.group);
    if (window == windows_.end()) continue;
    const uint64_t index = logged.record.index.value();
    if (index < window->second.first || index > window->second.last) continue;
    const auto runs = groups_.find(logged.group);
    if (runs == groups_.end() || !runs->second.Holds(logged, frame.header.segment)) continue;
    ++seen_;
    OnEntry(logged, window->second);
  }
  return cursor.ok() ? OkStatus() : DataLossError("malformed record");
}

bool EntryVisitor::complete() const {
  uint64_t wanted = 0;
  for (const auto& [id, window] : windows_) wanted += window.count();
  return seen_ == wanted;
}

void Digests::OnEntry(const wal::LoggedRecord& logged, const Window& window) {
  std::vector<uint64_t>& of_group = chunks[logged.group];
  of_group.resize((window.count() + window.width - 1) / window.width);
  of_group[(logged.record.index.value() - window.first) / window.width] += HashOf(logged);
}

void Prints::OnEntry(const wal::LoggedRecord& logged, const Window& window) {
  std::vector<EntryPrint>& of_group = entries[logged.group];
  of_group.resize(window.count());
  of_group[logged.record.index.value() - window.first] = {
      .term = logged.record.term, .bytes = logged.record.bytes.size(), .hash = HashOf(logged)};
}

Windows CommonWindows(const RunsByGroup& a, const RunsByGroup& b) {
  Windows windows;
  for (const auto& [id, runs] : a) {
    const auto other = b.find(id);
    if (other == b.end()) continue;
    const Window common = Common(RangeOf(runs), RangeOf(other->second));
    if (!common.empty()) windows[id] = common;
  }
  const uint64_t chunks = Digests::kChunksMax / std::max<uint64_t>(windows.size(), 1);
  const uint64_t chunks_each = std::max<uint64_t>(chunks, 1);
  for (auto& [id, window] : windows) {
    window.width = (window.count() + chunks_each - 1) / chunks_each;
  }
  return windows;
}

Windows DifferentChunks(const Windows& common, const Digests& a, const Digests& b) {
  Windows different;
  for (const auto& [id, window] : common) {
    const std::vector<uint64_t>& chunks_a = a.chunks.at(id);
    const std::vector<uint64_t>& chunks_b = b.chunks.at(id);
    const auto at = std::ranges::mismatch(chunks_a, chunks_b).in1;
    if (at == chunks_a.end()) continue;
    const auto chunk = static_cast<uint64_t>(at - chunks_a.begin());
    const uint64_t first = window.first + chunk * window.width;
    different[id] = {.first = first, .last = std::min(first + window.width - 1, window.last)};
  }
  return different;
}

std::vector<GroupDiff> Compare(const RunsByGroup& a, const RunsByGroup& b, const Prints& prints_a,
                               const Prints& prints_b, const Windows& different) {
  RunsByGroup all = a;
  all.insert(b.begin(), b.end());
  std::vector<GroupDiff> groups;
  for (const auto& [id, runs] : all) {
    GroupDiff group{.group = id};
    const bool both = a.contains(id) && b.contains(id);
    if (a.contains(id)) group.a = RangeOf(a.at(id));
    if (b.contains(id)) group.b = RangeOf(b.at(id));
    group.common = Common(group.a, group.b);
    const auto chunk = different.find(id);
    if (!both) {
      group.verdict = GroupVerdict::kMissing;
    } else if (chunk != different.end()) {
      const std::vector<EntryPrint>& entries_a = prints_a.entries.at(id);
      const std::vector<EntryPrint>& entries_b = prints_b.entries.at(id);
      const auto [at_a, at_b] = std::ranges::mismatch(entries_a, entries_b);
      CHECK(at_a != entries_a.end());  // their digests differ
      group.verdict = GroupVerdict::kDifferent;
      group.index = chunk->second.first + static_cast<uint64_t>(at_a - entries_a.begin());
      group.entry_a = *at_a;
      group.entry_b = *at_b;
    } else if (group.a.last != group.b.last) {
      group.verdict = group.common.empty() && !group.a.empty() && !group.b.empty()
                          ? GroupVerdict::kApart
                          : GroupVerdict::kShorter;
    }
    groups.push_back(group);
  }
  return groups;
}

std::string DiffText(const std::vector<GroupDiff>& groups) {
  std::string text;
  for (const GroupDiff& group : groups) {
    text += Concat("group ", group.group.value(), " ", GroupVerdictName(group.verdict),
                   ": first log ", RangeText(group.a), ", second log ", RangeText(group.b));
    if (!group.common.empty()) text += Concat(", compared ", RangeText(group.common));
    if (group.verdict == GroupVerdict::kDifferent) {
      text += Concat("\n  first difference at index ", group.index, ": ", EntryText(group.entry_a),
                     " | ", EntryText(group.entry_b));
    } else if (group.verdict == GroupVerdict::kApart) {
      text += "\n  no index is in both: one was purged beyond the other's end";
    }
    const uint64_t shorter = std::min(group.a.last, group.b.last);
    const uint64_t longer = std::max(group.a.last, group.b.last);
    if (shorter != longer) {
      text += Concat("\n  the ", group.a.last < group.b.last ? "first" : "second",
                     " log lacks indexes ", shorter + 1, "..", longer);
    }
    text += "\n";
  }
  return text.empty() ? "no group in either log\n" : text;
}

std::string DiffJson(const std::vector<GroupDiff>& groups) {
  JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.diff/1");
  json.BeginArray("groups");
  const auto range = [&](std::string_view key, const Window& window) {
    json.BeginObject(key);
    json.Number("first", window.first);
    json.Number("last", window.last);
    json.EndObject();
  };
  const auto entry = [&](std::string_view key, const EntryPrint& print) {
    json.BeginObject(key);
    json.Number("term", print.term.value());
    json.Number("bytes", print.bytes);
    json.Text("hash", Concat(absl::Hex(print.hash)));
    json.EndObject();
  };
  for (const GroupDiff& group : groups) {
    json.BeginObject();
    json.Number("group", group.group.value());
    json.Text("verdict", GroupVerdictName(group.verdict));
    range("a", group.a);
    range("b", group.b);
    range("common", group.common);
    if (group.verdict == GroupVerdict::kDifferent) {
      json.BeginObject("difference");
      json.Number("index", group.index);
      entry("a", group.entry_a);
      entry("b", group.entry_b);
      json.EndObject();
    }
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return json.Take();
}

}  // namespace metastore::walinspect
