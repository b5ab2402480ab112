// Reading segment files: FileWindow gives contiguous views of a file and remembers what cannot be
// read; SegmentScan walks frames in order; FindFrames looks for frame headers at every block, which
// is how the end of the log is judged. Shared by recovery and by walinspect; nothing here writes.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/runtime.h"
#include "wal/footer.h"
#include "wal/format.h"

namespace metastore::wal {

// A sliding view of a file, read ahead in steps of 4 MiB. A block that the device cannot read reads
// as zeros and is listed.
class FileWindow final {
 public:
  FileWindow(io::Runtime& runtime, io::File& file);

  // Bytes [offset, offset + size), fewer at the end of the file; valid until the next call.
  //   offset  whole blocks        size  at most limits::kIoBytesMax, whole blocks
  // Errors: kCancelled  the runtime stops; nothing else: what cannot be read is in unreadable()
  io::Task<StatusOr<std::string_view>> View(uint64_t offset, size_t size);

  // Whether some block of [offset, offset + size) could not be read, as far as it was tried.
  bool Unreadable(uint64_t offset, uint64_t size) const;
  // Blocks that gave an error at every one of kReadAttempts reads: offset and the error.
  const std::map<uint64_t, Status>& unreadable() const { return unreadable_; }
  // Forgets what was read and gives its memory back; the next View reads anew.
  void Drop() {
    buffer_ = io::IoBuffer();
    end_ = begin_;
  }

  const std::string& path() const { return file_.path(); }
  uint64_t file_bytes() const { return file_.size(); }

  static constexpr int kReadAttempts = 3;

 private:
  io::Task<Status> Fill(uint64_t offset, size_t size);
  io::Task<Status> ReadBlocks(uint64_t offset, std::span<char> into);

  io::Runtime& runtime_;
  io::File& file_;
  io::IoBuffer buffer_;
  uint64_t begin_ = 0;  // of the file range in the buffer
  uint64_t end_ = 0;
  std::map<uint64_t, Status> unreadable_;
};

// A frame as found.
struct FoundFrame {
  FrameHeader header;
  uint64_t offset = 0;     // in its file
  std::string_view bytes;  // the whole frame; valid as said by its giver
};

// Why a frame was not found where the next one had to be.
enum class FrameFault : uint8_t {
  kNone,
  kEnd,      // no room for another frame, or the one before sealed the segment
  kNoFrame,  // nothing that claims to be this frame: zeros, leftovers, or a torn or damaged header
  kBody,     // its header is intact, its body is not
  kChain,    // intact, but it does not follow the frame before it (LSN, epoch or chain)
  kNewVersion,  // written by a later release
  kUnreadable,  // the device cannot read it
};
std::string_view FaultText(FrameFault fault);

// What the next frame must follow.
struct ChainPosition {
  Lsn next_lsn{1};
  uint64_t previous_hash = 0;
  Epoch epoch;  // of the frame before; epochs never go back
};

// Walks the frames of one segment from its first block on.
class SegmentScan final {
 public:
  SegmentScan(FileWindow& window, uint64_t stream, SegmentSeq segment, ChainPosition position)
      : window_(window), stream_(stream), segment_(segment), position_(position) {}

  // The next frame, checked in full; its bytes are valid until the next call. Otherwise fault()
  // says why there is none. Errors: kCancelled
  io::Task<StatusOr<bool>> Next(FoundFrame& found);

  FrameFault fault() const { return fault_; }
  // Where the next frame is expected; after a fault, where it was.
  uint64_t offset() const { return offset_; }
  const ChainPosition& position() const { return position_; }
  bool sealed() const { return sealed_; }
  // After kBody or kChain: the intact header at offset().
  const FrameHeader& faulty() const { return faulty_; }

 private:
  FrameFault Judge(const FrameHeader& header, std::string_view bytes) const;

  FileWindow& window_;
  uint64_t stream_;
  SegmentSeq segment_;
  ChainPosition position_;
  uint64_t offset_ = kSegmentHeaderBytes;
  bool sealed_ = false;
  FrameFault fault_ = FrameFault::kNone;
  FrameHeader faulty_;
};

// Intact frame headers of `segment` anywhere in the file, bodies not looked at.
//   from   whole blocks
// Errors: kCancelled
io::Task<StatusOr<std::vector<FrameHeader>>> FindFrames(FileWindow& window, FramePlace place,
                                                        uint64_t from);

// Whether some block from `from` on begins as frames do, of whatever log. Errors: kCancelled
io::Task<StatusOr<bool>> HasFrameMagic(FileWindow& window, uint64_t from);

// Whether [from, to) of the file reads as zeros. Errors: kCancelled
io::Task<StatusOr<bool>> AllZeros(FileWindow& window, uint64_t from, uint64_t to);

}  // namespace metastore::wal
