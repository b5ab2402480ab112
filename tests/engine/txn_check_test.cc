// Aim: a transaction is refused for the same reasons, in the same order, as etcd refuses it
// (spec 2.5). Method: a table of small transactions, each with the answer.
#include "engine/txn_check.h"

#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

Op TxnOpOf(std::vector<Op> success, std::vector<Op> failure = {}) {
  return Op{TxnOf({}, std::move(success), std::move(failure))};
}
Outcome Check(std::vector<Op> success, std::vector<Op> failure = {}, uint64_t ops_max = 128) {
  return CheckTxn(TxnOf({}, std::move(success), std::move(failure)), ops_max);
}

TEST(TxnCheckTest, EmptyIsFine) { EXPECT_EQ(Check({}), Outcome::kOk); }

TEST(TxnCheckTest, TooManyOpsCountsTheLargestPart) {
  const std::vector<Op> two = {PutOf("a", "1"), PutOf("b", "1")};
  EXPECT_EQ(Check(two, two, 2), Outcome::kOk);
  EXPECT_EQ(Check({}, two, 1), Outcome::kTooManyOps);
  const Compare compare = ValueIs("a", CompareResult::kEqual, "");
  EXPECT_EQ(CheckTxn(TxnOf({compare, compare}, {}), 1), Outcome::kTooManyOps);
}

TEST(TxnCheckTest, NestedGetWhatTheParentLeaves) {
  EXPECT_EQ(Check({TxnOpOf({PutOf("a", "")})}, {}, 2), Outcome::kOk);
  EXPECT_EQ(Check({TxnOpOf({PutOf("a", ""), PutOf("b", "")})}, {}, 2), Outcome::kTooManyOps);
}

TEST(TxnCheckTest, EmptyKeysAreRefused) {
  EXPECT_EQ(Check({PutOf("", "")}), Outcome::kKeyEmpty);
  EXPECT_EQ(Check({RangeOf("")}), Outcome::kKeyEmpty);
  EXPECT_EQ(Check({}, {DeleteOf("")}), Outcome::kKeyEmpty);
  EXPECT_EQ(CheckTxn(TxnOf({ValueIs("", CompareResult::kEqual, "")}, {}), 9), Outcome::kKeyEmpty);
}

TEST(TxnCheckTest, PutOptionsContradict) {
  PutOp put;
  put.key = "a";
  put.value = "v";
  put.ignore_value = true;
  EXPECT_EQ(CheckPut(put), Outcome::kValueProvided);
  EXPECT_EQ(Check({Op{put}}), Outcome::kValueProvided);
  put.value = {};
  put.lease = LeaseId(1);
  put.ignore_lease = true;
  EXPECT_EQ(CheckPut(put), Outcome::kLeaseProvided);
  put.lease = LeaseId(0);
  EXPECT_EQ(CheckPut(put), Outcome::kOk);
  put.key = {};
  EXPECT_EQ(CheckPut(put), Outcome::kKeyEmpty);
}

TEST(TxnCheckTest, DuplicateKeys) {
  const struct {
    const char* fact;
    std::vector<Op> ops;
    bool duplicate;
  } kCases[] = {
      {"two puts of a key", {PutOf("a", ""), PutOf("a", "")}, true},
      {"two puts of two keys", {PutOf("a", ""), PutOf("b", "")}, false},
      {"put and delete of a key", {PutOf("a", ""), DeleteOf("a")}, true},
      {"delete before the put too", {DeleteOf("a"), PutOf("a", "")}, true},
      {"put within a deleted range", {PutOf("b", ""), DeleteOf("a", "c")}, true},
      {"put at the end of a deleted range", {PutOf("c", ""), DeleteOf("a", "c")}, false},
      {"put at the begin of a deleted range", {PutOf("a", ""), DeleteOf("a", "c")}, true},
      {"overlapping deletes", {DeleteOf("a", "c"), DeleteOf("b", "d"), DeleteOf("b")}, false},
      {"put between deleted ranges",
       {DeleteOf("a", "b"), DeleteOf("c", "d"), PutOf("bb", "")},
       false},
      {"put in the second of them",
       {DeleteOf("a", "b"), DeleteOf("c", "d"), PutOf("cc", "")},
       true},
      {"an inverted range deletes nothing", {DeleteOf("c", "a"), PutOf("b", "")}, false},
      {"delete to the end is not seen", {DeleteOf("a", kToEnd), PutOf("b", "")}, false},
      {"put above and in a nested one", {PutOf("a", ""), TxnOpOf({PutOf("a", "")})}, true},
      {"both branches of one may put it", {TxnOpOf({PutOf("a", "")}, {PutOf("a", "")})}, false},
      {"two nested ones may not", {TxnOpOf({PutOf("a", "")}), TxnOpOf({}, {PutOf("a", "")})}, true},
      {"deleted above, put in a nested one", {DeleteOf("a"), TxnOpOf({}, {PutOf("a", "")})}, true},
      {"deleted in a nested one, put above", {TxnOpOf({DeleteOf("a", "c")}), PutOf("b", "")}, true},
      {"deleted in one, put in a later one",
       {TxnOpOf({DeleteOf("a")}), TxnOpOf({PutOf("a", "")})},
       true},
      {"put in one, deleted in a later one",
       {TxnOpOf({PutOf("a", "")}), TxnOpOf({DeleteOf("a")})},
       false},
      {"within a nested one alone", {TxnOpOf({PutOf("a", ""), PutOf("a", "")})}, true},
      {"ranges never count", {RangeOf("a", "c"), PutOf("a", ""), RangeOf("a")}, false},
  };
  for (const auto& test : kCases) {
    const Outcome expected = test.duplicate ? Outcome::kDuplicateKey : Outcome::kOk;
    EXPECT_EQ(Check(test.ops), expected) << test.fact;
    EXPECT_EQ(Check({}, test.ops), expected) << test.fact << ", not taken";
    EXPECT_EQ(CheckDuplicateKeys(TxnOf({}, test.ops)), expected) << test.fact;
  }
}

}  // namespace
}  // namespace metastore::engine
