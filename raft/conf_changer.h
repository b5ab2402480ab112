// Carries out membership changes: from one configuration and progress map to the next (thesis 4;
// joint consensus 4.3).
//
// Pure: works on copies. Every function returns the new pair or says why the change does not fit;
// an error leaves nothing changed. Committed changes meet the same configuration on every replica,
// so they fail or succeed on all alike.
#pragma once

#include <span>
#include <utility>

#include "io/base/status.h"
#include "raft/conf_change.h"
#include "raft/tracker.h"

namespace metastore::raft {

struct Membership {
  TrackerConfig config;
  ProgressMap progress;
};

class ConfChanger {
 public:
  // New members are probed from max(last_index, 1) through a window like `window`.
  ConfChanger(const Tracker& tracker, LogIndex last_index, Inflights window)
      : tracker_(tracker), last_index_(last_index), window_(std::move(window)) {}

  // Whichever of the three below `change` asks for.
  StatusOr<Membership> Apply(const ConfChange& change) const;

  // Steps that change at most one voter.
  // Errors: kFailedPrecondition   the configuration is joint, or more than one voter would change,
  //                               or none would be left
  StatusOr<Membership> Simple(std::span<const ConfChangeStep> steps) const;
  // The present voters become the outgoing half, with `steps` applied the incoming one.
  // Errors: kFailedPrecondition   the configuration is joint already, or has or would have no voter
  StatusOr<Membership> EnterJoint(bool auto_leave, std::span<const ConfChangeStep> steps) const;
  // Drops the outgoing half.
  // Errors: kFailedPrecondition   the configuration is not joint
  StatusOr<Membership> LeaveJoint() const;

  // The membership a snapshot or a restart gives; all progress begins anew.
  // Errors: kInvalidArgument   `state` contradicts itself
  static StatusOr<Membership> Restore(const ConfState& state, LogIndex last_index,
                                      const Inflights& window);

 private:
  Membership Copy() const;
  Status ApplySteps(std::span<const ConfChangeStep> steps, Membership& to) const;

  const Tracker& tracker_;
  LogIndex last_index_;
  Inflights window_;
};

// OK when the pair keeps the invariants of tracker.h; kInternal naming the first that it breaks.
Status CheckInvariants(const Membership& membership);

}  // namespace metastore::raft
