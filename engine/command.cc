#include "engine/command.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/limits.h"

namespace metastore::engine {
namespace {

// Bodies, after the header:
//   put           u8 flags (1 prev_kv, 2 ignore_value, 4 ignore_lease, 8 has lease) |
//                 [signed lease] | bytes key | bytes value
//   delete range  u8 flags (1 prev_kv) | bytes key | bytes range_end
//   range         u8 flags (1 keys_only, 2 count_only, 4 has filters) | u8 order | u8 target |
//                 signed limit | signed revision |
//                 [signed min_mod, max_mod, min_create, max_create] | bytes key | bytes range_end
//   txn           varint n, n compares | varint n, n ops | varint n, n ops
//     compare     u8 result | u8 target | bytes key | bytes range_end |
//                 bytes value for kValue, else signed number
//     op          u8 (0 range, 1 put, 2 delete range, 3 txn) | its body
//   compact       u8 flags (1 physical) | signed revision
//   lease grant   signed id | signed ttl
//   lease revoke  signed id
//   checkpoint    varint n, n times: signed id | signed remaining, not negative
constexpr uint8_t kFlagPrevKv = 1;
constexpr uint8_t kFlagIgnoreValue = 2;
constexpr uint8_t kFlagIgnoreLease = 4;
constexpr uint8_t kFlagHasLease = 8;
constexpr uint8_t kFlagKeysOnly = 1;
constexpr uint8_t kFlagCountOnly = 2;
constexpr uint8_t kFlagHasFilters = 4;
constexpr uint8_t kFlagPhysical = 1;
constexpr uint8_t kFlagHasUser = 1;
constexpr uint8_t kFlagHasSession = 2;
constexpr uint8_t kFlagHasLeasesUntil = 4;

// A claimed count reserves no more than this: nested claims would multiply.
constexpr size_t kReserveMax = 16;

constexpr size_t kHeaderFixedBytes = 3 + 8 + 4 + 8;

uint8_t Bit(bool set, uint8_t flag) { return set ? flag : uint8_t{0}; }
template <typename... Flags>
uint8_t Join(Flags... flags) {
  return static_cast<uint8_t>((flags | ... | 0));
}

void PutSigned(std::string& to, int64_t value) { PutVarint(to, ZigZag(value)); }
size_t BytesBytes(std::string_view bytes) { return VarintBytes(bytes.size()) + bytes.size(); }

char* StoreBytes(char* to, std::string_view bytes) {
  to = StoreVarint(to, bytes.size());
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

bool HasUser(const CommandHeader& header) {
  return !header.user.empty() || header.auth_revision != 0;
}
bool HasSession(const CommandHeader& header) { return header.session != 0 || header.sequence != 0; }
bool HasLeasesUntil(const CommandHeader& header) { return header.leases_until != LogIndex(); }

size_t HeaderBytes(const CommandHeader& header) {
  size_t bytes = kHeaderFixedBytes;
  if (HasUser(header)) bytes += BytesBytes(header.user) + VarintBytes(header.auth_revision);
  if (HasSession(header)) bytes += VarintBytes(header.session) + VarintBytes(header.sequence);
  if (HasLeasesUntil(header)) bytes += VarintBytes(header.leases_until.value());
  return bytes;
}

char* StoreHeader(char* to, const CommandHeader& header, OpKind kind) {
  const bool user = HasUser(header);
  const bool session = HasSession(header);
  const bool leases = HasLeasesUntil(header);
  to[0] = static_cast<char>(kCommandFormat);
  to[1] = static_cast<char>(kind);
  to[2] = static_cast<char>(Join(Bit(user, kFlagHasUser), Bit(session, kFlagHasSession),
                                 Bit(leases, kFlagHasLeasesUntil)));
  StoreU64(to + 3, header.request.node.value());
  StoreU32(to + 11, header.request.boot);
  StoreU64(to + 15, header.request.counter);
  to += kHeaderFixedBytes;
  if (user) to = StoreVarint(StoreBytes(to, header.user), header.auth_revision);
  if (session) to = StoreVarint(StoreVarint(to, header.session), header.sequence);
  if (leases) to = StoreVarint(to, header.leases_until.value());
  return to;
}

void EncodeHeader(const CommandHeader& header, OpKind kind, std::string& to) {
  const size_t at = to.size();
  to.resize(at + HeaderBytes(header));
  StoreHeader(to.data() + at, header, kind);
}

uint8_t FlagsOf(const PutOp& put) {
  return Join(Bit(put.prev_kv, kFlagPrevKv), Bit(put.ignore_value, kFlagIgnoreValue),
              Bit(put.ignore_lease, kFlagIgnoreLease), Bit(put.lease != LeaseId(0), kFlagHasLease));
}

class Encoder {
 public:
  Encoder(std::string& to, size_t depth) : to_(to), depth_(depth) {}

  void operator()(const PutOp& put) {
    PutU8(to_, FlagsOf(put));
    if (put.lease != LeaseId(0)) PutSigned(to_, put.lease.value());
    PutBytes(to_, put.key);
    PutBytes(to_, put.value);
  }
  void operator()(const DeleteRangeOp& op) {
    PutU8(to_, Bit(op.prev_kv, kFlagPrevKv));
    PutBytes(to_, op.key);
    PutBytes(to_, op.range_end);
  }
  void operator()(const RangeOp& op) {
    const bool filters = op.min_mod_revision != 0 || op.max_mod_revision != 0 ||
                         op.min_create_revision != 0 || op.max_create_revision != 0;
    PutU8(to_, Join(Bit(op.keys_only, kFlagKeysOnly), Bit(op.count_only, kFlagCountOnly),
                    Bit(filters, kFlagHasFilters)));
    PutU8(to_, static_cast<uint8_t>(op.sort_order));
    PutU8(to_, static_cast<uint8_t>(op.sort_target));
    PutSigned(to_, op.limit);
    PutSigned(to_, op.revision);
    if (filters) {
      PutSigned(to_, op.min_mod_revision);
      PutSigned(to_, op.max_mod_revision);
      PutSigned(to_, op.min_create_revision);
      PutSigned(to_, op.max_create_revision);
    }
    PutBytes(to_, op.key);
    PutBytes(to_, op.range_end);
  }
  void operator()(const TxnOp& txn) {
    CHECK_LT(depth_, limits::kTxnDepthMax);
    PutVarint(to_, txn.compares.size());
    for (const Compare& compare : txn.compares) EncodeCompare(compare);
    for (const auto* branch : {&txn.success, &txn.failure}) {
      PutVarint(to_, branch->size());
      for (const Op& op : *branch) {
        PutU8(to_, static_cast<uint8_t>(op.op.index()));
        std::visit(Encoder(to_, depth_ + 1), op.op);
      }
    }
  }
  void operator()(const CompactOp& op) {
    PutU8(to_, Bit(op.physical, kFlagPhysical));
    PutSigned(to_, op.revision.value());
  }
  void operator()(const LeaseGrantOp& op) {
    PutSigned(to_, op.lease.value());
    PutSigned(to_, op.ttl_seconds);
  }
  void operator()(const LeaseRevokeOp& op) { PutSigned(to_, op.lease.value()); }
  void operator()(const LeaseCheckpointOp& op) {
    PutVarint(to_, op.checkpoints.size());
    for (const LeaseCheckpoint& checkpoint : op.checkpoints) {
      PutSigned(to_, checkpoint.lease.value());
      PutSigned(to_, checkpoint.remaining_seconds);
    }
  }

 private:
  void EncodeCompare(const Compare& compare) {
    PutU8(to_, static_cast<uint8_t>(compare.result));
    PutU8(to_, static_cast<uint8_t>(compare.target));
    PutBytes(to_, compare.key);
    PutBytes(to_, compare.range_end);
    if (compare.target == CompareTarget::kValue) {
      PutBytes(to_, compare.value);
    } else {
      PutSigned(to_, compare.number);
    }
  }

  std::string& to_;
  size_t depth_;
};

// Reads bodies; `valid` turns false at the first value that no encoder writes, besides the reader's
// own failures.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : in_(bytes) {}

  CommandHeader Header(uint8_t flags) {
    CommandHeader header;
    header.request.node = NodeId(in_.U64());
    header.request.boot = in_.U32();
    header.request.counter = in_.U64();
    if (flags & kFlagHasUser) {
      header.user = in_.LengthPrefixed();
      header.auth_revision = in_.Varint();
    }
    if (flags & kFlagHasSession) {
      header.session = in_.Varint();
      header.sequence = in_.Varint();
    }
    if (flags & kFlagHasLeasesUntil) {
      header.leases_until = LogIndex(in_.Varint());
      if (header.leases_until == LogIndex()) valid_ = false;
    }
    return header;
  }

  CommandOp Body(OpKind kind) {
    switch (kind) {
      case OpKind::kPut:
        return Put();
      case OpKind::kDeleteRange:
        return DeleteRange();
      case OpKind::kTxn:
        return Txn(0);
      case OpKind::kCompact: {
        CompactOp op;
        op.physical = (Flags(kFlagPhysical) & kFlagPhysical) != 0;
        op.revision = Revision(Signed());
        return op;
      }
      case OpKind::kLeaseGrant: {
        LeaseGrantOp op;
        op.lease = LeaseId(Signed());
        op.ttl_seconds = Signed();
        return op;
      }
      case OpKind::kLeaseRevoke:
        return LeaseRevokeOp{.lease = LeaseId(Signed())};
      case OpKind::kLeaseCheckpoint:
        return Checkpoints();
    }
    CHECK_UNREACHABLE();
  }

  bool ok() const { return in_.ok() && valid_; }
  bool done() const { return in_.done() && valid_; }

 private:
  int64_t Signed() { return UnZigZag(in_.Varint()); }
  uint8_t Flags(uint8_t known) {
    const uint8_t flags = in_.U8();
    if ((flags & ~known) != 0) valid_ = false;
    return flags;
  }
  template <typename Enum>
  Enum EnumUpTo(Enum last) {
    const uint8_t value = in_.U8();
    if (value > static_cast<uint8_t>(last)) valid_ = false;
    return valid_ ? static_cast<Enum>(value) : Enum{};
  }
  // A count of items that take at least `item_bytes` each, so that a small input cannot ask for
  // much memory.
  size_t Count(size_t item_bytes) {
    const uint64_t count = in_.Varint();
    if (count <= in_.rest().size() / item_bytes) return static_cast<size_t>(count);
    valid_ = false;
    return 0;
  }

  PutOp Put() {
    PutOp put;
    const uint8_t flags = Flags(kFlagPrevKv | kFlagIgnoreValue | kFlagIgnoreLease | kFlagHasLease);
    put.prev_kv = (flags & kFlagPrevKv) != 0;
    put.ignore_value = (flags & kFlagIgnoreValue) != 0;
    put.ignore_lease = (flags & kFlagIgnoreLease) != 0;
    if (flags & kFlagHasLease) put.lease = LeaseId(Signed());
    put.key = in_.LengthPrefixed();
    put.value = in_.LengthPrefixed();
    return put;
  }
  DeleteRangeOp DeleteRange() {
    DeleteRangeOp op;
    op.prev_kv = (Flags(kFlagPrevKv) & kFlagPrevKv) != 0;
    op.key = in_.LengthPrefixed();
    op.range_end = in_.LengthPrefixed();
    return op;
  }
  RangeOp Range() {
    RangeOp op;
    const uint8_t flags = Flags(kFlagKeysOnly | kFlagCountOnly | kFlagHasFilters);
    op.keys_only = (flags & kFlagKeysOnly) != 0;
    op.count_only = (flags & kFlagCountOnly) != 0;
    op.sort_order = EnumUpTo(SortOrder::kDescend);
    op.sort_target = EnumUpTo(SortTarget::kValue);
    op.limit = Signed();
    op.revision = Signed();
    if (flags & kFlagHasFilters) {
      op.min_mod_revision = Signed();
      op.max_mod_revision = Signed();
      op.min_create_revision = Signed();
      op.max_create_revision = Signed();
    }
    op.key = in_.LengthPrefixed();
    op.range_end = in_.LengthPrefixed();
    return op;
  }
  LeaseCheckpointOp Checkpoints() {
    LeaseCheckpointOp op;
    const size_t count = Count(2);
    op.checkpoints.reserve(std::min(count, kReserveMax));
    for (size_t i = 0; i < count && ok(); ++i) {
      LeaseCheckpoint& checkpoint = op.checkpoints.emplace_back();
      checkpoint.lease = LeaseId(Signed());
      checkpoint.remaining_seconds = Signed();
      if (checkpoint.remaining_seconds < 0) valid_ = false;
    }
    return op;
  }
  Compare OneCompare() {
    Compare compare;
    compare.result = EnumUpTo(CompareResult::kNotEqual);
    compare.target = EnumUpTo(CompareTarget::kLease);
    compare.key = in_.LengthPrefixed();
    compare.range_end = in_.LengthPrefixed();
    if (compare.target == CompareTarget::kValue) {
      compare.value = in_.LengthPrefixed();
    } else {
      compare.number = Signed();
    }
    return compare;
  }
  TxnOp Txn(size_t depth) {
    TxnOp txn;
    if (depth >= limits::kTxnDepthMax) {
      valid_ = false;
      return txn;
    }
    const size_t compares = Count(5);
    txn.compares.reserve(std::min(compares, kReserveMax));
    for (size_t i = 0; i < compares && ok(); ++i) txn.compares.push_back(OneCompare());
    for (auto* branch : {&txn.success, &txn.failure}) {
      const size_t ops = ok() ? Count(4) : 0;
      branch->reserve(std::min(ops, kReserveMax));
      for (size_t i = 0; i < ops && ok(); ++i) branch->push_back(OneOp(depth));
    }
    return txn;
  }
  Op OneOp(size_t depth) {
    Op op;
    switch (in_.U8()) {
      case 0:
        op.op = Range();
        break;
      case 1:
        op.op = Put();
        break;
      case 2:
        op.op = DeleteRange();
        break;
      case 3:
        op.op = Txn(depth + 1);
        break;
      default:
        valid_ = false;
    }
    return op;
  }

  Reader in_;
  bool valid_ = true;
};

struct Opening {
  OpKind kind;
  uint8_t flags;
  Decoder decoder;  // after the first three bytes
};

StatusOr<Opening> Open(std::string_view bytes) {
  Reader in(bytes);
  const uint8_t format = in.U8();
  const uint8_t kind = in.U8();
  const uint8_t flags = in.U8();
  if (!in.ok())
    return InvalidArgumentError("a command of ", bytes.size(), " bytes: shorter than its header");
  if (format != kCommandFormat) {
    return UnimplementedError("command format ", int{format}, ": this build knows ",
                              int{kCommandFormat});
  }
  if (kind < static_cast<uint8_t>(OpKind::kPut) ||
      kind > static_cast<uint8_t>(OpKind::kLeaseCheckpoint)) {
    return UnimplementedError("command of unknown kind ", int{kind});
  }
  if ((flags & ~(kFlagHasUser | kFlagHasSession | kFlagHasLeasesUntil)) != 0) {
    return UnimplementedError("command header with unknown flags ", int{flags});
  }
  return Opening{static_cast<OpKind>(kind), flags, Decoder(in.rest())};
}

}  // namespace

std::string EncodeCommand(const Command& command) {
  std::string bytes;
  EncodeHeader(command.header, command.kind(), bytes);
  std::visit(Encoder(bytes, 0), command.op);
  return bytes;
}

size_t EncodedPutBytes(const CommandHeader& header, const PutOp& put) {
  const size_t lease = put.lease == LeaseId(0) ? 0 : VarintBytes(ZigZag(put.lease.value()));
  return HeaderBytes(header) + 1 + lease + BytesBytes(put.key) + BytesBytes(put.value);
}

void EncodePutTo(const CommandHeader& header, const PutOp& put, char* to) {
  to = StoreHeader(to, header, OpKind::kPut);
  *to++ = static_cast<char>(FlagsOf(put));
  if (put.lease != LeaseId(0)) to = StoreVarint(to, ZigZag(put.lease.value()));
  StoreBytes(StoreBytes(to, put.key), put.value);
}

std::string EncodePut(const CommandHeader& header, const PutOp& put) {
  std::string bytes(EncodedPutBytes(header, put), '\0');
  EncodePutTo(header, put, bytes.data());
  return bytes;
}

StatusOr<Command> DecodeCommand(std::string_view bytes) {
  StatusOr<Opening> opening = Open(bytes);
  if (!opening.ok()) return opening.status();
  Command command;
  command.header = opening->decoder.Header(opening->flags);
  command.op = opening->decoder.Body(opening->kind);
  if (!opening->decoder.done()) {
    return InvalidArgumentError("a malformed command of kind ", static_cast<int>(opening->kind),
                                ", ", bytes.size(), " bytes");
  }
  return command;
}

StatusOr<CommandHeader> DecodeCommandHeader(std::string_view bytes) {
  StatusOr<Opening> opening = Open(bytes);
  if (!opening.ok()) return opening.status();
  const CommandHeader header = opening->decoder.Header(opening->flags);
  if (!opening->decoder.ok()) {
    return InvalidArgumentError("malformed command header, ", bytes.size(), " bytes");
  }
  return header;
}

}  // namespace metastore::engine
