// The bytes of the log, pure: segment headers, frame headers and records. The footer is in
// wal/footer.h. All integers are little-endian; a block is limits::kBlockBytes (4 KiB).
//
//   segment file   block 0: segment header | frames, each from a block boundary | footer, once
//   sealed | leftovers frame          header (192 bytes) | records | zeros to the block boundary
//   record         kind, tag, group, sequence, term, index, length (varints but the first two),
//   bytes
//
// Three things make a frame found on disk the one that belongs there:
//  1. its header hash is seeded by the stream (a random number made with the log, so that no
//  payload can imitate a
//     frame), the segment's sequence number and the block: stale frames of recycled files and
//     misdirected writes fail;
//  2. its body hash (everything after the header, zeros included) is seeded by stream, epoch and
//  LSN;
//  3. `previous_hash` is the header hash of the frame before, which covers that one's body hash: a
//  chain.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/coding.h"
#include "io/base/ids.h"
#include "io/base/limits.h"
#include "io/base/time.h"
#include "wal/record.h"

namespace metastore::wal {

// Place of a segment in the log's order, dense from 1; never reused, while its file is.
using SegmentSeq = StrongId<struct SegmentSeqTag>;

inline constexpr uint16_t kFormatVersion = 1;
inline constexpr size_t kBlockBytes = limits::kBlockBytes;
inline constexpr size_t kSegmentHeaderBytes = kBlockBytes;
inline constexpr size_t kFrameHeaderBytes =
    192;  // within one 512-byte sector, which is written atomically
inline constexpr size_t kFlushTracesMax = 4;
// Room that one record needs besides its bytes.
inline constexpr size_t kRecordOverheadMax = 2 + 5 * kVarintBytesMax;

inline constexpr size_t RoundUpToBlock(size_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

// --- segment header

enum class SegmentState : uint8_t {
  kPrepared = 1,  // allocated and filled with zeros, not part of the log
  kActive = 2,    // part of the log, or was and is free to be recycled
};

struct SegmentHeader {
  SegmentState state = SegmentState::kPrepared;
  ClusterId cluster;
  NodeId member;
  uint64_t stream = 0;         // 0 while prepared
  uint64_t file = 0;           // the number in the file's name
  uint64_t segment_bytes = 0;  // size of the file
  WallTime written;
  bool recycled = false;  // leftovers of older segments lie after the last frame, not zeros
  // kActive only:
  SegmentSeq segment;
  SegmentSeq first_live;  // no segment before this one is needed any more
  Epoch epoch;            // the boot count when it was begun
  Lsn first_lsn;
  uint64_t previous_hash = 0;  // header hash of the frame before; 0 for the first of the log
  uint32_t previous_footer_block = 0;  // where the segment before has its footer; 0: it has none
  uint32_t previous_footer_blocks = 0;
  uint64_t previous_footer_hash = 0;

  bool operator==(const SegmentHeader&) const = default;
};

enum class Decoded : uint8_t {
  kGood,
  kInvalid,     // not one, or not intact
  kNewVersion,  // intact, but written by a later release
};

// Writes kSegmentHeaderBytes at `to`.
void EncodeSegmentHeader(const SegmentHeader& header, char* to);
// `bytes` holds at least kSegmentHeaderBytes.
Decoded DecodeSegmentHeader(std::string_view bytes, SegmentHeader& header);

// --- frame header

enum FrameFlag : uint32_t {
  kFrameHasHardState = 1,   // some record is a hard state or restates one
  kFramePromiseOnly = 2,    // written after idling, only to promise the frames before it
  kFrameStartsEpoch = 4,    // the first one after an open
  kFrameStartsSegment = 8,  // a segment header lies right before it
  kFrameSealsSegment = 16,  // the last one of its segment
};

// A durable write that completed since the last frame was submitted: the log is its own trace of
// the flush path.
struct FlushTrace {
  Lsn lsn;
  uint32_t latency_us = 0;  // from submission to completion, at most UINT32_MAX
  uint32_t blocks = 0;      // that were written

  bool operator==(const FlushTrace&) const = default;
};

struct FrameHeader {
  uint32_t flags = 0;  // of FrameFlag
  Epoch epoch;
  Lsn lsn;
  uint32_t frame_bytes = 0;  // header, body and padding: whole blocks
  uint32_t body_bytes = 0;   // the records
  uint32_t record_count = 0;
  uint32_t requests = 0;  // client requests it serves
  uint64_t previous_hash = 0;
  Lsn durable;  // the promise: every frame up to this one was durable when this one was submitted
  SegmentSeq segment;
  uint32_t block = 0;      // where it starts in its segment
  uint32_t gather_us = 0;  // from its first record to its submission
  WallTime submit_wall;
  MonoTime submit_mono;
  SegmentSeq first_live;  // no segment before this one is needed any more
  uint8_t trace_count = 0;
  FlushTrace traces[kFlushTracesMax];
  uint64_t body_hash = 0;
  uint64_t hash = 0;  // of the header; the next frame's previous_hash

  bool operator==(const FrameHeader&) const = default;
};

// Where a frame was found: what its header hash is seeded with.
struct FramePlace {
  uint64_t stream = 0;
  SegmentSeq segment;
  uint32_t block = 0;
};

// What the body hash of the frame with this epoch and LSN is seeded with.
uint64_t BodySeed(const FrameHeader& header, uint64_t stream);
// Computes both hashes of the frame at `frame` (whose body and padding are in place), stores them
// in `header`, and writes the header there.
void EncodeFrameHeader(FrameHeader& header, uint64_t stream, char* frame);
// The same, but header.body_hash is there already.
void EncodeHashedFrameHeader(FrameHeader& header, uint64_t stream, char* frame);
// Decodes and checks the header alone: magic, version, hash, place, and that its lengths are
// consistent.
//   bytes   at least kFrameHeaderBytes
Decoded DecodeFrameHeader(std::string_view bytes, const FramePlace& place, FrameHeader& header);
// Whether the magic of frames is there, nothing else.
bool BeginsLikeFrame(std::string_view bytes);
// Whether `frame`, header.frame_bytes long, has the body its (good) header speaks of.
bool FrameBodyIntact(const FrameHeader& header, uint64_t stream, std::string_view frame);
inline std::string_view FrameBody(const FrameHeader& header, std::string_view frame) {
  return frame.substr(kFrameHeaderBytes, header.body_bytes);
}

// --- records

struct LoggedRecord {
  GroupId group;
  uint64_t sequence = 0;  // dense in its group from 1, so that a gap tells who lost something
  Record record;
};

constexpr bool IsEntryKind(RecordKind kind) {
  return kind == RecordKind::kEntry || kind == RecordKind::kRewrite || kind == RecordKind::kHealed;
}

// Bytes that StoreRecord writes.
size_t RecordBytes(const LoggedRecord& logged);
// Writes one record at `to` and returns its end.
char* StoreRecord(char* to, const LoggedRecord& logged);
// Takes one record off `reader`; its bytes view the reader's. False when malformed.
[[nodiscard]] bool ReadRecordFrom(Reader& reader, LoggedRecord& logged);

// The bytes of a kGroupState record.
std::string EncodeGroupState(const GroupState& state);
[[nodiscard]] bool DecodeGroupState(std::string_view bytes, GroupState& state);

}  // namespace metastore::wal
