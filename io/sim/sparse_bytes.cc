#include "io/sim/sparse_bytes.h"

#include <algorithm>
#include <cstring>

namespace metastore::sim {
namespace {

bool AllZero(const char* from, size_t size) {
  return size == 0 || (from[0] == 0 && std::memcmp(from, from + 1, size - 1) == 0);
}

}  // namespace

void SparseBytes::Read(uint64_t offset, char* to, size_t size) const {
  while (size > 0) {
    const auto index = static_cast<size_t>(offset / kChunkBytes);
    const auto at = static_cast<size_t>(offset % kChunkBytes);
    const size_t piece = std::min(size, kChunkBytes - at);
    if (index < chunks_.size() && chunks_[index] != nullptr) {
      std::memcpy(to, chunks_[index]->bytes + at, piece);
    } else {
      std::memset(to, 0, piece);
    }
    offset += piece;
    to += piece;
    size -= piece;
  }
}

void SparseBytes::Write(uint64_t offset, const char* from, size_t size) {
  while (size > 0) {
    const auto index = static_cast<size_t>(offset / kChunkBytes);
    const auto at = static_cast<size_t>(offset % kChunkBytes);
    const size_t piece = std::min(size, kChunkBytes - at);
    WriteChunk(index, at, from, piece);
    offset += piece;
    if (from != nullptr) from += piece;
    size -= piece;
  }
}

void SparseBytes::WriteChunk(size_t index, size_t at, const char* from, size_t size) {
  const bool zeros = from == nullptr || AllZero(from, size);
  const bool absent = index >= chunks_.size() || chunks_[index] == nullptr;
  if (zeros && absent) return;
  if (zeros && size == kChunkBytes) {
    chunks_[index] = nullptr;
    return;
  }
  if (index >= chunks_.size()) chunks_.resize(index + 1);
  std::shared_ptr<Chunk>& chunk = chunks_[index];
  if (chunk == nullptr) {
    chunk = std::make_shared<Chunk>();
  } else if (chunk.use_count() > 1) {
    chunk = std::make_shared<Chunk>(*chunk);
  }
  if (zeros) {
    std::memset(chunk->bytes + at, 0, size);
  } else {
    std::memcpy(chunk->bytes + at, from, size);
  }
}

void SparseBytes::Truncate(uint64_t size) {
  const auto whole = static_cast<size_t>((size + kChunkBytes - 1) / kChunkBytes);
  if (chunks_.size() > whole) chunks_.resize(whole);
  const auto at = static_cast<size_t>(size % kChunkBytes);
  if (at != 0) WriteChunk(whole - 1, at, nullptr, kChunkBytes - at);
}

size_t SparseBytes::chunk_bytes() const {
  size_t bytes = 0;
  for (const std::shared_ptr<Chunk>& chunk : chunks_) bytes += chunk == nullptr ? 0 : kChunkBytes;
  return bytes;
}

}  // namespace metastore::sim
