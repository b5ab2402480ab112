// Aim: Gate ends when its tasks have ended, and a wait ends exactly once, by whichever comes first.
// Method: a bare Scheduler and a TimerService moved by hand.
#include "io/signal.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "io/gate.h"
#include "io/queue.h"

namespace metastore::io {
namespace {

class ManualTimers final : public TimerService {
 public:
  MonoTime Now() const override { return now_; }
  void Arm(Timer& timer, MonoTime when) override {
    CHECK(!timer.armed());
    timer.when = when;
    timer.heap_slot = 0;
    armed_.push_back(&timer);
  }
  void Cancel(Timer& timer) override {
    std::erase(armed_, &timer);
    timer.heap_slot = Timer::kIdle;
  }
  void AdvanceTo(MonoTime now) {
    now_ = now;
    const std::vector<Timer*> before = armed_;
    for (Timer* timer : before) {
      if (timer->when > now) continue;
      Cancel(*timer);
      timer->fired(*timer);
    }
  }
  size_t armed() const { return armed_.size(); }

 private:
  MonoTime now_{1};
  std::vector<Timer*> armed_;
};

class GateSignalTest : public testing::Test {
 protected:
  void RunUntilIdle() {
    while (!scheduler_.idle()) scheduler_.RunTurn();
  }
  void Spawn(Task<void> task) {
    ASSERT_TRUE(gate_.Spawn("test", ReadyClass::kClient, std::move(task)));
  }

  Scheduler scheduler_;
  ManualTimers timers_;
  Signal signal_;
  StopSource stop_;
  std::vector<WaitResult> results_;
  Gate gate_{scheduler_};
};

Task<void> WaitOnce(Signal& signal, WaitLimit limit, std::vector<WaitResult>& results) {
  const WaitResult result = co_await signal.Wait(limit);
  results.push_back(result);
}

Task<void> SleepOnce(TimerService& timers, MonoTime until, StopToken stop,
                     std::vector<WaitResult>& results) {
  const WaitResult result = co_await SleepUntil(timers, until, stop);
  results.push_back(result);
}

Task<void> CloseGate(Gate& gate, bool& closed) {
  co_await gate.Close();
  closed = true;
}

using Results = std::vector<WaitResult>;

TEST_F(GateSignalTest, NotifyEndsAWait) {
  Spawn(WaitOnce(signal_, {}, results_));
  RunUntilIdle();
  EXPECT_TRUE(signal_.has_waiters());
  EXPECT_TRUE(results_.empty());
  signal_.NotifyOne();
  EXPECT_TRUE(results_.empty());  // never inside Notify
  RunUntilIdle();
  EXPECT_EQ(results_, Results{WaitResult::kNotified});
}

TEST_F(GateSignalTest, NotifyBeforeTheWaitIsForgotten) {
  signal_.NotifyAll();
  Spawn(WaitOnce(signal_, {}, results_));
  RunUntilIdle();
  EXPECT_TRUE(results_.empty());
  signal_.NotifyAll();
  RunUntilIdle();
}

TEST_F(GateSignalTest, NotifyOneWakesTheLongestWaiting) {
  Results first;
  Results second;
  Spawn(WaitOnce(signal_, {}, first));
  Spawn(WaitOnce(signal_, {}, second));
  RunUntilIdle();
  signal_.NotifyOne();
  RunUntilIdle();
  EXPECT_EQ(first.size(), 1u);
  EXPECT_TRUE(second.empty());
  signal_.NotifyAll();
  RunUntilIdle();
  EXPECT_EQ(second.size(), 1u);
}

TEST_F(GateSignalTest, StartRunsATaskToItsFirstWaitAtOnce) {
  ASSERT_TRUE(gate_.Start("test", ReadyClass::kClient, WaitOnce(signal_, {}, results_)));
  EXPECT_TRUE(signal_.has_waiters());
  EXPECT_TRUE(scheduler_.idle());
  EXPECT_EQ(gate_.running(), 1u);
  signal_.NotifyOne();
  RunUntilIdle();
  EXPECT_EQ(results_, Results{WaitResult::kNotified});
  EXPECT_EQ(gate_.running(), 0u);
}

TEST_F(GateSignalTest, StartOfATaskThatNeverWaitsHasEndedIt) {
  bool closed = false;
  Gate other(scheduler_);
  ASSERT_TRUE(other.Start("test", ReadyClass::kClient, CloseGate(gate_, closed)));
  EXPECT_TRUE(closed);
  EXPECT_EQ(other.running(), 0u);
}

TEST_F(GateSignalTest, AClosedGateStartsNothing) {
  bool closed = false;
  Gate other(scheduler_);
  other.Start("test", ReadyClass::kClient, CloseGate(gate_, closed));
  EXPECT_FALSE(gate_.Start("test", ReadyClass::kClient, WaitOnce(signal_, {}, results_)));
  EXPECT_FALSE(signal_.has_waiters());
}

TEST_F(GateSignalTest, DeadlineEndsAWaitOnce) {
  Spawn(WaitOnce(signal_, {.timers = &timers_, .deadline = MonoTime{10}}, results_));
  RunUntilIdle();
  timers_.AdvanceTo(MonoTime{9});
  RunUntilIdle();
  EXPECT_TRUE(results_.empty());
  timers_.AdvanceTo(MonoTime{10});
  signal_.NotifyAll();  // too late: already ended
  RunUntilIdle();
  EXPECT_EQ(results_, Results{WaitResult::kTimedOut});
  EXPECT_FALSE(signal_.has_waiters());
}

TEST_F(GateSignalTest, NotifyDisarmsTheDeadline) {
  Spawn(WaitOnce(signal_, {.timers = &timers_, .deadline = MonoTime{10}, .stop = stop_.token()},
                 results_));
  RunUntilIdle();
  EXPECT_EQ(timers_.armed(), 1u);
  signal_.NotifyOne();
  EXPECT_EQ(timers_.armed(), 0u);
  timers_.AdvanceTo(MonoTime{10});
  stop_.RequestStop();
  RunUntilIdle();
  EXPECT_EQ(results_, Results{WaitResult::kNotified});
}

TEST_F(GateSignalTest, StopEndsAWaitOnce) {
  Spawn(WaitOnce(signal_, {.timers = &timers_, .deadline = MonoTime{10}, .stop = stop_.token()},
                 results_));
  RunUntilIdle();
  stop_.RequestStop();
  stop_.RequestStop();
  signal_.NotifyAll();
  timers_.AdvanceTo(MonoTime{10});
  RunUntilIdle();
  EXPECT_EQ(results_, Results{WaitResult::kStopped});
}

TEST_F(GateSignalTest, WaitAfterAStopEndsAtOnce) {
  stop_.RequestStop();
  Spawn(WaitOnce(signal_, {.stop = stop_.token()}, results_));
  EXPECT_EQ(scheduler_.RunTurn().ran, 1u);
  EXPECT_EQ(results_, Results{WaitResult::kStopped});
}

TEST_F(GateSignalTest, SleepEndsAtItsTimeOrAtAStop) {
  Spawn(SleepOnce(timers_, MonoTime{5}, {}, results_));
  RunUntilIdle();
  timers_.AdvanceTo(MonoTime{5});
  RunUntilIdle();
  EXPECT_EQ(results_, Results{WaitResult::kTimedOut});
  Spawn(SleepOnce(timers_, MonoTime{50}, stop_.token(), results_));
  RunUntilIdle();
  stop_.RequestStop();
  RunUntilIdle();
  EXPECT_EQ(results_.back(), WaitResult::kStopped);
  EXPECT_EQ(timers_.armed(), 0u);
}

TEST_F(GateSignalTest, DefaultTokenNeverStops) {
  const StopToken token;
  EXPECT_FALSE(token.stopped());
  StopCallback callback;
  EXPECT_TRUE(token.Register(callback));
}

TEST_F(GateSignalTest, CallbackRunsOnceAndNotAfterItsEnd) {
  struct Counting : StopCallback {
    int runs = 0;
  };
  Counting kept;
  kept.stopped = [](StopCallback& self) { ++static_cast<Counting&>(self).runs; };
  EXPECT_TRUE(stop_.token().Register(kept));
  {
    Counting gone;
    gone.stopped = kept.stopped;
    EXPECT_TRUE(stop_.token().Register(gone));
  }
  stop_.RequestStop();
  EXPECT_EQ(kept.runs, 1);
  EXPECT_FALSE(stop_.token().Register(kept));
}

TEST_F(GateSignalTest, CloseWaitsForWhatRuns) {
  bool closed = false;
  Gate closers(scheduler_);
  Spawn(WaitOnce(signal_, {}, results_));
  Spawn(WaitOnce(signal_, {}, results_));
  closers.Spawn("close", ReadyClass::kClient, CloseGate(gate_, closed));
  RunUntilIdle();
  EXPECT_FALSE(closed);
  EXPECT_EQ(gate_.running(), 2u);
  signal_.NotifyOne();
  RunUntilIdle();
  EXPECT_FALSE(closed);
  signal_.NotifyOne();
  RunUntilIdle();
  EXPECT_TRUE(closed);
}

TEST_F(GateSignalTest, ClosedGateDropsNewTasksUnstarted) {
  bool closed = false;
  Gate closers(scheduler_);
  closers.Spawn("close", ReadyClass::kClient, CloseGate(gate_, closed));
  RunUntilIdle();
  EXPECT_TRUE(closed);
  EXPECT_FALSE(gate_.Spawn("late", ReadyClass::kClient, WaitOnce(signal_, {}, results_)));
  RunUntilIdle();
  EXPECT_FALSE(signal_.has_waiters());
}

TEST_F(GateSignalTest, DestroyingABusyGateIsCaught) {
  EXPECT_DEATH(
      {
        Gate gate(scheduler_);
        gate.Spawn("test", ReadyClass::kClient, WaitOnce(signal_, {}, results_));
      },
      "running_");
}

Task<void> Drain(AsyncQueue<int>& queue, StopToken stop, std::vector<int>& out) {
  while (true) {
    const std::optional<int> item = co_await queue.Next(stop);
    if (!item.has_value()) break;
    out.push_back(*item);
  }
}

TEST_F(GateSignalTest, QueueGivesItemsInOrderUntilStopped) {
  AsyncQueue<int> queue(2);
  std::vector<int> out;
  Spawn(Drain(queue, stop_.token(), out));
  RunUntilIdle();
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_FALSE(queue.TryPush(3));  // full
  RunUntilIdle();
  EXPECT_TRUE(queue.TryPush(4));
  RunUntilIdle();
  stop_.RequestStop();
  RunUntilIdle();
  EXPECT_EQ(out, (std::vector<int>{1, 2, 4}));
}

Task<void> AwaitShot(OneShot<int>& shot, int& out) {
  const int value = co_await shot;
  out = value;
}

TEST_F(GateSignalTest, OneShotGivesItsValueBeforeAndAfterTheWait) {
  OneShot<int> early;
  OneShot<int> late;
  int a = 0;
  int b = 0;
  early.Set(1);
  Spawn(AwaitShot(early, a));
  Spawn(AwaitShot(late, b));
  RunUntilIdle();
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 0);
  late.Set(2);
  RunUntilIdle();
  EXPECT_EQ(b, 2);
}

}  // namespace
}  // namespace metastore::io
