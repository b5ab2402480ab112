// Every cap of the system in one place, with unit and reason. Full means a Status, never growth.
#pragma once

#include <cstddef>
#include <cstdint>

namespace metastore::limits {

inline constexpr size_t kKiB = size_t{1} << 10;
inline constexpr size_t kMiB = size_t{1} << 20;
inline constexpr size_t kGiB = size_t{1} << 30;

// --- io
// -------------------------------------------------------------------------------------------------
inline constexpr int kReactorsMax = 64;  // cores of one node
inline constexpr size_t kPostRingSlots =
    1 << 16;  // posts under way from one core to another; above the admission cap
inline constexpr size_t kBlockBytes =
    4096;  // O_DIRECT unit assumed by formats; larger devices are refused
inline constexpr size_t kReceiveBytes = 16 * kKiB;  // one provided receive buffer
inline constexpr size_t kIoBytesMax =
    8 * kMiB + 64 * kKiB;  // one file read or write: the largest frame and its slack

// --- wal
// -------------------------------------------------------------------------------------------------
inline constexpr size_t kSegmentBytes = 64 * kMiB;  // one log segment, as etcd's
inline constexpr size_t kFrameBytesMax =
    8 * kMiB;                              // one durable write: bounds what a torn tail can span
inline constexpr size_t kWalDepthMax = 2;  // frames in flight: 4 doubled p99 and added nothing
inline constexpr size_t kWalQueuedBytesMax =
    64 * kMiB;  // appended but not yet submitted, all groups together
inline constexpr size_t kRecordBytesMax =
    4 * kMiB;  // one record: the largest command and its header

// --- raft
// -------------------------------------------------------------------------------------------------
inline constexpr size_t kEntryBytesMax =
    3 * kMiB;                             // one log entry's payload; max-request-bytes stays below
inline constexpr size_t kVotersMax = 15;  // members that vote in one configuration

// --- server
// -------------------------------------------------------------------------------------------------
inline constexpr size_t kProposalsMax = 16384;  // client writes between admission and answer
inline constexpr size_t kProposalsBytesMax = 64 * kMiB;  // and their bytes
inline constexpr size_t kReadsMax = 16384;        // linearizable reads waiting for a read index
inline constexpr size_t kLeaseCallsMax = 16384;   // batches of keepalives waiting for the leader
inline constexpr size_t kConnectionsMax = 20000;  // client connections of one node
inline constexpr uint64_t kRequestBytesDefault = 1572864;  // --max-request-bytes, as etcd's
inline constexpr uint64_t kTxnOpsDefault = 128;            // --max-txn-ops, as etcd's
// Watch: from the state core to an edge core, under way; behind it, the edge reads history.
inline constexpr size_t kWatchFeedBatchesMax = 256;
inline constexpr size_t kWatchFeedBytesMax = 16 * kMiB;
// Queued for a watcher, and for all of one stream; more than one delivery of events only below it.
// A thousand clients that never read hold 128 MiB at most.
inline constexpr size_t kWatcherQueuedBytesMax = 128 * kKiB;
inline constexpr size_t kWatchSessionQueuedBytesMax = kMiB;
// Changes that go on together, live or from history, if a single revision has no more.
inline constexpr size_t kWatchBatchBytes = kWatcherQueuedBytesMax / 2;
inline constexpr size_t kWatchRecentReads = 64;   // of history, that an edge keeps for others
inline constexpr size_t kWatchAnswersMax = 1024;  // to creations and cancels, queued for one stream
inline constexpr size_t kWatchersOfSessionMax = 1'000'000;

// --- engine
// -------------------------------------------------------------------------------------------------
inline constexpr uint64_t kEntryKeysMaxDefault =
    1'000'000;  // keys one entry may touch (replicated setting)
inline constexpr size_t kTxnDepthMax =
    48;  // nested transactions; protobuf itself stops at 100 messages

static_assert(kFrameBytesMax < kSegmentBytes);
static_assert(kEntryBytesMax < kRecordBytesMax);
static_assert(kRecordBytesMax < kFrameBytesMax);

}  // namespace metastore::limits
