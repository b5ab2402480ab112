#include "wal/rewriter.h"

#include <vector>

#include "io/queue.h"
#include "wal/parts.h"
#include "wal/replayer.h"

namespace metastore::wal {
namespace {

// Entries still needed, as a share of those ever put into the segment, up to which moving them is
// worth it.
constexpr uint64_t kLiveShare = 8;
constexpr size_t kPieceBytesMax = limits::kMiB;

bool IsLive(const GroupTable& groups, const LoggedRecord& logged, const Segment& segment,
            uint32_t ordinal) {
  const GroupLog* group = groups.Find(logged.group);
  const LogIndex index = logged.record.index;
  if (group == nullptr || index < group->first() || index > group->last()) return false;
  const GroupLog::Slot& slot = group->slot(index);
  return slot.segment == static_cast<uint32_t>(segment.seq.value()) && slot.frame == ordinal;
}

}  // namespace

bool Rewriter::Deserves(const Segment& segment) const {
  if (segment.seq == failed_ || segment.live == 0) return false;
  if (!parts_.writer.poisoned().ok()) return false;
  const uint64_t live_segments = parts_.segments.back().seq - parts_.writer.first_live() + 1;
  return live_segments > parts_.options.rewrite_after_segments &&
         segment.live * kLiveShare <= segment.entries;
}

void Rewriter::Consider() {
  if (running_ || stopping_) return;
  const Segment* oldest = parts_.segments.Find(parts_.writer.first_live());
  if (oldest == nullptr || !Deserves(*oldest)) return;
  running_ = parts_.gate.Spawn("wal.rewrite", io::ReadyClass::kBackground, Run());
}

io::Task<void> Rewriter::Run() {
  while (!stopping_) {
    Segment* oldest = parts_.segments.Find(parts_.writer.first_live());
    if (oldest == nullptr || !Deserves(*oldest)) break;
    const SegmentSeq seq = oldest->seq;
    Status rewritten;
    {
      const SegmentPin pin(*oldest);
      for (uint32_t i = 0; i < oldest->frames.size() && rewritten.ok() && !stopping_; ++i) {
        if (oldest->live == 0) break;
        rewritten = co_await RewriteFrame(*oldest, i);
      }
    }
    if (oldest->live > 0) failed_ = seq;
    parts_.writer.ReleaseSegments();
    if (!rewritten.ok()) {
      parts_.runtime.log().Warn(
          "a log segment's last entries could not be moved",
          {{"segment", seq.value()}, {"error", std::string(rewritten.message())}});
    }
  }
  running_ = false;
}

// Moves the frame's live entries, in pieces.
io::Task<Status> Rewriter::RewriteFrame(Segment& segment, uint32_t ordinal) {
  StatusOr<ReadFrame> read =
      co_await ReadFrameAt(parts_.runtime, parts_.writer.position().stream, segment, ordinal);
  if (!read.ok()) co_return read.status();
  RecordCursor cursor(read->frame);
  std::vector<LoggedRecord> piece;
  size_t bytes = 0;
  LoggedRecord logged;
  bool more = true;
  while (more) {
    more = cursor.Next(logged);
    if (more && IsEntryKind(logged.record.kind) &&
        IsLive(parts_.groups, logged, segment, ordinal)) {
      bytes += logged.record.bytes.size();
      piece.push_back(logged);
    }
    if (piece.empty() || (more && bytes < kPieceBytesMax)) continue;
    Status appended = co_await AppendPiece(piece, segment, ordinal);
    if (!appended.ok()) co_return appended;
    piece.clear();
    bytes = 0;
  }
  co_return OkStatus();
}

namespace {

struct RewriteOp : AppendOp {
  io::OneShot<Status> done;
};

}  // namespace

io::Task<Status> Rewriter::AppendPiece(std::span<const LoggedRecord> records, const Segment& from,
                                       uint32_t ordinal) {
  Writer::Demand demand{.records_count = records.size(), .entries = true};
  for (const LoggedRecord& logged : records) demand.bytes += logged.record.bytes.size();
  Status reserved = parts_.writer.Reserve(demand);
  if (!reserved.ok()) co_return reserved;
  RewriteOp op;
  op.name = "wal.rewrite";
  op.ready_class = io::ReadyClass::kBackground;
  op.run = [](io::ReadyNode& node) {
    auto& written = static_cast<RewriteOp&>(node);
    written.done.Set(written.status);
  };
  GroupLog* last = nullptr;
  for (const LoggedRecord& logged : records) {
    // Earlier pieces were waited for: what was purged meanwhile is not moved.
    if (!IsLive(parts_.groups, logged, from, ordinal)) continue;
    Record record = logged.record;
    record.kind = RecordKind::kRewrite;
    last = parts_.groups.Find(logged.group);
    parts_.writer.Put(logged.group, *last, record);
  }
  if (last == nullptr) co_return OkStatus();
  parts_.writer.Finish(*last, op);
  Status written = co_await op.done;
  co_return written;
}

}  // namespace metastore::wal
