// Messages in: what is wrong with them, what their term means, and who handles them.
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {
namespace {

bool IsResponse(MessageType type) {
  switch (type) {
    case MessageType::kAppendResponse:
    case MessageType::kVoteResponse:
    case MessageType::kPreVoteResponse:
    case MessageType::kHeartbeatResponse:
    case MessageType::kStorageAppendResponse:
      return true;
    case MessageType::kReadIndexResponse:  // from a leader, whom a learner on its way in may not
                                           // know
    case MessageType::kPropose:
    case MessageType::kAppend:
    case MessageType::kVote:
    case MessageType::kPreVote:
    case MessageType::kHeartbeat:
    case MessageType::kSnapshot:
    case MessageType::kReadIndex:
    case MessageType::kTransferLeader:
    case MessageType::kTimeoutNow:
      return false;
  }
  CHECK_UNREACHABLE();
}

bool HasNoTerm(MessageType type) {
  return type == MessageType::kPropose || type == MessageType::kReadIndex ||
         type == MessageType::kTransferLeader;
}

bool FromLeader(MessageType type) {
  return type == MessageType::kAppend || type == MessageType::kHeartbeat ||
         type == MessageType::kSnapshot;
}

}  // namespace

Status RaftCore::Step(Message message) {
  MS_RETURN_IF_ERROR(CheckFromPeer(message));
  Status status = StepAny(message);
  buffers_.Give(std::move(message.entries));
  return status;
}

Status RaftCore::StepOwn(Message message) {
  CHECK_EQ(message.to, config_.id);
  CHECK(message.from == config_.id || message.from == kLocalStorage);
  return StepAny(message);
}

Status RaftCore::CheckFromPeer(const Message& message) const {
  if (message.type == MessageType::kStorageAppendResponse || message.from == config_.id ||
      message.from == kNobody || message.from == kLocalStorage) {
    return InvalidArgumentError("raft: ", Name(message.type), " from ", message.from.value(),
                                ", which is no peer");
  }
  if (HasNoTerm(message.type) != (message.term == Term())) {
    return InvalidArgumentError("raft: ", Name(message.type), " with term ", message.term.value());
  }
  if (IsResponse(message.type) && tracker_.Find(message.from) == nullptr) {
    return NotFoundError("raft: response from ", message.from.value(), ", which is no member");
  }
  if (message.type == MessageType::kSnapshot && message.snapshot == nullptr) {
    return InvalidArgumentError("raft: MsgSnap without a snapshot");
  }
  if (message.type == MessageType::kAppend) return CheckAppend(message);
  return OkStatus();
}

Status RaftCore::CheckAppend(const Message& message) const {
  EntryId last = message.log;
  for (const Entry& entry : message.entries) {
    const bool follows = entry.index == last.index + 1 && entry.term >= last.term;
    if (!follows || entry.term > message.term) {
      return InvalidArgumentError("raft: MsgApp of term ", message.term.value(), " has entry ",
                                  entry.term.value(), "/", entry.index.value(), " after ",
                                  last.term.value(), "/", last.index.value());
    }
    last = entry.id();
  }
  return OkStatus();
}

Status RaftCore::StepAny(Message& message) {
  if (traced()) Trace(TraceKind::kReceive, &message);
  const bool vote_answer =
      message.type == MessageType::kVoteResponse || message.type == MessageType::kPreVoteResponse;
  // Of whatever term: what is committed stays so, and a refused pre-vote may bear an earlier one.
  if (vote_answer && message.reject) LearnCommit(message.log);
  if (message.term > term_) {
    if (!StepHigherTerm(message)) return OkStatus();
  } else if (message.term < term_ && message.term != Term()) {
    StepLowerTerm(message);
    return OkStatus();
  }
  switch (message.type) {
    case MessageType::kStorageAppendResponse:
      HandleStorageAppend(message);
      return OkStatus();
    case MessageType::kVote:
    case MessageType::kPreVote:
      HandleVoteRequest(message);
      return OkStatus();
    case MessageType::kReadIndex:
      HandleReadIndex(message);
      return OkStatus();
    case MessageType::kPropose:
    case MessageType::kAppend:
    case MessageType::kAppendResponse:
    case MessageType::kVoteResponse:
    case MessageType::kPreVoteResponse:
    case MessageType::kHeartbeat:
    case MessageType::kHeartbeatResponse:
    case MessageType::kSnapshot:
    case MessageType::kReadIndexResponse:
    case MessageType::kTransferLeader:
    case MessageType::kTimeoutNow:
      return StepByRole(message);
  }
  CHECK_UNREACHABLE();
}

// False when the message ends here.
bool RaftCore::StepHigherTerm(const Message& message) {
  const bool vote = message.type == MessageType::kVote || message.type == MessageType::kPreVote;
  // Thesis 4.2.3: who hears a leader does not let a removed or cut off node disturb it. A transfer
  // is the leader's own wish.
  if (vote && !message.transfer && (InLease() || Promised())) return false;
  // A pre-vote does not move anybody's term (thesis 9.6), nor does a granted one: it bears the term
  // that was asked for.
  if (message.type == MessageType::kPreVote && !Mutated(Mutation::kPreVoteRaisesTerm)) return true;
  if (message.type == MessageType::kPreVoteResponse && !message.reject) return true;
  BecomeFollower(message.term, FromLeader(message.type) ? message.from : kNobody);
  return true;
}

void RaftCore::StepLowerTerm(const Message& message) {
  if (Mutated(Mutation::kOverwrittenAcked) && message.from == kLocalStorage) {
    HandleStorageAppend(message);
    return;
  }
  const bool from_old_leader =
      message.type == MessageType::kHeartbeat || message.type == MessageType::kAppend;
  if (from_old_leader && (config_.check_quorum || config_.pre_vote)) {
    // Without an answer that bears our term, a leader that was cut off and came back never learns
    // of it: our own votes are ignored by those who hear it, and with pre-vote nobody raises its
    // term.
    Message reply;
    reply.type = MessageType::kAppendResponse;
    reply.to = message.from;
    Send(std::move(reply));
  } else if (message.type == MessageType::kPreVote) {
    // Trap 9: the candidate must learn the term, else elections wedge.
    Message reply;
    reply.type = MessageType::kPreVoteResponse;
    reply.to = message.from;
    reply.term = term_;
    reply.reject = true;
    reply.log = {*log_.TermAt(log_.committed()), log_.committed()};
    Send(std::move(reply));
  } else if (message.type == MessageType::kStorageAppendResponse && message.snapshot != nullptr) {
    // Trap 30: entries of an earlier term may have been overwritten meanwhile, so their write
    // proves nothing any more; a snapshot is committed state of whatever term.
    HandleStorageAppend([&message] {
      Message only_snapshot;
      only_snapshot.type = MessageType::kStorageAppendResponse;
      only_snapshot.snapshot = message.snapshot;
      return only_snapshot;
    }());
  }
}

void RaftCore::HandleStorageAppend(const Message& message) {
  if (message.log.index > LogIndex()) log_.unstable().StableTo(message.log);
  if (message.snapshot == nullptr) return;
  const LogIndex index = message.snapshot->last.index;
  log_.unstable().StableSnapshotTo(index);
  log_.AppliedBySnapshot(index);
  AppliedTo(index);
}

Status RaftCore::StepByRole(Message& message) {
  switch (soft_.role) {
    case Role::kFollower:
      return StepFollower(message);
    case Role::kPreCandidate:
    case Role::kCandidate:
      if (FromLeader(message.type)) return FollowLeader(message);
      return StepCandidate(message);
    case Role::kLeader:
      return StepLeader(message);
  }
  CHECK_UNREACHABLE();
}

Status RaftCore::StepLeader(Message& message) {
  if (message.type == MessageType::kPropose) {
    AppendProposals(message.entries);
    return OkStatus();
  }
  if (message.type == MessageType::kTransferLeader) {
    // Who asked sees by the leader that stays that it was refused.
    HandleTransfer(message.transferee).IgnoreError();
    return OkStatus();
  }
  if (FromLeader(message.type)) {
    return DataLossError("raft: ", message.from.value(), " also leads term ", term_.value(),
                         ": a vote was lost");
  }
  Progress* const progress = tracker_.Find(message.from);
  if (progress == nullptr) return OkStatus();
  if (message.type == MessageType::kAppendResponse) {
    return HandleAppendResponse(message, *progress);
  }
  if (message.type == MessageType::kHeartbeatResponse) HandleHeartbeatResponse(message, *progress);
  return OkStatus();
}

Status RaftCore::StepCandidate(const Message& message) {
  const bool pre = soft_.role == Role::kPreCandidate;
  const MessageType answer = pre ? MessageType::kPreVoteResponse : MessageType::kVoteResponse;
  // Nobody leads, so whatever else there is has no addressee and is lost.
  if (message.type == answer) HandleVoteResponse(message);
  return OkStatus();
}

Status RaftCore::StepFollower(Message& message) {
  if (FromLeader(message.type)) return FollowLeader(message);
  if (message.type == MessageType::kTimeoutNow) {
    // Thesis 3.10; without pre-vote, since the leader itself says that it goes.
    Hup(CampaignKind::kTransfer);
  } else if (message.type == MessageType::kReadIndexResponse) {
    HandleReadIndexResponse(message);
  } else if (HasNoTerm(message.type) && soft_.leader != kNobody) {
    const bool forward = message.type != MessageType::kPropose || config_.forward_proposals;
    // Never back to where it came from: two nodes that each take the other for the leader.
    if (!forward || message.from == soft_.leader) return OkStatus();
    message.to = soft_.leader;
    Send(std::move(message));
  }
  return OkStatus();
}

}  // namespace metastore::raft
