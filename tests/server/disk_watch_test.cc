// Aim: a stalled or full disk costs a member its leadership exactly where another can take it, and
// not for a moment's trouble. Method: looks tick by tick, with an election timeout of 1 s.
#include <gtest/gtest.h>

#include <functional>

#include "server/disk_watch.h"

namespace metastore::server {
namespace {

constexpr Duration kTimeout = Seconds(1);
constexpr Duration kTick = Milliseconds(100);

class DiskWatchTest : public testing::Test {
 protected:
  DiskVerdict Look() {
    look_.now = look_.now + kTick;
    return watch_.Look(look_);
  }
  // Looks for so long; counts the actions of a kind.
  int Count(DiskAction action, Duration span) {
    int count = 0;
    for (const MonoTime end = look_.now + span; look_.now < end;) {
      const DiskVerdict verdict = Look();
      last_ = verdict;
      count += verdict.action == action ? 1 : 0;
    }
    return count;
  }
  bool MayLeadAfter(Duration span) {
    Count(DiskAction::kNone, span);
    return last_.may_lead;
  }

  DiskWatch watch_{kTimeout};
  DiskLook look_{.now = MonoTime{} + Seconds(100), .leads = true, .leader_known = true};
  DiskVerdict last_;
};

TEST_F(DiskWatchTest, AQuickDiskLeads) {
  look_.flush_age = Milliseconds(499);
  EXPECT_EQ(Count(DiskAction::kNone, Seconds(5)), 50);
  EXPECT_TRUE(last_.may_lead);
}

TEST_F(DiskWatchTest, AStallIsOfferedOnceAndEndsInSteppingDown) {
  look_.flush_age = Milliseconds(500);
  EXPECT_EQ(Count(DiskAction::kOfferStalled, Seconds(3)), 1);
  EXPECT_FALSE(last_.may_lead);
  look_.flush_age = kTimeout;
  EXPECT_EQ(Look().action, DiskAction::kStepDown);
}

TEST_F(DiskWatchTest, OnlyCalmMakesALeaderAgain) {
  look_.flush_age = Milliseconds(500);
  Look();
  look_.leads = false;
  look_.flush_age = Duration();
  EXPECT_FALSE(MayLeadAfter(DiskWatch::kCalm - kTick));
  EXPECT_TRUE(MayLeadAfter(kTick));
}

TEST_F(DiskWatchTest, AMomentWithoutRoomIsNotFull) {
  look_.full = true;
  EXPECT_EQ(Count(DiskAction::kOfferFull, Milliseconds(500)), 0);
  look_.full = false;
  EXPECT_EQ(Count(DiskAction::kOfferFull, Seconds(20)), 0);
}

TEST_F(DiskWatchTest, AFullLeaderAsksOneAfterAnotherEverMoreRarelyAndNeverStepsDown) {
  look_.full = true;
  EXPECT_EQ(Count(DiskAction::kOfferFull, Milliseconds(600)), 1);
  EXPECT_EQ(last_.attempt, 0u);
  EXPECT_EQ(Count(DiskAction::kOfferFull, Seconds(2)), 1);
  EXPECT_EQ(last_.attempt, 1u);
  EXPECT_EQ(Count(DiskAction::kOfferFull, Seconds(4)), 1);
  EXPECT_EQ(Count(DiskAction::kOfferFull, Seconds(64)), 3);  // after 8, 16 and 32 s more
  EXPECT_EQ(Count(DiskAction::kStepDown, Seconds(600)), 0);
}

TEST_F(DiskWatchTest, AFullFollowerDoesNotLeadUntilItsDiskHasBeenCalm) {
  look_.leads = false;
  look_.full = true;
  EXPECT_FALSE(MayLeadAfter(kTick));
  EXPECT_FALSE(MayLeadAfter(Seconds(600)));
  look_.full = false;
  EXPECT_FALSE(MayLeadAfter(DiskWatch::kCalm - kTick));
  EXPECT_TRUE(MayLeadAfter(kTick));
}

TEST_F(DiskWatchTest, AFullMemberLeadsWhereNobodyElseDoes) {
  look_.leads = look_.leader_known = false;
  look_.full = true;
  EXPECT_FALSE(MayLeadAfter(kTimeout * DiskWatch::kLeaderless));
  EXPECT_TRUE(MayLeadAfter(kTick));
  look_.leader_known = true;
  EXPECT_FALSE(MayLeadAfter(kTick));
  look_.leader_known = false;
  look_.flush_age = kTimeout;  // a stalled one never does
  EXPECT_FALSE(MayLeadAfter(Seconds(60)));
}

TEST_F(DiskWatchTest, AMemberAloneIsLeftInPeace) {
  look_.alone = true;
  look_.full = true;
  look_.flush_age = Seconds(10);
  EXPECT_EQ(Count(DiskAction::kNone, Seconds(60)), 600);
  EXPECT_TRUE(last_.may_lead);
}

}  // namespace
}  // namespace metastore::server
