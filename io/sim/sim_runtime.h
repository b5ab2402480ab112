// SimRuntime: one core of a simulated process: the Runtime that tests pass where production
// passes io_uring's.
//
// Made by SimMachine::StartProcess. Its scheduler's turns are events of the world; each takes a
// little virtual time, so that a loop that never waits does not stop the clock. Functions that
// act outside the core CHECK that they are called in one of its own turns, or from the test
// outside of all turns.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/base/prng.h"
#include "io/runtime.h"
#include "io/sim/sim_clock.h"
#include "io/sim/sim_disk.h"
#include "io/sim/sim_machine.h"
#include "io/sim/timed_heap.h"

namespace metastore::sim {

// Where one coroutine at a time waits for something outside its core; the core's death wakes it
// too.
class SimWait : public io::ListLink, public io::Suspension {
 public:
  struct Awaiter {
    SimWait& wait;
    io::ListHead& list;
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
      wait.Suspend(handle);
      list.PushBack(wait);
    }
    void await_resume() const noexcept {}
  };
  // co_await wait.In(runtime.waits()); afterwards nothing is known but that something may have
  // changed.
  Awaiter In(io::ListHead& list) { return Awaiter{*this, list}; }
  void WakeIfSuspended() {
    if (!suspended()) return;
    Unlink();
    Wake();
  }
};

class SimRuntime final : public io::Runtime, public io::BufferSource {
 public:
  SimRuntime(SimMachine& machine, int core, Prng prng);
  ~SimRuntime() override;

  // --- io::Runtime -----------------------------------------------------------------------------
  io::Scheduler& scheduler() override { return scheduler_; }
  int core() const override { return core_; }
  int cores_count() const override { return machine_.cores_count(); }
  io::Logger& log() override { return machine_.log(); }
  MonoTime Now() const override;
  void Arm(io::Timer& timer, MonoTime when) override;
  void Cancel(io::Timer& timer) override;
  WallTime WallNow() const override { return machine_.WallNow(); }
  uint64_t Random() override { return prng_.Next(); }
  bool Post(int core, io::ReadyNode& node) override;
  io::Task<StatusOr<std::unique_ptr<io::File>>> OpenFile(std::string path,
                                                         io::OpenMode mode) override;
  io::Task<Status> RemoveFile(std::string path) override;
  io::Task<Status> RenameDirectory(std::string from, std::string to) override;
  io::Task<StatusOr<std::vector<io::DirectoryEntry>>> ListDirectory(std::string path) override;
  io::Task<Status> MakeDirectories(std::string path) override;
  io::Task<Status> SyncDirectory(std::string path) override;
  io::Task<StatusOr<io::FileSystemFacts>> FactsOf(std::string path) override;
  io::Task<StatusOr<std::unique_ptr<io::DirectoryLock>>> LockDirectory(std::string path) override;
  io::IoBuffer AllocateBuffer(size_t bytes) override;
  StatusOr<std::unique_ptr<io::SharedMemory>> MakeSharedMemory(const std::string& name,
                                                               size_t bytes) override;
  StatusOr<std::unique_ptr<io::Listener>> Listen(const io::Address& address) override;
  io::Task<StatusOr<std::unique_ptr<io::Socket>>> Connect(io::Address address,
                                                          MonoTime deadline) override;
  io::Task<StatusOr<std::vector<io::Address>>> Resolve(std::string host, uint16_t port) override;
  io::Task<void> Offload(const char* name, std::function<void()> work) override;

  // --- io::BufferSource ------------------------------------------------------------------------
  void Free(char* data, size_t bytes) override;

  // --- for the world, the machine and what this runtime makes ----------------------------------
  SimMachine& machine() { return machine_; }
  // Knows the runtimes of its process, itself included; called once.
  void ConnectRings(const std::vector<std::unique_ptr<SimRuntime>>& all);
  const SimMachine& machine() const { return machine_; }
  SimClock& clock();
  bool dead() const { return dead_; }
  // CHECKs that this core may act now.
  void CheckCaller() const;
  // Schedules a turn if something waits to run and none is scheduled.
  void ScheduleTurn();
  // The one that is scheduled, if any.
  void CancelTurn();
  // One turn; called by its event and by DrainDead.
  void RunTurn();
  // Its operations end with kCancelled from now on.
  void Die();
  // CHECKs that nothing is left of what was made from it.
  void CheckEmpty() const;
  // Dead only: fires the earliest timer, its time having come; false if none is armed.
  bool FireTimerOfDead();
  bool AtRest() const { return scheduler_.idle() && timers_.empty(); }
  // The clock drifts otherwise now.
  void ClockChanged();
  // Suspensions to be woken by death.
  io::ListHead& waits() { return waits_; }
  // What is made from this runtime and must be gone before it.
  void AddObject() { ++objects_; }
  void RemoveObject() { --objects_; }
  size_t objects() const { return objects_; }

 private:
  struct TurnEvent : SimEvent {
    SimRuntime* runtime = nullptr;
  };
  struct DueTimers : io::ReadyNode {
    SimRuntime* runtime = nullptr;
  };
  // Posts on their way to one core.
  struct Ring : SimEvent {
    SimRuntime* from = nullptr;
    SimRuntime* to = nullptr;
    std::vector<io::ReadyNode*> nodes;
  };

  void ScheduleTimers();
  void PushDueTimers();
  void FireDueTimers();
  void FlushRing(Ring& ring);

  SimMachine& machine_;
  int core_;
  Prng prng_;
  io::Scheduler scheduler_;
  bool dead_ = false;
  MonoTime dead_now_;  // its own time after death
  TimedHeap<io::Timer> timers_;
  TurnEvent turn_;
  TurnEvent timer_event_;
  DueTimers due_timers_;
  MonoTime busy_until_;
  std::vector<std::unique_ptr<Ring>> rings_;  // by core; its own is unused
  io::ListHead waits_;
  size_t objects_ = 0;
};

}  // namespace metastore::sim
