// One seed of the simulation of watchers: a cluster under faults (nemesis.h), clients that write,
// and clients that watch at any member, come back after every end of a stream, at times do not
// read, and from the start that they chose. Afterwards each watcher is held against the store's
// history (watch_check.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/base/time.h"

namespace metastore::sim_test {

struct WatchRunOptions {
  uint64_t seed = 1;
  int nodes = 3;
  // Instead of other faults, a follower is cut off until it needs a snapshot, and every stream
  // stays.
  bool cut_off = false;
  Duration faults_for = Seconds(3);
  bool trace = false;
};

struct WatchRunReport {
  std::vector<std::string> problems;  // none: it has passed
  std::string logs;                   // of the machines, if there are problems
  uint64_t changes = 0;               // of the store
  uint64_t lives = 0;                 // watchers that were created
  uint64_t events = 0;                // that these were told of
  uint64_t progress = 0;
  uint64_t compacted = 0;  // watchers that were cancelled so
  uint64_t holds = 0;      // times a client did not read
  uint64_t snapshots = 0;  // that a member has installed
  uint64_t faults = 0;
};

WatchRunReport RunWatchers(const WatchRunOptions& options);

}  // namespace metastore::sim_test
