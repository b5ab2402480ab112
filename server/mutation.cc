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
};

}  // namespace

std::span<const MutationName<Mutation>> Mutations() { return kMutations; }

}  // namespace metastore::server

#endif
