// The bugs planted in the core (io/base/mutation.h). docs/RAFT_TRAPS.md says what finds each.
#pragma once

#include <cstdint>
#include <span>

#include "io/base/mutation.h"

namespace metastore::raft {

enum class Mutation : uint8_t {
  kNone,
  kVoteNotDurable,     // a vote is answered before it is durable
  kVoteForgotten,      // a vote does not become durable at all
  kAckNotDurable,      // an append is acknowledged before it is durable
  kOldTermCommitted,   // replicas are counted for entries of earlier terms too
  kOverwrittenAcked,   // a finished write counts although its entries were overwritten
  kLateRoundCounted,   // a heartbeat answer of any round confirms the present one
  kReadBeforeCommit,   // a read index is given before the first commit of the term
  kReadUnconfirmed,    // a read index is given before a quorum answered
  kJointAsSimple,      // of a joint membership only the incoming half counts
  kLearnerCounted,     // a learner's copy counts for commit
  kWindowNotFreed,     // acknowledgements do not free the window
  kQuotaLeaked,        // applied entries stay on the quota
  kQuotaForgotten,     // what the former leader left is not on the quota
  kPreVoteRaisesTerm,  // a pre-vote request moves the term of who hears it
  kHintTooFar,         // a rejection makes the leader skip below the follower's match
  kConflictKept,       // a conflicting suffix is not replaced
  kOlderSnapshot,      // a snapshot from below the commit index is installed
  kLeaveTwice,         // the leader proposes to leave the joint membership once more
  kTransferForever,    // a transfer that does not succeed does not end
  kCommitPastMatch,    // a follower commits beyond what the append showed to agree
  kStaleLogElected,    // votes are granted whatever the candidate's log
  kConfChangeAtOnce,   // a second membership change is proposed before the first is applied
  kLeaseOverTransfer,  // a leader that hands over keeps its lease
  kLeaseNoMargin,      // a lease lasts a whole election timeout
  kLeaseFromAnswer,    // a lease counts from the answers, not from the begin of their round
  kPromotedUnready,    // a learner far behind becomes a voter
  kPromiseForgotten,   // a node that restarts elects at once although a leader may rely on it
};

// All but kNone; defined with MS_MUTATIONS only.
std::span<const MutationName<Mutation>> Mutations();

}  // namespace metastore::raft
