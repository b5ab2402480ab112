// Aim: transactions behave as etcd's (spec 2.5). Method: one fact a test, on both engines.
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

class TxnTest : public EngineTest {
 protected:
  bool Holds(const Compare& compare) {
    const ApplyResult result = box_.Apply(TxnOf({compare}, {}));
    CHECK(result.outcome == Outcome::kOk);
    return result.op.succeeded;
  }
  bool Holds(CompareTarget target, std::string_view key, CompareResult relation, int64_t number) {
    return Holds(NumberIs(target, key, relation, number));
  }
};
MS_ENGINE_SUITE(TxnTest);

TEST_P(TxnTest, NoComparesHold) {
  EXPECT_TRUE(box_.Apply(TxnOf({}, {PutOf("a", "1")}, {PutOf("a", "2")})).op.succeeded);
  EXPECT_EQ(box_.Get("a"), "1");
}

TEST_P(TxnTest, ComparesOfEveryTargetAndRelation) {
  box_.Grant(7);
  box_.Put("x", "m");
  box_.Put("a", "m");
  box_.Put("a", "m", LeaseId(7));  // create 3, mod 4, version 2
  const struct {
    CompareTarget target;
    int64_t stored;
  } kTargets[] = {{CompareTarget::kVersion, 2},
                  {CompareTarget::kCreate, 3},
                  {CompareTarget::kMod, 4},
                  {CompareTarget::kLease, 7}};
  for (const auto& [target, stored] : kTargets) {
    EXPECT_TRUE(Holds(target, "a", CompareResult::kEqual, stored));
    EXPECT_FALSE(Holds(target, "a", CompareResult::kEqual, stored + 1));
    EXPECT_TRUE(Holds(target, "a", CompareResult::kGreater, stored - 1));
    EXPECT_FALSE(Holds(target, "a", CompareResult::kGreater, stored));
    EXPECT_TRUE(Holds(target, "a", CompareResult::kLess, stored + 1));
    EXPECT_FALSE(Holds(target, "a", CompareResult::kLess, stored));
    EXPECT_TRUE(Holds(target, "a", CompareResult::kNotEqual, stored + 1));
    EXPECT_FALSE(Holds(target, "a", CompareResult::kNotEqual, stored));
  }
  EXPECT_TRUE(Holds(ValueIs("a", CompareResult::kEqual, "m")));
  EXPECT_TRUE(Holds(ValueIs("a", CompareResult::kGreater, "lzz")));
  EXPECT_TRUE(Holds(ValueIs("a", CompareResult::kLess, "ma")));
  EXPECT_TRUE(Holds(ValueIs("a", CompareResult::kNotEqual, "")));
}

TEST_P(TxnTest, AbsentKeyIsZeroEverywhereAndItsValueComparesFalse) {
  box_.Put("gone", "1");
  box_.Delete("gone");
  for (const char* key : {"never", "gone"}) {
    for (const CompareTarget target : {CompareTarget::kVersion, CompareTarget::kCreate,
                                       CompareTarget::kMod, CompareTarget::kLease}) {
      EXPECT_TRUE(Holds(target, key, CompareResult::kEqual, 0));
      EXPECT_TRUE(Holds(target, key, CompareResult::kLess, 1));
      EXPECT_FALSE(Holds(target, key, CompareResult::kGreater, 0));
    }
    for (const CompareResult relation : {CompareResult::kEqual, CompareResult::kGreater,
                                         CompareResult::kLess, CompareResult::kNotEqual}) {
      EXPECT_FALSE(Holds(ValueIs(key, relation, "")));
    }
  }
}

TEST_P(TxnTest, RangeCompareHoldsForEveryKeyOrAsAbsent) {
  box_.Put("a", "v");
  box_.Put("b", "v");
  box_.Put("b", "w");
  Compare compare = NumberIs(CompareTarget::kVersion, "a", CompareResult::kGreater, 0);
  compare.range_end = "c";
  EXPECT_TRUE(Holds(compare));
  compare.number = 1;
  EXPECT_FALSE(Holds(compare));
  compare = ValueIs("a", CompareResult::kEqual, "v");
  compare.range_end = kToEnd;
  EXPECT_FALSE(Holds(compare));
  box_.Delete("b");
  EXPECT_TRUE(Holds(compare));
  compare.key = "x";
  EXPECT_FALSE(Holds(compare));
  compare = NumberIs(CompareTarget::kMod, "x", CompareResult::kEqual, 0);
  compare.range_end = "z";
  EXPECT_TRUE(Holds(compare));
}

TEST_P(TxnTest, ReadOnlyAndEmptyMakeNoRevision) {
  box_.Put("a", "1");
  const ApplyResult result = box_.Apply(TxnOf({}, {RangeOf("a"), DeleteOf("nothing")}));
  EXPECT_FALSE(result.changed);
  EXPECT_EQ(result.revision, Revision(2));
  EXPECT_EQ(result.op.nested[0].revision, Revision(2));
  EXPECT_EQ(box_.Apply(TxnOf({NumberIs(CompareTarget::kVersion, "a", CompareResult::kEqual, 9)},
                             {PutOf("a", "2")}))
                .revision,
            Revision(2));
}

TEST_P(TxnTest, AllOpsShareOneRevisionInSubOrder) {
  box_.Put("c", "0");
  const ApplyResult result =
      box_.Apply(TxnOf({}, {PutOf("b", "1"), DeleteOf("c"), PutOf("a", "2")}));
  EXPECT_EQ(result.revision, Revision(3));
  EXPECT_EQ(EngineBox::JoinEvents(box_.History(3)), "3+b 3-c 3+a");
}

TEST_P(TxnTest, LaterOpsSeeEarlierOnes) {
  box_.Put("a", "old");
  const ReadPin pin = box_->Pin();
  const ApplyResult result =
      box_.Apply(TxnOf({}, {RangeOf("a"), PutOf("a", "new"), RangeOf("a"), DeleteOf("a", kToEnd),
                            RangeOf("a"), RangeOf("a", {}, 2)}));
  ASSERT_EQ(result.outcome, Outcome::kOk);
  const std::vector<OpResult>& ops = result.op.nested;
  EXPECT_TRUE(ops[1].existed);
  EXPECT_EQ(ops[3].deleted, 1);
  const auto read = [&](size_t i) {
    RangeQuery query;
    query.range.key = "a";
    query.pin = &pin;
    query.at = ops[i].at;
    const RangeResult range = box_.Await(box_->Range(query));
    return range.kvs.empty() ? std::string("(none)") : std::string(range.kvs[0].value.view());
  };
  EXPECT_EQ(read(0), "old");
  EXPECT_EQ(read(1), "old");  // prev_kv of the put
  EXPECT_EQ(read(2), "new");
  EXPECT_EQ(read(3), "new");  // prev_kvs of the delete
  EXPECT_EQ(read(4), "(none)");
  EXPECT_EQ(read(5), "old");
  // Headers of sub-answers: the revision before the first change, the new one after.
  EXPECT_EQ(ops[0].revision, Revision(2));
  EXPECT_EQ(ops[1].revision, Revision(3));
  EXPECT_EQ(ops[2].revision, Revision(3));
  EXPECT_EQ(ops[5].revision, Revision(3));
}

TEST_P(TxnTest, NestedComparesReadTheStateBefore) {
  box_.Put("a", "1");
  TxnOp inner = TxnOf({ValueIs("a", CompareResult::kEqual, "1")}, {PutOf("b", "before")},
                      {PutOf("b", "after")});
  const ApplyResult result = box_.Apply(TxnOf({}, {PutOf("a", "2"), Op{inner}}));
  EXPECT_EQ(box_.Get("b"), "before");
  ASSERT_EQ(result.op.nested.size(), 2u);
  EXPECT_EQ(result.op.nested[1].kind, OpResultKind::kTxn);
  EXPECT_TRUE(result.op.nested[1].succeeded);
  EXPECT_EQ(result.op.nested[1].nested.size(), 1u);
}

TEST_P(TxnTest, UntakenNestedTransactionsAreNotDecided) {
  TxnOp inner = TxnOf({}, {PutOf("x", "1", 99)});
  const ApplyResult result = box_.Apply(TxnOf({}, {PutOf("a", "1")}, {Op{inner}}));
  EXPECT_EQ(result.outcome, Outcome::kOk);
}

TEST_P(TxnTest, PreconditionsAbortBeforeAnythingIsDone) {
  box_.Put("a", "1");
  box_.Put("a", "2");
  box_.Compact(3);
  const uint64_t versions = static_cast<uint64_t>(box_->stats().versions_count);
  PutOp ignore;
  ignore.key = "absent";
  ignore.ignore_value = true;
  PutOp both = ignore;
  both.lease = LeaseId(99);
  PutOp bad;
  bad.key = "a";
  bad.value = "v";
  bad.ignore_value = true;
  const struct {
    Op op;
    Outcome outcome;
  } kCases[] = {{PutOf("x", "", 99), Outcome::kLeaseNotFound},
                {Op{ignore}, Outcome::kKeyNotFound},
                {Op{both}, Outcome::kKeyNotFound},  // in a transaction the key comes first
                {Op{bad}, Outcome::kValueProvided},
                {PutOf("", ""), Outcome::kKeyEmpty},
                {DeleteOf(""), Outcome::kKeyEmpty},
                {RangeOf(""), Outcome::kKeyEmpty},
                {RangeOf("a", {}, 4), Outcome::kFutureRevision},
                {RangeOf("a", {}, 2), Outcome::kCompacted}};
  for (const auto& [op, outcome] : kCases) {
    EXPECT_EQ(box_.Apply(TxnOf({}, {PutOf("b", "1"), op})).outcome, outcome);
    EXPECT_EQ(box_.Apply(TxnOf({}, {PutOf("b", "1"), Op{TxnOf({}, {op})}})).outcome, outcome);
  }
  EXPECT_EQ(box_.Apply(TxnOf({}, {RangeOf("a", {}, 3)})).outcome, Outcome::kOk);
  EXPECT_EQ(box_.revision(), 3);
  EXPECT_EQ(static_cast<uint64_t>(box_->stats().versions_count), versions);
}

TEST_P(TxnTest, PutsAreCheckedBeforeRanges) {
  const ApplyResult result = box_.Apply(TxnOf({}, {RangeOf("a", {}, 9), PutOf("x", "", 99)}));
  EXPECT_EQ(result.outcome, Outcome::kLeaseNotFound);
}

// A put of its own looks for the lease first.
TEST_P(TxnTest, PlainPutChecksTheLeaseBeforeTheKey) {
  PutOp put;
  put.key = "absent";
  put.ignore_value = true;
  put.lease = LeaseId(99);
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kLeaseNotFound);
}

TEST_P(TxnTest, DuplicateKeysAreRefusedInBothBranches) {
  const std::vector<Op> twice = {PutOf("a", "1"), PutOf("a", "2")};
  EXPECT_EQ(box_.Apply(TxnOf({}, twice)).outcome, Outcome::kDuplicateKey);
  EXPECT_EQ(box_.Apply(TxnOf({}, {PutOf("b", "1")}, twice)).outcome, Outcome::kDuplicateKey);
  EXPECT_EQ(box_.revision(), 1);
}

// Not caught by the duplicate check, as in etcd: the put sees the delete.
TEST_P(TxnTest, IgnoringPutAfterDeleteToTheEndKeepsNothing) {
  box_.Grant(4);
  box_.Put("a", "1", LeaseId(4));
  PutOp put;
  put.key = "a";
  put.ignore_value = true;
  put.ignore_lease = true;
  const ApplyResult result = box_.Apply(TxnOf({}, {DeleteOf("a", kToEnd), Op{put}}));
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_FALSE(result.op.nested[1].existed);
  const KeyValue kv = box_.Range("a").kvs[0];
  EXPECT_EQ(kv.value.view(), "");
  EXPECT_EQ(kv.lease, LeaseId(0));
  EXPECT_EQ(kv.version, 1);
}

TEST_P(TxnTest, KeyLimitCountsComparesPutsAndDeletes) {
  for (int i = 0; i < 10; ++i) box_.Put(Concat("k", i), "v");
  box_->SetEntryKeysMax(10);
  Compare all = NumberIs(CompareTarget::kVersion, "k", CompareResult::kGreater, 0);
  all.range_end = "l";
  EXPECT_EQ(box_.Apply(TxnOf({all}, {})).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Apply(TxnOf({all}, {PutOf("a", "")})).outcome, Outcome::kTooManyKeys);
  EXPECT_EQ(box_.Apply(TxnOf({}, {DeleteOf("k", "l")})).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Apply(TxnOf({all, all}, {})).outcome, Outcome::kOk);  // nothing is left to compare
}

}  // namespace
}  // namespace metastore::engine
