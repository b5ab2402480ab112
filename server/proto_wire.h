// Pieces of protocol buffers' encoding, for the messages that are written without protobuf's
// objects. Fields that hold their default are absent.
#pragma once

#include <string>
#include <string_view>

#include "engine/types.h"
#include "io/base/coding.h"
#include "server/kv_wire.h"

namespace metastore::server::wire {

// A field's tag, its number and its wire type: one byte for the numbers up to 15. A longer form of
// the same number has the top bit set and so is none of them.
inline constexpr uint8_t kVarintType = 0;
inline constexpr uint8_t kBytesType = 2;
constexpr uint8_t VarintTag(uint8_t field) {
  return static_cast<uint8_t>(field << 3 | kVarintType);
}
constexpr uint8_t BytesTag(uint8_t field) { return static_cast<uint8_t>(field << 3 | kBytesType); }

inline size_t NumberBytes(int64_t value) {
  return value == 0 ? 0 : 1 + VarintBytes(static_cast<uint64_t>(value));
}
inline size_t StringBytes(std::string_view value) {
  return value.empty() ? 0 : 1 + VarintBytes(value.size()) + value.size();
}
inline void PutNumber(std::string& to, uint8_t field, int64_t value) {
  if (value == 0) return;
  PutU8(to, VarintTag(field));
  PutVarint(to, static_cast<uint64_t>(value));
}
inline void PutString(std::string& to, uint8_t field, std::string_view value) {
  if (value.empty()) return;
  PutU8(to, BytesTag(field));
  PutBytes(to, value);
}
// The start of a nested message of `bytes` bytes; it is there even if it is empty.
inline void BeginNested(std::string& to, uint8_t field, size_t bytes) {
  PutU8(to, BytesTag(field));
  PutVarint(to, bytes);
}
inline size_t NestedBytes(size_t bytes) { return 1 + VarintBytes(bytes) + bytes; }

inline int64_t Signed(uint64_t value) { return static_cast<int64_t>(value); }

// Field 1 of every response; `bytes` is HeaderBytes of it.
inline size_t HeaderBytes(const WireHeader& header) {
  return NumberBytes(Signed(header.cluster.value())) + NumberBytes(Signed(header.member.value())) +
         NumberBytes(header.revision.value()) + NumberBytes(Signed(header.term.value()));
}
inline void PutHeader(std::string& to, const WireHeader& header, size_t bytes) {
  BeginNested(to, 1, bytes);
  PutNumber(to, 1, Signed(header.cluster.value()));
  PutNumber(to, 2, Signed(header.member.value()));
  PutNumber(to, 3, header.revision.value());
  PutNumber(to, 4, Signed(header.term.value()));
}

// An mvccpb.KeyValue as a field; `bytes` is KeyValueBytes of it.
inline size_t KeyValueBytes(const engine::KeyValue& kv) {
  return StringBytes(kv.key.view()) + NumberBytes(kv.create_revision.value()) +
         NumberBytes(kv.mod_revision.value()) + NumberBytes(kv.version) +
         StringBytes(kv.value.view()) + NumberBytes(kv.lease.value());
}
inline void PutKeyValue(std::string& to, uint8_t field, const engine::KeyValue& kv, size_t bytes) {
  BeginNested(to, field, bytes);
  PutString(to, 1, kv.key.view());
  PutNumber(to, 2, kv.create_revision.value());
  PutNumber(to, 3, kv.mod_revision.value());
  PutNumber(to, 4, kv.version);
  PutString(to, 5, kv.value.view());
  PutNumber(to, 6, kv.lease.value());
}

}  // namespace metastore::server::wire
