// Aim: the command format is stable for ever, round trips, and refuses everything malformed without
// harm. Method: golden bytes of each kind, round trips of random commands, truncation at every
// byte, targeted bad values.
#include "engine/command.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "io/base/coding.h"
#include "io/base/limits.h"
#include "io/base/prng.h"

namespace metastore::engine {
namespace {

CommandHeader PlainHeader() {
  CommandHeader header;
  header.request = {.node = NodeId(0x1122334455667788), .boot = 7, .counter = 258};
  return header;
}

Command Of(CommandOp op) {
  Command command;
  command.header = PlainHeader();
  command.op = std::move(op);
  return command;
}

std::string Hex(std::string_view bytes) { return absl::BytesToHexString(AbslView(bytes)); }

constexpr const char* kHeaderTail = "8877665544332211070000000201000000000000";

PutOp SomePut() {
  PutOp put;
  put.key = "key";
  put.value = "value";
  put.lease = LeaseId(-3);
  put.prev_kv = true;
  return put;
}

TxnOp SomeTxn() {
  TxnOp txn;
  Compare number;
  number.result = CompareResult::kLess;
  number.target = CompareTarget::kMod;
  number.key = "a";
  number.number = 5;
  Compare value;
  value.result = CompareResult::kNotEqual;
  value.target = CompareTarget::kValue;
  value.key = "b";
  value.range_end = "c";
  value.value = "v";
  txn.compares = {number, value};
  RangeOp range;
  range.key = "r";
  range.limit = 3;
  range.revision = 9;
  range.sort_order = SortOrder::kDescend;
  range.sort_target = SortTarget::kValue;
  range.keys_only = true;
  range.max_mod_revision = 8;
  DeleteRangeOp deletion;
  deletion.key = "d";
  deletion.range_end = "e";
  txn.success = {Op{range}, Op{SomePut()}, Op{deletion}};
  txn.failure = {Op{TxnOp{}}};
  return txn;
}

struct Golden {
  const char* name;
  CommandOp op;
  std::string hex;  // after the first byte, the format
};

std::vector<Golden> Goldens() {
  const std::string tail = kHeaderTail;
  DeleteRangeOp deletion;
  deletion.key = "a";
  deletion.range_end = "b";
  deletion.prev_kv = true;
  return {
      {"put", SomePut(), "0100" + tail + "0905036b65790576616c7565"},
      {"delete range", deletion, "0200" + tail + "0101610162"},
      {"txn", SomeTxn(),
       "0300" + tail +
           "0202020161000a03030162016301760300050204061200100000017200010905036b65790576" +
           "616c756502000164016501030000" + "00"},
      {"compact", CompactOp{.revision = Revision(300), .physical = true}, "0400" + tail + "01d804"},
      {"lease grant", LeaseGrantOp{.lease = LeaseId(1), .ttl_seconds = 60}, "0500" + tail + "0278"},
      {"lease revoke", LeaseRevokeOp{.lease = LeaseId(2)}, "0600" + tail + "04"},
      {"checkpoint", LeaseCheckpointOp{.checkpoints = {{LeaseId(2), 150}, {LeaseId(-1), 0}}},
       "0700" + tail + "0204ac020100"},
  };
}

TEST(CommandTest, GoldenBytesOfEachKind) {
  for (const Golden& golden : Goldens()) {
    const std::string bytes = EncodeCommand(Of(golden.op));
    EXPECT_EQ(Hex(bytes), "01" + golden.hex) << golden.name;
    const StatusOr<Command> decoded = DecodeCommand(bytes);
    ASSERT_TRUE(decoded.ok()) << golden.name << decoded.status();
    EXPECT_EQ(decoded->kind(), Of(golden.op).kind());
    EXPECT_EQ(decoded->header.request, PlainHeader().request);
    EXPECT_EQ(EncodeCommand(*decoded), bytes) << golden.name;
  }
}

TEST(CommandTest, GoldenHeaderWithUserAndSession) {
  Command command = Of(LeaseRevokeOp{.lease = LeaseId(2)});
  command.header.user = "root";
  command.header.auth_revision = 300;
  command.header.session = 5;
  command.header.sequence = 6;
  const std::string bytes = EncodeCommand(command);
  EXPECT_EQ(Hex(bytes), std::string("010603") + kHeaderTail + "04726f6f74ac02050604");
  const StatusOr<Command> decoded = DecodeCommand(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->header.user, "root");
  EXPECT_EQ(decoded->header.auth_revision, 300u);
  EXPECT_EQ(decoded->header.session, 5u);
  EXPECT_EQ(decoded->header.sequence, 6u);
  const StatusOr<CommandHeader> header = DecodeCommandHeader(bytes);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->request, command.header.request);
  EXPECT_EQ(header->user, "root");
}

TEST(CommandTest, GoldenHeaderOfWhatConcernsLeasesUntilAnIndex) {
  Command command = Of(LeaseRevokeOp{.lease = LeaseId(2)});
  command.header.leases_until = LogIndex(300);
  const std::string bytes = EncodeCommand(command);
  EXPECT_EQ(Hex(bytes), std::string("010604") + kHeaderTail + "ac0204");
  const StatusOr<Command> decoded = DecodeCommand(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->header.leases_until, LogIndex(300));
  EXPECT_EQ(std::get<LeaseRevokeOp>(decoded->op).lease, LeaseId(2));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeCommand(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
  std::string none = EncodeCommand(Of(LeaseRevokeOp{.lease = LeaseId(2)}));
  none[2] = 4;
  none.insert(23, 1, '\0');
  EXPECT_EQ(DecodeCommand(none).status().code(), StatusCode::kInvalidArgument);
}

TEST(CommandTest, FieldsSurvive) {
  const std::string bytes = EncodeCommand(Of(SomeTxn()));
  const StatusOr<Command> decoded = DecodeCommand(bytes);
  ASSERT_TRUE(decoded.ok());
  const auto& txn = std::get<TxnOp>(decoded->op);
  ASSERT_EQ(txn.compares.size(), 2u);
  EXPECT_EQ(txn.compares[0].result, CompareResult::kLess);
  EXPECT_EQ(txn.compares[0].number, 5);
  EXPECT_EQ(txn.compares[1].value, "v");
  EXPECT_EQ(txn.compares[1].range_end, "c");
  const auto& range = std::get<RangeOp>(txn.success[0].op);
  EXPECT_EQ(range.limit, 3);
  EXPECT_EQ(range.revision, 9);
  EXPECT_EQ(range.sort_order, SortOrder::kDescend);
  EXPECT_EQ(range.sort_target, SortTarget::kValue);
  EXPECT_TRUE(range.keys_only);
  EXPECT_FALSE(range.count_only);
  EXPECT_EQ(range.max_mod_revision, 8);
  const auto& put = std::get<PutOp>(txn.success[1].op);
  EXPECT_EQ(put.lease, LeaseId(-3));
  EXPECT_TRUE(put.prev_kv);
  EXPECT_FALSE(put.ignore_value);
  EXPECT_TRUE(std::holds_alternative<TxnOp>(txn.failure[0].op));
}

TEST(CommandTest, FastPutGivesTheSameBytes) {
  Prng prng(1);
  for (int i = 0; i < 200; ++i) {
    const std::string key(prng.Below(200), 'k');
    const std::string value(prng.Below(1000), 'v');
    Command command = Of(PutOp{});
    command.header.request.counter = prng.Next();
    if (i % 3 == 0) command.header.user = "someone";
    PutOp put;
    put.key = key;
    put.value = value;
    put.lease = LeaseId(static_cast<int64_t>(prng.Next()));
    put.ignore_lease = i % 2 == 0;
    command.op = put;
    EXPECT_EQ(EncodePut(command.header, put), EncodeCommand(command));
  }
}

TEST(CommandTest, EveryTruncationIsMalformed) {
  for (const Golden& golden : Goldens()) {
    const std::string bytes = EncodeCommand(Of(golden.op));
    for (size_t size = 0; size < bytes.size(); ++size) {
      const StatusOr<Command> decoded = DecodeCommand(std::string_view(bytes).substr(0, size));
      EXPECT_EQ(decoded.status().code(), StatusCode::kInvalidArgument)
          << golden.name << " " << size;
    }
    EXPECT_EQ(DecodeCommand(bytes + "x").status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(DecodeCommandHeader(bytes.substr(0, 10)).status().code(),
              StatusCode::kInvalidArgument);
  }
}

TEST(CommandTest, UnknownFormatKindAndHeaderFlagsAreUnimplemented) {
  const std::string good = EncodeCommand(Of(SomePut()));
  for (const auto& [at, value] :
       std::vector<std::pair<size_t, char>>{{0, 2}, {1, 0}, {1, 8}, {2, 8}}) {
    std::string bad = good;
    bad[at] = value;
    EXPECT_EQ(DecodeCommand(bad).status().code(), StatusCode::kUnimplemented) << at;
    EXPECT_EQ(DecodeCommandHeader(bad).status().code(), StatusCode::kUnimplemented) << at;
  }
}

TEST(CommandTest, UnknownFlagsAndEnumsAreMalformed) {
  const size_t body = 23;
  std::string put = EncodeCommand(Of(SomePut()));
  put[body] = 16;
  EXPECT_EQ(DecodeCommand(put).status().code(), StatusCode::kInvalidArgument);
  std::string txn = EncodeCommand(Of(SomeTxn()));
  txn[body + 1] = 4;  // compare result
  EXPECT_EQ(DecodeCommand(txn).status().code(), StatusCode::kInvalidArgument);
  txn = EncodeCommand(Of(SomeTxn()));
  txn[body + 2] = 5;  // compare target
  EXPECT_EQ(DecodeCommand(txn).status().code(), StatusCode::kInvalidArgument);
}

TEST(CommandTest, DeepNestingIsRefusedWithoutRecursion) {
  std::string bytes = EncodeCommand(Of(TxnOp{}));
  bytes.resize(23);
  // No compares, one op: a transaction; and so on.
  for (size_t i = 0; i < 100'000; ++i) bytes += std::string("\0\1\3", 3);
  EXPECT_EQ(DecodeCommand(bytes).status().code(), StatusCode::kInvalidArgument);

  TxnOp deepest;
  for (size_t i = 1; i < limits::kTxnDepthMax; ++i) {
    TxnOp outer;
    outer.success.push_back(Op{std::move(deepest)});
    deepest = std::move(outer);
  }
  EXPECT_TRUE(DecodeCommand(EncodeCommand(Of(deepest))).ok());
}

TEST(CommandTest, ClaimedCountsDoNotAllocate) {
  std::string bytes = EncodeCommand(Of(TxnOp{}));
  bytes.resize(23);
  PutVarint(bytes, UINT64_MAX);
  EXPECT_EQ(DecodeCommand(bytes).status().code(), StatusCode::kInvalidArgument);
}

TEST(CommandTest, RandomBytesNeverHarm) {
  Prng prng(3);
  const std::string seed = EncodeCommand(Of(SomeTxn()));
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = seed;
    for (uint64_t flips = prng.Between(1, 4); flips > 0; --flips) {
      bytes[prng.Below(bytes.size())] = static_cast<char>(prng.Next());
    }
    const StatusOr<Command> decoded = DecodeCommand(bytes);
    if (decoded.ok()) EXPECT_TRUE(DecodeCommand(EncodeCommand(*decoded)).ok());
  }
}

}  // namespace
}  // namespace metastore::engine
