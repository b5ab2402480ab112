#include "wal/identity.h"

#include <algorithm>

#include "wal/replayer.h"

namespace metastore::wal {
namespace {

// The last hard state of `group` in an intact frame, as set or restated; empty: none.
std::string HardStateIn(const FoundFrame& frame, GroupId group) {
  std::string hard_state;
  RecordCursor cursor(frame);
  LoggedRecord logged;
  while (cursor.Next(logged)) {
    if (logged.group != group) continue;
    if (logged.record.kind == RecordKind::kHardState) hard_state = logged.record.bytes;
    GroupState state;
    const bool restated = logged.record.kind == RecordKind::kGroupState &&
                          DecodeGroupState(logged.record.bytes, state);
    if (restated && !state.hard_state.empty()) hard_state = std::move(state.hard_state);
  }
  return cursor.ok() ? hard_state : std::string();
}

io::Task<Status> ReadRemains(ScannedFile& file, uint64_t stream, GroupId group,
                             LogRemains& remains) {
  const FramePlace place{.stream = stream, .segment = file.header.segment};
  StatusOr<std::vector<FrameHeader>> frames =
      co_await FindFrames(*file.window, place, kSegmentHeaderBytes);
  MS_CO_RETURN_IF_ERROR(frames.status());
  remains.epoch = std::max(remains.epoch, file.header.epoch);
  for (const FrameHeader& header : *frames) remains.epoch = std::max(remains.epoch, header.epoch);
  std::ranges::reverse(*frames);
  for (const FrameHeader& header : *frames) {
    if ((header.flags & kFrameHasHardState) == 0) continue;
    const uint64_t offset = uint64_t{header.block} * kBlockBytes;
    StatusOr<std::string_view> bytes = co_await file.window->View(offset, header.frame_bytes);
    MS_CO_RETURN_IF_ERROR(bytes.status());
    const bool whole =
        bytes->size() == header.frame_bytes && !file.window->Unreadable(offset, header.frame_bytes);
    if (!whole || !FrameBodyIntact(header, stream, *bytes)) continue;
    remains.hard_state = HardStateIn({header, offset, *bytes}, group);
    if (!remains.hard_state.empty()) break;
  }
  co_return OkStatus();
}

}  // namespace

io::Task<StatusOr<std::optional<LogIdentity>>> IdentityOfLog(io::Runtime& runtime,
                                                             std::string directory) {
  LogScan scan(runtime, {.directory = directory});
  Status opened = co_await scan.OpenFiles();
  if (opened.code() == StatusCode::kNotFound) co_return std::optional<LogIdentity>();
  MS_CO_RETURN_IF_ERROR(opened);
  Status read = co_await scan.ReadHeaders();
  MS_CO_RETURN_IF_ERROR(read);
  if (scan.finding().verdict == Verdict::kForeign) {
    co_return FailedPreconditionError(scan.finding().file, ": ", scan.finding().detail);
  }
  for (const ScannedFile& file : scan.files()) {
    if (!file.has_header) continue;
    co_return std::optional<LogIdentity>({file.header.cluster, file.header.member});
  }
  co_return std::optional<LogIdentity>();
}

io::Task<StatusOr<Finding>> JudgeLog(io::Runtime& runtime, std::string directory) {
  LogScan scan(runtime, {.directory = directory});
  Status opened = co_await scan.OpenFiles();
  MS_CO_RETURN_IF_ERROR(opened);
  Status headers = co_await scan.ReadHeaders();
  MS_CO_RETURN_IF_ERROR(headers);
  SegmentTable segments;
  GroupTable groups;
  Replayer replayer(segments, groups, limits::kFrameBytesMax / 8);
  Status walked = co_await scan.Walk(replayer);
  MS_CO_RETURN_IF_ERROR(walked);
  Finding finding = scan.finding();
  Status complete = groups.CheckComplete();
  if (finding.verdict != Verdict::kCorrupt && !complete.ok()) {
    finding = {.verdict = Verdict::kCorrupt,
               .file = std::move(directory),
               .detail = std::string(complete.message())};
  }
  co_return finding;
}

io::Task<StatusOr<LogRemains>> RemainsOfLog(io::Runtime& runtime, std::string directory,
                                            GroupId group) {
  LogScan scan(runtime, {.directory = directory});
  Status opened = co_await scan.OpenFiles();
  MS_CO_RETURN_IF_ERROR(opened);
  Status headers = co_await scan.ReadHeaders();
  MS_CO_RETURN_IF_ERROR(headers);
  if (scan.finding().verdict == Verdict::kForeign) {
    co_return FailedPreconditionError(scan.finding().file, ": ", scan.finding().detail);
  }
  std::vector<ScannedFile*> segments;
  for (ScannedFile& file : scan.files()) {
    const bool written = file.has_header && file.header.state == SegmentState::kActive;
    if (written && file.window != nullptr) segments.push_back(&file);
  }
  std::ranges::sort(segments, std::greater(), [](auto* file) { return file->header.segment; });
  LogRemains remains;
  for (ScannedFile* file : segments) {
    Status read = co_await ReadRemains(*file, scan.stream(), group, remains);
    MS_CO_RETURN_IF_ERROR(read);
    if (!remains.hard_state.empty()) break;
  }
  co_return remains;
}

}  // namespace metastore::wal
