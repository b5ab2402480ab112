// WatchFanOut: gives a batch's changes to the watchers whose ranges they are in, in steps, so that
// very many of them do not hold up the core.
//
// What the watchers of one range get is encoded once for each way of leaving things out, and
// shared. An edge core's WatchTable has two: for the synced watchers, and for those that a pass of
// the catch-up is for. Each is for one list of the ranges, and has one batch at a time.
//
// Between steps watchers come and go, and ranges with them. Each gets what it must, once:
//  1. Of the range under way, the watchers before `left_` have not had their turn. Steps go from
//     the end, and one that is taken out, be it in its own turn, is replaced by the list's last:
//     whoever has not had its turn stays before `left_`, and nobody is passed over.
//  2. Whoever had its turn, or has come since, may be moved before `left_` so, or be in a range
//     whose turn comes. It gets nothing twice: who takes a block moves watcher.next behind it
//     (WatchTable::OfferAs), and who comes needs nothing that the batch has (WatchTable::Place,
//     CatchUp::Leave; CatchUp::Join comes between two).
//  3. Whoever goes gets nothing more of the batch; what it needs next was noted when it went.
//  4. A range goes with its last watcher and is forgotten (Forget).
// To find the ranges that a batch touches is not cut into steps: it costs by changes and ranges,
// not by watchers.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "engine/step_budget.h"
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

  // For the list `list` of ranges; `slot` is its scratch. `index` outlives it.
  WatchFanOut(const WatchIndex& index, Watchers WatchRange::* list, uint32_t WatchRange::* slot)
      : index_(index), list_(list), slot_(slot) {}

  // `batch` outlives its delivery; none is under way (CHECKed).
  void Begin(const WatchBatch& batch);
  // One step of it. True: everybody has had its turn, and the batch is not needed any more.
  bool Step(engine::StepBudget& budget, Receiver& receiver);
  // The range is about to go: nobody is in its list (CHECKed).
  void Forget(const WatchRange& range);

 private:
  struct Touched {
    WatchRange* range = nullptr;              // null: it has gone
    absl::InlinedVector<uint32_t, 4> picked;  // places in the batch
  };

  void Collect();
  bool StepRange(engine::StepBudget& budget, Receiver& receiver);
  void GiveTurn(Watcher& watcher, engine::StepBudget& budget, Receiver& receiver);
  void NextRange();
  void End();

  const WatchIndex& index_;
  Watchers WatchRange::* const list_;
  uint32_t WatchRange::* const slot_;
  const WatchBatch* batch_ = nullptr;  // null: none is under way
  std::vector<Touched> touched_;
  size_t at_ = 0;           // in touched_: the range under way
  size_t left_ = SIZE_MAX;  // of its watchers, at most
  std::array<std::optional<WatchBlock>, WatchFilter::kKinds> blocks_;  // of it
};

}  // namespace metastore::server
