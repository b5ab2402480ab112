// WatchTable: all watchers of one edge core.
//
// Owned by the EdgeCore, on its core. Watchers are synced, and get each batch as it arrives, or
// behind, and are caught up (server/watch_catch_up.h). Up to the revision `heard` batches have
// arrived. They are given to the synced watchers one after the other, each in steps of some 300 us
// (server/watch_fan_out.h): the first where it arrives, if none is under way, the rest in the
// background of later turns. So the next one overtakes none, and very many watchers do not hold up
// the core. Up to `live` that is done: a synced watcher has been offered everything of its range.
// Who waits for the end of a batch goes on before the next one begins (WaitDelivered).
//
// A watcher becomes synced, new or caught up, only where it needs nothing up to `heard`. So what is
// under way or waits is for those alone who were synced when it arrived, and for whom it goes
// before all that comes later; who is put behind meanwhile notes what it still needs.
//
// A batch that begins behind a gap puts every synced watcher behind, from the gap's begin, when its
// turn has come; that alone is done in one go.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "engine/step_budget.h"
#include "io/gate.h"
#include "io/metrics.h"
#include "io/runtime.h"
#include "io/signal.h"
#include "server/watch_catch_up.h"
#include "server/watch_fan_out.h"
#include "server/watch_hub.h"
#include "server/watch_index.h"

namespace metastore::server {

class WatchSession;

struct WatchStats {
  uint64_t watchers = 0;
  uint64_t behind = 0;
  uint64_t parked = 0;  // of these, for their session takes nothing
  uint64_t events_total = 0;
  uint64_t over_budget_total = 0;
  uint64_t gaps_total = 0;
};

class WatchTable final : public WatchFeed, private WatchFanOut::Receiver {
 public:
  struct Parts {
    io::Runtime& runtime;  // this core's
    io::Runtime& state;    // the hub's
    WatchHub& hub;
    Duration progress_interval;  // between progress notifications of a watcher, at least
    Duration leader_interval;    // between looks at whether there is a leader
    // Watchers that have their turn in one step, at most; one that waits for the clock has fewer.
    size_t step_watchers = engine::kStepRecords;
  };
  // What `parts` refers to outlives it.
  explicit WatchTable(const Parts& parts);
  ~WatchTable() override;

  // Once.
  void Start();
  // Ends every session, and each one made from now on, with `why`, which is not OK.
  void EndSessions(const Status& why);
  // Completes when the hub has forgotten this table. No session is left (CHECKed).
  io::Task<void> Close();

  void AddMetrics(io::MetricList& list) const;

  // --- WatchFeed
  io::Runtime& runtime() override { return parts_.runtime; }
  void OnBatch(WatchArrival& arrival) override;

  // --- for sessions and the catch-up
  // Asks the state core. `attach`: for a watcher that is about to be made; Settle follows.
  // Errors: kResourceExhausted  too many calls under way
  io::Task<StatusOr<WatchMoment>> Ask(bool attach, bool previous);
  // The watcher that Ask was for is there, or is not to be.
  void Settle() { --making_; }
  void Join(WatchSession& session);
  void Leave(WatchSession& session);
  // A new watcher that needs what is from watcher.next on.
  void Place(Watcher& watcher);
  // In no list afterwards, nor in its range.
  void Remove(Watcher& watcher);
  // From its list to that of `to`. What it needs next is set before, where `to` is no kSynced.
  void Move(Watcher& watcher, WatcherState to);
  Revision live() const { return live_; }
  Revision heard() const { return heard_; }
  // Completes, for a call of class kClient, between two batches, when everything up to `revision`
  // that was heard has been delivered; live delivery has given nobody what is behind live().
  io::Task<void> WaitDelivered(Revision revision);
  // As far as this core knows.
  Term term() const { return term_; }
  const Parts& parts() const { return parts_; }
  WatchIndex& index() { return index_; }
  const WatchStats& stats() const { return stats_; }
  engine::StepBudget NewStep() const {
    return engine::StepBudget(&parts_.runtime, parts_.step_watchers);
  }
  // Offers the block, which has all that the watcher needs up to its end, with this revision in its
  // header. One that takes it needs what is behind it; one over its budget is parked.
  void OfferAs(Watcher& watcher, const WatchBlock& block, Revision revision);

 private:
  struct StepNode : io::ReadyNode {
    WatchTable* table = nullptr;
  };

  void Offer(Watcher& watcher, const WatchBlock& block) override;
  void Begin(WatchArrival& arrival);
  void Deliver();
  void Pause();
  void GoOn();
  void Gap(Revision resumed);
  io::Task<void> FollowLeader();
  void EndLeaderless();
  void Unlist(Watcher& watcher);
  void Enlist(Watcher& watcher, WatcherState state);

  const Parts parts_;
  WatchIndex index_;
  CatchUp catch_up_;
  std::vector<WatchSession*> sessions_;
  WatchFanOut fan_out_;
  WatchArrival* under_way_ = nullptr;
  std::deque<WatchArrival*> waiting_;  // behind it, in order; WatchHub bounds them
  StepNode step_;
  StepNode pause_;  // queued: between two batches
  io::Signal delivered_;
  Revision live_;
  Revision heard_;
  Term term_;
  size_t making_ = 0;  // watchers between Ask and Settle
  WatchStats stats_;
  Status ended_;
  io::StopSource stop_;
  io::Gate gate_;
};

}  // namespace metastore::server
