#include "io/uring/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "io/base/check.h"

namespace metastore::io::uring {
namespace {

constexpr std::align_val_t kAlignment{limits::kBlockBytes};

}  // namespace

Arena::Arena(size_t bytes) : bytes_(bytes) {
  CHECK_EQ(bytes % limits::kBlockBytes, 0u);
  if (bytes == 0) return;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    bytes_ = 0;
    return;
  }
  region_ = static_cast<char*>(memory);
  free_.push_back({0, bytes_});
}

Arena::~Arena() {
  CHECK_EQ(free_bytes(), bytes_);
  CHECK_EQ(heap_buffers_, 0u);
  if (region_ != nullptr) munmap(region_, bytes_);
}

size_t Arena::free_bytes() const {
  size_t sum = 0;
  for (const Extent& extent : free_) sum += extent.bytes;
  return sum;
}

IoBuffer Arena::Allocate(size_t bytes) {
  CHECK_GT(bytes, 0u);
  CHECK_EQ(bytes % limits::kBlockBytes, 0u);
  CHECK_LE(bytes, limits::kIoBytesMax);
  for (size_t i = 0; i < free_.size(); ++i) {
    Extent& extent = free_[i];
    if (extent.bytes < bytes) continue;
    char* data = region_ + extent.offset;
    extent.offset += bytes;
    extent.bytes -= bytes;
    if (extent.bytes == 0) free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
    return IoBuffer(this, data, bytes, registered_index_);
  }
  ++heap_buffers_;
  return IoBuffer(this, static_cast<char*>(::operator new(bytes, kAlignment)), bytes, -1);
}

void Arena::Free(char* data, size_t bytes) {
  if (!Owns(data)) {
    CHECK_GT(heap_buffers_, 0u);
    --heap_buffers_;
    ::operator delete(data, kAlignment);
    return;
  }
  const auto offset = static_cast<size_t>(data - region_);
  const auto after = std::lower_bound(free_.begin(), free_.end(), offset,
                                      [](const Extent& e, size_t at) { return e.offset < at; });
  const bool joins_after = after != free_.end() && after->offset == offset + bytes;
  CHECK(after == free_.end() || after->offset >= offset + bytes);
  if (after != free_.begin()) {
    const auto before = after - 1;
    CHECK_LE(before->offset + before->bytes, offset);
    if (before->offset + before->bytes == offset) {
      before->bytes += bytes;
      if (joins_after) {
        before->bytes += after->bytes;
        free_.erase(after);
      }
      return;
    }
  }
  if (joins_after) {
    after->offset = offset;
    after->bytes += bytes;
  } else {
    free_.insert(after, {offset, bytes});
  }
}

}  // namespace metastore::io::uring
