// SparseBytes: the content of one simulated file. 16 KiB chunks, made on the first byte that is
// not zero, and shared between copies until one of them writes: copying a 64 MiB file of zeros,
// or of data, copies pointers only.
//
// No size of its own: what was never written reads as zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace metastore::sim {

class SparseBytes final {
 public:
  void Read(uint64_t offset, char* to, size_t size) const;
  // A null `from` writes zeros.
  void Write(uint64_t offset, const char* from, size_t size);
  // Everything from `size` on becomes zero.
  void Truncate(uint64_t size);
  // Memory held by chunks this copy refers to, shared ones included.
  size_t chunk_bytes() const;

  static constexpr size_t kChunkBytes = 16 * 1024;

 private:
  struct Chunk {
    char bytes[kChunkBytes] = {};
  };

  void WriteChunk(size_t index, size_t at, const char* from, size_t size);

  std::vector<std::shared_ptr<Chunk>> chunks_;
};

}  // namespace metastore::sim
