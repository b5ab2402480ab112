// Fifo: a first-in first-out sequence in one vector, for queues that are bounded by what they hold
// (bytes, windows) and mostly empty: an empty one owns no memory until its first push, and keeps it
// afterwards.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "io/base/check.h"

namespace metastore::net {

template <typename T>
class Fifo final {
 public:
  bool empty() const { return first_ == items_.size(); }
  size_t size() const { return items_.size() - first_; }

  T& Push(T item) { return items_.emplace_back(std::move(item)); }
  T& front() {
    CHECK(!empty());
    return items_[first_];
  }
  T& back() {
    CHECK(!empty());
    return items_.back();
  }
  void Pop() {
    CHECK(!empty());
    items_[first_] = T();  // what it held is freed now
    ++first_;
    if (first_ == items_.size()) {
      Clear();
    } else if (first_ >= kCompactAt && first_ * 2 >= items_.size()) {
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
  }
  void Clear() {
    items_.clear();
    first_ = 0;
  }

 private:
  static constexpr size_t kCompactAt = 32;

  std::vector<T> items_;
  size_t first_ = 0;
};

}  // namespace metastore::net
