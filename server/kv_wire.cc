#include "server/kv_wire.h"

#include "io/base/coding.h"

namespace metastore::server {
namespace {

// A field's tag, its number and its wire type: one byte for every field here. A longer form of the
// same number has the top bit set and so is none of them.
constexpr uint8_t kVarintType = 0;
constexpr uint8_t kBytesType = 2;
constexpr uint8_t VarintTag(uint8_t field) {
  return static_cast<uint8_t>(field << 3 | kVarintType);
}
constexpr uint8_t BytesTag(uint8_t field) { return static_cast<uint8_t>(field << 3 | kBytesType); }

int64_t Int64(Reader& in) { return static_cast<int64_t>(in.Varint()); }
// Enums are int32 on the wire, whatever bits a sender has put above.
int64_t Enum(Reader& in) { return static_cast<int32_t>(in.Varint()); }
bool Bool(Reader& in) { return in.Varint() != 0; }
// protobuf takes lengths of at most five bytes: longer ones fail here too.
std::string_view String(Reader& in) {
  constexpr size_t kLengthBytesMax = 5;
  const size_t before = in.rest().size();
  const uint64_t size = in.Varint();
  const bool fits = before - in.rest().size() <= kLengthBytesMax && size <= in.rest().size();
  return in.Bytes(fits ? static_cast<size_t>(size) : SIZE_MAX);
}

bool PutField(uint8_t tag, Reader& in, engine::PutOp& put) {
  switch (tag) {
    case BytesTag(1):
      put.key = String(in);
      return true;
    case BytesTag(2):
      put.value = String(in);
      return true;
    case VarintTag(3):
      put.lease = LeaseId(Int64(in));
      return true;
    case VarintTag(4):
      put.prev_kv = Bool(in);
      return true;
    case VarintTag(5):
      put.ignore_value = Bool(in);
      return true;
    case VarintTag(6):
      put.ignore_lease = Bool(in);
      return true;
    default:
      return false;
  }
}

bool RangeField(uint8_t tag, Reader& in, RangeFields& range) {
  engine::RangeOp& op = range.op;
  switch (tag) {
    case BytesTag(1):
      op.key = String(in);
      return true;
    case BytesTag(2):
      op.range_end = String(in);
      return true;
    case VarintTag(3):
      op.limit = Int64(in);
      return true;
    case VarintTag(4):
      op.revision = Int64(in);
      return true;
    case VarintTag(5):
      range.sort_order = Enum(in);
      return true;
    case VarintTag(6):
      range.sort_target = Enum(in);
      return true;
    case VarintTag(7):
      range.serializable = Bool(in);
      return true;
    case VarintTag(8):
      op.keys_only = Bool(in);
      return true;
    case VarintTag(9):
      op.count_only = Bool(in);
      return true;
    case VarintTag(10):
      op.min_mod_revision = Int64(in);
      return true;
    case VarintTag(11):
      op.max_mod_revision = Int64(in);
      return true;
    case VarintTag(12):
      op.min_create_revision = Int64(in);
      return true;
    case VarintTag(13):
      op.max_create_revision = Int64(in);
      return true;
    default:
      return false;
  }
}

template <typename Message>
bool DecodeFields(std::string_view bytes, bool (*field)(uint8_t, Reader&, Message&),
                  Message& message) {
  message = Message();
  Reader in(bytes);
  while (in.ok() && !in.rest().empty()) {
    if (!field(in.U8(), in, message)) return false;
  }
  return in.ok();
}

// Fields that hold their default are absent.
size_t NumberBytes(int64_t value) {
  return value == 0 ? 0 : 1 + VarintBytes(static_cast<uint64_t>(value));
}
size_t StringBytes(std::string_view value) {
  return value.empty() ? 0 : 1 + VarintBytes(value.size()) + value.size();
}
void PutNumber(std::string& to, uint8_t field, int64_t value) {
  if (value == 0) return;
  PutU8(to, VarintTag(field));
  PutVarint(to, static_cast<uint64_t>(value));
}
void PutString(std::string& to, uint8_t field, std::string_view value) {
  if (value.empty()) return;
  PutU8(to, BytesTag(field));
  PutBytes(to, value);
}
// The start of a nested message of `bytes` bytes; it is there even if it is empty.
void BeginNested(std::string& to, uint8_t field, size_t bytes) {
  PutU8(to, BytesTag(field));
  PutVarint(to, bytes);
}
size_t NestedBytes(size_t bytes) { return 1 + VarintBytes(bytes) + bytes; }

int64_t Signed(uint64_t value) { return static_cast<int64_t>(value); }

size_t HeaderBytes(const WireHeader& header) {
  return NumberBytes(Signed(header.cluster.value())) + NumberBytes(Signed(header.member.value())) +
         NumberBytes(header.revision.value()) + NumberBytes(Signed(header.term.value()));
}
void PutHeader(std::string& to, const WireHeader& header, size_t bytes) {
  BeginNested(to, 1, bytes);
  PutNumber(to, 1, Signed(header.cluster.value()));
  PutNumber(to, 2, Signed(header.member.value()));
  PutNumber(to, 3, header.revision.value());
  PutNumber(to, 4, Signed(header.term.value()));
}

size_t KeyValueBytes(const engine::KeyValue& kv) {
  return StringBytes(kv.key.view()) + NumberBytes(kv.create_revision.value()) +
         NumberBytes(kv.mod_revision.value()) + NumberBytes(kv.version) +
         StringBytes(kv.value.view()) + NumberBytes(kv.lease.value());
}
void PutKeyValue(std::string& to, const engine::KeyValue& kv, size_t bytes) {
  BeginNested(to, 2, bytes);
  PutString(to, 1, kv.key.view());
  PutNumber(to, 2, kv.create_revision.value());
  PutNumber(to, 3, kv.mod_revision.value());
  PutNumber(to, 4, kv.version);
  PutString(to, 5, kv.value.view());
  PutNumber(to, 6, kv.lease.value());
}

}  // namespace

bool DecodePutWire(std::string_view bytes, engine::PutOp& put) {
  return DecodeFields(bytes, PutField, put);
}

bool DecodeRangeWire(std::string_view bytes, RangeFields& range) {
  return DecodeFields(bytes, RangeField, range);
}

std::string EncodePutWire(const WireHeader& header, const engine::KeyValue* previous) {
  const size_t header_bytes = HeaderBytes(header);
  const size_t previous_bytes = previous == nullptr ? 0 : KeyValueBytes(*previous);
  std::string bytes;
  bytes.reserve(NestedBytes(header_bytes) + NestedBytes(previous_bytes));
  PutHeader(bytes, header, header_bytes);
  if (previous != nullptr) PutKeyValue(bytes, *previous, previous_bytes);
  return bytes;
}

std::string EncodeRangeWire(const WireHeader& header, const engine::RangeResult& result) {
  WireHeader head = header;
  head.revision = result.revision;
  const size_t header_bytes = HeaderBytes(head);
  size_t total = NestedBytes(header_bytes) + NumberBytes(1) + NumberBytes(result.count);
  for (const engine::KeyValue& kv : result.kvs) total += NestedBytes(KeyValueBytes(kv));
  std::string bytes;
  bytes.reserve(total);
  PutHeader(bytes, head, header_bytes);
  for (const engine::KeyValue& kv : result.kvs) PutKeyValue(bytes, kv, KeyValueBytes(kv));
  PutNumber(bytes, 3, result.more ? 1 : 0);
  PutNumber(bytes, 4, result.count);
  return bytes;
}

}  // namespace metastore::server
