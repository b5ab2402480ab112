// SimWorld: a whole deployment in one thread, under one seed: virtual time, machines with disks
// and processes, one network. The same seed and the same calls give the same events, byte for
// byte (TraceHash).
//
// How a test uses it:
//   SimWorld world(seed);
//   SimMachine& machine = world.AddMachine("a");
//   io::Runtime& runtime = *machine.StartProcess()[0];
//   Status status = world.Await(runtime, SomeCoroutine(runtime));  // runs the world until it ended
//   machine.PowerLoss(); ...stop...; machine.DrainDead(); ...destroy...; machine.EndProcess();
// Nothing runs but inside Step and what is built on it, and DrainDead. Print world.seed() on
// failure.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/prng.h"
#include "io/gate.h"
#include "io/sim/sim_clock.h"
#include "io/sim/sim_disk.h"
#include "io/sim/sim_machine.h"
#include "io/sim/sim_network.h"

namespace metastore::sim {

struct SimOptions {
  SimDiskOptions disk;
  SimNetworkOptions network;
  Duration turn_max = Microseconds(3);    // processor time of a turn, besides what it ran
  Duration node_cost = Nanoseconds(100);  // processor time of each ready node a turn runs
  Duration timer_late_max = Microseconds(50);
  Duration post_delay_max = Microseconds(5);  // between cores
  Duration offload_max = Milliseconds(2);
  WallTime start{1'700'000'000'000'000'000};
};

class SimWorld final {
 public:
  explicit SimWorld(uint64_t seed, SimOptions options = {});
  // CHECKs as EndProcess does for each machine.
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  uint64_t seed() const { return seed_; }
  const SimOptions& options() const { return options_; }
  // For the test's own choices; apart from the streams of disks, network and cores.
  Prng& prng() { return test_prng_; }

  // A machine with a disk of its own; `name` is unique, and Resolve knows it.
  SimMachine& AddMachine(std::string name);
  SimMachine& machine(std::string_view name);
  const std::vector<std::unique_ptr<SimMachine>>& machines() const { return machines_; }
  // A disk in no machine yet (SimMachine::UseDisk).
  SimDisk& AddDisk(std::string name);
  SimNetwork& network() { return network_; }

  // --- time ------------------------------------------------------------------------------------
  MonoTime Now() const { return clock_.Now(); }
  // The next event, with its time; false if there is none.
  bool Step();
  // Everything up to and with `when`; time is then `when`.
  void RunUntil(MonoTime when);
  void RunFor(Duration span) { RunUntil(Now() + span); }
  // Until `done()`, asked after each event; false if it was not so within `limit`, or nothing
  // is left to happen.
  bool RunUntil(const std::function<bool()>& done, Duration limit);
  // Until nothing is left to happen, armed timers included; false after `limit`.
  bool RunUntilIdle(Duration limit);
  // `action` runs `after` from now, as an event of its own.
  void At(Duration after, std::function<void()> action);

  // Runs `task` on `runtime`'s scheduler, and the world until it has ended; CHECKs that it does
  // within `limit`. If the process dies meanwhile, its dead cores run until the task has ended.
  template <typename T>
  T Await(io::Runtime& runtime, io::Task<T> task, Duration limit = Seconds(120)) {
    std::optional<T> result;
    RunTask(runtime, Store(std::move(task), result), limit);
    return std::move(*result);
  }
  void Await(io::Runtime& runtime, io::Task<void> task, Duration limit = Seconds(120)) {
    RunTask(runtime, std::move(task), limit);
  }

  // --- what happened ---------------------------------------------------------------------------
  uint64_t TraceHash() const { return clock_.trace_hash(); }
  uint64_t events_run() const { return clock_.events_run(); }
  // The last log lines of every machine, and the seed.
  std::string PrintLogs(size_t lines_max = 100) const;

  // --- for the runtimes ------------------------------------------------------------------------
  SimClock& clock() { return clock_; }
  // The core whose turn it is; null outside of turns.
  SimRuntime* current() const { return current_; }
  void set_current(SimRuntime* runtime) { current_ = runtime; }
  Prng Fork() { return prng_.Fork(); }
  uint64_t NextProcessId() { return ++last_process_id_; }

 private:
  struct Action : SimEvent {
    SimWorld* world = nullptr;
    std::function<void()> action;
  };

  template <typename T>
  static io::Task<void> Store(io::Task<T> task, std::optional<T>& result) {
    T value = co_await std::move(task);
    result.emplace(std::move(value));
  }
  void RunTask(io::Runtime& runtime, io::Task<void> task, Duration limit);
  void ScheduleTurns();
  SimMachine& MachineOf(io::Runtime& runtime);
  void Crash(uint64_t process, SimCrashKind kind);

  uint64_t seed_;
  SimOptions options_;
  Prng prng_;
  Prng test_prng_;
  SimClock clock_;
  SimNetwork network_;
  std::vector<std::unique_ptr<SimDisk>> disks_;
  std::vector<std::unique_ptr<SimMachine>> machines_;
  std::vector<std::unique_ptr<Action>> actions_;
  SimRuntime* current_ = nullptr;
  uint64_t last_process_id_ = 0;
};

}  // namespace metastore::sim
