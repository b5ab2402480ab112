// Aim: Range answers as etcd does, with every option and quirk (spec 2.1, 2.2). Method: small
// stores with known revisions, one fact a test, on both engines.
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

class RangeTest : public EngineTest {
 protected:
  // a=1 at revision 2, b=2 at 3, c=3 at 4, b=20 at 5.
  void PutAbc() {
    box_.Put("a", "1");
    box_.Put("b", "2");
    box_.Put("c", "3");
    box_.Put("b", "20");
  }
  static RangeOp All() {
    RangeOp range;
    range.key = kToEnd;
    range.range_end = kToEnd;
    return range;
  }
};
MS_ENGINE_SUITE(RangeTest);

TEST_P(RangeTest, EmptyStoreHasRevisionOne) {
  const RangeResult result = box_.Range("a");
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_EQ(result.revision, Revision(1));
  EXPECT_EQ(result.count, 0);
  EXPECT_TRUE(result.kvs.empty());
}

TEST_P(RangeTest, FirstPutGetsRevisionTwoAndVersionOne) {
  EXPECT_EQ(box_.Put("a", "1").revision, Revision(2));
  const RangeResult result = box_.Range("a");
  ASSERT_EQ(result.kvs.size(), 1u);
  EXPECT_EQ(result.kvs[0].key.view(), "a");
  EXPECT_EQ(result.kvs[0].value.view(), "1");
  EXPECT_EQ(result.kvs[0].create_revision, Revision(2));
  EXPECT_EQ(result.kvs[0].mod_revision, Revision(2));
  EXPECT_EQ(result.kvs[0].version, 1);
  EXPECT_EQ(result.kvs[0].lease, LeaseId(0));
}

TEST_P(RangeTest, EmptyKeyIsRefused) { EXPECT_EQ(box_.Range("").outcome, Outcome::kKeyEmpty); }

TEST_P(RangeTest, RangeEndForms) {
  PutAbc();
  EXPECT_EQ(box_.Keys("a", {}), "a");
  EXPECT_EQ(box_.Keys("a", "c"), "a b");
  EXPECT_EQ(box_.Keys("b", kToEnd), "b c");
  EXPECT_EQ(box_.Keys(kToEnd, kToEnd), "a b c");
  EXPECT_EQ(box_.Keys("c", "a"), "");
  EXPECT_EQ(box_.Keys("b", "b"), "");
}

TEST_P(RangeTest, RevisionReadsThePastAndHeaderIsCurrent) {
  PutAbc();
  const RangeResult result = box_.Range("b", {}, 3);
  ASSERT_EQ(result.kvs.size(), 1u);
  EXPECT_EQ(result.kvs[0].value.view(), "2");
  EXPECT_EQ(result.revision, Revision(5));
  EXPECT_EQ(box_.Get("b", 2), "(none)");
  EXPECT_EQ(box_.Get("b", -1), "20");
}

TEST_P(RangeTest, FutureRevisionIsRefused) {
  PutAbc();
  EXPECT_EQ(box_.Range("a", {}, 6).outcome, Outcome::kFutureRevision);
  EXPECT_EQ(box_.Range("a", "z", 6).outcome, Outcome::kFutureRevision);
}

TEST_P(RangeTest, CompactedRevisionIsRefusedBelowTheFloorOnly) {
  PutAbc();
  box_.Compact(4);
  EXPECT_EQ(box_.Range("a", {}, 3).outcome, Outcome::kCompacted);
  EXPECT_EQ(box_.Range("a", "z", 4).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Get("b", 4), "2");
}

TEST_P(RangeTest, LimitCutsAndCountIgnoresIt) {
  PutAbc();
  RangeOp range = All();
  range.limit = 2;
  const RangeResult cut = box_.Range(range);
  EXPECT_EQ(EngineBox::JoinKeys(cut), "a b");
  EXPECT_TRUE(cut.more);
  EXPECT_EQ(cut.count, 3);
  range.limit = 3;
  EXPECT_FALSE(box_.Range(range).more);
  range.limit = -1;
  EXPECT_EQ(box_.Range(range).kvs.size(), 3u);
}

TEST_P(RangeTest, CountOnlyHasNoPairsAndNoMore) {
  PutAbc();
  RangeOp range = All();
  range.count_only = true;
  range.limit = 1;
  const RangeResult result = box_.Range(range);
  EXPECT_EQ(result.count, 3);
  EXPECT_TRUE(result.kvs.empty());
  EXPECT_FALSE(result.more);
  range.revision = 3;
  EXPECT_EQ(box_.Range(range).count, 2);
  range = {};
  range.key = "a";
  range.count_only = true;
  EXPECT_EQ(box_.Range(range).count, 1);
  EXPECT_TRUE(box_.Range(range).kvs.empty());
}

TEST_P(RangeTest, KeysOnlyStripsValuesAndKeepsTheRest) {
  box_.Grant(9);
  box_.Put("a", "1", LeaseId(9));
  for (const std::string_view end : {std::string_view(), std::string_view("z")}) {
    RangeOp range;
    range.key = "a";
    range.range_end = end;
    range.keys_only = true;
    const RangeResult result = box_.Range(range);
    ASSERT_EQ(result.kvs.size(), 1u);
    EXPECT_TRUE(result.kvs[0].value.empty());
    EXPECT_EQ(result.kvs[0].lease, LeaseId(9));
    EXPECT_EQ(result.kvs[0].mod_revision, Revision(2));
  }
}

TEST_P(RangeTest, FiltersPrunePairsButNotCount) {
  PutAbc();
  RangeOp range = All();
  range.min_mod_revision = 4;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "b c");
  EXPECT_EQ(box_.Range(range).count, 3);
  range.max_mod_revision = 4;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "c");
  range = All();
  range.min_create_revision = 3;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "b c");
  range.max_create_revision = 3;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "b");
  range = {};
  range.key = "a";
  range.min_mod_revision = 3;
  EXPECT_TRUE(box_.Range(range).kvs.empty());
  EXPECT_EQ(box_.Range(range).count, 1);
}

TEST_P(RangeTest, FilterComesBeforeLimit) {
  PutAbc();
  RangeOp range = All();
  range.min_mod_revision = 4;
  range.limit = 1;
  const RangeResult result = box_.Range(range);
  EXPECT_EQ(EngineBox::JoinKeys(result), "b");
  EXPECT_TRUE(result.more);
}

TEST_P(RangeTest, SortsByEveryTargetBothWays) {
  box_.Put("a", "z");  // create 2
  box_.Put("b", "x");  // create 3
  box_.Put("c", "y");  // create 4
  box_.Put("a", "z");
  box_.Put("a", "z");  // version 3, mod 6
  box_.Put("b", "x");  // version 2, mod 7
  const struct {
    SortTarget target;
    const char* ascending;
  } kCases[] = {{SortTarget::kKey, "a b c"},
                {SortTarget::kVersion, "c b a"},
                {SortTarget::kCreate, "a b c"},
                {SortTarget::kMod, "c a b"},
                {SortTarget::kValue, "b c a"}};
  for (const auto& test : kCases) {
    RangeOp range = All();
    range.sort_target = test.target;
    range.sort_order = SortOrder::kAscend;
    EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), test.ascending);
    range.sort_order = SortOrder::kDescend;
    std::string reversed(test.ascending);
    std::reverse(reversed.begin(), reversed.end());
    EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), reversed);
    range.keys_only = true;
    EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), reversed);
    EXPECT_TRUE(box_.Range(range).kvs[0].value.empty());
  }
}

TEST_P(RangeTest, SortTargetWithoutOrderAscends) {
  box_.Put("a", "3");
  box_.Put("b", "1");
  RangeOp range = All();
  range.sort_target = SortTarget::kValue;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "b a");
}

// etcd's quirk: without an explicit order the limit is applied, plus one, before sorting.
TEST_P(RangeTest, SortTargetWithoutOrderCutsBeforeSorting) {
  box_.Put("a", "9");
  box_.Put("b", "8");
  box_.Put("c", "1");
  RangeOp range = All();
  range.sort_target = SortTarget::kValue;
  range.limit = 1;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "b");
  EXPECT_TRUE(box_.Range(range).more);
  range.sort_order = SortOrder::kAscend;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "c");
  range.sort_order = SortOrder::kNone;
  range.max_mod_revision = 100;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Range(range)), "c");
}

TEST_P(RangeTest, ByteBudgetPagesWithoutLossOrRepetition) {
  for (int i = 0; i < 50; ++i) box_.Put(Concat("k", 100 + i), std::string(100, 'v'));
  std::string all;
  std::string from = "k";
  int pages = 0;
  while (!from.empty()) {
    RangeQuery query;
    query.range.key = from;
    query.range.range_end = "l";
    query.bytes_max = 1000;
    query.want_count = false;
    const RangeResult page = box_.Await(box_->Range(query));
    EXPECT_LE(page.kvs.size(), 11u);
    EXPECT_EQ(page.count, 0);
    if (!all.empty()) all += ' ';
    all += EngineBox::JoinKeys(page);
    from = page.resume_key.view();
    ++pages;
  }
  EXPECT_EQ(all, box_.Keys("k", "l"));
  EXPECT_EQ(pages, 5);
}

// Deletes, puts and compacts until `done`, a few changes between two steps of whatever else runs.
io::Task<void> ChangeUntil(EngineBox& box, bool& done, int& rounds) {
  while (!done) {
    box.Delete(Concat("k", 10000 + rounds), Concat("k", 10001 + rounds));
    box.Put(Concat("k", 14000 + rounds), "new");
    box.Put(Concat("k", 14000 + rounds, "x"), "new");
    box.Compact(box.revision());
    ++rounds;
    co_await io::Yield();
  }
}
io::Task<void> RangeInto(EngineBox& box, RangeResult& result, bool& done) {
  RangeQuery query;
  query.range.key = "k";
  query.range.range_end = kToEnd;
  result = co_await box->Range(query);
  done = true;
}

TEST_P(RangeTest, LongRangeSeesOneMomentWhileEntriesAreApplied) {
  for (int i = 0; i < 8000; ++i) box_.Put(Concat("k", 10000 + i), "old");
  box_.StartMaintenance();
  const ReadPin pin = box_->Pin();
  RangeResult result;
  bool done = false;
  int rounds = 0;
  ASSERT_TRUE(
      box_.tasks().gate().Spawn("range", io::ReadyClass::kClient, RangeInto(box_, result, done)));
  // In the background, as a long range goes on: one round a step.
  ASSERT_TRUE(box_.tasks().gate().Spawn("change", io::ReadyClass::kBackground,
                                        ChangeUntil(box_, done, rounds)));
  box_.tasks().RunUntilIdle();
  EXPECT_GE(rounds, 4);
  RangeQuery query;
  query.range = All();
  query.pin = &pin;
  query.at = Position::After(result.revision);
  const RangeResult again = box_.Await(box_->Range(query));
  EXPECT_EQ(EngineBox::JoinKeys(result), EngineBox::JoinKeys(again));
  EXPECT_EQ(result.count, again.count);
  EXPECT_EQ(result.count, static_cast<int64_t>(result.kvs.size()));
  EXPECT_NE(EngineBox::JoinKeys(result), box_.Keys(kToEnd, kToEnd));
}

TEST_P(RangeTest, PinnedPositionIsReadableAfterCompaction) {
  box_.Put("a", "1");
  box_.Put("b", "1");
  box_.StartMaintenance();
  ReadPin pin = box_->Pin();
  const ApplyResult put = box_.Put("a", "2");
  box_.Put("a", "3");
  box_.Delete("b");
  box_.Compact(box_.revision());
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_->stats().removed, Revision(-1));
  for (const std::string_view end : {std::string_view(), std::string_view("z")}) {
    RangeQuery query;
    query.range.key = "a";
    query.range.range_end = end;
    query.pin = &pin;
    query.at = put.op.at;
    const RangeResult result = box_.Await(box_->Range(query));
    ASSERT_EQ(result.outcome, Outcome::kOk);
    ASSERT_GE(result.kvs.size(), 1u);
    EXPECT_EQ(result.kvs[0].value.view(), "1");
    EXPECT_EQ(result.count, end.empty() ? 1 : 2);
  }
  pin = ReadPin();
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_->stats().removed, Revision(6));
}

}  // namespace
}  // namespace metastore::engine
