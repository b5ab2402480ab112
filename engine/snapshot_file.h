// One snapshot file: its name, its trailer, and how it is written.
//
// A file `<applied index, 16 hex digits>.snap` holds a snapshot stream, zero padding to a block,
// and one trailer block which alone makes it valid: it is written, durably, after everything before
// it is durable. The trailer's hash chains the hashes of the pieces the stream is written in,
// kSnapshotWriteBytes each, padding included.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "io/runtime.h"

namespace metastore::engine {

struct SnapshotFile {
  std::string path;
  LogIndex applied_index;
  Term term;
  uint64_t stream_bytes = 0;
  uint64_t stream_hash = 0;  // of the stream and its padding
  // It came from another member; this member's log has not always had what it covers.
  bool received = false;
};

inline constexpr size_t kSnapshotWriteBytes = size_t{1} << 20;
inline constexpr uint64_t kSnapshotHashSeed = 0x73747265616d;
// No file is larger: bounds what a damaged trailer or a peer can name.
inline constexpr uint64_t kSnapshotStreamBytesMax = uint64_t{1} << 50;
// The first bytes of a stream, which hold its header.
inline constexpr size_t kSnapshotHeadBytes = 4096;

// What the last block of a snapshot file says; nothing: it is no intact trailer, so the file was
// never finished or its end is damaged. The path stays empty.
std::optional<SnapshotFile> DecodeSnapshotTrailer(std::string_view block);

std::string SnapshotFileName(LogIndex applied_index);
// Whether `name` is one SnapshotFileName gives.
bool IsSnapshotFileName(std::string_view name);
// `bytes` rounded up to whole blocks.
uint64_t BlocksUp(uint64_t bytes);
// Of the whole file.
uint64_t SnapshotFileBytes(uint64_t stream_bytes);

// Whether a stream that begins with `head` is the snapshot that `facts` names.
//   head  the first kSnapshotHeadBytes of the stream, or all of a shorter one
// Errors: kInternal       it is of another index or term
//         kDataLoss       it begins with no intact header
//         kUnimplemented  written by a newer format version
Status CheckSnapshotHead(std::string_view head, const SnapshotFile& facts);

// Writes one file from its beginning: Add..., EndStream, WriteTrailer. After an error the file is
// unfinished for good. Memory: one piece.
class SnapshotFileWriter final {
 public:
  // `file` is new; the runtime outlives the writer.
  SnapshotFileWriter(io::Runtime& runtime, std::unique_ptr<io::File> file);

  // `bytes` outlives the task. Errors: those of io::File, as of the functions below
  io::Task<Status> Add(std::string_view bytes);
  // No more comes: the stream becomes durable.
  io::Task<Status> EndStream();
  // The trailer that says `facts`, durably.
  io::Task<Status> WriteTrailer(const SnapshotFile& facts);

  uint64_t stream_bytes() const { return stream_bytes_; }  // added
  uint64_t stream_hash() const { return hash_; }           // of the whole, after EndStream
  io::File& file() { return *file_; }

 private:
  io::Task<Status> WritePiece();

  const std::unique_ptr<io::File> file_;
  io::IoBuffer buffer_;
  size_t filled_ = 0;    // of buffer_
  uint64_t offset_ = 0;  // of buffer_'s first byte in the file
  uint64_t stream_bytes_ = 0;
  uint64_t hash_ = kSnapshotHashSeed;
};

}  // namespace metastore::engine
