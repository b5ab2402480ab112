// Aim: digests are equal on equal replicas, whatever each has removed or begun from, stand for one
// moment, and tell by revision where replicas differ. Method: replicas that take the same entries
// by other ways, one entry changed, and digests taken while entries are applied; on both engines.
#include <set>

#include "io/base/prng.h"
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

TEST(DigestRangesTest, EveryRevisionIsInTheSpanOfItsRange) {
  struct Case {
    int64_t revision;
    int64_t compacted;
  };
  for (const auto& [revision, compacted] :
       {Case{1, -1}, Case{1, 0}, Case{2, -1}, Case{31, 1}, Case{33, 2}, Case{500, -1},
        Case{500, 250}, Case{500, 500}, Case{500, 499}, Case{1000, 10}}) {
    SCOPED_TRACE(Concat(revision, " compacted ", compacted));
    const DigestRanges ranges{Revision(revision), Revision(compacted)};
    size_t last = 0;
    for (int64_t at = 1; at <= revision; ++at) {
      const size_t range = ranges.Of(Revision(at));
      EXPECT_GE(range, last) << "they ascend";
      last = range;
      const RevisionSpan span = ranges.Span(range);
      EXPECT_LE(span.first, Revision(at));
      EXPECT_GE(span.last, Revision(at));
    }
    EXPECT_LT(last, kDigestRanges);
    std::set<int64_t> seen;
    for (size_t range = 0; range < kDigestRanges; ++range) {
      const RevisionSpan span = ranges.Span(range);
      for (int64_t at = span.first.value(); at <= span.last.value(); ++at) {
        EXPECT_TRUE(seen.insert(at).second) << at << " is in two";
      }
    }
    EXPECT_EQ(seen.size(), static_cast<size_t>(revision));
  }
}

TEST(DigestRangesTest, WhatNoStateHasIsClamped) {
  const DigestRanges ranges{Revision(100), Revision(50)};
  EXPECT_EQ(ranges.Of(Revision(-5)), 0u);
  EXPECT_EQ(ranges.Of(Revision(INT64_MAX)), ranges.Of(Revision(100)));
}

TEST(DigestRangesTest, HalfIsForWhatIsOlderThanTheFloor) {
  const DigestRanges ranges{Revision(100'000), Revision(99'990)};
  EXPECT_EQ(ranges.Of(Revision(99'989)), kDigestRanges / 2 - 1);
  EXPECT_EQ(ranges.Of(Revision(99'990)), kDigestRanges / 2);
  EXPECT_EQ(ranges.Span(kDigestRanges - 1).first.value(), 99'990 + 15);
  EXPECT_LT(ranges.Span(kDigestRanges - 1).last, ranges.Span(kDigestRanges - 1).first) << "empty";
}

StateDigest TakeDigest(EngineBox& box) {
  const std::unique_ptr<DigestSource> source = box->StartDigest();
  StatusOr<StateDigest> digest = box.Await(source->Take({}));
  CHECK(digest.ok());
  return *digest;
}

class DigestTest : public EngineTest {
 protected:
  // Some hundred entries, always the same; `changed` has one byte of its value changed.
  static void Fill(EngineBox& box, int from, int to, int changed = -1) {
    for (int i = from; i < to; ++i) {
      Prng prng(static_cast<uint64_t>(i) + 1);
      const std::string key = Concat("k", prng.Below(40));
      if (i % 50 == 7) {
        box.Grant(i + 1);
      } else if (prng.Chance(1, 8)) {
        box.Delete(key);
      } else {
        box.Put(key, Concat(i == changed ? "w" : "v", i));
      }
    }
  }
  static std::vector<size_t> Differing(const StateDigest& a, const StateDigest& b) {
    std::vector<size_t> ranges;
    for (size_t i = 0; i < kDigestRanges; ++i) {
      if (a.ranges[i] != b.ranges[i]) ranges.push_back(i);
    }
    return ranges;
  }
};
MS_ENGINE_SUITE(DigestTest);

TEST_P(DigestTest, DoesNotDependOnHowFarRemovalHasCome) {
  EngineBox lazy(GetParam() == EngineKind::kSuspending, 99);
  Fill(box_, 0, 600);
  Fill(lazy, 0, 600);
  EXPECT_EQ(TakeDigest(box_), TakeDigest(lazy));
  box_.StartMaintenance();
  for (const int64_t floor : {100, 250}) {
    box_.Compact(floor);
    lazy.Compact(floor);
    box_.tasks().RunUntilIdle();
    EXPECT_LT(box_->stats().versions_count, lazy->stats().versions_count);
    const StateDigest digest = TakeDigest(box_);
    EXPECT_EQ(digest, TakeDigest(lazy));
    EXPECT_EQ(digest.compacted, Revision(floor));
    EXPECT_EQ(digest.applied_index, box_->stats().applied_index);
  }
}

TEST_P(DigestTest, DoesNotDependOnASnapshotInBetween) {
  EngineBox restored(GetParam() == EngineKind::kSuspending, 99);
  Fill(box_, 0, 300);
  box_.Compact(120);
  ASSERT_TRUE(restored.Restore(box_.Snapshot()).ok());
  EXPECT_EQ(TakeDigest(box_), TakeDigest(restored));
  Fill(box_, 300, 600);
  Fill(restored, 300, 600);
  EXPECT_EQ(TakeDigest(box_), TakeDigest(restored));
}

TEST_P(DigestTest, OneChangedByteShowsInItsRangeAlone) {
  EngineBox other(GetParam() == EngineKind::kSuspending);
  // Neither deleted nor a grant: entry 200 is a put, whose revision is told by its key.
  Fill(box_, 0, 600);
  Fill(other, 0, 600, 200);
  const StateDigest own = TakeDigest(box_);
  const StateDigest theirs = TakeDigest(other);
  const std::vector<size_t> differing = Differing(own, theirs);
  ASSERT_EQ(differing.size(), 1u);
  EXPECT_EQ(own.unversioned, theirs.unversioned);
  const RevisionSpan span = DigestRanges(own.revision, own.compacted).Span(differing.front());
  HistoryQuery query;
  query.from = span.first;
  query.events_max = 1'000'000;
  bool found = false;
  const HistoryResult history = box_.Await(box_->History(query));
  for (const Event& event : history.events) {
    const bool is_it = event.kv.value.view() == "v200";
    found = found || (is_it && event.kv.mod_revision <= span.last);
  }
  EXPECT_TRUE(found);
}

TEST_P(DigestTest, LeasesShowApart) {
  EngineBox other(GetParam() == EngineKind::kSuspending);
  box_.Put("a", "1");
  other.Put("a", "1");
  box_.Grant(5, 60);
  other.Grant(5, 61);
  const StateDigest own = TakeDigest(box_);
  const StateDigest theirs = TakeDigest(other);
  EXPECT_TRUE(Differing(own, theirs).empty());
  EXPECT_NE(own.unversioned, theirs.unversioned);
}

TEST_P(DigestTest, StandsForTheMomentItWasBegunAt) {
  Fill(box_, 0, 400);
  const StateDigest before = TakeDigest(box_);
  box_.StartMaintenance();
  const std::unique_ptr<DigestSource> source = box_->StartDigest();
  std::optional<StatusOr<StateDigest>> taken;
  ASSERT_TRUE(box_.tasks().gate().Spawn("digest", io::ReadyClass::kBackground,
                                        TaskRunner::Store(source->Take({}), taken)));
  // New keys before and behind it, puts, deletes, leases and compactions all the while.
  for (int i = 400; !taken.has_value(); ++i) {
    Fill(box_, i, i + 1);
    box_.Put(Concat("new", i), "1");
    box_.Grant(10'000 + i);
    if (i % 3 == 0) box_.Compact(box_.revision() - 5);
    box_.tasks().scheduler().RunTurn();
  }
  ASSERT_TRUE((*taken).ok()) << (*taken).status();
  EXPECT_EQ(**taken, before);
  EXPECT_NE(TakeDigest(box_), before);
}

TEST_P(DigestTest, EndsWhenToldToAndWhenTheStateIsReplaced) {
  Fill(box_, 0, 400);
  const std::string stream = box_.Snapshot();
  {
    io::StopSource stop;
    const std::unique_ptr<DigestSource> source = box_->StartDigest();
    stop.RequestStop();
    EXPECT_EQ(box_.Await(source->Take(stop.token())).status().code(), StatusCode::kCancelled);
  }
  const std::unique_ptr<DigestSource> source = box_->StartDigest();
  ASSERT_TRUE(box_.Restore(stream).ok());
  EXPECT_EQ(box_.Await(source->Take({})).status().code(), StatusCode::kAborted);
}

}  // namespace
}  // namespace metastore::engine
