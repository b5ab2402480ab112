// ClusterHarness: a cluster of simulated machines with one member each, clients beside it, and what
// must hold at every instant, looked at after every step.
//
// Always, whatever fails (CheckNow, every kStep of world time):
//  1. A term has at most one leader.
//  2. Term, commit index and applied index of a process never go back.
//  3. All members commit the same entries: equal terms at every committed index.
//  4. Applied state is equal at an equal applied index, by digest; so is the membership.
//  5. No process ends but for a reason that was planted: a failed disk, a removal, a lost disk.
//  6. No member's comparison of digests finds any that differs, but where a state was changed.
//  7. A member whose log write takes longer than an election timeout leads nobody.
// Once faults stop (Settle): all members serve and a write through each succeeds within a bounded
// time; logs agree wherever they overlap; the history of the clients is linearizable
// (tests/sim/history.h); whoever was removed has come to its end.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/sim/sim_world.h"
#include "tests/sim/log_damage.h"
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
  bool lease_reads = false;
  server::BatchPolicyKind batch_policy = server::BatchPolicyKind::kNatural;
  net::PeerCompression compression = net::PeerCompression::kOff;
  Duration compare_every;  // members their states; 0: never
  // The last word on a member's configuration, at each of its starts.
  std::function<void(const std::string& name, server::Config& config)> adjust;
  sim::SimOptions world;
  bool trace = false;  // what happens, to stderr
};

// How a process came to its end.
enum class LifeEnd : uint8_t { kNone, kStopped, kKilled, kPowerLoss, kFailed, kWiped, kDamaged };
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
  bool comes_back = false;                // kLeaving: to join again, with a new disk
  bool wiped = false;                     // its disk was lost: the others must refuse it
  std::string damaged;                    // a file that was damaged at rest: it may refuse to start
  bool log_damaged = false;               // and its log not replaced yet
  size_t logs_aside = 0;                  // that it had set aside before
  bool refused = false;                   // has ended because of either
  MonoTime remove_after;                  // so long a lost disk's member may take to be refused
  MonoTime removed_at = MonoTime::Max();  // kLeaving: when a leader was first seen without it
  bool read_only = false;                 // its disk is
  bool corrupt = false;                   // its state was changed: it is no witness of the others'
  MonoTime restart_at = MonoTime::Max();
  uint64_t crash_in_recovery = 0;  // at which operation of the next start; 0: none
  LifeEnd last_end = LifeEnd::kNone;

  // Of the present process.
  uint64_t faults_before = 0;  // planted I/O errors its disk had met at its start
  bool met_read_only = false;  // its disk was for a while
  Term term;
  LogIndex committed;
  LogIndex applied;
  LogIndex compared;             // entries up to here were compared with the others'
  LogIndex membership_compared;  // at this applied index
  LogIndex confirmed;            // DigestStatus's
  MonoTime slow_leader_since = MonoTime::Max();
  uint64_t elections_seen = 0;
  bool counted_start = false;
};

struct ClusterCounts {
  uint64_t elections = 0;  // terms that had a leader
  uint64_t starts = 0;
  uint64_t digests = 0;  // compared
  uint64_t memberships = 0;
  uint64_t comparisons = 0;  // that a majority confirmed, as each member saw it
  uint64_t entries = 0;      // committed ones whose terms were compared
  uint64_t snapshots_sent = 0;
  uint64_t snapshots_installed = 0;
  uint64_t snapshots_taken = 0;
  uint64_t logs_damaged = 0;
  uint64_t logs_repaired = 0;
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
  // Below a promise of its log; no process may exist. False: nothing is promised there.
  bool DamageLog(ClusterMember& member, Prng& prng, LogDamage how = LogDamage::kBits);
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

  // What the checks have read of the store's history, up to a revision that no compaction may pass.
  const StoreHistory& store() const { return store_; }
  int64_t known_revision() const { return known_revision_; }
  // A client asks for a compaction, of revisions that the checks have already read.
  bool Compact();
  // The revisions that were asked for so, whether it was done or not.
  const std::set<int64_t>& compactions() const { return compactions_; }
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
  void NoteRepair(ClusterMember& member);
  void CheckEntries(ClusterMember& member, LogIndex applied);
  void CheckMembership(ClusterMember& member, const server::GroupStatus& status);
  void CheckAlarms(ClusterMember& member, const server::DigestStatus& status);
  void CheckLeadersDisk(ClusterMember& member, const server::GroupStatus& status);
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
  std::map<LogIndex, std::pair<std::string, NodeId>> memberships_;
  StoreHistory store_;
  Revision store_next_{2};
  int64_t known_revision_ = 1;
  std::set<int64_t> compactions_;
  bool reading_ = false;
  MonoTime next_read_;
  MonoTime next_servers_;
  MonoTime next_digest_;
  int writes_through_ = 0;
  int disks_ = 0;
  ClusterCounts counts_;
};

}  // namespace metastore::sim_test
