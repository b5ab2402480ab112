// FlushSplit: where the time of a durable write went, from the kernel's trace. Pure.
//
// The log says when it submitted a flush and when it heard of its end (wal/flush_ring.h); in
// between, the trace is swept, and every moment belongs to exactly one stage, so that the stages of
// a flush add up to its time:
//  - submit: until io_uring takes the write: checksum, footer, the system call;
//  - file system: the kernel is at work above the block layer;
//  - block queue: a piece of I/O has entered the block layer, none of the flush is with the device;
//  - device write: the device has data of the frame;
//  - metadata write: the device has what the file system adds to make the data durable;
//  - device flush: the device empties its cache;
//  - kernel worker: the device is done, and a kernel thread that has to go on does not run yet;
//    where a flush is a write and then a sync, also what lies between them;
//  - wake-up: the kernel is done, and the log has not heard of it: the node waits for a processor,
//    or is busy with something else.
// A flush's own I/O is known by its size, directly behind the submission by the node's thread. What
// kernel threads add is known by the log's files, else by the thread's kind. With two flushes at
// once (depth 2) the second part may be taken for the other flush's.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "tools/walinspect/histogram.h"
#include "tools/walinspect/trace_text.h"
#include "wal/flush_ring.h"

namespace metastore::walinspect {

enum class FlushStage : uint8_t {
  kSubmit,
  kFileSystem,
  kBlockQueue,
  kDeviceWrite,
  kMetadataWrite,
  kDeviceFlush,
  kWorker,
  kWakeUp,
};
inline constexpr size_t kFlushStages = 8;
std::string_view StageName(FlushStage stage);  // "file system"
std::string_view StageKey(FlushStage stage);   // "file_system"

struct SplitFlush {
  wal::FlushRecord flush;
  std::array<int64_t, kFlushStages> stage_ns{};
  int64_t ns(FlushStage stage) const { return stage_ns[static_cast<size_t>(stage)]; }
};

// Whose flushes they are.
struct SplitSubject {
  int32_t thread = 0;         // of the log
  std::set<uint64_t> inodes;  // of its files
};

// Splits one flush by the trace's events, in order of time. Nothing: its I/O is not in the trace,
// or not all of it.
std::optional<SplitFlush> SplitOf(std::span<const TraceEvent> events, const wal::FlushRecord& flush,
                                  const SplitSubject& subject);

// Flushes whose whole time lies in a stretch that was traced, split and counted.
class SplitProfile final {
 public:
  static constexpr size_t kSlowest = 4;

  void Add(const SplitFlush& split);
  void AddUnsplit() { ++unsplit_; }
  void AddLost(uint64_t events) { lost_events_ += events; }

  uint64_t count() const { return total_ns_.count(); }
  uint64_t unsplit() const { return unsplit_; }
  uint64_t lost_events() const { return lost_events_; }
  const Histogram& stage_ns(FlushStage stage) const { return stages_[static_cast<size_t>(stage)]; }
  const Histogram& gather_ns() const { return gather_ns_; }
  const Histogram& total_ns() const { return total_ns_; }
  // Of all time between submission and durable.
  double Share(FlushStage stage) const;
  // Slowest first.
  const std::vector<SplitFlush>& slowest() const { return slowest_; }

 private:
  std::array<Histogram, kFlushStages> stages_;
  Histogram gather_ns_;
  Histogram total_ns_;
  std::vector<SplitFlush> slowest_;
  uint64_t unsplit_ = 0;
  uint64_t lost_events_ = 0;
};

}  // namespace metastore::walinspect
