// A binary heap of caller-owned timers, earliest first, ties in the order they were armed. Arm and
// Cancel are O(log n) through Timer::heap_slot; nothing is allocated but the array's growth. Single
// core.
#pragma once

#include <vector>

#include "io/signal.h"

namespace metastore::io::uring {

class TimerHeap final {
 public:
  ~TimerHeap();

  void Arm(Timer& timer, MonoTime when);  // CHECKs that it is idle
  void Cancel(Timer& timer);              // no effect if it is idle

  // MonoTime::Max() when empty.
  MonoTime next() const { return heap_.empty() ? MonoTime::Max() : heap_.front()->when; }
  size_t size() const { return heap_.size(); }

  // Runs `fired` of every timer due at `now`, but of none armed meanwhile. Returns their number.
  size_t Fire(MonoTime now);

 private:
  static bool Before(const Timer& a, const Timer& b) {
    return a.when != b.when ? a.when < b.when : a.sequence < b.sequence;
  }
  void Place(Timer& timer, size_t slot);
  void SiftUp(Timer& timer, size_t slot);
  void SiftDown(Timer& timer, size_t slot);
  void Remove(size_t slot);

  std::vector<Timer*> heap_;
  uint64_t next_sequence_ = 0;
};

}  // namespace metastore::io::uring
