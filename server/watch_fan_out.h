// WatchFanOut: gives a batch's changes to the watchers whose ranges they are in.
//
// What the watchers of one range get is encoded once for each way of leaving things out, and
// shared. Owned by an edge core's WatchTable.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "server/watch_batch.h"
#include "server/watch_index.h"

namespace metastore::server {

class WatchFanOut final {
 public:
  // What takes the blocks: Offer(Watcher&, const WatchBlock&) may take the watcher from its list.
  class Receiver {
   public:
    virtual ~Receiver() = default;
    virtual void Offer(Watcher& watcher, const WatchBlock& block) = 0;
  };

  // Outlives it.
  explicit WatchFanOut(const WatchIndex& index) : index_(index) {}

  // To the synced watchers, or to those that a pass of the catch-up is for.
  void Deliver(const WatchBatch& batch, Watchers WatchRange::* list, Receiver& receiver);

 private:
  struct Touched {
    WatchRange* range = nullptr;
    absl::InlinedVector<uint32_t, 4> picked;  // places in the batch
  };

  void Collect(const WatchBatch& batch, Watchers WatchRange::* list);
  static void DeliverTo(const WatchBatch& batch, const Touched& touched, Watchers& watchers,
                        Receiver& receiver);

  const WatchIndex& index_;
  std::vector<Touched> touched_;  // scratch
};

}  // namespace metastore::server
