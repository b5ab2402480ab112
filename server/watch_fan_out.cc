#include "server/watch_fan_out.h"

#include <algorithm>

#include "io/base/check.h"
#include "server/mutation.h"

namespace metastore::server {

void WatchFanOut::Begin(const WatchBatch& batch) {
  CHECK(batch_ == nullptr);
  batch_ = &batch;
  Collect();
}

// A range's slot holds if the place it names is the range's: it need not be cleared.
void WatchFanOut::Collect() {
  for (uint32_t place = 0; place < batch_->changes.size(); ++place) {
    index_.Match(batch_->KeyOf(batch_->changes[place]), [this, place](WatchRange& range) {
      if ((range.*list_).empty()) return;
      uint32_t& slot = range.*slot_;
      if (slot >= touched_.size() || touched_[slot].range != &range) {
        slot = static_cast<uint32_t>(touched_.size());
        touched_.push_back({.range = &range});
      }
      touched_[slot].picked.push_back(place);
    });
  }
}

bool WatchFanOut::Step(engine::StepBudget& budget, Receiver& receiver) {
  CHECK(batch_ != nullptr);
  while (at_ < touched_.size()) {
    if (touched_[at_].range != nullptr && !StepRange(budget, receiver)) return false;
    NextRange();
  }
  End();
  return true;
}

bool WatchFanOut::StepRange(engine::StepBudget& budget, Receiver& receiver) {
  Watchers& watchers = touched_[at_].range->*list_;
  left_ = std::min(left_, watchers.size());
  while (left_ > 0) {
    if (!budget.Spend(1)) return false;
    GiveTurn(*watchers[--left_], budget, receiver);
  }
  return true;
}

void WatchFanOut::GiveTurn(Watcher& watcher, engine::StepBudget& budget, Receiver& receiver) {
  const Touched& touched = touched_[at_];
  if (watcher.next > batch_->changes[touched.picked.back()].revision) return;
  WatchFilter filter{
      .prev_kv = watcher.prev_kv, .no_puts = watcher.no_puts, .no_deletes = watcher.no_deletes};
  if (watcher.next > batch_->changes[touched.picked.front()].revision) {
    filter.from = Mutated(Mutation::kWatchStartOffByOne) ? watcher.next + 1 : watcher.next;
    const WatchBlock block = MakeBlock(*batch_, touched.picked, filter);
    budget.SpendBytes(block.events.size());
    if (block.count > 0) receiver.Offer(watcher, block);
    return;
  }
  std::optional<WatchBlock>& block = blocks_[filter.kind()];
  if (!block.has_value()) {
    block = MakeBlock(*batch_, touched.picked, filter);
    budget.SpendBytes(block->events.size());
  }
  if (block->count > 0) receiver.Offer(watcher, *block);
}

void WatchFanOut::NextRange() {
  ++at_;
  left_ = SIZE_MAX;
  blocks_ = {};
}

void WatchFanOut::Forget(const WatchRange& range) {
  CHECK((range.*list_).empty());
  const uint32_t slot = range.*slot_;
  if (slot < touched_.size() && touched_[slot].range == &range) touched_[slot].range = nullptr;
}

void WatchFanOut::End() {
  batch_ = nullptr;
  at_ = 0;
  constexpr size_t kKept = 1024;
  if (touched_.capacity() > kKept) std::vector<Touched>().swap(touched_);
  touched_.clear();
}

}  // namespace metastore::server
