// Aim: the wire decoders accept only what protobuf accepts, and read from it what protobuf reads;
// the encoders give protobuf's bytes. Method: protobuf as the oracle, over random messages, over
// random damage to them, and over forms that only strange senders write.

#include "server/kv_wire.h"

#include <gtest/gtest.h>

#include "io/base/coding.h"
#include "io/base/prng.h"
#include "rpc.pb.h"
#include "server/kv_codec.h"

namespace metastore::server {
namespace {

constexpr int64_t kNumbers[] = {0, 1, 2, 127, 128, 16384, -1, INT64_MAX, INT64_MIN};

int64_t Number(Prng& prng) { return kNumbers[prng.Below(std::size(kNumbers))]; }
std::string Bytes(Prng& prng) {
  std::string bytes(prng.Below(3) == 0 ? prng.Below(300) : prng.Below(3), '\0');
  for (char& byte : bytes) byte = static_cast<char>(prng.Next());
  return bytes;
}

etcdserverpb::PutRequest RandomPut(Prng& prng) {
  etcdserverpb::PutRequest put;
  put.set_key(Bytes(prng));
  put.set_value(Bytes(prng));
  put.set_lease(Number(prng));
  put.set_prev_kv(prng.Below(2) == 0);
  put.set_ignore_value(prng.Below(2) == 0);
  put.set_ignore_lease(prng.Below(2) == 0);
  return put;
}

etcdserverpb::RangeRequest RandomRange(Prng& prng) {
  etcdserverpb::RangeRequest range;
  range.set_key(Bytes(prng));
  range.set_range_end(Bytes(prng));
  range.set_limit(Number(prng));
  range.set_revision(Number(prng));
  range.set_sort_order(static_cast<etcdserverpb::RangeRequest::SortOrder>(prng.Below(5)));
  range.set_sort_target(static_cast<etcdserverpb::RangeRequest::SortTarget>(prng.Below(7)));
  range.set_serializable(prng.Below(2) == 0);
  range.set_keys_only(prng.Below(2) == 0);
  range.set_count_only(prng.Below(2) == 0);
  range.set_min_mod_revision(Number(prng));
  range.set_max_mod_revision(Number(prng));
  range.set_min_create_revision(Number(prng));
  range.set_max_create_revision(Number(prng));
  return range;
}

void ExpectSame(const engine::PutOp& wire, const engine::PutOp& oracle) {
  EXPECT_EQ(wire.key, oracle.key);
  EXPECT_EQ(wire.value, oracle.value);
  EXPECT_EQ(wire.lease, oracle.lease);
  EXPECT_EQ(wire.prev_kv, oracle.prev_kv);
  EXPECT_EQ(wire.ignore_value, oracle.ignore_value);
  EXPECT_EQ(wire.ignore_lease, oracle.ignore_lease);
}

void ExpectSame(const RangeFields& wire, const RangeFields& oracle) {
  EXPECT_EQ(wire.op.key, oracle.op.key);
  EXPECT_EQ(wire.op.range_end, oracle.op.range_end);
  EXPECT_EQ(wire.op.limit, oracle.op.limit);
  EXPECT_EQ(wire.op.revision, oracle.op.revision);
  EXPECT_EQ(wire.op.keys_only, oracle.op.keys_only);
  EXPECT_EQ(wire.op.count_only, oracle.op.count_only);
  EXPECT_EQ(wire.op.min_mod_revision, oracle.op.min_mod_revision);
  EXPECT_EQ(wire.op.max_mod_revision, oracle.op.max_mod_revision);
  EXPECT_EQ(wire.op.min_create_revision, oracle.op.min_create_revision);
  EXPECT_EQ(wire.op.max_create_revision, oracle.op.max_create_revision);
  EXPECT_EQ(wire.sort_order, oracle.sort_order);
  EXPECT_EQ(wire.sort_target, oracle.sort_target);
  EXPECT_EQ(wire.serializable, oracle.serializable);
}

// Whether the wire decoders took `bytes`; if so protobuf has to, with the same fields.
bool CheckPut(const std::string& bytes) {
  engine::PutOp put;
  if (!DecodePutWire(bytes, put)) return false;
  etcdserverpb::PutRequest oracle;
  EXPECT_TRUE(oracle.ParseFromString(bytes));
  ExpectSame(put, DecodePut(oracle));
  return true;
}

bool CheckRange(const std::string& bytes) {
  RangeFields range;
  if (!DecodeRangeWire(bytes, range)) return false;
  etcdserverpb::RangeRequest oracle;
  EXPECT_TRUE(oracle.ParseFromString(bytes));
  ExpectSame(range, FieldsOf(oracle));
  return true;
}

void Damage(Prng& prng, std::string& bytes) {
  if (bytes.empty()) return;
  const size_t at = prng.Below(bytes.size());
  switch (prng.Below(4)) {
    case 0:
      bytes[at] = static_cast<char>(prng.Next());
      return;
    case 1:
      bytes.resize(at);
      return;
    case 2:
      bytes.insert(at, 1, static_cast<char>(prng.Next()));
      return;
    default:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << prng.Below(8)));
  }
}

TEST(KvWire, WhatClientsSendIsDecodedAsProtobufDoes) {
  Prng prng(1);
  for (int i = 0; i < 2000; ++i) {
    EXPECT_TRUE(CheckPut(RandomPut(prng).SerializeAsString()));
    EXPECT_TRUE(CheckRange(RandomRange(prng).SerializeAsString()));
  }
}

TEST(KvWire, TheLastOfRepeatedFieldsCounts) {
  Prng prng(2);
  for (int i = 0; i < 500; ++i) {
    EXPECT_TRUE(
        CheckPut(RandomPut(prng).SerializeAsString() + RandomPut(prng).SerializeAsString()));
    EXPECT_TRUE(
        CheckRange(RandomRange(prng).SerializeAsString() + RandomRange(prng).SerializeAsString()));
  }
}

TEST(KvWire, DamageIsNeverAcceptedWhereProtobufRefusesIt) {
  Prng prng(3);
  size_t taken = 0;
  size_t left = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string put = RandomPut(prng).SerializeAsString();
    std::string range = RandomRange(prng).SerializeAsString();
    for (uint64_t n = prng.Below(3); n < 3; ++n) Damage(prng, put);
    for (uint64_t n = prng.Below(3); n < 3; ++n) Damage(prng, range);
    ++(CheckPut(put) ? taken : left);
    ++(CheckRange(range) ? taken : left);
  }
  EXPECT_GT(taken, 1000u);  // else the damage is no test
  EXPECT_GT(left, 1000u);
}

TEST(KvWire, StrangeFormsAreLeftToProtobuf) {
  const std::string cases[] = {
      std::string("\x8a\x00\x01k", 4),                                      // tag 1 in two bytes
      std::string("\x0a\x81\x80\x80\x80\x80\x00k", 8),                      // length in six bytes
      std::string("\x0a\x05k", 3),                                          // length beyond the end
      std::string("\x0b\x0c", 2),                                           // a group
      std::string("\x08\x01", 2),                                           // key as a number
      std::string("\x7a\x01x", 3),                                          // unknown field
      std::string("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),  // eleven bytes
  };
  for (const std::string& bytes : cases) {
    engine::PutOp put;
    RangeFields range;
    EXPECT_FALSE(DecodePutWire(bytes, put)) << testing::PrintToString(bytes);
    EXPECT_FALSE(DecodeRangeWire(bytes, range)) << testing::PrintToString(bytes);
  }
}

// `value` in `length` bytes, which may be more than it needs.
std::string Varint(uint64_t value, size_t length) {
  std::string bytes;
  for (size_t i = 0; i < length; ++i, value >>= 7)
    bytes.push_back(static_cast<char>((value & 0x7f) | (i + 1 < length ? 0x80 : 0)));
  return bytes;
}

TEST(KvWire, NumbersOfEveryLengthAreReadAsProtobufDoes) {
  constexpr uint64_t kValues[] = {
      0, 1, 2, uint64_t{1} << 31, 1ULL << 32, (1ULL << 32) + 1, 1ULL << 63, UINT64_MAX};
  for (const uint64_t value : kValues) {
    for (size_t length = VarintBytes(value); length <= kVarintBytesMax; ++length) {
      for (uint8_t field = 3; field <= 13; ++field) {
        const std::string bytes =
            "\x0a\x01k" + std::string(1, static_cast<char>(field << 3)) + Varint(value, length);
        EXPECT_EQ(CheckPut(bytes), field <= 6) << int{field} << " " << value << " " << length;
        EXPECT_TRUE(CheckRange(bytes)) << int{field} << " " << value << " " << length;
      }
    }
  }
}

engine::KeyValue RandomKeyValue(Prng& prng) {
  return {.key = io::SharedBytes::Copy(Bytes(prng)),
          .value = io::SharedBytes::Copy(Bytes(prng)),
          .create_revision = Revision(Number(prng)),
          .mod_revision = Revision(Number(prng)),
          .version = Number(prng),
          .lease = LeaseId(Number(prng))};
}

void Fill(const engine::KeyValue& kv, mvccpb::KeyValue& to) {
  to.set_key(std::string(kv.key.view()));
  to.set_value(std::string(kv.value.view()));
  to.set_create_revision(kv.create_revision.value());
  to.set_mod_revision(kv.mod_revision.value());
  to.set_version(kv.version);
  to.set_lease(kv.lease.value());
}

void Fill(const WireHeader& header, Revision revision, etcdserverpb::ResponseHeader& to) {
  to.set_cluster_id(header.cluster.value());
  to.set_member_id(header.member.value());
  to.set_revision(revision.value());
  to.set_raft_term(header.term.value());
}

WireHeader RandomHeader(Prng& prng) {
  return {.cluster = ClusterId(static_cast<uint64_t>(Number(prng))),
          .member = NodeId(static_cast<uint64_t>(Number(prng))),
          .revision = Revision(Number(prng)),
          .term = Term(static_cast<uint64_t>(Number(prng)))};
}

TEST(KvWire, PutResponsesHaveProtobufsBytes) {
  Prng prng(4);
  for (int i = 0; i < 1000; ++i) {
    const WireHeader header = RandomHeader(prng);
    const engine::KeyValue previous = RandomKeyValue(prng);
    const bool with_previous = prng.Below(2) == 0;
    etcdserverpb::PutResponse oracle;
    Fill(header, header.revision, *oracle.mutable_header());
    if (with_previous) Fill(previous, *oracle.mutable_prev_kv());
    EXPECT_EQ(EncodePutWire(header, with_previous ? &previous : nullptr),
              oracle.SerializeAsString());
  }
}

TEST(KvWire, RangeResponsesHaveProtobufsBytes) {
  Prng prng(5);
  for (int i = 0; i < 500; ++i) {
    const WireHeader header = RandomHeader(prng);
    engine::RangeResult result{
        .revision = Revision(Number(prng)), .more = prng.Below(2) == 0, .count = Number(prng)};
    etcdserverpb::RangeResponse oracle;
    Fill(header, result.revision, *oracle.mutable_header());
    for (uint64_t n = prng.Below(4); n > 0; --n) {
      result.kvs.push_back(RandomKeyValue(prng));
      Fill(result.kvs.back(), *oracle.add_kvs());
    }
    oracle.set_more(result.more);
    oracle.set_count(result.count);
    EXPECT_EQ(EncodeRangeWire(header, result), oracle.SerializeAsString());
  }
}

}  // namespace
}  // namespace metastore::server
