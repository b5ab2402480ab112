#include "server/tick_clock.h"

namespace metastore::server {

TickClock::Due TickClock::Take(MonoTime now) {
  if (now < next_) return {};
  if (now - next_ > interval_ * kMadeUpMax) {
    next_ = now + interval_;
    return {.ticks = 1, .paused = true};
  }
  Due due;
  while (next_ <= now) {
    next_ = next_ + interval_;
    ++due.ticks;
  }
  return due;
}

}  // namespace metastore::server
