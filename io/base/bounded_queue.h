// A first-in first-out queue with a capacity fixed at construction: full means a refused push,
// never growth.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "io/base/check.h"

namespace metastore {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : slots_(capacity) { CHECK_GT(capacity, 0u); }

  size_t size() const { return size_; }
  size_t capacity() const { return slots_.size(); }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == slots_.size(); }

  // False, and `value` untouched, when full.
  [[nodiscard]] bool TryPush(T&& value) {
    if (full()) return false;
    slots_[(head_ + size_) % slots_.size()] = std::move(value);
    ++size_;
    return true;
  }
  T& front() {
    CHECK(!empty());
    return slots_[head_];
  }
  T Pop() {
    CHECK(!empty());
    T value = std::move(slots_[head_]);
    slots_[head_] = T();
    head_ = (head_ + 1) % slots_.size();
    --size_;
    return value;
  }

 private:
  std::vector<T> slots_;
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace metastore
