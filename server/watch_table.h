// WatchTable: all watchers of one edge core.
//
// Owned by the EdgeCore, on its core. Watchers are synced, and get each batch as it arrives, or
// behind, and are caught up (server/watch_catch_up.h). `live` is the revision up to which batches
// have arrived: a synced watcher has been offered everything of its range up to it.
//
// A batch that begins behind a gap puts every synced watcher behind, from the gap's begin.
#pragma once

#include <memory>
#include <vector>

#include "io/gate.h"
#include "io/metrics.h"
#include "io/runtime.h"
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
  bool OnBatch(const WatchBatch& batch) override;

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
  // In no list afterwards.
  void Remove(Watcher& watcher);
  // From its list to that of `to`. What it needs next is set before, where `to` is no kSynced.
  void Move(Watcher& watcher, WatcherState to);
  Revision live() const { return live_; }
  // As far as this core knows.
  Term term() const { return term_; }
  const Parts& parts() const { return parts_; }
  WatchIndex& index() { return index_; }
  WatchFanOut& fan_out() { return fan_out_; }
  const WatchStats& stats() const { return stats_; }
  // Offers the block with this revision in its header; one over its budget is parked.
  void OfferAs(Watcher& watcher, const WatchBlock& block, Revision revision);

 private:
  void Offer(Watcher& watcher, const WatchBlock& block) override;
  void Gap(Revision resumed);
  io::Task<void> FollowLeader();
  void EndLeaderless();
  void Unlist(Watcher& watcher);
  void Enlist(Watcher& watcher, WatcherState state);

  const Parts parts_;
  WatchIndex index_;
  WatchFanOut fan_out_;
  CatchUp catch_up_;
  std::vector<WatchSession*> sessions_;
  Revision live_;
  Term term_;
  size_t making_ = 0;  // watchers between Ask and Settle
  WatchStats stats_;
  Status ended_;
  io::StopSource stop_;
  io::Gate gate_;
};

}  // namespace metastore::server
