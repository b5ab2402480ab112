// Rewriter: frees the oldest segment when only a few entries of idle groups pin it, by appending
// those entries again (kRewrite). A busy group's entries are left to its purge.
//
// Owner: Log. One task at most, in the background class, a bounded piece at a time, each made
// durable before the next.
#pragma once

#include <span>

#include "io/gate.h"
#include "wal/group_log.h"
#include "wal/segment.h"
#include "wal/writer.h"

namespace metastore::wal {

class Rewriter final {
 public:
  struct Parts {
    io::Runtime& runtime;
    const LogOptions& options;
    SegmentTable& segments;
    GroupTable& groups;
    Writer& writer;
    io::Gate& gate;
  };
  explicit Rewriter(Parts parts) : parts_(parts) {}

  // Starts a rewrite if the oldest segment deserves one and none runs. Cheap; called after appends.
  void Consider();
  // No further one starts, and a running one ends soon.
  void Stop() { stopping_ = true; }

 private:
  bool Deserves(const Segment& segment) const;
  io::Task<void> Run();
  io::Task<Status> RewriteFrame(Segment& segment, uint32_t ordinal);
  io::Task<Status> AppendPiece(std::span<const LoggedRecord> records, const Segment& from,
                               uint32_t ordinal);

  Parts parts_;
  bool running_ = false;
  bool stopping_ = false;
  SegmentSeq failed_;  // not tried again until another is the oldest
};

}  // namespace metastore::wal
