#include "raft/conf_changer.h"

#include <algorithm>

namespace metastore::raft {
namespace {

// One change of one member in a Membership being built.
class Editor {
 public:
  Editor(Membership& to, LogIndex last_index, const Inflights& window)
      : to_(to), last_index_(last_index), window_(window) {}

  void MakeVoter(NodeId id) {
    Progress& progress = FindOrAdd(id);
    progress.set_learner(false);
    to_.config.learners.Erase(id);
    to_.config.learners_next.Erase(id);
    to_.config.voters.incoming.Insert(id);
  }

  void MakeLearner(NodeId id) {
    Progress& progress = FindOrAdd(id);
    if (progress.learner()) return;
    to_.config.voters.incoming.Erase(id);
    to_.config.learners.Erase(id);
    to_.config.learners_next.Erase(id);
    // A voter of the outgoing half cannot be a learner at once (invariant 2 of tracker.h): it
    // becomes one when that half is left.
    if (to_.config.voters.outgoing.Contains(id)) {
      to_.config.learners_next.Insert(id);
    } else {
      progress.set_learner(true);
      to_.config.learners.Insert(id);
    }
  }

  void Remove(NodeId id) {
    if (to_.progress.Find(id) == nullptr) return;
    to_.config.voters.incoming.Erase(id);
    to_.config.learners.Erase(id);
    to_.config.learners_next.Erase(id);
    if (!to_.config.voters.outgoing.Contains(id)) to_.progress.Erase(id);
  }

 private:
  Progress& FindOrAdd(NodeId id) {
    if (Progress* found = to_.progress.Find(id)) return *found;
    Progress progress(std::max(last_index_, LogIndex(1)), window_, /*learner=*/false);
    // Else CheckQuorum could count a new member as lost before it was ever asked.
    progress.set_recent_active(true);
    return to_.progress.Insert(id, std::move(progress));
  }

  Membership& to_;
  LogIndex last_index_;
  const Inflights& window_;
};

StatusOr<Membership> Checked(Membership membership) {
  MS_RETURN_IF_ERROR(CheckInvariants(membership));
  return membership;
}

}  // namespace

Membership ConfChanger::Copy() const { return {tracker_.config(), tracker_.progress()}; }

Status ConfChanger::ApplySteps(std::span<const ConfChangeStep> steps, Membership& to) const {
  Editor editor(to, last_index_, window_);
  for (const ConfChangeStep& step : steps) {
    // A step may be made void by naming nobody.
    if (step.node == kNobody) continue;
    switch (step.kind) {
      case ConfChangeKind::kAddVoter:
        editor.MakeVoter(step.node);
        break;
      case ConfChangeKind::kAddLearner:
        editor.MakeLearner(step.node);
        break;
      case ConfChangeKind::kRemove:
        editor.Remove(step.node);
        break;
      case ConfChangeKind::kUpdate:
        break;
    }
  }
  if (to.config.voters.incoming.empty()) return FailedPreconditionError("removed all voters");
  return OkStatus();
}

StatusOr<Membership> ConfChanger::Apply(const ConfChange& change) const {
  if (change.LeavesJoint()) return LeaveJoint();
  if (change.EntersJoint()) return EnterJoint(change.AutoLeaves(), change.steps);
  return Simple(change.steps);
}

StatusOr<Membership> ConfChanger::Simple(std::span<const ConfChangeStep> steps) const {
  Membership to = Copy();
  if (to.config.voters.joint()) {
    return FailedPreconditionError("can't apply simple config change in joint config");
  }
  MS_RETURN_IF_ERROR(ApplySteps(steps, to));
  const JointQuorum& before = tracker_.config().voters;
  if (SymmetricDifference(before.incoming, to.config.voters.incoming) > 1) {
    return FailedPreconditionError("more than one voter changed without entering joint config");
  }
  return Checked(std::move(to));
}

StatusOr<Membership> ConfChanger::EnterJoint(bool auto_leave,
                                             std::span<const ConfChangeStep> steps) const {
  Membership to = Copy();
  if (to.config.voters.joint()) return FailedPreconditionError("config is already joint");
  if (to.config.voters.incoming.empty()) {
    return FailedPreconditionError("can't make a zero-voter config joint");
  }
  to.config.voters.outgoing = to.config.voters.incoming;
  MS_RETURN_IF_ERROR(ApplySteps(steps, to));
  to.config.auto_leave = auto_leave;
  return Checked(std::move(to));
}

StatusOr<Membership> ConfChanger::LeaveJoint() const {
  Membership to = Copy();
  if (!to.config.voters.joint()) return FailedPreconditionError("can't leave a non-joint config");
  for (const NodeId id : to.config.learners_next) {
    to.config.learners.Insert(id);
    to.progress.Find(id)->set_learner(true);
  }
  to.config.learners_next.Clear();
  for (const NodeId id : to.config.voters.outgoing) {
    const bool stays = to.config.voters.incoming.Contains(id) || to.config.learners.Contains(id);
    if (!stays) to.progress.Erase(id);
  }
  to.config.voters.outgoing.Clear();
  to.config.auto_leave = false;
  return Checked(std::move(to));
}

StatusOr<Membership> ConfChanger::Restore(const ConfState& state, LogIndex last_index,
                                          const Inflights& window) {
  Membership to;
  to.config.voters.incoming = NodeSet(state.voters);
  to.config.voters.outgoing = NodeSet(state.voters_outgoing);
  to.config.learners = NodeSet(state.learners);
  to.config.learners_next = NodeSet(state.learners_next);
  to.config.auto_leave = state.auto_leave;
  const auto add = [&](NodeId id, bool learner) {
    if (to.progress.Find(id) != nullptr) return;
    Progress progress(std::max(last_index, LogIndex(1)), window, learner);
    progress.set_recent_active(true);
    to.progress.Insert(id, std::move(progress));
  };
  for (const NodeId id : to.config.voters.All()) add(id, /*learner=*/false);
  for (const NodeId id : to.config.learners) add(id, /*learner=*/true);
  const Status status = CheckInvariants(to);
  if (!status.ok()) return InvalidArgumentError("membership: ", status.message());
  return to;
}

Status CheckInvariants(const Membership& membership) {
  const TrackerConfig& config = membership.config;
  const NodeSet voters = config.voters.All();
  for (const NodeId id : voters) {
    if (id == kNobody) return InternalError("node id 0 votes");
    if (membership.progress.Find(id) == nullptr) {
      return InternalError("no progress for voter ", id.value());
    }
  }
  for (const NodeId id : config.learners) {
    if (voters.Contains(id)) return InternalError(id.value(), " is voter and learner");
    const Progress* progress = membership.progress.Find(id);
    if (progress == nullptr || !progress->learner()) {
      return InternalError("no learner's progress for ", id.value());
    }
  }
  for (const NodeId id : config.learners_next) {
    if (!config.voters.outgoing.Contains(id)) {
      return InternalError(id.value(), " is to become a learner but leaves no voters");
    }
  }
  if (!config.voters.joint() && (config.auto_leave || !config.learners_next.empty())) {
    return InternalError("joint settings without a joint configuration");
  }
  for (const auto& [id, progress] : membership.progress) {
    if (!voters.Contains(id) && !config.learners.Contains(id)) {
      return InternalError("progress of stranger ", id.value());
    }
  }
  return OkStatus();
}

}  // namespace metastore::raft
