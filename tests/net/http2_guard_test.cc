// Aim: floods are told from use, pings by grpc-go's rule, and a silent peer is found. Method: times
// by hand.
#include "net/http2_guard.h"

#include <gtest/gtest.h>

#include <vector>

#include "net/byte_budget.h"
#include "net/fifo.h"
#include "net/server_options.h"
#include "net/token_bucket.h"

namespace metastore::net {
namespace {

MonoTime At(Duration since_start) { return MonoTime{1'000'000'000} + since_start; }

TEST(TokenBucketTest, BurstThenRate) {
  TokenBucket bucket(3, 2);
  const MonoTime start = At(Seconds(0));
  EXPECT_TRUE(bucket.Take(start));
  EXPECT_TRUE(bucket.Take(start));
  EXPECT_TRUE(bucket.Take(start));
  EXPECT_FALSE(bucket.Take(start));
  EXPECT_FALSE(bucket.Take(start + Milliseconds(499)));
  EXPECT_TRUE(bucket.Take(start + Milliseconds(500)));
  EXPECT_FALSE(bucket.Take(start + Milliseconds(500)));
}

TEST(TokenBucketTest, NeverHoldsMoreThanTheBurst) {
  TokenBucket bucket(2, 1000);
  EXPECT_TRUE(bucket.Take(At(Seconds(0))));
  const MonoTime later = At(Seconds(1'000'000));
  EXPECT_TRUE(bucket.Take(later));
  EXPECT_TRUE(bucket.Take(later));
  EXPECT_FALSE(bucket.Take(later));
}

class GuardTest : public ::testing::Test {
 protected:
  Http2Guard guard_{KeepaliveOptions{}, At(Seconds(0))};
};

TEST_F(GuardTest, FloodsEndTheirBurst) {
  const MonoTime now = At(Seconds(1));
  for (uint32_t i = 0; i < net_limits::kResetBurst; ++i)
    ASSERT_EQ(guard_.OnReset(now), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnReset(now), Http2Fault::kResetFlood);
  for (uint32_t i = 0; i < net_limits::kSettingsBurst; ++i)
    ASSERT_EQ(guard_.OnSettings(now), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnSettings(now), Http2Fault::kSettingsFlood);
  for (uint32_t i = 0; i < net_limits::kEmptyFrameBurst; ++i)
    ASSERT_EQ(guard_.OnEmptyFrame(now), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnEmptyFrame(now), Http2Fault::kEmptyFrameFlood);
  for (uint32_t i = 0; i < net_limits::kBadStreamBurst; ++i)
    ASSERT_EQ(guard_.OnBadStream(now), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnBadStream(now), Http2Fault::kBadStreamFlood);
}

TEST_F(GuardTest, SteadyCancellationsAreNoFlood) {
  MonoTime now = At(Seconds(1));
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_EQ(guard_.OnReset(now), Http2Fault::kNone);
    now = now + Milliseconds(5);
  }
}

TEST_F(GuardTest, ThirdEarlyPingIsTooMany) {
  EXPECT_EQ(guard_.OnPing(At(Seconds(0)), 1), Http2Fault::kNone);  // after our SETTINGS: free
  EXPECT_EQ(guard_.OnPing(At(Seconds(1)), 1), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnPing(At(Seconds(2)), 1), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnPing(At(Seconds(3)), 1), Http2Fault::kPingFlood);
}

TEST_F(GuardTest, PingsAtTheMinimumIntervalAreFineWithStreamsOpen) {
  for (int i = 0; i < 100; ++i) ASSERT_EQ(guard_.OnPing(At(Seconds(5 * i)), 1), Http2Fault::kNone);
}

TEST_F(GuardTest, PingsWithoutStreamsAreToBeHoursApart) {
  EXPECT_EQ(guard_.OnPing(At(Seconds(0)), 0), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnPing(At(Seconds(10)), 0), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnPing(At(Seconds(20)), 0), Http2Fault::kNone);
  EXPECT_EQ(guard_.OnPing(At(Seconds(30)), 0), Http2Fault::kPingFlood);
}

TEST_F(GuardTest, APingAfterOurDataForgives) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(guard_.OnPing(At(Milliseconds(i * 10)), 1), Http2Fault::kNone);
    if (i % 2 == 0) guard_.OnSent();
  }
}

TEST_F(GuardTest, SilentPeerIsPingedThenGivenUp) {
  EXPECT_EQ(guard_.next(), At(Seconds(7200)));
  EXPECT_EQ(guard_.Tick(At(Seconds(7199))), Http2Guard::Action::kNothing);
  EXPECT_EQ(guard_.Tick(At(Seconds(7200))), Http2Guard::Action::kSendPing);
  EXPECT_EQ(guard_.next(), At(Seconds(7220)));
  EXPECT_EQ(guard_.Tick(At(Seconds(7219))), Http2Guard::Action::kNothing);
  EXPECT_EQ(guard_.Tick(At(Seconds(7220))), Http2Guard::Action::kPeerIsGone);
}

TEST_F(GuardTest, AnySignOfLifeAnswersOurPing) {
  EXPECT_EQ(guard_.Tick(At(Seconds(7200))), Http2Guard::Action::kSendPing);
  guard_.OnReceived(At(Seconds(7205)));
  EXPECT_EQ(guard_.Tick(At(Seconds(7220))), Http2Guard::Action::kNothing);
  EXPECT_EQ(guard_.next(), At(Seconds(7205 + 7200)));
}

TEST(ByteBudgetTest, RefusesWhatDoesNotFit) {
  ByteBudget budget(10);
  EXPECT_TRUE(budget.TryTake(6));
  EXPECT_FALSE(budget.TryTake(5));
  EXPECT_TRUE(budget.TryTake(4));
  EXPECT_FALSE(budget.TryTake(SIZE_MAX));
  budget.Return(10);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(FifoTest, OrderSurvivesCompaction) {
  Fifo<int> fifo;
  int next_out = 0;
  for (int i = 0; i < 1000; ++i) {
    fifo.Push(2 * i);
    fifo.Push(2 * i + 1);
    EXPECT_EQ(fifo.front(), next_out++);
    fifo.Pop();
  }
  EXPECT_EQ(fifo.size(), 1000u);
  while (!fifo.empty()) {
    EXPECT_EQ(fifo.front(), next_out++);
    fifo.Pop();
  }
}

TEST(ServerOptionsTest, DefaultsAreValid) { EXPECT_TRUE(ServerOptions().Validate().empty()); }

TEST(ServerOptionsTest, EveryProblemIsListed) {
  ServerOptions options;
  options.connections_max = 0;
  options.streams_max = 0;
  options.message_bytes_max = 0;
  options.preface_timeout = Seconds(0);
  options.http_header_timeout = Seconds(-1);
  options.send_timeout = Seconds(0);
  options.keepalive = KeepaliveOptions{.interval = {}, .timeout = {}, .min_time = Seconds(-1)};
  options.held_reply_bytes_max = 0;
  EXPECT_EQ(options.Validate().size(), 10u);
  options = ServerOptions();
  options.keepalive.interval = Seconds(1'000'000'000);
  EXPECT_EQ(options.Validate().size(), 1u);
  options = ServerOptions();
  options.held_request_bytes_max = options.message_bytes_max;
  EXPECT_EQ(options.Validate().size(), 1u);
}

}  // namespace
}  // namespace metastore::net
