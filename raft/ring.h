// A first-in first-out queue with access by place, in one array of a power of two that grows when
// it is full and is kept: in steady state it allocates nothing.
//
// Bounds: the owner's; it never shrinks.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "io/base/check.h"

namespace metastore::raft {

template <typename T>
class Ring final {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return slots_[(head_ + i) & (slots_.size() - 1)]; }
  const T& operator[](size_t i) const { return slots_[(head_ + i) & (slots_.size() - 1)]; }
  // Not when empty().
  T& front() { return (*this)[0]; }
  const T& front() const { return (*this)[0]; }
  T& back() { return (*this)[size_ - 1]; }
  const T& back() const { return (*this)[size_ - 1]; }

  void push_back(T value) {
    if (size_ == slots_.size()) Grow();
    ++size_;
    back() = std::move(value);
  }
  void pop_front() {
    CHECK(!empty());
    front() = T();
    head_ = (head_ + 1) & (slots_.size() - 1);
    --size_;
  }
  void pop_back() {
    CHECK(!empty());
    back() = T();
    --size_;
  }
  void clear() {
    while (!empty()) pop_back();
  }

 private:
  void Grow() {
    constexpr size_t kFirstSize = 8;
    std::vector<T> larger(slots_.empty() ? kFirstSize : 2 * slots_.size());
    for (size_t i = 0; i < size_; ++i) larger[i] = std::move((*this)[i]);
    slots_ = std::move(larger);
    head_ = 0;
  }

  std::vector<T> slots_;
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace metastore::raft
