#include "tools/metactl/data_look.h"

#include <algorithm>

#include "io/log.h"
#include "wal/group_log.h"
#include "wal/replayer.h"

namespace metastore::metactl {
namespace {

// A running node may recycle a segment under the look: damage counts only if it is found again.
constexpr int kAttempts = 3;
constexpr std::string_view kSnapshotSuffix = ".snap";
constexpr size_t kReadBytes = size_t{1} << 20;

// --- the log

class SpanVisitor final : public wal::LogVisitor {
 public:
  Status OnSegment(const wal::ScannedFile& file) override { return replayer_.OnSegment(file); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    last_lsn = frame.header.lsn;
    return replayer_.OnFrame(file, frame);
  }
  Status OnFooter(const wal::ScannedFile& file, const wal::Footer& footer) override {
    last_lsn = footer.last_lsn;
    return replayer_.OnFooter(file, footer);
  }
  const wal::GroupTable& groups() const { return groups_; }

  Lsn last_lsn;

 private:
  wal::SegmentTable segments_;
  wal::GroupTable groups_;
  wal::Replayer replayer_{segments_, groups_, limits::kFrameBytesMax};
};

void FillFromFiles(wal::LogScan& scan, LogFacts& facts) {
  for (const wal::ScannedFile& file : scan.files()) facts.bytes += file.file->size();
  facts.segments_live = scan.live().size();
  facts.segments_spare = scan.files().size() - scan.live().size();
  facts.boots = scan.epoch_max().value();
  if (scan.live().empty()) return;
  const wal::SegmentHeader& first = scan.files()[scan.live().front()].header;
  facts.identity = {first.cluster, first.member};
  facts.first_lsn = first.first_lsn;
}

io::Task<StatusOr<LogFacts>> LookAtLogOnce(io::Runtime& runtime, std::string directory) {
  LogFacts facts;
  SpanVisitor visitor;
  wal::LogScan scan(runtime, {.directory = directory, .use_footers = true});
  Status opened = co_await scan.OpenFiles();
  MS_CO_RETURN_IF_ERROR(opened);
  if (scan.files().empty()) co_return NotFoundError(directory, ": no log segments in it");
  Status headers = co_await scan.ReadHeaders();
  MS_CO_RETURN_IF_ERROR(headers);
  Status walked = co_await scan.Walk(visitor);
  MS_CO_RETURN_IF_ERROR(walked);
  facts.finding = scan.finding();
  FillFromFiles(scan, facts);
  facts.last_lsn = visitor.last_lsn;
  for (const auto& [id, group] : visitor.groups().all()) {
    facts.groups.push_back({id, group->first(), group->last()});
  }
  co_return facts;
}

io::Task<StatusOr<LogFacts>> LookAtLog(io::Runtime& runtime, std::string directory) {
  for (int attempt = 1;; ++attempt) {
    StatusOr<LogFacts> facts = co_await LookAtLogOnce(runtime, directory);
    const bool again = facts.ok() && facts->finding.verdict == wal::Verdict::kCorrupt;
    if (!again || attempt == kAttempts) co_return facts;
  }
}

// --- snapshots

// Decodes the chunks of one stream; the last must be kEnd.
class StreamCheck {
 public:
  explicit StreamCheck(SnapshotFacts& facts) : facts_(facts) {}

  Status Add(std::string_view bytes) {
    decoder_.Add(bytes);
    while (true) {
      engine::Chunk chunk;
      const StatusOr<bool> whole = decoder_.Next(chunk);
      MS_RETURN_IF_ERROR(whole.status());
      if (!*whole) return OkStatus();
      MS_RETURN_IF_ERROR(Take(chunk));
    }
  }
  Status Finish() const {
    if (ended_ && decoder_.at_boundary()) return OkStatus();
    return DataLossError("the stream ends early, at offset ", decoder_.offset());
  }

 private:
  Status Take(const engine::Chunk& chunk) {
    if (ended_) return DataLossError("more after the end, at offset ", decoder_.offset());
    if (chunk.section == engine::SnapshotSection::kHeader) {
      StatusOr<engine::SnapshotHeader> header = engine::DecodeSnapshotHeader(chunk.raw);
      MS_RETURN_IF_ERROR(header.status());
      facts_.header = *header;
    }
    if (chunk.section == engine::SnapshotSection::kEnd) {
      StatusOr<engine::SnapshotTotals> totals = engine::DecodeSnapshotTotals(chunk.raw);
      MS_RETURN_IF_ERROR(totals.status());
      facts_.totals = *totals;
      ended_ = true;
    }
    return OkStatus();
  }

  SnapshotFacts& facts_;
  engine::ChunkDecoder decoder_;
  bool ended_ = false;
};

uint64_t BlocksUp(uint64_t bytes) {
  return (bytes + limits::kBlockBytes - 1) / limits::kBlockBytes * limits::kBlockBytes;
}

void SetDamaged(const Status& status, SnapshotFacts& facts) {
  facts.verdict = SnapshotVerdict::kDamaged;
  facts.detail = std::string(status.message());
}

io::Task<Status> CheckStream(io::Runtime& runtime, io::File& file, SnapshotFacts& facts) {
  StreamCheck check(facts);
  io::IoBuffer buffer = runtime.AllocateBuffer(kReadBytes);
  const uint64_t end = facts.trailer.stream_bytes;
  for (uint64_t offset = 0; offset < end; offset += kReadBytes) {
    const uint64_t wanted = std::min<uint64_t>(kReadBytes, end - offset);
    const std::span<char> into(buffer.data(), static_cast<size_t>(BlocksUp(wanted)));
    const StatusOr<size_t> read = co_await file.Read(offset, into, buffer.registered_index());
    MS_CO_RETURN_IF_ERROR(read.status());
    if (*read < wanted) co_return DataLossError("the file ends at offset ", offset + *read);
    Status added = check.Add({buffer.data(), static_cast<size_t>(wanted)});
    MS_CO_RETURN_IF_ERROR(added);
  }
  co_return check.Finish();
}

io::Task<StatusOr<SnapshotFacts>> LookAtSnapshot(io::Runtime& runtime, std::string path) {
  StatusOr<std::unique_ptr<io::File>> file = co_await runtime.OpenFile(path, io::OpenMode::kRead);
  MS_CO_RETURN_IF_ERROR(file.status());
  SnapshotFacts facts{.path = path, .file_bytes = (*file)->size()};
  const bool has_room =
      facts.file_bytes >= 2 * limits::kBlockBytes && facts.file_bytes % limits::kBlockBytes == 0;
  if (!has_room) co_return facts;
  io::IoBuffer block = runtime.AllocateBuffer(limits::kBlockBytes);
  const std::span<char> into(block.data(), limits::kBlockBytes);
  const StatusOr<size_t> read = co_await (*file)->Read(facts.file_bytes - limits::kBlockBytes, into,
                                                       block.registered_index());
  MS_CO_RETURN_IF_ERROR(read.status());
  const std::optional<engine::SnapshotFile> trailer =
      engine::DecodeSnapshotTrailer({block.data(), *read});
  if (!trailer.has_value()) co_return facts;
  facts.trailer = *trailer;
  facts.verdict = SnapshotVerdict::kIntact;
  if (BlocksUp(trailer->stream_bytes) + limits::kBlockBytes != facts.file_bytes) {
    SetDamaged(DataLossError("the trailer does not fit the file's size"), facts);
    co_return facts;
  }
  Status checked = co_await CheckStream(runtime, **file, facts);
  if (checked.ok() && facts.header.applied_index != facts.trailer.applied_index) {
    checked = DataLossError("trailer and stream are of different snapshots");
  }
  if (!checked.ok()) SetDamaged(checked, facts);
  co_return facts;
}

io::Task<StatusOr<std::vector<SnapshotFacts>>> LookAtSnapshots(io::Runtime& runtime,
                                                               std::string directory) {
  std::vector<SnapshotFacts> snapshots;
  StatusOr<std::vector<io::DirectoryEntry>> entries = co_await runtime.ListDirectory(directory);
  if (entries.status().code() == StatusCode::kNotFound) co_return snapshots;
  MS_CO_RETURN_IF_ERROR(entries.status());
  for (const io::DirectoryEntry& entry : *entries) {
    if (entry.is_directory || !entry.name.ends_with(kSnapshotSuffix)) continue;
    StatusOr<SnapshotFacts> facts =
        co_await LookAtSnapshot(runtime, Concat(directory, "/", entry.name));
    if (facts.status().code() == StatusCode::kNotFound) continue;  // removed under the look
    MS_CO_RETURN_IF_ERROR(facts.status());
    snapshots.push_back(*std::move(facts));
  }
  std::ranges::reverse(snapshots);
  co_return snapshots;
}

// --- printing

std::string HexOf(uint64_t id) { return Concat(absl::Hex(id)); }

std::string_view VerdictName(SnapshotVerdict verdict) {
  switch (verdict) {
    case SnapshotVerdict::kIntact:
      return "intact";
    case SnapshotVerdict::kUnfinished:
      return "unfinished";
    case SnapshotVerdict::kDamaged:
      return "DAMAGED";
  }
  CHECK_UNREACHABLE();
}

std::string_view FileName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string FindingText(const wal::Finding& finding) {
  std::string text(wal::VerdictText(finding.verdict));
  if (finding.verdict == wal::Verdict::kClean) return text;
  text += Concat(": ", FileName(finding.file), " offset ", finding.offset, ": ", finding.detail);
  if (finding.verdict == wal::Verdict::kTornTail) text += " (never acknowledged)";
  return text;
}

std::string SnapshotText(const SnapshotFacts& facts) {
  std::string text = Concat("snapshot  ", FileName(facts.path), " ", VerdictName(facts.verdict));
  if (facts.verdict == SnapshotVerdict::kUnfinished) {
    return Concat(text, ", ", facts.file_bytes, " bytes of file\n");
  }
  text += Concat(", index ", facts.trailer.applied_index.value(), ", term ",
                 facts.trailer.term.value(), ", ", facts.trailer.stream_bytes, " bytes");
  if (facts.verdict == SnapshotVerdict::kDamaged) return Concat(text, ": ", facts.detail, "\n");
  return Concat(text, ", revision ", facts.header.revision.value(), ", ", facts.totals.keys,
                " keys, ", facts.totals.versions, " versions\n");
}

std::string SnapshotJson(const SnapshotFacts& facts) {
  return Concat("{",
                io::JsonFields({{"file", FileName(facts.path)},
                                {"verdict", VerdictName(facts.verdict)},
                                {"detail", facts.detail},
                                {"file_bytes", facts.file_bytes},
                                {"stream_bytes", facts.trailer.stream_bytes},
                                {"index", facts.trailer.applied_index.value()},
                                {"term", facts.trailer.term.value()},
                                {"revision", facts.header.revision.value()},
                                {"compacted", facts.header.compacted.value()},
                                {"keys", facts.totals.keys},
                                {"versions", facts.totals.versions},
                                {"leases", facts.totals.leases}}),
                "}");
}

std::string LogJson(const LogFacts& log) {
  std::string groups;
  for (const GroupSpan& span : log.groups) {
    groups += Concat(groups.empty() ? "{" : ",{",
                     io::JsonFields({{"group", span.group.value()},
                                     {"first", span.first.value()},
                                     {"last", span.last.value()}}),
                     "}");
  }
  return Concat("{",
                io::JsonFields({{"verdict", wal::VerdictText(log.finding.verdict)},
                                {"file", log.finding.file},
                                {"offset", log.finding.offset},
                                {"detail", log.finding.detail},
                                {"segments_live", log.segments_live},
                                {"segments_spare", log.segments_spare},
                                {"bytes", log.bytes},
                                {"first_lsn", log.first_lsn.value()},
                                {"last_lsn", log.last_lsn.value()}}),
                ",\"groups\":[", groups, "]}");
}

}  // namespace

io::Task<StatusOr<DataFacts>> LookAtData(io::Runtime& runtime, std::string log_directory,
                                         std::string snapshot_directory) {
  DataFacts facts;
  StatusOr<LogFacts> log = co_await LookAtLog(runtime, std::move(log_directory));
  MS_CO_RETURN_IF_ERROR(log.status());
  facts.log = *std::move(log);
  StatusOr<std::vector<SnapshotFacts>> snapshots =
      co_await LookAtSnapshots(runtime, std::move(snapshot_directory));
  MS_CO_RETURN_IF_ERROR(snapshots.status());
  facts.snapshots = *std::move(snapshots);
  co_return facts;
}

bool IsSound(const DataFacts& facts) {
  const wal::Verdict log = facts.log.finding.verdict;
  return (log == wal::Verdict::kClean || log == wal::Verdict::kTornTail) &&
         std::ranges::none_of(facts.snapshots, [](const SnapshotFacts& snapshot) {
           return snapshot.verdict == SnapshotVerdict::kDamaged;
         });
}

std::string DataText(const DataFacts& facts) {
  const LogFacts& log = facts.log;
  std::string text;
  if (log.identity.has_value()) {
    text += Concat("member    ", HexOf(log.identity->member.value()), " of cluster ",
                   HexOf(log.identity->cluster.value()), "\n");
  }
  text += Concat("starts    ", log.boots, "\n");
  for (const SnapshotFacts& snapshot : facts.snapshots) text += SnapshotText(snapshot);
  if (facts.snapshots.empty()) text += "snapshot  none\n";
  text +=
      Concat("log       ", log.segments_live, " segments live, ", log.segments_spare, " spare, ",
             log.bytes, " bytes, frames ", log.first_lsn.value(), "..", log.last_lsn.value(), "\n");
  for (const GroupSpan& span : log.groups) {
    text += Concat("group ", span.group.value(), "   ",
                   span.last < span.first
                       ? Concat("no entries after ", span.last.value())
                       : Concat("entries ", span.first.value(), "..", span.last.value()),
                   "\n");
  }
  return Concat(text, "verdict   ", FindingText(log.finding), "\n");
}

std::string DataJson(const DataFacts& facts) {
  const wal::LogIdentity identity = facts.log.identity.value_or(wal::LogIdentity());
  std::string snapshots;
  for (const SnapshotFacts& snapshot : facts.snapshots) {
    snapshots += Concat(snapshots.empty() ? "" : ",", SnapshotJson(snapshot));
  }
  return Concat("{",
                io::JsonFields({{"sound", IsSound(facts)},
                                {"cluster_id", HexOf(identity.cluster.value())},
                                {"member_id", HexOf(identity.member.value())},
                                {"boots", facts.log.boots}}),
                ",\"snapshots\":[", snapshots, "],\"log\":", LogJson(facts.log), "}\n");
}

}  // namespace metastore::metactl
