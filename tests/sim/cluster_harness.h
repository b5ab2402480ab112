// ClusterHarness: a cluster of simulated machines with one member each, clients beside it, and what
// must hold at every instant, looked at after every step.
//
// Always, whatever fails (CheckNow, every kStep of world time):
//  1. A term has at most one leader.
//  2. Term, commit index and applied index of a process never go back.
//  3. All members commit the same entries: equal terms at every committed index.
//  4. Applied state is equal at an equal applied index, by digest.
//  5. No process ends but for a reason that was planted: a failed disk, a removal, a lost disk.
// Once faults stop (Settle): all members serve and a write through each succeeds within a bounded
// time; logs agree wherever they overlap; the history of the clients is linearizable
// (tests/sim/history.h); nobody who was removed still serves.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/sim/sim_world.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/workload.h"

namespace metastore::sim_test {

struct ClusterOptions {
  uint64_t seed = 1;
  int nodes = 3;   // that found the cluster
  int spares = 0;  // machines that may join
  int reactors = 1;
  Duration heartbeat = Milliseconds(100);
  Duration election = Milliseconds(1000);
  uint64_t snapshot_count = 10000;
  uint64_t snapshot_catchup_entries = 20;
  uint64_t segment_bytes = 256 * limits::kKiB;
  int wal_depth = 1;
  server::BatchPolicyKind batch_policy = server::BatchPolicyKind::kNatural;
  net::PeerCompression compression = net::PeerCompression::kOff;
  sim::SimOptions world;
  bool trace = false;  // what happens, to stderr
};

// How a process came to its end.
enum class LifeEnd : uint8_t { kNone, kStopped, kKilled, kPowerLoss, kFailed, kWiped };
std::string_view LifeEndName(LifeEnd end);

// Where a machine stands towards the cluster.
enum class Standing : uint8_t { kOut, kJoining, kIn, kLeaving };

struct ClusterMember {
  explicit ClusterMember(sim::SimMachine& machine) : node(machine) {}

  SimNode node;
  std::string name;
  NodeId id;  // nobody: not known yet
  bool founder = false;
  Standing standing = Standing::kOut;
  bool comes_back = false;  // kLeaving: to join again, with a new disk
  bool wiped = false;       // its disk was lost: the others must refuse it
  std::string damaged;      // a file that was damaged at rest: it may refuse to start
  bool refused = false;     // has ended because of either
  MonoTime remove_after;    // so long a lost disk's member may take to be refused
  MonoTime restart_at = MonoTime::Max();
  uint64_t crash_in_recovery = 0;  // at which operation of the next start; 0: none
  LifeEnd last_end = LifeEnd::kNone;

  // Of the present process.
  uint64_t faults_before = 0;  // planted I/O errors its disk had met at its start
  Term term;
  LogIndex committed;
  LogIndex applied;
  LogIndex compared;  // entries up to here were compared with the others'
  uint64_t elections_seen = 0;
  bool counted_start = false;
};

struct ClusterCounts {
  uint64_t elections = 0;  // terms that had a leader
  uint64_t starts = 0;
  uint64_t digests = 0;  // compared
  uint64_t entries = 0;  // committed ones whose terms were compared
  uint64_t snapshots_sent = 0;
  uint64_t snapshots_installed = 0;
  uint64_t snapshots_taken = 0;
  std::map<std::string, uint64_t> recoveries;  // by path
  Duration settled_in;
};

class ClusterHarness final {
 public:
  static constexpr Duration kStep = Milliseconds(1);

  explicit ClusterHarness(ClusterOptions options);
  ~ClusterHarness();

  const ClusterOptions& options() const { return options_; }
  sim::SimWorld& world() { return world_; }
  sim::SimMachine& client() { return client_; }
  Workload& workload() { return *workload_; }
  std::vector<std::unique_ptr<ClusterMember>>& members() { return members_; }
  const ClusterCounts& counts() const { return counts_; }

  // --- processes -------------------------------------------------------------------------------
  // Starts all founders and runs until they serve.
  Status Boot();
  void Start(ClusterMember& member);
  // A new, empty disk; no process may exist.
  void LoseDisk(ClusterMember& member);
  // The running member that leads in the highest term; null if there is none.
  ClusterMember* Leader();
  // Runs one step, takes away what has ended, starts what is due, and checks.
  void Step();
  void RunFor(Duration span);
  // Called at the end of each step.
  void OnStep(std::function<void()> action) { on_step_ = std::move(action); }
  // False if it did not become so within `limit`.
  bool RunUntil(const std::function<bool()>& done, Duration limit);

  // --- checks ----------------------------------------------------------------------------------
  // One line each; what it says first is the cause of the rest, as a rule.
  const std::vector<std::string>& problems() const { return problems_; }
  void Problem(std::string text);
  bool ok() const { return problems_.empty(); }
  // After all faults have been taken back and the workload was stopped.
  void Settle(Duration limit);

  // A client asks for a compaction, of revisions that the checks have already read.
  bool Compact();
  void Trace(const std::string& what);

 private:
  server::Config MakeConfig(const ClusterMember& member);
  std::vector<server::InitialMember> Others(const ClusterMember& member);
  void Tend(ClusterMember& member);
  void EndedByItself(ClusterMember& member);
  void Restart(ClusterMember& member, LifeEnd end);
  void NoteStart(ClusterMember& member);
  void CheckNow();
  void CheckMember(ClusterMember& member);
  void CheckEntries(ClusterMember& member, LogIndex applied);
  void CheckDigests();
  void ReadStoreSoon();
  io::Task<void> TakeDigest(ClusterMember& member);
  io::Task<void> ReadMore(ClusterMember& member);
  io::Task<void> CompactTo(io::Address server, int64_t revision);
  io::Task<void> WriteThrough(ClusterMember& member, bool& done);
  bool Quiet();
  void CheckLogs();
  std::vector<io::Address> Servers() const;

  const ClusterOptions options_;
  sim::SimWorld world_;
  sim::SimMachine& client_;
  std::vector<std::unique_ptr<ClusterMember>> members_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<io::Gate> writers_;

  std::function<void()> on_step_;
  std::vector<std::string> problems_;
  std::map<Term, NodeId> leaders_;
  std::vector<Term> committed_terms_;                        // by index; zero: not seen
  std::map<LogIndex, std::pair<uint64_t, NodeId>> digests_;  // by applied index
  StoreHistory store_;
  Revision store_next_{2};
  int64_t known_revision_ = 1;
  bool reading_ = false;
  MonoTime next_read_;
  MonoTime next_servers_;
  MonoTime next_digest_;
  int writes_through_ = 0;
  int disks_ = 0;
  ClusterCounts counts_;
};

}  // namespace metastore::sim_test
