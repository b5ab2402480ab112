// SegmentPool: the segment files that wait to be written. A background task makes new ones
// (allocated, filled with zeros, durable, then marked by a header), so that a durable write never
// has to allocate; freed ones come back as they are, since their blocks are written already and
// their old frames fail every check.
//
// Spare files are kept as long as the log may want them back: between two purges it takes what the
// last purge freed, and making a file again costs as many bytes as writing it, while removing one
// makes the device discard it, which stops its writes for milliseconds. So files are removed only
// beyond what the log has used at once lately, or when space runs short.
//
// Owner: Log. Failing to make a segment (no space, most likely) is not an error of the log:
// prepared() stays low, the cause is in failure(), and the task tries again by itself every second.
#pragma once

#include <string>
#include <vector>

#include "io/gate.h"
#include "io/runtime.h"
#include "wal/segment.h"

namespace metastore::wal {

struct SegmentPoolOptions {
  std::string directory;
  ClusterId cluster;
  NodeId member;
  uint64_t segment_bytes = 0;
  size_t target = 0;
  uint64_t free_bytes_reserve = 0;
  uint64_t next_file_number = 1;
  size_t in_use = 0;  // segments of the log as it was opened
};

class SegmentPool final {
 public:
  SegmentPool(io::Runtime& runtime, SegmentPoolOptions options);

  // Starts the background task. Stop() must complete before the pool is destroyed.
  void Start();
  io::Task<void> Stop();

  // A spare file whose every block was written.
  void Add(SegmentFile file);
  // The same, of one that was taken, or in use from the start.
  void GiveBack(SegmentFile file);
  size_t prepared() const { return files_.size(); }
  // CHECKs that there is one.
  SegmentFile Take();
  // Completes when `count` are prepared (OK), an attempt fails (its status), or the pool stops
  // (kCancelled).
  io::Task<Status> WaitPrepared(size_t count);

  uint64_t failures() const { return failures_; }
  const Status& failure() const { return failure_; }  // of the last attempt

  // Spare files beyond the target that are kept in any case.
  static constexpr size_t kSurplusMax = 2;
  // For this long, twice at most, the log's greatest need is remembered.
  static constexpr Duration kNeedRemembered = Seconds(300);

 private:
  io::Task<void> Run();
  io::Task<StatusOr<SegmentFile>> Prepare();
  io::Task<Status> Fill(io::File& file, uint64_t number);
  io::Task<Status> FillZeros(io::File& file);
  void NoteNeed();
  bool Surplus(size_t kept) const { return prepared() > options_.target + kept; }
  io::Task<void> WaitForChange();
  bool SpaceShort(const io::FileSystemFacts& facts) const;
  io::Task<void> RemoveSurplus();
  std::string PathOf(uint64_t number) const;

  io::Runtime& runtime_;
  SegmentPoolOptions options_;
  io::Gate gate_;
  io::StopSource stop_;
  io::Signal changed_;
  std::vector<SegmentFile> files_;
  size_t in_use_ = 0;  // taken, and not given back
  struct {
    size_t now = 0;     // the most in use at once, since `since`
    size_t before = 0;  // and in the span before
    MonoTime since;
  } need_;
  Status failure_;
  uint64_t failures_ = 0;
};

}  // namespace metastore::wal
