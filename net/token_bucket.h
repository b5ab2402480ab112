// TokenBucket: how much of something cheap for a peer and costly for us it may do. Pure; time is
// passed in.
#pragma once

#include <algorithm>
#include <cstdint>

#include "io/base/time.h"

namespace metastore::net {

class TokenBucket final {
 public:
  // Starts full with `burst` tokens; `per_second` come back.
  TokenBucket(uint32_t burst, uint32_t per_second)
      : capacity_(int64_t{burst} * kPerToken), per_second_(per_second), level_(capacity_) {}

  // Takes one token at `now` (never before an earlier `now`). False: none was left.
  [[nodiscard]] bool Take(MonoTime now) {
    const int64_t elapsed_us = std::min((now - last_).us(), kRefillMax);
    if (elapsed_us > 0) {
      level_ = std::min(capacity_, level_ + elapsed_us * per_second_);
      last_ = now;
    }
    if (level_ < kPerToken) return false;
    level_ -= kPerToken;
    return true;
  }

 private:
  static constexpr int64_t kPerToken = 1'000'000;  // levels are in millionths of a token
  static constexpr int64_t kRefillMax =
      3600 * 1'000'000LL;  // an hour fills every bucket of ours; bounds the product

  int64_t capacity_;
  int64_t per_second_;
  int64_t level_;
  MonoTime last_;
};

}  // namespace metastore::net
