// PostRing: the nodes one core posts to another: a bounded ring with one producer and one consumer.
//
// Each side owns its index and reads the other's only when its cached copy says full or empty, so
// that a busy ring moves few cache lines. The release store of `tail_` publishes the node and all
// its poster wrote before.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "io/base/limits.h"
#include "io/scheduler.h"

namespace metastore::io::uring {

class PostRing final {
 public:
  PostRing() : slots_(new ReadyNode*[kSlots]) {}  // not zeroed: pages are touched as the ring fills

  // Producer. False when full.
  bool TryPush(ReadyNode& node) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ == kSlots) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ == kSlots) return false;
    }
    slots_[tail % kSlots] = &node;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  // Consumer. Null when empty.
  ReadyNode* TryPop() {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return nullptr;
    }
    ReadyNode* node = slots_[head % kSlots];
    head_.store(head + 1, std::memory_order_release);
    return node;
  }
  bool empty() const {
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
  }

 private:
  static constexpr size_t kSlots = limits::kPostRingSlots;
  static_assert((kSlots & (kSlots - 1)) == 0);

  std::unique_ptr<ReadyNode*[]> slots_;
  alignas(64) std::atomic<uint64_t> tail_{0};  // producer's
  uint64_t head_seen_ = 0;
  alignas(64) std::atomic<uint64_t> head_{0};  // consumer's
  uint64_t tail_seen_ = 0;
};

}  // namespace metastore::io::uring
