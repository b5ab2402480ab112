#include "wal/writer.h"

#include <algorithm>

#include "wal/mutation.h"

namespace metastore::wal {
namespace {

// A hard state or snapshot meta larger than this is refused: it is repeated in footers and at every
// segment's start.
constexpr size_t kMetaBytesMax = 64 * limits::kKiB;
constexpr size_t kSpareFrames = 4;
// What one more effect adds to a footer's bound besides its bytes.
constexpr size_t kEffectSlack = 512;
// What one record costs at most besides its bytes, in frame and footer together.
constexpr size_t kRecordCostMax = kRecordOverheadMax + 64;

bool IsMeta(RecordKind kind) {
  return kind == RecordKind::kHardState || kind == RecordKind::kSnapshotMeta ||
         kind == RecordKind::kGroupState;
}

uint32_t Microseconds32(Duration span) {
  return static_cast<uint32_t>(std::clamp<int64_t>(span.us(), 0, int64_t{UINT32_MAX}));
}

}  // namespace

Writer::Writer(WriterParts parts, const StreamPosition& position)
    : runtime_(parts.runtime),
      options_(parts.options),
      segments_(parts.segments),
      pool_(parts.pool),
      groups_(parts.groups),
      position_(position),
      record_bytes_max_(std::min<size_t>(limits::kRecordBytesMax, options_.frame_bytes_max / 2)),
      meta_bytes_max_(std::min<size_t>(kMetaBytesMax, options_.frame_bytes_max / 16)),
      durable_(position.next_lsn - 1),
      released_before_(position.first_live) {
  if (TailOpen()) {
    Segment& tail = segments_.back();
    const size_t end = size_t{tail.next_block()} * kBlockBytes;
    if (end + RoomNeeded(tail) > options_.segment_bytes) tail.sealed = true;
  }
  pump_.writer = this;
  pump_.name = "wal.flush";
  pump_.ready_class = io::ReadyClass::kCritical;
  pump_.run = [](io::ReadyNode& node) { static_cast<PumpNode&>(node).writer->Pump(); };
  promise_timer_.writer = this;
  promise_timer_.fired = [](io::Timer& timer) {
    static_cast<PromiseTimer&>(timer).writer->OnPromiseTimer();
  };
}

Writer::~Writer() {
  CHECK_EQ(submitted_, 0u);
  CHECK(!pump_.queued);
  if (promise_timer_.armed()) runtime_.Cancel(promise_timer_);
}

// --- gathering

Status Writer::Reserve(const Demand& demand) const {
  if (!poisoned_.ok()) {
    return FailedPreconditionError("the log stopped at a failed write: ",
                                   StdView(poisoned_.message()));
  }
  if (!refused_.ok()) return refused_;
  const size_t encoded = demand.bytes + demand.records_count * kRecordCostMax;
  if (stats_.queued_bytes > 0 && stats_.queued_bytes + encoded > limits::kWalQueuedBytesMax) {
    return ResourceExhaustedError("the log's window of ", limits::kWalQueuedBytesMax,
                                  " unflushed bytes is full");
  }
  // Each frame may leave a block and the largest record's room unused.
  const size_t frames = encoded / (options_.frame_bytes_max / 4) + 2;
  const size_t needed = encoded + frames * (kBlockBytes + kFrameHeaderBytes);
  size_t room = 0;
  if (TailOpen()) {
    const Segment& tail = segments_.back();
    const Frame* open = gathering();
    const size_t used = size_t{tail.next_block()} * kBlockBytes +
                        (open == nullptr ? 0 : open->builder.frame_bytes()) + RoomNeeded(tail);
    room = options_.segment_bytes - std::min<size_t>(used, options_.segment_bytes);
    if (open == nullptr) room += record_bytes_max_;  // an unsealed tail has room for any one record
  }
  if (needed <= room) return OkStatus();
  const size_t segments = 1 + 2 * needed / options_.segment_bytes;
  if (pool_.prepared() >= segments + (demand.entries ? 1 : 0)) return OkStatus();
  return NoSegmentError();
}

Status Writer::NoSegmentError() const {
  if (pool_.failure().ok()) return ResourceExhaustedError("no prepared log segment is left yet");
  return ResourceExhaustedError("no prepared log segment is left: ",
                                StdView(pool_.failure().message()));
}

bool Writer::TailOpen() const { return !segments_.empty() && !segments_.all().back()->sealed; }

// Blocks that a segment must have left after a frame, or that frame seals it: any one record, and
// the footer.
size_t Writer::RoomNeeded(const Segment& segment) const {
  const size_t footer = segment.footer ? segment.footer->BytesBound(segment.frames.size() + 1) : 0;
  return RoundUpToBlock(kFrameHeaderBytes + kRecordOverheadMax + record_bytes_max_) + footer +
         RoundUpToBlock(kEffectSlack + 2 * meta_bytes_max_);
}

bool Writer::Fits(const Frame& frame, size_t encoded_bytes, size_t meta_bytes) const {
  const size_t bytes =
      RoundUpToBlock(kFrameHeaderBytes + frame.builder.body_bytes() + encoded_bytes);
  const FooterBuilder* footer = frame.segment->footer ? &*frame.segment->footer : nullptr;
  if (footer == nullptr || !footer->usable()) return bytes <= frame.limit;
  const size_t footer_bytes =
      footer->BytesBound(frame.segment->frames.size()) + RoundUpToBlock(kEffectSlack + meta_bytes);
  return bytes + footer_bytes <= frame.limit;
}

std::unique_ptr<Writer::Frame> Writer::NewFrame() {
  if (spare_frames_.empty()) return std::make_unique<Frame>(runtime_);
  std::unique_ptr<Frame> frame = std::move(spare_frames_.back());
  spare_frames_.pop_back();
  return frame;
}

Segment& Writer::BeginSegment() {
  auto segment = std::make_unique<Segment>();
  segment->seq = position_.next_segment;
  ++position_.next_segment;
  segment->first_lsn = position_.next_lsn;
  segment->file = pool_.Take();
  segment->footer.emplace(options_.frame_bytes_max / 8);
  return segments_.PushBack(std::move(segment));
}

Status Writer::OpenFrame() {
  CHECK(gathering() == nullptr);
  const bool starts_segment = !TailOpen();
  if (starts_segment && pool_.prepared() == 0) return NoSegmentError();
  Segment& segment = starts_segment ? BeginSegment() : segments_.back();
  std::unique_ptr<Frame> frame = NewFrame();
  frame->writer = this;
  frame->header = FrameHeader();
  frame->header.epoch = position_.epoch;
  frame->header.lsn = position_.next_lsn;
  ++position_.next_lsn;
  if (starts_segment) frame->header.flags |= kFrameStartsSegment;
  frame->segment = &segment;
  frame->ordinal = static_cast<uint32_t>(segment.frames.size());
  frame->header.block = segment.next_block();
  frame->limit = std::min<size_t>(
      options_.frame_bytes_max, options_.segment_bytes - size_t{frame->header.block} * kBlockBytes);
  segment.frames.push_back({frame->header.block, 0});
  frame->opened = runtime_.Now();
  frame->builder.Begin(frame->header, position_.stream);
  frames_.push_back(std::move(frame));
  if (starts_segment) {
    RestateGroups();
    segment.restated = frames_.back()->header.lsn;
  }
  return OkStatus();
}

void Writer::RestateGroups() {
  CHECK(!restating_);  // all groups' states together are far below a segment
  if (Mutated(Mutation::kRestateSkipped)) return;
  restating_ = true;
  for (const auto& [id, group] : groups_.all()) {
    if (group->next_sequence == 1) continue;
    const std::string bytes = EncodeGroupState(group->state());
    Put(id, *group, {.kind = RecordKind::kGroupState, .index = group->last(), .bytes = bytes});
  }
  restating_ = false;
}

void Writer::Put(GroupId id, GroupLog& group, const Record& record) {
  LoggedRecord logged{.group = id, .sequence = group.next_sequence, .record = record};
  size_t encoded_bytes = RecordBytes(logged);
  const size_t meta_bytes = IsMeta(record.kind) ? record.bytes.size() : 0;
  Frame* frame = gathering();
  if (frame != nullptr && !Fits(*frame, encoded_bytes, meta_bytes)) {
    CloseFrame(*frame);
    SchedulePump();
    frame = nullptr;
  }
  if (frame == nullptr) {
    CHECK(OpenFrame().ok());  // reserved
    frame = gathering();
    logged.sequence = group.next_sequence;  // a new segment restated the group
    encoded_bytes = RecordBytes(logged);
    CHECK(Fits(*frame, encoded_bytes, meta_bytes));
  }
  const Effect effect = EffectOf(record, frame->ordinal);
  const Status applied = group.Apply(effect, {frame->segment->seq, frame->header.lsn}, segments_);
  CHECK_EQ(std::string_view(applied.message().data(), applied.message().size()), "");
  frame->builder.Add(logged, encoded_bytes);
  if (frame->segment->footer) frame->segment->footer->Add(id, logged.sequence, effect);
  if (record.kind == RecordKind::kHardState || record.kind == RecordKind::kGroupState) {
    frame->header.flags |= kFrameHasHardState;
  }
  ++group.next_sequence;
  ++stats_.records;
  stats_.record_bytes += record.bytes.size();
  stats_.queued_bytes += encoded_bytes;
  if (record.kind == RecordKind::kRewrite) ++stats_.rewritten_records;
}

void Writer::Finish(GroupLog& group, AppendOp& op) {
  Frame& frame = *frames_.back();
  op.lsn = frame.header.lsn;
  frame.header.requests += op.requests;
  op.next_waiting = nullptr;
  if (op.must_sync) {
    group.last_sync = op.lsn;
    frame.flush = frame.unpromised = true;
    SchedulePump();
  }
  if (group.last_sync <= durable_) {
    Complete(op, OkStatus());
    return;
  }
  Frame& awaited = *frames_[group.last_sync - frames_.front()->header.lsn];
  CHECK_EQ(awaited.header.lsn, group.last_sync);
  (awaited.first_op == nullptr ? awaited.first_op : awaited.last_op->next_waiting) = &op;
  awaited.last_op = &op;
}

void Writer::CloseFrame(Frame& frame) {
  CHECK(!frame.closed);
  frame.closed = true;
  Segment& segment = *frame.segment;
  const size_t bytes = frame.builder.frame_bytes();
  segment.frames.back().blocks = static_cast<uint32_t>(bytes / kBlockBytes);
  const size_t end = size_t{segment.next_block()} * kBlockBytes;
  if (end + RoomNeeded(segment) > options_.segment_bytes) {
    segment.sealed = true;
    frame.header.flags |= kFrameSealsSegment;
    ++stats_.segments_sealed;
  }
}

Status Writer::PutEpochStart() {
  Status opened = OpenFrame();
  if (!opened.ok()) return opened;
  Frame& frame = *frames_.back();
  frame.header.flags |= kFrameStartsEpoch;
  frame.flush = frame.unpromised = true;
  SchedulePump();
  return OkStatus();
}

void Writer::Refuse(Status why) { refused_ = std::move(why); }

// --- writing

void Writer::SchedulePump() {
  if (!pump_.queued) runtime_.scheduler().Push(pump_);
}

void Writer::Pump() {
  const size_t depth = options_.depth + (Mutated(Mutation::kDepthExceeded) ? 1 : 0);
  while (poisoned_.ok() && submitted_ < depth && submitted_ < frames_.size()) {
    Frame& frame = *frames_[submitted_];
    if (!frame.closed) {
      if (!frame.flush && !flush_all_) break;
      CloseFrame(frame);
    }
    Submit(frame);
  }
  if (submitted_ == 0) settled_.NotifyAll();
}

void Writer::Submit(Frame& frame) {
  frame.submitted = runtime_.Now();
  FillHeader(frame);
  frame.builder.Seal(frame.header, position_.stream);
  position_.previous_hash = frame.header.hash;
  uint64_t offset = uint64_t{frame.header.block} * kBlockBytes;
  if ((frame.header.flags & kFrameSealsSegment) != 0) PutFooter(frame);
  if ((frame.header.flags & kFrameStartsSegment) != 0) {
    PutSegmentHeader(frame);
    offset = 0;
  }
  const std::span<char> bytes = frame.builder.bytes();
  frame.kind = io::FileOpKind::kDurableWrite;
  frame.method = options_.method;
  frame.offset = offset;
  frame.data = bytes.data();
  frame.size = bytes.size();
  frame.registered_index = frame.builder.registered_index();
  frame.status = OkStatus();
  frame.done_bytes = 0;
  frame.name = "wal.written";
  frame.ready_class = io::ReadyClass::kCritical;
  frame.run = [](io::ReadyNode& node) {
    auto& written = static_cast<Frame&>(node);
    written.writer->OnWritten(written);
  };
  unpromised_ = frame.unpromised && !Mutated(Mutation::kPromiseSkipped);
  ++submitted_;
  frame.in_flight = static_cast<uint16_t>(submitted_);
  frame.segment->file.file->Submit(frame);
  if (Mutated(Mutation::kAckAtSubmit)) CompleteAll(frame, OkStatus());
}

void Writer::FillHeader(Frame& frame) {
  FrameHeader& header = frame.header;
  header.previous_hash = position_.previous_hash;
  header.durable = Mutated(Mutation::kPromiseHigh) ? header.lsn : durable_;
  header.segment = frame.segment->seq;
  header.gather_us = Microseconds32(frame.submitted - frame.opened);
  header.submit_wall = runtime_.WallNow();
  header.submit_mono = frame.submitted;
  header.first_live = position_.first_live;
  header.trace_count = trace_count_;
  std::copy_n(traces_, trace_count_, header.traces);
  trace_count_ = 0;
  if (!frame.unpromised && frame.builder.record_count() == 0) header.flags |= kFramePromiseOnly;
}

void Writer::PutSegmentHeader(Frame& frame) {
  const Segment& segment = *frame.segment;
  SegmentHeader header{.state = SegmentState::kActive,
                       .cluster = options_.cluster,
                       .member = options_.member,
                       .stream = position_.stream,
                       .file = segment.file.number,
                       .segment_bytes = options_.segment_bytes,
                       .written = runtime_.WallNow(),
                       .recycled = segment.file.recycled,
                       .segment = segment.seq,
                       .first_live = position_.first_live,
                       .epoch = position_.epoch,
                       .first_lsn = segment.first_lsn,
                       .previous_hash = frame.header.previous_hash};
  if (const Segment* before = segments_.Find(segment.seq - 1); before != nullptr) {
    header.previous_footer_block = before->footer_block;
    header.previous_footer_blocks = before->footer_blocks;
    header.previous_footer_hash = before->footer_hash;
  }
  frame.builder.PutSegmentHeader(header);
}

void Writer::PutFooter(Frame& frame) {
  Segment& segment = *frame.segment;
  if (!segment.footer || !segment.footer->usable()) {
    segment.footer.reset();
    return;
  }
  Footer footer{.segment = segment.seq,
                .first_lsn = segment.first_lsn,
                .last_lsn = frame.header.lsn,
                .last_hash = frame.header.hash};
  for (const FrameSpan& span : segment.frames) footer.frame_blocks.push_back(span.blocks);
  const std::string bytes = segment.footer->Encode(footer, position_.stream);
  segment.footer.reset();
  CHECK_LE(frame.builder.frame_bytes() + bytes.size(), frame.limit);
  frame.builder.PutFooter(bytes);
  segment.footer_block = segment.next_block();
  segment.footer_blocks = static_cast<uint32_t>(bytes.size() / kBlockBytes);
  segment.footer_hash = FooterHash(bytes);
}

void Writer::OnWritten(Frame& frame) {
  frame.done = true;
  last_activity_ = runtime_.Now();
  if (frame.status.ok()) Measure(frame);
  if (options_.flush_ring != nullptr) Note(frame);
  if (Mutated(Mutation::kErrorAcknowledged)) frame.status = OkStatus();
  if (poisoned_.ok() && !frame.status.ok()) {
    Poison(Annotate(frame.status, Concat("frame ", frame.header.lsn.value())));
  }
  if (poisoned_.ok() && trace_count_ < kFlushTracesMax) {
    traces_[trace_count_++] = {.lsn = frame.header.lsn,
                               .latency_us = Microseconds32(last_activity_ - frame.submitted),
                               .blocks = static_cast<uint32_t>(frame.size / kBlockBytes)};
  }
  if (Mutated(Mutation::kAckOutOfOrder) && poisoned_.ok()) CompleteAll(frame, OkStatus());
  while (submitted_ > 0 && frames_.front()->done) {
    std::unique_ptr<Frame> first = std::move(frames_.front());
    frames_.pop_front();
    --submitted_;
    if (poisoned_.ok()) Acknowledge(*first);
    first->builder.Reset();
    first->closed = first->flush = first->unpromised = first->done = false;
    if (spare_frames_.size() < kSpareFrames) spare_frames_.push_back(std::move(first));
  }
  // Behind the acknowledged ops, so that what they append at once joins the next frame.
  SchedulePump();
  ArmPromise();
}

void Writer::Measure(const Frame& frame) {
  metrics_.gather.Observe(frame.submitted - frame.opened);
  metrics_.flush.Observe(last_activity_ - frame.submitted);
  metrics_.frame_bytes.Observe(static_cast<int64_t>(frame.size));
  metrics_.frame_requests.Observe(int64_t{frame.header.requests});
}

void Writer::Note(const Frame& frame) {
  options_.flush_ring->Add({.lsn = frame.header.lsn,
                            .epoch = frame.header.epoch,
                            .segment = frame.header.segment,
                            .submitted_wall = frame.header.submit_wall,
                            .opened = frame.opened,
                            .submitted = frame.submitted,
                            .completed = last_activity_,
                            .bytes = static_cast<uint32_t>(frame.size),
                            .body_bytes = frame.header.body_bytes,
                            .requests = frame.header.requests,
                            .records = frame.header.record_count,
                            .flags = frame.header.flags,
                            .in_flight = frame.in_flight,
                            .failed = !frame.status.ok()});
}

void Writer::Acknowledge(Frame& frame) {
  durable_ = frame.header.lsn;
  ++stats_.frames;
  if ((frame.header.flags & kFramePromiseOnly) != 0) ++stats_.promise_frames;
  stats_.bytes_written += frame.size;
  stats_.bytes_padding += frame.size - kFrameHeaderBytes - frame.header.body_bytes;
  stats_.queued_bytes -= frame.header.body_bytes;
  CompleteAll(frame, OkStatus());
  released_before_ = std::max(released_before_, frame.header.first_live);
  ReleaseSegments();
}

void Writer::CompleteAll(Frame& frame, const Status& status) {
  for (AppendOp* op = frame.first_op; op != nullptr;) {
    AppendOp* const next = op->next_waiting;
    if (status.ok()) {
      op->submitted_at = frame.submitted;
      op->durable_at = last_activity_;
    }
    Complete(*op, status);
    op = next;
  }
  frame.first_op = frame.last_op = nullptr;
}

void Writer::Complete(AppendOp& op, const Status& status) {
  op.next_waiting = nullptr;
  op.status = status;
  runtime_.scheduler().Push(op);
}

void Writer::ReleaseSegments() {
  if (segments_.empty()) return;
  while (Segment* segment = segments_.Find(position_.first_live)) {
    const Segment* next = segments_.Find(segment->seq + 1);
    if (next == nullptr || next->restated > durable_) break;
    if (segment->live > 0 || segment->pins > 0) break;
    if (segment->drained > durable_ && !Mutated(Mutation::kDrainedIgnored)) break;
    ++position_.first_live;
  }
  const SegmentSeq free_before =
      Mutated(Mutation::kReuseEarly) ? position_.first_live : released_before_;
  while (segments_.front().seq < free_before) {
    std::unique_ptr<Segment> freed = segments_.PopFront();
    ++stats_.segments_recycled;
    freed->file.recycled = true;
    pool_.GiveBack(std::move(freed->file));
  }
}

void Writer::Poison(const Status& why) {
  poisoned_ = why;
  runtime_.log().Error("the log stopped at a failed write",
                       {{"error", std::string(why.message())}});
  for (const std::unique_ptr<Frame>& frame : frames_) CompleteAll(*frame, why);
  frames_.erase(frames_.begin() + static_cast<std::ptrdiff_t>(submitted_), frames_.end());
  if (promise_timer_.armed()) runtime_.Cancel(promise_timer_);
}

// --- idling

void Writer::ArmPromise() {
  if (!unpromised_ || submitted_ > 0 || !poisoned_.ok() || !refused_.ok()) return;
  if (!promise_timer_.armed())
    runtime_.Arm(promise_timer_, last_activity_ + options_.promise_after);
}

void Writer::OnPromiseTimer() {
  if (!unpromised_ || !poisoned_.ok() || submitted_ > 0)
    return;  // armed again at the next completion
  if (runtime_.Now() < last_activity_ + options_.promise_after) {
    ArmPromise();
    return;
  }
  PutPromise();
}

// Without it the last acknowledged frame could not be told from a torn one.
void Writer::PutPromise() {
  if (gathering() == nullptr) {
    const Status opened = OpenFrame();
    if (!opened.ok()) return;  // no segment: the promise comes with the next frame
  }
  gathering()->flush = true;
  SchedulePump();
}

io::Task<void> Writer::WaitSettled() {
  while (submitted_ > 0 || pump_.queued) {
    if (submitted_ == 0) {
      co_await io::Yield{};
    } else {
      co_await settled_.Wait();
    }
  }
}

io::Task<void> Writer::Settle() {
  flush_all_ = true;
  SchedulePump();
  co_await WaitSettled();
  flush_all_ = false;
}

io::Task<void> Writer::Drain() {
  co_await Settle();
  if (unpromised_ && poisoned_.ok()) PutPromise();
  co_await Settle();
  if (promise_timer_.armed()) runtime_.Cancel(promise_timer_);
}

void Writer::FillStats(LogStats& stats) const {
  stats = stats_;
  stats.segments_live = segments_.size();
  stats.segments_prepared = pool_.prepared();
  stats.preparation_failures = pool_.failures();
  stats.preparation_error = std::string(pool_.failure().message());
  stats.durable = durable_;
  stats.oldest_unfinished = submitted_ > 0 ? frames_.front()->submitted : MonoTime::Max();
}

}  // namespace metastore::wal
