// WatchHub: tells the edge cores of every change, while anybody there watches.
//
// Owned by the StateCore, on its core. The changes of a turn become one WatchBatch, which goes to
// each edge core that has watchers. What is under way to an edge, or there and not yet given to all
// its watchers, is bounded: an edge that does not keep up loses its feed until it does, sees the
// gap by the revisions, and reads history instead.
// So the state core never waits for an edge. While nobody watches, a change costs a branch.
//
// Invariants
//  1. From Attach on until it is told that nobody watches, a feed gets each later change once, in
//     order, or a batch that begins behind a gap.
//  2. Batches of a feed have adjoining revisions, but for gaps.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "io/metrics.h"
#include "io/runtime.h"
#include "io/signal.h"
#include "server/watch_batch.h"

namespace metastore::server {

// A batch that has come to a feed, which has it until it returns it.
class WatchArrival {
 public:
  virtual ~WatchArrival() = default;
  // Once, on the feed's core; the arrival is not used afterwards. `watched`: somebody watches
  // there; false: nothing more is wanted until the next Attach.
  virtual void Return(bool watched) = 0;

  WatchBatch batch;
};

// Where an edge core's live changes arrive.
class WatchFeed {
 public:
  virtual ~WatchFeed() = default;
  virtual io::Runtime& runtime() = 0;  // its core's
  // On its core. Returned now or later, in any order.
  virtual void OnBatch(WatchArrival& arrival) = 0;
};

// What watchers' streams need to know of the member.
struct WatchMember {
  Term term;
  bool has_leader = true;
  bool fenced = false;
};

// The store at one moment. Everything up to `revision` was sent to the feeds before.
struct WatchMoment {
  Revision revision;
  Revision compacted;
  bool began = false;  // Attach: the feed was off, and gets what comes after `revision`
  WatchMember member;
};

// A part of history, for the watchers of an edge that are behind.
struct WatchHistory {
  // In: as HistoryQuery's.
  Revision from;
  std::string key;
  std::string range_end;
  bool prev_kv = false;
  // Out.
  engine::Outcome outcome = engine::Outcome::kOk;  // as HistoryResult's, as the rest
  Revision compacted;
  Revision current;
  WatchBatch batch;  // from `from` on, whole revisions; go on behind its last
};

class WatchHub final : public engine::ChangeListener {
 public:
  // `runtime` and `engine` outlive it; `member` is called during calls of feeds.
  WatchHub(io::Runtime& runtime, engine::Engine& engine, std::function<WatchMember()> member);
  ~WatchHub() override;  // every feed was detached (CHECKed)

  // --- for edges, on the state core ------------------------------------------------------------
  // `previous`: somebody there wants previous pairs.
  WatchMoment Attach(WatchFeed& feed, bool previous);
  WatchMoment Look();
  // Completes when nothing is under way to `feed` and nothing will be. Also of one that was never
  // attached.
  io::Task<void> Detach(WatchFeed& feed);
  // `history` outlives the task.
  io::Task<void> Read(WatchHistory& history);

  // --- ChangeListener --------------------------------------------------------------------------
  Detail WantedDetail() const override { return wanted_; }
  void OnChanges(Revision revision, std::span<const engine::Event> events) override;
  void OnLeaseGranted(const engine::LeaseInfo& /*lease*/) override {}
  void OnLeaseRevoked(LeaseId /*lease*/) override {}
  void OnCompacted(Revision /*revision*/) override {}
  void OnRestored() override;

  void AddMetrics(io::MetricList& list) const;
  // Batches that an edge did not get, since start.
  uint64_t lost_batches() const { return lost_batches_; }

 private:
  struct Lane {
    WatchFeed* feed = nullptr;
    bool on = false;
    bool previous = false;
    bool lost = false;  // a batch was not sent
    uint64_t attaches = 0;
    size_t batches = 0;  // not returned
    size_t bytes = 0;
    io::Signal returned;
  };
  struct Post final : WatchArrival, io::ReadyNode {
    void Return(bool watched) override;

    WatchHub* hub = nullptr;
    Lane* lane = nullptr;
    size_t bytes = 0;
    uint64_t attaches = 0;  // of the lane, when this was sent
    bool watched = true;
  };
  struct FlushNode : io::ReadyNode {
    WatchHub* hub = nullptr;
  };

  Lane& LaneOf(WatchFeed& feed);
  void ScheduleFlush();
  void SendPending();
  void Flush();
  void Send(Lane& lane, const WatchBatch& batch);
  void Resume(Lane& lane);
  void OnReturned(std::unique_ptr<Post> post);
  void FollowLanes();

  io::Runtime& runtime_;
  engine::Engine& engine_;
  const std::function<WatchMember()> member_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Detail wanted_ = Detail::kNothing;
  WatchBatchBuilder builder_;
  Revision first_;  // of what is in the builder
  Revision last_;
  FlushNode flush_;
  uint64_t batches_ = 0;
  uint64_t lost_batches_ = 0;
};

}  // namespace metastore::server
