// SnapshotReader: the stream of one snapshot file, from any offset, for sending it to another
// member. SnapshotStore::OpenReader makes it.
//
// Stays readable while it lives, though the store may remove the file meanwhile. Checks nothing of
// what it reads: the receiver compares the whole with the trailer's hash.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/snapshot_file.h"
#include "io/runtime.h"

namespace metastore::engine {

class SnapshotReader final {
 public:
  static constexpr size_t kReadBytesMax = size_t{1} << 20;

  // `runtime` outlives it; `file` is the one that `facts` names.
  SnapshotReader(io::Runtime& runtime, std::unique_ptr<io::File> file, SnapshotFile facts);

  const SnapshotFile& facts() const { return facts_; }

  // Bytes of the stream, valid until the next Read; empty at its end only.
  //   offset     in the stream, up to its end (CHECKed)
  //   bytes_max  1..kReadBytesMax; fewer come only at the end
  // Errors: kDataLoss  the file is shorter than its trailer says; else those of io::File
  io::Task<StatusOr<std::string_view>> Read(uint64_t offset, size_t bytes_max);

 private:
  io::Runtime& runtime_;
  const std::unique_ptr<io::File> file_;
  const SnapshotFile facts_;
  io::IoBuffer buffer_;
};

}  // namespace metastore::engine
