// The replicated command: what one raft entry asks of the state machine.
//
// Made by server/ (on any core) from a client's request, decoded by the engine when it applies the
// entry and by whoever shows log entries to people. Pure functions: no clock, no I/O.
//
// Layout, little-endian (varint: LEB128; bytes: varint length, then the bytes; signed: zigzag):
//   u8 format version (kCommandFormat) | u8 op kind | u8 header flags
//   u64 node id | u32 boot count | u64 counter         the request id
//   flags & 1: bytes user, varint auth revision
//   flags & 2: varint client session, varint sequence  reserved, without a meaning yet
//   flags & 4: varint leases_until, not 0
//   the op's body (command.cc)
// An empty entry is a leader's first of its term: it is no command, DecodeCommand never sees it.
//
// Invariants
//  1. Encode(Decode(bytes)) == bytes for every accepted input that was written by EncodeCommand.
//  2. A decoded Command borrows keys, values and user from the input bytes, which outlive it.
//  3. Decoding never CHECKs content, never recurses deeper than limits::kTxnDepthMax and allocates
//     only in proportion to the input.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/base/ids.h"
#include "io/base/status.h"

namespace metastore::engine {

inline constexpr uint8_t kCommandFormat = 1;

// Names one request for ever: a proposal's waiter is found by it when its entry is applied.
struct RequestId {
  NodeId node;           // the member the client spoke to
  uint32_t boot = 0;     // that member's boot count
  uint64_t counter = 0;  // grows with each of its requests

  bool operator==(const RequestId&) const = default;

  template <typename H>
  friend H AbslHashValue(H h, const RequestId& id) {
    return H::combine(std::move(h), id.node, id.boot, id.counter);
  }
};

struct CommandHeader {
  RequestId request;
  std::string_view user;       // empty: none
  uint64_t auth_revision = 0;  // the auth revision the edge checked against; 0 without a user
  uint64_t session = 0;        // reserved client session; 0 = none
  uint64_t sequence = 0;       // reserved position in that session
  // Of a lease revoke or checkpoint that a leader proposes: what it had applied then. Leases that
  // were granted later, and may have ids of those it means, are passed over. 0: none are.
  LogIndex leases_until;
};

// range_end, everywhere: empty = the single key; one 0x00 byte = every key >= key; else [key,
// range_end), which is empty when key >= range_end.

struct PutOp {
  std::string_view key;
  std::string_view value;
  LeaseId lease;  // 0 = none: detaches an old one
  bool prev_kv =
      false;  // the answer wants the old pair (state does not depend on it; permission does)
  bool ignore_value = false;  // keep the key's value; `value` is empty
  bool ignore_lease = false;  // keep the key's lease; `lease` is 0
};

struct DeleteRangeOp {
  std::string_view key;
  std::string_view range_end;
  bool prev_kv = false;  // as PutOp's
};

enum class SortOrder : uint8_t { kNone, kAscend, kDescend };
enum class SortTarget : uint8_t { kKey, kVersion, kCreate, kMod, kValue };

// Only inside a TxnOp. State does not depend on it, but its revision is a precondition of the whole
// transaction.
struct RangeOp {
  std::string_view key;
  std::string_view range_end;
  int64_t limit = 0;     // <= 0: none
  int64_t revision = 0;  // <= 0: as of this op
  SortOrder sort_order = SortOrder::kNone;
  SortTarget sort_target = SortTarget::kKey;
  bool keys_only = false;
  bool count_only = false;
  int64_t min_mod_revision = 0;  // inclusive; 0 = off, as the next three
  int64_t max_mod_revision = 0;
  int64_t min_create_revision = 0;
  int64_t max_create_revision = 0;
};

enum class CompareResult : uint8_t { kEqual, kGreater, kLess, kNotEqual };
enum class CompareTarget : uint8_t { kVersion, kCreate, kMod, kValue, kLease };

// True when `target` of every key in the range stands in relation `result` to the given number (or
// `value`, for kValue). An absent key, or an empty range, has 0 everywhere; its value compares
// false whatever the relation.
struct Compare {
  CompareResult result = CompareResult::kEqual;
  CompareTarget target = CompareTarget::kVersion;
  std::string_view key;
  std::string_view range_end;
  int64_t number = 0;
  std::string_view value;
};

struct Op;

struct TxnOp {
  std::vector<Compare> compares;  // all must hold; none: true
  std::vector<Op> success;
  std::vector<Op> failure;
};

struct Op {
  std::variant<RangeOp, PutOp, DeleteRangeOp, TxnOp> op;
};

struct CompactOp {
  Revision revision;
  bool physical = false;  // the answer waits for the removal; state does not depend on it
};

struct LeaseGrantOp {
  LeaseId lease;            // not 0: chosen by the server that proposes
  int64_t ttl_seconds = 0;  // already raised to the minimum
};

struct LeaseRevokeOp {
  LeaseId lease;
};

// What a leader last knew of a lease's time.
struct LeaseCheckpoint {
  LeaseId lease;
  int64_t remaining_seconds = 0;  // 0: no longer known, the lease has its whole TTL again
};

// Of many leases at once; those that are not there are passed over.
struct LeaseCheckpointOp {
  std::vector<LeaseCheckpoint> checkpoints;
};

// On disk and on the wire for ever: values are never reused. 0 is invalid. 16 and up: alarms, auth,
// members, settings.
enum class OpKind : uint8_t {
  kPut = 1,
  kDeleteRange = 2,
  kTxn = 3,
  kCompact = 4,
  kLeaseGrant = 5,
  kLeaseRevoke = 6,
  kLeaseCheckpoint = 7,
};

// The alternatives are in OpKind's order.
using CommandOp = std::variant<PutOp, DeleteRangeOp, TxnOp, CompactOp, LeaseGrantOp, LeaseRevokeOp,
                               LeaseCheckpointOp>;

struct Command {
  CommandHeader header;
  CommandOp op;

  OpKind kind() const { return static_cast<OpKind>(op.index() + 1); }
};

// The bytes of `command`. Its transactions nest at most limits::kTxnDepthMax deep (CHECKed).
std::string EncodeCommand(const Command& command);

// The hot path: the same bytes as EncodeCommand of a put, into memory of the caller.
size_t EncodedPutBytes(const CommandHeader& header, const PutOp& put);
void EncodePutTo(const CommandHeader& header, const PutOp& put, char* to);
std::string EncodePut(const CommandHeader& header, const PutOp& put);

// Borrows from `bytes`.
// Errors: kInvalidArgument  malformed: truncated, trailing bytes, unknown enum value, nested too
// deep
//         kUnimplemented    a format version or op kind that this build does not know
StatusOr<Command> DecodeCommand(std::string_view bytes);

// Only the header, for finding a waiter without decoding the op. Errors as DecodeCommand's.
StatusOr<CommandHeader> DecodeCommandHeader(std::string_view bytes);

}  // namespace metastore::engine
