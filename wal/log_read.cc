#include "wal/log.h"

#include <algorithm>

#include "wal/parts.h"
#include "wal/replayer.h"

namespace metastore::wal {
namespace {

// Counts a read under way, so that Close waits for it.
class ReadUnderWay final {
 public:
  explicit ReadUnderWay(Log::Parts& parts) : parts_(parts) { ++parts_.reads; }
  ~ReadUnderWay() {
    if (--parts_.reads == 0) parts_.reads_ended.NotifyAll();
  }
  ReadUnderWay(const ReadUnderWay&) = delete;
  ReadUnderWay& operator=(const ReadUnderWay&) = delete;

 private:
  Log::Parts& parts_;
};

Status CheckRange(const GroupLog* group, LogIndex begin, LogIndex end) {
  const LogIndex first = group == nullptr ? LogIndex(1) : group->first();
  const LogIndex last = group == nullptr ? LogIndex(0) : group->last();
  if (begin < end && begin >= first && end <= last + 1) return OkStatus();
  return OutOfRangeError("entries ", begin.value(), " up to ", end.value(), " are not in the log, ",
                         first.value(), " to ", last.value());
}

struct Wanted {
  GroupId group;
  LogIndex next;
  LogIndex end;
  size_t bytes_left;
};

// The wanted entries that lie in the frame `at` names, from wanted.next on without gaps; of two
// versions in one frame the later one.
std::vector<Record> FindEntries(const ReadFrame& read, const Wanted& wanted, const GroupLog& group,
                                const GroupLog::Slot& at) {
  std::vector<Record> found;
  RecordCursor cursor(read.frame);
  LoggedRecord logged;
  const LogIndex end = std::min(wanted.end, group.last() + 1);
  while (cursor.Next(logged)) {
    const Record& record = logged.record;
    if (logged.group != wanted.group || !IsEntryKind(record.kind)) continue;
    if (record.index < wanted.next || record.index >= end) continue;
    const GroupLog::Slot& slot = group.slot(record.index);
    if (slot.segment != at.segment || slot.frame != at.frame) continue;
    const size_t place = record.index - wanted.next;
    if (place > found.size()) continue;
    if (place == found.size()) found.emplace_back();
    found[place] = record;
  }
  return found;
}

// Takes what one frame has. True: go on with the next frame.
StatusOr<bool> TakeEntries(const ReadFrame& read, Wanted& wanted, const GroupLog& group,
                           std::vector<ReadRecord>& entries) {
  const GroupLog::Slot at = group.slot(wanted.next);
  const std::vector<Record> found = FindEntries(read, wanted, group, at);
  if (found.empty()) return DataLossError("entry ", wanted.next.value(), " is not in its frame");
  for (const Record& record : found) {
    if (!entries.empty() && record.bytes.size() > wanted.bytes_left) return false;
    wanted.bytes_left -= std::min(wanted.bytes_left, record.bytes.size());
    entries.push_back({record.tag, record.term, record.index, std::string(record.bytes)});
    ++wanted.next;
  }
  return wanted.next < wanted.end && wanted.bytes_left > 0;
}

}  // namespace

io::Task<StatusOr<ReadFrame>> ReadFrameAt(io::Runtime& runtime, uint64_t stream, Segment& segment,
                                          uint32_t ordinal) {
  const FrameSpan span = segment.frames[ordinal];
  const uint64_t offset = uint64_t{span.block} * kBlockBytes;
  const size_t size = size_t{span.blocks} * kBlockBytes;
  ReadFrame read;
  read.buffer = runtime.AllocateBuffer(size);
  io::File& file = *segment.file.file;
  StatusOr<size_t> done =
      co_await file.Read(offset, {read.buffer.data(), size}, read.buffer.registered_index());
  if (!done.ok()) co_return done.status();
  read.frame.offset = offset;
  read.frame.bytes = std::string_view(read.buffer.data(), size);
  const FramePlace place{stream, segment.seq, span.block};
  const bool intact =
      *done == size &&
      DecodeFrameHeader(read.frame.bytes, place, read.frame.header) == Decoded::kGood &&
      read.frame.header.frame_bytes == size && read.frame.header.lsn == segment.LsnOf(ordinal) &&
      FrameBodyIntact(read.frame.header, stream, read.frame.bytes);
  if (!intact) {
    co_return DataLossError(file.path(), " at offset ", offset, ": frame ",
                            segment.LsnOf(ordinal).value(), " is damaged");
  }
  co_return read;
}

io::Task<StatusOr<std::vector<ReadRecord>>> Log::ReadEntries(GroupId group, LogIndex begin,
                                                             LogIndex end, size_t bytes_max) {
  const ReadUnderWay under_way(*parts_);
  std::vector<ReadRecord> entries;
  Wanted wanted{group, begin, end, bytes_max};
  bool more = true;
  while (more) {
    const GroupLog* found = parts_->groups.Find(group);
    Status in_range = CheckRange(found, wanted.next, end);
    if (!in_range.ok()) {
      // Purged or truncated while reading: what was read before is still right.
      if (!entries.empty()) break;
      co_return in_range;
    }
    const GroupLog::Slot slot = found->slot(wanted.next);
    Segment& segment = parts_->segments.Get(SegmentSeq(slot.segment));
    if (!parts_->writer.IsDurable(segment, slot.frame)) {
      if (!entries.empty()) break;
      co_return UnavailableError("entry ", wanted.next.value(), " is not durable yet");
    }
    const SegmentPin pin(segment);
    StatusOr<ReadFrame> read = co_await ReadFrameAt(
        parts_->runtime, parts_->writer.position().stream, segment, slot.frame);
    if (!read.ok()) co_return read.status();
    // Purged, truncated or moved meanwhile: look again.
    if (!CheckRange(found, wanted.next, end).ok() || found->slot(wanted.next) != slot) continue;
    StatusOr<bool> taken = TakeEntries(*read, wanted, *found, entries);
    if (!taken.ok()) co_return taken.status();
    more = *taken;
  }
  co_return entries;
}

}  // namespace metastore::wal
