// Memory for I/O: IoBuffer, aligned for O_DIRECT and registered with the ring where that is
// possible; SharedBytes, the only object that more than one core may reference.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "io/base/limits.h"

namespace metastore::io {

// Where IoBuffers return to; a runtime's arena.
class BufferSource {
 public:
  virtual ~BufferSource() = default;
  virtual void Free(char* data, size_t bytes) = 0;
};

// A block-aligned buffer owned by one object on one core; freed to the arena it came from, which
// must outlive it.
class IoBuffer final {
 public:
  IoBuffer() = default;
  IoBuffer(BufferSource* source, char* data, size_t bytes, int registered_index)
      : source_(source), data_(data), bytes_(bytes), registered_index_(registered_index) {}
  IoBuffer(IoBuffer&& other) noexcept { Swap(other); }
  IoBuffer& operator=(IoBuffer&& other) noexcept {
    IoBuffer moved(std::move(other));
    Swap(moved);
    return *this;
  }
  ~IoBuffer() {
    if (data_ != nullptr) source_->Free(data_, bytes_);
  }

  char* data() { return data_; }
  const char* data() const { return data_; }
  size_t size() const { return bytes_; }
  std::string_view view() const { return {data_, bytes_}; }
  // The ring's registered buffer this lies in, or -1: then plain operations serve.
  int registered_index() const { return registered_index_; }

 private:
  void Swap(IoBuffer& other) noexcept {
    std::swap(source_, other.source_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(registered_index_, other.registered_index_);
  }

  BufferSource* source_ = nullptr;
  char* data_ = nullptr;
  size_t bytes_ = 0;
  int registered_index_ = -1;
};

// Immutable bytes with an atomic reference count: large answers, log payloads and watch batches
// cross cores as these. Copying shares. An empty one owns nothing.
class SharedBytes final {
 public:
  SharedBytes() = default;
  // Copies `bytes` once: count and bytes are one allocation.
  static SharedBytes Copy(std::string_view bytes) {
    if (bytes.empty()) return {};
    void* memory = ::operator new(sizeof(Block) + bytes.size());
    auto* block = new (memory) Block;
    std::char_traits<char>::copy(block->data(), bytes.data(), bytes.size());
    return SharedBytes(block, bytes.size());
  }
  SharedBytes(const SharedBytes& other) : block_(other.block_), bytes_(other.bytes_) {
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBytes(SharedBytes&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  SharedBytes& operator=(SharedBytes other) noexcept {
    std::swap(block_, other.block_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SharedBytes() {
    if (block_ == nullptr) return;
    if (block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) ::operator delete(block_);
  }

  std::string_view view() const {
    return block_ == nullptr ? std::string_view() : std::string_view(block_->data(), bytes_);
  }
  size_t size() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }

 private:
  struct Block {
    std::atomic<uint64_t> references{1};
    char* data() { return reinterpret_cast<char*>(this + 1); }
  };
  SharedBytes(Block* block, size_t bytes) : block_(block), bytes_(bytes) {}

  Block* block_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace metastore::io
