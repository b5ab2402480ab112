#include "server/kv_wire.h"

#include "server/proto_wire.h"

namespace metastore::server {
namespace {

using wire::BytesTag;
using wire::HeaderBytes;
using wire::KeyValueBytes;
using wire::NestedBytes;
using wire::NumberBytes;
using wire::PutHeader;
using wire::PutKeyValue;
using wire::PutNumber;
using wire::VarintTag;

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
  if (previous != nullptr) PutKeyValue(bytes, 2, *previous, previous_bytes);
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
  for (const engine::KeyValue& kv : result.kvs) PutKeyValue(bytes, 2, kv, KeyValueBytes(kv));
  PutNumber(bytes, 3, result.more ? 1 : 0);
  PutNumber(bytes, 4, result.count);
  return bytes;
}

}  // namespace metastore::server
