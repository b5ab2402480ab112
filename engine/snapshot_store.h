// SnapshotStore: the snapshot files of one group in one directory, written and read with direct
// I/O.
//
// Owned by the node pump of the group, on its state core. The directory belongs to it alone.
//
// A file `<applied index, 16 hex digits>.snap` holds a snapshot stream, zero padding to a block,
// and one trailer block which alone makes it valid: it is written, durably, after everything before
// it is durable. No file is ever renamed or overwritten. The two newest valid files are kept.
//
// Errors of reading the disk pass through with the path in their message (io/file.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "io/runtime.h"

namespace metastore::engine {

struct SnapshotFile {
  std::string path;
  LogIndex applied_index;
  Term term;
  uint64_t stream_bytes = 0;
  uint64_t stream_hash = 0;  // of the stream and its padding
};

// What the last block of a snapshot file says; nothing: it is no intact trailer, so the file was
// never finished or its end is damaged. The path stays empty.
std::optional<SnapshotFile> DecodeSnapshotTrailer(std::string_view block);

class SnapshotStore final {
 public:
  static constexpr size_t kKept = 2;

  // `runtime` outlives it. Touches nothing yet.
  SnapshotStore(io::Runtime& runtime, std::string directory);

  // Makes the directory and looks what is there. Call once, first. Unfinished files go once a newer
  // valid one is there; files of other names are left alone.
  io::Task<Status> Open();

  // Writes the whole of `source` to a new file, durable when this completes, then removes all but
  // the kKept newest. One at a time (CHECKed). Overwrites an unfinished file of the same index.
  // Errors: kResourceExhausted  no space (the unfinished file is removed); kAborted  from the
  // source
  //         kAlreadyExists      a valid snapshot of this index is there
  // After an error the file is gone or unfinished, and the earlier snapshots are as they were.
  io::Task<StatusOr<SnapshotFile>> Write(SnapshotSource& source);

  // Restores `engine` from the newest readable snapshot and returns its meta; nothing if there is
  // none and the log begins at 1.
  //   log_first  the first index the log can replay; every snapshot at or above log_first - 1 will
  //   do
  // Errors: kDataLoss       no snapshot is readable that the log continues; names file and offset
  // of the newest one's
  //                         damage
  //         kUnimplemented  the newest was written by a newer version: never passed over
  //         kInternal       a file's trailer and stream are of different snapshots
  io::Task<StatusOr<std::optional<SnapshotMeta>>> Load(Engine& engine, LogIndex log_first);

  // The valid files known, newest first; one that Load found damaged is no longer among them.
  const std::vector<SnapshotFile>& files() const { return files_; }

 private:
  io::Task<StatusOr<SnapshotFile>> ReadTrailer(std::string path);
  io::Task<Status> WriteFile(SnapshotSource& source, SnapshotFile& into);
  io::Task<Status> WriteStream(io::File& file, SnapshotSource& source, SnapshotFile& into);
  io::Task<StatusOr<SnapshotMeta>> LoadFile(Engine& engine, SnapshotFile from);
  io::Task<Status> RemoveOld();
  void SetAside(Status damage);
  Status NothingToLoad(LogIndex log_first) const;

  io::Runtime& runtime_;
  std::string directory_;
  std::vector<SnapshotFile> files_;
  struct Unfinished {
    std::string path;
    Status damage;
  };
  std::vector<Unfinished> unfinished_;  // or damaged; by path
  bool writing_ = false;
};

}  // namespace metastore::engine
