// Aim: that this compiler's coroutines behave as io/task.h needs them to, before anything is built
// on them. Method: tasks run on a bare Scheduler, with objects counted and stack addresses
// compared. Built and run at -O0, -O2, with ASan and UBSan, and with TSan. Coroutines are noinline:
// an optimiser may otherwise elide their frames.
#include "io/task.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/gate.h"
#include "io/queue.h"

namespace metastore::io {
namespace {

// Counts its live copies: frames that are never destroyed show as a count that does not return to
// zero.
struct Counted {
  explicit Counted(int& live_count) : live(&live_count) { ++*live; }
  Counted(const Counted& other) : live(other.live) { ++*live; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*live; }
  int* live;
};

void RunUntilIdle(Scheduler& scheduler) {
  while (!scheduler.idle()) scheduler.RunTurn();
}

// Spawns `task` on a gate of its own and runs it to its end.
void RunToEnd(Scheduler& scheduler, Task<void> task) {
  Gate gate(scheduler);
  ASSERT_TRUE(gate.Spawn("test", ReadyClass::kClient, std::move(task)));
  RunUntilIdle(scheduler);
  EXPECT_EQ(gate.running(), 0u);
}

[[gnu::noinline]] Task<int> Ready(int value) { co_return value; }

[[gnu::noinline]] Task<int> AfterYields(int value, int yields) {
  for (int i = 0; i < yields; ++i) {
    co_await Yield();
  }
  co_return value;
}

[[gnu::noinline]] Task<void> AwaitInto(Task<int> child, int& out) {
  const int value = co_await std::move(child);
  out = value;
}

TEST(TaskTest, NothingRunsBeforeItIsAwaited) {
  Scheduler scheduler;
  int out = 0;
  {
    const Task<void> never = AwaitInto(Ready(1), out);
  }
  EXPECT_EQ(out, 0);
  EXPECT_TRUE(scheduler.idle());
}

TEST(TaskTest, ReadyChildGivesItsValueWithoutAQueue) {
  Scheduler scheduler;
  int out = 0;
  Gate gate(scheduler);
  gate.Spawn("test", ReadyClass::kClient, AwaitInto(Ready(7), out));
  EXPECT_EQ(out, 0);
  EXPECT_EQ(scheduler.RunTurn().ran, 1u);  // the root alone: awaiting queued nothing
  EXPECT_EQ(out, 7);
  EXPECT_EQ(gate.running(), 0u);
}

[[gnu::noinline]] Task<void> RecordAfterYield(int number, std::vector<int>& order) {
  const int value = co_await AfterYields(number, 1);
  order.push_back(value);
  const int again = co_await AfterYields(number + 10, 1);
  order.push_back(again);
}

[[gnu::noinline]] Task<void> Nested(int number, std::vector<int>& order) {
  co_await RecordAfterYield(number, order);
  order.push_back(number + 20);
}

// A finished child's callers go on at once, but a wait still goes to the end of the queue.
TEST(TaskTest, CallersUnwindBeforeOthersRunAndWaitsTakeTurns) {
  Scheduler scheduler;
  std::vector<int> order;
  Gate gate(scheduler);
  gate.Spawn("a", ReadyClass::kClient, Nested(1, order));
  gate.Spawn("b", ReadyClass::kClient, Nested(2, order));
  RunUntilIdle(scheduler);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 11, 21, 12, 22}));
}

TEST(TaskTest, SuspendedChildResumesItsParentThroughTheQueue) {
  Scheduler scheduler;
  int out = 0;
  Gate gate(scheduler);
  gate.Spawn("test", ReadyClass::kClient, AwaitInto(AfterYields(9, 1), out));
  const Scheduler::Turn turn = scheduler.RunTurn();
  EXPECT_EQ(turn.ran, 4u);  // the root; the child after its yield; its parent; the root again
  EXPECT_EQ(out, 9);
}

[[gnu::noinline]] Task<void> Note(std::vector<int>& order, int id, int times) {
  for (int i = 0; i < times; ++i) {
    order.push_back(id);
    co_await Yield();
  }
}

TEST(TaskTest, YieldingTasksTakeTurns) {
  Scheduler scheduler;
  std::vector<int> order;
  Gate gate(scheduler);
  gate.Spawn("a", ReadyClass::kClient, Note(order, 1, 3));
  gate.Spawn("b", ReadyClass::kClient, Note(order, 2, 3));
  RunUntilIdle(scheduler);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 1, 2, 1, 2}));
}

[[gnu::noinline]] Task<int> Depth(int levels, bool suspend) {
  if (levels == 0) {
    if (suspend) {
      co_await Yield();
    }
    co_return 0;
  }
  const int below = co_await Depth(levels - 1, suspend);
  co_return below + 1;
}

// Every level costs stack until it first suspends: 5,000 is far above what the code nests, and fits
// 8 MiB everywhere.
constexpr int kDepth = 5000;

TEST(TaskTest, DeepRecursionOfReadyTasksReturnsItsDepth) {
  Scheduler scheduler;
  int out = 0;
  RunToEnd(scheduler, AwaitInto(Depth(kDepth, false), out));
  EXPECT_EQ(out, kDepth);
}

TEST(TaskTest, DeepRecursionUnwindsThroughTheQueue) {
  Scheduler scheduler;
  int out = 0;
  RunToEnd(scheduler, AwaitInto(Depth(kDepth, true), out));
  EXPECT_EQ(out, kDepth);
}

// Awaits the task it is given and returns one more: called with its own result again and again,
// each frame holds the previous one as a parameter.
[[gnu::noinline]] Task<int> OneMore(Task<int> before, Counted counted) {
  (void)counted;
  const int value = co_await std::move(before);
  co_return value + 1;
}

[[gnu::noinline]] Task<void> GrowChain(int length, int& out, int& live) {
  // Each link is finished before the next is made, so nothing nests: but were a finished child kept
  // by its parent's frame, the last one's destruction would run down the whole chain on the stack.
  int value = 0;
  for (int i = 0; i < length; ++i) {
    Task<int> link = OneMore(AfterYields(value, 1), Counted(live));
    value = co_await std::move(link);
  }
  out = value;
}

TEST(TaskTest, FinishedParametersAreFreedLinkByLink) {
  Scheduler scheduler;
  int out = 0;
  int live = 0;
  RunToEnd(scheduler, GrowChain(100'000, out, live));
  EXPECT_EQ(out, 100'000);
  EXPECT_EQ(live, 0);
}

// A coroutine that passes the torch on: its parameter is the chain so far, finished, and must die
// when awaited.
[[gnu::noinline]] Task<std::unique_ptr<Task<int>>> Extend(std::unique_ptr<Task<int>> chain,
                                                          int& live) {
  const int value = co_await std::move(*chain);
  co_return std::make_unique<Task<int>>(OneMore(Ready(value), Counted(live)));
}

[[gnu::noinline]] Task<void> ExtendOften(int length, int& out, int& live) {
  auto chain = std::make_unique<Task<int>>(Ready(0));
  for (int i = 0; i < length; ++i) {
    chain = co_await Extend(std::move(chain), live);
    EXPECT_LE(live, 2);
  }
  const int value = co_await std::move(*chain);
  out = value;
}

TEST(TaskTest, ChainOfFinishedTasksHoldsNoMoreThanItsEnd) {
  Scheduler scheduler;
  int out = 0;
  int live = 0;
  RunToEnd(scheduler, ExtendOften(100'000, out, live));
  EXPECT_EQ(out, 100'000);
  EXPECT_EQ(live, 0);
}

// Where the stack is at a call; noinline so that it has a frame of its own.
[[gnu::noinline]] uintptr_t StackPointer() {
  return reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
}

struct StackRange {
  uintptr_t lowest = UINTPTR_MAX;
  uintptr_t highest = 0;
  void Note() {
    const uintptr_t here = StackPointer();
    if (here < lowest) lowest = here;
    if (here > highest) highest = here;
  }
  uintptr_t bytes() const { return highest - lowest; }
};

[[gnu::noinline]] Task<int> ReadyNoting(StackRange& range) {
  range.Note();
  co_return 1;
}

[[gnu::noinline]] Task<void> AwaitManyReady(int count, StackRange& range, int64_t& sum) {
  for (int i = 0; i < count; ++i) {
    const int one = co_await ReadyNoting(range);
    sum += one;
  }
}

TEST(TaskTest, MillionReadyAwaitsKeepTheStackFlat) {
  Scheduler scheduler;
  StackRange range;
  int64_t sum = 0;
  RunToEnd(scheduler, AwaitManyReady(1'000'000, range, sum));
  EXPECT_EQ(sum, 1'000'000);
  EXPECT_LT(range.bytes(), 4096u);
}

[[gnu::noinline]] Task<void> AwaitManySuspended(int count, StackRange& range) {
  for (int i = 0; i < count; ++i) {
    co_await AfterYields(0, 1);
    range.Note();
  }
}

TEST(TaskTest, SuspendedAwaitsKeepTheStackFlat) {
  Scheduler scheduler;
  StackRange range;
  RunToEnd(scheduler, AwaitManySuspended(100'000, range));
  EXPECT_LT(range.bytes(), 4096u);
}

[[gnu::noinline]] Task<std::string> HoldAcrossWait(std::string text, std::vector<int> numbers,
                                                   Counted counted) {
  (void)counted;
  co_await Yield();
  text += std::to_string(numbers.size());
  co_return text;
}

[[gnu::noinline]] Task<void> UseStrings(int& live, std::string& out) {
  std::string text(100, 'a');
  std::vector<int> numbers(3);
  std::string result = co_await HoldAcrossWait(std::move(text), std::move(numbers), Counted(live));
  out = std::move(result);
}

TEST(TaskTest, ParametersByValueLiveAsLongAsTheFrame) {
  Scheduler scheduler;
  int live = 0;
  std::string out;
  RunToEnd(scheduler, UseStrings(live, out));
  EXPECT_EQ(out, std::string(100, 'a') + "3");
  EXPECT_EQ(live, 0);
}

TEST(TaskTest, UnstartedTaskFreesItsParameters) {
  int live = 0;
  {
    const Task<int> never = OneMore(Ready(1), Counted(live));
  }
  EXPECT_EQ(live, 0);
}

[[gnu::noinline]] Task<std::unique_ptr<int>> MakeUnique(int value) {
  co_return std::make_unique<int>(value);
}

[[gnu::noinline]] Task<void> TakeUnique(int& out) {
  const std::unique_ptr<int> value = co_await MakeUnique(5);
  out = *value;
}

TEST(TaskTest, MoveOnlyResultsMove) {
  Scheduler scheduler;
  int out = 0;
  RunToEnd(scheduler, TakeUnique(out));
  EXPECT_EQ(out, 5);
}

[[gnu::noinline]] Task<void> AwaitShot(OneShot<int>& shot, int& out) {
  const int value = co_await shot;
  out = value;
}

// Starts `task` as a parent would and drops it while it waits.
void Drop(Scheduler& scheduler, Task<void> task) {
  struct Parent {
    struct promise_type : PromiseBase {
      Parent get_return_object() {
        return {std::coroutine_handle<promise_type>::from_promise(*this)};
      }
      void return_void() const noexcept {}
    };
    std::coroutine_handle<promise_type> handle;
    static Parent Make() { co_return; }
  };
  Parent parent = Parent::Make();
  parent.handle.promise().scheduler = &scheduler;
  {
    Task<void>::Awaiter awaiter(std::move(task));
    EXPECT_TRUE(awaiter.await_suspend(parent.handle));
  }
  parent.handle.destroy();
}

TEST(TaskTest, DroppingARunningTaskIsCaught) {
  EXPECT_DEATH(
      {
        Scheduler scheduler;
        OneShot<int> shot;
        int out = 0;
        Task<void> waiting = AwaitShot(shot, out);
        Drop(scheduler, std::move(waiting));
      },
      "finished");
}

// Scheduler, class and name pass from parent to child.
struct WhoAmI {
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    name = handle.promise().node.name;
    ready_class = handle.promise().node.ready_class;
    return false;
  }
  WhoAmI await_resume() const noexcept { return *this; }
  const char* name = "";
  ReadyClass ready_class = ReadyClass::kBackground;
};

[[gnu::noinline]] Task<WhoAmI> AskInChild() {
  const WhoAmI me = co_await WhoAmI();
  co_return me;
}

[[gnu::noinline]] Task<void> AskThroughChild(WhoAmI& out) {
  const WhoAmI me = co_await AskInChild();
  out = me;
}

TEST(TaskTest, ChildrenInheritNameAndClass) {
  Scheduler scheduler;
  WhoAmI out;
  Gate gate(scheduler);
  gate.Spawn("wal.flush", ReadyClass::kCritical, AskThroughChild(out));
  RunUntilIdle(scheduler);
  EXPECT_STREQ(out.name, "wal.flush");
  EXPECT_EQ(out.ready_class, ReadyClass::kCritical);
}

// --- the scheduler -------------------------------------------------------------------------------

struct CountingNode : ReadyNode {
  CountingNode(Scheduler& scheduler_in, ReadyClass of, int& count_in)
      : scheduler(&scheduler_in), count(&count_in) {
    ready_class = of;
    name = "counting";
    run = [](ReadyNode& self) {
      auto& node = static_cast<CountingNode&>(self);
      ++*node.count;
      if (node.again) node.scheduler->Push(node);
    };
  }
  Scheduler* scheduler;
  int* count;
  bool again = false;
};

TEST(SchedulerTest, TurnTakesOfEachClassItsShareAtMost) {
  Scheduler scheduler;
  int counts[kReadyClasses] = {};
  std::vector<std::unique_ptr<CountingNode>> nodes;
  for (size_t c = 0; c < kReadyClasses; ++c) {
    for (size_t i = 0; i < Scheduler::kShare[c] + 10; ++i) {
      nodes.push_back(
          std::make_unique<CountingNode>(scheduler, static_cast<ReadyClass>(c), counts[c]));
      scheduler.Push(*nodes.back());
    }
  }
  const Scheduler::Turn turn = scheduler.RunTurn();
  size_t shares = 0;
  for (size_t c = 0; c < kReadyClasses; ++c) {
    EXPECT_EQ(static_cast<size_t>(counts[c]), Scheduler::kShare[c]);
    shares += Scheduler::kShare[c];
  }
  EXPECT_EQ(turn.ran, shares);
  EXPECT_EQ(scheduler.size(), 10 * kReadyClasses);
  RunUntilIdle(scheduler);
}

TEST(SchedulerTest, CriticalNodesRunBeforeAFloodOfClients) {
  Scheduler scheduler;
  int clients = 0;
  int critical = 0;
  std::vector<std::unique_ptr<CountingNode>> nodes;
  for (int i = 0; i < 5000; ++i) {
    nodes.push_back(std::make_unique<CountingNode>(scheduler, ReadyClass::kClient, clients));
    scheduler.Push(*nodes.back());
  }
  CountingNode heartbeat(scheduler, ReadyClass::kCritical, critical);
  scheduler.Push(heartbeat);
  scheduler.RunTurn();
  EXPECT_EQ(critical, 1);
  EXPECT_EQ(clients, 1024);
  RunUntilIdle(scheduler);
}

TEST(SchedulerTest, NodeThatPushesItselfDoesNotEndTheTurnOfOthers) {
  Scheduler scheduler;
  int runaway = 0;
  int client = 0;
  CountingNode loop(scheduler, ReadyClass::kCritical, runaway);
  loop.again = true;
  CountingNode other(scheduler, ReadyClass::kClient, client);
  scheduler.Push(loop);
  scheduler.Push(other);
  scheduler.RunTurn();
  EXPECT_EQ(client, 1);
  EXPECT_EQ(static_cast<size_t>(runaway), Scheduler::kShare[0]);
  loop.again = false;
  RunUntilIdle(scheduler);
}

TEST(SchedulerTest, PushingAQueuedNodeIsCaught) {
  EXPECT_DEATH(
      {
        Scheduler scheduler;
        int count = 0;
        CountingNode node(scheduler, ReadyClass::kClient, count);
        scheduler.Push(node);
        scheduler.Push(node);
      },
      "queued");
}

}  // namespace
}  // namespace metastore::io
