// NodeHarness: one member on a simulated machine, booted as main.cc boots it, with clients beside
// it.
//
// Crash (whatever killed the process), Stop and Boot may alternate; the disk stays. Workload tasks
// run on a machine of their own and never stop for a crash: to them it is a lost connection.
#pragma once

#include <memory>
#include <string>

#include "io/gate.h"
#include "io/sim/sim_world.h"
#include "server/node.h"
#include "tests/sim/history.h"
#include "tests/sim/kv_client.h"

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

struct WorkloadOptions {
  int writers = 4;
  int keys = 10;
  int value_bytes_max = 300;
  Duration pause_max = Milliseconds(2);
  uint64_t operations_max = UINT64_MAX;  // a writer
  bool deletes = true;
  bool swaps = true;
};

class NodeHarness final {
 public:
  explicit NodeHarness(HarnessOptions options);
  ~NodeHarness();

  sim::SimWorld& world() { return world_; }
  sim::SimMachine& machine() { return machine_; }
  sim::SimDisk& disk() { return machine_.disk(); }
  server::Node& node() { return *node_; }
  io::Runtime& client_runtime() { return client_.runtime(); }
  io::Address address() const { return {machine_.ip(), 2379}; }

  // Starts the process and waits until the node serves, has failed to start, or has died on the
  // way. Not serving: kAborted if it died, else Start's error.
  Status Boot();
  // Ends the process: at once (kill or power loss; already dead is fine), or as SIGTERM does.
  void Kill();
  void PowerLoss();
  void Bury();
  void Stop();
  bool dead() const { return machine_.dead(); }

  // Clients that put, delete, swap and read until told to stop.
  void StartWorkload(const WorkloadOptions& options);
  void StopWorkload();
  History& history() { return history_; }
  // Compares every acknowledged write and every read with the running node; one line a problem.
  std::vector<std::string> Verify();

  // Runs `task` on the client machine.
  template <typename T>
  T OnClient(io::Task<T> task) {
    return world_.Await(client_.runtime(), std::move(task));
  }

 private:
  io::Task<void> Life();
  io::Task<void> Writer(WorkloadOptions options, int number);
  io::Task<bool> OneOperation(KvClient& client, const WorkloadOptions& options, std::string name);
  io::Task<void> VerifyAll(std::vector<std::string>& problems);
  server::Config MakeConfig() const;

  const HarnessOptions options_;
  sim::SimWorld world_;
  sim::SimMachine& machine_;
  sim::SimMachine& client_;
  History history_;

  std::unique_ptr<io::Gate> process_gate_;
  std::unique_ptr<server::Node> node_;
  io::Signal stop_wanted_;
  Status start_status_;
  bool started_ = false;
  bool stop_requested_ = false;
  bool ended_ = false;

  std::unique_ptr<io::Gate> client_gate_;
  bool workload_on_ = false;
};

}  // namespace metastore::sim_test
