#include "raft/raft_core.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"

namespace metastore::raft {

RaftCore::RaftCore(const Config& config, LogView& view, const InitialState& state)
    : config_(config),
      log_(view, {config.apply_bytes_max, config.apply_before_durable}),
      term_(state.hard_state.term),
      vote_(state.hard_state.vote),
      timers_(config.seed),
      reads_(config.reads_max, timers_.prng.Next() >> 8) {
  CHECK(config.Validate().ok());
  CHECK(state.conf.empty() || state.applied > LogIndex());
  log_.Begin(state.hard_state.commit, state.applied);
  StatusOr<Membership> membership = ConfChanger::Restore(state.conf, log_.LastIndex(), Window());
  CHECK(membership.ok());
  tracker_.Switch(std::move(membership->config), std::move(membership->progress));
  if (traced()) Trace(TraceKind::kInitState);
  BecomeFollower(term_, kNobody);
  if (!state.first_start && !Mutated(Mutation::kPromiseForgotten)) Promise();
  // A commit index that only the applied index tells need not be written again.
  reported_.hard = CurrentHardState();
  reported_.soft = soft_;
}

Inflights RaftCore::Window() const {
  return Inflights(config_.inflight_messages_max, config_.inflight_bytes_max);
}

void RaftCore::Tick() {
  ++timers_.now;
  timers_.promised = std::max(0, timers_.promised - 1);
  if (is_leader()) {
    TickLeader();
  } else {
    TickElection();
  }
}

void RaftCore::Campaign() {
  Hup(config_.pre_vote ? CampaignKind::kPreElection : CampaignKind::kElection);
}

Status RaftCore::ForgetLeader() {
  if (config_.read_mode == ReadMode::kLease) {
    return FailedPreconditionError("a leader that may serve lease reads cannot be forgotten");
  }
  if (soft_.role == Role::kFollower && soft_.leader != kNobody) {
    soft_.leader = kNobody;
    reads_.RefuseAll();
  }
  return OkStatus();
}

void RaftCore::StepDown() {
  if (is_leader()) BecomeFollower(term_, kNobody);
}

void RaftCore::SetCampaignAllowed(bool allowed) {
  timers_.campaign_allowed = allowed;
  const bool campaigns = soft_.role == Role::kPreCandidate || soft_.role == Role::kCandidate;
  if (!allowed && campaigns) BecomeFollower(term_, kNobody);
}

void RaftCore::SetElectionsOpen(bool open) {
  timers_.elections_open = open;
  if (!open && soft_.role != Role::kFollower) BecomeFollower(term_, kNobody);
}

void RaftCore::AppendDone(AppendSeq seq) {
  CHECK_EQ(seq, reported_.last_done + 1);
  CHECK_LE(seq, reported_.last_append);
  reported_.last_done = seq;
}

void RaftCore::ApplyDone(LogIndex last) {
  log_.ApplyDone(last);
  AppliedTo(last);
  if (!Mutated(Mutation::kQuotaLeaked)) DischargeUncommitted(log_.applied_payload_bytes());
  if (deferred_snapshot_ == nullptr || log_.applying() > log_.applied()) return;
  const std::unique_ptr<Message> snapshot = std::move(deferred_snapshot_);
  // Whatever is wrong with it, its sender's next message says again.
  StepAny(*snapshot).IgnoreError();
}

void RaftCore::EntriesFetched() {
  log_.EntriesFetched();
  if (!is_leader()) return;
  for (auto& [id, progress] : tracker_.progress()) {
    if (id == config_.id) continue;
    while (SendAppend(id, progress, /*even_if_empty=*/false)) {
    }
  }
}

CoreStatus RaftCore::GetStatus() const {
  CoreStatus status;
  status.id = config_.id;
  status.hard_state = CurrentHardState();
  status.soft_state = soft_;
  status.applied = log_.applied();
  status.last_index = log_.LastIndex();
  status.transferee = leadership_.transferee;
  status.uncommitted_bytes = leadership_.uncommitted_bytes;
  if (HasLease()) status.lease_ticks = leadership_.lease_until - timers_.now;
  status.conf = conf();
  if (is_leader()) status.progress = tracker_.progress();
  return status;
}

void RaftCore::Send(Message message) {
  message.from = config_.id;
  switch (message.type) {
    case MessageType::kVote:
    case MessageType::kPreVote:
      // A pre-vote speaks of a term nobody is in yet: the sender of these sets the term.
      break;
    case MessageType::kPropose:
    case MessageType::kReadIndex:
    case MessageType::kTransferLeader:
      // For the leader of whatever term; never refused as old.
      message.term = Term();
      break;
    case MessageType::kVoteResponse:
    case MessageType::kPreVoteResponse:
      if (Mutated(Mutation::kVoteNotDurable) && message.to != config_.id) break;
      if (traced()) Trace(TraceKind::kSend, &message);
      outbox_.after_durable.push_back(std::move(message));
      return;
    case MessageType::kAppendResponse:
      // Traps 28 and 29: answers that promise something, rejections included, wait for the disk.
      message.term = term_;
      if (Mutated(Mutation::kAckNotDurable) && message.to != config_.id) break;
      if (traced()) Trace(TraceKind::kSend, &message);
      outbox_.after_durable.push_back(std::move(message));
      return;
    case MessageType::kAppend:
    case MessageType::kHeartbeat:
    case MessageType::kHeartbeatResponse:
    case MessageType::kSnapshot:
    case MessageType::kReadIndexResponse:
    case MessageType::kTimeoutNow:
      message.term = term_;
      break;
    case MessageType::kStorageAppendResponse:
      CHECK_UNREACHABLE();
  }
  CHECK_NE(message.to, config_.id);
  if (traced()) Trace(TraceKind::kSend, &message);
  outbox_.now.push_back(std::move(message));
}

}  // namespace metastore::raft
