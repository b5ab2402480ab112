// Aim: compaction hides and removes what etcd's does, no more and no less (spec 2.6), in bounded
// steps and without taking what a pin holds. Method: small histories, versions counted before and
// after removal, on both engines.
#include "io/base/prng.h"
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

class CompactionTest : public EngineTest {
 protected:
  int64_t Versions() const { return box_versions(); }
  int64_t box_versions() const { return const_cast<EngineBox&>(box_)->stats().versions_count; }
};
MS_ENGINE_SUITE(CompactionTest);

TEST_P(CompactionTest, RevisionsOutOfBoundsAreRefused) {
  box_.Put("a", "1");
  EXPECT_EQ(box_->stats().compacted, Revision(-1));
  EXPECT_EQ(box_.Compact(3).outcome, Outcome::kFutureRevision);
  EXPECT_EQ(box_.Compact(-1).outcome, Outcome::kCompacted);
  EXPECT_EQ(box_.Compact(2).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Compact(2).outcome, Outcome::kCompacted);
  EXPECT_EQ(box_.Compact(1).outcome, Outcome::kCompacted);
  EXPECT_EQ(box_.revision(), 2);
  EXPECT_EQ(box_->stats().compacted, Revision(2));
}

TEST_P(CompactionTest, ZeroMayBeCompactedOnce) {
  EXPECT_EQ(box_.Compact(0).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Compact(0).outcome, Outcome::kCompacted);
}

TEST_P(CompactionTest, KeepsTheNewestVersionAtOrBelowTheRevision) {
  box_.StartMaintenance();
  for (int i = 0; i < 5; ++i) box_.Put("a", Concat(i));  // revisions 2..6
  box_.Put("b", "x");                                    // 7
  EXPECT_EQ(box_.Compact(4).outcome, Outcome::kOk);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(Versions(), 4);  // a at 4, 5, 6; b
  EXPECT_EQ(box_->stats().removed, Revision(4));
  EXPECT_EQ(box_.Get("a", 4), "2");
  EXPECT_EQ(box_.Get("a", 5), "3");
  EXPECT_EQ(box_.Range("a", {}, 3).outcome, Outcome::kCompacted);
}

TEST_P(CompactionTest, OldVersionOfAnUntouchedKeyStays) {
  box_.StartMaintenance();
  box_.Put("a", "1");
  for (int i = 0; i < 5; ++i) box_.Put("b", "x");
  box_.Compact(6);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_.Get("a", 6), "1");
  EXPECT_EQ(Versions(), 3);
  box_.Put("a", "2");
  box_.Compact(8);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(Versions(), 2);
  EXPECT_EQ(box_.Get("a"), "2");
}

TEST_P(CompactionTest, DeletedKeyVanishesButADeleteAtTheRevisionStays) {
  box_.StartMaintenance();
  box_.Put("a", "1");  // 2
  box_.Delete("a");    // 3
  box_.Put("b", "1");  // 4
  box_.Compact(3);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(Versions(), 2);  // the delete itself is kept for a watch from 3 on
  EXPECT_EQ(EngineBox::JoinEvents(box_.History(3)), "3-a 4+b");
  box_.Compact(4);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(Versions(), 1);
  EXPECT_EQ(box_.Get("a"), "(none)");
  EXPECT_EQ(box_->stats().stored_bytes, 2 + kVersionOverheadBytes);
}

TEST_P(CompactionTest, DeleteBelowANewerVersionGoesWithIt) {
  box_.StartMaintenance();
  box_.Put("a", "1");  // 2
  box_.Delete("a");    // 3
  box_.Put("b", "");   // 4
  box_.Put("a", "2");  // 5
  box_.Compact(4);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_.Get("a", 4), "(none)");
  EXPECT_EQ(box_.Get("a"), "2");
  EXPECT_EQ(box_.Range("a").kvs[0].version, 1);
  box_.Compact(5);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(Versions(), 2);
  EXPECT_EQ(box_.Get("a"), "2");
}

TEST_P(CompactionTest, KeyDeletedAndPutAgainAfterRemovalBeginsAnew) {
  box_.StartMaintenance();
  box_.Put("a", "1");
  box_.Delete("a");
  box_.Put("b", "");
  box_.Compact(4);
  box_.tasks().RunUntilIdle();
  box_.Put("a", "2");
  EXPECT_EQ(box_.Range("a").kvs[0].create_revision, Revision(5));
  EXPECT_EQ(box_.Keys(kToEnd, kToEnd), "a b");
}

TEST_P(CompactionTest, PhysicalWaitEndsWhenEverythingIsRemoved) {
  for (int i = 0; i < 5000; ++i) box_.Put("a", "v");
  box_.Compact(box_.revision());
  std::optional<io::WaitResult> result;
  ASSERT_TRUE(box_.tasks().gate().Spawn(
      "wait", io::ReadyClass::kClient,
      TaskRunner::Store(box_->WaitRemoved(Revision(box_.revision()), {}), result)));
  box_.tasks().RunUntilIdle();
  EXPECT_FALSE(result.has_value());
  box_.StartMaintenance();
  EXPECT_EQ(result, io::WaitResult::kNotified);
  EXPECT_EQ(Versions(), 1);
}

TEST_P(CompactionTest, WaitEndsWithItsStopToken) {
  box_.Put("a", "v");
  box_.Compact(2);
  io::StopSource stop;
  std::optional<io::WaitResult> result;
  ASSERT_TRUE(box_.tasks().gate().Spawn(
      "wait", io::ReadyClass::kClient,
      TaskRunner::Store(box_->WaitRemoved(Revision(2), {.stop = stop.token()}), result)));
  box_.tasks().RunUntilIdle();
  stop.RequestStop();
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(result, io::WaitResult::kStopped);
}

TEST_P(CompactionTest, RemovalWaitsForTheOldestPin) {
  box_.StartMaintenance();
  for (int i = 0; i < 10; ++i) box_.Put("a", Concat(i));  // 2..11
  ReadPin early = box_->Pin();
  box_.Compact(5);
  ReadPin late = box_->Pin();
  box_.Compact(8);
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(Versions(), 10);
  early = ReadPin();
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_->stats().removed, Revision(5));
  EXPECT_EQ(Versions(), 7);
  late = ReadPin();
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_->stats().removed, Revision(8));
  EXPECT_EQ(Versions(), 4);
}

TEST_P(CompactionTest, HashOfKeptVersionsDoesNotDependOnRemoval) {
  Prng prng(4);
  for (int i = 0; i < 300; ++i) {
    const std::string key = Concat("k", prng.Below(20));
    if (prng.Chance(1, 4)) {
      box_.Delete(key);
    } else {
      box_.Put(key, Concat(i));
    }
  }
  const int64_t at = box_.revision() - 50;
  box_.Compact(at);
  const HashResult before = box_.HashKv(at + 10);
  const HashResult current = box_.HashKv(0);
  const int64_t versions = Versions();
  box_.StartMaintenance();
  EXPECT_LT(Versions(), versions);
  EXPECT_EQ(box_.HashKv(at + 10).hash, before.hash);
  EXPECT_EQ(box_.HashKv(0).hash, current.hash);
  EXPECT_NE(before.hash, current.hash);
  EXPECT_EQ(current.hash_revision, Revision(box_.revision()));
  EXPECT_EQ(current.compacted, Revision(at));
  EXPECT_EQ(box_.HashKv(at - 1).outcome, Outcome::kCompacted);
  EXPECT_EQ(box_.HashKv(box_.revision() + 1).outcome, Outcome::kFutureRevision);
}

}  // namespace
}  // namespace metastore::engine
