// CatchUp: brings watchers that are behind to where the live changes are, by reading history.
//
// One an edge core, owned by its WatchTable. History is read in passes: a pass begins at the
// oldest revision that somebody needs and is for everybody who needs no more than what is from
// there on; it ends where the live changes are, with its watchers synced. Who comes while it
// runs joins it, or waits for the next one if it needs older revisions. So a thousand watchers that
// are behind cost one pass, not a thousand.
//
// Each step of a pass is one bounded read on the state core, in its background; the last ones are
// kept for those who come to the same place a little later. To join, to be given what was read, and
// to end the pass are done watcher by watcher, in steps of some 300 us. Meanwhile watchers may come
// and go, but into the pass they come in Join alone.
//
// Of what was read last, while nothing newer was heard, each watcher is synced where it is given
// its part; whose range has none is synced after that. A batch that arrives meanwhile is for those
// who were synced before; the others go on with the pass, since they need what it has. So each such
// read leaves fewer of them, and the pass comes to an end though batches arrive all the time.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "io/base/check.h"
#include "io/signal.h"
#include "io/task.h"
#include "server/watch_fan_out.h"
#include "server/watch_hub.h"

namespace metastore::server {

class WatchTable;

class CatchUp final : private WatchFanOut::Receiver {
 public:
  // `table` outlives it.
  explicit CatchUp(WatchTable& table);
  ~CatchUp() override { CHECK(behind_.empty()); }

  // One that waits or passes, by its state.
  void Add(Watcher& watcher);
  // Before its state changes.
  void Remove(Watcher& watcher);

  // The loop; ends after `stop`.
  io::Task<void> Run(io::StopToken stop);

  // The range is about to go.
  void Forget(const WatchRange& range) { fan_out_.Forget(range); }

  uint64_t reads_total() const { return reads_total_; }

 private:
  void BeginPass();
  bool Covers(const WatchRange& range) const;
  io::Task<void> Join();
  io::Task<void> EndPass();
  template <typename Visit>
  bool VisitStep(size_t& left, const Visit& visit);
  bool HasAllHeard() const;
  void Leave(Watcher& watcher, WatcherState to);
  void CancelCompacted(Revision compacted);
  io::Task<void> Step(io::StopToken stop);
  const WatchHistory* FindRecent(const WatchHistory& wanted) const;
  io::Task<void> Take(const WatchHistory& history);
  bool Deliver();
  void Offer(Watcher& watcher, const WatchBlock& block) override;

  WatchTable& table_;
  WatchFanOut fan_out_;
  std::vector<Watcher*> behind_;  // waiting or passing
  struct {
    size_t watchers = 0;  // in it; 0: there is none
    size_t previous = 0;  // of these, that want previous pairs
    Revision next;
    Revision until;   // where others get their turn
    std::string key;  // what is read: of all who are in it
    std::string range_end;
    Revision current;  // the store's, as of the last read
  } pass_;
  std::deque<std::unique_ptr<WatchHistory>> recent_;
  uint64_t reads_total_ = 0;
  io::Signal arrived_;
};

}  // namespace metastore::server
