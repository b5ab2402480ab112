// The bytes of one log entry: immutable, reference counted, one allocation.
//
// The log write, the sends to followers, the entry cache and apply share one Payload; a copy costs
// one increment. Owner: whoever holds a copy. Core: all copies of one Payload stay on one core,
// since the count is not atomic (a state core's raft group, WAL and engine); bytes for another core
// are copied out, or the sole copy is moved there.
//
// Invariants: 1. bytes never change once a second copy exists. 2. An empty payload allocates
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "io/base/check.h"

namespace metastore::raft {

class Payload {
 public:
  Payload() = default;
  // Copies `bytes`.
  explicit Payload(std::string_view bytes) : Payload(Uninitialized(bytes.size())) {
    if (!bytes.empty()) std::memcpy(mutable_data(), bytes.data(), bytes.size());
  }
  // `size` bytes of unspecified content, to be filled through mutable_data() before the first copy
  // is made.
  static Payload Uninitialized(size_t size) {
    Payload payload;
    if (size == 0) return payload;
    void* memory = std::malloc(sizeof(Block) + size);
    CHECK(memory != nullptr);
    payload.block_ = new (memory) Block{1, size};
    return payload;
  }

  Payload(const Payload& other) : block_(other.block_) {
    if (block_ != nullptr) ++block_->references;
  }
  Payload(Payload&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Payload& operator=(const Payload& other) {
    Payload copy(other);
    std::swap(block_, copy.block_);
    return *this;
  }
  Payload& operator=(Payload&& other) noexcept {
    if (this != &other) {
      Release();
      block_ = std::exchange(other.block_, nullptr);
    }
    return *this;
  }
  ~Payload() { Release(); }

  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  bool empty() const { return block_ == nullptr; }
  std::string_view view() const {
    return block_ == nullptr ? std::string_view() : std::string_view(Bytes(), block_->size);
  }
  // To fill a payload from Uninitialized(); only while this is its sole copy. Null when empty.
  char* mutable_data() {
    if (block_ == nullptr) return nullptr;
    CHECK_EQ(block_->references, 1u);
    return Bytes();
  }

  bool operator==(const Payload& other) const {
    return block_ == other.block_ || view() == other.view();
  }

 private:
  struct Block {
    uint64_t references;
    uint64_t size;
  };

  char* Bytes() const { return reinterpret_cast<char*>(block_ + 1); }
  void Release() {
    if (block_ != nullptr && --block_->references == 0) std::free(block_);
  }

  Block* block_ = nullptr;
};

static_assert(sizeof(Payload) == sizeof(void*), "an Entry stays 32 bytes");

}  // namespace metastore::raft
