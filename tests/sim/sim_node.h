// SimNode: one member on one simulated machine, run as main.cc runs it: started, stopped by itself
// when its group fails, stopped as SIGTERM does, killed, without power, buried.
//
// The machine and its disk stay when the process goes. Nothing here waits but Await and Stop.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "io/gate.h"
#include "io/sim/sim_world.h"
#include "server/node.h"

namespace metastore::sim_test {

class SimNode final {
 public:
  explicit SimNode(sim::SimMachine& machine) : machine_(machine) {}
  // Ends the process, if there is one, as SIGTERM does.
  ~SimNode();
  SimNode(const SimNode&) = delete;
  SimNode& operator=(const SimNode&) = delete;

  sim::SimMachine& machine() { return machine_; }
  sim::SimDisk& disk() { return machine_.disk(); }

  // --- the process -----------------------------------------------------------------------------
  // Starts one with `config`; none may exist.
  void Start(server::Config config);
  bool exists() const { return machine_.state() != sim::SimProcessState::kNone; }
  bool dead() const { return machine_.dead(); }
  // The end of Node::Start, once it is known.
  const std::optional<Status>& start_status() const { return start_status_; }
  // Started, alive and not stopping: state() may be used, between two events of the world.
  bool running() const { return running_ && !dead(); }
  bool serving() const { return running() && node_->state().group().serving(); }
  server::Node& node() { return *node_; }
  server::StateCore& state() { return node_->state(); }
  // The process has come to its end: it was told to, or the group failed, or Start did.
  bool ended() const { return ended_ && gate_->running() == 0; }
  // Why the group failed; OK if it has not, in this process.
  const Status& failure() const { return failure_; }

  // Runs the world until the node serves, has failed to start, or has died.
  // Errors: kAborted   it died on the way
  //         kDeadlineExceeded  with the logs; else those of Node::Start
  Status Await(Duration limit);

  // Tasks on core 0 of the process; false if there is no running node. A look at the engine is
  // waited for before the node stops; a call of the group's ends with the node.
  bool SpawnLook(io::Task<void> look);
  bool SpawnCall(io::Task<void> call);

  // --- its end ---------------------------------------------------------------------------------
  // Kill -9, or the power goes; a process that is dead already is buried.
  void Kill();
  void PowerLoss();
  // Takes a dead process away.
  void Bury();
  // What it is about, for a person; between two events of the world.
  std::string Show();

  // As SIGTERM: the node stops in its own time. Remove it once ended().
  void RequestStop();
  void Remove();
  // RequestStop, the world's run until the end, Remove.
  void Stop();

 private:
  io::Task<void> Life();
  io::Task<void> WatchFailure();

  sim::SimMachine& machine_;
  std::unique_ptr<io::Gate> gate_;
  std::unique_ptr<io::Gate> looks_;
  std::unique_ptr<server::Node> node_;
  std::unique_ptr<io::StopSource> watch_;
  io::Signal stop_wanted_;
  std::optional<Status> start_status_;
  Status failure_;
  bool running_ = false;
  bool stop_requested_ = false;
  bool ended_ = false;
};

// A membership call that comes in at `node`; `number`, from 1, makes its request id.
// Errors: the call's; kUnavailable  the node ended first
io::Task<Status> ChangeMember(SimNode& node, server::MemberOp op, server::Member member,
                              uint64_t number, Duration timeout);

}  // namespace metastore::sim_test
