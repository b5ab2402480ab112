#include "tools/walinspect/tick.h"

namespace metastore::walinspect {

void TickFinder::Add(uint32_t flush_us) {
  for (Tick& tick : ticks_) {
    const uint32_t tenth = tick.us / 10;
    if (flush_us < tick.us - tenth || flush_us > 16 * tick.us) continue;
    ++tick.count;
    const uint32_t beyond = flush_us % tick.us;
    if (beyond <= tenth || beyond >= tick.us - tenth) ++tick.near_count;
  }
}

std::optional<Tick> TickFinder::Find() const {
  for (const Tick& tick : ticks_) {
    const auto near = static_cast<double>(tick.near_count);
    if (tick.count < kFlushesMin || near < kShareMin * static_cast<double>(tick.count)) continue;
    return tick;
  }
  return std::nullopt;
}

}  // namespace metastore::walinspect
