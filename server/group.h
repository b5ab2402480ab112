// Group: one raft group on this node: the pump between proposals, raft, the log and the engine.
//
// Owned by the StateCore, on its core. Everything goes down (proposal, raft, log, engine) and
// straight back (durable, committed, applied, answered); no part calls the one that called it.
//
//   Pump()      critical class, queued by whatever gives raft something to do: takes waiting
//   proposals,
//               starts a read round, and carries out every Ready.
//   OnDurable   a log write came back: its messages are stepped, which moves the commit index.
//   ApplyLoop   coroutine: prefetches and applies committed entries in order, returns the waiters.
//   OnPeerMessage  a message of another member's is stepped (group_peers.cc).
//   Install     coroutine: a leader's snapshot replaces the engine's state, then goes to the log.
//   SnapshotLoop, PublishLoop, TakeDigest: coroutines in the background.
//
// Invariants
//  1. Append tasks are given to the log, and completed, in order; so are apply tasks.
//  2. Nothing waiting for durability is released before the write and everything before it is
//  durable.
//  3. After a failed log write raft is not called again: the group fails, its calls return, and the
//     node stops (failed()).
//  4. Every call given to Propose or Read is returned exactly once.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/snapshot_store.h"
#include "io/gate.h"
#include "io/queue.h"
#include "raft/raft_core.h"
#include "raft/tail_log.h"
#include "server/batch_policy.h"
#include "server/digest_book.h"
#include "server/disk_watch.h"
#include "server/flight.h"
#include "server/group_leases.h"
#include "server/group_metrics.h"
#include "server/member_rpc.h"
#include "server/members.h"
#include "server/membership.h"
#include "server/peer_transport.h"
#include "server/proposals.h"
#include "server/reads.h"
#include "server/tick_clock.h"
#include "wal/log.h"

namespace metastore::server {

struct GroupOptions {
  GroupId id{1};
  raft::Config raft;
  uint64_t snapshot_count = 10000;                   // entries between snapshots, at least
  uint64_t snapshot_catchup_entries = 5000;          // entries kept behind a snapshot
  uint64_t snapshot_log_bytes = 64 * limits::kMiB;   // log growth before a snapshot, at least
  uint64_t quota_bytes = 0;                          // of stored bytes; 0: none
  size_t log_cache_bytes = 64 * limits::kMiB;        // newest durable entries kept for followers
  size_t append_bytes_max = limits::kFrameBytesMax;  // given to the log at once
  MemberAttributes self;                             // published once a leader is known
  engine::RequestId publish_id;                      // for that; no other call's
  Duration tick = Milliseconds(100);                 // raft's
  Duration election_timeout = Seconds(1);            // bounds a slow disk and a transfer
  bool strict_reconfig = true;                       // refuses changes that endanger the quorum
  int learners_max = 1;
  BatchPolicyKind batch_policy = BatchPolicyKind::kNatural;
  BatchOptions batch;
  Duration digest_every;  // between comparisons of applied state; 0: none
  Duration lease_checkpoint_interval = Seconds(300);
  std::string data_dir;  // where the fence mark goes
  std::string fenced;    // what the mark there says; empty: there is none
};

// What one member can tell about the group; a value.
struct GroupStatus {
  NodeId leader;
  bool is_leader = false;
  bool is_learner = false;
  Term term;
  LogIndex committed;
  LogIndex applied;
  raft::ConfState conf;
  engine::Stats engine;
  uint64_t leader_changes_total = 0;
  ProposalStats proposals;
  size_t proposals_pending = 0;
  size_t proposals_waiting = 0;  // of these, not yet given to raft
  BatchState batch;
  size_t reads_pending = 0;
  uint64_t quota_bytes = 0;
  bool log_accepting = true;
  bool installing = false;  // a leader's snapshot: the state may be ahead of the log
  bool log_full = false;  // not accepting, and no more segments can be made: no space, most likely
  MonoTime flush_began = MonoTime::Max();  // of the oldest log write under way; Max: there is none
  bool quota_exceeded = false;
  LogIndex snapshot_index;  // of the newest snapshot; 0: none
  uint64_t snapshot_bytes = 0;
  DigestStatus digest;
  Term repair_term;  // not 0: elections are closed until an entry of this term is applied
};

class Group final : public CallReceiver {
 public:
  Group(io::Runtime& runtime, wal::Log& log, engine::Engine& engine,
        engine::SnapshotStore& snapshots, PeerTransport& peers, GroupOptions options);
  ~Group() override;

  // Recovers state and log, or begins the group with `bootstrap`; then runs. A `bootstrap` without
  // members: this one joins a cluster, whose leader tells it everything.
  // Errors: kDataLoss   log and snapshots do not fit together; names what is missing
  //         and those of the log and the snapshot files
  io::Task<Status> Start(const Bootstrap& bootstrap);
  // Returns every call and ends every task; then the log is closed, which ends what it still holds.
  io::Task<void> Stop();
  // After the log was closed: waits for what it returned. Only then may the group be destroyed.
  io::Task<void> Drain();

  // --- from calls and the node -----------------------------------------------------------------
  void Propose(ProposeCall& call) override;
  void Read(ReadCall& call) override;
  void ChangeMember(MemberCall& call) override;
  void TransferLeader(TransferCall& call) override;
  // At next_tick(), or later. Raft's ticks do not depend on when: those due are given before
  // anything else is done.
  void Tick();
  // Max: the group has failed, and waits to be stopped.
  MonoTime next_tick() const { return failure_.ok() ? ticks_.next() : MonoTime::Max(); }

  // --- from peers ------------------------------------------------------------------------------
  // A kSnapshot comes only once its data lies in the snapshot store.
  void OnPeerMessage(raft::Message message);
  void OnPeerUp();
  void OnPeerDown(NodeId peer);
  void OnSnapshotSent(NodeId peer, bool ok);
  // A peer will not have this member: it has left the cluster, or lost its data directory.
  void OnRefused(const Status& why);
  // What a peer says its state comes to. Returns what this one's comes to at that index; empty: it
  // is not known here.
  // Errors: those of DecodeMemberDigest
  StatusOr<std::string> OnDigest(NodeId from, std::string_view digest);
  // --- for GroupLeases -------------------------------------------------------------------------
  // The term in which this member leads and has applied an entry of its own; 0: there is none.
  Term leading_term() const;
  // Appends `payloads` to the own log, in `term` or not at all: false. Never sent to another
  // leader.
  bool ProposeLeading(Term term, std::span<raft::Payload> payloads);
  // Why a call is refused now, if it is.
  std::optional<ClientError> Refusal(const CallTerms& terms) const;
  bool leads() const { return core_->is_leader(); }
  NodeId leader() const { return core_->leader(); }
  Term term() const { return core_->term(); }
  const GroupOptions& options() const { return options_; }

  GroupLeases& leases() { return leases_; }
  const GroupLeases& leases() const { return leases_; }
  GroupId id() const { return options_.id; }
  // Of this member's data directory.
  uint64_t incarnation() const { return incarnation_; }
  // For a member that repairs itself: this one's term, membership and whether it votes, once all is
  // applied that its log has now (log_repair.h says why).
  // Errors: kUnavailable  it could not be applied in time
  io::Task<StatusOr<TermAnswer>> AnswerTerm();
  // What the log or the snapshots hold is damaged; found while it was read.
  bool damaged() const { return damaged_; }

  io::Signal& failed() { return failed_; }
  const Status& failure() const { return failure_; }
  GroupStatus status() const;
  const GroupMetrics& metrics() const { return metrics_; }
  const raft::CoreCounts& raft_counts() const { return core_->counts(); }
  // Of a leader: appends on their way to the others and not yet answered.
  size_t inflight_messages() const;
  // Completes once nothing below `revision` (compacted already) is stored any more.
  io::Task<io::WaitResult> WaitRemoved(Revision revision, io::WaitLimit limit) {
    limit.stop = stop_.token();
    return engine_.WaitRemoved(revision, limit);
  }
  const Members& members() const { return members_; }
  // After a successful Start; to look at.
  engine::Engine& engine() { return engine_; }
  const raft::TailLog& log() const { return *tail_; }
  // Whether this member leads and may answer reads without asking the others.
  bool has_lease() const { return core_->GetStatus().lease_ticks > 0; }
  // Whether a leader is known and this member's own attributes are in effect.
  bool serving() const { return published_ && !fenced(); }
  // Its state differs from the majority's: it serves nobody.
  bool fenced() const { return !digest_.fenced.empty(); }
  io::Signal& serving_changed() { return serving_changed_; }

 private:
  // --- group.cc
  void Schedule();
  void Pump();
  void CatchUp();
  void ProposeWaiting();
  bool ProposeOldest(size_t count);
  void AskAgain(MonoTime when);
  void HandleReady(raft::Ready ready);
  void OnLeaderChanged(NodeId leader);
  void SubmitAppend(raft::AppendTask task, std::vector<raft::Message> held);
  void SubmitFlights();
  Status AppendToLog(Flight& flight);
  void OnDurable(Flight& flight);
  void NoteStages(const Flight& flight);
  void Release(Flight& flight);
  void ServeReads();
  void ServeRead(ReadCall& call);
  io::Task<void> ServeLongRead(ReadCall& call);
  io::Task<void> FetchEntries(raft::TailLog::Wanted wanted);
  void Fail(Status status);
  void FollowMembers();
  bool CampaignsAlone() const;
  bool OverQuota(uint64_t cost_bytes) const;
  bool LogFull() const;

  // --- group_peers.cc
  void SendToPeer(raft::Message& message);
  void TakeBack(raft::Message& message);
  io::Task<void> Install(Flight& flight);
  io::Task<Status> InstallState(const raft::SnapshotMeta& snapshot);
  void OnInstalled(const raft::SnapshotMeta& snapshot);
  void StopIfRemoved();
  io::Task<void> Leave();
  void DiscardReceived();
  void ReplaceLostSnapshot();
  void WatchDisk(MonoTime now);
  bool HandOver(size_t attempt, std::string_view why);

  // --- group_members.cc
  std::optional<ClientError> JudgeChange(const MemberCall& call) const;
  std::optional<ClientError> JudgeAdd(const MemberCall& call) const;
  std::optional<ClientError> JudgeRemove(const MemberCall& call) const;
  bool UrlsTaken(const MemberCall& call) const;
  size_t ConnectedVoters(Duration span) const;
  void ResolveMemberCalls(const engine::RequestId& request, Status result);
  void EndMemberCall(MemberCall& call, Status result);
  void ExpireMemberCalls(MonoTime now);
  void EndTransfers(MonoTime now);
  void FailMemberCalls(const ClientError& error);

  // --- group_apply.cc
  io::Task<void> ApplyLoop();
  io::Task<Status> ApplyCommitted(const raft::ApplyTask& task);
  static engine::Entry ForEngine(const raft::Entry& entry);
  void ApplyEntry(const raft::Entry& entry, const engine::Entry& for_engine);
  void ApplyServerCommand(std::string_view command);
  void NotePublication(raft::EntryType type, std::string_view command);
  void ApplyConfChange(const raft::Entry& entry);
  void BoundTail();
  io::Task<void> AnswerWithReads(ProposeCall& call, engine::ApplyResult applied,
                                 engine::ReadPin pin);

  // --- group_digest.cc
  void CompareDigests(MonoTime now);
  void BeginDigest();
  io::Task<void> TakeDigest(std::unique_ptr<engine::DigestSource> source, raft::ConfState conf,
                            uint64_t membership);
  void AskForDigests(MonoTime now);
  void JudgeDigests(LogIndex index);
  void NoteDifference(NodeId member, LogIndex index, std::string where);
  void Fence(std::string why);
  io::Task<void> MarkFenced();
  DigestStatus digest_status() const;

  // --- group_recovery.cc
  io::Task<Status> Recover();
  io::Task<Status> BeginNew(const Bootstrap& bootstrap);
  Status TakeIncarnation();
  io::Task<Status> ReadPublications();
  DurableState DurableFacts() const { return {{}, incarnation_, repair_term_}; }
  void OpenElections(Term applied);
  StatusOr<raft::InitialState> MakeInitialState(bool first_start) const;

  // --- group_snapshot.cc
  bool SnapshotDue() const;
  void MaybeSnapshot();
  io::Task<void> SnapshotLoop();
  io::Task<Status> TakeSnapshot();
  io::Task<Status> PurgeLog(LogIndex snapshot);
  io::Task<void> CompactTail(LogIndex through);
  io::Task<void> PublishLoop();

  static constexpr size_t kProposeBatchMax = 1024;  // proposals given to raft at once, all or none
  static constexpr size_t kFlightPoolMax = 64;      // idle Flights kept
  static constexpr size_t kLoneLogCacheBytes = limits::kMiB;
  static constexpr size_t kReadsAtOnce = 512;     // served before others get their turn
  static constexpr size_t kReadsPrefetched = 16;  // whose cache misses overlap
  static constexpr size_t kMemberCallsMax = 64;   // and transfers, each

  io::Runtime& runtime_;
  wal::Log& log_;
  engine::Engine& engine_;
  engine::SnapshotStore& snapshots_;
  PeerTransport& peers_;
  const GroupOptions options_;
  uint64_t incarnation_ = 0;
  Term repair_term_;  // GroupStatus's
  bool damaged_ = false;

  std::unique_ptr<raft::TailLog> tail_;
  std::unique_ptr<raft::RaftCore> core_;
  std::unique_ptr<BatchPolicy> batch_policy_;
  Proposals proposals_;
  Reads reads_;
  GroupLeases leases_;
  Members members_;
  raft::ConfState conf_;                   // as of the applied index
  bool is_learner_ = false;                // this member, by members_
  std::vector<MemberCall*> member_calls_;  // proposed here
  std::vector<TransferCall*> transfers_;
  DiskWatch disk_;
  struct {
    DigestBook book;
    bool under_way = false;
    MonoTime compared_at;  // when a comparison was last proposed or applied here
    MonoTime taken_at;     // the newest digest
    MonoTime asked_at;     // the others for theirs; 0: not yet
    LogIndex judged;       // newest
    LogIndex confirmed;    // DigestStatus's, as the rest
    bool in_doubt = false;
    std::map<NodeId, DigestDifference> differing;
    std::string fenced;
  } digest_;
  TickClock ticks_;

  struct PumpNode : io::ReadyNode {
    Group* group = nullptr;
  } pump_, more_reads_;  // the second serves what is left of many reads, in the clients' turns
  struct BatchTimer : io::Timer {
    Group* group = nullptr;
  } batch_timer_;
  std::deque<std::unique_ptr<Flight>> flights_;  // in order, from the first not yet durable
  io::Signal flight_ended_;
  std::vector<std::unique_ptr<Flight>> flight_pool_;
  std::deque<raft::ApplyTask> apply_queue_;
  bool applying_ = false;
  bool fetching_ = false;  // entries for raft; one fetch at a time
  Term applied_term_;      // of the last entry applied
  LogIndex received_;  // of a leader's snapshot that raft has been told of; 0: none, or in a flight
  io::Signal apply_arrived_;
  std::vector<raft::Payload> payloads_;             // scratch of ProposeWaiting
  std::vector<wal::Record> records_;                // scratch of SubmitFlights
  std::vector<ReadCall*> ready_reads_;              // scratch of ServeReads
  std::vector<const engine::RangeQuery*> queries_;  // likewise

  Status failure_;
  io::Signal failed_;
  bool stopping_ = false;
  bool published_ = false;
  io::Signal serving_changed_;
  GroupMetrics metrics_;
  uint64_t leader_changes_total_ = 0;
  NodeId last_leader_;
  struct {
    LogIndex last;             // applied index of the newest
    uint64_t last_bytes = 0;   // of its file
    uint64_t state_bytes = 0;  // of the state it was written from, as Stats::stored_bytes
    uint64_t log_bytes_since = 0;
    bool needed = false;  // by a follower that the present ones do not serve
    io::Signal wanted;
  } snapshot_;
  io::StopSource stop_;
  io::Gate gate_;
};

}  // namespace metastore::server
