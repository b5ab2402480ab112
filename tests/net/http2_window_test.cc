// Aim: both halves of flow control keep within what the RFC allows. Method: calls on the pure
// classes.
#include "net/http2_window.h"

#include <gtest/gtest.h>

namespace metastore::net_test {
namespace {

using net::ReceiveWindow;
using net::SendWindow;

TEST(Http2WindowTest, SendWindowOpensAndCloses) {
  SendWindow window(100);
  EXPECT_EQ(window.available(), 100u);
  window.Use(60);
  EXPECT_TRUE(window.Change(5));
  EXPECT_EQ(window.available(), 45u);
}

TEST(Http2WindowTest, SendWindowMayFallBelowZeroAndComesBack) {
  SendWindow window(100);
  window.Use(90);
  EXPECT_TRUE(window.Change(-50));
  EXPECT_EQ(window.available(), 0u);
  EXPECT_TRUE(window.Change(41));
  EXPECT_EQ(window.available(), 1u);
}

TEST(Http2WindowTest, SendWindowEndsAtItsLargest) {
  SendWindow window(1);
  EXPECT_TRUE(window.Change(net::kWindowBytesMax - 1));
  EXPECT_FALSE(window.Change(1));
  EXPECT_EQ(window.available(), static_cast<size_t>(net::kWindowBytesMax));
  EXPECT_TRUE(window.Change(-2 * net::kWindowBytesMax));
  EXPECT_FALSE(window.Change(-net::kWindowBytesMax));
}

TEST(Http2WindowTest, ReceiveWindowRefusesWhatWasNotAllowed) {
  ReceiveWindow window(100);
  EXPECT_TRUE(window.Take(100));
  EXPECT_FALSE(window.Take(1));
  EXPECT_TRUE(window.Take(0));
}

TEST(Http2WindowTest, ReceiveWindowOpensInStepsOfAHalf) {
  ReceiveWindow window(100);
  ASSERT_TRUE(window.Take(80));
  window.Consume(49);
  EXPECT_FALSE(window.update_due());
  window.Consume(1);
  ASSERT_TRUE(window.update_due());
  EXPECT_EQ(window.TakeUpdate(), 50u);
  EXPECT_FALSE(window.update_due());
  EXPECT_TRUE(window.Take(70));
  EXPECT_FALSE(window.Take(1));
}

TEST(Http2WindowTest, ConsumingMoreThanCameOpensNoMore) {
  ReceiveWindow window(100);
  ASSERT_TRUE(window.Take(60));
  window.Consume(1000);
  EXPECT_EQ(window.TakeUpdate(), 60u);
  EXPECT_FALSE(window.update_due());
}

TEST(Http2WindowTest, ReceiveWindowTakesANewSize) {
  ReceiveWindow window(10);
  ASSERT_TRUE(window.Take(10));
  window.Resize(30);
  EXPECT_TRUE(window.Take(20));
  EXPECT_FALSE(window.Take(1));
}

}  // namespace
}  // namespace metastore::net_test
