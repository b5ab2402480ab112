// TickClock: which of raft's ticks are due, by a fixed schedule of the monotonic clock. Pure.
//
// Raft knows time by its ticks alone, and lease reads rest on them (raft/raft_core.h, "Time"): no
// tick is given early, and those that are due are given before anything else happens. After a
// pause (a stopped process, a suspended machine, a long turn) they are not made up for, since time
// in which nobody could act must not look like a leader's silence; then the caller is told, and
// whatever was to end by ticks that were left out must end now.
#pragma once

#include "io/base/time.h"

namespace metastore::server {

class TickClock final {
 public:
  // Ticks that are late by more intervals than this are left out, but for one.
  static constexpr int64_t kMadeUpMax = 2;

  struct Due {
    int ticks = 0;
    bool paused = false;  // others were left out
  };

  TickClock() = default;
  // The first tick is due an interval after `now`.
  TickClock(Duration interval, MonoTime now) : interval_(interval), next_(now + interval) {}

  // What has come due since the last call; `now` never goes back.
  Due Take(MonoTime now);
  MonoTime next() const { return next_; }

 private:
  Duration interval_;
  MonoTime next_ = MonoTime::Max();
};

}  // namespace metastore::server
