// Roles and how they change: timeouts, campaigns, votes (thesis 3.4), pre-votes (9.6).
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {

void RaftCore::Reset(Term term) {
  CHECK_GE(term, term_);
  if (term != term_) {
    term_ = term;
    vote_ = kNobody;
  }
  soft_.leader = kNobody;
  timers_.election = timers_.heartbeat = 0;
  const auto ticks = static_cast<uint64_t>(config_.election_ticks);
  timers_.randomized = config_.election_ticks + static_cast<int>(timers_.prng.Below(ticks));
  leadership_ = {};
  tracker_.ResetVotes();
  reads_.RefuseAll();
  const LogIndex last = log_.LastIndex();
  for (auto& [id, progress] : tracker_.progress()) {
    progress = Progress(last + 1, Window(), progress.learner());
    // True of a candidate: its tail is durable before its vote requests leave (trap 28b).
    if (id == config_.id) progress.MaybeUpdate(last);
  }
}

void RaftCore::BecomeFollower(Term term, NodeId leader) {
  Reset(term);
  soft_ = {leader, Role::kFollower};
  if (traced()) Trace(TraceKind::kBecomeFollower);
}

void RaftCore::BecomePreCandidate() {
  CHECK(!is_leader());
  // Neither term nor vote moves; the leader is given up, else this node would still refuse the
  // others' votes on its behalf (trap 11).
  tracker_.ResetVotes();
  reads_.RefuseAll();
  soft_ = {kNobody, Role::kPreCandidate};
}

void RaftCore::BecomeCandidate() {
  CHECK(!is_leader());
  Reset(term_ + 1);
  vote_ = config_.id;
  soft_ = {kNobody, Role::kCandidate};
  if (traced()) Trace(TraceKind::kBecomeCandidate);
}

void RaftCore::BecomeLeader() {
  CHECK(soft_.role == Role::kCandidate);
  Reset(term_);
  soft_ = {config_.id, Role::kLeader};
  Progress* const own = tracker_.Find(config_.id);
  CHECK(own != nullptr);
  own->BecomeReplicate();
  own->set_recent_active(true);
  if (traced()) Trace(TraceKind::kBecomeLeader);
  // Trap 1: whatever the log has may be an unapplied conf change, so none is proposed before all of
  // it is applied.
  leadership_.pending_conf = log_.LastIndex();
  RecountUncommitted();
  // Thesis 3.6.2 and 6.4: only an entry of its own term lets a leader commit and read.
  Entry begin_term;
  const bool appended = AppendEntries({&begin_term, 1});
  CHECK(appended);
}

bool RaftCore::Promotable() const {
  const Progress* const own = tracker_.Find(config_.id);
  return own != nullptr && !own->learner() && !log_.unstable().has_snapshot();
}

bool RaftCore::HasUnappliedConfChange() {
  LogIndex next = log_.applied() + 1;
  std::vector<Entry> page;
  while (next <= log_.committed()) {
    page.clear();
    // Where the entries must be fetched first, better wait than guess; apply wants them too.
    if (!log_.Slice(next, log_.committed() + 1, config_.message_bytes_max, page).ok()) return true;
    for (const Entry& entry : page) {
      if (entry.type != EntryType::kNormal) return true;
    }
    next = page.back().index + 1;
  }
  return false;
}

void RaftCore::Hup(CampaignKind kind) {
  // Trap 51: a node that cannot rely on its disk does not offer to lead.
  if (is_leader() || !Promotable() || !timers_.campaign_allowed) return;
  if (!timers_.elections_open) return;
  if (Promised() && kind != CampaignKind::kTransfer) return;
  // Trap 19: with an old membership it might ask the wrong nodes.
  if (HasUnappliedConfChange()) return;
  RunCampaign(kind);
}

void RaftCore::RunCampaign(CampaignKind kind) {
  const bool pre = kind == CampaignKind::kPreElection;
  if (pre) {
    BecomePreCandidate();
  } else {
    BecomeCandidate();
  }
  const Term term = pre ? term_ + 1 : term_;
  for (const NodeId voter : tracker_.config().voters.All()) {
    Message message;
    message.to = voter;
    message.term = term;
    if (voter == config_.id) {
      // Its own vote counts when it is durable, like anybody's.
      message.type = pre ? MessageType::kPreVoteResponse : MessageType::kVoteResponse;
    } else {
      message.type = pre ? MessageType::kPreVote : MessageType::kVote;
      message.log = log_.LastId();
      message.transfer = kind == CampaignKind::kTransfer;
    }
    Send(std::move(message));
  }
}

bool RaftCore::InLease() const {
  return config_.check_quorum && soft_.leader != kNobody &&
         timers_.election < config_.election_ticks;
}

void RaftCore::HandleVoteRequest(const Message& message) {
  const bool pre = message.type == MessageType::kPreVote;
  const bool free = vote_ == message.from || (vote_ == kNobody && soft_.leader == kNobody) ||
                    (pre && message.term > term_);
  const bool promised = Promised() && !message.transfer;
  // Trap 14: a learner votes too, since the candidate may know a newer membership that makes it a
  // voter.
  const bool up_to_date = log_.IsUpToDate(message.log) || Mutated(Mutation::kStaleLogElected);
  const bool granted = free && !promised && up_to_date && timers_.elections_open;
  Message reply;
  reply.type = pre ? MessageType::kPreVoteResponse : MessageType::kVoteResponse;
  reply.to = message.from;
  // A grant bears the term asked for: in a pre-vote that is not ours.
  reply.term = granted ? message.term : term_;
  reply.reject = !granted;
  if (!granted) reply.log = {*log_.TermAt(log_.committed()), log_.committed()};
  Send(std::move(reply));
  if (granted && !pre) {
    timers_.election = 0;
    if (!Mutated(Mutation::kVoteForgotten)) vote_ = message.from;
  }
}

void RaftCore::LearnCommit(EntryId committed) {
  // Trap 19: memberships change at apply, so a node that has the entry but does not know that it is
  // committed asks the old members, who may all have longer logs and be no members any more: nobody
  // could ever win. What the refusing node knows to be committed, and we have too, is committed.
  if (!is_leader() && log_.Matches(committed)) log_.CommitTo(committed.index);
}

void RaftCore::HandleVoteResponse(const Message& message) {
  tracker_.RecordVote(message.from, !message.reject);
  switch (tracker_.TallyVotes()) {
    case VoteResult::kWon:
      if (soft_.role == Role::kPreCandidate) {
        RunCampaign(CampaignKind::kElection);
      } else {
        BecomeLeader();
        BroadcastAppend();
      }
      return;
    case VoteResult::kLost:
      BecomeFollower(term_, kNobody);
      return;
    case VoteResult::kPending:
      return;
  }
  CHECK_UNREACHABLE();
}

void RaftCore::TickElection() {
  ++timers_.election;
  const bool silent = timers_.election == kSilentHeartbeats * config_.heartbeat_ticks;
  if (silent && soft_.leader != kNobody) ++counts_.heartbeat_timeouts;
  if (soft_.role == Role::kFollower && reads_.TickBatch(2 * config_.heartbeat_ticks)) {
    SendReadBatch();
  }
  if (timers_.election < timers_.randomized || !Promotable()) return;
  // Begun anew, the timer would make this node refuse its vote for a leader that is gone
  // (InLease), each time for as long as it lets others campaign.
  if (!timers_.campaign_allowed) {
    timers_.election = timers_.randomized;
    return;
  }
  timers_.election = 0;
  ++counts_.election_timeouts;
  Campaign();
}

}  // namespace metastore::raft
