#include "io/sim/sim_world.h"

#include <algorithm>
#include <utility>

#include "io/sim/sim_runtime.h"

namespace metastore::sim {

SimWorld::SimWorld(uint64_t seed, SimOptions options)
    : seed_(seed),
      options_(std::move(options)),
      prng_(seed),
      test_prng_(prng_.Fork()),
      network_(clock_, prng_.Fork(), options_.network) {}

SimWorld::~SimWorld() {
  for (const std::unique_ptr<Action>& action : actions_) clock_.Cancel(*action);
}

SimMachine& SimWorld::AddMachine(std::string name) {
  for (const std::unique_ptr<SimMachine>& other : machines_) CHECK(other->name() != name);
  CHECK_LT(machines_.size(), 250u);
  SimDisk& disk = AddDisk(name);
  const std::string ip = Concat("10.0.0.", machines_.size() + 1);
  machines_.push_back(
      std::unique_ptr<SimMachine>(new SimMachine(*this, std::move(name), ip, prng_.Fork())));
  SimMachine& machine = *machines_.back();
  machine.UseDisk(disk);
  network_.AddMachine(machine);
  return machine;
}

SimMachine& SimWorld::machine(std::string_view name) {
  for (const std::unique_ptr<SimMachine>& machine : machines_) {
    if (machine->name() == name) return *machine;
  }
  CHECK_UNREACHABLE();
}

SimDisk& SimWorld::AddDisk(std::string name) {
  disks_.push_back(std::make_unique<SimDisk>(std::move(name), clock_, prng_.Fork(), options_.disk));
  disks_.back()->OnCrash([this](uint64_t process, SimCrashKind kind) { Crash(process, kind); });
  return *disks_.back();
}

void SimWorld::Crash(uint64_t process, SimCrashKind kind) {
  for (const std::unique_ptr<SimMachine>& machine : machines_) {
    if (machine->process_id() != process || !machine->running()) continue;
    if (kind == SimCrashKind::kKill) {
      machine->KillProcess();
    } else {
      machine->PowerLoss();
    }
    return;
  }
  CHECK_UNREACHABLE();
}

// --- time --------------------------------------------------------------------------------------

void SimWorld::ScheduleTurns() {
  for (const std::unique_ptr<SimMachine>& machine : machines_) {
    for (const std::unique_ptr<SimRuntime>& runtime : machine->runtimes_) runtime->ScheduleTurn();
  }
}

bool SimWorld::Step() {
  ScheduleTurns();
  if (clock_.empty()) return false;
  clock_.RunNext();
  return true;
}

void SimWorld::RunUntil(MonoTime when) {
  ScheduleTurns();
  while (clock_.next() <= when) {
    clock_.RunNext();
    ScheduleTurns();
  }
  clock_.AdvanceTo(when);
}

bool SimWorld::RunUntil(const std::function<bool()>& done, Duration limit) {
  const MonoTime end = Now() + limit;
  while (!done()) {
    ScheduleTurns();
    if (clock_.empty()) return false;
    if (clock_.next() > end) {
      clock_.AdvanceTo(end);
      return false;
    }
    clock_.RunNext();
  }
  return true;
}

bool SimWorld::RunUntilIdle(Duration limit) {
  RunUntil([] { return false; }, limit);
  ScheduleTurns();
  return clock_.empty();
}

void SimWorld::At(Duration after, std::function<void()> action) {
  auto event = std::make_unique<Action>();
  event->world = this;
  event->action = std::move(action);
  event->run = [](SimEvent& base) {
    auto& self = static_cast<Action&>(base);
    const std::function<void()> run = std::move(self.action);
    std::erase_if(self.world->actions_,
                  [&self](const std::unique_ptr<Action>& one) { return one.get() == &self; });
    run();
  };
  clock_.Schedule(*event, Now() + after);
  actions_.push_back(std::move(event));
}

SimMachine& SimWorld::MachineOf(io::Runtime& runtime) {
  return static_cast<SimRuntime&>(runtime).machine();
}

void SimWorld::RunTask(io::Runtime& runtime, io::Task<void> task, Duration limit) {
  SimMachine& machine = MachineOf(runtime);
  io::Gate gate(runtime.scheduler());
  CHECK(gate.Spawn("test", io::ReadyClass::kClient, std::move(task)));
  const auto ended = [&gate] { return gate.running() == 0; };
  const bool settled = machine.dead() || RunUntil([&] { return ended() || machine.dead(); }, limit);
  if (!settled) check_internal::Fail(__FILE__, __LINE__, "the task ends in time", PrintLogs());
  if (!ended()) machine.DrainDeadUntil(ended);
}

std::string SimWorld::PrintLogs(size_t lines_max) const {
  std::string text = Concat("seed ", seed_, ", world time ", Now().ns / 1000, " us\n");
  for (const std::unique_ptr<SimMachine>& machine : machines_) {
    text += machine->log().Print(lines_max);
  }
  return text;
}

}  // namespace metastore::sim
