// Group: changes of the membership and of the leader that clients ask for. Changes are judged by
// the leader, as of what it has applied, with etcd's rules and words.

#include <algorithm>
#include <utility>

#include "server/group.h"

namespace metastore::server {
namespace {

// All voters must have been connected for so long before a member is added, as etcd's.
constexpr Duration kHealthyFor = Seconds(5);

raft::ConfChangeKind KindOf(MemberOp op) {
  switch (op) {
    case MemberOp::kAdd:
    case MemberOp::kPromote:
      return raft::ConfChangeKind::kAddVoter;
    case MemberOp::kAddLearner:
      return raft::ConfChangeKind::kAddLearner;
    case MemberOp::kUpdate:
      return raft::ConfChangeKind::kUpdate;
    case MemberOp::kRemove:
      return raft::ConfChangeKind::kRemove;
  }
  CHECK_UNREACHABLE();
}

std::optional<ClientError> RefusalOf(raft::ProposeCode code) {
  switch (code) {
    case raft::ProposeCode::kAccepted:
      return std::nullopt;
    case raft::ProposeCode::kLearnerNotReady:
      return errors::kLearnerNotReady;
    case raft::ProposeCode::kForwarded:
    case raft::ProposeCode::kNotLeader:
    case raft::ProposeCode::kTransferInProgress:
      return errors::kLeaderChanged;
    case raft::ProposeCode::kQuotaFull:
      return errors::kTooManyRequests;
    case raft::ProposeCode::kConfChangeRefused:  // another is under way
      return errors::kUnhealthy;
  }
  CHECK_UNREACHABLE();
}

// Voting members, and those of them that have started: they have published a name.
struct Voters {
  size_t all = 0;
  size_t started = 0;
};

Voters VotersOf(const Members& members, NodeId without) {
  Voters voters;
  for (const auto& [id, member] : members.all()) {
    if (member.is_learner || id == without) continue;
    ++voters.all;
    if (!member.name.empty()) ++voters.started;
  }
  return voters;
}

size_t QuorumOf(size_t voters) { return voters / 2 + 1; }

}  // namespace

void Group::ChangeMember(MemberCall& call) {
  const auto refuse = [&](const ClientError& error) {
    call.Fail(error);
    call.Return(runtime_);
  };
  if (stopping_ || !failure_.ok()) return refuse(errors::kStopped);
  if (fenced()) return refuse(errors::kCorrupt);
  if (core_->leader() == raft::kNobody) return refuse(errors::kNoLeader);
  if (!core_->is_leader()) {
    if (call.forwarded) return refuse(errors::kLeaderChanged);
    return peers_.Forward(core_->leader(), call);
  }
  if (member_calls_.size() >= kMemberCallsMax) return refuse(errors::kTooManyRequests);
  if (const std::optional<ClientError> error = JudgeChange(call)) return refuse(*error);
  raft::ConfChange change;
  change.steps.push_back({KindOf(call.op), call.member.id});
  change.context = EncodeMemberChange({call.id, call.member});
  const raft::ProposeResult proposed = core_->ProposeConfChange(change);
  if (const std::optional<ClientError> error = RefusalOf(proposed.code)) {
    Schedule();
    return refuse(*error);
  }
  member_calls_.push_back(&call);
  Schedule();
}

std::optional<ClientError> Group::JudgeChange(const MemberCall& call) const {
  const Member* known = members_.Find(call.member.id);
  if (call.op == MemberOp::kAdd || call.op == MemberOp::kAddLearner) return JudgeAdd(call);
  if (known == nullptr) return errors::kMemberNotFound;
  switch (call.op) {
    case MemberOp::kPromote:
      if (!known->is_learner) return errors::kMemberNotLearner;
      // Raft judges how much of the log it has, which says nothing of one that is down.
      if (peers_.UpSince(known->id) == MonoTime::Max()) return errors::kLearnerNotReady;
      return std::nullopt;
    case MemberOp::kUpdate:
      if (UrlsTaken(call)) return errors::kPeerUrlExists;
      return std::nullopt;
    case MemberOp::kRemove:
    case MemberOp::kAdd:
    case MemberOp::kAddLearner:
      break;
  }
  return JudgeRemove(call);
}

std::optional<ClientError> Group::JudgeAdd(const MemberCall& call) const {
  if (members_.Removed(call.member.id)) return errors::kMemberNotFound;
  if (members_.Find(call.member.id) != nullptr) return errors::kMemberExists;
  if (UrlsTaken(call)) return errors::kPeerUrlExists;
  if (call.op == MemberOp::kAddLearner) {
    const auto learners = std::ranges::count_if(
        members_.all(), [](const auto& item) { return item.second.is_learner; });
    if (learners >= options_.learners_max) return errors::kTooManyLearners;
  }
  if (!options_.strict_reconfig) return std::nullopt;
  const Voters voters = VotersOf(members_, raft::kNobody);
  const bool first_companion = voters.all == 1 && voters.started == 1;
  const bool votes = call.op == MemberOp::kAdd;
  if (votes && !first_companion && voters.started < QuorumOf(voters.all + 1)) {
    return errors::kMemberNotEnoughStarted;
  }
  if (ConnectedVoters(kHealthyFor) < voters.all) return errors::kUnhealthy;
  return std::nullopt;
}

std::optional<ClientError> Group::JudgeRemove(const MemberCall& call) const {
  const Member& leaving = *members_.Find(call.member.id);
  if (!options_.strict_reconfig || leaving.is_learner) return std::nullopt;
  const Voters left = VotersOf(members_, leaving.id);
  if (left.all == 0) return errors::kMemberNotEnoughStarted;
  if (leaving.name.empty()) return std::nullopt;  // never started: it helped nobody
  if (left.started < QuorumOf(left.all)) return errors::kMemberNotEnoughStarted;
  // One that is down may always go; another only while the rest stands without it.
  const bool down = leaving.id != options_.raft.id && peers_.UpSince(leaving.id) == MonoTime::Max();
  const size_t rest = ConnectedVoters(Duration()) - (down ? 0 : 1);
  if (!down && rest < QuorumOf(left.all)) return errors::kUnhealthy;
  return std::nullopt;
}

bool Group::UrlsTaken(const MemberCall& call) const {
  return std::ranges::any_of(members_.all(), [&](const auto& item) {
    if (item.first == call.member.id) return false;
    return std::ranges::find_first_of(item.second.peer_urls, call.member.peer_urls) !=
           item.second.peer_urls.end();
  });
}

// Voters, this one included, whose links have been up for `span`.
size_t Group::ConnectedVoters(Duration span) const {
  const MonoTime now = runtime_.Now();
  size_t connected = 0;
  for (const auto& [id, member] : members_.all()) {
    if (member.is_learner) continue;
    const MonoTime since = peers_.UpSince(id);
    const bool up = since != MonoTime::Max() && now - since >= span;
    if (id == options_.raft.id || up) ++connected;
  }
  return connected;
}

void Group::ResolveMemberCalls(const engine::RequestId& request, Status result) {
  for (MemberCall* call : member_calls_) {
    if (call->id != request) continue;
    std::erase(member_calls_, call);
    return EndMemberCall(*call, std::move(result));
  }
}

void Group::EndMemberCall(MemberCall& call, Status result) {
  call.result = std::move(result);
  call.term = core_->term();
  for (const auto& [id, member] : members_.all()) call.members.push_back(member);
  call.Return(runtime_);
}

void Group::ExpireMemberCalls(MonoTime now) {
  std::erase_if(member_calls_, [&](MemberCall* call) {
    if (call->terms.deadline > now) return false;
    EndMemberCall(*call, ToStatus(errors::kTimeout));
    return true;
  });
}

void Group::TransferLeader(TransferCall& call) {
  const auto refuse = [&](const ClientError& error) {
    call.Fail(error);
    call.Return(runtime_);
  };
  if (stopping_ || !failure_.ok()) return refuse(errors::kStopped);
  if (fenced()) return refuse(errors::kCorrupt);
  if (!core_->is_leader()) return refuse(errors::kNotLeader);
  const Member* target = members_.Find(call.target);
  if (target == nullptr || target->is_learner) return refuse(errors::kBadLeaderTransferee);
  if (transfers_.size() >= kMemberCallsMax) return refuse(errors::kTooManyRequests);
  Status asked = core_->TransferLeader(call.target);
  if (!asked.ok()) return refuse(errors::kBadLeaderTransferee);
  call.deadline = std::min(call.deadline, runtime_.Now() + options_.election_timeout * 2);
  transfers_.push_back(&call);
  EndTransfers(runtime_.Now());
  Schedule();
}

// Returns those whose target leads, or whose time is over.
void Group::EndTransfers(MonoTime now) {
  std::erase_if(transfers_, [&](TransferCall* call) {
    if (core_->leader() == call->target) {
      call->result = OkStatus();
    } else if (call->deadline <= now) {
      call->Fail(errors::kTransferTimeout);
    } else {
      return false;
    }
    call->Return(runtime_);
    return true;
  });
}

void Group::FailMemberCalls(const ClientError& error) {
  for (MemberCall* call : std::exchange(member_calls_, {})) {
    call->Fail(error);
    call->Return(runtime_);
  }
  for (TransferCall* call : std::exchange(transfers_, {})) {
    call->Fail(error);
    call->Return(runtime_);
  }
}

}  // namespace metastore::server
