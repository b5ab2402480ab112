// Reshaping: members join, leave and are replaced, by the calls that clients make, while faults go
// on. Level-triggered: what is wanted is in ClusterMember::standing, what is so is asked of the
// leader, and the next call follows from both, so that lost answers and refusals need no care.
#pragma once

#include <memory>
#include <optional>

#include "io/base/prng.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {

struct ReshapingCounts {
  uint64_t joined = 0;
  uint64_t left = 0;
  uint64_t calls = 0;
  uint64_t refused = 0;  // of the calls
  uint64_t transfers = 0;
  uint64_t updated = 0;
};

class Reshaping final {
 public:
  Reshaping(ClusterHarness& cluster, Prng prng) : cluster_(cluster), prng_(prng) {}
  // No call may be under way: the processes that had some have ended.
  ~Reshaping() { CHECK_EQ(under_way_, 0); }

  // Nobody is to join or to leave.
  bool idle() const;
  // Something that keeps enough voters begins, or a member is told its own addresses again; false
  // if nothing fits now.
  bool BeginOne();
  // The member's disk is lost: it comes up with an empty one, must be refused, leaves and joins
  // again. Its process has ended.
  void BeginReplacing(ClusterMember& member);
  // Once a step.
  void Tick();
  // From now on whoever was removed must come to its end in a bounded time.
  void NoteFaultsOver() { faults_over_ = cluster_.world().Now(); }
  // Asks the leader to hand over to another voter; false if there is none.
  bool Transfer();
  const ReshapingCounts& counts() const { return counts_; }

 private:
  bool Ask(server::MemberOp op, server::Member member);
  bool Update(ClusterMember& member);
  void PushJoin(ClusterMember& member, const server::Members& members);
  void PushLeave(ClusterMember& member, const server::Members& members);
  io::Task<void> Change(SimNode& node, server::MemberOp op, server::Member member);
  io::Task<void> HandOver(SimNode& node, NodeId target);

  ClusterHarness& cluster_;
  Prng prng_;
  MonoTime next_;
  MonoTime faults_over_ = MonoTime::Max();
  int under_way_ = 0;
  uint64_t requests_ = 0;
  ReshapingCounts counts_;
};

}  // namespace metastore::sim_test
