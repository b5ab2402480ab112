#include "tools/walinspect/commands.h"

#include <map>
#include <set>

#include "io/base/check.h"
#include "tools/walinspect/log_check.h"
#include "tools/walinspect/scan_run.h"
#include "wal/replayer.h"

namespace metastore::walinspect {
namespace {

// --- ls

struct SegmentFacts {
  Lsn last_lsn;
  uint64_t frames = 0;
  uint64_t records = 0;
  uint64_t frame_bytes = 0;
  uint64_t record_bytes = 0;
  std::set<GroupId> groups;
  bool sealed = false;
};

class FactsVisitor final : public wal::LogVisitor {
 public:
  Status OnSegment(const wal::ScannedFile& file) override {
    facts_[file.number];
    return OkStatus();
  }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    SegmentFacts& facts = facts_[file.number];
    facts.last_lsn = frame.header.lsn;
    ++facts.frames;
    facts.frame_bytes += frame.header.frame_bytes;
    facts.record_bytes += frame.header.body_bytes;
    facts.sealed = (frame.header.flags & wal::kFrameSealsSegment) != 0;
    wal::RecordCursor cursor(frame);
    wal::LoggedRecord logged;
    while (cursor.Next(logged)) {
      ++facts.records;
      facts.groups.insert(logged.group);
    }
    return OkStatus();
  }
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

  const SegmentFacts* Find(uint64_t number) const {
    const auto found = facts_.find(number);
    return found == facts_.end() ? nullptr : &found->second;
  }

 private:
  std::map<uint64_t, SegmentFacts> facts_;
};

std::string_view StateText(const wal::ScannedFile& file) {
  switch (file.kind) {
    case wal::FileKind::kLive:
      return "live";
    case wal::FileKind::kFree:
      return file.header.state == wal::SegmentState::kPrepared ? "prepared" : "free";
    case wal::FileKind::kUnfinished:
      return "unfinished";
    case wal::FileKind::kDamaged:
      return "damaged";
  }
  CHECK_UNREACHABLE();
}

std::string ListLine(const wal::ScannedFile& file, const SegmentFacts* facts, bool json) {
  std::string groups;
  for (GroupId group : facts == nullptr ? std::set<GroupId>() : facts->groups) {
    groups += Concat(groups.empty() ? "" : ",", group.value());
  }
  const SegmentFacts none;
  const SegmentFacts& of = facts == nullptr ? none : *facts;
  const std::string_view state = of.sealed ? "sealed" : StateText(file);
  if (json) {
    return Concat("{",
                  io::JsonFields({{"schema", "walinspect.segment/1"},
                                  {"file", FileName(file.path)},
                                  {"state", state},
                                  {"segment", file.header.segment.value()},
                                  {"epoch", file.header.epoch.value()},
                                  {"first_lsn", file.header.first_lsn.value()},
                                  {"last_lsn", of.last_lsn.value()},
                                  {"frames", of.frames},
                                  {"records", of.records},
                                  {"frame_bytes", of.frame_bytes},
                                  {"record_bytes", of.record_bytes},
                                  {"file_bytes", file.file->size()},
                                  {"groups", groups}}),
                  "}\n");
  }
  std::string line = Concat(FileName(file.path), " ", state);
  line.resize(std::max<size_t>(line.size(), 36), ' ');
  if (facts == nullptr) return line + "\n";
  const uint64_t padding = of.frame_bytes == 0 ? 0 : 100 - of.record_bytes * 100 / of.frame_bytes;
  return line + Concat("segment=", file.header.segment.value(),
                       " epoch=", file.header.epoch.value(), " lsn=", file.header.first_lsn.value(),
                       "..", of.last_lsn.value(), " frames=", of.frames, " records=", of.records,
                       " bytes=", of.frame_bytes, " padding=", padding, "%",
                       " used=", of.frame_bytes * 100 / std::max<uint64_t>(file.file->size(), 1),
                       "% groups=", groups, "\n");
}

// --- dump

class DumpVisitor final : public wal::LogVisitor {
 public:
  explicit DumpVisitor(const Request& request) : request_(request) {}

  Status OnSegment(const wal::ScannedFile&) override { return OkStatus(); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    if (!request_.filter.TakesFrame(frame.header)) return OkStatus();
    std::string text;
    wal::RecordCursor cursor(frame);
    wal::LoggedRecord logged;
    while (cursor.Next(logged)) {
      if (!request_.filter.TakesRecord(logged)) continue;
      text += RecordLines({logged, frame.header, FileName(file.path)}, request_.format);
    }
    const bool headed = request_.format != DumpFormat::kJson &&
                        (!text.empty() || !request_.filter.asks_for_records());
    if (headed) request_.print(FrameLine(frame.header, FileName(file.path)));
    request_.print(text);
    return cursor.ok() ? OkStatus() : DataLossError("malformed record");
  }
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

 private:
  const Request& request_;
};

// --- verify

// Checks sequences, indexes and terms beside the hashes.
class VerifyVisitor final : public wal::LogVisitor {
 public:
  Status OnSegment(const wal::ScannedFile&) override {
    ++segments_count;
    return OkStatus();
  }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    ++frames;
    records += frame.header.record_count;
    bytes += frame.header.frame_bytes;
    wal::RecordCursor cursor(frame);
    wal::LoggedRecord logged;
    while (cursor.Next(logged)) {
      Status taken = check.Take(logged, file.header.segment);
      if (!taken.ok()) return taken;
    }
    if (cursor.ok()) return OkStatus();
    return DataLossError("frame ", frame.header.lsn.value(), ": malformed record");
  }
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

  LogCheck check;
  uint64_t segments_count = 0;
  uint64_t frames = 0;
  uint64_t records = 0;
  uint64_t bytes = 0;
};

// What is intact frame by frame may still lack entries.
wal::Finding Judge(const wal::Finding& finding, const LogCheck& check,
                   const std::string& directory) {
  const bool intact =
      finding.verdict == wal::Verdict::kClean || finding.verdict == wal::Verdict::kTornTail;
  const Status complete = check.CheckComplete();
  if (!intact || complete.ok()) return finding;
  return {.verdict = wal::Verdict::kCorrupt,
          .file = directory,
          .detail = std::string(complete.message())};
}

std::string VerifyText(const wal::Finding& finding, const VerifyVisitor& visitor, bool json) {
  if (json) {
    return Concat("{",
                  io::JsonFields({{"schema", "walinspect.verify/1"},
                                  {"verdict", wal::VerdictText(finding.verdict)},
                                  {"file", finding.file},
                                  {"offset", finding.offset},
                                  {"lsn", finding.lsn.value()},
                                  {"detail", finding.detail},
                                  {"may_hide_hard_state", finding.may_hide_hard_state},
                                  {"segments", visitor.segments_count},
                                  {"frames", visitor.frames},
                                  {"records", visitor.records},
                                  {"bytes", visitor.bytes}}),
                  "}\n");
  }
  return FindingLine(finding) + Concat("checked ", visitor.segments_count, " segments, ",
                                       visitor.frames, " frames, ", visitor.records, " records, ",
                                       visitor.bytes, " bytes\n");
}

}  // namespace

io::Task<StatusOr<int>> List(io::Runtime& runtime, const Request& request) {
  FactsVisitor visitor;
  wal::LogScan scan(runtime, OptionsOf(request));
  Status scanned = co_await RunScan(scan, visitor, request);
  if (!scanned.ok()) co_return scanned;
  for (const wal::ScannedFile& file : scan.files()) {
    request.print(ListLine(file, visitor.Find(file.number), request.format == DumpFormat::kJson));
  }
  co_return ExitCode(scan.finding().verdict);
}

io::Task<StatusOr<int>> Dump(io::Runtime& runtime, const Request& request) {
  DumpVisitor visitor(request);
  wal::LogScan scan(runtime, OptionsOf(request));
  Status scanned = co_await RunScan(scan, visitor, request);
  if (!scanned.ok()) co_return scanned;
  if (request.format != DumpFormat::kJson) request.print(FindingLine(scan.finding()));
  co_return ExitCode(scan.finding().verdict);
}

io::Task<StatusOr<int>> Verify(io::Runtime& runtime, const Request& request) {
  for (int attempt = 1;; ++attempt) {
    VerifyVisitor visitor;
    wal::LogScan scan(runtime, OptionsOf(request));
    Status scanned = co_await RunScan(scan, visitor, request);
    if (!scanned.ok()) co_return scanned;
    const wal::Finding finding = Judge(scan.finding(), visitor.check, request.directory);
    if (finding.verdict == wal::Verdict::kCorrupt && attempt < kScanAttempts) continue;
    request.print(VerifyText(finding, visitor, request.json()));
    co_return ExitCode(finding.verdict);
  }
}

}  // namespace metastore::walinspect
