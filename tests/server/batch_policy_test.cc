// Aim: each policy decides as its contract says, at every load. Method: tables and a clock moved by
// hand.

#include "server/batch_policy.h"

#include <gtest/gtest.h>

namespace metastore::server {
namespace {

constexpr MonoTime kStart{1'000'000'000};

BatchInput At(Duration after, size_t waiting) {
  return {.waiting = waiting, .flushing = false, .now = kStart + after};
}

// Decides until the load has settled for `waiting` proposals each time.
void Settle(AdaptiveBatchPolicy& policy, size_t waiting) {
  MonoTime now = kStart;
  for (int i = 0; i < 200; ++i) {
    now = now + Seconds(1);
    const BatchDecision first = policy.Decide({.waiting = waiting, .now = now});
    if (first.take == 0) policy.Decide({.waiting = waiting, .now = first.ask_again});
  }
}

TEST(BatchPolicy, NaturalTakesEverythingAtOnceEvenDuringAFlush) {
  NaturalBatchPolicy policy;
  const BatchDecision decision = policy.Decide({.waiting = 17, .flushing = true, .now = kStart});
  EXPECT_EQ(decision.take, 17u);
  EXPECT_EQ(decision.ask_again, MonoTime::Max());
}

TEST(BatchPolicy, OffTakesOneAndOnlyWhenNothingIsFlushed) {
  OffBatchPolicy policy;
  EXPECT_EQ(policy.Decide({.waiting = 17, .flushing = false, .now = kStart}).take, 1u);
  EXPECT_EQ(policy.Decide({.waiting = 17, .flushing = true, .now = kStart}).take, 0u);
}

TEST(BatchPolicy, AdaptiveDoesNotKeepALoneProposalWaiting) {
  AdaptiveBatchPolicy policy({});
  EXPECT_EQ(policy.Decide(At({}, 1)).take, 1u);
  EXPECT_EQ(policy.Decide(At(Seconds(1), 1)).take, 1u);
}

TEST(BatchPolicy, AdaptiveWaitsForItsSizeOrItsTimeWhicheverComesFirst) {
  AdaptiveBatchPolicy policy({.size_min = 10});
  const BatchDecision waits = policy.Decide(At({}, 9));
  EXPECT_EQ(waits.take, 0u);
  EXPECT_EQ(waits.ask_again, kStart + Milliseconds(5));
  // Time runs from the oldest proposal, not from the last question.
  EXPECT_EQ(policy.Decide(At(Milliseconds(4), 9)).ask_again, kStart + Milliseconds(5));
  EXPECT_EQ(policy.Decide(At(Milliseconds(5), 9)).take, 9u);
  EXPECT_EQ(policy.Decide(At(Milliseconds(6), 10)).take, 10u);
}

TEST(BatchPolicy, AdaptiveLoadIsSampledBeforeTheBufferIsDrained) {
  AdaptiveBatchPolicy policy({});
  const size_t buffer = AdaptiveBatchPolicy::kBufferBatches * 256;
  policy.Decide(At({}, buffer / 2));
  EXPECT_DOUBLE_EQ(policy.state().load, 0.3 * 0.5);
  policy.Decide(At(Seconds(1), buffer * 3));  // more than the buffer counts as full
  EXPECT_DOUBLE_EQ(policy.state().load, 0.3 * 1 + 0.7 * 0.15);
}

TEST(BatchPolicy, AdaptiveSizeAndWaitFollowTheLoad) {
  const struct {
    size_t waiting;
    size_t size;
    Duration wait;
  } cases[] = {
      {0, 1, Milliseconds(5)},        // no load: the minima (waiting 0 stands for none)
      {358, 64, Microseconds(7500)},  // half of the threshold: half way to half the maxima
      {717, 128, Milliseconds(10)},   // the threshold: half the maxima
      {870, 192, Milliseconds(15)},   // half way from there to full load
      {1024, 256, Milliseconds(20)},  // full load: the maxima
      {5000, 256, Milliseconds(20)},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.waiting);
    AdaptiveBatchPolicy policy({});
    if (one.waiting > 0) Settle(policy, one.waiting);
    EXPECT_NEAR(static_cast<double>(policy.state().batch_size), static_cast<double>(one.size), 1);
    EXPECT_NEAR(static_cast<double>(policy.state().wait.us()), static_cast<double>(one.wait.us()),
                20);
  }
}

TEST(BatchPolicy, AdaptiveRestOfABatchHasWaitedAlready) {
  AdaptiveBatchPolicy policy({.size_min = 4, .size_max = 4});
  EXPECT_EQ(policy.Decide(At({}, 3)).take, 0u);
  EXPECT_EQ(policy.Decide(At(Milliseconds(4), 6)).take, 4u);
  const BatchDecision rest = policy.Decide(At(Milliseconds(4), 2));
  EXPECT_EQ(rest.take, 0u);
  EXPECT_LE(rest.ask_again, kStart + Milliseconds(20));
  EXPECT_EQ(policy.Decide(At(Milliseconds(20), 2)).take, 2u);
}

TEST(BatchPolicy, MadeByItsKind) {
  const BatchInput flushing{.waiting = 3, .flushing = true, .now = kStart};
  EXPECT_EQ(MakeBatchPolicy(BatchPolicyKind::kNatural, {})->Decide(flushing).take, 3u);
  EXPECT_EQ(MakeBatchPolicy(BatchPolicyKind::kOff, {})->Decide(flushing).take, 0u);
  EXPECT_EQ(MakeBatchPolicy(BatchPolicyKind::kAdaptive, {})->state().wait, Milliseconds(5));
}

}  // namespace
}  // namespace metastore::server
