// Aim: ticks follow the clock, each is given once, and a pause is noticed and not made up for.
// Method: calls at chosen times.
#include <gtest/gtest.h>

#include "server/tick_clock.h"

namespace metastore::server {
namespace {

constexpr Duration kInterval = Milliseconds(100);

MonoTime At(int64_t ms) { return MonoTime{} + Milliseconds(ms); }

TEST(TickClock, GivesNoTickEarlyAndEachOnce) {
  TickClock clock(kInterval, At(0));
  EXPECT_EQ(clock.Take(At(99)).ticks, 0);
  EXPECT_EQ(clock.Take(At(100)).ticks, 1);
  EXPECT_EQ(clock.Take(At(100)).ticks, 0);
  EXPECT_EQ(clock.next(), At(200));
}

TEST(TickClock, KeepsItsScheduleHoweverLateItIsAsked) {
  TickClock clock(kInterval, At(0));
  int ticks = 0;
  for (int64_t ms = 0; ms <= 10'000; ms += 130) ticks += clock.Take(At(ms)).ticks;
  EXPECT_EQ(ticks, 98);  // asked last at 9,880
}

TEST(TickClock, MakesUpForAShortDelayAndSaysNothing) {
  TickClock clock(kInterval, At(0));
  const TickClock::Due due = clock.Take(At(300));
  EXPECT_EQ(due.ticks, 3);
  EXPECT_FALSE(due.paused);
  EXPECT_EQ(clock.next(), At(400));
}

TEST(TickClock, LeavesOutThePauseAndSaysSo) {
  TickClock clock(kInterval, At(0));
  const TickClock::Due due = clock.Take(At(301));
  EXPECT_EQ(due.ticks, 1);
  EXPECT_TRUE(due.paused);
  EXPECT_EQ(clock.next(), At(401));
  EXPECT_FALSE(clock.Take(At(401)).paused);
}

TEST(TickClock, GivesNothingBeforeItIsStarted) {
  TickClock clock;
  EXPECT_EQ(clock.Take(At(1'000'000)).ticks, 0);
  EXPECT_EQ(clock.next(), MonoTime::Max());
}

}  // namespace
}  // namespace metastore::server
