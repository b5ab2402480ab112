// Aim: puts, deletes and the entry itself behave as etcd's (spec 2.1, 2.3, 2.4), and bad entries
// have results, not crashes. Method: one fact a test, on both engines.
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

class PutDeleteTest : public EngineTest {};
MS_ENGINE_SUITE(PutDeleteTest);

TEST_P(PutDeleteTest, PutKeepsCreateAndCountsVersions) {
  box_.Put("a", "1");
  const ApplyResult again = box_.Put("a", "1");
  EXPECT_TRUE(again.op.existed);
  EXPECT_TRUE(again.changed);
  EXPECT_EQ(again.revision, Revision(3));
  const KeyValue kv = box_.Range("a").kvs[0];
  EXPECT_EQ(kv.create_revision, Revision(2));
  EXPECT_EQ(kv.mod_revision, Revision(3));
  EXPECT_EQ(kv.version, 2);
}

TEST_P(PutDeleteTest, DeleteResetsVersionAndCreate) {
  box_.Put("a", "1");
  box_.Put("a", "2");
  const ApplyResult deleted = box_.Delete("a");
  EXPECT_EQ(deleted.op.deleted, 1);
  EXPECT_EQ(deleted.revision, Revision(4));
  EXPECT_EQ(box_.Get("a"), "(none)");
  EXPECT_EQ(box_.Get("a", 3), "2");
  const ApplyResult put = box_.Put("a", "3");
  EXPECT_FALSE(put.op.existed);
  const KeyValue kv = box_.Range("a").kvs[0];
  EXPECT_EQ(kv.create_revision, Revision(5));
  EXPECT_EQ(kv.version, 1);
}

TEST_P(PutDeleteTest, DeleteOfNothingMakesNoRevision) {
  box_.Put("a", "1");
  const ApplyResult result = box_.Delete("b", "z");
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_EQ(result.op.deleted, 0);
  EXPECT_FALSE(result.changed);
  EXPECT_EQ(result.revision, Revision(2));
}

TEST_P(PutDeleteTest, DeleteRangeTakesOneRevision) {
  for (const char* key : {"a", "b", "c", "d"}) box_.Put(key, "v");
  EXPECT_EQ(box_.Delete("b", "d").op.deleted, 2);
  EXPECT_EQ(box_.revision(), 6);
  EXPECT_EQ(box_.Keys(kToEnd, kToEnd), "a d");
  EXPECT_EQ(box_.Delete("a", kToEnd).op.deleted, 2);
  EXPECT_EQ(EngineBox::JoinEvents(box_.History(6)), "6-b 6-c 7-a 7-d");
}

TEST_P(PutDeleteTest, PreviousPairsAreReadAtTheOpsPosition) {
  box_.Put("a", "1");
  box_.Put("b", "2");
  const ReadPin pin = box_->Pin();
  const ApplyResult put = box_.Put("a", "3");
  const ApplyResult deleted = box_.Delete("a", "z");
  RangeQuery query;
  query.range.key = "a";
  query.pin = &pin;
  query.at = put.op.at;
  EXPECT_EQ(box_.Await(box_->Range(query)).kvs[0].value.view(), "1");
  query.range.range_end = "z";
  query.at = deleted.op.at;
  EXPECT_EQ(EngineBox::JoinKeys(box_.Await(box_->Range(query))), "a b");
}

TEST_P(PutDeleteTest, EmptyKeysAreRefused) {
  EXPECT_EQ(box_.Put("", "v").outcome, Outcome::kKeyEmpty);
  EXPECT_EQ(box_.Delete("", "z").outcome, Outcome::kKeyEmpty);
  EXPECT_EQ(box_.revision(), 1);
}

TEST_P(PutDeleteTest, IgnoreValueAndLeaseKeepThem) {
  box_.Grant(5);
  box_.Put("a", "1", LeaseId(5));
  PutOp put;
  put.key = "a";
  put.ignore_value = true;
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kOk);  // keeps the value, detaches the lease
  EXPECT_EQ(box_.Get("a"), "1");
  EXPECT_EQ(box_.Range("a").kvs[0].lease, LeaseId(0));
  box_.Put("a", "2", LeaseId(5));
  put = {};
  put.key = "a";
  put.value = "3";
  put.ignore_lease = true;
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Get("a"), "3");
  EXPECT_EQ(box_.Range("a").kvs[0].lease, LeaseId(5));
  EXPECT_EQ(box_.Range("a").kvs[0].version, 4);
}

TEST_P(PutDeleteTest, IgnoreNeedsAnExistingKeyAndNoContradiction) {
  PutOp put;
  put.key = "a";
  put.ignore_value = true;
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kKeyNotFound);
  put.value = "v";
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kValueProvided);
  put = {};
  put.key = "a";
  put.ignore_lease = true;
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kKeyNotFound);
  put.lease = LeaseId(1);
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kLeaseProvided);
  box_.Put("a", "1");
  box_.Delete("a");
  put.lease = LeaseId(0);
  EXPECT_EQ(box_.Apply(put).outcome, Outcome::kKeyNotFound);
  EXPECT_EQ(box_.revision(), 3);
}

TEST_P(PutDeleteTest, ResultNamesIndexRequestAndKind) {
  const ApplyResult first = box_.Put("a", "1");
  EXPECT_EQ(first.index, LogIndex(1));
  EXPECT_EQ(first.request, (RequestId{.node = NodeId(1), .boot = 1, .counter = 1}));
  EXPECT_EQ(first.kind, OpKind::kPut);
  EXPECT_EQ(first.op.kind, OpResultKind::kPut);
  EXPECT_EQ(box_.Delete("a").request.counter, 2u);
}

TEST_P(PutDeleteTest, EmptyEntryMovesTheAppliedIndexOnly) {
  const ApplyResult result = box_.ApplyBytes({});
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_EQ(result.index, LogIndex(1));
  EXPECT_EQ(box_->stats().applied_index, LogIndex(1));
  EXPECT_EQ(box_.revision(), 1);
}

TEST_P(PutDeleteTest, BadEntriesHaveDeterministicErrors) {
  EXPECT_EQ(box_.ApplyBytes("x").outcome, Outcome::kMalformed);
  EXPECT_EQ(box_.ApplyBytes(std::string("\x02\x01\x00", 3)).outcome, Outcome::kUnsupported);
  std::string command = EncodePut({}, PutOp{});
  command.back() = 5;
  EXPECT_EQ(box_.ApplyBytes(command).outcome, Outcome::kMalformed);
  EXPECT_EQ(box_->stats().applied_index, LogIndex(3));
  EXPECT_EQ(box_.revision(), 1);
  EXPECT_EQ(box_.Put("a", "1").outcome, Outcome::kOk);
}

TEST_P(PutDeleteTest, AGapInTheLogIsABug) {
  EXPECT_DEATH(box_->Apply({.index = LogIndex(2), .command = {}}), "entry.index");
}

TEST_P(PutDeleteTest, EntryOverTheKeyLimitChangesNothing) {
  for (int i = 0; i < 10; ++i) box_.Put(Concat("k", i), "v");
  box_->SetEntryKeysMax(9);
  const ApplyResult refused = box_.Delete("k", "l");
  EXPECT_EQ(refused.outcome, Outcome::kTooManyKeys);
  EXPECT_EQ(box_->stats().keys_count, 10);
  EXPECT_EQ(box_.revision(), 11);
  EXPECT_EQ(box_.Delete("k1", "l").op.deleted, 9);
}

TEST_P(PutDeleteTest, StatsCountKeysVersionsAndBytes) {
  box_.Put("ab", "123");
  box_.Put("ab", "1234");
  box_.Put("c", "");
  const Stats stats = box_->stats();
  EXPECT_EQ(stats.keys_count, 2);
  EXPECT_EQ(stats.versions_count, 3);
  EXPECT_EQ(stats.live_bytes, 2 + 4 + 1 + 2 * kVersionOverheadBytes);
  EXPECT_EQ(stats.stored_bytes, stats.live_bytes + 2 + 3 + kVersionOverheadBytes);
  box_.Delete("ab");
  EXPECT_EQ(box_->stats().live_bytes, 1 + kVersionOverheadBytes);
  EXPECT_EQ(box_->stats().keys_count, 1);
}

TEST_P(PutDeleteTest, PrefetchToleratesEverythingAndChangesNothing) {
  box_.Put("a", "1");
  const uint64_t digest = box_.Digest();
  Command txn;
  txn.op = TxnOf({ValueIs("a", CompareResult::kEqual, "1")}, {});
  Command deletion;
  deletion.op = DeleteRangeOp{.key = "a", .range_end = "b"};
  const std::vector<std::string> commands = {"", "x", EncodePut({}, PutOp{}), EncodeCommand(txn),
                                             EncodeCommand(deletion)};
  std::vector<Entry> batch;
  for (int i = 0; i < 40; ++i) {
    batch.push_back(
        {.index = LogIndex(2), .command = commands[static_cast<size_t>(i) % commands.size()]});
  }
  EXPECT_TRUE(box_.Await(box_->Prefetch(batch)).ok());
  EXPECT_EQ(box_.Digest(), digest);
}

}  // namespace
}  // namespace metastore::engine
