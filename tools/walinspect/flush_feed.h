// FlushFeed: the durable writes of a log, each with how long it took. A frame's own header knows
// how long it gathered; how long its write took stands in a later frame's header (wal/format.h,
// FlushTrace). The feed joins the two. Pure but for being a visitor of a scan.
//
// Without a time stay: the last frames of each boot, and what completed while kFlushTracesMax
// others had. They are counted in untimed().
#pragma once

#include <array>
#include <cstdint>

#include "wal/scan.h"

namespace metastore::walinspect {

// One durable write.
struct Flush {
  Lsn lsn;
  Epoch epoch;
  wal::SegmentSeq segment;
  WallTime submitted;  // wall clock
  MonoTime submitted_mono;
  uint32_t gather_us = 0;
  uint32_t flush_us = 0;  // from submission to completion
  uint64_t bytes = 0;     // written: the frame, and a segment's header or footer with it
  uint32_t requests = 0;
  uint32_t records = 0;
  uint32_t body_bytes = 0;
  uint32_t flags = 0;  // wal::FrameFlag

  bool switches_segment() const {
    return (flags & (wal::kFrameStartsSegment | wal::kFrameSealsSegment)) != 0;
  }
  int64_t end_ns() const { return submitted_mono.ns + int64_t{flush_us} * 1000; }
};

class FlushSink {
 public:
  virtual ~FlushSink() = default;
  // In order of completion within a boot, as the log tells.
  virtual void OnFlush(const Flush& flush) = 0;
};

class FlushFeed final : public wal::LogVisitor {
 public:
  explicit FlushFeed(FlushSink& sink) : sink_(sink) {}

  Status OnSegment(const wal::ScannedFile&) override { return OkStatus(); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override;
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

  uint64_t frames() const { return frames_; }
  uint64_t untimed() const { return frames_ - timed_; }

 private:
  // Frames whose traces may still come: a trace is at most depth + kFlushTracesMax frames late.
  static constexpr size_t kWaitingMax = 16;

  FlushSink& sink_;
  std::array<Flush, kWaitingMax> waiting_;  // by LSN modulo its size
  uint64_t frames_ = 0;
  uint64_t timed_ = 0;
};

}  // namespace metastore::walinspect
