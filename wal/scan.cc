#include "wal/scan.h"

#include <algorithm>

#include "io/base/check.h"
#include "wal/mutation.h"

namespace metastore::wal {
namespace {

// What frames in flight can span: nothing that was written there was acknowledged.
constexpr uint64_t kInFlightBytes =
    limits::kWalDepthMax * (limits::kFrameBytesMax + kSegmentHeaderBytes);

bool IsDecided(const Finding& finding) {
  return finding.verdict == Verdict::kCorrupt || finding.verdict == Verdict::kForeign;
}

std::string IdentityText(const SegmentHeader& header) {
  return Concat("cluster ", absl::Hex(header.cluster.value()), ", member ",
                absl::Hex(header.member.value()));
}

}  // namespace

std::string_view VerdictText(Verdict verdict) {
  switch (verdict) {
    case Verdict::kClean:
      return "CLEAN";
    case Verdict::kTornTail:
      return "TORN-TAIL";
    case Verdict::kCorrupt:
      return "CORRUPT";
    case Verdict::kForeign:
      return "FOREIGN";
  }
  CHECK_UNREACHABLE();
}

LogScan::LogScan(io::Runtime& runtime, ScanOptions options)
    : runtime_(runtime), options_(std::move(options)) {}

void LogScan::Report(Verdict verdict, const ScannedFile& file, uint64_t offset,
                     std::string detail) {
  finding_ = {.verdict = verdict,
              .file = file.path,
              .offset = offset,
              .lsn = Lsn(),
              .detail = std::move(detail),
              .may_hide_hard_state = verdict == Verdict::kCorrupt};
}

// --- which files are the log

io::Task<Status> LogScan::OpenFiles() {
  StatusOr<std::vector<io::DirectoryEntry>> entries =
      co_await runtime_.ListDirectory(options_.directory);
  if (!entries.ok()) co_return entries.status();
  for (const io::DirectoryEntry& entry : *entries) {
    const std::optional<uint64_t> number = SegmentFileNumber(entry.name);
    if (!number || entry.is_directory) continue;
    ScannedFile file;
    file.number = *number;
    file.path = Concat(options_.directory, "/", entry.name);
    StatusOr<std::unique_ptr<io::File>> opened =
        co_await runtime_.OpenFile(file.path, options_.mode);
    // A running node may have removed it since it was listed.
    if (absl::IsNotFound(opened.status()) && options_.mode == io::OpenMode::kRead) continue;
    if (!opened.ok()) co_return opened.status();
    file.file = *std::move(opened);
    file.window = std::make_unique<FileWindow>(runtime_, *file.file);
    files_.push_back(std::move(file));
  }
  co_return OkStatus();
}

io::Task<Status> LogScan::ReadHeaders() {
  for (ScannedFile& file : files_) {
    Status read = co_await ReadHeader(file);
    if (!read.ok()) co_return read;
    if (!CheckIdentity(file)) co_return OkStatus();
  }
  if (!OrderSegments()) co_return OkStatus();
  if (live_.empty()) {
    Status judged = co_await JudgeEmpty();
    co_return judged;
  }
  Status found = co_await FindFirstLive();
  if (!found.ok()) co_return found;
  PickLive();
  co_return OkStatus();
}

io::Task<Status> LogScan::ReadHeader(ScannedFile& file) {
  StatusOr<std::string_view> bytes = co_await file.window->View(0, kSegmentHeaderBytes);
  if (!bytes.ok()) co_return bytes.status();
  file.kind = FileKind::kUnfinished;
  if (bytes->size() < kSegmentHeaderBytes) co_return OkStatus();
  const Decoded decoded = DecodeSegmentHeader(*bytes, file.header);
  if (decoded == Decoded::kGood) {
    file.has_header = true;
    file.kind = FileKind::kFree;
  } else if (decoded == Decoded::kNewVersion) {
    file.kind = FileKind::kDamaged;
    Report(Verdict::kCorrupt, file, 0, "the segment was written by a later release");
  } else if (file.window->Unreadable(0, kSegmentHeaderBytes) ||
             bytes->find_first_not_of('\0') != std::string_view::npos) {
    file.kind = FileKind::kDamaged;
  }
  file.window->Drop();  // a long log has hundreds of files
  co_return OkStatus();
}

// False once something is found that ends the scan.
bool LogScan::CheckIdentity(const ScannedFile& file) {
  if (IsDecided(finding_)) return false;
  if (!file.has_header) return true;
  const LogIdentity identity{file.header.cluster, file.header.member};
  if (!options_.identity) options_.identity = identity;
  if (identity != *options_.identity) {
    const SegmentHeader expected{.cluster = options_.identity->cluster,
                                 .member = options_.identity->member};
    Report(Verdict::kForeign, file, 0,
           Concat("the segment belongs to ", IdentityText(file.header), ", not to ",
                  IdentityText(expected)));
    return false;
  }
  if (file.header.state == SegmentState::kActive) {
    if (stream_ == 0) stream_ = file.header.stream;
    if (stream_ != file.header.stream) {
      Report(Verdict::kForeign, file, 0, "the segment belongs to another log of this member");
      return false;
    }
  }
  if (file.header.file == file.number) return true;
  // The write that this header came with is missing where it belongs.
  Report(Verdict::kCorrupt, file, 0,
         Concat("holds what was written to segment file ", file.header.file));
  return false;
}

// Fills live_ with every segment ever active, in order.
bool LogScan::OrderSegments() {
  for (size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].has_header && files_[i].header.state == SegmentState::kActive) {
      live_.push_back(i);
      epoch_max_ = std::max(epoch_max_, files_[i].header.epoch);
      first_live_ = std::max(first_live_, files_[i].header.first_live);
    }
  }
  std::ranges::sort(live_, {}, [&](size_t i) { return files_[i].header.segment; });
  for (size_t i = 1; i < live_.size(); ++i) {
    const ScannedFile& file = files_[live_[i]];
    if (file.header.segment != files_[live_[i - 1]].header.segment) continue;
    Report(Verdict::kCorrupt, file, 0,
           Concat("segment ", file.header.segment.value(), " exists twice"));
    return false;
  }
  return true;
}

io::Task<Status> LogScan::Collect(size_t file, SegmentSeq segment, uint64_t from) {
  const FramePlace place{.stream = stream_, .segment = segment};
  StatusOr<std::vector<FrameHeader>> headers =
      co_await FindFrames(*files_[file].window, place, from);
  if (!headers.ok()) co_return headers.status();
  CollectedFrames& collected = collected_.emplace_back();
  collected.file = file;
  collected.promises.reserve(headers->size());
  for (const FrameHeader& header : *headers) {
    epoch_max_ = std::max(epoch_max_, header.epoch);
    first_live_ = std::max(first_live_, header.first_live);
    collected.promises.push_back({header.epoch, header.lsn, header.durable});
  }
  co_return OkStatus();
}

// The frames that allowed a segment to be reused are among the last two segments': one may be torn,
// and then the frame before it is durable.
io::Task<Status> LogScan::FindFirstLive() {
  const size_t count = std::min<size_t>(live_.size(), 2);
  for (size_t i = live_.size() - count; i < live_.size(); ++i) {
    const SegmentSeq segment = files_[live_[i]].header.segment;
    Status collected = co_await Collect(live_[i], segment, kSegmentHeaderBytes);
    if (!collected.ok()) co_return collected;
  }
  co_return OkStatus();
}

// Narrows live_ to what is still the log. False: a segment is missing.
bool LogScan::PickLive() {
  std::erase_if(live_, [&](size_t i) { return files_[i].header.segment < first_live_; });
  if (live_.empty()) {
    finding_ = {.verdict = Verdict::kCorrupt,
                .file = options_.directory,
                .detail = Concat("segment ", first_live_.value(), " is missing"),
                .may_hide_hard_state = true};
    return false;
  }
  SegmentSeq expected = std::max(first_live_, SegmentSeq(1));
  for (size_t i : live_) {
    if (files_[i].header.segment != expected) break;
    files_[i].kind = FileKind::kLive;
    ++expected;
  }
  if (expected == files_[live_.back()].header.segment + 1) return true;
  const auto damaged = std::ranges::find(files_, FileKind::kDamaged, &ScannedFile::kind);
  const std::string missing = Concat("segment ", expected.value(), " is missing");
  if (damaged != files_.end()) {
    Report(Verdict::kCorrupt, *damaged, 0, Concat("damaged segment header, and ", missing));
  } else {
    finding_ = {.verdict = Verdict::kCorrupt,
                .file = options_.directory,
                .detail = missing,
                .may_hide_hard_state = true};
  }
  return false;
}

// Without any segment there must be no trace of one either. The first write of a log is one block
// of header and one of frame; if it was torn, the header's only sector is old (and intact) or new,
// and nothing lies behind.
io::Task<Status> LogScan::JudgeEmpty() {
  for (ScannedFile& file : files_) {
    if (file.kind == FileKind::kDamaged) {
      Report(Verdict::kCorrupt, file, 0, "damaged segment header");
      break;
    }
    StatusOr<bool> traces = co_await HasFrameMagic(*file.window, 2 * kBlockBytes);
    if (!traces.ok()) co_return traces.status();
    if (!*traces) continue;
    Report(Verdict::kCorrupt, file, 0, "frames without a segment header");
    break;
  }
  co_return OkStatus();
}

// --- the walk

io::Task<Status> LogScan::Walk(LogVisitor& visitor) {
  if (IsDecided(finding_) || live_.empty()) co_return OkStatus();
  const SegmentHeader& first = files_[live_.front()].header;
  position_ = {first.first_lsn, first.previous_hash, first.epoch};
  for (size_t place = 0; place < live_.size(); ++place) {
    const ScannedFile& file = files_[live_[place]];
    if (file.header.first_lsn != position_.next_lsn ||
        file.header.previous_hash != position_.previous_hash) {
      Report(Verdict::kCorrupt, file, 0, "the segment does not follow the one before it");
      co_return OkStatus();
    }
    position_.epoch = file.header.epoch;
    Status begun = visitor.OnSegment(file);
    if (!begun.ok()) co_return begun;
    StatusOr<bool> walked = co_await WalkFooter(place, visitor);
    if (walked.ok() && !*walked) walked = co_await WalkFrames(place, visitor);
    if (!walked.ok()) co_return walked.status();
    file.window->Drop();
    if (!*walked) co_return OkStatus();
  }
  co_return OkStatus();
}

// Whether the last frame under a footer is known to have been durable. The two are one write, which
// can leave the footer whole and the frame torn, while the next segment's first write, which was in
// flight with it, is there.
bool LogScan::FooterCounts(size_t place, Lsn last_lsn) const {
  if (Mutated(Mutation::kFooterEarly)) return true;
  if (place + 2 < live_.size()) return true;  // two segments on it was no longer in flight
  return std::ranges::any_of(collected_, [&](const CollectedFrames& item) {
    return std::ranges::any_of(item.promises, [&](const Promise& promise) {
      return promise.lsn > last_lsn && promise.durable >= last_lsn;
    });
  });
}

// True: the footer served for the whole segment.
io::Task<StatusOr<bool>> LogScan::WalkFooter(size_t place, LogVisitor& visitor) {
  if (!options_.use_footers || place + 1 == live_.size()) co_return false;
  ScannedFile& file = files_[live_[place]];
  const SegmentHeader& next = files_[live_[place + 1]].header;
  if (next.previous_footer_block == 0) co_return false;
  Footer footer;
  std::string bytes;
  const uint64_t offset = uint64_t{next.previous_footer_block} * kBlockBytes;
  StatusOr<bool> read = co_await ReadFooter(*file.window, stream_, offset, footer, bytes);
  if (!read.ok() || !*read) co_return read;
  if (footer.segment != file.header.segment || footer.first_lsn != position_.next_lsn ||
      footer.last_lsn + 1 != next.first_lsn || footer.last_hash != next.previous_hash ||
      FooterHash(bytes) != next.previous_footer_hash ||
      footer.frame_blocks.size() != next.first_lsn - footer.first_lsn ||
      !FooterCounts(place, footer.last_lsn)) {
    co_return false;
  }
  Status visited = visitor.OnFooter(file, footer);
  if (VisitorFailed(visited, file, offset, footer.last_lsn)) co_return false;
  if (!visited.ok()) co_return visited;
  position_ = {next.first_lsn, next.previous_hash, next.epoch};
  co_return true;
}

bool LogScan::VisitorFailed(const Status& status, const ScannedFile& file, uint64_t offset,
                            Lsn lsn) {
  if (!absl::IsDataLoss(status)) return false;
  Report(Verdict::kCorrupt, file, offset, std::string(status.message()));
  finding_.lsn = lsn;
  return true;
}

// True: the segment was read to its end and the next one follows.
io::Task<StatusOr<bool>> LogScan::WalkFrames(size_t place, LogVisitor& visitor) {
  if (IsDecided(finding_)) co_return false;
  ScannedFile& file = files_[live_[place]];
  SegmentScan scan(*file.window, stream_, file.header.segment, position_);
  FoundFrame frame;
  while (true) {
    StatusOr<bool> found = co_await scan.Next(frame);
    if (!found.ok()) co_return found;
    if (!*found) break;
    Status visited = visitor.OnFrame(file, frame);
    if (VisitorFailed(visited, file, frame.offset, frame.header.lsn)) co_return false;
    if (!visited.ok()) co_return visited;
    accepted_first_live_ = std::max(accepted_first_live_, frame.header.first_live);
  }
  position_ = scan.position();
  if (place + 1 < live_.size()) {
    const SegmentHeader& next = files_[live_[place + 1]].header;
    if (next.first_lsn == position_.next_lsn && next.previous_hash == position_.previous_hash) {
      co_return true;
    }
  }
  Status judged = co_await JudgeTail(place, scan);
  if (!judged.ok()) co_return judged;
  co_return false;
}

// --- the end

io::Task<Status> LogScan::JudgeTail(size_t place, SegmentScan& scan) {
  ScannedFile& file = files_[live_[place]];
  Status collected = co_await CollectBeyond(place, scan);
  if (!collected.ok()) co_return collected;
  if (JudgePromises(file, scan)) co_return OkStatus();
  const FrameFault fault = scan.fault();
  if (fault == FrameFault::kChain || fault == FrameFault::kNewVersion) {
    Report(Verdict::kCorrupt, file, scan.offset(), std::string(FaultText(fault)));
    co_return OkStatus();
  }
  StatusOr<bool> leftovers = co_await TailLeftovers(place, scan);
  if (!leftovers.ok()) co_return leftovers.status();
  if (IsDecided(finding_)) co_return OkStatus();
  tail_ = LogTail{.file = live_[place],
                  .offset = scan.offset(),
                  .position = scan.position(),
                  .sealed = scan.sealed()};
  for (size_t i = place + 1; i < live_.size(); ++i) tail_->beyond.push_back(live_[i]);
  bool traces = !tail_->beyond.empty() || fault == FrameFault::kBody || *leftovers ||
                scan.offset() == kSegmentHeaderBytes;
  for (const CollectedFrames& item : collected_) {
    for (const Promise& promise : item.promises) {
      if (promise.lsn < scan.position().next_lsn) continue;
      if (promise.epoch < scan.position().epoch) continue;
      traces = true;
      if (item.file == tail_->file || std::ranges::count(tail_->beyond, item.file) > 0) continue;
      tail_->beyond.push_back(item.file);
    }
  }
  if (traces) {
    Report(Verdict::kTornTail, file, scan.offset(), std::string(FaultText(fault)));
    finding_.lsn = scan.position().next_lsn;
  }
  co_return OkStatus();
}

// Headers that may promise more than the walk found, where they were not collected already. Two
// segments on they can only repeat it: of a long log damaged at its start the rest is not read.
io::Task<Status> LogScan::CollectBeyond(size_t place, SegmentScan& scan) {
  for (size_t i = place; i < live_.size(); ++i) {
    const bool known = std::ranges::count(collected_, live_[i], &CollectedFrames::file) > 0;
    if (known) continue;
    if (i > place + 1 && Promised(scan.position())) co_return OkStatus();
    const SegmentSeq segment = files_[live_[i]].header.segment;
    Status collected = co_await Collect(live_[i], segment, kSegmentHeaderBytes);
    if (!collected.ok()) co_return collected;
  }
  // Only a sealed segment has a next one, whose header may be lost.
  if (!scan.sealed() || place + 1 < live_.size()) co_return OkStatus();
  const SegmentSeq next = files_[live_[place]].header.segment + 1;
  for (size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].kind == FileKind::kLive) continue;
    Status collected = co_await Collect(i, next, kSegmentHeaderBytes);
    if (!collected.ok()) co_return collected;
  }
  co_return OkStatus();
}

// Whether a frame says that the one expected at `position` was acknowledged.
bool LogScan::Promised(const ChainPosition& position) const {
  const Lsn expected = position.next_lsn;
  return std::ranges::any_of(collected_, [&](const CollectedFrames& item) {
    return std::ranges::any_of(item.promises, [&](const Promise& promise) {
      if (promise.epoch < position.epoch || promise.lsn < expected) return false;
      return promise.durable >= expected || promise.lsn >= expected + limits::kWalDepthMax;
    });
  });
}

// True, and reported: something from the fault on was acknowledged.
bool LogScan::JudgePromises(const ScannedFile& file, const SegmentScan& scan) {
  if (!Promised(scan.position()) || Mutated(Mutation::kPromisesIgnored)) return false;
  const Lsn expected = scan.position().next_lsn;
  Report(Verdict::kCorrupt, file, scan.offset(),
         Concat("frame ", expected.value(), " was acknowledged: ", FaultText(scan.fault())));
  finding_.lsn = expected;
  const bool next_intact = std::ranges::any_of(collected_, [&](const CollectedFrames& item) {
    return std::ranges::any_of(item.promises, [&](const Promise& promise) {
      return promise.epoch >= scan.position().epoch && promise.lsn == expected + 1;
    });
  });
  if (scan.fault() == FrameFault::kBody && next_intact) {
    finding_.may_hide_hard_state = (scan.faulty().flags & kFrameHasHardState) != 0;
  }
  return true;
}

// Whether something lies after the last frame. Reports blocks that cannot be read within the
// in-flight window: cutting there could lose an acknowledged frame.
io::Task<StatusOr<bool>> LogScan::TailLeftovers(size_t place, SegmentScan& scan) {
  ScannedFile& file = files_[live_[place]];
  if (scan.sealed()) co_return false;
  const uint64_t end = std::min(scan.offset() + kInFlightBytes, file.window->file_bytes());
  StatusOr<bool> zeros = co_await AllZeros(*file.window, scan.offset(), end);
  if (!zeros.ok()) co_return zeros;
  if (file.window->Unreadable(scan.offset(), end - scan.offset())) {
    const auto& [offset, error] = *file.window->unreadable().lower_bound(scan.offset());
    Report(Verdict::kCorrupt, file, offset,
           Concat("the log's tail cannot be read, and may hold acknowledged frames: ",
                  StdView(error.message())));
    finding_.lsn = scan.position().next_lsn;
    co_return false;
  }
  co_return !*zeros && !file.header.recycled;
}

io::Task<StatusOr<bool>> ReadFooter(FileWindow& window, uint64_t stream, uint64_t offset,
                                    Footer& footer, std::string& bytes) {
  StatusOr<std::string_view> head = co_await window.View(offset, kBlockBytes);
  if (!head.ok()) co_return head.status();
  if (head->size() < kFooterFixedBytes) co_return false;
  const uint32_t size = LoadU32(head->data() + kFooterFixedBytes - 4);
  if (size % kBlockBytes != 0 || size == 0 || size > limits::kFrameBytesMax) co_return false;
  StatusOr<std::string_view> all = co_await window.View(offset, size);
  if (!all.ok()) co_return all.status();
  bytes = std::string(*all);
  co_return all->size() == size&& DecodeFooter(bytes, stream, footer);
}

}  // namespace metastore::wal
