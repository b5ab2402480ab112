#include "tools/walinspect/flush_feed.h"

#include <algorithm>

namespace metastore::walinspect {
namespace {

// A time that can be added to and subtracted from, whatever the frame says.
int64_t Bounded(int64_t ns) { return std::clamp<int64_t>(ns, 0, INT64_MAX / 4); }

}  // namespace

Status FlushFeed::OnFrame(const wal::ScannedFile&, const wal::FoundFrame& frame) {
  const wal::FrameHeader& header = frame.header;
  for (size_t i = 0; i < std::min<size_t>(header.trace_count, wal::kFlushTracesMax); ++i) {
    const wal::FlushTrace& trace = header.traces[i];
    Flush& flush = waiting_[trace.lsn.value() % kWaitingMax];
    if (flush.lsn != trace.lsn || flush.epoch != header.epoch) continue;
    flush.flush_us = trace.latency_us;
    flush.bytes = uint64_t{trace.blocks} * wal::kBlockBytes;
    sink_.OnFlush(flush);
    flush.lsn = Lsn();
    ++timed_;
  }
  ++frames_;
  waiting_[header.lsn.value() % kWaitingMax] = {.lsn = header.lsn,
                                                .epoch = header.epoch,
                                                .segment = header.segment,
                                                .submitted = {Bounded(header.submit_wall.ns)},
                                                .submitted_mono = {Bounded(header.submit_mono.ns)},
                                                .gather_us = header.gather_us,
                                                .bytes = header.frame_bytes,
                                                .requests = header.requests,
                                                .records = header.record_count,
                                                .body_bytes = header.body_bytes,
                                                .flags = header.flags};
  return OkStatus();
}

}  // namespace metastore::walinspect
