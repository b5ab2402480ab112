// The trace of a process's disk: what it asked of its files and when it learned of the result, in
// the one order in which both happened. Pure: bytes in and out; io/uring/io_recorder.h writes one,
// `walinspect crashtest` makes disks of it.
//
// Format, version 1, little-endian: a head of kIoTraceHeadBytes (magic, version), then records:
//   u32 bytes of all of it | u8 kind | u8 op | u8 mode | u8 code | u64 operation | u64 time_ns |
//   u64 file | u64 offset | u64 size | u32 bytes of name | u32 bytes of data | name | data |
//   u64 hash of what is before it, seeded by the record's place in the file
//
// Invariants
//  1. A kBegin stands before the operation can have any effect; a kEnd is written once its result
//     is known and before anybody acts on it. So a crash at any place between two records leaves
//     what is durable of the operations that ended before, and any part of those that only began.
//  2. Operations are numbered from 1 and end at most once. Reads and locks are not recorded.
//  3. A record cut off at the end is no damage: the process was killed while it wrote it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/status.h"
#include "io/base/time.h"

namespace metastore::io {

enum class TraceKind : uint8_t {
  kBegin = 1,
  kEnd = 2,   // of the operation with that number: code, size of what was transferred
  kNote = 3,  // of who assembles traces: no runtime writes it
};

enum class TraceOp : uint8_t {
  kNone = 0,
  kOpen = 1,          // name, mode; `file` is what later operations call it
  kWrite = 2,         // file, offset, size, data
  kDurableWrite = 3,  // likewise
  kSync = 4,          // file
  kAllocate = 5,      // file, size: the new size, if that is more
  kTruncate = 6,      // file, size
  kRemove = 7,        // name
  kMakeDirectories = 8,
  kSyncDirectory = 9,
};

struct TraceRecord {
  TraceKind kind = TraceKind::kNote;
  TraceOp op = TraceOp::kNone;
  uint8_t mode = 0;                   // kOpen: io::OpenMode
  StatusCode code = StatusCode::kOk;  // kEnd
  uint64_t operation = 0;
  MonoTime time;
  uint64_t file = 0;
  uint64_t offset = 0;  // bytes
  uint64_t size = 0;    // bytes; of a write: of what is written, also where `data` is empty
  std::string_view name;
  std::string_view data;  // of a write: empty where all of it is zero

  bool operator==(const TraceRecord&) const = default;
};

inline constexpr size_t kIoTraceHeadBytes = 16;
// One record: the largest write, a name and the fields.
inline constexpr size_t kIoTraceRecordBytesMax = size_t{16} << 20;

std::string IoTraceHead();

// Appends `record`, to stand at byte `place` of the file.
void AppendTraceRecord(std::string& to, const TraceRecord& record, uint64_t place);

// Walks a whole trace in memory; the records' views point into it.
class IoTraceReader final {
 public:
  explicit IoTraceReader(std::string_view trace);

  // False at the end, or where status() says what is wrong.
  bool Next(TraceRecord& record);
  // kDataLoss: no trace, another version, or a record that is damaged; names the offset.
  const Status& status() const { return status_; }
  // The last record was cut off, and is left out.
  bool cut_off() const { return cut_off_; }

 private:
  bool Stop(std::string_view what);

  std::string_view trace_;
  size_t at_ = kIoTraceHeadBytes;
  Status status_;
  bool cut_off_ = false;
};

}  // namespace metastore::io
