// Aim: compares of read-only transactions hold exactly where etcd's do. Method: tables.

#include <gtest/gtest.h>

#include "server/read_txn.h"

namespace metastore::server {
namespace {

using engine::Compare;
using engine::CompareResult;
using engine::CompareTarget;

engine::KeyValue Pair(int64_t version, std::string_view value) {
  return {.key = io::SharedBytes::Copy("k"),
          .value = io::SharedBytes::Copy(value),
          .create_revision = Revision(10),
          .mod_revision = Revision(20),
          .version = version,
          .lease = LeaseId(7)};
}

TEST(ReadTxn, EachTargetComparesItsOwnField) {
  const engine::KeyValue pairs[] = {Pair(3, "b")};
  const struct {
    CompareTarget target;
    int64_t equal;
  } cases[] = {{CompareTarget::kVersion, 3},
               {CompareTarget::kCreate, 10},
               {CompareTarget::kMod, 20},
               {CompareTarget::kLease, 7}};
  for (const auto& c : cases) {
    const auto holds = [&](CompareResult result, int64_t number) {
      return Holds({.result = result, .target = c.target, .key = "k", .number = number}, pairs);
    };
    EXPECT_TRUE(holds(CompareResult::kEqual, c.equal));
    EXPECT_FALSE(holds(CompareResult::kEqual, c.equal + 1));
    EXPECT_TRUE(holds(CompareResult::kNotEqual, c.equal + 1));
    EXPECT_FALSE(holds(CompareResult::kNotEqual, c.equal));
    EXPECT_TRUE(holds(CompareResult::kGreater, c.equal - 1)) << "stored > given";
    EXPECT_FALSE(holds(CompareResult::kGreater, c.equal));
    EXPECT_TRUE(holds(CompareResult::kLess, c.equal + 1));
    EXPECT_FALSE(holds(CompareResult::kLess, c.equal));
  }
}

TEST(ReadTxn, ValuesCompareBytewise) {
  const engine::KeyValue pairs[] = {Pair(1, "b\xff")};
  const auto holds = [&](CompareResult result, std::string_view value) {
    return Holds({.result = result, .target = CompareTarget::kValue, .key = "k", .value = value},
                 pairs);
  };
  EXPECT_TRUE(holds(CompareResult::kEqual, "b\xff"));
  EXPECT_TRUE(holds(CompareResult::kGreater, "b\x7f")) << "bytes are unsigned";
  EXPECT_TRUE(holds(CompareResult::kLess, "c"));
}

TEST(ReadTxn, AnAbsentKeyIsZeroEverywhereAndHasNoValue) {
  const auto holds = [](CompareTarget target, CompareResult result, int64_t number) {
    return Holds({.result = result, .target = target, .key = "k", .number = number}, {});
  };
  EXPECT_TRUE(holds(CompareTarget::kCreate, CompareResult::kEqual, 0));
  EXPECT_TRUE(holds(CompareTarget::kVersion, CompareResult::kLess, 1));
  EXPECT_FALSE(holds(CompareTarget::kMod, CompareResult::kGreater, 0));
  for (const CompareResult result : {CompareResult::kEqual, CompareResult::kNotEqual,
                                     CompareResult::kGreater, CompareResult::kLess}) {
    EXPECT_FALSE(Holds({.result = result, .target = CompareTarget::kValue, .key = "k"}, {}));
  }
}

TEST(ReadTxn, ARangeCompareMustHoldForEveryKey) {
  const engine::KeyValue pairs[] = {Pair(1, "a"), Pair(2, "a")};
  EXPECT_TRUE(Holds({.result = CompareResult::kGreater, .number = 0}, pairs));
  EXPECT_FALSE(Holds({.result = CompareResult::kGreater, .number = 1}, pairs));
}

TEST(ReadTxn, OnlyRangesMakeATransactionReadOnly) {
  engine::TxnOp txn;
  EXPECT_TRUE(IsReadOnly(txn)) << "compares alone read";
  txn.success.push_back({engine::RangeOp{.key = "k"}});
  EXPECT_TRUE(IsReadOnly(txn));
  txn.failure.push_back({engine::DeleteRangeOp{.key = "k"}});
  EXPECT_FALSE(IsReadOnly(txn));
  engine::TxnOp nesting;
  nesting.success.push_back({engine::TxnOp{}});
  EXPECT_FALSE(IsReadOnly(nesting));
}

}  // namespace
}  // namespace metastore::server
