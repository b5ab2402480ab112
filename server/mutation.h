// The bugs planted in the drivers of a group and in its recovery (io/base/mutation.h).
// docs/MUTATIONS.md says which seed of the whole-cluster simulation finds each.
#pragma once

#include <cstdint>
#include <span>

#include "io/base/mutation.h"

namespace metastore::server {

enum class Mutation : uint8_t {
  kNone,
  kAnswerEarly,            // an append is acknowledged when it is given to the log
  kFailedWriteDurable,     // a failed log write counts as a durable one
  kHardStateSkipped,       // no hard state is written with entries
  kInstallNoBarrier,       // the log says that a snapshot is in effect before the engine has it
  kInstallNoMembers,       // an installed snapshot's membership is dropped
  kVoteForgotten,          // a restart forgets the vote
  kTailForgotten,          // a restart forgets its last entry
  kIncarnationRenewed,     // a restart takes itself for another data directory
  kWipedAccepted,          // a member without its former data is let in
  kRemovedGoesOn,          // a member that was removed does not stop
  kReadUnconfirmed,        // every read is answered at once
  kReadUnapplied,          // a read is answered before its index is applied
  kProposedTwice,          // a batch of proposals is given to raft twice
  kLinksNotFollowed,       // a membership change makes no links
  kMembersNotLoaded,       // a restart drops the membership of the snapshot it begins with
  kCommitFromLog,          // a restart takes all of its log for committed
  kAppliedFromCommit,      // a restart takes what was committed for applied
  kSnapshotNoMembers,      // a snapshot is written without the members
  kSnapshotTermNow,        // a snapshot names the present term, not that of its last entry
  kPurgeToApplied,         // the log is purged up to what is applied, not to what a snapshot has
  kReadOwnCommit,          // reads wait for the member's own commit index, nobody is asked
  kReadRefusedServed,      // a read round that was refused is served all the same
  kNeighbourAnswered,      // an applied write answers the call next to its own
  kSlowDiskLeads,          // a slow disk leads on
  kLeaseOverPause,         // a pause ends no lease
  kLeaseTicksLate,         // reads and messages do not wait for the ticks that are due
  kLeasePromiseForgotten,  // a restarted member votes at once
  kApplyFlipsABit,      // one member, the first by id, applies puts with a bit of the value flipped
  kElectionsNotClosed,  // a member that repairs itself votes at once
  kTermsNotAsked,       // the term it begins with is above nobody's
  kBootsForgotten,      // it counts its boots anew
  // Of watch, lease and lock.
  kWatchGapIgnored,        // changes behind a gap are taken as if there were none
  kWatchSyncedEarly,       // catching up ends a revision early
  kWatchStartOffByOne,     // a watcher gets nothing of the revision it needs next
  kWatchBudgetDrops,       // what is over a budget is dropped, and the watcher goes on
  kWatchPlaceForgotten,    // one over its budget goes on from what it was given last
  kWatchProgressBehind,    // one that is behind is told that it has everything
  kWatchCompactionSilent,  // what was compacted is left out without a word
  kLeaseUnconfirmed,       // a keepalive is answered without asking the others
  kCheckpointKept,         // a keepalive leaves the checkpoint as it is
  kCheckpointIgnored,      // a new leader gives each lease its whole time
  kOldTimesKept,           // who leads again goes on with the times of when it led before
  kContestGoneIsWon,       // who loses its predecessor takes itself for the first
};

// All but kNone, those of the drivers and those of watch, lease and lock; defined with MS_MUTATIONS
// only.
std::span<const MutationName<Mutation>> Mutations();
std::span<const MutationName<Mutation>> ServiceMutations();

}  // namespace metastore::server
