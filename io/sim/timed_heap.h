// TimedHeap: things with a due time, earliest first, ties in the order they were added; any of
// them can be taken out.
//
// Intrusive: T has `MonoTime when`, `uint64_t sequence` and `size_t heap_slot` (T::kIdle while
// in no heap). The heap keeps pointers only; whoever adds a T keeps it alive until it was
// popped or removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "io/base/check.h"
#include "io/base/time.h"

namespace metastore::sim {

template <typename T>
class TimedHeap final {
 public:
  bool empty() const { return slots_.empty(); }
  size_t size() const { return slots_.size(); }
  T& top() const { return *slots_.front().item; }

  void Add(T& item, MonoTime when) {
    CHECK(item.heap_slot == T::kIdle);
    item.when = when;
    item.sequence = ++sequence_;
    slots_.push_back(Slot{when, item.sequence, &item});
    item.heap_slot = slots_.size() - 1;
    Up(slots_.size() - 1);
  }

  void Remove(T& item) {
    const size_t slot = item.heap_slot;
    CHECK_LT(slot, slots_.size());
    CHECK(slots_[slot].item == &item);
    item.heap_slot = T::kIdle;
    const Slot last = slots_.back();
    slots_.pop_back();
    if (slot == slots_.size()) return;
    Place(slot, last);
    Down(slot);
    Up(last.item->heap_slot);
  }

  T& Pop() {
    T& item = top();
    Remove(item);
    return item;
  }

 private:
  struct Slot {
    MonoTime when;
    uint64_t sequence;
    T* item;

    bool Before(const Slot& other) const {
      return when != other.when ? when < other.when : sequence < other.sequence;
    }
  };

  void Place(size_t at, const Slot& slot) {
    slots_[at] = slot;
    slot.item->heap_slot = at;
  }
  void Up(size_t at) {
    const Slot moving = slots_[at];
    while (at > 0) {
      const size_t parent = (at - 1) / 2;
      if (!moving.Before(slots_[parent])) break;
      Place(at, slots_[parent]);
      at = parent;
    }
    Place(at, moving);
  }
  void Down(size_t at) {
    const Slot moving = slots_[at];
    while (2 * at + 1 < slots_.size()) {
      size_t child = 2 * at + 1;
      if (child + 1 < slots_.size() && slots_[child + 1].Before(slots_[child])) ++child;
      if (!slots_[child].Before(moving)) break;
      Place(at, slots_[child]);
      at = child;
    }
    Place(at, moving);
  }

  std::vector<Slot> slots_;
  uint64_t sequence_ = 0;
};

}  // namespace metastore::sim
