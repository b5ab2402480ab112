// SnapshotNode: one process of a simulated machine with an engine and a snapshot store; it can be
// crashed and started again on its disk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/command.h"
#include "engine/memory_engine.h"
#include "engine/snapshot_store.h"
#include "io/base/coding.h"
#include "io/base/prng.h"
#include "io/sim/sim_runtime.h"
#include "io/sim/sim_world.h"

namespace metastore::engine {

inline constexpr const char* kSnapshotDirectory = "/data/snap";

class SnapshotNode final {
 public:
  // Alone in a world of its own.
  explicit SnapshotNode(uint64_t seed = 1)
      : own_(std::make_unique<sim::SimWorld>(seed)),
        world_(*own_),
        machine_(world_.AddMachine("a")) {
    Start();
  }
  SnapshotNode(sim::SimWorld& world, std::string name)
      : world_(world), machine_(world_.AddMachine(std::move(name))) {
    Start();
  }
  ~SnapshotNode() { Stop(); }

  void Start() {
    runtime_ = machine_.StartProcess()[0];
    engine_ = MakeMemoryEngine({.hash_seed = 1});
    store_ = std::make_unique<SnapshotStore>(*runtime_, kSnapshotDirectory);
  }
  void Stop() {
    if (machine_.dead()) machine_.DrainDead();
    store_.reset();
    engine_.reset();
    machine_.EndProcess();
  }
  void Restart() {
    Stop();
    Start();
  }

  sim::SimWorld& world() { return world_; }
  sim::SimMachine& machine() { return machine_; }
  sim::SimDisk& disk() { return machine_.disk(); }
  io::Runtime& runtime() { return *runtime_; }
  Engine& engine() { return *engine_; }
  SnapshotStore& store() { return *store_; }
  template <typename T>
  T Await(io::Task<T> task) {
    return world_.Await(*runtime_, std::move(task));
  }
  void Await(io::Task<void> task) { world_.Await(*runtime_, std::move(task)); }

  Status Open() { return Await(store_->Open()); }
  StatusOr<std::optional<SnapshotMeta>> Load(uint64_t log_first) {
    return Await(store_->Load(*engine_, LogIndex(log_first)));
  }
  // Entry `index` is always the same, as from a log.
  void ApplyUpTo(uint64_t index) {
    for (uint64_t i = engine_->stats().applied_index.value() + 1; i <= index; ++i) {
      const std::string key = Concat("key", i % 50);
      const std::string value = Concat(std::string(2000, 'v'), i);
      PutOp put;
      put.key = key;
      put.value = value;
      const std::string command = EncodePut({}, put);
      engine_->Apply({.index = LogIndex(i), .command = command});
    }
  }
  // The same, with an entry of `noise_bytes` that do not compress at `index`.
  void ApplyNoiseUpTo(uint64_t index, size_t noise_bytes) {
    ApplyUpTo(index - 1);
    Prng prng(index);
    std::string noise;
    while (noise.size() < noise_bytes) PutU64(noise, prng.Next());
    PutOp put;
    put.key = "noise";
    put.value = noise;
    const std::string command = EncodePut({}, put);
    engine_->Apply({.index = LogIndex(index), .command = command});
  }
  StatusOr<SnapshotFile> Write() {
    const std::unique_ptr<SnapshotSource> source =
        engine_->StartSnapshot({.term = Term(7), .server_state = "members"});
    return Await(store_->Write(*source));
  }
  uint64_t Digest() { return Await(engine_->Digest()); }
  std::vector<std::string> Files() { return disk().ListFiles(); }

 private:
  std::unique_ptr<sim::SimWorld> own_;
  sim::SimWorld& world_;
  sim::SimMachine& machine_;
  io::Runtime* runtime_ = nullptr;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<SnapshotStore> store_;
};

inline std::string SnapshotPath(uint64_t index) {
  return Concat(kSnapshotDirectory, "/", absl::Hex(index, absl::kZeroPad16), ".snap");
}

}  // namespace metastore::engine
