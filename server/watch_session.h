// WatchSession: the watchers that one holder has, and what is delivered to them, in order.
//
// A holder is one client stream of the Watch service, or one call of Lock or Election. Made, used
// and destroyed on its edge core, in the frame of the call it serves; knows nothing of gRPC.
//
//   WatchSession session(edge.watches());
//   WatchSpec spec{.key = key, .start = revision + 1};  // named: no temporary of it
//   StatusOr<int64_t> id = co_await session.Create(std::move(spec));
//   while (true) {
//     StatusOr<WatchDelivery> next = co_await session.Next(limit);
//     if (!next.ok()) ...
//     if (next->kind == WatchDelivery::Kind::kEvents)
//       for (const engine::Event& event : EventsOf(*next)) ...
//   }
//
// Invariants
//  1. A watcher gets every change of its range from its start revision on, once, by revision and
//     in the order of its transaction; all changes of one revision in one delivery.
//  2. kCreated comes before the watcher's events, nothing after its kCanceled; deliveries of
//     creations come in the order of the Create calls.
//  3. What is queued for a watcher and for the session is bounded (limits::kWatcherQueuedBytesMax,
//     kWatchSessionQueuedBytesMax): a watcher above it gets nothing more until its holder has
//     taken what is queued, and is then caught up from history.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "io/base/status.h"
#include "io/signal.h"
#include "io/task.h"
#include "server/watch_batch.h"
#include "server/watch_queue.h"

namespace metastore::server {

class WatchTable;

class WatchSession final {
 public:
  // `table` outlives the session.
  explicit WatchSession(WatchTable& table);
  // Ends every watcher.
  ~WatchSession();
  WatchSession(const WatchSession&) = delete;
  WatchSession& operator=(const WatchSession&) = delete;

  // Makes a watcher. The start revision 0 and the delivery's `revision` are as of a moment between
  // call and return. One Create or RequestProgress at a time. Queues kCreated, or kRefused (an
  // empty range, an id in use, a negative start); a start that was compacted: kCreated, kCanceled.
  // Returns the id, or WatchDelivery::kNoId if it was refused.
  // Errors: kUnavailable        the session was ended (End), or the member stops
  //         kResourceExhausted  too many watchers, or calls under way to the state core
  io::Task<StatusOr<int64_t>> Create(WatchSpec spec);

  // Queues kRefused, in its turn, for a creation that the caller refuses itself; `reason` is a
  // literal. Counts as a Create. Errors: as Create
  io::Task<Status> Refuse(std::string_view reason);

  // Ends a watcher: what is queued for it stays queued, then kCanceled. Without one of that id
  // nothing happens.
  void Cancel(int64_t id);

  // Queues kProgress with kNoId behind what is queued, if there are watchers and all have
  // everything up to the revision that the store has during the call; else nothing.
  // Errors: as Create
  io::Task<Status> RequestProgress();

  // The next delivery. One call at a time.
  // Errors: kDeadlineExceeded  limit.deadline
  //         kCancelled         limit.stop
  //         that of End, whatever is queued
  io::Task<StatusOr<WatchDelivery>> Next(io::WaitLimit limit);

  // Completes when few enough answers to Create and Cancel are queued for another: for a holder
  // whose client sends requests and does not read.
  io::Task<io::WaitResult> WaitRoom(io::WaitLimit limit);

  // Ends the session with etcd's "no leader" once the member has known none for a while.
  // Errors: kUnavailable        it knows none now
  //         kResourceExhausted  as Create
  io::Task<Status> RequireLeader();

  // What Next returns from now on, not OK; the first call counts. Ends every watcher.
  void End(Status why);

  size_t watchers_count() const { return watchers_.size(); }
  WatchTable& table() { return table_; }
  size_t queued_bytes() const { return queue_.bytes(); }
  // Watchers that do not yet have everything this core has heard of.
  size_t behind_count() const { return behind_; }

 private:
  friend class WatchTable;
  friend class CatchUp;
  struct ProgressTimer : io::Timer {
    WatchSession* session = nullptr;
  };

  // --- for the table
  // Queues events, with the header's `revision`. False, and nothing is queued: it is over budget.
  bool Offer(Watcher& watcher, const WatchBlock& block, Revision revision);
  void CancelCompacted(Watcher& watcher, Revision compacted);

  std::string_view Judge(const WatchSpec& spec) const;
  Watcher& Add(WatchSpec spec);
  void Remove(Watcher& watcher);
  void Answer(WatchDelivery delivery);
  WatchDelivery Take();
  void Unpark(Watcher* owner, bool all);
  void NotifyProgress();
  void ArmProgress();

  WatchTable& table_;
  absl::btree_map<int64_t, std::unique_ptr<Watcher>> watchers_;
  std::vector<Watcher*> parked_;
  DeliveryQueue queue_;
  size_t behind_ = 0;
  int64_t next_id_ = 0;
  size_t place_ = 0;  // in the table's list
  bool requires_leader_ = false;
  Status ended_;
  io::Signal arrived_;
  io::Signal room_;
  struct {
    ProgressTimer timer;
    size_t watchers = 0;  // that want it
  } progress_;
};

}  // namespace metastore::server
