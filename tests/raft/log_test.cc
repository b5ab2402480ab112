// Aim: the unstable log, the log over it and the tail in memory keep index, term and bytes straight
// through appends, truncations, durability in any order, snapshots and compaction. Method:
// hand-made logs, and a random walk of TailLog beside a plain vector.
#include <gtest/gtest.h>

#include "io/base/prng.h"
#include "raft/raft_log.h"
#include "raft/tail_log.h"

namespace metastore::raft {
namespace {

Entry MakeEntry(uint64_t term, uint64_t index, size_t bytes = 0) {
  return {Term(term), LogIndex(index), EntryType::kNormal, Payload(std::string(bytes, 'x'))};
}

std::vector<Entry> Range(uint64_t term, uint64_t first, uint64_t last, size_t bytes = 0) {
  std::vector<Entry> entries;
  for (uint64_t i = first; i <= last; ++i) entries.push_back(MakeEntry(term, i, bytes));
  return entries;
}

void Append(UnstableLog& log, std::vector<Entry> entries) { log.TruncateAndAppend(entries); }
void Append(RaftLog& log, std::vector<Entry> entries) { log.Append(entries); }
void Append(TailLog& log, std::vector<Entry> entries) { log.Append(entries); }

std::shared_ptr<const SnapshotMeta> Snapshot(uint64_t term, uint64_t index) {
  return std::make_shared<const SnapshotMeta>(SnapshotMeta{{Term(term), LogIndex(index)}, {}});
}

TEST(UnstableLog, HandsOutEachEntryOnceUnlessItIsReplaced) {
  UnstableLog log(LogIndex(5));
  Append(log, Range(1, 5, 7));
  EXPECT_EQ(log.NextEntries().size(), 3u);
  log.AcceptInProgress();
  EXPECT_TRUE(log.NextEntries().empty());
  Append(log, Range(2, 6, 8));
  EXPECT_EQ(log.NextEntries().size(), 3u);
  EXPECT_EQ(log.NextEntries().front().index, LogIndex(6));
  EXPECT_EQ(log.TermAt(LogIndex(5)), Term(1));
  EXPECT_EQ(log.TermAt(LogIndex(6)), Term(2));
}

TEST(UnstableLog, ReplacingADurableSuffixMovesTheBoundaryBack) {
  UnstableLog log(LogIndex(5));
  Append(log, Range(1, 5, 6));
  log.StableTo({Term(1), LogIndex(6)});
  EXPECT_EQ(log.offset(), LogIndex(7));
  Append(log, Range(2, 4, 4));
  EXPECT_EQ(log.offset(), LogIndex(4));
  EXPECT_EQ(log.LastIndex(), LogIndex(4));
}

TEST(UnstableLog, BelievesOnlyWritesOfTheEntriesItHas) {
  // Traps 30 and 31.
  UnstableLog log(LogIndex(5));
  Append(log, Range(1, 5, 7));
  log.AcceptInProgress();
  Append(log, Range(2, 5, 6));
  log.StableTo({Term(1), LogIndex(7)});
  log.StableTo({Term(1), LogIndex(6)});
  EXPECT_EQ(log.offset(), LogIndex(5));
  log.StableTo({Term(2), LogIndex(5)});
  EXPECT_EQ(log.offset(), LogIndex(6));
  log.StableTo({Term(2), LogIndex(5)});
  EXPECT_EQ(log.offset(), LogIndex(6));
  log.StableTo({Term(2), LogIndex(6)});
  EXPECT_TRUE(log.empty());
}

TEST(UnstableLog, KeepsItsPlaceWhenOldEntriesAreDroppedInBulk) {
  UnstableLog log(LogIndex(1));
  uint64_t next = 1;
  for (uint64_t round = 0; round < 50; ++round) {
    Append(log, Range(1, next, next + 9));
    next += 10;
    log.AcceptInProgress();
    if (round >= 2) log.StableTo({Term(1), LogIndex(next - 25)});
    EXPECT_EQ(log.LastIndex(), LogIndex(next - 1));
    EXPECT_EQ(log.entries().front().index, log.offset());
    EXPECT_EQ(log.TermAt(log.offset()), Term(1));
    EXPECT_EQ(log.TermAt(log.offset() - 1), std::nullopt);
  }
}

TEST(UnstableLog, ASnapshotReplacesEverything) {
  UnstableLog log(LogIndex(1));
  Append(log, Range(1, 1, 3));
  log.Restore(Snapshot(2, 10));
  EXPECT_EQ(log.LastIndex(), LogIndex(10));
  EXPECT_EQ(log.FirstIndex(), LogIndex(11));
  EXPECT_EQ(log.TermAt(LogIndex(10)), Term(2));
  ASSERT_NE(log.NextSnapshot(), nullptr);
  log.AcceptInProgress();
  EXPECT_EQ(log.NextSnapshot(), nullptr);
  EXPECT_TRUE(log.has_snapshot());
  log.StableSnapshotTo(LogIndex(9));
  EXPECT_TRUE(log.has_snapshot());
  log.StableSnapshotTo(LogIndex(10));
  EXPECT_FALSE(log.has_snapshot());
}

TEST(UnstableLog, NeverHasAGap) {
  UnstableLog log(LogIndex(1));
  EXPECT_DEATH(Append(log, Range(1, 3, 3)), "CHECK failed");
}

class RaftLogTest : public testing::Test {
 protected:
  // Durable up to 4 (terms 1 1 2 2), unstable 5 and 6 of term 3.
  void SetUp() override {
    Append(view_, Range(1, 1, 2, 10));
    Append(view_, Range(2, 3, 4, 10));
    log_.emplace(view_, RaftLog::Options{});
    log_->Begin(LogIndex(2), LogIndex());
    Append(*log_, Range(3, 5, 6, 10));
  }

  TailLog view_{EntryId{}, SIZE_MAX};
  std::optional<RaftLog> log_;
};

TEST_F(RaftLogTest, SeesTheUnstablePartOverTheDurableOne) {
  EXPECT_EQ(log_->FirstIndex(), LogIndex(1));
  EXPECT_EQ(log_->LastId(), (EntryId{Term(3), LogIndex(6)}));
  EXPECT_EQ(log_->TermAt(LogIndex(0)), Term(0));
  EXPECT_EQ(log_->TermAt(LogIndex(4)), Term(2));
  EXPECT_EQ(log_->TermAt(LogIndex(5)), Term(3));
  EXPECT_EQ(log_->TermAt(LogIndex(7)), std::nullopt);
  std::vector<Entry> entries;
  ASSERT_TRUE(log_->Slice(LogIndex(3), LogIndex(7), SIZE_MAX, entries).ok());
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries.back().index, LogIndex(6));
}

TEST_F(RaftLogTest, SlicesByBytesButAlwaysOneEntry) {
  for (const size_t bytes : {size_t{1}, size_t{42}, size_t{84}, size_t{130}, size_t{1000}}) {
    std::vector<Entry> entries;
    ASSERT_TRUE(log_->Slice(LogIndex(3), LogIndex(7), bytes, entries).ok());
    EXPECT_EQ(entries.size(), std::clamp<size_t>(bytes / 42, 1, 4)) << bytes;
  }
}

TEST_F(RaftLogTest, FindsConflicts) {
  EXPECT_EQ(log_->FindConflict(Range(3, 5, 6)), std::nullopt);
  EXPECT_EQ(log_->FindConflict(Range(3, 5, 7)), LogIndex(7));
  EXPECT_EQ(log_->FindConflict(Range(4, 6, 7)), LogIndex(6));
  EXPECT_EQ(log_->FindConflict({}), std::nullopt);
}

TEST_F(RaftLogTest, FindsWhereALogOfATermCanStillAgree) {
  // Trap 46.
  EXPECT_EQ(log_->FindConflictByTerm(LogIndex(6), Term(3)).index, LogIndex(6));
  EXPECT_EQ(log_->FindConflictByTerm(LogIndex(6), Term(2)).index, LogIndex(4));
  EXPECT_EQ(log_->FindConflictByTerm(LogIndex(6), Term(1)), (EntryId{Term(1), LogIndex(2)}));
  EXPECT_EQ(log_->FindConflictByTerm(LogIndex(6), Term(0)), (EntryId{}));
}

TEST_F(RaftLogTest, NeverTruncatesWhatIsCommitted) {
  // Trap 35.
  EXPECT_DEATH(Append(*log_, Range(4, 2, 2)), "CHECK failed");
}

TEST_F(RaftLogTest, CommitNeverFallsNorPassesTheEnd) {
  log_->CommitTo(LogIndex(1));
  EXPECT_EQ(log_->committed(), LogIndex(2));
  EXPECT_DEATH(log_->CommitTo(LogIndex(7)), "CHECK failed");
}

TEST_F(RaftLogTest, HandsOutForApplyWhatIsCommittedAndDurable) {
  log_->CommitTo(LogIndex(6));
  const std::vector<Entry> entries = log_->TakeNextCommitted();
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_FALSE(log_->HasNextCommitted());
  log_->ApplyDone(LogIndex(4));
  EXPECT_EQ(log_->applied(), LogIndex(4));
  EXPECT_EQ(log_->applied_payload_bytes(), 40u);
  EXPECT_FALSE(log_->HasNextCommitted());
  Append(view_, Range(3, 5, 6));
  log_->unstable().StableTo({Term(3), LogIndex(6)});
  EXPECT_EQ(log_->TakeNextCommitted().size(), 2u);
}

TEST_F(RaftLogTest, AppliesBeforeDurabilityOnlyWhenTold) {
  RaftLog log(view_, {SIZE_MAX, /*apply_before_durable=*/true});
  log.Begin(LogIndex(2), LogIndex());
  Append(log, Range(3, 5, 6));
  log.CommitTo(LogIndex(6));
  EXPECT_EQ(log.TakeNextCommitted().size(), 6u);
}

TEST_F(RaftLogTest, ASnapshotUnderWayHoldsApplyBack) {
  // Trap 21.
  log_->Restore(Snapshot(4, 9));
  EXPECT_EQ(log_->committed(), LogIndex(9));
  EXPECT_FALSE(log_->HasNextCommitted());
  EXPECT_EQ(log_->TermAt(LogIndex(9)), Term(4));
  EXPECT_EQ(log_->FirstIndex(), LogIndex(10));
  EXPECT_EQ(log_->Snapshot(NodeId(1)), std::nullopt);
  log_->AppliedBySnapshot(LogIndex(9));
  EXPECT_EQ(log_->applied(), LogIndex(9));
}

TEST_F(RaftLogTest, CommitIsAtLeastWhatIsApplied) {
  // Trap 6.
  RaftLog log(view_, {});
  log.Begin(LogIndex(1), LogIndex(3));
  EXPECT_EQ(log.committed(), LogIndex(3));
  EXPECT_DEATH(RaftLog(view_, {}).Begin(LogIndex(9), LogIndex(3)), "CHECK failed");
}

TEST(RaftLogFetch, WaitsForEntriesThatAreOnDisk) {
  TailLog view(EntryId{}, 0);
  for (uint64_t i = 1; i <= 4; ++i) view.AppendIdOnly({Term(1), LogIndex(i)});
  RaftLog log(view, {});
  log.Begin(LogIndex(4), LogIndex());
  ASSERT_TRUE(log.HasNextCommitted());
  EXPECT_TRUE(log.TakeNextCommitted().empty());
  EXPECT_FALSE(log.HasNextCommitted());
  const std::optional<TailLog::Wanted> wanted = view.TakeWanted();
  ASSERT_TRUE(wanted.has_value());
  EXPECT_EQ(wanted->begin, LogIndex(1));
  EXPECT_EQ(wanted->end, LogIndex(5));
  EXPECT_EQ(view.TakeWanted(), std::nullopt);
  view.Refill(Range(1, 1, 2));
  log.EntriesFetched();
  EXPECT_EQ(log.TakeNextCommitted().size(), 2u);
}

TEST(TailLog, ASmallerBoundDropsWhatIsAppliedAlready) {
  TailLog log(EntryId{}, SIZE_MAX);
  std::vector<Entry> entries;
  for (uint64_t i = 1; i <= 10; ++i) {
    entries.push_back({.term = Term(1), .index = LogIndex(i), .payload = Payload("0123456789")});
  }
  log.Append(entries);
  log.Retain(LogIndex(7));
  log.SetBytesMax(0);
  EXPECT_EQ(log.tail_begin(), LogIndex(8));
  EXPECT_EQ(log.FirstIndex(), LogIndex(1));
  EXPECT_EQ(log.LastIndex(), LogIndex(10));
}

TEST(TailLog, ForgetsTheOldestEntriesBeyondItsBytesButNotTheirTerms) {
  TailLog log(EntryId{}, 100);
  Append(log, Range(1, 1, 10, 18));  // 50 bytes each
  EXPECT_EQ(log.tail_begin(), LogIndex(1));
  log.Retain(LogIndex(5));
  EXPECT_EQ(log.tail_begin(), LogIndex(6));
  log.Retain(LogIndex(10));
  EXPECT_EQ(log.tail_begin(), LogIndex(9));
  EXPECT_EQ(log.bytes(), 100u);
  EXPECT_EQ(log.TermAt(LogIndex(2)), Term(1));
  std::vector<Entry> out;
  EXPECT_EQ(log.Entries(LogIndex(2), LogIndex(11), SIZE_MAX, out).code(), StatusCode::kUnavailable);
  ASSERT_TRUE(log.Entries(LogIndex(9), LogIndex(11), SIZE_MAX, out).ok());
  EXPECT_EQ(out.size(), 2u);
}

TEST(TailLog, RefusesWhatWasCompactedAway) {
  TailLog log(EntryId{}, SIZE_MAX);
  Append(log, Range(1, 1, 5));
  Append(log, Range(2, 6, 9));
  log.Compact(LogIndex(5));
  log.Compact(LogIndex(3));
  std::vector<Entry> out;
  EXPECT_EQ(log.Entries(LogIndex(5), LogIndex(7), SIZE_MAX, out).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(log.FirstIndex(), LogIndex(6));
  EXPECT_EQ(log.TermAt(LogIndex(5)), Term(1));
  EXPECT_EQ(log.TermAt(LogIndex(6)), Term(2));
  EXPECT_EQ(log.TermAt(LogIndex(4)), std::nullopt);
}

TEST(TailLog, OffersOnlySnapshotsThatHelpTheFollower) {
  TailLog log(EntryId{}, SIZE_MAX);
  EXPECT_EQ(log.Snapshot(NodeId(2)), std::nullopt);
  EXPECT_TRUE(log.TakeSnapshotWanted());
  EXPECT_FALSE(log.TakeSnapshotWanted());
  SnapshotMeta meta{{Term(1), LogIndex(3)}, {{NodeId(1)}, {}, {NodeId(2)}, {}, false}};
  Append(log, Range(1, 1, 5));
  log.SetSnapshot(meta);
  EXPECT_EQ(log.Snapshot(NodeId(2)), meta);
  // A member that came later would refuse it.
  EXPECT_EQ(log.Snapshot(NodeId(3)), std::nullopt);
  EXPECT_TRUE(log.TakeSnapshotWanted());
  // The entries after it are gone.
  log.Compact(LogIndex(4));
  EXPECT_EQ(log.Snapshot(NodeId(2)), std::nullopt);
}

TEST(TailLog, ATaskInstallsItsSnapshotThenItsEntries) {
  TailLog log(EntryId{}, SIZE_MAX);
  Append(log, Range(1, 1, 5));
  AppendTask task;
  task.snapshot = Snapshot(2, 10);
  task.entries = Range(3, 11, 12);
  log.Extend(task);
  EXPECT_EQ(log.FirstIndex(), LogIndex(11));
  EXPECT_EQ(log.LastIndex(), LogIndex(12));
  EXPECT_EQ(log.TermAt(LogIndex(10)), Term(2));
  EXPECT_EQ(log.TermAt(LogIndex(12)), Term(3));
}

TEST(TailLog, NeverHasAGap) {
  TailLog log(EntryId{}, SIZE_MAX);
  EXPECT_DEATH(Append(log, Range(1, 2, 2)), "CHECK failed");
}

TEST(TailLog, AnswersAsAPlainListDoes) {
  Prng prng(1);
  for (int round = 0; round < 200; ++round) {
    TailLog log(EntryId{}, 400);
    std::vector<Entry> plain;  // entry i at i - 1
    LogIndex first(1);
    uint64_t term = 1;
    for (int step = 0; step < 60; ++step) {
      const uint64_t last = plain.size();
      if (prng.Chance(1, 2)) {
        const uint64_t from = std::max(first.value(), last + 1 - std::min(last, prng.Below(4)));
        if (from <= last || prng.Chance(1, 5)) ++term;
        plain.resize(from - 1);
        const std::vector<Entry> more = Range(term, from, from + prng.Below(4), prng.Below(60));
        plain.insert(plain.end(), more.begin(), more.end());
        Append(log, more);
      } else if (prng.Chance(1, 2)) {
        log.Retain(LogIndex(prng.Below(last + 1)));
      } else if (prng.Chance(1, 4)) {
        const LogIndex to(prng.Below(last + 1));
        log.Compact(to);
        first = std::max(first, to + 1);
      }
      ASSERT_EQ(log.FirstIndex(), first);
      ASSERT_EQ(log.LastIndex(), LogIndex(plain.size()));
      for (uint64_t i = first.value(); i <= plain.size(); ++i) {
        ASSERT_EQ(log.TermAt(LogIndex(i)), plain[i - 1].term);
      }
      if (log.tail_begin() > log.LastIndex()) continue;
      std::vector<Entry> out;
      ASSERT_TRUE(log.Entries(log.tail_begin(), log.LastIndex() + 1, SIZE_MAX, out).ok());
      ASSERT_EQ(out.size(), log.LastIndex() + 1 - log.tail_begin());
      for (const Entry& entry : out) ASSERT_EQ(entry.id(), plain[entry.index.value() - 1].id());
    }
  }
}

}  // namespace
}  // namespace metastore::raft
