// What a Log is made of; private to wal/.
#pragma once

#include <memory>
#include <optional>

#include "io/gate.h"
#include "wal/group_log.h"
#include "wal/log.h"
#include "wal/reader.h"
#include "wal/recovery.h"
#include "wal/rewriter.h"
#include "wal/segment_pool.h"
#include "wal/writer.h"

namespace metastore::wal {

struct Log::Parts {
  Parts(io::Runtime& from, LogOptions&& opened, Recovered&& recovered);

  io::Runtime& runtime;
  LogOptions options;
  bool created;
  SegmentTable segments;
  GroupTable groups;
  SegmentPool pool;
  Writer writer;
  io::Gate gate;
  std::optional<Rewriter> rewriter;
  size_t reads = 0;  // under way
  io::Signal reads_ended;
  bool closed = false;
};

// A frame's bytes, read from disk and verified.
struct ReadFrame {
  io::IoBuffer buffer;
  FoundFrame frame;  // views the buffer
};

// Errors: kDataLoss    damaged or unreadable; names file and offset
//         kCancelled
io::Task<StatusOr<ReadFrame>> ReadFrameAt(io::Runtime& runtime, uint64_t stream, Segment& segment,
                                          uint32_t ordinal);

// Keeps a segment's file while it lives.
class SegmentPin final {
 public:
  explicit SegmentPin(Segment& segment) : segment_(segment) { ++segment_.pins; }
  ~SegmentPin() { --segment_.pins; }
  SegmentPin(const SegmentPin&) = delete;
  SegmentPin& operator=(const SegmentPin&) = delete;

 private:
  Segment& segment_;
};

}  // namespace metastore::wal
