// LogScan: reads the log of a directory in order and judges how it ends. Recovery replays through
// it, walinspect shows and verifies through it; it writes nothing, and may look at a directory that
// a running node writes to.
//
// The end of the log. Where the next frame should be and is not intact, one question decides: does
// any intact frame header of the same stream, at or after that place, promise that LSN
// (FrameHeader::durable), or lie further ahead than frames in flight can? Then something
// acknowledged is damaged: kCorrupt. Otherwise the frame was never acknowledged: a torn tail.
// Headers are collected before the walk, so a writer that goes on meanwhile cannot make a tail look
// damaged.
//
// Which segments are the log: all from the first live one, which is the highest that any of the
// last frames names, up to the highest sequence number.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/runtime.h"
#include "wal/reader.h"
#include "wal/segment.h"

namespace metastore::wal {

enum class Verdict : uint8_t {
  kClean,     // every frame is intact, and nothing follows the last one
  kTornTail,  // what follows the last intact frame was never acknowledged
  kCorrupt,   // something acknowledged is damaged, missing or unreadable
  kForeign,   // a segment belongs to another cluster, member or log
};
std::string_view VerdictText(Verdict verdict);  // "CLEAN", "TORN-TAIL", ...

struct Finding {
  Verdict verdict = Verdict::kClean;
  std::string file;  // path; empty when clean
  uint64_t offset = 0;
  Lsn lsn;  // of the frame concerned; 0: none in particular
  std::string detail;
  bool may_hide_hard_state = false;  // kCorrupt: what is lost may hold a vote
};

struct LogIdentity {
  ClusterId cluster;
  NodeId member;
  bool operator==(const LogIdentity&) const = default;
};

enum class FileKind : uint8_t {
  kLive,        // a segment of the log
  kFree,        // prepared, or no longer live: ready to be written
  kUnfinished,  // a preparation that was interrupted
  kDamaged,     // its header is neither intact nor empty
};

struct ScannedFile {
  uint64_t number = 0;
  std::string path;
  std::unique_ptr<io::File> file;
  std::unique_ptr<FileWindow> window;
  FileKind kind = FileKind::kUnfinished;
  bool has_header = false;
  SegmentHeader header;
};

// Gets what the walk finds, in log order. A status other than OK ends the walk: kDataLoss becomes a
// finding.
class LogVisitor {
 public:
  virtual ~LogVisitor() = default;
  virtual Status OnSegment(const ScannedFile& file) = 0;
  virtual Status OnFrame(const ScannedFile& file, const FoundFrame& frame) = 0;
  // Instead of the frames of a sealed segment, with ScanOptions::use_footers.
  virtual Status OnFooter(const ScannedFile& file, const Footer& footer) = 0;
};

struct ScanOptions {
  std::string directory;
  std::optional<LogIdentity> identity;  // unset: of the first segment found
  io::OpenMode mode = io::OpenMode::kRead;
  bool use_footers = false;
};

// Where the log ends.
struct LogTail {
  size_t file = 0;      // of files(), the last segment with a frame
  uint64_t offset = 0;  // after its last intact frame
  ChainPosition position;
  bool sealed = false;
  std::vector<size_t> beyond;  // files that hold traces of frames after the tail
};

class LogScan final {
 public:
  LogScan(io::Runtime& runtime, ScanOptions options);

  // Opens every file of the directory with a segment's name. Errors: as io::Runtime's.
  io::Task<Status> OpenFiles();
  // Reads the headers and finds the live segments; finding() may be set then. Errors: kCancelled.
  io::Task<Status> ReadHeaders();
  // Walks the live segments, unless finding() already says that they are damaged or foreign.
  // Errors: kCancelled; what the visitor returns but kDataLoss.
  io::Task<Status> Walk(LogVisitor& visitor);

  const Finding& finding() const { return finding_; }
  std::vector<ScannedFile>& files() { return files_; }
  // Live segments in order, as places in files(); empty: no log here.
  const std::vector<size_t>& live() const { return live_; }
  const std::optional<LogTail>& tail() const { return tail_; }
  uint64_t stream() const { return stream_; }
  SegmentSeq first_live() const { return first_live_; }
  // The same by the frames that were walked alone: never above it. What lies between them is free
  // by the word of a frame that is torn, and so gone with the next cut.
  SegmentSeq accepted_first_live() const { return accepted_first_live_; }
  Epoch epoch_max() const { return epoch_max_; }

 private:
  // What the judgement needs of a frame's header.
  struct Promise {
    Epoch epoch;
    Lsn lsn;
    Lsn durable;
  };
  struct CollectedFrames {
    size_t file = 0;
    std::vector<Promise> promises;
  };

  io::Task<Status> ReadHeader(ScannedFile& file);
  bool CheckIdentity(const ScannedFile& file);
  bool OrderSegments();
  io::Task<Status> FindFirstLive();
  bool PickLive();
  io::Task<Status> JudgeEmpty();
  bool FooterCounts(size_t place, Lsn last_lsn) const;
  io::Task<StatusOr<bool>> WalkFooter(size_t place, LogVisitor& visitor);
  io::Task<StatusOr<bool>> WalkFrames(size_t place, LogVisitor& visitor);
  io::Task<Status> JudgeTail(size_t place, SegmentScan& scan);
  io::Task<Status> CollectBeyond(size_t place, SegmentScan& scan);
  io::Task<StatusOr<bool>> TailLeftovers(size_t place, SegmentScan& scan);
  io::Task<Status> Collect(size_t file, SegmentSeq segment, uint64_t from);
  bool Promised(const ChainPosition& position) const;
  bool JudgePromises(const ScannedFile& file, const SegmentScan& scan);
  bool VisitorFailed(const Status& status, const ScannedFile& file, uint64_t offset, Lsn lsn);
  void Report(Verdict verdict, const ScannedFile& file, uint64_t offset, std::string detail);

  io::Runtime& runtime_;
  ScanOptions options_;
  std::vector<ScannedFile> files_;
  std::vector<size_t> live_;
  std::vector<CollectedFrames> collected_;
  Finding finding_;
  uint64_t stream_ = 0;
  SegmentSeq first_live_;
  SegmentSeq accepted_first_live_;
  Epoch epoch_max_;
  ChainPosition position_;
  std::optional<LogTail> tail_;
};

// The footer that begins at `offset`. False: none that is intact. `bytes` holds what `footer`
// views.
io::Task<StatusOr<bool>> ReadFooter(FileWindow& window, uint64_t stream, uint64_t offset,
                                    Footer& footer, std::string& bytes);

}  // namespace metastore::wal
