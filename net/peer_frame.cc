#include "net/peer_frame.h"

#include <zstd.h>

#include <utility>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"

namespace metastore::net {
namespace {

constexpr uint32_t kMagic = 0x5250534d;  // "MSPR"
constexpr uint8_t kVersion = 1;
constexpr uint8_t kPlain = 0;
constexpr uint8_t kZstd = 1;
constexpr uint64_t kChecksumSeed = 0x6d656d6265727321;
constexpr size_t kMagicBytes = 4;
constexpr size_t kVersionAt = 4;
constexpr size_t kCodecAt = 5;
constexpr size_t kTypeAt = 6;
constexpr size_t kStoredAt = 8;
constexpr size_t kRawAt = 12;
constexpr size_t kSequenceAt = 16;
constexpr size_t kChecksumAt = 24;
static_assert(kChecksumAt + sizeof(uint64_t) == kPeerFrameHeaderBytes);
constexpr int kFastLevel = -1;
constexpr int kDenseLevel = 3;
constexpr size_t kKeptBytes = limits::kMiB;  // of a buffer between frames

uint64_t ChecksumOf(std::string_view header, std::string_view stored) {
  return Hash64(stored, Hash64(header.substr(0, kChecksumAt), kChecksumSeed));
}

void FreeIfLarge(std::string& buffer) {
  if (buffer.capacity() > kKeptBytes) std::string().swap(buffer);
}

}  // namespace

PeerFrameEncoder::PeerFrameEncoder(PeerCompression compression, const io::TimerService* clock)
    : clock_(clock), zstd_(nullptr, &ZSTD_freeCCtx) {
  if (compression == PeerCompression::kOff) return;
  const int level = compression == PeerCompression::kFast ? kFastLevel : kDenseLevel;
  zstd_.reset(ZSTD_createCCtx());
  CHECK(zstd_ != nullptr);
  CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(zstd_.get(), ZSTD_c_compressionLevel, level)));
}

PeerFrameEncoder::~PeerFrameEncoder() = default;

// Appends the compressed body to `out`. False, and nothing is appended, where that saves nothing.
bool PeerFrameEncoder::Compress(std::string_view body, std::string& out) {
  if (zstd_ == nullptr || body.size() < kPeerCompressFrom) return false;
  const MonoTime begin = clock_ == nullptr ? MonoTime{} : clock_->Now();
  const size_t at = out.size();
  const size_t room = body.size() - 1;
  out.resize(at + room);
  const size_t stored =
      ZSTD_compress2(zstd_.get(), out.data() + at, room, body.data(), body.size());
  const bool shorter = !ZSTD_isError(stored);
  out.resize(at + (shorter ? stored : 0));
  if (clock_ != nullptr) stats_.compress_ns += static_cast<uint64_t>((clock_->Now() - begin).ns);
  return shorter;
}

void PeerFrameEncoder::Seal(char* header, uint16_t type, size_t raw_bytes,
                            std::string_view stored) {
  StoreU32(header, kMagic);
  header[kVersionAt] = static_cast<char>(kVersion);
  header[kCodecAt] = static_cast<char>(stored.size() < raw_bytes ? kZstd : kPlain);
  StoreU16(header + kTypeAt, type);
  StoreU32(header + kStoredAt, static_cast<uint32_t>(stored.size()));
  StoreU32(header + kRawAt, static_cast<uint32_t>(raw_bytes));
  StoreU64(header + kSequenceAt, sequence_++);
  StoreU64(header + kChecksumAt, ChecksumOf({header, kPeerFrameHeaderBytes}, stored));
  ++stats_.frames;
  stats_.raw_bytes += raw_bytes;
  stats_.stored_bytes += stored.size();
}

void PeerFrameEncoder::Encode(uint16_t type, std::string_view body, std::string& out) {
  CHECK_LE(body.size(), kPeerFrameBytesMax);
  const size_t at = out.size();
  out.resize(at + kPeerFrameHeaderBytes);
  if (!Compress(body, out)) out.append(body);
  const std::string_view stored = std::string_view(out).substr(at + kPeerFrameHeaderBytes);
  Seal(out.data() + at, type, body.size(), stored);
}

std::string_view PeerFrameEncoder::EncodeInPlace(uint16_t type, std::string& frame,
                                                 std::string& scratch) {
  CHECK_GE(frame.size(), kPeerFrameHeaderBytes);
  const std::string_view body = std::string_view(frame).substr(kPeerFrameHeaderBytes);
  CHECK_LE(body.size(), kPeerFrameBytesMax);
  FreeIfLarge(scratch);
  scratch.assign(kPeerFrameHeaderBytes, '\0');
  const bool shorter = Compress(body, scratch);
  std::string& made = shorter ? scratch : frame;
  const std::string_view stored = std::string_view(made).substr(kPeerFrameHeaderBytes);
  Seal(made.data(), type, body.size(), stored);
  return made;
}

PeerFrameDecoder::PeerFrameDecoder() : zstd_(nullptr, &ZSTD_freeDCtx) {}

PeerFrameDecoder::~PeerFrameDecoder() = default;

Status PeerFrameDecoder::Damaged(std::string_view what) const {
  return DataLossError("frame ", sequence_, " of the stream: ", what);
}

void PeerFrameDecoder::Add(std::string_view bytes) {
  held_.erase(0, std::exchange(taken_, 0));
  if (held_.empty()) FreeIfLarge(held_);
  held_.append(bytes);
}

// What can be said before the contents have come.
Status PeerFrameDecoder::CheckHeader(std::string_view header) const {
  char magic[kMagicBytes];
  StoreU32(magic, kMagic);
  const std::string_view begin = header.substr(0, kMagicBytes);
  if (begin != std::string_view(magic, begin.size())) return Damaged("not of the peer protocol");
  if (header.size() <= kVersionAt) return OkStatus();
  const auto version = static_cast<uint8_t>(header[kVersionAt]);
  if (version != kVersion) {
    return UnimplementedError("peer frames of version ", int{version}, " where this build knows ",
                              int{kVersion});
  }
  if (header.size() < kPeerFrameHeaderBytes) return OkStatus();
  const size_t stored_bytes = LoadU32(header.data() + kStoredAt);
  const size_t raw_bytes = LoadU32(header.data() + kRawAt);
  if (stored_bytes > body_bytes_max_ || raw_bytes > body_bytes_max_ || stored_bytes > raw_bytes)
    return Damaged("an impossible length");
  if (LoadU64(header.data() + kSequenceAt) != sequence_) return Damaged("out of sequence");
  return OkStatus();
}

StatusOr<std::string_view> PeerFrameDecoder::Decompress(std::string_view stored, size_t raw_bytes) {
  if (zstd_ == nullptr) zstd_.reset(ZSTD_createDCtx());
  CHECK(zstd_ != nullptr);
  if (raw_.size() < raw_bytes) raw_.resize(raw_bytes);
  const size_t got =
      ZSTD_decompressDCtx(zstd_.get(), raw_.data(), raw_bytes, stored.data(), stored.size());
  if (ZSTD_isError(got) || got != raw_bytes) return Damaged("does not decompress");
  return std::string_view(raw_).substr(0, raw_bytes);
}

StatusOr<bool> PeerFrameDecoder::Next(PeerFrame& frame) {
  FreeIfLarge(raw_);
  const std::string_view held = std::string_view(held_).substr(taken_);
  const std::string_view header = held.substr(0, kPeerFrameHeaderBytes);
  MS_RETURN_IF_ERROR(CheckHeader(header));
  if (header.size() < kPeerFrameHeaderBytes) return false;
  const size_t stored_bytes = LoadU32(header.data() + kStoredAt);
  const size_t raw_bytes = LoadU32(header.data() + kRawAt);
  if (held.size() - kPeerFrameHeaderBytes < stored_bytes) return false;
  const std::string_view stored = held.substr(kPeerFrameHeaderBytes, stored_bytes);
  if (LoadU64(header.data() + kChecksumAt) != ChecksumOf(header, stored))
    return Damaged("a wrong checksum");
  const auto codec = static_cast<uint8_t>(header[kCodecAt]);
  if (codec != kPlain && codec != kZstd)
    return UnimplementedError("a peer frame of codec ", int{codec}, ", unknown to this build");
  if ((codec == kPlain) != (stored_bytes == raw_bytes)) return Damaged("contradictory lengths");
  StatusOr<std::string_view> body = stored;
  if (codec == kZstd) body = Decompress(stored, raw_bytes);
  if (!body.ok()) return body.status();
  frame.type = LoadU16(header.data() + kTypeAt);
  frame.body = *body;
  ++sequence_;
  taken_ += kPeerFrameHeaderBytes + stored_bytes;
  return true;
}

}  // namespace metastore::net
