// SnapshotStore: the snapshot files of one group in one directory, written and read with direct
// I/O (engine/snapshot_file.h has their form).
//
// Owned by the node pump of the group, on its state core. The directory belongs to it alone.
//
// No file is ever renamed or overwritten. Own files are written from this group's engine; received
// ones come from other members (snapshot_receiver.h) and are pending until the group's log begins
// after them. The two newest files that are not pending are kept, and none older than a received
// one of these: the log no longer begins before it.
//
// Errors of reading the disk pass through with the path in their message (io/file.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/snapshot_file.h"
#include "engine/snapshot_reader.h"
#include "engine/snapshot_receiver.h"
#include "io/runtime.h"
#include "io/signal.h"

namespace metastore::engine {

class SnapshotStore final {
 public:
  static constexpr size_t kKept = 2;

  // `runtime` outlives it. Touches nothing yet.
  SnapshotStore(io::Runtime& runtime, std::string directory);
  // CHECKs that no receiver of it is left.
  ~SnapshotStore();

  // Makes the directory and looks what is there. Call once, first. Unfinished files go once a newer
  // valid one is there that is not pending; files of other names are left alone.
  io::Task<Status> Open();

  // --- own snapshots -----------------------------------------------------------------------------
  // Writes the whole of `source` to a new file, durable when this completes, then removes what need
  // not be kept. One at a time (CHECKed). Overwrites an unfinished file of the same index.
  // Errors: kResourceExhausted  no space (the unfinished file is removed)
  //         kAborted            from the source
  //         kAlreadyExists      a valid snapshot of this index is there
  //         kUnavailable        one of this index is being received
  // After an error the file is gone or unfinished, and the earlier snapshots are as they were.
  io::Task<StatusOr<SnapshotFile>> Write(SnapshotSource& source);

  // Restores `engine` from the newest readable snapshot and returns its meta; nothing if there is
  // none and the log begins at 1. A received file at or above log_first was never installed, since
  // the log would begin after it: it is passed over, and removed once another was loaded or none
  // is needed. Own files may be of any index, above the log's end too: the caller judges.
  //   log_first  the first index the log can replay; every snapshot at or above log_first - 1 will
  //   do
  // Errors: kDataLoss       no snapshot is readable that the log continues; names file and offset
  // of the newest one's
  //                         damage
  //         kUnimplemented  the newest was written by a newer version: never passed over
  //         kInternal       a file's trailer and stream are of different snapshots
  io::Task<StatusOr<std::optional<SnapshotMeta>>> Load(Engine& engine, LogIndex log_first);

  // --- for other members -------------------------------------------------------------------------
  // The file of `index`, for sending.
  // Errors: kNotFound  there is none, or no longer
  io::Task<StatusOr<std::unique_ptr<SnapshotReader>>> OpenReader(LogIndex index);
  // Reads the whole file of `index` and sets it aside if it is damaged: it counts as unfinished
  // from then on.
  // Errors: kNotFound  there is none
  //         kDataLoss  it is damaged; names file and offset
  //         kCancelled by `stop`
  io::Task<Status> Verify(LogIndex index, io::StopToken stop);

  // --- from other members ------------------------------------------------------------------------
  // Begins a file with what another member's trailer says (`path` and `received` are ignored); its
  // space is taken at once. One receiver at a time (CHECKed); the store outlives it. A Write of
  // another index may go on. Unfinished files of older indexes are removed first.
  // Errors: kInvalidArgument    no snapshot can have these facts
  //         kAlreadyExists      one of this index or above is here and not pending: nothing need be
  //                             received
  //         kUnavailable        one is pending, or this index is being written: again later
  //         kResourceExhausted  no space
  io::Task<StatusOr<std::unique_ptr<SnapshotReceiver>>> StartReceive(SnapshotFile facts);
  // Restores `engine`, while the node runs, from the received file of `index`. The engine works on
  // with its own state until it is replaced as a whole, at the end.
  // Errors: kNotFound  there is none; else as Load, and then the state is what it was
  io::Task<StatusOr<SnapshotMeta>> LoadReceived(Engine& engine, LogIndex index);
  // The log begins after the received file of `index`, durably: it is pending no more. What is
  // older goes with the next file that is begun or written.
  void NoteInstalled(LogIndex index);
  // The pending file of `index`, if there is one, will not be installed: raft did not take it.
  // Never once it did. Until a pending file is installed or discarded no other is received.
  void Discard(LogIndex index);

  // The valid files known, newest first, a pending one among them; one that was found damaged is
  // no longer.
  const std::vector<SnapshotFile>& files() const { return files_; }
  bool IsPending(const SnapshotFile& file) const {
    return file.received && file.applied_index > installed_;
  }

 private:
  friend class SnapshotReceiver;
  // Unfinished, damaged or discarded.
  struct Unfinished {
    std::string path;
    Status damage;
  };

  std::string PathOf(LogIndex index) const;
  const SnapshotFile* Find(LogIndex index) const;
  const SnapshotFile* NewestSettled() const;
  io::Task<StatusOr<SnapshotFile>> ReadTrailer(std::string path);
  io::Task<StatusOr<std::unique_ptr<io::File>>> CreateFile(std::string path);
  io::Task<Status> WriteFile(SnapshotSource& source, SnapshotFile& into);
  io::Task<StatusOr<SnapshotMeta>> LoadFile(Engine& engine, SnapshotFile from);
  io::Task<Status> ReadWhole(SnapshotFile from, SnapshotSink* sink, io::StopToken stop);
  Status JudgeOffer(const SnapshotFile& facts) const;
  io::Task<StatusOr<std::unique_ptr<io::File>>> CreateReceived(const SnapshotFile& facts);
  void AddFile(SnapshotFile file);
  void SetAside(LogIndex index, Status damage);
  void AddUnfinished(std::string path, Status damage);
  io::Task<Status> RemoveOld(LogIndex pending_end);
  void TakeUnfinished(LogIndex end, std::vector<std::string>& paths);
  io::Task<Status> RemoveFiles(std::vector<std::string> paths);
  Status NothingToLoad(LogIndex log_first) const;

  io::Runtime& runtime_;
  std::string directory_;
  std::vector<SnapshotFile> files_;
  std::vector<Unfinished> unfinished_;  // by path
  LogIndex installed_;                  // received files up to here are not pending
  std::optional<LogIndex> writing_;
  std::optional<LogIndex> receiving_;
  size_t removing_ = 0;  // RemoveFiles under way
  io::Signal removed_;
};

}  // namespace metastore::engine
