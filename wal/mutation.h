// The bugs planted in the log and its recovery (io/base/mutation.h). docs/MUTATIONS.md says what
// protects against each and what finds it.
#pragma once

#include <cstdint>
#include <span>

#include "io/base/mutation.h"

namespace metastore::wal {

enum class Mutation : uint8_t {
  kNone,
  kAckAtSubmit,         // ops complete when their frame is submitted
  kAckOutOfOrder,       // a frame is acknowledged before the one in front of it
  kErrorAcknowledged,   // a failed write counts as a durable one
  kPromiseHigh,         // a frame promises itself
  kPromiseSkipped,      // no promise follows the last frame
  kDepthExceeded,       // one frame more in flight than the depth
  kHardStateLast,       // a hard state goes behind the entries of its append
  kRestateSkipped,      // a segment does not restate the groups
  kReuseEarly,          // a segment is reused before a durable frame says that it is free
  kDrainedIgnored,      // a segment is freed before its rewrites and purges are durable
  kEpochNotDurable,     // an open completes before its epoch is durable
  kDirectoryNotSynced,  // a new segment's name is not made durable
  kFirstFlushSkipped,   // recovery acts on what is in a cache only
  kTailRewriteSkipped,  // the accepted tail is not written again
  kCutEarly,            // the cut begins one block early
  kCutNotFlushed,       // the zeros of a cut are not flushed
  kZeroWindowSmall,     // a cut zeroes one block only
  kBeyondKept,          // segments after the cut stay
  kBodyUnchecked,       // a frame's body is not verified
  kChainUnchecked,      // a frame need not follow the one before
  kOldEpochAccepted,    // a frame of an earlier epoch may follow a later one's
  kRecycledAccepted,    // a header hash is not bound to its segment
  kFooterUnchecked,     // a footer is trusted without its hash
  kFooterEarly,         // a footer counts although its frame may be torn
  kPromisesIgnored,     // damage is taken for a torn tail
  kReadErrorIgnored,    // what cannot be read counts as zeros
};

// All but kNone; defined with MS_MUTATIONS only.
std::span<const MutationName<Mutation>> Mutations();

}  // namespace metastore::wal
