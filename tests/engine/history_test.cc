// Aim: history gives every change once, in order, in whole revisions, and listeners hear the same
// (spec 2.7). Method: small histories read in batches of every size, on both engines.
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

class HistoryTest : public EngineTest {
 protected:
  HistoryResult Read(HistoryQuery query) { return box_.Await(box_->History(query)); }
};
MS_ENGINE_SUITE(HistoryTest);

TEST_P(HistoryTest, EventsHaveEtcdsFields) {
  box_.Grant(3);
  box_.Put("a", "1");
  box_.Put("a", "2", LeaseId(3));
  box_.Delete("a");
  const HistoryResult result = box_.History(2);
  ASSERT_EQ(result.events.size(), 3u);
  const Event& put = result.events[1];
  EXPECT_EQ(put.kind, EventKind::kPut);
  EXPECT_EQ(put.kv.key.view(), "a");
  EXPECT_EQ(put.kv.value.view(), "2");
  EXPECT_EQ(put.kv.create_revision, Revision(2));
  EXPECT_EQ(put.kv.mod_revision, Revision(3));
  EXPECT_EQ(put.kv.version, 2);
  EXPECT_EQ(put.kv.lease, LeaseId(3));
  const Event& deletion = result.events[2];
  EXPECT_EQ(deletion.kind, EventKind::kDelete);
  EXPECT_EQ(deletion.kv.key.view(), "a");
  EXPECT_EQ(deletion.kv.mod_revision, Revision(4));
  EXPECT_EQ(deletion.kv.create_revision, Revision(0));
  EXPECT_EQ(deletion.kv.version, 0);
  EXPECT_EQ(deletion.kv.lease, LeaseId(0));
  EXPECT_TRUE(deletion.kv.value.empty());
}

TEST_P(HistoryTest, BatchesAreWholeRevisions) {
  for (int i = 0; i < 10; ++i) {
    box_.Apply(TxnOf({}, {PutOf("a", "1"), PutOf("b", "1"), PutOf("c", "1")}));
  }
  HistoryQuery query;
  query.events_max = 4;
  query.from = Revision(2);
  const HistoryResult first = Read(query);
  EXPECT_EQ(first.events.size(), 6u);
  EXPECT_EQ(first.next, Revision(4));
  EXPECT_EQ(first.current, Revision(11));
  query.events_max = 1;
  query.from = Revision(11);
  EXPECT_EQ(Read(query).events.size(), 3u);
  EXPECT_EQ(Read(query).next, Revision(12));
  query.events_max = 100;
  query.bytes_max = 1;
  query.from = Revision(2);
  EXPECT_EQ(Read(query).next, Revision(3));
}

TEST_P(HistoryTest, FromTheFutureIsEmpty) {
  box_.Put("a", "1");
  const HistoryResult result = box_.History(5);
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_TRUE(result.events.empty());
  EXPECT_EQ(result.next, Revision(5));
}

TEST_P(HistoryTest, CompactedRevisionIsNamed) {
  for (int i = 0; i < 5; ++i) box_.Put("a", "1");
  box_.Compact(4);
  EXPECT_EQ(box_.History(3).outcome, Outcome::kCompacted);
  EXPECT_EQ(box_.History(3).compacted, Revision(4));
  EXPECT_EQ(EngineBox::JoinEvents(box_.History(4)), "4+a 5+a 6+a");
  box_.StartMaintenance();
  EXPECT_EQ(EngineBox::JoinEvents(box_.History(4)), "4+a 5+a 6+a");
}

TEST_P(HistoryTest, FilterIsARange) {
  for (const char* key : {"a", "b", "c", "b"}) box_.Put(key, "1");
  HistoryQuery query;
  query.from = Revision(2);
  query.key = "b";
  EXPECT_EQ(EngineBox::JoinEvents(Read(query)), "3+b 5+b");
  query.range_end = kToEnd;
  EXPECT_EQ(EngineBox::JoinEvents(Read(query)), "3+b 4+c 5+b");
  query.key = "a";
  query.range_end = "b";
  EXPECT_EQ(EngineBox::JoinEvents(Read(query)), "2+a");
  EXPECT_EQ(Read(query).next, Revision(6));
}

TEST_P(HistoryTest, PreviousPairIsAsOfTheRevisionBefore) {
  box_.Put("a", "1");                                               // 2
  box_.Put("a", "2");                                               // 3
  box_.Apply(TxnOf({}, {DeleteOf("a", kToEnd), PutOf("a", "3")}));  // 4
  box_.Delete("a");                                                 // 5
  HistoryQuery query;
  query.from = Revision(2);
  query.prev_kv = true;
  const HistoryResult result = Read(query);
  ASSERT_EQ(result.events.size(), 5u);
  EXPECT_FALSE(result.events[0].previous.has_value());
  EXPECT_EQ(result.events[1].previous->value.view(), "1");
  EXPECT_EQ(result.events[2].previous->value.view(), "2");
  EXPECT_EQ(result.events[3].previous->value.view(), "2");
  EXPECT_EQ(result.events[4].previous->value.view(), "3");
  EXPECT_EQ(result.events[4].previous->mod_revision, Revision(4));
  box_.Compact(3);
  query.from = Revision(3);
  EXPECT_FALSE(Read(query).events[0].previous.has_value());  // revision 2 is compacted
  EXPECT_TRUE(Read(query).events[1].previous.has_value());
}

TEST_P(HistoryTest, LongFilteredHistoryTakesSeveralSteps) {
  for (int i = 0; i < 7000; ++i) box_.Put(i % 1000 == 0 ? "wanted" : "other", "1");
  HistoryQuery query;
  query.from = Revision(1);
  query.key = "wanted";
  EXPECT_EQ(Read(query).events.size(), 7u);
}

class Recorder final : public ChangeListener {
 public:
  void OnChanges(Revision revision, std::span<const Event> events) override {
    for (const Event& event : events) {
      EXPECT_EQ(event.kv.mod_revision, revision);
      heard += Concat(revision.value(), event.kind == EventKind::kPut ? "+" : "-",
                      event.kv.key.view(), " ");
    }
  }
  void OnLeaseGranted(const LeaseInfo& lease) override {
    heard += Concat("grant", lease.id.value(), " ");
  }
  void OnLeaseRevoked(LeaseId lease) override { heard += Concat("revoke", lease.value(), " "); }
  void OnLeaseCheckpointed(const LeaseInfo& lease) override {
    heard += Concat("checkpoint", lease.id.value(), "=", lease.remaining_seconds, " ");
  }
  void OnCompacted(Revision revision) override {
    heard += Concat("compact", revision.value(), " ");
  }
  void OnRestored() override { heard += "restored "; }

  std::string heard;
};

TEST_P(HistoryTest, ListenerHearsEveryAppliedChangeInOrder) {
  Recorder recorder;
  box_.Put("before", "1");
  box_->SetListener(&recorder);
  box_.Grant(5);
  box_.Put("a", "1", LeaseId(5));
  box_.Apply(TxnOf({}, {PutOf("b", "1"), DeleteOf("before")}));
  box_.Delete("nothing");
  box_.Put("x", "1", LeaseId(9));  // refused
  box_.Checkpoint({{LeaseId(5), 7}, {LeaseId(9), 7}});
  box_.Revoke(5);
  box_.Compact(3);
  box_.ApplyBytes("malformed");
  EXPECT_EQ(recorder.heard, "grant5 3+a 4+b 4-before checkpoint5=7 5-a revoke5 compact3 ");
  recorder.heard.clear();
  const std::string stream = box_.Snapshot();
  ASSERT_TRUE(box_.Restore(stream).ok());
  EXPECT_EQ(recorder.heard, "restored ");
  box_->SetListener(nullptr);
}

}  // namespace
}  // namespace metastore::engine
