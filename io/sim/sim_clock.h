// Virtual time: SimEvent, what happens at one instant, and SimClock, the world's time and its
// queue of events.
//
// Events of one instant run in the order they were scheduled. Each run is mixed into the trace
// hash, so two runs that differ anywhere have different hashes from there on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/base/hash.h"
#include "io/base/time.h"
#include "io/sim/timed_heap.h"

namespace metastore::sim {

// Owned by whoever schedules it, and kept in place until it ran or was cancelled.
struct SimEvent {
  MonoTime when;
  uint64_t sequence = 0;
  static constexpr size_t kIdle = static_cast<size_t>(-1);
  size_t heap_slot = kIdle;
  void (*run)(SimEvent& self) = nullptr;

  bool scheduled() const { return heap_slot != kIdle; }
};

class SimClock final {
 public:
  // World time: starts at one second, so that nothing is ever before zero.
  MonoTime Now() const { return now_; }

  // `event` (not scheduled now) runs at `when`; at once, but not inside this call, if that is
  // past.
  void Schedule(SimEvent& event, MonoTime when) { events_.Add(event, when < now_ ? now_ : when); }
  // No effect if it is not scheduled.
  void Cancel(SimEvent& event) {
    if (event.scheduled()) events_.Remove(event);
  }

  bool empty() const { return events_.empty(); }
  MonoTime next() const { return events_.empty() ? MonoTime::Max() : events_.top().when; }
  // Runs the earliest event, its time being now. There must be one.
  void RunNext() {
    SimEvent& event = events_.Pop();
    now_ = event.when;
    ++events_run_;
    Trace(static_cast<uint64_t>(now_.ns), event.sequence);
    event.run(event);
  }
  // Time passes up to `when`, before which no event may lie.
  void AdvanceTo(MonoTime when) {
    CHECK(next() >= when);
    if (when > now_) now_ = when;
  }

  // Mixes two words that describe what happens into the trace.
  void Trace(uint64_t a, uint64_t b) { trace_ = MixSeed(trace_ ^ a, b); }
  uint64_t trace_hash() const { return trace_; }
  uint64_t events_run() const { return events_run_; }

 private:
  MonoTime now_{1'000'000'000};
  TimedHeap<SimEvent> events_;
  uint64_t trace_ = 0;
  uint64_t events_run_ = 0;
};

}  // namespace metastore::sim
