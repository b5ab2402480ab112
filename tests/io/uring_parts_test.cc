// Aim: the parts of the io_uring runtime that need no kernel: timer heap, arena, post ring, log
// lines, error texts. Method: tables; the heap against a sorted list, the arena against its own
// accounting, both under seeded random use.
#include <algorithm>
#include <cerrno>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/base/prng.h"
#include "io/uring/addresses.h"
#include "io/uring/arena.h"
#include "io/uring/errno_status.h"
#include "io/uring/logger.h"
#include "io/uring/post_ring.h"
#include "io/uring/ring.h"
#include "io/uring/timer_heap.h"

namespace metastore::io::uring {
namespace {

constexpr size_t kBlock = limits::kBlockBytes;

// --- TimerHeap -----------------------------------------------------------------------------------

struct NotingTimer : Timer {
  size_t id = 0;
  std::vector<size_t>* order = nullptr;
};

void NoteFired(Timer& self) {
  auto& timer = static_cast<NotingTimer&>(self);
  timer.order->push_back(timer.id);
}

TEST(TimerHeapTest, FiresByTimeThenByArming) {
  std::vector<size_t> order;
  TimerHeap heap;
  const int64_t times[] = {50, 10, 30, 10, 40, 10};
  std::vector<NotingTimer> timers(std::size(times));
  for (size_t i = 0; i < timers.size(); ++i) {
    timers[i].id = i;
    timers[i].order = &order;
    timers[i].fired = NoteFired;
    heap.Arm(timers[i], MonoTime{times[i]});
  }
  EXPECT_EQ(heap.next(), MonoTime{10});
  EXPECT_EQ(heap.Fire(MonoTime{9}), 0u);
  EXPECT_EQ(heap.Fire(MonoTime{40}), 5u);
  EXPECT_EQ(order, (std::vector<size_t>{1, 3, 5, 2, 4}));
  EXPECT_EQ(heap.Fire(MonoTime::Max()), 1u);
  EXPECT_EQ(heap.next(), MonoTime::Max());
}

TEST(TimerHeapTest, RandomArmingAndCancellingKeepsOrder) {
  Prng prng(7);
  std::vector<size_t> order;
  std::vector<NotingTimer> timers(500);
  TimerHeap heap;
  for (size_t i = 0; i < timers.size(); ++i) {
    timers[i].id = i;
    timers[i].order = &order;
    timers[i].fired = NoteFired;
  }
  int64_t now = 0;
  for (int step = 0; step < 20'000; ++step) {
    NotingTimer& timer = timers[prng.Below(timers.size())];
    if (timer.armed()) {
      heap.Cancel(timer);
      EXPECT_FALSE(timer.armed());
    } else {
      heap.Arm(timer, MonoTime{now + static_cast<int64_t>(prng.Below(1000))});
    }
    if (step % 10 != 0) continue;
    now += static_cast<int64_t>(prng.Below(50));
    order.clear();
    std::vector<std::pair<int64_t, uint64_t>> due;
    for (const NotingTimer& each : timers) {
      if (each.armed() && each.when.ns <= now) due.emplace_back(each.when.ns, each.sequence);
    }
    std::sort(due.begin(), due.end());
    heap.Fire(MonoTime{now});
    ASSERT_EQ(order.size(), due.size());
    for (size_t i = 0; i < due.size(); ++i) EXPECT_EQ(timers[order[i]].sequence, due[i].second);
  }
  for (NotingTimer& timer : timers) heap.Cancel(timer);
  EXPECT_EQ(heap.size(), 0u);
}

struct RearmingTimer : Timer {
  TimerHeap* heap = nullptr;
  Timer* other = nullptr;
  int fires = 0;
};

TEST(TimerHeapTest, TimerMayRearmItselfAndCancelOthersWhileFiring) {
  TimerHeap heap;
  RearmingTimer other;
  other.fired = [](Timer& self) { ++static_cast<RearmingTimer&>(self).fires; };
  RearmingTimer timer;
  timer.heap = &heap;
  timer.other = &other;
  timer.fired = [](Timer& self) {
    auto& me = static_cast<RearmingTimer&>(self);
    ++me.fires;
    me.heap->Cancel(*me.other);
    me.heap->Arm(me, MonoTime{0});  // past: due again, but not in this round
  };
  heap.Arm(timer, MonoTime{1});
  heap.Arm(other, MonoTime{2});
  EXPECT_EQ(heap.Fire(MonoTime{5}), 1u);
  EXPECT_EQ(timer.fires, 1);
  EXPECT_EQ(other.fires, 0);
  EXPECT_EQ(heap.Fire(MonoTime{5}), 1u);
  heap.Cancel(timer);
}

TEST(TimerHeapTest, ArmingTwiceIsCaught) {
  EXPECT_DEATH(
      {
        TimerHeap heap;
        NotingTimer timer;
        timer.fired = NoteFired;
        heap.Arm(timer, MonoTime{1});
        heap.Arm(timer, MonoTime{2});
      },
      "armed");
}

// --- Arena ---------------------------------------------------------------------------------------

TEST(ArenaTest, HandsOutAlignedPiecesAndJoinsThemAgain) {
  Arena arena(16 * kBlock);
  arena.SetRegistered(0);
  {
    IoBuffer a = arena.Allocate(4 * kBlock);
    IoBuffer b = arena.Allocate(4 * kBlock);
    IoBuffer c = arena.Allocate(8 * kBlock);
    EXPECT_EQ(arena.free_bytes(), 0u);
    EXPECT_EQ(a.registered_index(), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % kBlock, 0u);
    char* const at_b = b.data();
    b = IoBuffer();
    const IoBuffer again = arena.Allocate(2 * kBlock);
    EXPECT_EQ(again.data(), at_b);  // first fit
    a = IoBuffer();
    c = IoBuffer();
  }
  EXPECT_EQ(arena.free_bytes(), 16 * kBlock);
  const IoBuffer whole = arena.Allocate(16 * kBlock);
  EXPECT_EQ(whole.registered_index(), 0);
}

TEST(ArenaTest, FallsBackToTheHeapWhenExhausted) {
  Arena arena(4 * kBlock);
  arena.SetRegistered(0);
  const IoBuffer inside = arena.Allocate(3 * kBlock);
  const IoBuffer outside = arena.Allocate(2 * kBlock);
  EXPECT_EQ(inside.registered_index(), 0);
  EXPECT_EQ(outside.registered_index(), -1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(outside.data()) % kBlock, 0u);
}

TEST(ArenaTest, WithoutARegionEverythingComesFromTheHeap) {
  Arena arena(0);
  const IoBuffer buffer = arena.Allocate(limits::kIoBytesMax);
  EXPECT_EQ(buffer.registered_index(), -1);
}

TEST(ArenaTest, RandomUseNeverOverlapsAndLosesNothing) {
  Prng prng(3);
  Arena arena(256 * kBlock);
  std::vector<IoBuffer> buffers;
  for (int step = 0; step < 20'000; ++step) {
    if (buffers.size() < 40 && prng.Chance(1, 2)) {
      buffers.push_back(arena.Allocate(prng.Between(1, 16) * kBlock));
      std::fill_n(buffers.back().data(), buffers.back().size(), static_cast<char>(step));
      buffers.back().data()[0] = static_cast<char>(buffers.size());
    } else if (!buffers.empty()) {
      std::swap(buffers[prng.Below(buffers.size())], buffers.back());
      buffers.pop_back();
    }
  }
  std::set<std::pair<const char*, const char*>> ranges;
  for (const IoBuffer& buffer : buffers)
    ranges.emplace(buffer.data(), buffer.data() + buffer.size());
  const char* end = nullptr;
  for (const auto& [from, to] : ranges) {
    EXPECT_GE(from, end);
    end = to;
  }
  buffers.clear();
  EXPECT_EQ(arena.free_bytes(), arena.bytes());
}

TEST(ArenaTest, OddSizesAreCaught) {
  Arena arena(4 * kBlock);
  EXPECT_DEATH(arena.Allocate(100), "kBlockBytes");
  EXPECT_DEATH(arena.Allocate(0), "bytes > 0");
  EXPECT_DEATH(arena.Allocate(limits::kIoBytesMax + kBlock), "kIoBytesMax");
}

// --- PostRing ------------------------------------------------------------------------------------

TEST(PostRingTest, KeepsOrderBetweenTwoThreads) {
  constexpr size_t kNodes = 300'000;
  std::vector<ReadyNode> nodes(kNodes);
  PostRing ring;
  std::thread producer([&] {
    for (ReadyNode& node : nodes) {
      while (!ring.TryPush(node)) std::this_thread::yield();
    }
  });
  for (size_t i = 0; i < kNodes; ++i) {
    ReadyNode* node = ring.TryPop();
    while (node == nullptr) {
      std::this_thread::yield();
      node = ring.TryPop();
    }
    ASSERT_EQ(node, &nodes[i]);
  }
  producer.join();
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.TryPop(), nullptr);
}

// --- texts ---------------------------------------------------------------------------------------

TEST(LogLineTest, JsonHasEtcdsKeys) {
  const WallTime when = {1767323045678901234};  // 2026-01-02 03:04:05.678 UTC
  EXPECT_EQ(
      FormatLine(LogFormat::kJson, LogLevel::kWarn, when, "\"x\" is slow", {{"took-ms", 12}}),
      R"({"level":"warn","ts":"2026-01-02T03:04:05.678Z","msg":"\"x\" is slow","took-ms":12})");
  EXPECT_EQ(FormatLine(LogFormat::kJson, LogLevel::kInfo, when, "up", {}),
            R"({"level":"info","ts":"2026-01-02T03:04:05.678Z","msg":"up"})");
}

TEST(LogLineTest, ConsoleIsTabbed) {
  const WallTime when = {1767323045678901234};
  EXPECT_EQ(FormatLine(LogFormat::kConsole, LogLevel::kError, when, "gone", {{"path", "/x"}}),
            "2026-01-02T03:04:05.678Z\terror\tgone\t{\"path\":\"/x\"}");
  EXPECT_EQ(FormatLine(LogFormat::kConsole, LogLevel::kDebug, when, "gone", {}),
            "2026-01-02T03:04:05.678Z\tdebug\tgone");
}

TEST(RingTextTest, RefusalsNameSettingAndRemedy) {
  const auto text = [](int error, std::optional<int> disabled) {
    return DescribeSetupFailure(error, disabled).ToString();
  };
  EXPECT_NE(text(EPERM, 2).find("kernel.io_uring_disabled=0"), std::string::npos);
  EXPECT_NE(text(EPERM, 1).find("io_uring_group"), std::string::npos);
  EXPECT_NE(text(EPERM, 0).find("seccomp"), std::string::npos);
  EXPECT_NE(text(EPERM, std::nullopt).find("EPERM"), std::string::npos);
  EXPECT_NE(text(ENOSYS, 0).find("ENOSYS"), std::string::npos);
  EXPECT_NE(text(ENFILE, 0).find("ENFILE"), std::string::npos);
}

TEST(ErrnoTest, FileErrorsHaveTheirCodes) {
  const std::pair<int, StatusCode> table[] = {
      {ENOSPC, StatusCode::kResourceExhausted},
      {EDQUOT, StatusCode::kResourceExhausted},
      {EIO, StatusCode::kDataLoss},
      {ENOENT, StatusCode::kNotFound},
      {EEXIST, StatusCode::kAlreadyExists},
      {EACCES, StatusCode::kPermissionDenied},
      {EROFS, StatusCode::kPermissionDenied},
      {ECANCELED, StatusCode::kCancelled},
      {EINVAL, StatusCode::kInternal},
  };
  for (const auto& [error, code] : table) {
    const Status status = FileStatus(error, "write of 4096 bytes at 8192", "/data/wal/1");
    EXPECT_EQ(status.code(), code) << ErrnoName(error);
    const std::string message(status.message());
    EXPECT_EQ(message.find("/data/wal/1: write of 4096 bytes at 8192: " + ErrnoName(error)), 0u)
        << message;
  }
  EXPECT_EQ(ErrnoName(4711), "errno 4711");
}

TEST(ErrnoTest, SocketErrorsHaveTheirCodes) {
  EXPECT_EQ(SocketStatus(ECONNRESET, "send").code(), StatusCode::kUnavailable);
  EXPECT_EQ(SocketStatus(ECONNREFUSED, "connect").code(), StatusCode::kUnavailable);
  EXPECT_EQ(SocketStatus(EADDRINUSE, "listen").code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(SocketStatus(EMFILE, "accept").code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(SocketStatus(ECANCELED, "receive").code(), StatusCode::kCancelled);
}

TEST(AddressesTest, LiteralsComeBackAndNamesAreRefused) {
  for (const Address& address :
       {Address{"127.0.0.1", 2379}, Address{"::1", 1}, Address{"0.0.0.0", 0}}) {
    const StatusOr<SystemAddress> system = ToSystem(address);
    ASSERT_TRUE(system.ok());
    EXPECT_EQ(FromSystem(*system), address);
  }
  EXPECT_EQ(ToSystem({"localhost", 1}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ToSystem({"1.2.3", 1}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace metastore::io::uring
