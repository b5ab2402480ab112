// RateWindow: how many events a second there were lately, without a timer: whoever counts or asks
// says what time it is.
//
// Limits: seconds are counted whole, so an event shows up to a second late and leaves the window
// kSeconds later.
#pragma once

#include <array>
#include <cstdint>

#include "io/base/time.h"

namespace metastore::net {

class RateWindow final {
 public:
  static constexpr int64_t kSeconds = 10;

  // `now` never goes back between calls.
  void Count(MonoTime now, uint64_t events);
  // Over the last kSeconds whole seconds.
  double PerSecond(MonoTime now) const;

 private:
  struct Second {
    int64_t number = -1;  // since the clock's zero; -1: none yet
    uint64_t events = 0;
  };
  // The second under way, and those that count.
  std::array<Second, kSeconds + 1> seconds_;
};

}  // namespace metastore::net
