// Arena: where a core's IoBuffers come from: one mapped region, registered with the ring as buffer
// 0 where the memory lock limit allows, handed out first-fit in whole pages; heap memory when it is
// exhausted.
//
// Single core, outlives its buffers. Free extents are kept in address order and joined at once; a
// core has a few dozen buffers at a time, so a scan is cheaper than a cleverer structure.
#pragma once

#include <cstddef>
#include <vector>

#include "io/buffer.h"

namespace metastore::io::uring {

class Arena final : public BufferSource {
 public:
  // bytes   a multiple of limits::kBlockBytes; 0: heap memory only
  explicit Arena(size_t bytes);
  ~Arena() override;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Called once when the region has become the ring's registered buffer `index`.
  void SetRegistered(int index) { registered_index_ = index; }
  bool registered() const { return registered_index_ >= 0; }

  // bytes   a multiple of limits::kBlockBytes, at most limits::kIoBytesMax
  IoBuffer Allocate(size_t bytes);
  void Free(char* data, size_t bytes) override;

  char* region() { return region_; }
  size_t bytes() const { return bytes_; }
  size_t free_bytes() const;

 private:
  struct Extent {
    size_t offset;
    size_t bytes;
  };
  bool Owns(const char* data) const { return data >= region_ && data < region_ + bytes_; }

  char* region_ = nullptr;
  size_t bytes_ = 0;
  int registered_index_ = -1;
  size_t heap_buffers_ = 0;
  std::vector<Extent> free_;
};

}  // namespace metastore::io::uring
