// CatchUp: brings watchers that are behind to where the live changes are, by reading history.
//
// One an edge core, owned by its WatchTable. History is read in passes: a pass begins at the
// oldest revision that somebody needs and is for everybody who needs no more than what is from
// there on; it ends where the live changes are, and its watchers are synced. Who comes while it
// runs joins it, or waits for the next one if it needs older revisions. So a thousand watchers that
// are behind cost one pass, not a thousand.
//
// Each step of a pass is one bounded read on the state core, in its background; the last ones are
// kept for those who come to the same place a little later.
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
  explicit CatchUp(WatchTable& table) : table_(table) {}
  ~CatchUp() override { CHECK(behind_.empty()); }

  // One that waits or passes, by its state.
  void Add(Watcher& watcher);
  // Before its state changes.
  void Remove(Watcher& watcher);

  // The loop; ends after `stop`.
  io::Task<void> Run(io::StopToken stop);

  uint64_t reads_total() const { return reads_total_; }

 private:
  void BeginPass();
  bool Covers(const WatchRange& range) const;
  void Join();
  void EndPass(WatcherState to);
  void CancelCompacted(Revision compacted);
  io::Task<void> Step(io::StopToken stop);
  const WatchHistory* FindRecent(const WatchHistory& wanted) const;
  void Take(const WatchHistory& history);
  void Offer(Watcher& watcher, const WatchBlock& block) override;

  WatchTable& table_;
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
