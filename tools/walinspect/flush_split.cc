#include "tools/walinspect/flush_split.h"

#include <algorithm>

#include "io/base/check.h"

namespace metastore::walinspect {
namespace {

constexpr uint64_t kSectorBytes = 512;
// Pieces of one flush; the largest frame in the smallest requests stays far below.
constexpr size_t kRangesMax = 1024;

// A piece of the flush's I/O on a device, and how many of its sectors wait and are with it.
struct Range {
  uint64_t device = 0;
  uint64_t sector = 0;
  uint64_t sectors = 0;
  bool metadata = false;
  uint64_t queued = 0;
  uint64_t issued = 0;

  uint64_t Overlap(uint64_t on, uint64_t from, uint64_t count) const {
    if (on != device || from >= sector + sectors || sector >= from + count) return 0;
    return std::min(sector + sectors, from + count) - std::max(sector, from);
  }
};

// Threads that finish direct writes: work queues, and io_uring's own.
bool IsWorker(std::string_view task) {
  return task.starts_with("kworker/") || task.starts_with("iou-wrk-");
}

// Events of requests, which come in whatever thread they interrupt.
bool ByDevice(TraceKind kind) {
  return kind == TraceKind::kRemap || kind == TraceKind::kIssue || kind == TraceKind::kComplete;
}

// One flush's way, event by event.
class Sweep final {
 public:
  Sweep(const wal::FlushRecord& flush, const SplitSubject& subject)
      : subject_(subject),
        split_{.flush = flush},
        cursor_ns_(flush.submitted.ns),
        frame_sectors_left_(flush.bytes / kSectorBytes) {}

  void Begin(const TraceEvent& submit) { Pass(FlushStage::kSubmit, submit.at_ns); }

  // False: the kernel has said that it is done.
  bool Take(const TraceEvent& event) {
    if (!Concerns(event)) return true;
    Pass(StageBefore(event), event.at_ns);
    if (event.thread != subject_.thread && !ByDevice(event.kind)) worker_ = event.thread;
    Apply(event);
    return event.kind != TraceKind::kWriteEnd || !event.durable;
  }

  std::optional<SplitFlush> End() {
    if (flush_queued_ || flush_issued_ || Queued() || Issued(true) || !FrameWritten()) {
      return std::nullopt;
    }
    Pass(FlushStage::kWakeUp, split_.flush.completed.ns);
    return split_;
  }

 private:
  void Pass(FlushStage stage, int64_t until_ns) {
    const int64_t until = std::clamp(until_ns, cursor_ns_, split_.flush.completed.ns);
    split_.stage_ns[static_cast<size_t>(stage)] += until - cursor_ns_;
    cursor_ns_ = until;
  }

  bool Queued() const {
    return std::ranges::any_of(ranges_, [](const Range& range) { return range.queued > 0; });
  }
  bool Issued(bool metadata) const {
    return std::ranges::any_of(ranges_, [&](const Range& range) {
      return range.issued > 0 && range.metadata == metadata;
    });
  }
  bool Overlaps(uint64_t device, uint64_t sector, uint64_t sectors) const {
    return std::ranges::any_of(
        ranges_, [&](const Range& range) { return range.Overlap(device, sector, sectors) > 0; });
  }
  bool Known(uint64_t device) const { return std::ranges::count(devices_, device) > 0; }

  bool FromWorker(const TraceEvent& event) const {
    if (event.thread == subject_.thread || !FrameWritten()) return false;
    return worker_ ? *worker_ == event.thread : IsWorker(event.task);
  }
  // The frame itself is on the medium or in the device's cache.
  bool FrameWritten() const {
    return frame_sectors_left_ == 0 && std::ranges::all_of(ranges_, [](const Range& range) {
             return range.metadata || (range.queued == 0 && range.issued == 0);
           });
  }

  bool Concerns(const TraceEvent& event) const {
    switch (event.kind) {
      case TraceKind::kSubmit:
      case TraceKind::kLost:
        return false;
      case TraceKind::kBioQueue:
        return event.thread == subject_.thread ? frame_sectors_left_ > 0 : FromWorker(event);
      case TraceKind::kRemap:
        return Overlaps(event.from_device, event.from_sector, event.sectors) ||
               (flush_queued_ && event.flush && Known(event.from_device));
      case TraceKind::kIssue:
      case TraceKind::kComplete:
        if (event.flush && !event.write) {
          return Known(event.device) &&
                 (event.kind == TraceKind::kIssue ? flush_queued_ : flush_issued_);
        }
        return Overlaps(event.device, event.sector, event.sectors);
      case TraceKind::kSyncBegin:
      case TraceKind::kSyncEnd:
      case TraceKind::kWriteEnd:
        return subject_.inodes.contains(event.inode) && FrameWritten() &&
               (!worker_ || *worker_ == event.thread || event.thread == subject_.thread);
    }
    CHECK_UNREACHABLE();
  }

  FlushStage StageBefore(const TraceEvent& event) const {
    if (Issued(false)) return FlushStage::kDeviceWrite;
    if (Issued(true)) return FlushStage::kMetadataWrite;
    if (flush_issued_) return FlushStage::kDeviceFlush;
    if (flush_queued_ || Queued()) return FlushStage::kBlockQueue;
    if (!device_done_) return FlushStage::kFileSystem;
    return event.thread == subject_.thread ? FlushStage::kWakeUp : FlushStage::kWorker;
  }

  void Apply(const TraceEvent& event) {
    device_done_ = event.kind == TraceKind::kComplete || event.kind == TraceKind::kWriteEnd;
    switch (event.kind) {
      case TraceKind::kBioQueue:
        Queue(event);
        break;
      case TraceKind::kRemap:
        Remap(event);
        break;
      case TraceKind::kIssue:
        if (event.flush && !event.write) {
          flush_queued_ = false;
          flush_issued_ = true;
        }
        Move(event, &Range::queued, &Range::issued);
        break;
      case TraceKind::kComplete:
        if (event.flush && !event.write) flush_issued_ = false;
        Move(event, &Range::issued, nullptr);
        break;
      case TraceKind::kWriteEnd:
        worker_.reset();  // a sync of its own follows, in whatever thread
        break;
      case TraceKind::kSubmit:
      case TraceKind::kSyncBegin:
      case TraceKind::kSyncEnd:
      case TraceKind::kLost:
        break;
    }
  }

  void Queue(const TraceEvent& event) {
    if (event.flush) flush_queued_ = true;
    if (!Known(event.device)) devices_.push_back(event.device);
    // What the node's thread queues is the frame; kernel threads add what belongs to it.
    const bool frame = event.thread == subject_.thread;
    if (frame) frame_sectors_left_ -= std::min(frame_sectors_left_, event.sectors);
    if (event.sectors == 0 || ranges_.size() >= kRangesMax) return;
    ranges_.push_back({.device = event.device,
                       .sector = event.sector,
                       .sectors = event.sectors,
                       .metadata = !frame,
                       .queued = event.sectors});
  }

  void Remap(const TraceEvent& event) {
    if (!Known(event.device)) devices_.push_back(event.device);
    for (size_t i = 0; i < ranges_.size() && ranges_.size() < kRangesMax; ++i) {
      Range& range = ranges_[i];
      const uint64_t moved = range.Overlap(event.from_device, event.from_sector, event.sectors);
      if (moved == 0 || range.queued == 0) continue;
      range.queued -= std::min(range.queued, moved);
      ranges_.push_back({.device = event.device,
                         .sector = event.sector,
                         .sectors = event.sectors,
                         .metadata = range.metadata,
                         .queued = event.sectors});
      return;
    }
  }

  void Move(const TraceEvent& event, uint64_t Range::* from, uint64_t Range::* to) {
    for (Range& range : ranges_) {
      const uint64_t moved =
          std::min(range.Overlap(event.device, event.sector, event.sectors), range.*from);
      range.*from -= moved;
      if (to != nullptr) range.*to += moved;
    }
  }

  const SplitSubject& subject_;
  SplitFlush split_;
  int64_t cursor_ns_;
  uint64_t frame_sectors_left_;  // not queued yet
  std::vector<Range> ranges_;
  std::vector<uint64_t> devices_;
  std::optional<int32_t> worker_;
  bool flush_queued_ = false;
  bool flush_issued_ = false;
  bool device_done_ = false;  // the last event ended a step, and nobody took the next one up
};

// The submission behind which the node's thread queued exactly `bytes`, from `events` on.
std::span<const TraceEvent> OwnPart(std::span<const TraceEvent> events, uint64_t bytes,
                                    int32_t thread) {
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].kind != TraceKind::kSubmit || events[i].thread != thread) continue;
    uint64_t sectors = 0;
    for (size_t j = i + 1; j < events.size(); ++j) {
      if (events[j].thread != thread) continue;
      if (events[j].kind == TraceKind::kSubmit) break;
      if (events[j].kind == TraceKind::kBioQueue) sectors += events[j].sectors;
    }
    if (sectors * kSectorBytes == bytes) return events.subspan(i);
  }
  return {};
}

}  // namespace

std::string_view StageName(FlushStage stage) {
  switch (stage) {
    case FlushStage::kSubmit:
      return "submit";
    case FlushStage::kFileSystem:
      return "file system";
    case FlushStage::kBlockQueue:
      return "block queue";
    case FlushStage::kDeviceWrite:
      return "device write";
    case FlushStage::kMetadataWrite:
      return "metadata write";
    case FlushStage::kDeviceFlush:
      return "device flush";
    case FlushStage::kWorker:
      return "kernel worker";
    case FlushStage::kWakeUp:
      return "wake-up";
  }
  CHECK_UNREACHABLE();
}

std::string_view StageKey(FlushStage stage) {
  static constexpr std::array<std::string_view, kFlushStages> kKeys = {
      "submit",         "file_system",  "block_queue",   "device_write",
      "metadata_write", "device_flush", "kernel_worker", "wake_up"};
  return kKeys[static_cast<size_t>(stage)];
}

std::optional<SplitFlush> SplitOf(std::span<const TraceEvent> events, const wal::FlushRecord& flush,
                                  const SplitSubject& subject) {
  const auto first = std::ranges::lower_bound(events, flush.submitted.ns, {}, &TraceEvent::at_ns);
  const auto last =
      std::ranges::upper_bound(first, events.end(), flush.completed.ns, {}, &TraceEvent::at_ns);
  const std::span<const TraceEvent> own =
      OwnPart(std::span(first, last), flush.bytes, subject.thread);
  if (own.empty()) return std::nullopt;
  Sweep sweep(flush, subject);
  sweep.Begin(own.front());
  bool next_began = false;  // the thread's next submission: what it queues from here is not ours
  for (const TraceEvent& event : own.subspan(1)) {
    const bool by_node = event.thread == subject.thread;
    if (by_node && event.kind == TraceKind::kSubmit) next_began = true;
    if (next_began && by_node && event.kind == TraceKind::kBioQueue) continue;
    if (!sweep.Take(event)) break;
  }
  return sweep.End();
}

void SplitProfile::Add(const SplitFlush& split) {
  for (size_t i = 0; i < kFlushStages; ++i) {
    stages_[i].Add(static_cast<uint64_t>(split.stage_ns[i]));
  }
  const Duration gathered = split.flush.submitted - split.flush.opened;
  const Duration total = split.flush.completed - split.flush.submitted;
  gather_ns_.Add(static_cast<uint64_t>(std::max<int64_t>(gathered.ns, 0)));
  total_ns_.Add(static_cast<uint64_t>(std::max<int64_t>(total.ns, 0)));
  slowest_.push_back(split);
  std::ranges::sort(slowest_, std::greater<>(), [](const SplitFlush& slow) {
    return slow.flush.completed.ns - slow.flush.submitted.ns;
  });
  if (slowest_.size() > kSlowest) slowest_.pop_back();
}

double SplitProfile::Share(FlushStage stage) const {
  return total_ns_.sum() <= 0 ? 0 : stage_ns(stage).sum() / total_ns_.sum();
}

}  // namespace metastore::walinspect
