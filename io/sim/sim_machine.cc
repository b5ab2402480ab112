#include "io/sim/sim_machine.h"

#include <utility>

#include "io/base/limits.h"
#include "io/sim/sim_runtime.h"
#include "io/sim/sim_world.h"

namespace metastore::sim {

namespace {

// A dead process that runs on after so many turns and timers has a loop that ignores kCancelled
// and its stop token.
constexpr uint64_t kDeadStepsMax = 1'000'000;

// What `span` becomes by a clock that is `per_million` fast.
int64_t Drifted(int64_t span, int64_t per_million) {
  return span / 1'000'000 * per_million + span % 1'000'000 * per_million / 1'000'000;
}

}  // namespace

SimMachine::SimMachine(SimWorld& world, std::string name, std::string ip, Prng prng)
    : world_(world), name_(std::move(name)), ip_(std::move(ip)), prng_(prng), log_(name_, [&world] {
        return world.Now();
      }) {
  world_base_ = world.Now();
  local_base_ = MonoTime{} + Milliseconds(static_cast<int64_t>(prng_.Between(1000, 1'000'000)));
}

SimMachine::~SimMachine() {
  if (state_ != SimProcessState::kNone) EndProcess();
}

void SimMachine::UseDisk(SimDisk& disk) {
  CHECK(state_ == SimProcessState::kNone);
  disk_ = &disk;
}

// --- the process -------------------------------------------------------------------------------

std::vector<io::Runtime*> SimMachine::StartProcess(int cores) {
  CHECK(state_ == SimProcessState::kNone);
  CHECK_GE(cores, 1);
  CHECK_LE(cores, limits::kReactorsMax);
  if (!powered_) {  // booted anew: the monotonic clock begins elsewhere
    world_base_ = world_.Now();
    local_base_ = MonoTime{} + Milliseconds(static_cast<int64_t>(prng_.Between(1000, 1'000'000)));
    powered_ = true;
  }
  process_id_ = world_.NextProcessId();
  std::vector<io::Runtime*> started;
  for (int core = 0; core < cores; ++core) {
    runtimes_.push_back(std::make_unique<SimRuntime>(*this, core, prng_.Fork()));
    started.push_back(runtimes_.back().get());
  }
  for (const std::unique_ptr<SimRuntime>& runtime : runtimes_) runtime->ConnectRings(runtimes_);
  state_ = SimProcessState::kRunning;
  world_.network().MachineStarted();
  return started;
}

void SimMachine::Pause() {
  CHECK(running());
  paused_ = true;
  for (const std::unique_ptr<SimRuntime>& runtime : runtimes_) runtime->CancelTurn();
}

void SimMachine::Die() {
  state_ = SimProcessState::kDead;
  paused_ = false;
  for (const std::unique_ptr<SimRuntime>& runtime : runtimes_) runtime->Die();
}

void SimMachine::KillProcess() {
  CHECK(running());
  Die();
  world_.network().MachineKilled(*this);
  disk_->StopProcess(process_id_);
}

void SimMachine::PowerLoss() {
  if (running()) Die();
  powered_ = false;
  world_.network().MachineLostPower(*this);
  disk_->LosePower();
}

bool SimMachine::RunDead() {
  bool ran = false;
  for (const std::unique_ptr<SimRuntime>& runtime : runtimes_) {
    if (runtime->scheduler().idle()) continue;
    runtime->RunTurn();
    ran = true;
  }
  if (ran) return true;
  for (const std::unique_ptr<SimRuntime>& runtime : runtimes_) {
    ran = runtime->FireTimerOfDead() || ran;
  }
  return ran;
}

void SimMachine::DrainDead() {
  CHECK(dead());
  uint64_t steps = 0;
  while (RunDead()) CHECK_LE(++steps, kDeadStepsMax);
}

void SimMachine::DrainDeadUntil(const std::function<bool()>& done) {
  CHECK(dead());
  uint64_t steps = 0;
  while (!done()) {
    CHECK(RunDead());  // else it waits for something that nothing can bring
    CHECK_LE(++steps, kDeadStepsMax);
  }
}

void SimMachine::EndProcess() {
  CHECK(state_ != SimProcessState::kNone);
  for (const std::unique_ptr<SimRuntime>& runtime : runtimes_) runtime->CheckEmpty();
  runtimes_.clear();
  state_ = SimProcessState::kNone;
}

io::Runtime& SimMachine::runtime(int core) {
  CHECK_LT(core, cores_count());
  return *runtimes_[static_cast<size_t>(core)];
}

// --- its clock ---------------------------------------------------------------------------------

MonoTime SimMachine::LocalTime() const {
  const int64_t passed = (world_.Now() - world_base_).ns;
  return MonoTime{local_base_.ns + passed + Drifted(passed, drift_per_million_)};
}

MonoTime SimMachine::WorldTimeOf(MonoTime local) const {
  constexpr int64_t kFar = int64_t{1} << 60;
  const int64_t wanted = (local - local_base_).ns;
  if (wanted > kFar) return MonoTime::Max();
  if (wanted <= 0) return world_base_;
  // Nearly right by one division, then exact.
  const int64_t rate = 1'000'000 + drift_per_million_;
  int64_t passed = wanted / rate * 1'000'000 + wanted % rate * 1'000'000 / rate;
  while (passed + Drifted(passed, drift_per_million_) < wanted) ++passed;
  return world_base_ + Nanoseconds(passed);
}

void SimMachine::SetClockDrift(int64_t per_million) {
  CHECK_GE(per_million, -500'000);
  CHECK_LE(per_million, 500'000);
  local_base_ = LocalTime();
  world_base_ = world_.Now();
  drift_per_million_ = per_million;
  if (!running()) return;
  for (const std::unique_ptr<SimRuntime>& runtime : runtimes_) runtime->ClockChanged();
}

WallTime SimMachine::WallNow() const {
  const int64_t passed = (world_.Now() - MonoTime{}).ns;
  return WallTime{world_.options().start.ns + passed + wall_offset_.ns};
}

}  // namespace metastore::sim
