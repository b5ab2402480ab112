#ifdef MS_MUTATIONS

#include "raft/mutation.h"

namespace metastore::raft {
namespace {

constexpr MutationName<Mutation> kMutations[] = {
    {Mutation::kVoteNotDurable, "vote-not-durable"},
    {Mutation::kVoteForgotten, "vote-forgotten"},
    {Mutation::kAckNotDurable, "ack-not-durable"},
    {Mutation::kOldTermCommitted, "old-term-committed"},
    {Mutation::kOverwrittenAcked, "overwritten-acked"},
    {Mutation::kLateRoundCounted, "late-round-counted"},
    {Mutation::kReadBeforeCommit, "read-before-commit"},
    {Mutation::kReadUnconfirmed, "read-unconfirmed"},
    {Mutation::kJointAsSimple, "joint-as-simple"},
    {Mutation::kLearnerCounted, "learner-counted"},
    {Mutation::kWindowNotFreed, "window-not-freed"},
    {Mutation::kQuotaLeaked, "quota-leaked"},
    {Mutation::kQuotaForgotten, "quota-forgotten"},
    {Mutation::kPreVoteRaisesTerm, "pre-vote-raises-term"},
    {Mutation::kHintTooFar, "hint-too-far"},
    {Mutation::kConflictKept, "conflict-kept"},
    {Mutation::kOlderSnapshot, "older-snapshot"},
    {Mutation::kLeaveTwice, "leave-twice"},
    {Mutation::kTransferForever, "transfer-forever"},
    {Mutation::kCommitPastMatch, "commit-past-match"},
    {Mutation::kStaleLogElected, "stale-log-elected"},
    {Mutation::kConfChangeAtOnce, "conf-change-at-once"},
    {Mutation::kLeaseOverTransfer, "lease-over-transfer"},
    {Mutation::kLeaseNoMargin, "lease-no-margin"},
    {Mutation::kLeaseFromAnswer, "lease-from-answer"},
    {Mutation::kPromotedUnready, "promoted-unready"},
    {Mutation::kPromiseForgotten, "promise-forgotten"},
};

}  // namespace

std::span<const MutationName<Mutation>> Mutations() { return kMutations; }

}  // namespace metastore::raft

#endif
