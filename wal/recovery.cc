#include "wal/recovery.h"

#include <algorithm>
#include <cstring>

#include "wal/mutation.h"
#include "wal/parts.h"
#include "wal/replayer.h"
#include "wal/scan.h"

namespace metastore::wal {
namespace {

constexpr uint64_t kZeroChunkBytes = limits::kMiB;
constexpr uint64_t kInFlightBytes =
    limits::kWalDepthMax * (limits::kFrameBytesMax + kSegmentHeaderBytes);

class Recovery final {
 public:
  Recovery(io::Runtime& runtime, const LogOptions& options)
      : runtime_(runtime),
        options_(options),
        scan_(runtime, {.directory = options.directory,
                        .identity = LogIdentity{options.cluster, options.member},
                        .mode = io::OpenMode::kReadWrite,
                        .use_footers = !options.verify_sealed}),
        result_(std::make_unique<Recovered>()) {}

  io::Task<Status> Run();
  std::unique_ptr<Recovered> Take() { return std::move(result_); }

 private:
  io::Task<Status> FlushAll();
  io::Task<Status> Replay();
  io::Task<Status> FindTailFooter();
  io::Task<Status> Cut();
  io::Task<Status> Discard(ScannedFile& file);
  io::Task<Status> Zero(ScannedFile& file, uint64_t from);
  io::Task<StatusOr<bool>> UntouchedSincePrepared(ScannedFile& file);
  io::Task<Status> SortFiles();
  io::Task<Status> MakeTailDurable();
  io::Task<Status> RewriteFrame(Segment& segment, uint32_t ordinal);
  io::Task<Status> RewriteFooter(Segment& segment);
  io::Task<Status> RewriteHeader(Segment& segment);
  Status FindingStatus() const;
  void SetPosition();
  bool Reusable(const ScannedFile& file) const;
  bool Held(const ScannedFile& file) const;

  io::Runtime& runtime_;
  const LogOptions& options_;
  LogScan scan_;
  std::unique_ptr<Recovered> result_;
};

io::Task<Status> Recovery::Run() {
  Status made = co_await runtime_.MakeDirectories(options_.directory);
  if (!made.ok()) co_return made;
  Status opened = co_await scan_.OpenFiles();
  if (!opened.ok()) co_return opened;
  Status flushed = co_await FlushAll();
  if (!flushed.ok()) co_return flushed;
  Status replayed = co_await Replay();
  if (!replayed.ok()) co_return replayed;
  Status cut = co_await Cut();
  if (!cut.ok()) co_return cut;
  SetPosition();
  Status sorted = co_await SortFiles();
  if (!sorted.ok()) co_return sorted;
  Status durable = co_await MakeTailDurable();
  co_return durable;
}

io::Task<Status> Recovery::FlushAll() {
  if (Mutated(Mutation::kFirstFlushSkipped)) co_return OkStatus();
  for (ScannedFile& file : scan_.files()) {
    const StatusOr<size_t> synced = co_await file.file->Sync();
    if (!synced.ok()) co_return synced.status();
  }
  Status synced = co_await runtime_.SyncDirectory(options_.directory);
  co_return synced;
}

Status Recovery::FindingStatus() const {
  const Finding& finding = scan_.finding();
  switch (finding.verdict) {
    case Verdict::kClean:
    case Verdict::kTornTail:
      return OkStatus();
    case Verdict::kForeign:
      return FailedPreconditionError(finding.file, ": foreign: ", finding.detail);
    case Verdict::kCorrupt:
      return DataLossError(finding.file, " at offset ", finding.offset, ": ", finding.detail,
                           finding.may_hide_hard_state ? "; a hard state (a vote) may be hidden"
                                                       : "; no hard state is hidden");
  }
  CHECK_UNREACHABLE();
}

io::Task<Status> Recovery::Replay() {
  Status headers = co_await scan_.ReadHeaders();
  if (!headers.ok()) co_return headers;
  Replayer replayer(result_->segments, result_->groups, options_.frame_bytes_max / 8);
  Status walked = co_await scan_.Walk(replayer);
  if (!walked.ok()) co_return walked;
  Status found = FindingStatus();
  if (!found.ok()) co_return found;
  Status complete = result_->groups.CheckComplete();
  if (!complete.ok()) co_return Annotate(complete, options_.directory);
  Status footer = co_await FindTailFooter();
  co_return footer;
}

// The tail segment's footer is named by no later header yet.
io::Task<Status> Recovery::FindTailFooter() {
  if (!scan_.tail() || !scan_.tail()->sealed) co_return OkStatus();
  Segment& tail = result_->segments.back();
  tail.sealed = true;
  tail.footer.reset();
  Footer footer;
  std::string bytes;
  FileWindow& window = *scan_.files()[scan_.tail()->file].window;
  const uint64_t offset = scan_.tail()->offset;
  StatusOr<bool> read = co_await ReadFooter(window, scan_.stream(), offset, footer, bytes);
  if (!read.ok()) co_return read.status();
  if (*read && footer.segment == tail.seq &&
      footer.last_lsn + 1 == scan_.tail()->position.next_lsn) {
    tail.footer_block = static_cast<uint32_t>(offset / kBlockBytes);
    tail.footer_blocks = static_cast<uint32_t>(bytes.size() / kBlockBytes);
    tail.footer_hash = FooterHash(bytes);
  }
  co_return OkStatus();
}

io::Task<Status> Recovery::Cut() {
  if (!scan_.tail()) co_return OkStatus();
  const LogTail& tail = *scan_.tail();
  ScannedFile& file = scan_.files()[tail.file];
  for (size_t beyond : tail.beyond) {
    if (Mutated(Mutation::kBeyondKept)) continue;
    Status discarded = co_await Discard(scan_.files()[beyond]);
    if (!discarded.ok()) co_return discarded;
  }
  // A segment whose first frame was torn is no part of the log yet.
  if (result_->segments.back().frames.empty()) {
    const SegmentSeq begun = result_->segments.PopBack()->seq;
    if (result_->segments.empty() && begun != SegmentSeq(1)) {
      co_return DataLossError(file.path, " at offset ", kSegmentHeaderBytes, ": segment ",
                              begun.value(), " has no frame, and the one before it is missing; ",
                              "a hard state (a vote) may be hidden");
    }
    Status discarded = co_await Discard(file);
    co_return discarded;
  }
  if (tail.sealed) co_return OkStatus();
  if (file.file->size() != options_.segment_bytes) result_->segments.back().sealed = true;
  const uint64_t early = Mutated(Mutation::kCutEarly) ? kBlockBytes : 0;
  Status zeroed = co_await Zero(file, tail.offset - early);
  co_return zeroed;
}

// Zeros, flushed, from `from` through what frames in flight can span.
io::Task<Status> Recovery::Zero(ScannedFile& file, uint64_t from) {
  const uint64_t span = Mutated(Mutation::kZeroWindowSmall) ? kBlockBytes : kInFlightBytes;
  const uint64_t end = std::min(from + span, file.file->size());
  StatusOr<bool> zeros = co_await AllZeros(*file.window, from, end);
  if (!zeros.ok()) co_return zeros.status();
  if (*zeros) co_return OkStatus();
  io::IoBuffer buffer = runtime_.AllocateBuffer(kZeroChunkBytes);
  std::memset(buffer.data(), 0, kZeroChunkBytes);
  for (uint64_t offset = from; offset < end; offset += kZeroChunkBytes) {
    const uint64_t bytes = std::min(kZeroChunkBytes, end - offset);
    const StatusOr<size_t> written =
        co_await file.file->Write(offset, {buffer.data(), bytes}, buffer.registered_index());
    if (!written.ok()) co_return written.status();
  }
  if (Mutated(Mutation::kCutNotFlushed)) co_return OkStatus();
  const StatusOr<size_t> synced = co_await file.file->Sync();
  co_return synced.status();
}

// Frames first, then the header: a crash between leaves a segment without frames, which is
// discarded again.
io::Task<Status> Recovery::Discard(ScannedFile& file) {
  Status zeroed = co_await Zero(file, kSegmentHeaderBytes);
  if (!zeroed.ok()) co_return zeroed;
  io::IoBuffer block = runtime_.AllocateBuffer(kSegmentHeaderBytes);
  file.header = {.state = SegmentState::kPrepared,
                 .cluster = options_.cluster,
                 .member = options_.member,
                 .file = file.number,
                 .segment_bytes = file.file->size(),
                 .written = runtime_.WallNow(),
                 .recycled = file.header.recycled};
  EncodeSegmentHeader(file.header, block.data());
  const std::span<char> bytes(block.data(), kSegmentHeaderBytes);
  const StatusOr<size_t> written = co_await file.file->Write(0, bytes, block.registered_index());
  if (!written.ok()) co_return written.status();
  const StatusOr<size_t> synced = co_await file.file->Sync();
  if (!synced.ok()) co_return synced.status();
  if (file.has_header) file.kind = FileKind::kFree;
  co_return OkStatus();
}

void Recovery::SetPosition() {
  StreamPosition& position = result_->position;
  position.epoch = std::max(scan_.epoch_max() + 1, options_.epoch_min);
  position.stream = scan_.stream();
  if (result_->segments.empty()) {
    result_->created = true;
    if (position.stream == 0) position.stream = runtime_.Random() | 1;
    return;
  }
  position.next_lsn = scan_.tail()->position.next_lsn;
  position.previous_hash = scan_.tail()->position.previous_hash;
  position.next_segment = result_->segments.back().seq + 1;
  position.first_live = result_->segments.front().seq;
}

bool Recovery::Reusable(const ScannedFile& file) const {
  return file.kind == FileKind::kFree && file.has_header &&
         file.header.segment_bytes == options_.segment_bytes &&
         file.file->size() == options_.segment_bytes;
}

// Until a frame of the new epoch says that this segment is not needed, a crash leaves a log that
// asks for it.
bool Recovery::Held(const ScannedFile& file) const {
  return file.kind == FileKind::kFree && file.header.state == SegmentState::kActive &&
         file.header.segment >= scan_.accepted_first_live() &&
         file.header.segment < scan_.first_live();
}

// False: it is where a segment's first write was torn, of which neither header has arrived. That
// write was in flight, so it is the only trace of that segment.
io::Task<StatusOr<bool>> Recovery::UntouchedSincePrepared(ScannedFile& file) {
  StatusOr<bool> zeros = co_await AllZeros(*file.window, kSegmentHeaderBytes, kInFlightBytes);
  co_return zeros;
}

// Every file to its place: segments, the pool, or away.
io::Task<Status> Recovery::SortFiles() {
  std::vector<std::string> useless;
  for (ScannedFile& file : scan_.files()) {
    result_->next_file_number = std::max(result_->next_file_number, file.number + 1);
    const bool active = file.has_header && file.header.state == SegmentState::kActive;
    if (file.kind == FileKind::kLive) {
      file.window.reset();
      Segment& segment = result_->segments.Get(file.header.segment);
      segment.file = {file.number, std::move(file.file), file.header.recycled};
    } else if (Reusable(file)) {
      bool leftovers = active || file.header.recycled;
      if (!leftovers) {
        const StatusOr<bool> zeros = co_await UntouchedSincePrepared(file);
        if (!zeros.ok()) co_return zeros.status();
        leftovers = !*zeros;
      }
      file.window.reset();
      std::vector<SegmentFile>& files = Held(file) ? result_->held_files : result_->free_files;
      files.push_back({file.number, std::move(file.file), leftovers});
    } else if (!Held(file)) {
      useless.push_back(file.path);
      file.window.reset();
      file.file.reset();
    }
  }
  for (const std::string& path : useless) {
    runtime_.log().Info("removing a file that is no part of the log", {{"path", path}});
    Status removed = co_await runtime_.RemoveFile(path);
    if (!removed.ok()) co_return removed;
  }
  co_return OkStatus();
}

// A frame that nothing later promises can be readable and yet not durable: after a failed flush, or
// a kill before one, a device shows bytes that the next power loss takes away. What is accepted is
// made durable here, before the new epoch promises it. The same bytes are written again, so that
// wherever this is torn, every sector has them.
io::Task<Status> Recovery::MakeTailDurable() {
  uint32_t left = Mutated(Mutation::kTailRewriteSkipped) ? 0 : limits::kWalDepthMax;
  for (size_t i = result_->segments.size(); i > 0 && left > 0; --i) {
    Segment& segment = *result_->segments.all()[i - 1];
    Status footer = co_await RewriteFooter(segment);
    if (!footer.ok()) co_return footer;
    for (size_t count = segment.frames.size(); count > 0 && left > 0; --count, --left) {
      Status frame = co_await RewriteFrame(segment, static_cast<uint32_t>(count - 1));
      if (!frame.ok()) co_return frame;
    }
  }
  co_return OkStatus();
}

io::Task<Status> Recovery::RewriteFrame(Segment& segment, uint32_t ordinal) {
  StatusOr<ReadFrame> read = co_await ReadFrameAt(runtime_, scan_.stream(), segment, ordinal);
  if (!read.ok()) co_return read.status();
  if (ordinal == 0) {
    Status header = co_await RewriteHeader(segment);
    if (!header.ok()) co_return header;
  }
  const std::span<char> bytes(read->buffer.data(), read->frame.bytes.size());
  const StatusOr<size_t> written =
      co_await segment.file.file->DurableWrite(read->frame.offset, bytes, options_.method);
  co_return written.status();
}

io::Task<Status> Recovery::RewriteHeader(Segment& segment) {
  io::IoBuffer block = runtime_.AllocateBuffer(kSegmentHeaderBytes);
  const auto scanned = std::ranges::find_if(
      scan_.files(), [&](const ScannedFile& file) { return file.number == segment.file.number; });
  CHECK(scanned != scan_.files().end());
  EncodeSegmentHeader(scanned->header, block.data());
  const std::span<char> bytes(block.data(), kSegmentHeaderBytes);
  const StatusOr<size_t> written =
      co_await segment.file.file->DurableWrite(0, bytes, options_.method);
  co_return written.status();
}

io::Task<Status> Recovery::RewriteFooter(Segment& segment) {
  if (segment.footer_blocks == 0) co_return OkStatus();
  const size_t size = size_t{segment.footer_blocks} * kBlockBytes;
  const uint64_t offset = uint64_t{segment.footer_block} * kBlockBytes;
  io::IoBuffer buffer = runtime_.AllocateBuffer(size);
  const std::span<char> bytes(buffer.data(), size);
  const StatusOr<size_t> read =
      co_await segment.file.file->Read(offset, bytes, buffer.registered_index());
  if (!read.ok()) co_return read.status();
  // A damaged one is left alone: footers only spare reading frames.
  if (FooterHash({bytes.data(), bytes.size()}) != segment.footer_hash) co_return OkStatus();
  const StatusOr<size_t> written =
      co_await segment.file.file->DurableWrite(offset, bytes, options_.method);
  co_return written.status();
}

}  // namespace

io::Task<StatusOr<std::unique_ptr<Recovered>>> Recover(io::Runtime& runtime,
                                                       const LogOptions& options) {
  Recovery recovery(runtime, options);
  Status run = co_await recovery.Run();
  if (!run.ok()) co_return run;
  co_return recovery.Take();
}

}  // namespace metastore::wal
