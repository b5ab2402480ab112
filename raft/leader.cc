// What a leader does: replication (thesis 3.5, 10.2.1), commitment (3.6), contact with a quorum
// (6.2), leadership transfer (3.10).
#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {

void RaftCore::TickLeader() {
  ++timers_.heartbeat;
  ++timers_.election;
  if (timers_.election >= config_.election_ticks) {
    timers_.election = 0;
    if (config_.check_quorum) CheckQuorum();
    // A transfer that takes this long has failed (thesis 3.10).
    if (!Mutated(Mutation::kTransferForever)) leadership_.transferee = kNobody;
  }
  if (!is_leader() || timers_.heartbeat < config_.heartbeat_ticks) return;
  timers_.heartbeat = 0;
  // Every heartbeat is part of a round, so that a lease does not end while nobody reads.
  const bool leases = config_.read_mode == ReadMode::kLease && CommittedInTerm();
  if (leases && reads_.round() == 0) BeginReadRound();
  BroadcastHeartbeat();
}

void RaftCore::CheckQuorum() {
  // Trap 13: contact means contact with a majority, not with anybody.
  if (!tracker_.QuorumActive()) BecomeFollower(term_, kNobody);
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) progress.set_recent_active(false);
  }
}

bool RaftCore::AppendEntries(std::span<Entry> entries) {
  size_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.payload.size();
  // One batch always fits an empty quota, and an empty entry fits always (trap 45).
  const size_t used = leadership_.uncommitted_bytes;
  if (used > 0 && bytes > 0 && used + bytes > config_.uncommitted_bytes_max) return false;
  leadership_.uncommitted_bytes += bytes;
  LogIndex index = log_.LastIndex();
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = ++index;
  }
  if (traced()) TraceAppended(entries);
  log_.Append(entries);
  // Thesis 10.2.1: the leader's own log write is one more answer, which counts when it is durable.
  Message own;
  own.type = MessageType::kAppendResponse;
  own.to = config_.id;
  own.log.index = index;
  Send(std::move(own));
  return true;
}

void RaftCore::RecountUncommitted() {
  // Trap 45: what the last leader left counts against this one's quota too. Entries that are not in
  // memory do not, which only makes the quota larger for a while.
  if (Mutated(Mutation::kQuotaForgotten)) return;
  std::vector<Entry> left;
  const LogIndex end = log_.LastIndex() + 1;
  if (!log_.Slice(log_.applied() + 1, end, SIZE_MAX, left).ok()) left.clear();
  for (const Entry& entry : left) leadership_.uncommitted_bytes += entry.payload.size();
}

void RaftCore::DischargeUncommitted(size_t bytes) {
  leadership_.uncommitted_bytes -= std::min(bytes, leadership_.uncommitted_bytes);
}

bool RaftCore::MaybeCommit() {
  // Trap 2 (thesis 3.6.2): counting replicas commits only entries of this term, and with them all
  // before.
  const LogIndex quorum = tracker_.Committed();
  if (quorum <= log_.committed()) return false;
  if (log_.TermAt(quorum) != term_ && !Mutated(Mutation::kOldTermCommitted)) return false;
  log_.CommitTo(quorum);
  if (traced()) Trace(TraceKind::kCommit);
  return true;
}

void RaftCore::BroadcastAppend() {
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) SendAppend(id, progress, /*even_if_empty=*/true);
  }
}

void RaftCore::BroadcastHeartbeat() {
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) SendHeartbeat(id, progress);
  }
}

void RaftCore::SendHeartbeat(NodeId peer, Progress& progress) {
  Message message;
  message.type = MessageType::kHeartbeat;
  message.to = peer;
  // Trap 34: never beyond what the follower is known to have.
  message.commit = std::min(progress.match(), log_.committed());
  message.read_round = reads_.round();
  progress.SentCommit(message.commit);
  Send(std::move(message));
}

bool RaftCore::SendAppend(NodeId peer, Progress& progress, bool even_if_empty) {
  if (progress.paused()) return false;
  const LogIndex previous = progress.next() - 1;
  const std::optional<Term> previous_term = log_.TermAt(previous);
  if (!previous_term) return SendSnapshot(peer, progress);
  // With a full window an empty append still goes, or a stream whose messages were all lost would
  // stop for ever (trap 47).
  const bool full = progress.state() == ProgressState::kReplicate && progress.inflights().full();
  const bool has_entries = !full && progress.next() <= log_.LastIndex();
  if (!has_entries && !even_if_empty) return false;
  Message message;
  if (has_entries) {
    message.entries = buffers_.TakeEntries();
    const Status status = log_.Slice(progress.next(), log_.LastIndex() + 1,
                                     config_.message_bytes_max, message.entries);
    // EntriesFetched tries again.
    if (status.code() == StatusCode::kUnavailable) return false;
    if (!status.ok()) return SendSnapshot(peer, progress);
  }
  size_t bytes = 0;
  for (const Entry& entry : message.entries) bytes += EntryBytes(entry);
  const size_t count = message.entries.size();
  message.type = MessageType::kAppend;
  message.to = peer;
  message.log = {*previous_term, previous};
  message.commit = log_.committed();
  Send(std::move(message));
  progress.SentEntries(count, bytes);
  progress.SentCommit(log_.committed());
  return true;
}

bool RaftCore::SendSnapshot(NodeId peer, Progress& progress) {
  // A snapshot for a node that does not answer would be wasted.
  if (!progress.recent_active()) return false;
  std::optional<SnapshotMeta> snapshot = log_.Snapshot(peer);
  if (!snapshot) return false;
  progress.BecomeSnapshot(snapshot->last.index);
  Message message;
  message.type = MessageType::kSnapshot;
  message.to = peer;
  message.snapshot = std::make_shared<const SnapshotMeta>(*std::move(snapshot));
  Send(std::move(message));
  return true;
}

Status RaftCore::HandleAppendResponse(const Message& message, Progress& progress) {
  if (!message.reject && message.log.index > log_.LastIndex()) {
    return DataLossError("raft: ", message.from.value(), " has entry ", message.log.index.value(),
                         " in term ", term_.value(), " whose leader has ",
                         log_.LastIndex().value());
  }
  progress.set_recent_active(true);
  if (message.reject) {
    HandleRejection(message, progress);
  } else {
    HandleAcknowledgement(message, progress);
  }
  return OkStatus();
}

void RaftCore::HandleRejection(const Message& message, Progress& progress) {
  // Trap 46: the follower named its last entry of a term up to that of the refused one; skip what
  // cannot agree on our side too, by whole terms instead of one entry a round trip.
  LogIndex hint = message.reject_hint;
  if (message.log.term > Term()) {
    hint = log_.FindConflictByTerm(std::min(hint, log_.LastIndex()), message.log.term).index;
  }
  if (Mutated(Mutation::kHintTooFar)) hint = LogIndex();
  if (!progress.MaybeDecrease(message.log.index, hint)) return;
  if (progress.state() == ProgressState::kReplicate) progress.BecomeProbe();
  SendAppend(message.from, progress, /*even_if_empty=*/true);
}

void RaftCore::HandleAcknowledgement(const Message& message, Progress& progress) {
  const LogIndex acked = message.log.index;
  const bool news = progress.MaybeUpdate(acked);
  const bool probe_found = progress.match() == acked && progress.state() == ProgressState::kProbe;
  if (!news && !probe_found) return;
  switch (progress.state()) {
    case ProgressState::kProbe:
      progress.BecomeReplicate();
      break;
    case ProgressState::kSnapshot:
      // Trap 49: whatever snapshot it got, it can go on from there with our log.
      if (progress.match() + 1 >= log_.FirstIndex()) {
        progress.BecomeProbe();
        progress.BecomeReplicate();
      }
      break;
    case ProgressState::kReplicate:
      if (!Mutated(Mutation::kWindowNotFreed)) progress.FreeInflights(acked);
      break;
  }
  const NodeId from = message.from;
  if (MaybeCommit()) {
    BroadcastAppend();
  } else if (from != config_.id && progress.WouldLearnCommit(log_.committed())) {
    SendAppend(from, progress, /*even_if_empty=*/true);
  }
  if (from == config_.id) return;
  while (SendAppend(from, progress, /*even_if_empty=*/false)) {
  }
  if (from == leadership_.transferee && progress.match() == log_.LastIndex()) SendTimeoutNow(from);
}

void RaftCore::HandleHeartbeatResponse(const Message& message, Progress& progress) {
  progress.set_recent_active(true);
  progress.ResumeAppends();
  // Trap 48: with nothing new to send this is what restarts a lost probe.
  if (progress.match() < log_.LastIndex() || progress.state() == ProgressState::kProbe) {
    SendAppend(message.from, progress, /*even_if_empty=*/true);
  }
  AcknowledgeRead(message.from, message.read_round);
}

Status RaftCore::TransferLeader(NodeId to) {
  if (is_leader()) return HandleTransfer(to);
  if (soft_.leader == kNobody) return FailedPreconditionError("raft: no leader to transfer from");
  Message message;
  message.type = MessageType::kTransferLeader;
  message.to = soft_.leader;
  message.transferee = to;
  Send(std::move(message));
  return OkStatus();
}

Status RaftCore::HandleTransfer(NodeId transferee) {
  Progress* const progress = tracker_.Find(transferee);
  if (progress == nullptr || progress->learner()) {
    return InvalidArgumentError("raft: ", transferee.value(), " is no voting member");
  }
  if (leadership_.transferee == transferee) return OkStatus();
  leadership_.transferee = kNobody;
  if (transferee == config_.id) return OkStatus();
  // It has an election timeout from now (TickLeader).
  timers_.election = 0;
  leadership_.transferee = transferee;
  if (!Mutated(Mutation::kLeaseOverTransfer)) DropLease();
  if (progress->match() == log_.LastIndex()) {
    SendTimeoutNow(transferee);
  } else {
    SendAppend(transferee, *progress, /*even_if_empty=*/true);
  }
  return OkStatus();
}

void RaftCore::SendTimeoutNow(NodeId peer) {
  leadership_.handed_over = true;
  Message message;
  message.type = MessageType::kTimeoutNow;
  message.to = peer;
  Send(std::move(message));
}

void RaftCore::ReportUnreachable(NodeId peer) {
  Progress* const progress = is_leader() ? tracker_.Find(peer) : nullptr;
  if (progress != nullptr && progress->state() == ProgressState::kReplicate) {
    progress->BecomeProbe();
  }
}

void RaftCore::ReportSnapshot(NodeId peer, bool ok) {
  Progress* const progress = is_leader() ? tracker_.Find(peer) : nullptr;
  if (progress == nullptr || progress->state() != ProgressState::kSnapshot) return;
  if (ok) {
    progress->BecomeProbe();
  } else {
    progress->AbortSnapshot();
  }
  // After a failure a heartbeat's answer starts again; after a success the follower's own does.
  progress->PauseAppends();
}

}  // namespace metastore::raft
