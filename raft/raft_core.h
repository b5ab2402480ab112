// Consensus for one replica of one group, as a pure state machine: ticks, messages and proposals
// in, Ready out.
//
// Owner: the node pump of the group (server/). Core: the group's state core; no I/O, no clock, no
// threads. Equal inputs give equal outputs, byte for byte; the only randomness is the seed in
// Config.
//
// The step semantics are those of etcd's raft library in its asynchronous storage mode (the
// recorded scripts of that library are tests here). What takes effect where: messages and proposals
// at once, membership changes at ApplyConfChange, durability only when the messages of an
// AppendTask come back.
//
// What the pump must do, in full (`wal`, `engine`, `peers`, `reads` stand for the node's own):
//
//   void Pump() {                                      // after any input and any completion below
//     while (core.HasReady()) {
//       Ready ready = core.TakeReady();
//       std::vector<Message> held;                                   // vote requests (trap 28b)
//       for (Message& m : ready.send_now) {
//         if (NeedsDurableTerm(m)) held.push_back(std::move(m));
//         else peers.Send(std::move(m));                             // during the log write
//       }
//       core.buffers().Give(std::move(ready.send_now));              // here and below: if it likes
//       if (ready.append) wal.Append(std::move(*ready.append), std::move(held));  // in order
//       if (ready.apply) engine.Apply(std::move(*ready.apply));                   // in order
//       for (const ReadState& r : ready.reads) reads.Resolve(r);     // serve at applied >= index
//     }
//   }
//   void OnDurable(AppendTask& task, std::vector<Message>& held) {   // it and all before it are
//     for (Message& m : held) peers.Send(std::move(m));
//     view.Extend(task);                               // LogView now has its snapshot and entries
//     core.AppendDone(task.seq);
//     for (Message& m : task.after_durable) {
//       if (m.to == core.id()) core.StepOwn(std::move(m));
//       else peers.Send(std::move(m));
//     }
//     core.buffers().Give(std::move(task));
//     Pump();
//   }
//   void OnApplied(LogIndex last) {                    // core.ApplyConfChange had the conf changes
//     core.ApplyDone(last);
//     Pump();
//   }
//
// Time: Tick by a fixed schedule of a monotonic clock. With lease reads (Config::read_mode) the
// clock is read, and every tick that is due given, before a Step and before the TakeReady that may
// serve reads; reads given to the core before that are then served as of that moment. After a time
// in which the clock may have stood still (a suspended machine), DropLease (trap 7).
//
// Several tasks of a kind may be under way; they are done and reported in order. A snapshot in an
// AppendTask is a barrier: no ApplyTask is made until it is durable, and the engine has its data by
// then. A task with !must_sync is never flushed for its own sake. `held` is empty unless the append
// has must_sync. After a failed log write the core is not called again. A completion may come from
// the very call that started the work, but never from inside a function of RaftCore.
//
// Invariants (CHECKed):
// 1. Term and commit never fall; applied <= commit.
// 2. AppendDone comes in order of seq, ApplyDone in order of the tasks.
// 3. Nothing at or below commit is ever truncated (trap 35).
// 4. Nothing is applied before it is durable here, unless Config::apply_before_durable.
// Bounds: Config's bytes and counts; messages stay in the core only until the next TakeReady.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/base/prng.h"
#include "io/base/status.h"
#include "raft/buffers.h"
#include "raft/conf_change.h"
#include "raft/conf_changer.h"
#include "raft/config.h"
#include "raft/log_view.h"
#include "raft/message.h"
#include "raft/raft_log.h"
#include "raft/read_index.h"
#include "raft/ready.h"
#include "raft/trace.h"
#include "raft/tracker.h"
#include "raft/types.h"

namespace metastore::raft {

// Where a core begins.
// Restart: what is on disk. A member that joins: all empty, a leader's snapshot tells it the rest.
// Bootstrap: every first member, be it one or three, begins after the same snapshot of nothing: log
// start and `applied` {term 1, index 1}, hard state term 1, `conf` the first members. Not at index
// 0, else the log alone would seem to tell a later member the whole membership.
struct InitialState {
  HardState hard_state;
  ConfState conf;    // as of `applied`; empty where that is 0
  LogIndex applied;  // the state machine's
  // Nothing ran here before, so no promise to a leader can be forgotten. Else, with lease reads,
  // the node takes no part in elections for an election timeout.
  bool first_start = false;
};

enum class ProposeCode : uint8_t {
  kAccepted,            // `first` is the log position of the first entry, the rest follow it
  kForwarded,           // a message to `leader` is on its way; lost without notice if it gets lost
  kNotLeader,           // `leader` is a hint, kNobody when unknown
  kQuotaFull,           // uncommitted_bytes_max; try again after the next apply
  kTransferInProgress,  // ends within an election timeout
  kConfChangeRefused,   // another is under way, or it does not fit; an empty entry took its place
  kLearnerNotReady,     // Config::learner_ready_percent; nothing was appended, try again later
};

struct ProposeResult {
  ProposeCode code = ProposeCode::kAccepted;
  EntryId first;
  NodeId leader;
};

enum class ReadCode : uint8_t {
  kAccepted,   // the token comes back in a Ready
  kNoLeader,   // none is known
  kQueueFull,  // Config::reads_max
};

// A picture of the core for metrics, Maintenance.Status and tests.
struct CoreStatus {
  NodeId id;
  HardState hard_state;
  SoftState soft_state;
  LogIndex applied;
  LogIndex last_index;
  NodeId transferee;
  size_t uncommitted_bytes = 0;
  uint64_t lease_ticks = 0;  // for which reads are served at once; 0: by a round
  ConfState conf;
  ProgressMap progress;  // a leader's view of the members; empty elsewhere
};

// Since the core was made.
struct CoreCounts {
  // Times it campaigned because it had heard of no leader for an election timeout.
  uint64_t election_timeouts = 0;
  // Times a leader it knew was silent for RaftCore::kSilentHeartbeats heartbeat intervals.
  uint64_t heartbeat_timeouts = 0;
};

class RaftCore final {
 public:
  static constexpr int kSilentHeartbeats = 3;

  // `view` outlives the core. CHECKs that `config` is valid and that `state` is consistent and fits
  // `view`: FirstIndex() - 1 <= applied <= LastIndex(), commit <= LastIndex(). What a disk says is
  // judged before this call (trap 22).
  RaftCore(const Config& config, LogView& view, const InitialState& state);
  RaftCore(const RaftCore&) = delete;
  RaftCore& operator=(const RaftCore&) = delete;

  // One tick of time went by.
  void Tick();
  // Reads run a round again until the next lease: the driver's clock may have missed time, for
  // example after a pause. Others than leaders: nothing.
  void DropLease();

  // A message from a peer.
  // Errors: kNotFound         a response from a node that is no member (ignored)
  //         kInvalidArgument  not a message a peer may send, or malformed (ignored)
  //         kDataLoss         contradicts what was durable here or there: somebody lost data, or
  //                           voted twice (trap 34). No entry, commit or vote of it takes effect;
  //                           the node stops and says so
  Status Step(Message message);
  // A message of a durable AppendTask's after_durable whose `to` is this node. Errors as Step.
  Status StepOwn(Message message);

  // Appends the payloads as entries, all or none. Moves them away where the code is kAccepted or
  // kForwarded.
  //   payloads   1 or more, each at most limits::kEntryBytesMax
  ProposeResult Propose(std::span<Payload> payloads);
  // Appends a membership change; the server judges beforehand whether it is wise. Where another
  // node leads and the change is forwarded, a refusal there leaves an empty entry.
  //   type   kConfChangeV2, or kConfChange for a single step without joint consensus
  ProposeResult ProposeConfChange(const ConfChange& change,
                                  EntryType type = EntryType::kConfChangeV2);
  // Asks for a read index. All tokens that arrive before a TakeReady share one round (thesis 6.4,
  // trap 4).
  ReadCode ReadIndex(ReadToken token);

  // Hands leadership to `to`, directly or by asking the leader.
  // Errors: kFailedPrecondition   no leader is known
  //         kInvalidArgument      `to` is no voting member (judged by the leader only)
  Status TransferLeader(NodeId to);
  // Begins an election now; ignored by a leader, a learner, a stranger, while campaigns are not
  // allowed, and with lease reads while a leader may rely on this node.
  void Campaign();
  // Follower: forgets the leader but not the term, so that it may vote for others at once.
  // Errors: kFailedPrecondition   Config::read_mode is kLease (trap 8)
  Status ForgetLeader();
  // Leader: becomes a follower of the same term (its disk stalls). Others: nothing.
  void StepDown();
  // False: neither campaigns nor accepts leadership, but votes (a slow or doubtful disk, trap 51).
  // True at first.
  void SetCampaignAllowed(bool allowed);
  // False: takes no part in elections at all, pre-votes and a leader's offer included, but follows
  // and acknowledges: votes or entries that it once acknowledged are lost. True at first.
  void SetElectionsOpen(bool open);

  // The last message to `peer` was lost.
  void ReportUnreachable(NodeId peer);
  // The snapshot for `peer` was sent (`ok`) or was not.
  void ReportSnapshot(NodeId peer, bool ok);
  // Entries that LogView called kUnavailable are in memory now.
  void EntriesFetched();

  // Puts a committed membership change into effect; called by apply for each conf change entry in
  // log order. Returns the membership to store with the applied index (traps 25, 26).
  // Errors: kFailedPrecondition   does not fit the membership; nothing changed, on all replicas
  StatusOr<ConfState> ApplyConfChange(const ConfChange& change);
  // The ApplyTask that ends at `last` is done. In order.
  void ApplyDone(LogIndex last);
  // The task and everything before it is durable; called before its messages are stepped. In order.
  void AppendDone(AppendSeq seq);

  // Whether TakeReady would have anything. What it takes may still be empty where committed entries
  // must be fetched first.
  bool HasReady() const;
  // Everything there is to do now; several may be outstanding. Never blocks.
  Ready TakeReady();

  // Where vectors of finished tasks and of messages that were sent go, to be used again.
  Buffers& buffers() { return buffers_; }

  NodeId id() const { return config_.id; }
  Role role() const { return soft_.role; }
  bool is_leader() const { return soft_.role == Role::kLeader; }
  NodeId leader() const { return soft_.leader; }
  Term term() const { return term_; }
  LogIndex commit() const { return log_.committed(); }
  LogIndex applied() const { return log_.applied(); }
  LogIndex last_index() const { return log_.LastIndex(); }
  ConfState conf() const { return tracker_.config().State(); }
  CoreStatus GetStatus() const;
  const CoreCounts& counts() const { return counts_; }
  // Tests only: fixes the randomised timeout until the next change of role or term.
  void SetRandomizedElectionTimeoutForTest(int ticks) { timers_.randomized = ticks; }

 private:
  enum class CampaignKind : uint8_t { kPreElection, kElection, kTransfer };
  struct Timers {
    explicit Timers(uint64_t seed) : prng(seed) {}

    Prng prng;
    bool campaign_allowed = true;
    bool elections_open = true;
    uint64_t now = 0;    // ticks since the start
    int promised = 0;    // ticks for which this node elects nobody (lease.cc)
    int election = 0;    // ticks since a leader was heard; a leader's since its last quorum check
    int heartbeat = 0;   // a leader's since its last heartbeat
    int randomized = 0;  // the election timeout in force
  };
  // State a leader keeps; reset with every change of role or term.
  struct Leadership {
    NodeId transferee;
    LogIndex pending_conf;         // no conf change is proposed while this is above applied
    size_t uncommitted_bytes = 0;  // payloads of this log above applied
    bool handed_over = false;      // somebody was told to campaign
    uint64_t lease_until = 0;      // in Timers::now; 0: no lease
    // When the round under way began, if a lease may come of it.
    std::optional<uint64_t> lease_round_began;
  };
  struct Outbox {
    std::vector<Message> now;
    std::vector<Message> after_durable;
  };
  // What the pump has been told.
  struct Reported {
    SoftState soft;
    HardState hard;
    AppendSeq last_append;
    AppendSeq last_done;
  };

  // --- trace.cc: only with a sink
  bool traced() const { return config_.trace != nullptr; }
  void Trace(TraceKind kind, const Message* message = nullptr,
             const ConfChange* change = nullptr) const;
  void TraceAppended(std::span<const Entry> entries) const;

  // --- raft_core.cc: construction, time, outbox
  void Send(Message message);
  Inflights Window() const;
  HardState CurrentHardState() const { return {term_, vote_, log_.committed()}; }

  // --- step.cc: dispatch by term and role
  Status CheckFromPeer(const Message& message) const;
  Status CheckAppend(const Message& message) const;
  // They may move the message, or parts of it, away.
  Status StepAny(Message& message);
  bool StepHigherTerm(const Message& message);
  void StepLowerTerm(const Message& message);
  Status StepByRole(Message& message);
  Status StepLeader(Message& message);
  Status StepCandidate(const Message& message);
  Status StepFollower(Message& message);
  void HandleStorageAppend(const Message& message);

  // --- ready.cc: what there is to do
  bool NeedsAppend() const;
  AppendTask TakeAppend();

  // --- election.cc: roles, terms, campaigns, votes (thesis 3.4, 9.6)
  void Reset(Term term);
  void BecomeFollower(Term term, NodeId leader);
  void BecomePreCandidate();
  void BecomeCandidate();
  void BecomeLeader();
  bool Promotable() const;
  bool HasUnappliedConfChange();
  void Hup(CampaignKind kind);
  void RunCampaign(CampaignKind kind);
  void HandleVoteRequest(const Message& message);
  void LearnCommit(EntryId committed);
  void HandleVoteResponse(const Message& message);
  void TickElection();
  bool InLease() const;

  // --- leader.cc: replication, commitment (thesis 3.5, 3.6), leadership transfer (3.10)
  void TickLeader();
  void CheckQuorum();
  bool AppendEntries(std::span<Entry> entries);
  void RecountUncommitted();
  void DischargeUncommitted(size_t bytes);
  bool MaybeCommit();
  void BroadcastAppend();
  void BroadcastHeartbeat();
  void SendHeartbeat(NodeId peer, Progress& progress);
  bool SendAppend(NodeId peer, Progress& progress, bool even_if_empty);
  bool SendSnapshot(NodeId peer, Progress& progress);
  Status HandleAppendResponse(const Message& message, Progress& progress);
  void HandleRejection(const Message& message, Progress& progress);
  void HandleAcknowledgement(const Message& message, Progress& progress);
  void HandleHeartbeatResponse(const Message& message, Progress& progress);
  Status HandleTransfer(NodeId transferee);
  void SendTimeoutNow(NodeId peer);

  // --- follower.cc: what a leader tells us
  Status FollowLeader(Message& message);
  Status HandleAppend(Message& message);
  void RejectAppend(const Message& message);
  Status HandleHeartbeat(const Message& message);
  Status HandleSnapshot(Message& message);
  StatusOr<bool> Restore(const std::shared_ptr<const SnapshotMeta>& snapshot);

  // --- proposals.cc
  ProposeResult ProposeEntries(std::span<Entry> entries);
  std::optional<ProposeResult> Refusal(size_t bytes) const;
  ProposeResult AppendProposals(std::span<Entry> entries);
  bool FitsMembership(const Entry& entry, LogIndex pending) const;
  bool LearnersReady(const ConfChange& change) const;

  // --- membership.cc: configurations in effect
  void SwitchTo(Membership membership);
  void LeadNewMembership();
  void AppliedTo(LogIndex index);

  // --- reads.cc: read index (thesis 6.4)
  bool CommittedInTerm() const;
  bool CanAdvanceReads() const;
  void AdvanceReads();
  void BeginReadRound();
  void AnswerRemoteReads(const std::vector<RemoteRead>& reads, LogIndex index);
  void AcknowledgeRead(NodeId from, uint64_t round);
  void FinishReadsOfQuorum();
  void SendReadBatch();
  void HandleReadIndex(const Message& message);
  void HandleReadIndexResponse(const Message& message);

  // --- lease.cc: reads without a round (thesis 6.4.1)
  void Promise();
  bool Promised() const;
  bool MayTakeLease() const;
  void NoteLeaseRoundBegan();
  void NoteLeaseRoundAnswered();
  bool HasLease() const;

  const Config config_;
  RaftLog log_;
  Tracker tracker_;
  Term term_;
  NodeId vote_;
  SoftState soft_;
  Timers timers_;
  Leadership leadership_;
  ReadQueue reads_;
  std::unique_ptr<Message> deferred_snapshot_;  // waits for the entries being applied
  Outbox outbox_;
  Buffers buffers_;
  Reported reported_;
  CoreCounts counts_;
};

}  // namespace metastore::raft
