// Writer: turns appended records into frames and frames into durable writes.
//
// Natural batching (no timer): while `depth` frames are in flight, what arrives gathers in the next
// one; the first record of an idle log pushes a ready node, so that everything appended in the same
// turn shares its frame. Frames are acknowledged in LSN order whatever order they complete in.
//
// Owner: Log. Invariants
//  1. frames_ holds consecutive LSNs: first those submitted, then full ones, then at most one that
//  gathers.
//  2. A frame's place (segment, block) is fixed when it is opened, since all before it are closed
//  by then.
//  3. At most `depth` frames are submitted and not yet acknowledged, so a torn tail spans no more
//  than that.
//  4. The first frame of a segment restates every group, so that a segment stands on its own feet
//  once all before it
//     are freed.
//  5. A freed segment is reused only after a frame that says so (first_live) is durable.
#pragma once

#include <deque>
#include <memory>

#include "io/runtime.h"
#include "wal/frame_builder.h"
#include "wal/group_log.h"
#include "wal/log.h"
#include "wal/log_metrics.h"
#include "wal/segment.h"
#include "wal/segment_pool.h"

namespace metastore::wal {

// Where the stream goes on; from recovery.
struct StreamPosition {
  uint64_t stream = 0;
  Epoch epoch;
  Lsn next_lsn{1};
  uint64_t previous_hash = 0;
  SegmentSeq next_segment{1};
  SegmentSeq first_live{1};
};

// What the writer works on; all outlive it.
struct WriterParts {
  io::Runtime& runtime;
  const LogOptions& options;
  SegmentTable& segments;
  SegmentPool& pool;
  GroupTable& groups;
};

class Writer final {
 public:
  Writer(WriterParts parts, const StreamPosition& position);
  // CHECKs that nothing is in flight.
  ~Writer();

  // What one append is about to put.
  struct Demand {
    size_t records_count = 0;
    size_t bytes = 0;      // payload of all together
    bool entries = false;  // some are entries: the last prepared segment is kept for what is none,
                           // so that a purge can free space when there is no other
  };
  // Whether that much may be put now. Errors: as Log::Append, but for kInvalidArgument.
  Status Reserve(const Demand& demand) const;
  // Encodes one record into the gathering frame and applies it to the index. Needs a reservation.
  void Put(GroupId id, GroupLog& group, const Record& record);
  // Ends an append: `op` completes as its must_sync says.
  void Finish(GroupLog& group, AppendOp& op);

  // Begins an epoch: one frame, durable for its own sake, even without records.
  // Errors: kResourceExhausted  it needs a new segment and none is prepared
  Status PutEpochStart();
  // Writes what gathers, and a promise if one is due, and waits until nothing is in flight.
  io::Task<void> Drain();
  // The same without a promise.
  io::Task<void> Settle();
  // No Reserve succeeds any more.
  void Refuse(Status why);

  Lsn durable() const { return durable_; }
  bool IsDurable(const Segment& segment, uint32_t frame) const {
    return segment.LsnOf(frame) <= durable_;
  }
  const Status& poisoned() const { return poisoned_; }
  const StreamPosition& position() const { return position_; }
  // Segments that may be rewritten to free the oldest: sealed, durable, not freed yet.
  SegmentSeq first_live() const { return position_.first_live; }
  void FillStats(LogStats& stats) const;
  const LogMetrics& metrics() const { return metrics_; }
  // Frees what can be freed; after a read let go of a segment.
  void ReleaseSegments();

  size_t record_bytes_max() const { return record_bytes_max_; }
  size_t meta_bytes_max() const { return meta_bytes_max_; }

 private:
  struct Frame : io::FileOp {
    explicit Frame(io::Runtime& runtime) : builder(runtime) {}

    Writer* writer = nullptr;
    FrameBuilder builder;
    FrameHeader header;
    Segment* segment = nullptr;
    uint32_t ordinal = 0;
    size_t limit = 0;  // bytes, footer included
    bool closed = false;
    bool flush = false;       // to be written for its own sake
    bool unpromised = false;  // its loss would be the loss of something acknowledged
    bool done = false;
    uint16_t in_flight = 0;  // frames, this one included, at its submission
    MonoTime opened;
    MonoTime submitted;
    AppendOp* first_op = nullptr;
    AppendOp* last_op = nullptr;
  };
  struct PumpNode : io::ReadyNode {
    Writer* writer = nullptr;
  };
  struct PromiseTimer : io::Timer {
    Writer* writer = nullptr;
  };

  // gathering
  Frame* gathering() {
    return !frames_.empty() && !frames_.back()->closed ? frames_.back().get() : nullptr;
  }
  const Frame* gathering() const { return const_cast<Writer*>(this)->gathering(); }
  bool Fits(const Frame& frame, size_t encoded_bytes, size_t meta_bytes) const;
  Status NoSegmentError() const;
  Status OpenFrame();
  Segment& BeginSegment();
  void RestateGroups();
  void CloseFrame(Frame& frame);
  bool TailOpen() const;
  size_t RoomNeeded(const Segment& segment) const;
  std::unique_ptr<Frame> NewFrame();

  // writing
  void SchedulePump();
  void Pump();
  void Submit(Frame& frame);
  void FillHeader(Frame& frame);
  void PutSegmentHeader(Frame& frame);
  void PutFooter(Frame& frame);
  void OnWritten(Frame& frame);
  void Measure(const Frame& frame);
  void Note(const Frame& frame);
  void Acknowledge(Frame& frame);
  // Of all that wait for the frame.
  void CompleteAll(Frame& frame, const Status& status);
  void Complete(AppendOp& op, const Status& status);
  void Poison(const Status& why);

  // idling
  void ArmPromise();
  void OnPromiseTimer();
  void PutPromise();
  io::Task<void> WaitSettled();

  io::Runtime& runtime_;
  const LogOptions& options_;
  SegmentTable& segments_;
  SegmentPool& pool_;
  GroupTable& groups_;
  StreamPosition position_;
  size_t record_bytes_max_;
  size_t meta_bytes_max_;

  std::deque<std::unique_ptr<Frame>> frames_;
  std::vector<std::unique_ptr<Frame>> spare_frames_;
  size_t submitted_ = 0;  // of frames_
  bool flush_all_ = false;
  bool restating_ = false;
  Lsn durable_;
  SegmentSeq released_before_{1};  // a durable frame says that no earlier segment is needed
  Status poisoned_;
  Status refused_;
  bool unpromised_ = false;  // the last frame holds something that no other promises
  MonoTime last_activity_;
  PromiseTimer promise_timer_;
  PumpNode pump_;
  io::Signal settled_;
  uint8_t trace_count_ = 0;
  FlushTrace traces_[kFlushTracesMax];
  LogStats stats_;
  LogMetrics metrics_;
};

}  // namespace metastore::wal
