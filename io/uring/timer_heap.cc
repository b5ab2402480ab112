#include "io/uring/timer_heap.h"

namespace metastore::io::uring {

TimerHeap::~TimerHeap() {
  for (Timer* timer : heap_) timer->heap_slot = Timer::kIdle;
}

void TimerHeap::Place(Timer& timer, size_t slot) {
  heap_[slot] = &timer;
  timer.heap_slot = slot;
}

void TimerHeap::SiftUp(Timer& timer, size_t slot) {
  while (slot > 0) {
    const size_t parent = (slot - 1) / 2;
    if (!Before(timer, *heap_[parent])) break;
    Place(*heap_[parent], slot);
    slot = parent;
  }
  Place(timer, slot);
}

void TimerHeap::SiftDown(Timer& timer, size_t slot) {
  while (true) {
    size_t child = 2 * slot + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && Before(*heap_[child + 1], *heap_[child])) ++child;
    if (!Before(*heap_[child], timer)) break;
    Place(*heap_[child], slot);
    slot = child;
  }
  Place(timer, slot);
}

void TimerHeap::Arm(Timer& timer, MonoTime when) {
  CHECK(!timer.armed());
  CHECK(timer.fired != nullptr);
  timer.when = when;
  timer.sequence = next_sequence_++;
  heap_.push_back(&timer);
  SiftUp(timer, heap_.size() - 1);
}

void TimerHeap::Remove(size_t slot) {
  Timer& last = *heap_.back();
  heap_[slot]->heap_slot = Timer::kIdle;
  heap_.pop_back();
  if (slot == heap_.size()) return;
  if (slot > 0 && Before(last, *heap_[(slot - 1) / 2])) {
    SiftUp(last, slot);
  } else {
    SiftDown(last, slot);
  }
}

void TimerHeap::Cancel(Timer& timer) {
  if (!timer.armed()) return;
  CHECK(heap_[timer.heap_slot] == &timer);
  Remove(timer.heap_slot);
}

size_t TimerHeap::Fire(MonoTime now) {
  const uint64_t end = next_sequence_;
  size_t fired = 0;
  while (!heap_.empty() && heap_.front()->when <= now && heap_.front()->sequence < end) {
    Timer& timer = *heap_.front();
    Remove(0);
    timer.fired(timer);  // may arm and cancel timers, and free this one
    ++fired;
  }
  return fired;
}

}  // namespace metastore::io::uring
