// Nemesis: faults and their ends, under the seed. Several at once; each kind only as far as a
// cluster must survive it: any number of processes and machines may stop, but only one disk is lost
// at a time, and only once its member has been replaced another's.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "io/base/prng.h"
#include "tests/sim/cluster_harness.h"
#include "tests/sim/reshaping.h"

namespace metastore::sim_test {

enum class FaultKind : uint8_t {
  kKill,
  kPowerLoss,
  kPowerLossAll,
  kSilentPowerLoss,  // nobody hears of it; back after a while
  kCrashAtIo,        // kill or power loss before, within or after a disk operation
  kCrashInRecovery,  // and again while it starts
  kStop,             // as SIGTERM
  kPause,            // as SIGSTOP
  kWriteError,
  kSyncError,
  kShortWrite,
  kReadError,
  kFullDisk,
  kReadOnlyDisk,
  kStalledDisk,
  kSlowDisk,
  kLateWrites,        // some operations take up to seconds
  kDamagedSnapshot,   // a bit of a snapshot file flips at rest
  kDamagedLog,        // bits of a stopped member's log flip below a promise
  kLostWrite,         // writes of it turn out to have been lost
  kMisdirectedWrite,  // or to have gone elsewhere
  kLostDisk,
  kIsolate,
  kOneWay,
  kBridge,  // two halves that both see one member
  kHalves,
  kContest,  // a leader is cut off, then its successor, one of whose voters crashes
  kSlowWire,
  kLoss,  // of packets: delay
  kSmallSegments,
  kReset,
  kClockDrift,
  kClockJump,
  kTransfer,
  kReshape,
  kCompaction,
};
inline constexpr size_t kFaultKinds = 36;
std::string_view FaultKindName(FaultKind kind);

class Nemesis final {
 public:
  Nemesis(ClusterHarness& cluster, Prng prng);

  // Faults from now on.
  void Begin();
  // Once a step.
  void Tick();
  // Takes back what is not over; processes that are down start again.
  void End();
  bool reshaped() const { return reshaping_.idle(); }

  const std::array<uint64_t, kFaultKinds>& hits() const { return hits_; }
  uint64_t hits_all() const;
  const ReshapingCounts& reshaping() const { return reshaping_.counts(); }

 private:
  struct Active {
    FaultKind kind;
    MonoTime until;
    std::function<void()> heal;
  };

  void ReplaceRefused();
  bool Inject(FaultKind kind);
  bool InjectDeath(FaultKind kind, ClusterMember& member);
  bool InjectDiskError(FaultKind kind, ClusterMember& member);
  bool InjectSlowDisk(FaultKind kind, ClusterMember& member);
  bool InjectPartition(FaultKind kind, ClusterMember& member);
  bool InjectContest();
  void FollowContest();
  void CutOff(ClusterMember& member);
  void CrashAtIo(ClusterMember& member, uint64_t number);
  bool InjectWire(FaultKind kind);
  bool InjectOther(FaultKind kind, ClusterMember& member);
  bool InjectPause(ClusterMember& member);
  bool InjectSleepingLeader();
  bool IsWhole(ClusterMember& member);
  bool AllWhole();
  bool MayDamageLog(const ClusterMember& member);
  bool DamageSnapshot(ClusterMember& member);
  bool InjectDamagedLog(FaultKind kind, ClusterMember& member);
  void DamageLogOf(FaultKind kind, ClusterMember& member);
  void RestartIn(ClusterMember& member, int64_t ms_max);
  void Heal(FaultKind kind, int64_t ms_min, int64_t ms_max, std::function<void()> heal);
  bool IsActive(FaultKind kind) const;
  bool AnyActive(bool (*which)(FaultKind kind)) const;
  bool Partitioned() const;
  ClusterMember& AnyMember();
  std::vector<sim::SimMachine*> Machines();

  ClusterHarness& cluster_;
  Prng prng_;
  Reshaping reshaping_;
  bool on_ = false;
  MonoTime next_;
  std::vector<Active> active_;
  struct {
    bool open = false;    // a leader was cut off, its successor is waited for
    bool struck = false;  // one of those who vote crashes
    Term term;            // of the first
  } contest_;
  std::array<uint64_t, kFaultKinds> hits_{};
};

}  // namespace metastore::sim_test
