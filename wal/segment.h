// Segments of the log in memory: their files, where their frames lie, and how many entries still
// need them.
//
// Owner: Log (and recovery, which fills it). Invariants: 1. segments are dense in `seq`, oldest
// first. 2. `live` counts the index slots that point into the segment. 3. A segment leaves the
// table only from the front (Release).
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "io/base/check.h"
#include "io/file.h"
#include "wal/footer.h"
#include "wal/format.h"

namespace metastore::wal {

// Where a frame lies in its segment, in blocks.
struct FrameSpan {
  uint32_t block = 0;
  uint32_t blocks = 0;
};

// A file of the log's directory.
struct SegmentFile {
  uint64_t number = 0;  // in its name
  std::unique_ptr<io::File> file;
  bool recycled = false;  // holds leftovers, not zeros
};

struct Segment {
  SegmentSeq seq;
  SegmentFile file;
  Lsn first_lsn;
  Lsn restated;                   // frame by which all groups' states are repeated here
  std::vector<FrameSpan> frames;  // by ordinal: LSN - first_lsn
  bool sealed = false;            // takes no more frames
  uint32_t footer_block = 0;      // 0: none
  uint32_t footer_blocks = 0;
  uint64_t footer_hash = 0;
  uint64_t entries = 0;                 // ever put here
  uint64_t live = 0;                    // of them, still needed
  Lsn drained;                          // frame whose records last took one away
  uint32_t pins = 0;                    // reads under way
  std::optional<FooterBuilder> footer;  // while it is written

  Lsn LsnOf(uint32_t frame) const { return first_lsn + frame; }
  uint32_t next_block() const {
    return frames.empty() ? 1 : frames.back().block + frames.back().blocks;
  }
};

class SegmentTable final {
 public:
  bool empty() const { return segments_.empty(); }
  size_t size() const { return segments_.size(); }
  Segment& front() { return *segments_.front(); }
  Segment& back() { return *segments_.back(); }
  const std::deque<std::unique_ptr<Segment>>& all() const { return segments_; }

  // Null if released, or not yet begun.
  Segment* Find(SegmentSeq seq) {
    if (segments_.empty() || seq < segments_.front()->seq || seq > segments_.back()->seq) {
      return nullptr;
    }
    return segments_[seq - segments_.front()->seq].get();
  }
  Segment& Get(SegmentSeq seq) {
    Segment* segment = Find(seq);
    CHECK(segment != nullptr);
    return *segment;
  }
  Segment& PushBack(std::unique_ptr<Segment> segment) {
    CHECK(segments_.empty() || segment->seq == segments_.back()->seq + 1);
    CHECK_LE(segment->seq.value(),
             uint64_t{UINT32_MAX});  // index slots keep 32 bits: 256 PiB of log
    segments_.push_back(std::move(segment));
    return *segments_.back();
  }
  std::unique_ptr<Segment> PopFront() {
    CHECK(!segments_.empty());
    std::unique_ptr<Segment> segment = std::move(segments_.front());
    segments_.pop_front();
    return segment;
  }

  std::unique_ptr<Segment> PopBack() {
    CHECK(!segments_.empty());
    std::unique_ptr<Segment> segment = std::move(segments_.back());
    segments_.pop_back();
    return segment;
  }

  void AddLive(uint32_t seq, uint64_t count) {
    Segment& segment = Get(SegmentSeq(seq));
    segment.entries += count;
    segment.live += count;
  }
  // `lsn`: the frame whose record takes it away.
  void DropLive(uint32_t seq, Lsn lsn) {
    Segment& segment = Get(SegmentSeq(seq));
    CHECK_GT(segment.live, 0u);
    --segment.live;
    if (lsn > segment.drained) segment.drained = lsn;
  }

 private:
  std::deque<std::unique_ptr<Segment>> segments_;
};

// "00000000000000000001.wal"
std::string SegmentFileName(uint64_t number);
// The number in such a name; nothing for any other.
std::optional<uint64_t> SegmentFileNumber(std::string_view name);

}  // namespace metastore::wal
