// Lines of the kernel's trace (tracefs, trace_pipe) as events. Pure; takes any bytes.
//
// What is read of a line: the task, its thread, the time, the event's name, and of the event's text
// what a durable write's way through the kernel needs. The texts are those of kernels 6.1 to 6.18;
// a line of another form is no event.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace metastore::walinspect {

enum class TraceKind : uint8_t {
  kSubmit,     // io_uring took a write from the submission queue
  kBioQueue,   // a piece of I/O enters the block layer
  kRemap,      // it goes on to another device: device mapper, partition
  kIssue,      // a request goes to the device
  kComplete,   // the device is done with it, or with a part of it
  kSyncBegin,  // the file system begins to make a file durable
  kSyncEnd,
  kWriteEnd,  // the file system is done with a direct write
  kLost,      // the kernel dropped `sectors` events of a processor here
};

struct TraceEvent {
  TraceKind kind = TraceKind::kLost;
  int64_t at_ns = 0;  // on the trace's clock, mostly whole microseconds
  size_t place = 0;   // in the text: the order of those of one time
  int32_t thread = 0;
  std::string task;
  uint64_t device = 0;  // major << 32 | minor
  // kBioQueue to kComplete.
  bool write = false;
  bool flush = false;     // carries a cache flush, or is one
  bool metadata = false;  // the file system says so
  uint64_t sector = 0;    // 512 bytes each
  uint64_t sectors = 0;
  // kRemap: where it came from.
  uint64_t from_device = 0;
  uint64_t from_sector = 0;
  // kSyncBegin to kWriteEnd.
  uint64_t inode = 0;
  bool durable = false;  // kWriteEnd: the write was to be so, and is
};

// Nothing: not an event that counts here.
std::optional<TraceEvent> ParseTraceLine(std::string_view line);

// All of `text`, in order of time; what has no time (kLost) first.
std::vector<TraceEvent> ParseTrace(std::string_view text);

}  // namespace metastore::walinspect
