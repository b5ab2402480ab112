// SnapshotReceiver: a snapshot file that comes piece by piece from another member.
// SnapshotStore::StartReceive makes it, one at a time.
//
// Nothing of it counts before Finish: until then the file has no trailer. Dropped without Finish or
// Abandon, it stays as an unfinished file, which the store removes later. Memory: one piece of
// kSnapshotWriteBytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/snapshot_file.h"
#include "io/runtime.h"

namespace metastore::engine {

class SnapshotStore;

class SnapshotReceiver final {
 public:
  // SnapshotStore's only.
  SnapshotReceiver(io::Runtime& runtime, SnapshotStore& store, std::unique_ptr<io::File> file,
                   SnapshotFile facts);
  ~SnapshotReceiver();

  const SnapshotFile& facts() const { return facts_; }
  // Bytes added: where an interrupted transfer goes on.
  uint64_t received_bytes() const { return writer_.has_value() ? writer_->stream_bytes() : 0; }

  // The next bytes of the stream, which outlive the task. After an error only Abandon may follow.
  // Errors: kDataLoss       more than the stream has, or it is damaged at its beginning
  //         kUnimplemented  written by a newer version
  //         kInternal       it is another snapshot than the facts say
  //         else            those of io::File
  io::Task<Status> Add(std::string_view bytes);
  // Checks the whole against the facts and makes it a valid file, durable when this completes.
  // After an error only Abandon may follow.
  // Errors: kDataLoss  it is not what the facts say, or not all of it; else those of io::File
  io::Task<StatusOr<SnapshotFile>> Finish();
  // Removes the file; what cannot be removed now goes later. Nothing may follow.
  io::Task<void> Abandon();

 private:
  Status CheckHead(std::string_view bytes);
  void Leave(Status damage);

  io::Runtime& runtime_;
  SnapshotStore& store_;
  const SnapshotFile facts_;
  std::optional<SnapshotFileWriter> writer_;  // none once finished or abandoned
  std::string head_;                          // the stream's first bytes, until they were checked
  bool head_checked_ = false;
};

}  // namespace metastore::engine
