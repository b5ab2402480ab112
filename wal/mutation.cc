#ifdef MS_MUTATIONS

#include "wal/mutation.h"

namespace metastore::wal {
namespace {

constexpr MutationName<Mutation> kMutations[] = {
    {Mutation::kAckAtSubmit, "ack-at-submit"},
    {Mutation::kAckOutOfOrder, "ack-out-of-order"},
    {Mutation::kErrorAcknowledged, "error-acknowledged"},
    {Mutation::kPromiseHigh, "promise-high"},
    {Mutation::kPromiseSkipped, "promise-skipped"},
    {Mutation::kDepthExceeded, "depth-exceeded"},
    {Mutation::kHardStateLast, "hard-state-last"},
    {Mutation::kRestateSkipped, "restate-skipped"},
    {Mutation::kReuseEarly, "reuse-early"},
    {Mutation::kDrainedIgnored, "drained-ignored"},
    {Mutation::kEpochNotDurable, "epoch-not-durable"},
    {Mutation::kDirectoryNotSynced, "directory-not-synced"},
    {Mutation::kFirstFlushSkipped, "first-flush-skipped"},
    {Mutation::kTailRewriteSkipped, "tail-rewrite-skipped"},
    {Mutation::kCutEarly, "cut-early"},
    {Mutation::kCutNotFlushed, "cut-not-flushed"},
    {Mutation::kZeroWindowSmall, "zero-window-small"},
    {Mutation::kBeyondKept, "beyond-kept"},
    {Mutation::kBodyUnchecked, "body-unchecked"},
    {Mutation::kChainUnchecked, "chain-unchecked"},
    {Mutation::kOldEpochAccepted, "old-epoch-accepted"},
    {Mutation::kRecycledAccepted, "recycled-accepted"},
    {Mutation::kFooterUnchecked, "footer-unchecked"},
    {Mutation::kFooterEarly, "footer-early"},
    {Mutation::kPromisesIgnored, "promises-ignored"},
    {Mutation::kReadErrorIgnored, "read-error-ignored"},
};

}  // namespace

std::span<const MutationName<Mutation>> Mutations() { return kMutations; }

}  // namespace metastore::wal

#endif
