// Aim: what each kind of record does to a group's index, and what the index refuses. Method:
// effects applied one by one, and random ones against a model.
#include "wal/group_log.h"

#include <gtest/gtest.h>

#include "tests/wal/wal_fixture.h"

namespace metastore::wal {
namespace {

class GroupLogTest : public ::testing::Test {
 protected:
  GroupLogTest() {
    for (uint64_t seq = 1; seq <= 3; ++seq) {
      auto added = std::make_unique<Segment>();
      added->seq = SegmentSeq(seq);
      segments.PushBack(std::move(added));
    }
  }
  Status Apply(RecordKind kind, uint64_t term, uint64_t index, uint64_t count = 1,
               std::string_view bytes = "") {
    const Effect effect{.kind = kind,
                        .term = Term(term),
                        .index = LogIndex(index),
                        .count = count,
                        .frame = 0,
                        .bytes = bytes};
    return log.Apply(effect, {segment, Lsn(++lsn)}, segments);
  }
  uint64_t live(uint64_t seq) { return segments.Get(SegmentSeq(seq)).live; }

  SegmentTable segments;
  GroupLog log;
  SegmentSeq segment{1};
  uint64_t lsn = 0;
};

TEST_F(GroupLogTest, EntriesExtendAndOverwrite) {
  ASSERT_TRUE(Apply(RecordKind::kEntry, 1, 1, 5).ok());
  EXPECT_EQ(live(1), 5u);
  segment = SegmentSeq(2);
  ASSERT_TRUE(Apply(RecordKind::kEntry, 2, 3, 1).ok());
  EXPECT_EQ(log.last(), LogIndex(3));
  EXPECT_EQ(live(1), 2u);
  EXPECT_EQ(live(2), 1u);
  EXPECT_EQ(segments.Get(SegmentSeq(1)).drained, Lsn(2));
  EXPECT_EQ(*log.TermAt(LogIndex(3)), Term(2));
}

TEST_F(GroupLogTest, GapsAndPurgedEntriesAreRefused) {
  EXPECT_EQ(Apply(RecordKind::kEntry, 1, 2).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kEntry, 1, 0).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kEntry, 1, 1, 0).code(), StatusCode::kDataLoss);
  ASSERT_TRUE(Apply(RecordKind::kEntry, 1, 1, 5).ok());
  EXPECT_EQ(Apply(RecordKind::kPurge, 1, 6).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kPurge, 9, 3).code(), StatusCode::kDataLoss);
  ASSERT_TRUE(Apply(RecordKind::kPurge, 1, 3).ok());
  EXPECT_EQ(Apply(RecordKind::kPurge, 1, 2).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kEntry, 1, 3).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kTruncate, 0, 3).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kTruncate, 0, 7).code(), StatusCode::kDataLoss);
  EXPECT_EQ(live(1), 2u);
}

TEST_F(GroupLogTest, AMovedEntryKeepsItsPlaceInTheLog) {
  ASSERT_TRUE(Apply(RecordKind::kEntry, 1, 1, 5).ok());
  segment = SegmentSeq(3);
  ASSERT_TRUE(Apply(RecordKind::kRewrite, 1, 2, 2).ok());
  EXPECT_EQ(log.last(), LogIndex(5));
  EXPECT_EQ(live(1), 3u);
  EXPECT_EQ(live(3), 2u);
  EXPECT_EQ(Apply(RecordKind::kRewrite, 2, 2).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kRewrite, 1, 6).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kHealed, 1, 5, 2).code(), StatusCode::kDataLoss);
}

TEST_F(GroupLogTest, RestatedEntriesAreAbsentUntilTheirRewrite) {
  const std::string state = EncodeGroupState(
      {.hard_state = "h", .purged = {Term(2), LogIndex(10)}, .last = LogIndex(13)});
  ASSERT_TRUE(Apply(RecordKind::kGroupState, 0, 13, 1, state).ok());
  EXPECT_EQ(log.absent_count(), 3u);
  EXPECT_EQ(log.first(), LogIndex(11));
  EXPECT_EQ(log.state().hard_state, "h");
  ASSERT_TRUE(Apply(RecordKind::kRewrite, 4, 11).ok());
  EXPECT_EQ(log.first_absent(), LogIndex(12));
  ASSERT_TRUE(Apply(RecordKind::kPurge, 4, 12).ok());
  ASSERT_TRUE(Apply(RecordKind::kRewrite, 5, 13).ok());
  EXPECT_EQ(log.absent_count(), 0u);
  EXPECT_EQ(live(1), 1u);
}

TEST_F(GroupLogTest, AStateThatContradictsTheRecordsIsRefused) {
  ASSERT_TRUE(Apply(RecordKind::kEntry, 1, 1, 5).ok());
  log.next_sequence = 2;
  GroupState state = log.state();
  EXPECT_TRUE(Apply(RecordKind::kGroupState, 0, 5, 1, EncodeGroupState(state)).ok());
  state.last = LogIndex(6);
  EXPECT_EQ(Apply(RecordKind::kGroupState, 0, 5, 1, EncodeGroupState(state)).code(),
            StatusCode::kDataLoss);
  EXPECT_EQ(Apply(RecordKind::kGroupState, 0, 5, 1, "junk").code(), StatusCode::kDataLoss);
  state.last = LogIndex(uint64_t{1} << 40);
  EXPECT_EQ(Apply(RecordKind::kGroupState, 0, 5, 1, EncodeGroupState(state)).code(),
            StatusCode::kDataLoss);
}

TEST(GroupTableTest, AnEntryThatNobodyBroughtIsNamed) {
  SegmentTable segments;
  auto segment = std::make_unique<Segment>();
  segment->seq = SegmentSeq(4);
  segments.PushBack(std::move(segment));
  GroupTable groups;
  const std::string state =
      EncodeGroupState({.purged = {Term(2), LogIndex(10)}, .last = LogIndex(13)});
  const Effect effect{.kind = RecordKind::kGroupState, .bytes = state};
  ASSERT_TRUE(groups.Replay(GroupId(3), 55, effect, {SegmentSeq(4), Lsn(1)}, segments).ok());
  const Status incomplete = groups.CheckComplete();
  EXPECT_EQ(incomplete.code(), StatusCode::kDataLoss);
  EXPECT_EQ(std::string(incomplete.message()), "group 3 lacks entry 11 and 2 more");
}

TEST_F(GroupLogTest, RandomEffectsKeepTheIndexAndTheLiveCounts) {
  Prng prng(9);
  GroupModel model;
  for (int i = 0; i < 3000; ++i) {
    const uint64_t last = model.last().value();
    const uint64_t first = model.purged.index.value() + 1;
    const auto term = static_cast<uint64_t>(i / 10 + 1);
    segment = SegmentSeq(prng.Between(1, 3));
    OwnedRecord record;
    const uint64_t choice = prng.Below(10);
    if (choice < 6) {
      record = Entry(prng.Between(first, last + 1), term, "");
    } else if (choice == 6) {
      record = {RecordKind::kTruncate, Term(), LogIndex(prng.Between(first, last + 1)), ""};
    } else if (choice == 7 && last >= first) {
      const LogIndex index(prng.Between(first, last));
      record = {RecordKind::kPurge, model.entries[index].first, index, ""};
    } else if (choice == 8 && last >= first) {
      const LogIndex index(prng.Between(first, last));
      record = {RecordKind::kRewrite, model.entries[index].first, index, ""};
    } else if (i % 100 == 0) {
      record = {RecordKind::kSnapshotMeta, Term(term), LogIndex(last + 3), "meta"};
    } else {
      record = Entry(last + 1, term, "");
    }
    model.Apply(record);
    ASSERT_TRUE(
        Apply(record.kind, record.term.value(), record.index.value(), 1, record.bytes).ok());
    ASSERT_EQ(log.first(), model.purged.index + 1);
    ASSERT_EQ(log.last(), model.last());
    ASSERT_EQ(live(1) + live(2) + live(3), model.entries.size());
    for (const auto& [index, entry] : model.entries) ASSERT_EQ(*log.TermAt(index), entry.first);
  }
}

}  // namespace
}  // namespace metastore::wal
