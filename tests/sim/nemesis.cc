#include "tests/sim/nemesis.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace metastore::sim_test {
namespace {

struct FaultShare {
  FaultKind kind;
  std::string_view name;
  uint32_t share;  // how often, next to the others
};

constexpr FaultShare kShares[] = {
    {FaultKind::kKill, "kill", 8},
    {FaultKind::kPowerLoss, "power loss", 8},
    {FaultKind::kPowerLossAll, "power loss of all", 3},
    {FaultKind::kSilentPowerLoss, "silent power loss", 4},
    {FaultKind::kCrashAtIo, "crash at an I/O", 8},
    {FaultKind::kCrashInRecovery, "crash in recovery", 6},
    {FaultKind::kStop, "stop", 3},
    {FaultKind::kPause, "pause", 6},
    {FaultKind::kWriteError, "write error", 4},
    {FaultKind::kSyncError, "sync error", 3},
    {FaultKind::kReadError, "read error", 3},
    {FaultKind::kFullDisk, "full disk", 3},
    {FaultKind::kStalledDisk, "stalled disk", 5},
    {FaultKind::kSlowDisk, "slow disk", 4},
    {FaultKind::kLateWrites, "late disk operations", 4},
    {FaultKind::kDamagedSnapshot, "damaged snapshot", 2},
    {FaultKind::kLostDisk, "lost disk", 2},
    {FaultKind::kIsolate, "isolation", 6},
    {FaultKind::kOneWay, "one-way cut", 5},
    {FaultKind::kBridge, "bridge", 3},
    {FaultKind::kHalves, "halves", 4},
    {FaultKind::kSlowWire, "slow wire", 4},
    {FaultKind::kLoss, "loss", 4},
    {FaultKind::kSmallSegments, "small segments", 2},
    {FaultKind::kReset, "resets", 5},
    {FaultKind::kClockDrift, "clock drift", 3},
    {FaultKind::kClockJump, "clock jump", 2},
    {FaultKind::kTransfer, "leadership transfer", 6},
    {FaultKind::kReshape, "membership change", 6},
    {FaultKind::kCompaction, "compaction", 10},
};
static_assert(std::size(kShares) == kFaultKinds);

constexpr size_t kActiveMax = 4;
constexpr uint64_t kPauseMaxMs = 900;  // between two faults

}  // namespace

std::string_view FaultKindName(FaultKind kind) { return kShares[static_cast<size_t>(kind)].name; }

Nemesis::Nemesis(ClusterHarness& cluster, Prng prng)
    : cluster_(cluster), prng_(prng), reshaping_(cluster, prng_.Fork()) {}

void Nemesis::Begin() {
  on_ = true;
  next_ = cluster_.world().Now();
}

uint64_t Nemesis::hits_all() const {
  return std::accumulate(hits_.begin(), hits_.end(), uint64_t{0});
}

void Nemesis::Tick() {
  const MonoTime now = cluster_.world().Now();
  for (size_t i = 0; i < active_.size();) {
    if (active_[i].until > now) {
      ++i;
      continue;
    }
    const Active over = std::move(active_[i]);
    active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(i));
    cluster_.Trace(Concat("end of ", FaultKindName(over.kind)));
    over.heal();
  }
  reshaping_.Tick();
  ReplaceRefused();
  if (!on_ || now < next_) return;
  next_ = now + Milliseconds(static_cast<int64_t>(prng_.Below(kPauseMaxMs)));
  uint64_t total = 0;
  for (const FaultShare& share : kShares) total += share.share;
  uint64_t draw = prng_.Below(total);
  const FaultShare* chosen = kShares;
  for (; draw >= chosen->share; ++chosen) draw -= chosen->share;
  if (Inject(chosen->kind)) ++hits_[static_cast<size_t>(chosen->kind)];
}

// What a member that does not start for damage's sake kept is lost.
void Nemesis::ReplaceRefused() {
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (!member->refused || member->standing != Standing::kIn || !reshaping_.idle()) continue;
    reshaping_.BeginReplacing(*member);
  }
}

void Nemesis::End() {
  on_ = false;
  for (const Active& active : std::exchange(active_, {})) active.heal();
  cluster_.world().network().HealAll();
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    member->crash_in_recovery = 0;
    member->node.disk().CrashAt(0, sim::SimCrash::kNone);
    member->node.disk().faults().Clear();
  }
}

bool Nemesis::IsActive(FaultKind kind) const {
  return std::ranges::any_of(active_, [&](const Active& active) { return active.kind == kind; });
}

bool Nemesis::Partitioned() const {
  return IsActive(FaultKind::kIsolate) || IsActive(FaultKind::kOneWay) ||
         IsActive(FaultKind::kBridge) || IsActive(FaultKind::kHalves);
}

void Nemesis::Heal(FaultKind kind, int64_t ms_min, int64_t ms_max, std::function<void()> heal) {
  const uint64_t ms = prng_.Between(static_cast<uint64_t>(ms_min), static_cast<uint64_t>(ms_max));
  active_.push_back(
      {kind, cluster_.world().Now() + Milliseconds(static_cast<int64_t>(ms)), std::move(heal)});
}

ClusterMember& Nemesis::AnyMember() {
  std::vector<ClusterMember*> present;
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (member->standing != Standing::kOut) present.push_back(member.get());
  }
  // The leader is where most can go wrong.
  ClusterMember* const leader = prng_.Chance(1, 3) ? cluster_.Leader() : nullptr;
  return leader != nullptr ? *leader : *present[prng_.Below(present.size())];
}

std::vector<sim::SimMachine*> Nemesis::Machines() {
  std::vector<sim::SimMachine*> machines;
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (member->standing != Standing::kOut) machines.push_back(&member->node.machine());
  }
  return machines;
}

void Nemesis::RestartIn(ClusterMember& member, int64_t ms_max) {
  member.restart_at =
      cluster_.world().Now() +
      Milliseconds(static_cast<int64_t>(prng_.Below(static_cast<uint64_t>(ms_max))));
}

// False: it does not fit now.
bool Nemesis::Inject(FaultKind kind) {
  ClusterMember& member = AnyMember();
  if (active_.size() >= kActiveMax || IsActive(kind)) return false;
  switch (kind) {
    case FaultKind::kKill:
    case FaultKind::kPowerLoss:
    case FaultKind::kPowerLossAll:
    case FaultKind::kSilentPowerLoss:
    case FaultKind::kCrashAtIo:
    case FaultKind::kCrashInRecovery:
    case FaultKind::kStop:
      return InjectDeath(kind, member);
    case FaultKind::kWriteError:
    case FaultKind::kSyncError:
    case FaultKind::kReadError:
    case FaultKind::kFullDisk:
    case FaultKind::kDamagedSnapshot:
    case FaultKind::kLostDisk:
      return InjectDiskError(kind, member);
    case FaultKind::kStalledDisk:
    case FaultKind::kSlowDisk:
    case FaultKind::kLateWrites:
      return InjectSlowDisk(kind, member);
    case FaultKind::kIsolate:
    case FaultKind::kOneWay:
    case FaultKind::kBridge:
    case FaultKind::kHalves:
      return InjectPartition(kind, member);
    case FaultKind::kSlowWire:
    case FaultKind::kLoss:
    case FaultKind::kSmallSegments:
    case FaultKind::kReset:
      return InjectWire(kind);
    case FaultKind::kPause:
    case FaultKind::kClockDrift:
    case FaultKind::kClockJump:
    case FaultKind::kTransfer:
    case FaultKind::kReshape:
    case FaultKind::kCompaction:
      return InjectOther(kind, member);
  }
  CHECK_UNREACHABLE();
}

bool Nemesis::InjectDeath(FaultKind kind, ClusterMember& member) {
  sim::SimMachine& machine = member.node.machine();
  if (!machine.running() || member.node.ended()) return false;
  cluster_.Trace(Concat(FaultKindName(kind), " of ", member.name));
  sim::SimNetworkOptions& network = cluster_.world().network().options();
  if (kind == FaultKind::kKill) {
    machine.KillProcess();
  } else if (kind == FaultKind::kPowerLoss) {
    machine.PowerLoss();
  } else if (kind == FaultKind::kSilentPowerLoss) {
    const uint32_t usual = std::exchange(network.silent_power_loss_per_cent, 100);
    machine.PowerLoss();
    network.silent_power_loss_per_cent = usual;
    RestartIn(member, 8000);
  } else if (kind == FaultKind::kPowerLossAll) {
    for (const std::unique_ptr<ClusterMember>& one : cluster_.members()) {
      if (one->node.machine().running() && !one->node.ended()) one->node.machine().PowerLoss();
    }
  } else if (kind == FaultKind::kCrashInRecovery) {
    member.crash_in_recovery = 1 + prng_.Below(40);
    machine.PowerLoss();
  } else if (kind == FaultKind::kCrashAtIo) {
    constexpr sim::SimCrash kCrashes[] = {sim::SimCrash::kBefore, sim::SimCrash::kTorn,
                                          sim::SimCrash::kAfter};
    member.node.disk().CrashAt(
        1 + prng_.Below(60), kCrashes[prng_.Below(3)],
        prng_.Chance(1, 3) ? sim::SimCrashKind::kKill : sim::SimCrashKind::kPowerLoss);
  } else {
    if (!member.node.running() || machine.paused()) return false;
    member.node.RequestStop();
  }
  return true;
}

bool Nemesis::InjectDiskError(FaultKind kind, ClusterMember& member) {
  sim::SimDisk& disk = member.node.disk();
  const bool settled = reshaping_.idle() && member.standing == Standing::kIn && AllWhole();
  cluster_.Trace(Concat(FaultKindName(kind), " of ", member.name));
  if (kind == FaultKind::kWriteError) {
    disk.FailNext(sim::SimFault::kWriteError, prng_.Chance(3, 4) ? "wal" : "snap");
  } else if (kind == FaultKind::kSyncError) {
    disk.FailNext(sim::SimFault::kSyncError, prng_.Chance(1, 2) ? "wal" : "snap");
  } else if (kind == FaultKind::kReadError) {
    disk.FailNext(sim::SimFault::kReadError);
  } else if (kind == FaultKind::kFullDisk) {
    const uint64_t capacity = std::exchange(disk.options().capacity_bytes, disk.used_bytes());
    Heal(kind, 200, 5000, [&disk, capacity] { disk.options().capacity_bytes = capacity; });
  } else if (kind == FaultKind::kDamagedSnapshot) {
    return settled && DamageSnapshot(member);
  } else {
    const auto in = std::ranges::count(cluster_.members(), Standing::kIn,
                                       [](const auto& one) { return one->standing; });
    if (!settled || in < 3 || !member.node.machine().running()) return false;
    member.node.PowerLoss();
    reshaping_.BeginReplacing(member);
  }
  return true;
}

// Whether all that was ever stored is still there, or has been replaced.
bool Nemesis::AllWhole() {
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (member->damaged.empty()) continue;
    if (std::ranges::count(member->node.disk().ListFiles(), member->damaged) > 0) return false;
    member->damaged.clear();
  }
  return true;
}

bool Nemesis::DamageSnapshot(ClusterMember& member) {
  sim::SimDisk& disk = member.node.disk();
  std::vector<std::string> files;
  for (std::string& path : disk.ListFiles()) {
    if (path.find("/snap/") != std::string::npos && disk.FileSize(path) > 0) {
      files.push_back(std::move(path));
    }
  }
  if (files.empty() || cluster_.options().nodes < 3) return false;
  const std::string& path = files[prng_.Below(files.size())];
  disk.FlipBit(path, prng_.Below(disk.FileSize(path)), static_cast<unsigned>(prng_.Below(8)));
  member.damaged = path;
  return true;
}

bool Nemesis::InjectSlowDisk(FaultKind kind, ClusterMember& member) {
  sim::SimDisk& disk = member.node.disk();
  // A slow disk's late operations would take minutes.
  const bool slow = IsActive(FaultKind::kSlowDisk) || IsActive(FaultKind::kLateWrites);
  if (slow && kind != FaultKind::kStalledDisk) return false;
  cluster_.Trace(Concat(FaultKindName(kind), " of ", member.name));
  if (kind == FaultKind::kStalledDisk) {
    disk.Stall();
    Heal(kind, 100, prng_.Chance(1, 4) ? 8000 : 2000, [&disk] { disk.Release(); });
  } else if (kind == FaultKind::kSlowDisk) {
    disk.SetSlowFactor(static_cast<int64_t>(prng_.Between(5, 300)));
    Heal(kind, 500, 5000, [&disk] { disk.SetSlowFactor(1); });
  } else {
    disk.options().spike_max = Seconds(2);
    disk.faults().Set(sim::SimFault::kSpike, 50'000, 30);
    Heal(kind, 500, 4000, [&disk] { disk.faults().Clear(); });
  }
  return true;
}

bool Nemesis::InjectPartition(FaultKind kind, ClusterMember& member) {
  if (Partitioned()) return false;
  sim::SimNetwork& network = cluster_.world().network();
  std::vector<sim::SimMachine*> machines = Machines();
  if (machines.size() < 2) return false;
  cluster_.Trace(Concat(FaultKindName(kind), " around ", member.name));
  sim::SimMachine& one = member.node.machine();
  const bool clients_too = prng_.Chance(1, 3);
  const auto cut_all_of = [&](sim::SimMachine& machine, bool both) {
    for (sim::SimMachine* other : machines) {
      if (other == &machine) continue;
      if (both || prng_.Chance(1, 2)) network.CutOneWay(*other, machine);
      if (both) network.CutOneWay(machine, *other);
    }
  };
  if (kind == FaultKind::kIsolate) {
    cut_all_of(one, true);
    if (clients_too) network.Cut(one, cluster_.client());
  } else if (kind == FaultKind::kOneWay) {
    cut_all_of(one, false);
  } else {
    for (size_t i = machines.size() - 1; i > 0; --i) {
      std::swap(machines[i], machines[prng_.Below(i + 1)]);
    }
    // The first is the bridge.
    const size_t first = kind == FaultKind::kBridge ? 1 : 0;
    const size_t middle = first + (machines.size() - first) / 2;
    for (size_t a = first; a < middle; ++a) {
      for (size_t b = middle; b < machines.size(); ++b) network.Cut(*machines[a], *machines[b]);
    }
  }
  Heal(kind, 200, prng_.Chance(1, 3) ? 10'000 : 3000, [&network] { network.HealAll(); });
  return true;
}

bool Nemesis::InjectWire(FaultKind kind) {
  sim::SimNetwork& network = cluster_.world().network();
  std::vector<sim::SimMachine*> machines = Machines();
  machines.push_back(&cluster_.client());
  sim::SimMachine& a = *machines[prng_.Below(machines.size())];
  sim::SimMachine& b = *machines[prng_.Below(machines.size())];
  if (&a == &b) return false;
  cluster_.Trace(Concat(FaultKindName(kind), " between ", a.name(), " and ", b.name()));
  if (kind == FaultKind::kSlowWire) {
    network.SetSlowFactor(a, b, static_cast<int64_t>(prng_.Between(10, 1000)));
    Heal(kind, 500, 5000, [&network, &a, &b] { network.SetSlowFactor(a, b, 1); });
  } else if (kind == FaultKind::kLoss) {
    network.options().loss_per_million = static_cast<uint32_t>(prng_.Between(5'000, 200'000));
    Heal(kind, 500, 4000, [&network] { network.options().loss_per_million = 0; });
  } else if (kind == FaultKind::kSmallSegments) {
    const uint32_t usual = std::exchange(network.options().small_per_cent, 60);
    Heal(kind, 300, 1500, [&network, usual] { network.options().small_per_cent = usual; });
  } else {
    network.ResetConnections(a, b);
  }
  return true;
}

bool Nemesis::InjectOther(FaultKind kind, ClusterMember& member) {
  sim::SimMachine& machine = member.node.machine();
  cluster_.Trace(Concat(FaultKindName(kind), " of ", member.name));
  if (kind == FaultKind::kTransfer) return reshaping_.Transfer();
  if (kind == FaultKind::kCompaction) return cluster_.Compact();
  if (kind == FaultKind::kReshape) return cluster_.options().spares > 0 && reshaping_.BeginOne();
  if (kind == FaultKind::kPause) {
    if (!machine.running()) return false;
    machine.Pause();
    Heal(kind, 50, prng_.Chance(1, 3) ? 6000 : 1500, [&machine] { machine.Resume(); });
  } else if (kind == FaultKind::kClockDrift) {
    machine.SetClockDrift(static_cast<int64_t>(prng_.Below(400'001)) - 200'000);
    Heal(kind, 1000, 8000, [&machine] { machine.SetClockDrift(0); });
  } else {
    machine.JumpWallClock(Seconds(static_cast<int64_t>(prng_.Below(20'000)) - 10'000));
  }
  return true;
}

}  // namespace metastore::sim_test
