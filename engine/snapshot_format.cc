#include "engine/snapshot_format.h"

#include <zstd.h>

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "io/base/hash.h"

namespace metastore::engine {
namespace {

// Contents of the sections, version 1 but for leases (signed: zigzag varint):
//   header  varint applied index | varint term | signed revision | signed compacted |
//           varint entry_keys_max
//   leases  each: signed id | signed ttl | signed remaining | varint granted at, from version 2 on
//   keys    items: u8 1 | bytes key
//                  u8 2 | varint main | varint sub | varint main - create | varint version |
//                  signed lease | bytes value
//                  u8 3 | varint main | varint sub            (a delete)
//   end     varint leases | varint keys | varint versions
constexpr uint32_t kMagic = 0x50534d43;      // "CMSP"
constexpr uint16_t kLeasesWithoutGrant = 1;  // a version
constexpr uint16_t kPlain = 0;
constexpr uint16_t kZstd = 1;
constexpr uint64_t kChecksumSeed = 0x736e617073686f74;
constexpr size_t kChecksumAt = 24;
constexpr int kZstdLevel = 1;
constexpr size_t kCompressBytes = size_t{128} << 10;  // a step: zstd's block, at 300 to 500 MB/s
constexpr uint64_t kCounterMax = uint64_t{1} << 62;   // of revisions and versions: room to count on
constexpr uint8_t kItemKey = 1;
constexpr uint8_t kItemPut = 2;
constexpr uint8_t kItemDelete = 3;

void PutSigned(std::string& to, int64_t value) { PutVarint(to, ZigZag(value)); }
int64_t ReadSigned(Reader& in) { return UnZigZag(in.Varint()); }
uint64_t Unsigned(int64_t value) { return static_cast<uint64_t>(value); }

// The newest version of a section.
uint16_t VersionOf(SnapshotSection section) { return section == SnapshotSection::kLeases ? 2 : 1; }

uint64_t ChecksumOf(std::string_view header, std::string_view stored) {
  return Hash64(stored, Hash64(header.substr(0, kChecksumAt), kChecksumSeed));
}

}  // namespace

std::string EncodeSnapshotHeader(const SnapshotHeader& header) {
  std::string raw;
  PutVarint(raw, header.applied_index.value());
  PutVarint(raw, header.term.value());
  PutSigned(raw, header.revision.value());
  PutSigned(raw, header.compacted.value());
  PutVarint(raw, header.entry_keys_max);
  return raw;
}

StatusOr<SnapshotHeader> DecodeSnapshotHeader(std::string_view raw) {
  Reader in(raw);
  SnapshotHeader header;
  header.applied_index = LogIndex(in.Varint());
  header.term = Term(in.Varint());
  header.revision = Revision(ReadSigned(in));
  header.compacted = Revision(ReadSigned(in));
  header.entry_keys_max = in.Varint();
  const bool counts = header.revision >= Revision(1) &&
                      header.revision.value() <= static_cast<int64_t>(kCounterMax) &&
                      header.applied_index.value() <= kCounterMax && header.entry_keys_max > 0;
  if (!in.done() || !counts) return DataLossError("snapshot: malformed header section at offset 0");
  return header;
}

std::string EncodeSnapshotTotals(const SnapshotTotals& totals) {
  std::string raw;
  PutVarint(raw, totals.leases);
  PutVarint(raw, totals.keys);
  PutVarint(raw, totals.versions);
  return raw;
}

StatusOr<SnapshotTotals> DecodeSnapshotTotals(std::string_view raw) {
  Reader in(raw);
  SnapshotTotals totals;
  totals.leases = in.Varint();
  totals.keys = in.Varint();
  totals.versions = in.Varint();
  if (!in.done()) return DataLossError("snapshot: malformed end section");
  return totals;
}

void AppendLease(const LeaseInfo& lease, std::string& raw) {
  PutSigned(raw, lease.id.value());
  PutSigned(raw, lease.ttl_seconds);
  PutSigned(raw, lease.remaining_seconds);
  PutVarint(raw, lease.granted_at.value());
}

LeaseInfo ReadLease(Reader& in, uint16_t version) {
  LeaseInfo lease;
  lease.id = LeaseId(ReadSigned(in));
  lease.ttl_seconds = ReadSigned(in);
  lease.remaining_seconds = ReadSigned(in);
  if (version > kLeasesWithoutGrant) lease.granted_at = LogIndex(in.Varint());
  return lease;
}

void AppendKey(std::string_view key, std::string& raw) {
  PutU8(raw, kItemKey);
  PutBytes(raw, key);
}

void AppendVersion(const Version& version, std::string& raw) {
  PutU8(raw, version.tombstone ? kItemDelete : kItemPut);
  PutVarint(raw, Unsigned(version.main.value()));
  PutVarint(raw, Unsigned(version.sub));
  if (version.tombstone) return;
  PutVarint(raw, Unsigned(version.main - version.create));
  PutVarint(raw, Unsigned(version.version));
  PutSigned(raw, version.lease.value());
  PutBytes(raw, version.value.view());
}

bool ReadKeyItem(Reader& in, KeyItem& item) {
  const uint8_t kind = in.U8();
  item.is_key = kind == kItemKey;
  if (item.is_key) {
    item.key = in.LengthPrefixed();
    return in.ok() && !item.key.empty() && item.key.size() <= limits::kEntryBytesMax;
  }
  if (kind != kItemPut && kind != kItemDelete) return false;
  item.version = Version();
  const uint64_t main = in.Varint();
  const uint64_t sub = in.Varint();
  if (!in.ok() || main < 2 || main > kCounterMax || sub > INT32_MAX - 1) return false;
  item.version.main = Revision(static_cast<int64_t>(main));
  item.version.sub = static_cast<int32_t>(sub);
  item.version.tombstone = kind == kItemDelete;
  if (item.version.tombstone) return true;
  const uint64_t age = in.Varint();
  const uint64_t version = in.Varint();
  item.version.lease = LeaseId(ReadSigned(in));
  const std::string_view value = in.LengthPrefixed();
  if (!in.ok() || age > main - 2 || version < 1 || version > kCounterMax) return false;
  item.version.create = item.version.main - static_cast<int64_t>(age);
  item.version.version = static_cast<int64_t>(version);
  item.version.value = io::SharedBytes::Copy(value);
  return true;
}

ChunkEncoder::ChunkEncoder() : context_(ZSTD_createCCtx()) {
  CHECK(context_ != nullptr);
  CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, kZstdLevel)));
}
ChunkEncoder::~ChunkEncoder() { ZSTD_freeCCtx(context_); }

void ChunkEncoder::Reserve(size_t bytes) {
  if (bytes <= stored_max_) return;
  stored_ = std::make_unique_for_overwrite<char[]>(bytes);
  stored_max_ = bytes;
}

void ChunkEncoder::Begin(SnapshotSection section, std::string raw) {
  CHECK(!busy_);
  CHECK_LE(raw.size(), kChunkRawBytesMax);
  busy_ = true;
  section_ = section;
  raw_ = std::move(raw);
  raw_taken_ = 0;
  stored_bytes_ = 0;
  Reserve(ZSTD_compressBound(raw_.size()));
  CHECK(!ZSTD_isError(ZSTD_CCtx_reset(context_, ZSTD_reset_session_only)));
  CHECK(!ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context_, raw_.size())));
}

bool ChunkEncoder::Step() {
  CHECK(busy_);
  const size_t end = std::min(raw_taken_ + kCompressBytes, raw_.size());
  ZSTD_inBuffer in{raw_.data(), end, raw_taken_};
  ZSTD_outBuffer out{stored_.get(), stored_max_, stored_bytes_};
  const bool last = end == raw_.size();
  const size_t left =
      ZSTD_compressStream2(context_, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
  CHECK(!ZSTD_isError(left));
  raw_taken_ = in.pos;
  stored_bytes_ = out.pos;
  return last && left == 0;
}

std::string ChunkEncoder::Take() {
  CHECK(busy_);
  const bool shorter = stored_bytes_ < raw_.size();
  const std::string_view stored =
      shorter ? std::string_view(stored_.get(), stored_bytes_) : std::string_view(raw_);
  char header[kChunkHeaderBytes];
  StoreU32(header, kMagic);
  StoreU16(header + 4, static_cast<uint16_t>(section_));
  StoreU16(header + 6, VersionOf(section_));
  StoreU16(header + 8, shorter ? kZstd : kPlain);
  StoreU16(header + 10, 0);
  StoreU32(header + 12, sequence_++);
  StoreU32(header + 16, static_cast<uint32_t>(stored.size()));
  StoreU32(header + 20, static_cast<uint32_t>(raw_.size()));
  StoreU64(header + kChecksumAt, ChecksumOf(std::string_view(header, sizeof header), stored));
  std::string chunk;
  chunk.reserve(sizeof header + stored.size());
  chunk.append(header, sizeof header);
  chunk.append(stored);
  raw_ = {};
  busy_ = false;
  return chunk;
}

std::string ChunkEncoder::Encode(SnapshotSection section, std::string_view raw) {
  Begin(section, std::string(raw));
  while (!Step()) {
  }
  return Take();
}

ChunkDecoder::ChunkDecoder() : context_(ZSTD_createDCtx()) { CHECK(context_ != nullptr); }
ChunkDecoder::~ChunkDecoder() { ZSTD_freeDCtx(context_); }

Status ChunkDecoder::Damaged(std::string_view what) const {
  return DataLossError("snapshot: ", what, " at offset ", offset_);
}

void ChunkDecoder::Add(std::string_view bytes) {
  pending_.erase(0, std::exchange(taken_, 0));
  pending_.append(bytes);
}

StatusOr<bool> ChunkDecoder::Next(Chunk& chunk) {
  const std::string_view pending = std::string_view(pending_).substr(taken_);
  if (pending.size() < kChunkHeaderBytes) return false;
  const char* const header = pending.data();
  if (LoadU32(header) != kMagic) return Damaged("no chunk begins");
  const size_t stored_bytes = LoadU32(header + 16);
  const size_t raw_bytes = LoadU32(header + 20);
  if (stored_bytes > kChunkRawBytesMax || raw_bytes > kChunkRawBytesMax)
    return Damaged("a chunk of impossible length");
  if (pending.size() - kChunkHeaderBytes < stored_bytes) return false;
  const std::string_view stored = pending.substr(kChunkHeaderBytes, stored_bytes);
  if (LoadU64(header + kChecksumAt) != ChecksumOf(pending, stored))
    return Damaged("a wrong checksum");
  const uint16_t section = LoadU16(header + 4);
  const uint16_t version = LoadU16(header + 6);
  const uint16_t codec = LoadU16(header + 8);
  if (LoadU32(header + 12) != sequence_) return Damaged("a chunk out of sequence");
  const bool known = section >= static_cast<uint16_t>(SnapshotSection::kHeader) &&
                     section <= static_cast<uint16_t>(SnapshotSection::kEnd);
  chunk.section = static_cast<SnapshotSection>(section);
  chunk.version = version;
  if (!known || version < 1 || version > VersionOf(chunk.section) || codec > kZstd) {
    return UnimplementedError("snapshot: section ", section, " version ", version, " codec ", codec,
                              " at offset ", offset_, " is of a newer format");
  }
  chunk.raw.resize(raw_bytes);
  if (codec == kPlain) {
    if (raw_bytes != stored_bytes) return Damaged("a chunk of contradictory length");
    chunk.raw = stored;
  } else {
    const size_t got =
        ZSTD_decompressDCtx(context_, chunk.raw.data(), raw_bytes, stored.data(), stored.size());
    if (ZSTD_isError(got) || got != raw_bytes) return Damaged("a chunk that does not decompress");
  }
  ++sequence_;
  taken_ += kChunkHeaderBytes + stored_bytes;
  offset_ += kChunkHeaderBytes + stored_bytes;
  return true;
}

}  // namespace metastore::engine
