// NodeHarness: one member that is a cluster of its own, on a simulated machine, with clients beside
// it.
//
// Crash (whatever killed the process), Stop and Boot may alternate; the disk stays.
#pragma once

#include <memory>
#include <string>

#include "io/sim/sim_world.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/workload.h"

namespace metastore::sim_test {

struct HarnessOptions {
  uint64_t seed = 1;
  int reactors = 1;
  uint64_t snapshot_count = 10000;
  int wal_depth = 1;
  server::BatchPolicyKind batch_policy = server::BatchPolicyKind::kNatural;
  uint64_t segment_bytes = 256 * limits::kKiB;
  sim::SimOptions world;
};

// Everything the node's store has ever had; nothing may have been compacted.
io::Task<StoreHistory> ReadStore(server::StateCore& state);

class NodeHarness final {
 public:
  explicit NodeHarness(HarnessOptions options);
  ~NodeHarness();

  sim::SimWorld& world() { return world_; }
  sim::SimMachine& machine() { return machine_; }
  sim::SimDisk& disk() { return machine_.disk(); }
  server::Node& node() { return node_.node(); }
  io::Runtime& client_runtime() { return client_.runtime(); }
  io::Address address() const { return {machine_.ip(), 2379}; }

  // Starts the process and waits until the node serves, has failed to start, or has died on the
  // way. Errors: those of SimNode::Await
  Status Boot();
  // Ends the process: at once (kill or power loss; already dead is fine), or as SIGTERM does.
  void Kill() { node_.Kill(); }
  void PowerLoss() { node_.PowerLoss(); }
  void Bury() { node_.Bury(); }
  void Stop() { node_.Stop(); }
  bool dead() const { return node_.dead(); }

  // Clients that put, delete, swap and read until told to stop.
  void StartWorkload(const WorkloadOptions& options) { workload_->Start(options); }
  void StopWorkload() { workload_->Stop(); }
  History& history() { return workload_->history(); }
  // Compares every acknowledged write and every read with the running node; one line a problem.
  std::vector<std::string> Verify();

  // Runs `task` on the client machine.
  template <typename T>
  T OnClient(io::Task<T> task) {
    return world_.Await(client_.runtime(), std::move(task));
  }

 private:
  server::Config MakeConfig() const;

  const HarnessOptions options_;
  sim::SimWorld world_;
  sim::SimMachine& machine_;
  sim::SimMachine& client_;
  SimNode node_;
  std::unique_ptr<Workload> workload_;
};

}  // namespace metastore::sim_test
