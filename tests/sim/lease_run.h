// One seed of the simulation of leases: a cluster under faults (nemesis.h), clients that write, and
// clients that hold leases at any member (leaseholders.h). Afterwards what these were told is held
// against the cluster's log (lease_truth.h), and:
//  4. Once faults have stopped, a lease that nobody keeps alive is gone after its TTL, an election
//     timeout (its leader may be new), Lessor::kPause and half a second for the commit. A change of
//     leaders adds the time without one, another election timeout, and what the last checkpoint may
//     lag behind: two intervals and a second of rounding. What is kept alive stays.
//  5. All members have the leases and keys that the log has, with what a checkpoint has left them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/base/time.h"

namespace metastore::sim_test {

struct LeaseRunOptions {
  uint64_t seed = 1;
  int nodes = 3;
  Duration faults_for = Seconds(8);
  bool trace = false;
};

struct LeaseRunReport {
  std::vector<std::string> problems;  // none: it has passed
  std::string logs;                   // of the machines, if there are problems
  uint64_t lives = 0;                 // leases that were granted
  uint64_t expired = 0;               // of these
  uint64_t kept = 0;                  // to the end
  uint64_t renewed = 0;               // answers of that kind
  uint64_t gone = 0;                  // the same
  uint64_t unanswered = 0;            // calls
  uint64_t checkpoints = 0;
  uint64_t elections = 0;
  uint64_t faults = 0;
};

LeaseRunReport RunLeases(const LeaseRunOptions& options);

}  // namespace metastore::sim_test
