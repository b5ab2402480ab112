// The bugs planted in the drivers of a group and in its recovery (io/base/mutation.h).
// docs/MUTATIONS.md says which seed of the whole-cluster simulation finds each.
#pragma once

#include <cstdint>
#include <span>

#include "io/base/mutation.h"

namespace metastore::server {

enum class Mutation : uint8_t {
  kNone,
  kAnswerEarly,         // an append is acknowledged when it is given to the log
  kFailedWriteDurable,  // a failed log write counts as a durable one
  kHardStateSkipped,    // no hard state is written with entries
  kInstallNoBarrier,    // the log says that a snapshot is in effect before the engine has it
  kInstallNoMembers,    // an installed snapshot's membership is dropped
  kVoteForgotten,       // a restart forgets the vote
  kTailForgotten,       // a restart forgets its last entry
  kIncarnationRenewed,  // a restart takes itself for another data directory
  kWipedAccepted,       // a member without its former data is let in
  kRemovedGoesOn,       // a member that was removed does not stop
  kReadUnconfirmed,     // every read is answered at once
  kReadUnapplied,       // a read is answered before its index is applied
  kProposedTwice,       // a batch of proposals is given to raft twice
  kLinksNotFollowed,    // a membership change makes no links
};

// All but kNone; defined with MS_MUTATIONS only.
std::span<const MutationName<Mutation>> Mutations();

}  // namespace metastore::server
