// One seed of the whole-cluster simulation: what kind of cluster, disks and clients it has follows
// from the seed, as do the faults (nemesis.h) and everything else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/nemesis.h"

namespace metastore::sim_test {

struct ClusterRunOptions {
  uint64_t seed = 1;
  int nodes = 3;        // 1, 3 or 5
  int reactors = 0;     // 0: as the seed has it, 1 or 2
  bool leases = false;  // lease reads; else every fourth seed has them
  Duration faults_for = Seconds(20);
  bool trace = false;
};

struct ClusterRunReport {
  std::vector<std::string> problems;  // none: it has passed
  std::string logs;                   // of the machines, if there are problems
  uint64_t trace_hash = 0;
  uint64_t events = 0;
  Duration virtual_time;
  WorkloadCounts operations;
  ClusterCounts cluster;
  ReshapingCounts reshaping;
  std::array<uint64_t, kFaultKinds> faults{};
};

ClusterRunReport RunCluster(const ClusterRunOptions& options);

// The sums of several runs, as a person reads them.
class ClusterRunTotals final {
 public:
  void Add(const ClusterRunReport& report);
  uint64_t operations() const { return operations_.operations(); }
  uint64_t faults() const;
  std::string Print() const;

 private:
  uint64_t runs_ = 0;
  uint64_t events_ = 0;
  WorkloadCounts operations_;
  ClusterCounts cluster_;
  ReshapingCounts reshaping_;
  std::array<uint64_t, kFaultKinds> faults_{};
};

}  // namespace metastore::sim_test
