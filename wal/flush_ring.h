// FlushRing: the last 65,536 durable writes of a log, in memory that `walinspect live` reads while
// the node runs. A flight recorder: nothing depends on it, and it ends with the process.
//
// One Add a durable write, some tens of nanoseconds, on the log's core. The log's frames tell the
// same of the past, but for the last flushes of a boot, failed ones, and times below a microsecond.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "io/base/ids.h"
#include "io/base/status.h"
#include "io/base/time.h"
#include "io/record_ring.h"
#include "io/shared_memory.h"
#include "wal/format.h"

namespace metastore::wal {

// One completed durable write.
struct FlushRecord {
  Lsn lsn;
  Epoch epoch;
  SegmentSeq segment;
  WallTime submitted_wall;
  MonoTime opened;          // first record in the frame
  MonoTime submitted;       // handed to the runtime
  MonoTime completed;       // the log has heard of it
  uint32_t bytes = 0;       // written: the frame, and a segment's header or footer with it
  uint32_t body_bytes = 0;  // of records
  uint32_t requests = 0;    // of clients
  uint32_t records = 0;
  uint32_t flags = 0;      // FrameFlag
  uint16_t in_flight = 0;  // frames, this one included, once it was submitted
  bool failed = false;     // the write's status was an error: the log is poisoned

  bool operator==(const FlushRecord&) const = default;
};

class FlushRing final {
 public:
  static constexpr char kName[] = "metastore-flushes";  // of the shared memory
  static constexpr size_t kRecordWords = 10;
  // "MSFLUSH" and the version of what a record's words are.
  static constexpr io::RecordRingShape kShape = {
      .format = 0x4d53464c55534801, .record_words = kRecordWords, .slots = 1 << 16};
  static constexpr size_t kBytes = kShape.words() * sizeof(uint64_t);

  // `memory` has kBytes of zeros.
  explicit FlushRing(std::unique_ptr<io::SharedMemory> memory)
      : memory_(std::move(memory)), ring_(memory_->words(), kShape) {}

  void Add(const FlushRecord& flush);

 private:
  std::unique_ptr<io::SharedMemory> memory_;
  io::RecordRingWriter ring_;
};

// The other side, in another process.
class FlushRingReader final {
 public:
  // Errors: as io::RecordRingReader::Open
  static StatusOr<FlushRingReader> Open(std::span<uint64_t> memory);

  uint64_t written() const { return ring_.written(); }
  uint64_t oldest() const { return ring_.oldest(); }
  // Nothing where it is gone already, or is being overwritten.
  std::optional<FlushRecord> Read(uint64_t number) const;

 private:
  explicit FlushRingReader(const io::RecordRingReader& ring) : ring_(ring) {}
  io::RecordRingReader ring_;
};

}  // namespace metastore::wal
