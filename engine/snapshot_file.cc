#include "engine/snapshot_file.h"

#include <cstring>
#include <span>
#include <utility>

#include "engine/snapshot_format.h"
#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"
#include "io/base/limits.h"

namespace metastore::engine {
namespace {

// The trailer block, at the last block of the file:
//   u64 magic | u32 version | u32 flags | u64 stream bytes | u64 applied index | u64 term |
//   u64 stream hash | u64 checksum
// The rest of the block is zero.
constexpr uint64_t kTrailerMagic = 0x6c69617254534d0a;
constexpr uint32_t kTrailerVersion = 1;
constexpr uint32_t kFlagReceived = 1;  // the only flag
constexpr size_t kTrailerChecksumAt = 48;
constexpr uint64_t kTrailerSeed = 0x747261696c6572;
constexpr std::string_view kSuffix = ".snap";
constexpr size_t kNameDigits = 16;

void EncodeTrailer(const SnapshotFile& facts, char* block) {
  std::memset(block, 0, limits::kBlockBytes);
  StoreU64(block, kTrailerMagic);
  StoreU32(block + 8, kTrailerVersion);
  StoreU32(block + 12, facts.received ? kFlagReceived : 0);
  StoreU64(block + 16, facts.stream_bytes);
  StoreU64(block + 24, facts.applied_index.value());
  StoreU64(block + 32, facts.term.value());
  StoreU64(block + 40, facts.stream_hash);
  StoreU64(block + kTrailerChecksumAt,
           Hash64(std::string_view(block, kTrailerChecksumAt), kTrailerSeed));
}

}  // namespace

std::optional<SnapshotFile> DecodeSnapshotTrailer(std::string_view block) {
  if (block.size() != limits::kBlockBytes) return std::nullopt;
  const char* at = block.data();
  const uint32_t flags = LoadU32(at + 12);
  if (LoadU64(at) != kTrailerMagic || LoadU32(at + 8) != kTrailerVersion ||
      (flags & ~kFlagReceived) != 0 ||
      LoadU64(at + kTrailerChecksumAt) !=
          Hash64(block.substr(0, kTrailerChecksumAt), kTrailerSeed)) {
    return std::nullopt;
  }
  SnapshotFile facts{.path = {},
                     .applied_index = LogIndex(LoadU64(at + 24)),
                     .term = Term(LoadU64(at + 32)),
                     .stream_bytes = LoadU64(at + 16),
                     .stream_hash = LoadU64(at + 40),
                     .received = flags == kFlagReceived};
  if (facts.stream_bytes > kSnapshotStreamBytesMax) return std::nullopt;
  return facts;
}

std::string SnapshotFileName(LogIndex applied_index) {
  return Concat(absl::Hex(applied_index.value(), absl::kZeroPad16), kSuffix);
}

bool IsSnapshotFileName(std::string_view name) {
  if (name.size() != kNameDigits + kSuffix.size() || name.substr(kNameDigits) != kSuffix)
    return false;
  return name.substr(0, kNameDigits).find_first_not_of("0123456789abcdef") ==
         std::string_view::npos;
}

uint64_t BlocksUp(uint64_t bytes) {
  return (bytes + limits::kBlockBytes - 1) / limits::kBlockBytes * limits::kBlockBytes;
}

uint64_t SnapshotFileBytes(uint64_t stream_bytes) {
  return BlocksUp(stream_bytes) + limits::kBlockBytes;
}

Status CheckSnapshotHead(std::string_view head, const SnapshotFile& facts) {
  ChunkDecoder decoder;
  decoder.Add(head.substr(0, kSnapshotHeadBytes));
  Chunk chunk;
  const StatusOr<bool> whole = decoder.Next(chunk);
  MS_RETURN_IF_ERROR(whole.status());
  if (!*whole || chunk.section != SnapshotSection::kHeader) {
    return DataLossError("snapshot: no header at offset 0");
  }
  const StatusOr<SnapshotHeader> header = DecodeSnapshotHeader(chunk.raw);
  MS_RETURN_IF_ERROR(header.status());
  if (header->applied_index == facts.applied_index && header->term == facts.term) {
    return OkStatus();
  }
  return InternalError("the stream is the snapshot of index ", header->applied_index.value(),
                       " and term ", header->term.value(), ", not of ", facts.applied_index.value(),
                       " and ", facts.term.value());
}

SnapshotFileWriter::SnapshotFileWriter(io::Runtime& runtime, std::unique_ptr<io::File> file)
    : file_(std::move(file)), buffer_(runtime.AllocateBuffer(kSnapshotWriteBytes)) {}

io::Task<Status> SnapshotFileWriter::Add(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kSnapshotWriteBytes - filled_);
    std::memcpy(buffer_.data() + filled_, piece.data(), piece.size());
    bytes.remove_prefix(piece.size());
    filled_ += piece.size();
    stream_bytes_ += piece.size();
    if (filled_ < kSnapshotWriteBytes) break;
    const Status written = co_await WritePiece();
    MS_CO_RETURN_IF_ERROR(written);
  }
  co_return OkStatus();
}

io::Task<Status> SnapshotFileWriter::WritePiece() {
  const auto blocks = static_cast<size_t>(BlocksUp(filled_));
  std::memset(buffer_.data() + filled_, 0, blocks - filled_);
  const std::span<char> from(buffer_.data(), blocks);
  hash_ = Hash64(std::string_view(from.data(), blocks), hash_);
  const StatusOr<size_t> written = co_await file_->Write(offset_, from, buffer_.registered_index());
  offset_ += blocks;
  filled_ = 0;
  co_return written.status();
}

io::Task<Status> SnapshotFileWriter::EndStream() {
  if (filled_ > 0) {
    const Status written = co_await WritePiece();
    MS_CO_RETURN_IF_ERROR(written);
  }
  const StatusOr<size_t> synced = co_await file_->Sync();
  co_return synced.status();
}

io::Task<Status> SnapshotFileWriter::WriteTrailer(const SnapshotFile& facts) {
  CHECK_EQ(filled_, 0u);
  EncodeTrailer(facts, buffer_.data());
  const std::span<char> block(buffer_.data(), limits::kBlockBytes);
  const StatusOr<size_t> written =
      co_await file_->Write(offset_, block, buffer_.registered_index());
  MS_CO_RETURN_IF_ERROR(written.status());
  const StatusOr<size_t> durable = co_await file_->Sync();
  co_return durable.status();
}

}  // namespace metastore::engine
