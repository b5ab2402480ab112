// What a follower does with what a leader tells it (thesis figure 3.1, receiver's part; 5.1
// snapshots).
#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {

Status RaftCore::FollowLeader(Message& message) {
  if (soft_.role != Role::kFollower) {
    // Somebody else won this term.
    BecomeFollower(term_, message.from);
  }
  if (soft_.leader != kNobody && soft_.leader != message.from) {
    return DataLossError("raft: ", soft_.leader.value(), " and ", message.from.value(),
                         " both lead term ", term_.value(), ": a vote was lost");
  }
  timers_.election = 0;
  Promise();
  soft_.leader = message.from;
  if (message.type == MessageType::kAppend) return HandleAppend(message);
  if (message.type == MessageType::kHeartbeat) return HandleHeartbeat(message);
  return HandleSnapshot(message);
}

Status RaftCore::HandleAppend(Message& message) {
  Message reply;
  reply.type = MessageType::kAppendResponse;
  reply.to = message.from;
  if (message.log.index < log_.committed()) {
    // Old: everything up to commit is known to agree.
    reply.log.index = log_.committed();
    Send(std::move(reply));
    return OkStatus();
  }
  if (!log_.Matches(message.log)) {
    RejectAppend(message);
    return OkStatus();
  }
  const LogIndex last_new = message.log.index + message.entries.size();
  const std::optional<LogIndex> conflict = log_.FindConflict(message.entries);
  const bool kept = Mutated(Mutation::kConflictKept) && conflict <= log_.LastIndex();
  if (conflict && !kept) {
    // Trap 35: only a real conflict truncates. Never what is committed: these all come after it.
    log_.Append(std::span(message.entries).subspan(*conflict - message.log.index - 1));
  }
  // Trap 33: not beyond what this very message showed to agree.
  const bool past = Mutated(Mutation::kCommitPastMatch);
  log_.CommitTo(std::min(message.commit, past ? log_.LastIndex() : last_new));
  reply.log.index = last_new;
  Send(std::move(reply));
  return OkStatus();
}

void RaftCore::RejectAppend(const Message& message) {
  // Trap 46: the largest entry of ours whose term is at most that of the refused one.
  const LogIndex from = std::min(message.log.index, log_.LastIndex());
  const EntryId hint = log_.FindConflictByTerm(from, message.log.term);
  Message reply;
  reply.type = MessageType::kAppendResponse;
  reply.to = message.from;
  reply.reject = true;
  reply.log = {hint.term, message.log.index};
  reply.reject_hint = hint.index;
  Send(std::move(reply));
}

Status RaftCore::HandleHeartbeat(const Message& message) {
  if (message.commit > log_.LastIndex()) {
    return DataLossError("raft: leader ", message.from.value(), " knows entries up to ",
                         message.commit.value(), " here, where the log ends at ",
                         log_.LastIndex().value());
  }
  log_.CommitTo(message.commit);
  Message reply;
  reply.type = MessageType::kHeartbeatResponse;
  reply.to = message.from;
  reply.read_round = message.read_round;
  Send(std::move(reply));
  return OkStatus();
}

Status RaftCore::HandleSnapshot(Message& message) {
  if (log_.applying() > log_.applied()) {
    // Trap 21: conf changes among the entries being applied belong to the membership before the
    // snapshot; it takes its turn in ApplyDone.
    deferred_snapshot_ = std::make_unique<Message>(std::move(message));
    return OkStatus();
  }
  const StatusOr<bool> restored = Restore(message.snapshot);
  if (!restored.ok()) return restored.status();
  Message reply;
  reply.type = MessageType::kAppendResponse;
  reply.to = message.from;
  reply.log.index = *restored ? log_.LastIndex() : log_.committed();
  Send(std::move(reply));
  return OkStatus();
}

StatusOr<bool> RaftCore::Restore(const std::shared_ptr<const SnapshotMeta>& snapshot) {
  const EntryId last = snapshot->last;
  if (last.index <= log_.committed() && !Mutated(Mutation::kOlderSnapshot)) return false;
  // Made before this node was a member: it would come out of it knowing that it is none.
  if (!snapshot->conf.Includes(config_.id)) return false;
  if (log_.Matches(last) && !Mutated(Mutation::kOlderSnapshot)) {
    // The log has it all: the snapshot only tells what is committed.
    log_.CommitTo(last.index);
    return false;
  }
  StatusOr<Membership> membership = ConfChanger::Restore(snapshot->conf, last.index, Window());
  if (!membership.ok()) return membership.status();
  log_.Restore(snapshot);
  SwitchTo(*std::move(membership));
  return true;
}

}  // namespace metastore::raft
