// SimMachine: one computer of the simulation: a network address, a clock, a disk that survives,
// and at most one process of one or more cores.
//
// Death. A coroutine frame can never be dropped, so a killed process is not simply gone:
//  1. KillProcess or PowerLoss: at this instant the disk decides what becomes of what was under
//     way, connections end, locks are free. The process is dead: whatever its code still does has
//     no effect outside of it.
//  2. The test requests the stop of what runs in the process (for a Node: what SIGTERM would do).
//  3. DrainDead runs the dead cores alone, in no world time: every pending and new operation gives
//     kCancelled, sleeps and deadlines end at once (the process' own clock jumps ahead), posts and
//     Offload work, until nothing is left to run.
//  4. The test destroys its objects, then calls EndProcess; StartProcess then boots the next one on
//     the same disk.
// Between 1 and 3 the dead cores do not run at all, except for the rest of a turn in which the
// death happened. What code must do for that: every loop ends when an operation gives
// kCancelled, or at its stop token; no loop waits for a condition that only the outside world
// can bring, without one of the two.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/base/prng.h"
#include "io/runtime.h"
#include "io/sim/sim_clock.h"
#include "io/sim/sim_disk.h"
#include "io/sim/sim_log.h"
#include "io/sim/sim_network.h"

namespace metastore::sim {

class SimRuntime;
class SimWorld;

enum class SimProcessState : uint8_t { kNone, kRunning, kDead };

class SimMachine final {
 public:
  ~SimMachine();
  SimMachine(const SimMachine&) = delete;
  SimMachine& operator=(const SimMachine&) = delete;

  SimWorld& world() { return world_; }
  const std::string& name() const { return name_; }
  const std::string& ip() const { return ip_; }
  SimDisk& disk() { return *disk_; }
  // Another disk of the world; no process may exist. Two machines may share one (its locks tell
  // them apart).
  void UseDisk(SimDisk& disk);
  // All lines any process of this machine has logged.
  SimLog& log() { return log_; }

  // --- the process -----------------------------------------------------------------------------
  // Boots `cores` runtimes, 1..limits::kReactorsMax; none may exist.
  std::vector<io::Runtime*> StartProcess(int cores = 1);
  // kill -9: what was written stays in the disk's cache.
  void KillProcess();
  // What is not durable is lost, as the disk's options say. Also without a process.
  void PowerLoss();
  // Step 3 above. CHECKs that the cores come to rest.
  void DrainDead();
  // The same until `done()`, asked after each turn.
  void DrainDeadUntil(const std::function<bool()>& done);
  // Takes the runtimes away, of a dead or of a cleanly stopped process. CHECKs that everything
  // made from them is gone and that nothing waits to run.
  void EndProcess();
  // Its cores get no more turns, as after SIGSTOP, until it is resumed or dies; the kernel's side
  // goes on: what arrives is acknowledged, what was asked of the disk completes.
  void Pause();
  void Resume() { paused_ = false; }
  bool paused() const { return paused_; }
  SimProcessState state() const { return state_; }
  bool running() const { return state_ == SimProcessState::kRunning; }
  bool powered() const { return powered_; }
  bool dead() const { return state_ == SimProcessState::kDead; }
  io::Runtime& runtime(int core = 0);
  int cores_count() const { return static_cast<int>(runtimes_.size()); }
  // Grows with each StartProcess in the world; names the process to disks.
  uint64_t process_id() const { return process_id_; }

  // --- its clock -------------------------------------------------------------------------------
  // Runs fast (positive) or slow by so many millionths, from now on; within -500,000..500,000.
  void SetClockDrift(int64_t per_million);
  // The wall clock jumps; the monotonic one does not.
  void JumpWallClock(Duration by) { wall_offset_ = wall_offset_ + by; }
  MonoTime LocalTime() const;  // what its runtimes' Now gives
  // The first world time at which LocalTime is at least `local`.
  MonoTime WorldTimeOf(MonoTime local) const;
  WallTime WallNow() const;

 private:
  friend class SimWorld;  // makes machines and runs their cores
  SimMachine(SimWorld& world, std::string name, std::string ip, Prng prng);
  void Die();
  bool RunDead();

  SimWorld& world_;
  std::string name_;
  std::string ip_;
  Prng prng_;
  SimDisk* disk_ = nullptr;
  SimLog log_;
  std::vector<std::unique_ptr<SimRuntime>> runtimes_;
  SimProcessState state_ = SimProcessState::kNone;
  bool paused_ = false;
  bool powered_ = true;  // false from a power loss to the next start
  uint64_t process_id_ = 0;
  // local = local_base_ + (world - world_base_) * (1 + drift)
  MonoTime world_base_;
  MonoTime local_base_;
  int64_t drift_per_million_ = 0;
  Duration wall_offset_;
};

}  // namespace metastore::sim
