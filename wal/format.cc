#include "wal/format.h"

#include <cstring>

#include "io/base/check.h"
#include "io/base/hash.h"
#include "wal/mutation.h"

namespace metastore::wal {
namespace {

constexpr uint64_t kSegmentMagic = 0x31474553'4c41574dULL;  // "MWALSEG1"
constexpr uint64_t kFrameMagic = 0x314d5246'4c41574dULL;    // "MWALFRM1"
constexpr uint8_t kGroupStateVersion = 1;

// Appends fixed integers to a header in place.
class FixedWriter {
 public:
  explicit FixedWriter(char* to) : to_(to) {}
  FixedWriter& U8(uint8_t value) {
    *to_++ = static_cast<char>(value);
    return *this;
  }
  FixedWriter& U16(uint16_t value) {
    StoreU16(to_, value);
    to_ += 2;
    return *this;
  }
  FixedWriter& U32(uint32_t value) {
    StoreU32(to_, value);
    to_ += 4;
    return *this;
  }
  FixedWriter& U64(uint64_t value) {
    StoreU64(to_, value);
    to_ += 8;
    return *this;
  }
  FixedWriter& I64(int64_t value) { return U64(static_cast<uint64_t>(value)); }
  char* end() const { return to_; }

 private:
  char* to_;
};

uint64_t SegmentHash(std::string_view block) { return Hash64(block.substr(16), kSegmentMagic); }

uint64_t HeaderSeed(const FramePlace& place) {
  if (Mutated(Mutation::kRecycledAccepted)) return MixSeed(place.stream, place.block);
  return MixSeed(MixSeed(place.stream, place.segment.value()), place.block);
}

uint64_t HeaderHash(const char* frame, const FramePlace& place) {
  return Hash64({frame, kFrameHeaderBytes - 8}, HeaderSeed(place));
}

uint64_t BodyHash(const FrameHeader& header, uint64_t stream, const char* frame) {
  return Hash64({frame + kFrameHeaderBytes, header.frame_bytes - kFrameHeaderBytes},
                BodySeed(header, stream));
}

bool LengthsConsistent(const FrameHeader& header) {
  return header.frame_bytes % kBlockBytes == 0 && header.frame_bytes >= kBlockBytes &&
         header.frame_bytes <= limits::kFrameBytesMax &&
         RoundUpToBlock(kFrameHeaderBytes + size_t{header.body_bytes}) == header.frame_bytes &&
         header.trace_count <= kFlushTracesMax;
}

}  // namespace

void EncodeSegmentHeader(const SegmentHeader& header, char* to) {
  std::memset(to, 0, kSegmentHeaderBytes);
  FixedWriter(to + 16)
      .U16(kFormatVersion)
      .U8(static_cast<uint8_t>(header.state))
      .U8(header.recycled ? 1 : 0)
      .U32(static_cast<uint32_t>(kBlockBytes))
      .U64(header.cluster.value())
      .U64(header.member.value())
      .U64(header.stream)
      .U64(header.file)
      .U64(header.segment_bytes)
      .I64(header.written.ns)
      .U64(header.segment.value())
      .U64(header.first_live.value())
      .U64(header.epoch.value())
      .U64(header.first_lsn.value())
      .U64(header.previous_hash)
      .U32(header.previous_footer_block)
      .U32(header.previous_footer_blocks)
      .U64(header.previous_footer_hash);
  FixedWriter(to).U64(kSegmentMagic).U64(SegmentHash({to, kSegmentHeaderBytes}));
}

Decoded DecodeSegmentHeader(std::string_view bytes, SegmentHeader& header) {
  CHECK_GE(bytes.size(), kSegmentHeaderBytes);
  bytes = bytes.substr(0, kSegmentHeaderBytes);
  Reader reader(bytes);
  if (reader.U64() != kSegmentMagic) return Decoded::kInvalid;
  if (reader.U64() != SegmentHash(bytes)) return Decoded::kInvalid;
  if (reader.U16() != kFormatVersion) return Decoded::kNewVersion;
  const uint8_t state = reader.U8();
  header.recycled = reader.U8() != 0;
  if (state != 1 && state != 2) return Decoded::kInvalid;
  header.state = static_cast<SegmentState>(state);
  if (reader.U32() != kBlockBytes) return Decoded::kNewVersion;
  header.cluster = ClusterId(reader.U64());
  header.member = NodeId(reader.U64());
  header.stream = reader.U64();
  header.file = reader.U64();
  header.segment_bytes = reader.U64();
  header.written = WallTime{static_cast<int64_t>(reader.U64())};
  header.segment = SegmentSeq(reader.U64());
  header.first_live = SegmentSeq(reader.U64());
  header.epoch = Epoch(reader.U64());
  header.first_lsn = Lsn(reader.U64());
  header.previous_hash = reader.U64();
  header.previous_footer_block = reader.U32();
  header.previous_footer_blocks = reader.U32();
  header.previous_footer_hash = reader.U64();
  return reader.ok() ? Decoded::kGood : Decoded::kInvalid;
}

uint64_t BodySeed(const FrameHeader& header, uint64_t stream) {
  return MixSeed(MixSeed(stream, header.epoch.value()), header.lsn.value());
}

void EncodeFrameHeader(FrameHeader& header, uint64_t stream, char* frame) {
  header.body_hash = BodyHash(header, stream, frame);
  EncodeHashedFrameHeader(header, stream, frame);
}

void EncodeHashedFrameHeader(FrameHeader& header, uint64_t stream, char* frame) {
  CHECK(LengthsConsistent(header));
  std::memset(frame, 0, kFrameHeaderBytes);
  FixedWriter writer(frame);
  writer.U64(kFrameMagic)
      .U16(kFormatVersion)
      .U16(kFrameHeaderBytes)
      .U32(header.flags)
      .U64(header.epoch.value())
      .U64(header.lsn.value())
      .U32(header.frame_bytes)
      .U32(header.body_bytes)
      .U32(header.record_count)
      .U32(header.requests)
      .U64(header.previous_hash)
      .U64(header.durable.value())
      .U64(header.segment.value())
      .U32(header.block)
      .U32(header.gather_us)
      .I64(header.submit_wall.ns)
      .I64(header.submit_mono.ns)
      .U64(header.first_live.value())
      .U64(header.trace_count);
  for (const FlushTrace& trace : header.traces) {
    writer.U64(trace.lsn.value()).U32(trace.latency_us).U32(trace.blocks);
  }
  writer.U64(header.body_hash);
  header.hash = HeaderHash(frame, {stream, header.segment, header.block});
  writer.U64(header.hash);
  CHECK_EQ(static_cast<size_t>(writer.end() - frame), kFrameHeaderBytes);
}

Decoded DecodeFrameHeader(std::string_view bytes, const FramePlace& place, FrameHeader& header) {
  CHECK_GE(bytes.size(), kFrameHeaderBytes);
  Reader reader(bytes.substr(0, kFrameHeaderBytes));
  if (reader.U64() != kFrameMagic) return Decoded::kInvalid;
  header.hash = LoadU64(bytes.data() + kFrameHeaderBytes - 8);
  if (header.hash != HeaderHash(bytes.data(), place)) return Decoded::kInvalid;
  if (reader.U16() != kFormatVersion) return Decoded::kNewVersion;
  if (reader.U16() != kFrameHeaderBytes) return Decoded::kNewVersion;
  header.flags = reader.U32();
  header.epoch = Epoch(reader.U64());
  header.lsn = Lsn(reader.U64());
  header.frame_bytes = reader.U32();
  header.body_bytes = reader.U32();
  header.record_count = reader.U32();
  header.requests = reader.U32();
  header.previous_hash = reader.U64();
  header.durable = Lsn(reader.U64());
  header.segment = SegmentSeq(reader.U64());
  header.block = reader.U32();
  header.gather_us = reader.U32();
  header.submit_wall = WallTime{static_cast<int64_t>(reader.U64())};
  header.submit_mono = MonoTime{static_cast<int64_t>(reader.U64())};
  header.first_live = SegmentSeq(reader.U64());
  const uint64_t trace_count = reader.U64();
  if (trace_count > kFlushTracesMax) return Decoded::kInvalid;
  header.trace_count = static_cast<uint8_t>(trace_count);
  for (FlushTrace& trace : header.traces) {
    trace.lsn = Lsn(reader.U64());
    trace.latency_us = reader.U32();
    trace.blocks = reader.U32();
  }
  header.body_hash = reader.U64();
  const bool misplaced = header.segment != place.segment || header.block != place.block;
  if (misplaced && !Mutated(Mutation::kRecycledAccepted)) return Decoded::kInvalid;
  return LengthsConsistent(header) ? Decoded::kGood : Decoded::kInvalid;
}

bool BeginsLikeFrame(std::string_view bytes) {
  return bytes.size() >= sizeof kFrameMagic && LoadU64(bytes.data()) == kFrameMagic;
}

bool FrameBodyIntact(const FrameHeader& header, uint64_t stream, std::string_view frame) {
  CHECK_EQ(frame.size(), size_t{header.frame_bytes});
  return BodyHash(header, stream, frame.data()) == header.body_hash;
}

size_t RecordBytes(const LoggedRecord& logged) {
  const Record& record = logged.record;
  return 2 + VarintBytes(logged.group.value()) + VarintBytes(logged.sequence) +
         VarintBytes(record.term.value()) + VarintBytes(record.index.value()) +
         VarintBytes(record.bytes.size()) + record.bytes.size();
}

char* StoreRecord(char* to, const LoggedRecord& logged) {
  const Record& record = logged.record;
  *to++ = static_cast<char>(record.kind);
  *to++ = static_cast<char>(record.tag);
  to = StoreVarint(to, logged.group.value());
  to = StoreVarint(to, logged.sequence);
  to = StoreVarint(to, record.term.value());
  to = StoreVarint(to, record.index.value());
  to = StoreVarint(to, record.bytes.size());
  if (!record.bytes.empty()) std::memcpy(to, record.bytes.data(), record.bytes.size());
  return to + record.bytes.size();
}

bool ReadRecordFrom(Reader& reader, LoggedRecord& logged) {
  const uint8_t kind = reader.U8();
  if (kind < static_cast<uint8_t>(RecordKind::kEntry) ||
      kind > static_cast<uint8_t>(RecordKind::kGroupState)) {
    return false;
  }
  logged.record.kind = static_cast<RecordKind>(kind);
  logged.record.tag = reader.U8();
  logged.group = GroupId(reader.Varint());
  logged.sequence = reader.Varint();
  logged.record.term = Term(reader.Varint());
  logged.record.index = LogIndex(reader.Varint());
  logged.record.bytes = reader.LengthPrefixed();
  return reader.ok();
}

std::string EncodeGroupState(const GroupState& state) {
  std::string bytes;
  PutU8(bytes, kGroupStateVersion);
  PutBytes(bytes, state.hard_state);
  PutBytes(bytes, state.snapshot_meta);
  PutVarint(bytes, state.snapshot.term.value());
  PutVarint(bytes, state.snapshot.index.value());
  PutVarint(bytes, state.purged.term.value());
  PutVarint(bytes, state.purged.index.value());
  PutVarint(bytes, state.last.value());
  return bytes;
}

bool DecodeGroupState(std::string_view bytes, GroupState& state) {
  Reader reader(bytes);
  if (reader.U8() != kGroupStateVersion) return false;
  state.hard_state = std::string(reader.LengthPrefixed());
  state.snapshot_meta = std::string(reader.LengthPrefixed());
  state.snapshot.term = Term(reader.Varint());
  state.snapshot.index = LogIndex(reader.Varint());
  state.purged.term = Term(reader.Varint());
  state.purged.index = LogIndex(reader.Varint());
  state.last = LogIndex(reader.Varint());
  return reader.done() && state.last >= state.purged.index;
}

}  // namespace metastore::wal
