// TickFinder: whether long flushes took whole multiples of a scheduler tick (1, 4 or 10 ms, for
// kernels of 1000, 250 or 100 Hz). No disk does that: the write was done long before, but the node
// waited for a processor that somebody else had until the next tick. Pure, of fixed size.
//
// The rule: of the flushes from 0.9 to 16 ticks at least kFlushesMin, and at least half, are within
// a tenth of a tick of a multiple; without a tick it would be a fifth.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace metastore::walinspect {

struct Tick {
  uint32_t us = 0;
  uint64_t near_count = 0;  // flushes near a multiple
  uint64_t count = 0;       // flushes long enough to tell
};

class TickFinder final {
 public:
  static constexpr uint64_t kFlushesMin = 50;
  static constexpr double kShareMin = 0.5;

  void Add(uint32_t flush_us);
  // The longest tick that fits.
  std::optional<Tick> Find() const;

 private:
  std::array<Tick, 3> ticks_ = {Tick{.us = 10'000}, Tick{.us = 4'000}, Tick{.us = 1'000}};
};

}  // namespace metastore::walinspect
