#include "wal/reader.h"

#include <algorithm>
#include <cstring>

#include "io/base/check.h"
#include "wal/mutation.h"

namespace metastore::wal {
namespace {

constexpr size_t kReadAheadBytes = 4 * limits::kMiB;
constexpr size_t kFirstReadBytes = 64 * limits::kKiB;  // headers and footers need no more

}  // namespace

std::string_view FaultText(FrameFault fault) {
  switch (fault) {
    case FrameFault::kNone:
      return "intact";
    case FrameFault::kEnd:
      return "end of the segment";
    case FrameFault::kNoFrame:
      return "no intact frame header";
    case FrameFault::kBody:
      return "the frame's body does not match its header";
    case FrameFault::kChain:
      return "the frame does not follow the one before it";
    case FrameFault::kNewVersion:
      return "written by a later release";
    case FrameFault::kUnreadable:
      return "cannot be read";
  }
  CHECK_UNREACHABLE();
}

FileWindow::FileWindow(io::Runtime& runtime, io::File& file) : runtime_(runtime), file_(file) {}

bool FileWindow::Unreadable(uint64_t offset, uint64_t size) const {
  if (Mutated(Mutation::kReadErrorIgnored)) return false;
  const auto first = unreadable_.lower_bound(offset / kBlockBytes * kBlockBytes);
  return first != unreadable_.end() && first->first < offset + size;
}

io::Task<StatusOr<std::string_view>> FileWindow::View(uint64_t offset, size_t size) {
  CHECK_EQ(offset % kBlockBytes, 0u);
  CHECK_LE(size, limits::kIoBytesMax);
  const uint64_t file_bytes = file_.size() / kBlockBytes * kBlockBytes;
  if (offset >= file_bytes) co_return std::string_view();
  size = static_cast<size_t>(std::min<uint64_t>(size, file_bytes - offset));
  if (offset < begin_ || offset + size > end_) {
    Status filled = co_await Fill(offset, size);
    if (!filled.ok()) co_return filled;
  }
  co_return std::string_view(buffer_.data() + (offset - begin_), size);
}

// Makes [offset, offset + size) the start of the buffer, keeping what it has of it, and reads
// ahead where the file is read on.
io::Task<Status> FileWindow::Fill(uint64_t offset, size_t size) {
  const uint64_t file_bytes = file_.size() / kBlockBytes * kBlockBytes;
  const bool reads_on = end_ > begin_ && offset >= begin_ && offset <= end_;
  const size_t ahead = reads_on ? kReadAheadBytes : kFirstReadBytes;
  const size_t wanted = std::min<size_t>(std::max(size, ahead), file_bytes - offset);
  if (buffer_.size() < wanted) {
    io::IoBuffer grown = runtime_.AllocateBuffer(wanted);
    if (end_ > begin_) std::memcpy(grown.data(), buffer_.data(), end_ - begin_);
    buffer_ = std::move(grown);
  }
  size_t kept = 0;
  if (offset >= begin_ && offset < end_) {
    kept = end_ - offset;
    std::memmove(buffer_.data(), buffer_.data() + (offset - begin_), kept);
  }
  begin_ = offset;
  end_ = offset + kept;
  while (end_ < offset + wanted) {
    const size_t bytes = std::min<uint64_t>(kReadAheadBytes, offset + wanted - end_);
    const std::span<char> into(buffer_.data() + (end_ - begin_), bytes);
    Status read = co_await ReadBlocks(end_, into);
    if (!read.ok()) co_return read;
    end_ += bytes;
  }
  co_return OkStatus();
}

// Reads, and on an error halves the range until the blocks that cannot be read are found.
io::Task<Status> FileWindow::ReadBlocks(uint64_t offset, std::span<char> into) {
  Status failure;
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    const StatusOr<size_t> read = co_await file_.Read(offset, into, buffer_.registered_index());
    if (read.ok()) {
      std::memset(into.data() + *read, 0, into.size() - *read);
      co_return OkStatus();
    }
    failure = read.status();
    if (absl::IsCancelled(failure)) co_return failure;
  }
  if (into.size() <= kBlockBytes) {
    unreadable_.emplace(offset, failure);
    std::memset(into.data(), 0, into.size());
    co_return OkStatus();
  }
  const size_t half = RoundUpToBlock(into.size() / 2);
  Status first = co_await ReadBlocks(offset, into.subspan(0, half));
  if (!first.ok()) co_return first;
  Status second = co_await ReadBlocks(offset + half, into.subspan(half));
  co_return second;
}

FrameFault SegmentScan::Judge(const FrameHeader& header, std::string_view bytes) const {
  if (bytes.size() < header.frame_bytes) return FrameFault::kBody;
  // Of a tail that was cut.
  const bool old_epoch = header.epoch < position_.epoch;
  if (old_epoch && !Mutated(Mutation::kOldEpochAccepted)) return FrameFault::kNoFrame;
  const bool follows = header.previous_hash == position_.previous_hash;
  if (header.lsn != position_.next_lsn || (!follows && !Mutated(Mutation::kChainUnchecked))) {
    return FrameFault::kChain;
  }
  if (!FrameBodyIntact(header, stream_, bytes.substr(0, header.frame_bytes)) &&
      !Mutated(Mutation::kBodyUnchecked)) {
    return FrameFault::kBody;
  }
  return FrameFault::kNone;
}

io::Task<StatusOr<bool>> SegmentScan::Next(FoundFrame& found) {
  fault_ = FrameFault::kEnd;
  if (sealed_ || offset_ + kBlockBytes > window_.file_bytes()) co_return false;
  StatusOr<std::string_view> head = co_await window_.View(offset_, kBlockBytes);
  if (!head.ok()) co_return head.status();
  fault_ = FrameFault::kUnreadable;
  if (window_.Unreadable(offset_, kBlockBytes)) co_return false;
  const FramePlace place{stream_, segment_, static_cast<uint32_t>(offset_ / kBlockBytes)};
  const Decoded decoded = DecodeFrameHeader(*head, place, found.header);
  fault_ = decoded == Decoded::kNewVersion ? FrameFault::kNewVersion : FrameFault::kNoFrame;
  if (decoded != Decoded::kGood) co_return false;
  StatusOr<std::string_view> bytes = co_await window_.View(offset_, found.header.frame_bytes);
  if (!bytes.ok()) co_return bytes.status();
  faulty_ = found.header;
  fault_ = window_.Unreadable(offset_, found.header.frame_bytes) ? FrameFault::kUnreadable
                                                                 : Judge(found.header, *bytes);
  if (fault_ != FrameFault::kNone) co_return false;
  found.offset = offset_;
  found.bytes = *bytes;
  position_ = {found.header.lsn + 1, found.header.hash, found.header.epoch};
  offset_ += found.header.frame_bytes;
  sealed_ = (found.header.flags & kFrameSealsSegment) != 0;
  co_return true;
}

io::Task<StatusOr<std::vector<FrameHeader>>> FindFrames(FileWindow& window, FramePlace place,
                                                        uint64_t from) {
  std::vector<FrameHeader> frames;
  const uint64_t end = window.file_bytes() / kBlockBytes * kBlockBytes;
  for (uint64_t offset = from; offset < end;) {
    const size_t size = static_cast<size_t>(std::min<uint64_t>(kReadAheadBytes, end - offset));
    StatusOr<std::string_view> bytes = co_await window.View(offset, size);
    if (!bytes.ok()) co_return bytes.status();
    for (size_t at = 0; at < bytes->size(); at += kBlockBytes) {
      place.block = static_cast<uint32_t>((offset + at) / kBlockBytes);
      FrameHeader header;
      if (DecodeFrameHeader(bytes->substr(at), place, header) == Decoded::kGood) {
        frames.push_back(header);
      }
    }
    offset += bytes->size();
  }
  co_return frames;
}

io::Task<StatusOr<bool>> HasFrameMagic(FileWindow& window, uint64_t from) {
  const uint64_t end = window.file_bytes() / kBlockBytes * kBlockBytes;
  for (uint64_t offset = from; offset < end;) {
    const size_t size = static_cast<size_t>(std::min<uint64_t>(kReadAheadBytes, end - offset));
    StatusOr<std::string_view> bytes = co_await window.View(offset, size);
    if (!bytes.ok()) co_return bytes.status();
    for (size_t at = 0; at < bytes->size(); at += kBlockBytes) {
      if (BeginsLikeFrame(bytes->substr(at))) co_return true;
    }
    offset += bytes->size();
  }
  co_return false;
}

io::Task<StatusOr<bool>> AllZeros(FileWindow& window, uint64_t from, uint64_t to) {
  to = std::min(to, window.file_bytes() / kBlockBytes * kBlockBytes);
  for (uint64_t offset = from; offset < to;) {
    const size_t size = static_cast<size_t>(std::min<uint64_t>(kReadAheadBytes, to - offset));
    StatusOr<std::string_view> bytes = co_await window.View(offset, size);
    if (!bytes.ok()) co_return bytes.status();
    if (bytes->find_first_not_of('\0') != std::string_view::npos) co_return false;
    offset += bytes->size();
  }
  co_return true;
}

}  // namespace metastore::wal
