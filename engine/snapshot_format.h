// The snapshot stream: what a snapshot is made of, in a file and on the wire.
//
// A stream is a sequence of chunks, little-endian:
//   u32 magic | u16 section | u16 section version | u16 codec (0 plain, 1 zstd) | u16 zero |
//   u32 sequence | u32 stored bytes | u32 raw bytes | u64 checksum        together 32 bytes
//   stored bytes
// The checksum is xxh3 of the header before it and of the stored bytes. `sequence` counts chunks
// from 0, so a lost or misplaced chunk is seen. Sections come in the order of their numbers, each
// in one or more chunks, kHeader and kEnd in exactly one; an unknown section or version is refused,
// never skipped. Sections are written in their newest version and read in every one. Contents:
// snapshot_format.cc.
//
// Pure functions; streams are input from disks and peers: nothing in them is CHECKed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/key_record.h"
#include "io/base/coding.h"
#include "io/base/limits.h"
#include "io/base/status.h"

typedef struct ZSTD_CCtx_s ZSTD_CCtx;
typedef struct ZSTD_DCtx_s ZSTD_DCtx;

namespace metastore::engine {

enum class SnapshotSection : uint16_t {
  kHeader = 1,       // SnapshotMeta without the server's state, and the replicated settings
  kServerState = 2,  // opaque bytes, pieces joined; absent if empty
  kLeases = 3,
  kKeys = 4,
  kEnd = 5,  // what there was in all
};

inline constexpr size_t kChunkHeaderBytes = 32;
// A chunk's content is cut once it reaches kSnapshotStepBytes; one more item may be as large as an
// entry. Readers take chunks cut at up to 256 KiB.
inline constexpr size_t kChunkRawBytesMax = (size_t{256} << 10) + limits::kEntryBytesMax + 4096;
static_assert(kSnapshotStepBytes <= size_t{256} << 10);

struct SnapshotHeader {
  LogIndex applied_index;
  Term term;
  Revision revision;
  Revision compacted;
  uint64_t entry_keys_max = 0;
};

struct SnapshotTotals {
  uint64_t leases = 0;
  uint64_t keys = 0;
  uint64_t versions = 0;

  bool operator==(const SnapshotTotals&) const = default;
};

std::string EncodeSnapshotHeader(const SnapshotHeader& header);
StatusOr<SnapshotHeader> DecodeSnapshotHeader(std::string_view raw);
std::string EncodeSnapshotTotals(const SnapshotTotals& totals);
StatusOr<SnapshotTotals> DecodeSnapshotTotals(std::string_view raw);
void AppendLease(const LeaseInfo& lease, std::string& raw);
// Reads one of a section of `version`; check in.ok() afterwards.
LeaseInfo ReadLease(Reader& in, uint16_t version);
// The kKeys section is a sequence of items: a key, then its versions, newest first, possibly in
// later chunks.
void AppendKey(std::string_view key, std::string& raw);
void AppendVersion(const Version& version, std::string& raw);

struct KeyItem {
  bool is_key = false;
  std::string_view key;  // is_key
  Version version;       // else; links unset
};
// False: malformed. Checks each field on its own.
bool ReadKeyItem(Reader& in, KeyItem& item);

// Makes chunks of one stream, a chunk in steps: Begin, Step until it is whole, Take.
class ChunkEncoder final {
 public:
  ChunkEncoder();
  ~ChunkEncoder();

  // None is under way (CHECKed). `raw` is at most kChunkRawBytesMax (CHECKed).
  void Begin(SnapshotSection section, std::string raw);
  // Compresses some 128 KiB. True: the chunk is whole.
  bool Step();
  // The whole chunk's bytes; compressed where that is shorter.
  std::string Take();
  bool busy() const { return busy_; }
  // All of that at once, for contents that are not long.
  std::string Encode(SnapshotSection section, std::string_view raw);

 private:
  void Reserve(size_t bytes);

  ZSTD_CCtx* context_;
  uint32_t sequence_ = 0;
  bool busy_ = false;
  SnapshotSection section_{};
  std::string raw_;
  size_t raw_taken_ = 0;
  std::unique_ptr<char[]> stored_;  // kept for its memory
  size_t stored_max_ = 0;
  size_t stored_bytes_ = 0;
};

struct Chunk {
  SnapshotSection section{};
  uint16_t version = 0;  // the section's
  std::string raw;
};

// Takes a stream apart; bytes may come cut anywhere.
class ChunkDecoder final {
 public:
  ChunkDecoder();
  ~ChunkDecoder();

  void Add(std::string_view bytes);
  // The next whole chunk, if its bytes have come.
  // Errors: kDataLoss       a wrong checksum, magic, sequence or length; names the offset in the
  // stream
  //         kUnimplemented  an unknown section or section version
  StatusOr<bool> Next(Chunk& chunk);
  // Stream offset after the last whole chunk.
  uint64_t offset() const { return offset_; }
  // No bytes of an unfinished chunk are left.
  bool at_boundary() const { return pending_.size() == taken_; }

 private:
  Status Damaged(std::string_view what) const;

  ZSTD_DCtx* context_;
  std::string pending_;
  size_t taken_ = 0;  // of pending_
  uint64_t offset_ = 0;
  uint32_t sequence_ = 0;
};

}  // namespace metastore::engine
