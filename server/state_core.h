// StateCore: what lives on a state core: the data directory's lock, the log, the engine, the group.
//
// Owned by the Node, on core 0. Start recovers everything; Stop ends it in the reverse order, and
// must be awaited even after a failed Start.
#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/snapshot_store.h"
#include "io/gate.h"
#include "io/runtime.h"
#include "server/change_fanout.h"
#include "server/config.h"
#include "server/edge.h"
#include "server/group.h"
#include "server/log_repair.h"
#include "server/membership.h"
#include "server/peers.h"
#include "server/watch_hub.h"
#include "wal/log.h"

namespace metastore::server {

class StateCore final {
 public:
  // Both outlive it.
  StateCore(io::Runtime& runtime, const Config& config);
  ~StateCore();

  // Errors: kAlreadyExists      another process uses the data directory
  //         kFailedPrecondition the file system has no direct I/O; the directory is another
  //         cluster's kDataLoss           damaged files: names file and offset kResourceExhausted
  //         no space
  io::Task<Status> Start();
  io::Task<void> Stop();

  // After a successful Start.
  Group& group() { return *group_; }
  Peers& peers() { return *peers_; }
  WatchHub& watches() { return *watches_; }
  const Identity& identity() const { return identity_; }
  void AddMetrics(io::MetricList& list) const;
  const Status& log_poisoned() const { return log_->poisoned(); }

 private:
  io::Task<Status> PrepareDirectories();
  io::Task<Status> Identify();
  io::Task<Status> AskCluster();
  io::Task<void> FindCluster();
  io::Task<Status> OpenLog();
  io::Task<Status> OpenOrRepairLog();
  io::Task<Status> RepairIfDamaged(Status opened);
  io::Task<void> NoteDamage(LogRepair::Suspicion how);
  StatusOr<bool> RepairUnderWay() const;
  io::Task<StatusOr<wal::LogOptions>> MakeLogOptions();
  void MakeFlushRing();
  GroupOptions MakeGroupOptions();
  io::Task<void> TickLoop();

  io::Runtime& runtime_;
  const Config& config_;
  const std::string wal_dir_;
  const std::string snapshot_dir_;
  LogRepair repair_;
  LogRepair::Suspicion suspicion_ = LogRepair::Suspicion::kNone;
  Identity identity_;
  Bootstrap bootstrap_;  // of a new cluster; without members where this one joins
  Members known_;        // what the cluster told who joins

  std::unique_ptr<io::DirectoryLock> lock_;
  std::unique_ptr<wal::FlushRing> flush_ring_;  // null: there is no memory for it
  std::unique_ptr<wal::Log> log_;
  std::unique_ptr<engine::Engine> engine_;
  ChangeFanout changes_;  // the engine's listener
  std::unique_ptr<WatchHub> watches_;
  std::unique_ptr<engine::SnapshotStore> snapshots_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<Group> group_;
  io::StopSource stop_;
  io::Gate gate_;
};

}  // namespace metastore::server
