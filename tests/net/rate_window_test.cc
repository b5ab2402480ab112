// Aim: a rate is of the last ten whole seconds, whenever it is asked and however rarely anything is
// counted. Method: counts at given times.
#include "net/rate_window.h"

#include <gtest/gtest.h>

namespace metastore::net {
namespace {

MonoTime At(int64_t ms) { return MonoTime{} + Milliseconds(ms); }

TEST(RateWindow, NothingCountedIsNoRate) {
  const RateWindow window;
  EXPECT_EQ(window.PerSecond(MonoTime{}), 0);
  EXPECT_EQ(window.PerSecond(At(123'456)), 0);
}

TEST(RateWindow, TheSecondUnderWayDoesNotCount) {
  RateWindow window;
  window.Count(At(20'000), 30);
  window.Count(At(20'999), 20);
  EXPECT_EQ(window.PerSecond(At(20'999)), 0);
  EXPECT_EQ(window.PerSecond(At(21'000)), 5);
}

TEST(RateWindow, ASecondLeavesAfterTen) {
  RateWindow window;
  window.Count(At(20'500), 40);
  window.Count(At(25'500), 60);
  EXPECT_EQ(window.PerSecond(At(30'999)), 10);
  EXPECT_EQ(window.PerSecond(At(31'000)), 6);
  EXPECT_EQ(window.PerSecond(At(35'999)), 6);
  EXPECT_EQ(window.PerSecond(At(36'000)), 0);
  EXPECT_EQ(window.PerSecond(At(1'000'000)), 0);
}

TEST(RateWindow, ASteadyRateIsSeenAsIs) {
  RateWindow window;
  for (int64_t ms = 0; ms < 60'000; ms += 10) window.Count(At(ms), 3);
  EXPECT_EQ(window.PerSecond(At(60'000)), 300);
}

// A place used eleven seconds before is not added to.
TEST(RateWindow, ALaterSecondTakesAnOlderOnesPlace) {
  RateWindow window;
  window.Count(At(5'000), 1000);
  window.Count(At(16'000), 10);
  EXPECT_EQ(window.PerSecond(At(17'000)), 1);
}

}  // namespace
}  // namespace metastore::net
