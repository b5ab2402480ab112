#ifdef MS_MUTATIONS

#include "server/mutation.h"

namespace metastore::server {
namespace {

constexpr MutationName<Mutation> kMutations[] = {
    {Mutation::kAnswerEarly, "answer-early"},
    {Mutation::kFailedWriteDurable, "failed-write-durable"},
    {Mutation::kHardStateSkipped, "hard-state-skipped"},
    {Mutation::kInstallNoBarrier, "install-no-barrier"},
    {Mutation::kInstallNoMembers, "install-no-members"},
    {Mutation::kVoteForgotten, "vote-forgotten"},
    {Mutation::kTailForgotten, "tail-forgotten"},
    {Mutation::kIncarnationRenewed, "incarnation-renewed"},
    {Mutation::kWipedAccepted, "wiped-accepted"},
    {Mutation::kRemovedGoesOn, "removed-goes-on"},
    {Mutation::kReadUnconfirmed, "read-unconfirmed"},
    {Mutation::kReadUnapplied, "read-unapplied"},
    {Mutation::kProposedTwice, "proposed-twice"},
    {Mutation::kLinksNotFollowed, "links-not-followed"},
    {Mutation::kMembersNotLoaded, "members-not-loaded"},
    {Mutation::kCommitFromLog, "commit-from-log"},
    {Mutation::kAppliedFromCommit, "applied-from-commit"},
    {Mutation::kSnapshotNoMembers, "snapshot-no-members"},
    {Mutation::kSnapshotTermNow, "snapshot-term-now"},
    {Mutation::kPurgeToApplied, "purge-to-applied"},
    {Mutation::kReadOwnCommit, "read-own-commit"},
    {Mutation::kReadRefusedServed, "read-refused-served"},
    {Mutation::kNeighbourAnswered, "neighbour-answered"},
    {Mutation::kSlowDiskLeads, "slow-disk-leads"},
    {Mutation::kLeaseOverPause, "lease-over-pause"},
    {Mutation::kLeaseTicksLate, "lease-ticks-late"},
    {Mutation::kLeasePromiseForgotten, "lease-promise-forgotten"},
    {Mutation::kApplyFlipsABit, "apply-flips-a-bit"},
    {Mutation::kElectionsNotClosed, "elections-not-closed"},
    {Mutation::kTermsNotAsked, "terms-not-asked"},
    {Mutation::kBootsForgotten, "boots-forgotten"},
};

constexpr MutationName<Mutation> kServiceMutations[] = {
    {Mutation::kWatchGapIgnored, "watch-gap-ignored"},
    {Mutation::kWatchSyncedEarly, "watch-synced-early"},
    {Mutation::kWatchStartOffByOne, "watch-start-off-by-one"},
    {Mutation::kWatchBudgetDrops, "watch-budget-drops"},
    {Mutation::kWatchPlaceForgotten, "watch-place-forgotten"},
    {Mutation::kWatchProgressBehind, "watch-progress-behind"},
    {Mutation::kWatchCompactionSilent, "watch-compaction-silent"},
    {Mutation::kLeaseUnconfirmed, "lease-renewed-unconfirmed"},
    {Mutation::kCheckpointKept, "checkpoint-not-cleared"},
    {Mutation::kCheckpointIgnored, "checkpoint-ignored"},
    {Mutation::kOldTimesKept, "old-times-kept"},
    {Mutation::kContestGoneIsWon, "contest-gone-is-won"},
};

}  // namespace

std::span<const MutationName<Mutation>> Mutations() { return kMutations; }
std::span<const MutationName<Mutation>> ServiceMutations() { return kServiceMutations; }

}  // namespace metastore::server

#endif
