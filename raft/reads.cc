// Linearizable reads by read index (thesis 6.4): a leader proves with a round of heartbeats that it
// still leads, then everything committed when the round began may be read.
#include <utility>

#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {

ReadCode RaftCore::ReadIndex(ReadToken token) {
  if (soft_.leader == kNobody) return ReadCode::kNoLeader;
  return reads_.Add(token) ? ReadCode::kAccepted : ReadCode::kQueueFull;
}

bool RaftCore::CommittedInTerm() const { return log_.TermAt(log_.committed()) == term_; }

bool RaftCore::CanAdvanceReads() const {
  if (!reads_.waiting()) return false;
  if (HasLease()) return true;
  if (reads_.round() != 0) return false;
  // Trap 3: before its first commit a leader does not know what is committed.
  if (is_leader()) return CommittedInTerm() || Mutated(Mutation::kReadBeforeCommit);
  return soft_.leader != kNobody;
}

void RaftCore::AdvanceReads() {
  if (HasLease()) {
    const LogIndex index = log_.committed();
    AnswerRemoteReads(reads_.ServeWaiting(index), index);
  } else if (is_leader()) {
    BeginReadRound();
    if (reads_.round() != 0) BroadcastHeartbeat();
  } else {
    reads_.StartRound(LogIndex());
    SendReadBatch();
  }
}

void RaftCore::BeginReadRound() {
  const uint64_t round = reads_.StartRound(log_.committed());
  NoteLeaseRoundBegan();
  // One voter is a quorum of its own: the same round, answered at once.
  AcknowledgeRead(config_.id, round);
}

void RaftCore::AcknowledgeRead(NodeId from, uint64_t round) {
  if (reads_.Acknowledge(from, round) != nullptr) FinishReadsOfQuorum();
}

void RaftCore::FinishReadsOfQuorum() {
  // Trap 5: not before a quorum answered this very round.
  if (reads_.round() == 0) return;
  if (!tracker_.IsQuorum(reads_.acked()) && !Mutated(Mutation::kReadUnconfirmed)) return;
  NoteLeaseRoundAnswered();
  const LogIndex index = reads_.round_index();
  AnswerRemoteReads(reads_.FinishRound(index), index);
}

void RaftCore::AnswerRemoteReads(const std::vector<RemoteRead>& reads, LogIndex index) {
  for (const RemoteRead& read : reads) {
    Message reply;
    reply.type = MessageType::kReadIndexResponse;
    reply.to = read.from;
    reply.log.index = index;
    reply.read_round = read.batch;
    Send(std::move(reply));
  }
}

void RaftCore::SendReadBatch() {
  Message message;
  message.type = MessageType::kReadIndex;
  message.to = soft_.leader;
  message.read_round = reads_.round();
  Send(std::move(message));
}

void RaftCore::HandleReadIndex(const Message& message) {
  // A repeated batch is served again: its index is then newer, never older.
  if (is_leader()) {
    reads_.AddRemote({message.from, message.read_round});
    return;
  }
  Message reply;
  reply.type = MessageType::kReadIndexResponse;
  reply.to = message.from;
  reply.reject = true;
  reply.read_round = message.read_round;
  Send(std::move(reply));
}

void RaftCore::HandleReadIndexResponse(const Message& message) {
  if (message.from != soft_.leader || reads_.round() == 0) return;
  if (message.read_round != reads_.round()) return;
  if (message.reject) {
    reads_.RefuseRound();
  } else {
    reads_.FinishRound(message.log.index);
  }
}

}  // namespace metastore::raft
