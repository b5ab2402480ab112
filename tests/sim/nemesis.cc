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
    {FaultKind::kPowerLossAll, "power loss of all", 4},
    {FaultKind::kSilentPowerLoss, "silent power loss", 4},
    {FaultKind::kCrashAtIo, "crash at an I/O", 8},
    {FaultKind::kCrashInRecovery, "crash in recovery", 6},
    {FaultKind::kStop, "stop", 5},
    {FaultKind::kPause, "pause", 6},
    {FaultKind::kWriteError, "write error", 4},
    {FaultKind::kSyncError, "sync error", 3},
    {FaultKind::kShortWrite, "short write", 3},
    {FaultKind::kReadError, "read error", 3},
    {FaultKind::kFullDisk, "full disk", 3},
    {FaultKind::kReadOnlyDisk, "read-only disk", 2},
    {FaultKind::kStalledDisk, "stalled disk", 5},
    {FaultKind::kSlowDisk, "slow disk", 4},
    {FaultKind::kLateWrites, "late disk operations", 4},
    {FaultKind::kDamagedSnapshot, "damaged snapshot", 40},
    {FaultKind::kDamagedLog, "damaged log", 8},
    {FaultKind::kLostWrite, "lost writes", 16},
    {FaultKind::kMisdirectedWrite, "misdirected writes", 16},
    {FaultKind::kLostDisk, "lost disk", 20},
    {FaultKind::kIsolate, "isolation", 6},
    {FaultKind::kOneWay, "one-way cut", 6},
    {FaultKind::kBridge, "bridge", 8},
    {FaultKind::kHalves, "halves", 6},
    {FaultKind::kContest, "contested election", 60},
    {FaultKind::kSlowWire, "slow wire", 4},
    {FaultKind::kLoss, "loss", 4},
    {FaultKind::kSmallSegments, "small segments", 3},
    {FaultKind::kReset, "resets", 5},
    {FaultKind::kClockDrift, "clock drift", 3},
    {FaultKind::kClockJump, "clock jump", 2},
    {FaultKind::kTransfer, "leadership transfer", 12},
    {FaultKind::kReshape, "membership change", 20},
    {FaultKind::kCompaction, "compaction", 8},
};
static_assert(std::size(kShares) == kFaultKinds);

bool DamagesLog(FaultKind kind) {
  return kind == FaultKind::kDamagedLog || kind == FaultKind::kLostWrite ||
         kind == FaultKind::kMisdirectedWrite;
}

LogDamage DamageOf(FaultKind kind) {
  if (kind == FaultKind::kLostWrite) return LogDamage::kLost;
  return kind == FaultKind::kDamagedLog ? LogDamage::kBits : LogDamage::kMisdirected;
}

bool IsPartition(FaultKind kind) {
  return kind == FaultKind::kIsolate || kind == FaultKind::kOneWay || kind == FaultKind::kBridge ||
         kind == FaultKind::kHalves;
}

constexpr size_t kActiveMax = 5;
constexpr uint64_t kPauseMaxMs = 650;              // between two faults
constexpr Duration kNextChoice = Milliseconds(5);  // after one that does not fit

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
  FollowContest();
  if (!on_ || now < next_) return;
  next_ = now + kNextChoice;
  uint64_t total = 0;
  for (const FaultShare& share : kShares) total += share.share;
  uint64_t draw = prng_.Below(total);
  const FaultShare* chosen = kShares;
  for (; draw >= chosen->share; ++chosen) draw -= chosen->share;
  if (cluster_.options().lease_reads && prng_.Chance(1, 3)) {
    if (!InjectSleepingLeader()) return;
    chosen = &kShares[static_cast<size_t>(FaultKind::kPause)];
  } else if (!Inject(chosen->kind)) {
    return;
  }
  if (!DamagesLog(chosen->kind)) ++hits_[static_cast<size_t>(chosen->kind)];
  next_ = std::max(next_, now) + Milliseconds(static_cast<int64_t>(prng_.Below(kPauseMaxMs)));
}

// What a member that does not start for damage's sake kept is lost. Whatever change is under way
// may need it gone: nobody joins a cluster with a voter that is down.
void Nemesis::ReplaceRefused() {
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (!member->refused || member->standing != Standing::kIn) continue;
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
    member->node.disk().FailNoMore();
  }
  reshaping_.NoteFaultsOver();
}

bool Nemesis::IsActive(FaultKind kind) const {
  return std::ranges::any_of(active_, [&](const Active& active) { return active.kind == kind; });
}

bool Nemesis::AnyActive(bool (*which)(FaultKind kind)) const {
  return std::ranges::any_of(active_, [&](const Active& active) { return which(active.kind); });
}

bool Nemesis::Partitioned() const {
  return IsActive(FaultKind::kContest) || AnyActive(IsPartition) || AnyActive(DamagesLog);
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
    case FaultKind::kShortWrite:
    case FaultKind::kReadError:
    case FaultKind::kFullDisk:
    case FaultKind::kReadOnlyDisk:
    case FaultKind::kDamagedSnapshot:
    case FaultKind::kLostDisk:
      return InjectDiskError(kind, member);
    case FaultKind::kDamagedLog:
    case FaultKind::kLostWrite:
    case FaultKind::kMisdirectedWrite:
      return InjectDamagedLog(kind, member);
    case FaultKind::kStalledDisk:
    case FaultKind::kSlowDisk:
    case FaultKind::kLateWrites:
      return InjectSlowDisk(kind, member);
    case FaultKind::kIsolate:
    case FaultKind::kOneWay:
    case FaultKind::kBridge:
    case FaultKind::kHalves:
      return InjectPartition(kind, member);
    case FaultKind::kContest:
      return InjectContest();
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
    CrashAtIo(member, 1 + prng_.Below(60));
  } else {
    if (!member.node.running() || machine.paused()) return false;
    member.node.RequestStop();
  }
  return true;
}

bool Nemesis::InjectDiskError(FaultKind kind, ClusterMember& member) {
  sim::SimDisk& disk = member.node.disk();
  const auto in = std::ranges::count(cluster_.members(), Standing::kIn,
                                     [](const auto& one) { return one->standing; });
  const bool settled =
      in >= 3 && reshaping_.idle() && member.standing == Standing::kIn && AllWhole();
  cluster_.Trace(Concat(FaultKindName(kind), " of ", member.name));
  if (kind == FaultKind::kWriteError) {
    disk.FailNext(sim::SimFault::kWriteError, prng_.Chance(3, 4) ? "wal" : "snap");
  } else if (kind == FaultKind::kSyncError) {
    disk.FailNext(sim::SimFault::kSyncError, prng_.Chance(1, 2) ? "wal" : "snap");
  } else if (kind == FaultKind::kShortWrite) {
    disk.FailNext(sim::SimFault::kShortWrite, prng_.Chance(3, 4) ? "wal" : "snap");
  } else if (kind == FaultKind::kReadError) {
    disk.FailNext(sim::SimFault::kReadError);
  } else if (kind == FaultKind::kReadOnlyDisk) {
    disk.SetReadOnly(true);
    member.read_only = member.met_read_only = true;
    Heal(kind, 100, 3000, [&disk, &member] {
      disk.SetReadOnly(false);
      member.read_only = false;
    });
  } else if (kind == FaultKind::kFullDisk) {
    const uint64_t capacity = std::exchange(disk.options().capacity_bytes, disk.used_bytes());
    Heal(kind, 200, 5000, [&disk, capacity] { disk.options().capacity_bytes = capacity; });
  } else if (kind == FaultKind::kDamagedSnapshot) {
    return settled && DamageSnapshot(member);
  } else {
    if (!settled || !member.node.machine().running()) return false;
    member.node.PowerLoss();
    reshaping_.BeginReplacing(member);
  }
  return true;
}

// Whether all that was ever stored there is still there, or has been replaced: a file that is gone
// may have been set aside, with all of the log, and what was in that is not back yet.
bool Nemesis::IsWhole(ClusterMember& member) {
  if (member.log_damaged) return false;
  if (member.damaged.empty()) return true;
  if (std::ranges::count(member.node.disk().ListFiles(), member.damaged) > 0) return false;
  if (!member.node.running()) return false;
  if (member.node.state().group().status().repair_term != Term()) return false;
  member.damaged.clear();
  return true;
}

bool Nemesis::AllWhole() {
  return std::ranges::all_of(cluster_.members(), [&](const auto& one) { return IsWhole(*one); });
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

// Of three that stay at least, the only one with damage; the others' disks are all there.
bool Nemesis::MayDamageLog(const ClusterMember& member) {
  int in = 0;
  for (const std::unique_ptr<ClusterMember>& one : cluster_.members()) {
    if (one->standing == Standing::kOut) continue;
    if (one->wiped || one->refused || one->comes_back) return false;
    if (one.get() != &member && !IsWhole(*one)) return false;
    in += one->standing == Standing::kIn ? 1 : 0;
  }
  return in >= 3 && !member.log_damaged && member.standing == Standing::kIn;
}

// Some of the others see only this member meanwhile: what they lack is then here and at the rest.
bool Nemesis::InjectDamagedLog(FaultKind kind, ClusterMember& member) {
  if (AnyActive(DamagesLog) || !MayDamageLog(member)) return false;
  std::vector<sim::SimMachine*> others = Machines();
  std::erase(others, &member.node.machine());
  sim::SimNetwork& network = cluster_.world().network();
  sim::SimMachine* const lags = others[prng_.Below(others.size())];
  for (sim::SimMachine* other : others) {
    if (!Partitioned() && other != lags && prng_.Chance(2, 3)) network.Cut(*other, *lags);
  }
  Heal(kind, 100, 2500, [this, kind, &member] { DamageLogOf(kind, member); });
  Heal(kind, 2000, 9000, [&network] { network.HealAll(); });
  return true;
}

void Nemesis::DamageLogOf(FaultKind kind, ClusterMember& member) {
  if (!MayDamageLog(member)) return;
  if (member.node.exists()) member.node.PowerLoss();
  RestartIn(member, 1000);
  if (!cluster_.DamageLog(member, prng_, DamageOf(kind))) return;
  ++hits_[static_cast<size_t>(kind)];
  if (prng_.Chance(1, 2)) member.crash_in_recovery = 1 + prng_.Below(150);
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

// Where a vote is forgotten, or counted before it is durable, two win one term: a voter of the
// second leader crashes as it has voted, and then meets the first alone, who knows nothing of it.
bool Nemesis::InjectContest() {
  ClusterMember* const leader = cluster_.Leader();
  const bool all_run = std::ranges::all_of(cluster_.members(), [](const auto& member) {
    return member->standing != Standing::kIn || member->node.running();
  });
  const bool fits = leader != nullptr && all_run && Machines().size() >= 3;
  if (!fits || AnyActive(DamagesLog)) return false;
  cluster_.Trace(Concat(FaultKindName(FaultKind::kContest), " after ", leader->name));
  contest_ = {.open = true, .term = leader->term};
  std::erase_if(active_, [](const Active& active) { return IsPartition(active.kind); });
  cluster_.world().network().HealAll();
  CutOff(*leader);
  // Nothing else befalls them meanwhile.
  const int64_t election = cluster_.options().election.ms();
  next_ = cluster_.world().Now() + Milliseconds(election * 4);
  Heal(FaultKind::kContest, election * 4, election * 8, [this] {
    contest_.open = false;
    cluster_.world().network().HealAll();
  });
  return true;
}

void Nemesis::FollowContest() {
  if (!contest_.open) return;
  std::vector<ClusterMember*> voted;
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    const bool follows = member->node.running() && member.get() != cluster_.Leader();
    if (follows && member->term > contest_.term) voted.push_back(member.get());
  }
  if (!contest_.struck && !voted.empty()) {
    contest_.struck = true;
    CrashAtIo(*voted[prng_.Below(voted.size())], 1);
  }
  ClusterMember* const leader = cluster_.Leader();
  if (leader == nullptr || leader->term <= contest_.term) return;
  contest_.open = false;
  cluster_.Trace(Concat("cut off at once: ", leader->name));
  cluster_.world().network().HealAll();
  CutOff(*leader);
}

// From the other members; clients still reach it.
void Nemesis::CutOff(ClusterMember& member) {
  for (sim::SimMachine* other : Machines()) {
    if (other != &member.node.machine()) {
      cluster_.world().network().Cut(*other, member.node.machine());
    }
  }
}

void Nemesis::CrashAtIo(ClusterMember& member, uint64_t number) {
  constexpr sim::SimCrash kCrashes[] = {sim::SimCrash::kBefore, sim::SimCrash::kTorn,
                                        sim::SimCrash::kAfter};
  member.node.disk().CrashAt(
      number, kCrashes[prng_.Below(3)],
      prng_.Chance(1, 3) ? sim::SimCrashKind::kKill : sim::SimCrashKind::kPowerLoss);
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

bool Nemesis::InjectPause(ClusterMember& member) {
  sim::SimMachine& machine = member.node.machine();
  if (!machine.running()) return false;
  machine.Pause();
  Heal(FaultKind::kPause, 50, prng_.Chance(1, 3) ? 6000 : 1500, [&machine] { machine.Resume(); });
  return true;
}

// What leases must survive: a leader sleeps while another is elected, and does not hear of it at
// once when it wakes up.
bool Nemesis::InjectSleepingLeader() {
  ClusterMember* const leader = cluster_.Leader();
  const bool fits = leader != nullptr && !leader->node.machine().paused();
  if (!fits || Partitioned() || IsActive(FaultKind::kPause)) return false;
  cluster_.Trace(Concat("asleep and cut off: ", leader->name));
  const int64_t election = cluster_.options().election.ms();
  sim::SimMachine& machine = leader->node.machine();
  machine.Pause();
  Heal(FaultKind::kPause, election, election * 4, [&machine] { machine.Resume(); });
  CutOff(*leader);
  active_.push_back({FaultKind::kIsolate, active_.back().until + cluster_.options().election,
                     [this] { cluster_.world().network().HealAll(); }});
  return true;
}

bool Nemesis::InjectOther(FaultKind kind, ClusterMember& member) {
  sim::SimMachine& machine = member.node.machine();
  cluster_.Trace(Concat(FaultKindName(kind), " of ", member.name));
  if (kind == FaultKind::kTransfer) return reshaping_.Transfer();
  if (kind == FaultKind::kCompaction) return cluster_.Compact();
  if (kind == FaultKind::kReshape) {
    // While some of what one has may be lost, none of the others may leave.
    return cluster_.options().spares > 0 && AllWhole() && reshaping_.BeginOne();
  }
  if (kind == FaultKind::kPause) return InjectPause(member);
  if (kind == FaultKind::kClockDrift) {
    // Lease reads are right while clocks differ by less than a tenth.
    const uint64_t most = cluster_.options().lease_reads ? 90'000 : 200'000;
    machine.SetClockDrift(static_cast<int64_t>(prng_.Below(2 * most + 1)) -
                          static_cast<int64_t>(most));
    Heal(kind, 1000, 8000, [&machine] { machine.SetClockDrift(0); });
  } else {
    machine.JumpWallClock(Seconds(static_cast<int64_t>(prng_.Below(20'000)) - 10'000));
  }
  return true;
}

}  // namespace metastore::sim_test
