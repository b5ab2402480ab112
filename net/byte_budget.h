// ByteBudget: memory that many connections of a core share. Taking is refused, never queued: a wait
// for memory that only other waiters could free would never end.
#pragma once

#include <cstddef>

#include "io/base/check.h"

namespace metastore::net {

class ByteBudget final {
 public:
  explicit ByteBudget(size_t capacity) : capacity_(capacity) {}
  ~ByteBudget() { CHECK_EQ(used_, size_t{0}); }
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  // False, and nothing taken, where `bytes` more do not fit.
  [[nodiscard]] bool TryTake(size_t bytes) {
    if (bytes > capacity_ - used_) return false;
    used_ += bytes;
    return true;
  }
  void Return(size_t bytes) {
    CHECK_LE(bytes, used_);
    used_ -= bytes;
  }
  size_t used() const { return used_; }
  size_t capacity() const { return capacity_; }

 private:
  const size_t capacity_;
  size_t used_ = 0;
};

}  // namespace metastore::net
