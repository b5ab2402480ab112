// Values that go into and come out of an engine: key-value pairs, positions, queries, results,
// change events.
//
// Plain data; results own their bytes (shared, immutable) and may cross cores.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "engine/command.h"
#include "io/base/ids.h"
#include "io/buffer.h"

namespace metastore::engine {

// How an operation ended, with etcd's meaning; server/ owns the strings. A failed entry changed
// nothing but the applied index.
enum class Outcome : uint8_t {
  kOk,
  kMalformed,      // the entry is no command this cluster can decode
  kUnsupported,    // a command format or op kind this build does not know
  kKeyEmpty,       // "key is not provided"
  kKeyNotFound,    // ignore_value or ignore_lease on an absent key
  kValueProvided,  // ignore_value with a value
  kLeaseProvided,  // ignore_lease with a lease
  kLeaseNotFound,
  kLeaseExists,
  kLeaseTtlTooLarge,  // above kLeaseTtlSecondsMax
  kCompacted,         // the revision is below the compacted one (compaction: not above it)
  kFutureRevision,    // the revision is above the current one
  kDuplicateKey,      // "duplicate key given in txn request"
  kTooManyKeys,       // the entry would touch more than entry_keys_max keys
  kTooManyOps,        // "too many operations in txn request" (CheckTxn only)
  kStateReplaced,  // a snapshot was installed while this read was under way, or since its pin was
                   // made: retry
};

inline constexpr int64_t kLeaseTtlSecondsMax = 9'000'000'000;  // as etcd's

// A point between two changes: a read at it sees exactly the changes (main, sub) below it. The k-th
// change of the transaction that makes revision M is (M, k).
struct Position {
  Revision main;
  int32_t sub = 0;

  constexpr auto operator<=>(const Position&) const = default;
  // After all of `revision`.
  static constexpr Position After(Revision revision) { return {revision + 1, 0}; }
};

struct KeyValue {
  io::SharedBytes key;
  io::SharedBytes value;  // empty when only keys were asked for
  Revision create_revision;
  Revision mod_revision;
  int64_t version = 0;
  LeaseId lease;
};

using KeyValues = absl::InlinedVector<KeyValue, 1>;

enum class EventKind : uint8_t { kPut, kDelete };

// One change. A kDelete's kv has only key and mod_revision.
struct Event {
  EventKind kind = EventKind::kPut;
  KeyValue kv;
  // The pair as of the revision before, where it was asked for, exists and is not compacted.
  std::optional<KeyValue> previous;
};

// --- Range ---------------------------------------------------------------------------------------

class ReadPin;

// The views outlive the call's task.
struct RangeQuery {
  RangeOp range;  // range.revision <= 0: latest
  const ReadPin* pin =
      nullptr;  // set: read at `at` (range.revision is ignored), which no compaction can take away
  Position at;  // not before the pin's compacted revision
  uint64_t bytes_max = 0;  // 0: none. Stop after the pair that reaches it (resume_key tells where);
                           // kept only in key order without a descending sort
  bool want_count = true;  // false: `count` stays 0, which spares old revisions a walk
};

struct RangeResult {
  Outcome outcome = Outcome::kOk;  // kCompacted, kFutureRevision, kKeyEmpty, kStateReplaced
  Revision revision;               // the store's current one when the read began: the header's
  KeyValues kvs;
  bool more = false;           // cut by range.limit
  int64_t count = 0;           // of the range at that revision, whatever limit and filters say
  io::SharedBytes resume_key;  // not empty: cut by bytes_max; go on with this key
};

// --- Apply ---------------------------------------------------------------------------------------

// One raft entry. An empty command changes nothing but the applied index (a leader's first entry, a
// membership change).
struct Entry {
  LogIndex index;
  std::string_view command;
};

enum class OpResultKind : uint8_t { kNone, kRange, kPut, kDeleteRange, kTxn };

// What one op of an entry did. What only its answer needs is read afterwards, with a pin taken
// before the apply:
//   put with prev_kv           RangeQuery{key, at}
//   delete range with prev_kv  RangeQuery{key, range_end, at}
//   range in a transaction     RangeQuery{the RangeOp, at}
struct OpResult {
  OpResultKind kind = OpResultKind::kNone;
  bool existed = false;    // put: the key existed before
  bool succeeded = false;  // txn: the compares held
  int64_t deleted = 0;     // delete range, lease revoke: keys
  Position at;  // what this op saw: the state before it, and for a range as of its own revision if
                // it has one
  Revision revision;  // header of a sub-answer: the revision after this op's change, if it made one
  std::vector<OpResult> nested;  // txn: of the chosen branch, in order
};

struct ApplyResult {
  LogIndex index;
  RequestId request;  // zero if the entry is empty or undecodable
  Outcome outcome = Outcome::kOk;
  OpKind kind{};            // 0 if the entry is empty or undecodable
  bool changed = false;     // it made revision `revision`
  Revision revision;        // the store's after the entry: the answer's header
  LeaseId lease;            // lease grant and revoke
  int64_t ttl_seconds = 0;  // lease grant
  OpResult op;              // put, delete range, txn, lease revoke
};

// --- History -------------------------------------------------------------------------------------

// The views outlive the call's task.
struct HistoryQuery {
  Revision from;         // the first revision wanted
  std::string_view key;  // filter, as a range; both empty: every key
  std::string_view range_end;
  bool prev_kv = false;  // fill Event::previous
  size_t events_max =
      1000;  // at least 1; a revision is never split, so one huge revision may exceed both caps
  size_t bytes_max = size_t{1} << 20;
};

struct HistoryResult {
  Outcome outcome = Outcome::kOk;  // kCompacted: `from` is below `compacted`; kStateReplaced
  Revision compacted;
  std::vector<Event> events;  // by (main, sub); whole revisions
  Revision next;              // go on from here; above `current` when everything was delivered
  Revision current;           // the store's revision when the call ended
};

// --- state ---------------------------------------------------------------------------------------

struct LeaseInfo {
  LeaseId id;
  int64_t ttl_seconds = 0;        // as granted
  int64_t remaining_seconds = 0;  // a checkpoint's; 0 = none
  // The entry that granted it: tells it from others of its id, before and after. 0: not known, it
  // came with a snapshot that did not say so.
  LogIndex granted_at;
};

struct LeaseKeys {
  Outcome outcome = Outcome::kOk;     // kLeaseNotFound
  std::vector<io::SharedBytes> keys;  // ascending
};

// Cheap; all of one moment between two entries.
struct Stats {
  LogIndex applied_index;
  Revision revision;           // 1 when empty
  Revision compacted;          // -1 before the first compaction
  Revision removed;            // compactions up to here have been carried out physically
  int64_t keys_count = 0;      // live
  int64_t versions_count = 0;  // stored, tombstones included
  int64_t leases_count = 0;
  uint64_t stored_bytes = 0;  // logical, of every stored version: what the quota counts
  uint64_t live_bytes = 0;    // logical, of the newest versions of live keys
};

// Counted for each stored version beside its key and value.
inline constexpr uint64_t kVersionOverheadBytes = 128;

struct HashResult {
  Outcome outcome = Outcome::kOk;  // kCompacted, kFutureRevision, kStateReplaced
  uint64_t hash = 0;
  Revision hash_revision;
  Revision compacted;
};

}  // namespace metastore::engine
