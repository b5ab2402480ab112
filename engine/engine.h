// Engine: the replicated state of one raft group: keys with all their versions, leases, revisions.
//
// Owned by the node pump of its group, used on that group's state core only. Two kinds of call:
// Apply, synchronous and deterministic, the only one that changes what is stored; and awaitable
// reads with bounded steps, which see one moment, whatever is applied while they are suspended.
//
// Invariants
//  1. State is a function of the entries applied (and of the snapshot it began with): no clock, no
//  chance, no order of
//     unordered containers. Equal prefixes give equal Digest().
//  2. The applied index is atomic with the data.
//  3. Revisions: an empty store has 1; an entry that changes something makes exactly one more.
//  4. Nothing from an entry is CHECKed: an entry that cannot be carried out gets an Outcome and
//  changes nothing.
//  5. While a ReadPin lives, nothing readable when it was made is removed.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/state_digest.h"
#include "engine/types.h"
#include "io/signal.h"
#include "io/task.h"

namespace metastore::engine {

// Hears of changes as they are applied, inside Apply, restoring included; it must not call back
// into the engine.
class ChangeListener {
 public:
  virtual ~ChangeListener() = default;
  // What OnChanges is called with: not at all, the changes, or these with Event::previous. Asked
  // before each call.
  enum class Detail : uint8_t { kNothing, kChanges, kPrevious };
  virtual Detail WantedDetail() const { return Detail::kChanges; }
  // All changes of one revision, by sub revision. The events are valid during the call; copying
  // them shares bytes.
  virtual void OnChanges(Revision revision, std::span<const Event> events) = 0;
  virtual void OnLeaseGranted(const LeaseInfo& lease) = 0;
  virtual void OnLeaseRevoked(LeaseId lease) = 0;
  // What is known of its remaining time has changed.
  virtual void OnLeaseCheckpointed(const LeaseInfo& /*lease*/) {}
  virtual void OnCompacted(Revision revision) = 0;
  // The whole state was replaced by a snapshot: read everything anew.
  virtual void OnRestored() = 0;
};

class Engine;

// Holds back the removal of old versions; take one before applying entries whose answers must be
// read afterwards, and keep it short: a compaction waits for it. Must not outlive the engine.
class ReadPin final {
 public:
  ReadPin() = default;
  ReadPin(Engine* engine, uint64_t token) : engine_(engine), token_(token) {}
  ReadPin(ReadPin&& other) noexcept
      : engine_(std::exchange(other.engine_, nullptr)), token_(std::exchange(other.token_, 0)) {}
  ReadPin& operator=(ReadPin&& other) noexcept {
    std::swap(engine_, other.engine_);
    std::swap(token_, other.token_);
    return *this;
  }
  ~ReadPin();

  bool held() const { return engine_ != nullptr; }
  uint64_t token() const { return token_; }

 private:
  Engine* engine_ = nullptr;
  uint64_t token_ = 0;
};

// What the server adds to a snapshot and gets back from it.
struct SnapshotExtra {
  Term term;                 // of the entry at the applied index
  std::string server_state;  // opaque to the engine: membership, cluster level; at most
                             // kServerStateBytesMax
};
inline constexpr size_t kServerStateBytesMax = size_t{1} << 20;

struct SnapshotMeta {
  LogIndex applied_index;
  Term term;
  Revision revision;
  Revision compacted;
  std::string server_state;
};

// A snapshot being written: the state at the moment StartSnapshot was called, while applies go on.
// Holds a pin. Must not outlive the engine. Format: engine/README.md.
class SnapshotSource {
 public:
  virtual ~SnapshotSource() = default;
  virtual const SnapshotMeta& meta() const = 0;
  // The next bytes, about kSnapshotStepBytes (a single huge pair: more); empty after the last.
  // Errors: kAborted  the state was replaced by a snapshot meanwhile
  virtual io::Task<StatusOr<std::string>> Next() = 0;
};
inline constexpr size_t kSnapshotStepBytes = size_t{64} << 10;

// A snapshot being read into an engine. The engine keeps its state, and goes on working, until
// Finish replaces it. Dropped without Finish, nothing happened. Must not outlive the engine.
class SnapshotSink {
 public:
  virtual ~SnapshotSink() = default;
  // The bytes may be cut anywhere. `bytes` outlives the task.
  // Errors: kDataLoss       a checksum, structure or order is wrong; names the offset in the stream
  //         kUnimplemented  written by a newer format version
  virtual io::Task<Status> Add(std::string_view bytes) = 0;
  // Checks that the stream is complete and replaces the engine's state. kDataLoss: it is not
  // complete.
  virtual io::Task<StatusOr<SnapshotMeta>> Finish() = 0;
  // Bytes of the stream accepted so far: whole chunks.
  virtual uint64_t accepted_bytes() const = 0;
};

// A digest being made: of the state at the moment StartDigest was called, while applies go on.
// Holds a pin. Must not outlive the engine.
class DigestSource {
 public:
  virtual ~DigestSource() = default;
  // Once.
  // Errors: kAborted    the state was replaced by a snapshot meanwhile
  //         kCancelled  `stop`
  virtual io::Task<StatusOr<StateDigest>> Take(io::StopToken stop) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;  // no task, pin, source or sink of it is left (CHECKed)

  // --- changing state ----------------------------------------------------------------------------
  // Brings near what applying `batch` will read. Never needed for correctness; entries may be
  // malformed. Errors: those of reading storage; none with the memory engine.
  virtual io::Task<Status> Prefetch(std::span<const Entry> batch) = 0;
  // Applies the entry after applied_index (CHECKed) and returns what it did. `entry.command` is
  // copied as needed.
  virtual ApplyResult Apply(const Entry& entry) = 0;
  // At most one; nullptr: none. Without one no events are made.
  virtual void SetListener(ChangeListener* listener) = 0;
  // Keys one entry may touch, at least 1: a replicated setting (default
  // limits::kEntryKeysMaxDefault).
  virtual void SetEntryKeysMax(uint64_t keys) = 0;

  // --- reading -----------------------------------------------------------------------------------
  virtual Stats stats() const = 0;
  // Everything readable now stays readable while the pin lives.
  virtual ReadPin Pin() = 0;
  virtual void Unpin(uint64_t token) = 0;  // ReadPin's destructor only
  // etcd's Range, with every option and quirk.
  virtual io::Task<RangeResult> Range(RangeQuery query) = 0;
  // The same answer without a task where it is at hand and small: one key, or a few records. True:
  // `result`, which was empty, has it. False: nothing is known, `result` is empty; await Range. An
  // engine may always say false. `query` and its views are not kept.
  virtual bool TryRange(const RangeQuery& query, RangeResult& result) = 0;
  // Brings near what TryRange of `queries` will read, so that the cache misses of several reads
  // overlap: worth calling for up to some 16 at a time, just before. Never needed for correctness.
  virtual void PrefetchRanges(std::span<const RangeQuery* const> queries) = 0;
  // The changes from a revision on, in bounded batches of whole revisions: call again from `next`.
  virtual io::Task<HistoryResult> History(HistoryQuery query) = 0;

  // --- leases ------------------------------------------------------------------------------------
  virtual std::optional<LeaseInfo> FindLease(LeaseId lease) const = 0;
  // Up to `count_max` leases with ids above `after`, ascending; begin after INT64_MIN.
  virtual std::vector<LeaseInfo> Leases(LeaseId after, size_t count_max) const = 0;
  // Up to `count_max` keys attached to the lease, above `after` (empty: from the first); `after`
  // outlives the task.
  virtual io::Task<LeaseKeys> KeysOfLease(LeaseId lease, std::string_view after,
                                          size_t count_max) = 0;

  // --- upkeep ------------------------------------------------------------------------------------
  // The engine's background loop, in bounded steps: removes what compactions have passed, frees
  // what a restore replaced. Spawned once by the owner in ReadyClass::kBackground; ends after
  // `stop`.
  virtual io::Task<void> RunMaintenance(io::StopToken stop) = 0;
  // Completes once everything below `revision` (compacted already, CHECKed) has been removed.
  virtual io::Task<io::WaitResult> WaitRemoved(Revision revision, io::WaitLimit limit) = 0;
  // A hash of the versions kept at `revision` (<= 0: current) under the compacted revision: equal
  // on equal replicas, however far physical removal has come.
  virtual io::Task<HashResult> HashKv(Revision revision) = 0;
  // A hash of all replicated state: versions, leases, revisions, applied index.
  virtual io::Task<uint64_t> Digest() = 0;
  // The same as replicas compare it while they work: by revision, of one moment, in small steps.
  virtual std::unique_ptr<DigestSource> StartDigest() = 0;

  // Ends the engine, which may be destroyed afterwards: frees its state in bounded steps, where
  // destroying it at once would hold up the core. No other call may follow, but stats(); no task,
  // pin, source or sink is left (CHECKed).
  virtual io::Task<void> Close() = 0;

  // --- snapshots ---------------------------------------------------------------------------------
  virtual std::unique_ptr<SnapshotSource> StartSnapshot(SnapshotExtra extra) = 0;
  virtual std::unique_ptr<SnapshotSink> StartRestore() = 0;
};

inline ReadPin::~ReadPin() {
  if (engine_ != nullptr) engine_->Unpin(token_);
}

}  // namespace metastore::engine
