// Fuzz target: bytes as a PutRequest and as a RangeRequest. What the wire decoders accept protobuf
// must accept, with the same fields.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/check.h"
#include "rpc.pb.h"
#include "server/kv_codec.h"
#include "server/kv_wire.h"

namespace metastore::server {
namespace {

void OnePut(std::string_view bytes) {
  engine::PutOp put;
  if (!DecodePutWire(bytes, put)) return;
  etcdserverpb::PutRequest message;
  CHECK(message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  const engine::PutOp oracle = DecodePut(message);
  CHECK(put.key == oracle.key && put.value == oracle.value && put.lease == oracle.lease);
  CHECK(put.prev_kv == oracle.prev_kv && put.ignore_value == oracle.ignore_value &&
        put.ignore_lease == oracle.ignore_lease);
}

void OneRange(std::string_view bytes) {
  RangeFields range;
  if (!DecodeRangeWire(bytes, range)) return;
  etcdserverpb::RangeRequest message;
  CHECK(message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  const RangeFields oracle = FieldsOf(message);
  const engine::RangeOp& a = range.op;
  const engine::RangeOp& b = oracle.op;
  CHECK(a.key == b.key && a.range_end == b.range_end && a.limit == b.limit);
  CHECK(a.revision == b.revision && a.keys_only == b.keys_only && a.count_only == b.count_only);
  CHECK(a.min_mod_revision == b.min_mod_revision && a.max_mod_revision == b.max_mod_revision);
  CHECK(a.min_create_revision == b.min_create_revision &&
        a.max_create_revision == b.max_create_revision);
  CHECK(range.sort_order == oracle.sort_order && range.sort_target == oracle.sort_target &&
        range.serializable == oracle.serializable);
}

}  // namespace
}  // namespace metastore::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  metastore::server::OnePut(bytes);
  metastore::server::OneRange(bytes);
  return 0;
}
