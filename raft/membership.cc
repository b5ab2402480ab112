// Memberships in effect: they change when a conf change entry is applied, not when it is appended,
// and with a snapshot.
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {

StatusOr<ConfState> RaftCore::ApplyConfChange(const ConfChange& change) {
  StatusOr<Membership> membership = ConfChanger(tracker_, log_.LastIndex(), Window()).Apply(change);
  if (!membership.ok()) return membership.status();
  SwitchTo(*std::move(membership));
  return conf();
}

void RaftCore::SwitchTo(Membership membership) {
  tracker_.Switch(std::move(membership.config), std::move(membership.progress));
  if (traced()) Trace(TraceKind::kApplyConfChange);
  if (soft_.role == Role::kPreCandidate || soft_.role == Role::kCandidate) {
    // It asked the old members; the new ones are asked after the next timeout.
    BecomeFollower(term_, kNobody);
  }
  if (!is_leader()) return;
  DropLease();
  const Progress* const own = tracker_.Find(config_.id);
  if (own == nullptr || own->learner()) {
    // Thesis 4.2.2. Without this it goes on replicating until somebody else campaigns.
    if (config_.step_down_on_removal) BecomeFollower(term_, kNobody);
    return;
  }
  if (!tracker_.config().voters.incoming.empty()) LeadNewMembership();
}

void RaftCore::LeadNewMembership() {
  // A smaller quorum may commit more, and may already have answered a read round.
  if (MaybeCommit()) {
    BroadcastAppend();
  } else {
    for (auto& [id, progress] : tracker_.progress()) {
      if (id != config_.id) SendAppend(id, progress, /*even_if_empty=*/false);
    }
  }
  FinishReadsOfQuorum();
  if (!tracker_.config().voters.Contains(leadership_.transferee)) {
    leadership_.transferee = kNobody;
  }
}

void RaftCore::AppliedTo(LogIndex index) {
  if (!is_leader() || !tracker_.config().auto_leave || index < leadership_.pending_conf) return;
  // Trap 17: every leader of a joint configuration tries, the one that was elected in it too. While
  // a transfer runs this is refused, and the next leader does it.
  Entry leave;
  leave.type = EntryType::kConfChangeV2;
  AppendProposals({&leave, 1});
  if (Mutated(Mutation::kLeaveTwice)) {
    Entry again;
    again.type = EntryType::kConfChangeV2;
    AppendEntries({&again, 1});
  }
}

}  // namespace metastore::raft
