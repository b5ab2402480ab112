#include "server/watch_fan_out.h"

#include "server/mutation.h"

namespace metastore::server {

void WatchFanOut::Deliver(const WatchBatch& batch, Watchers WatchRange::* list,
                          Receiver& receiver) {
  Collect(batch, list);
  for (const Touched& touched : touched_) {
    DeliverTo(batch, touched, touched.range->*list, receiver);
  }
  constexpr size_t kKept = 1024;
  if (touched_.capacity() > kKept) std::vector<Touched>().swap(touched_);
  touched_.clear();
}

// A range's slot holds if the place it names is the range's: it need not be cleared.
void WatchFanOut::Collect(const WatchBatch& batch, Watchers WatchRange::* list) {
  touched_.clear();
  for (uint32_t place = 0; place < batch.changes.size(); ++place) {
    index_.Match(batch.KeyOf(batch.changes[place]), [this, place, list](WatchRange& range) {
      if ((range.*list).empty()) return;
      if (range.slot >= touched_.size() || touched_[range.slot].range != &range) {
        range.slot = static_cast<uint32_t>(touched_.size());
        touched_.push_back({.range = &range});
      }
      touched_[range.slot].picked.push_back(place);
    });
  }
}

void WatchFanOut::DeliverTo(const WatchBatch& batch, const Touched& touched, Watchers& watchers,
                            Receiver& receiver) {
  std::array<std::optional<WatchBlock>, WatchFilter::kKinds> blocks;
  const Revision oldest = batch.changes[touched.picked.front()].revision;
  // From the end: a watcher that is taken away is replaced by the last one.
  for (size_t i = watchers.size(); i-- > 0;) {
    Watcher& watcher = *watchers[i];
    WatchFilter filter{
        .prev_kv = watcher.prev_kv, .no_puts = watcher.no_puts, .no_deletes = watcher.no_deletes};
    if (watcher.next > oldest) {
      filter.from = Mutated(Mutation::kWatchStartOffByOne) ? watcher.next + 1 : watcher.next;
      const WatchBlock block = MakeBlock(batch, touched.picked, filter);
      if (block.count > 0) receiver.Offer(watcher, block);
      continue;
    }
    std::optional<WatchBlock>& block = blocks[filter.kind()];
    if (!block.has_value()) block = MakeBlock(batch, touched.picked, filter);
    if (block->count > 0) receiver.Offer(watcher, *block);
  }
}

}  // namespace metastore::server
