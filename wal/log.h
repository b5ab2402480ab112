// Log: the write-ahead log of one state core. Records of all groups of the core share one stream of
// frames, and one durable write (a frame) serves everything that waited for it.
//
// Owner: the node, one Log a state core; used on that core only. Format: wal/format.h. Life of the
// files, recovery and what a failed write means: wal/README.md.
//
// Invariants
//  1. An op completes with OK only when its records and everything appended before them by its
//  group are durable.
//  2. Ops complete in the order of their frames; ops of one group in the order of their Append.
//  3. The records of one call stay in their order; a crash before the op completes may leave a
//  prefix of them, since a frame can end between any two.
//  4. After the first failed write nothing more is written, and every waiting op completes with
//  that error.
//  5. An idle log writes nothing: 50 ms after the last frame one more may follow, which promises
//  it, then none.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/base/limits.h"
#include "io/file.h"
#include "io/runtime.h"
#include "wal/flush_ring.h"
#include "wal/log_metrics.h"
#include "wal/record.h"

namespace metastore::wal {

struct LogOptions {
  std::string directory;  // made if missing; nothing else may live in it
  ClusterId cluster;      // whose log this is; checked against every segment
  NodeId member;
  io::DurableMethod method = io::DurableMethod::kDsync;
  uint32_t depth = 1;  // frames in flight, 1..limits::kWalDepthMax
  // Whole blocks, at most 1 GiB; smaller ones than the default are for tests.
  uint64_t segment_bytes = limits::kSegmentBytes;
  // Whole blocks, at least 64 KiB, at most a quarter of a segment.
  uint64_t frame_bytes_max = limits::kFrameBytesMax;
  // Segments kept ready, at least 2: below 2 the log stops accepting. Two more than that, so that a
  // busy log whose next segments are still being filled goes on accepting.
  uint32_t prepared_target = 4;
  // Space that the log leaves to others (room for one snapshot) when it makes segments.
  uint64_t free_bytes_reserve = 0;
  // Logs with more segments move the last entries of idle groups out of their oldest segment, so
  // that it can be freed.
  uint32_t rewrite_after_segments = 8;
  // Idle time after which the last frame is promised.
  Duration promise_after = Milliseconds(50);
  // The boot count is at least this: of a log that takes the place of one that was lost.
  Epoch epoch_min;
  // Open checks every byte of the log instead of trusting the footers of sealed segments.
  bool verify_sealed = false;
  // Where each durable write is noted; outlives the log. Null: nowhere.
  FlushRing* flush_ring = nullptr;

  // kInvalidArgument listing every problem, separated by "; ".
  Status Validate() const;
};

// One Append under way, owned by the caller, who keeps it in place until it runs. The base is its
// completion: the caller sets run, ready_class and name; the log pushes it on the scheduler, never
// inside Append.
struct AppendOp : io::ReadyNode {
  // False: not flushed for its own sake. The op completes once everything that its group appended
  // before with must_sync is durable; its records ride in the next frame that is written for
  // another reason.
  bool must_sync = true;
  uint32_t requests = 0;  // client requests served, for the trace in the frame

  // Results. Errors: those of Log's first failed write (io/file.h); kCancelled when the runtime
  // stops.
  Status status;
  Lsn lsn;  // of the frame that holds the last record
  // When the last frame waited for was submitted, and when it and all before it were durable. Unset
  // where the op waited for none.
  MonoTime submitted_at;
  MonoTime durable_at;

  AppendOp* next_waiting = nullptr;  // the log's own
};

struct LogStats {
  uint64_t frames = 0;          // durable writes completed, of which
  uint64_t promise_frames = 0;  //   written only to promise the one before
  uint64_t bytes_written = 0;   // in frames, padding, headers and footers included
  uint64_t bytes_padding = 0;
  uint64_t records = 0;
  uint64_t record_bytes = 0;  // payload of the records
  uint64_t rewritten_records = 0;
  uint64_t segments_sealed = 0;
  uint64_t segments_recycled = 0;  // went back to the pool
  uint64_t segments_live = 0;
  uint64_t segments_prepared = 0;
  uint64_t preparation_failures = 0;  // no space, most likely
  uint64_t queued_bytes = 0;          // appended and not yet durable
  Lsn durable;                        // last durable frame
  MonoTime oldest_unfinished;     // when the oldest frame in flight was submitted; Max when none is
  std::string preparation_error;  // the last one; empty once a preparation succeeded again
};

class Log final {
 public:
  // Opens the log in options.directory, or makes an empty one, and recovers: a torn tail is cut and
  // zeroed, a new epoch begins, and the boot count is durable. The runtime outlives the log.
  // Errors: kInvalidArgument     the options
  //         kFailedPrecondition  a segment belongs to another cluster or member ("foreign"; names
  //         file and both ids) kDataLoss            the log is damaged below what it promises, or
  //         its tail cannot be read: names file and
  //                              offset and says whether a hard state (a vote) may be hidden
  //         kResourceExhausted   no room for the first segment
  //         else                 as io::Runtime's file functions
  static io::Task<StatusOr<std::unique_ptr<Log>>> Open(io::Runtime& runtime, LogOptions options);

  // CHECKs that Close() has completed.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // --- writing

  // Appends `records` of `group` after everything appended before, copied before return. Visible at
  // once in the index functions below; durable when `op` completes.
  //   records   1 or more, of the kinds kEntry, kHardState, kSnapshotMeta, kTruncate, kPurge,
  //   kHealed. CHECKed: an
  //             entry's index is above the purge point and at most one above the last; kTruncate
  //             and kPurge name entries that exist or the ends of the log; kPurge's term is that
  //             entry's.
  // Errors (then nothing was appended and op will not run):
  //   kInvalidArgument     a record larger than record_bytes_max()
  //   kResourceExhausted   the window (limits::kWalQueuedBytesMax) is full: again after a
  //   completion; or no prepared
  //                        segment is left: again when accepting(). The last one is kept for
  //                        appends without entries, so that a purge can free space
  //   kFailedPrecondition  the log is poisoned (names the failed write) or closed
  Status Append(GroupId group, std::span<const Record> records, AppendOp& op);

  // Drops the group's entries up to and including `through` by a kPurge record; segments that no
  // group needs go back to the pool once it is durable. No effect on an index below the purge point
  // (op completes as an empty no-sync one). Errors: as Append; kOutOfRange  `through` is above the
  // last entry
  Status Purge(GroupId group, LogIndex through, AppendOp& op);

  // Largest Record::bytes that Append takes.
  size_t record_bytes_max() const;

  // False while fewer than two prepared segments are left (no space), or when poisoned: new client
  // writes should be refused (ResourceExhausted) until it turns true again, which it does by
  // itself.
  bool accepting() const;
  // OK, or the failed write that stopped the log.
  const Status& poisoned() const;

  // --- the index: what was appended, in memory, without I/O

  // Groups that have records, ascending.
  std::vector<GroupId> Groups() const;
  // Null for a group without records. Valid until the next call that is not const.
  const GroupState* Find(GroupId group) const;
  LogIndex FirstIndex(GroupId group) const;  // purge point + 1; 1 for an unknown group
  LogIndex LastIndex(GroupId group) const;   // FirstIndex - 1 when empty
  // Of the purge point and every entry after it; nothing outside.
  StatusOr<Term> TermAt(GroupId group, LogIndex index) const;

  // --- reading back

  // Entries [begin, end) of `group` from disk, as many as fit in `bytes_max` (payload) but at least
  // one. Each read frame is verified. There is no cache of entries here: raft keeps the recent ones
  // in memory. Errors: kOutOfRange  empty range, below FirstIndex (purged, possibly while reading)
  // or above LastIndex
  //         kUnavailable the first one is not durable yet
  //         kDataLoss    damaged or unreadable: names file and offset
  io::Task<StatusOr<std::vector<ReadRecord>>> ReadEntries(GroupId group, LogIndex begin,
                                                          LogIndex end, size_t bytes_max);

  // --- the log as a whole

  // Makes everything appended durable and promised, ends the background work and closes the files.
  // No Append may follow; reads under way are waited for. Returns the poison, if any. Must be
  // called, also on a poisoned log.
  io::Task<Status> Close();

  bool created() const;  // Open found no log here
  uint64_t boot_count()
      const;            // 1 at the first open, one more at each; durable before Open completes
  Epoch epoch() const;  // the same number: incarnation of the tail
  LogStats stats() const;
  const LogMetrics& metrics() const;

  struct Parts;  // wal/parts.h
  explicit Log(std::unique_ptr<Parts> parts);

 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace metastore::wal
