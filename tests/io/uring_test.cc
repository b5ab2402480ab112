// Aim: what the conformance suite cannot see of the io_uring runtime's host, clock and cores:
// timers, signals, the end with work pending, refusals of io_uring by name, limits raised, posts
// between threads. Method: a host per test; waits are on events; capabilities and limits are
// changed for one test and put back.
#include "io/uring/uring_runtime.h"

#include <liburing.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "io/metrics.h"
#include "tests/io/uring_fixture.h"

namespace metastore::io::uring {
namespace {

// --- clock, timers, chance -----------------------------------------------------------------------

Task<void> SleepAndNote(Runtime& runtime, Duration span, std::vector<int64_t>& order) {
  const MonoTime until = runtime.Now() + span;
  const WaitResult result = co_await SleepUntil(runtime, until);
  EXPECT_EQ(result, WaitResult::kTimedOut);
  EXPECT_GE(runtime.Now(), until);
  order.push_back(span.us());
}

Task<void> SleepersWakeInOrder(Stage& stage) {
  std::vector<int64_t> order;
  Gate gate(stage.runtime.scheduler());
  for (const int64_t us : {3000, 1000, 0, 2000, -5}) {
    gate.Spawn("sleep", ReadyClass::kClient, SleepAndNote(stage.runtime, Microseconds(us), order));
  }
  co_await gate.Close();
  EXPECT_EQ(order, (std::vector<int64_t>{-5, 0, 1000, 2000, 3000}));
}

TEST(UringTimerTest, SleepersWakeInTheOrderOfTheirTimes) {
  RunOn(SmallOptions(), SleepersWakeInOrder);
}

struct FlagTimer : Timer {
  bool fired_once = false;
};

Task<void> CancelBeforeItFires(Stage& stage) {
  FlagTimer timer;
  timer.fired = [](Timer& self) { static_cast<FlagTimer&>(self).fired_once = true; };
  stage.runtime.Arm(timer, stage.runtime.Now() - Seconds(1));
  EXPECT_TRUE(timer.armed());
  EXPECT_FALSE(timer.fired_once);  // past, but never inside Arm
  stage.runtime.Cancel(timer);
  stage.runtime.Cancel(timer);
  co_await SleepUntil(stage.runtime, stage.runtime.Now() + Milliseconds(1));
  EXPECT_FALSE(timer.fired_once);
  stage.runtime.Arm(timer, stage.runtime.Now());
  co_await SleepUntil(stage.runtime, stage.runtime.Now() + Milliseconds(1));
  EXPECT_TRUE(timer.fired_once);
}

TEST(UringTimerTest, CancelledTimerNeverFires) { RunOn(SmallOptions(), CancelBeforeItFires); }

Task<void> DrawNumbers(Stage& stage) {
  std::set<uint64_t> seen;
  for (int i = 0; i < 2000; ++i) seen.insert(stage.runtime.Random());
  EXPECT_EQ(seen.size(), 2000u);
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  EXPECT_LT(std::abs(stage.runtime.WallNow().ns / 1'000'000'000 - now.tv_sec), 2);
  co_return;
}

TEST(UringRuntimeTest, RandomNumbersDifferAndTheWallClockIsTheSystems) {
  RunOn(SmallOptions(), DrawNumbers);
}

Task<void> OffloadWork(Stage& stage) {
  const std::thread::id here = std::this_thread::get_id();
  std::thread::id there = here;
  int sum = 0;
  for (int i = 0; i < 100; ++i) {
    co_await stage.runtime.Offload("sum", [&] {
      there = std::this_thread::get_id();
      sum += i;
    });
    EXPECT_EQ(std::this_thread::get_id(), here);
    EXPECT_NE(there, here);
  }
  EXPECT_EQ(sum, 4950);
}

TEST(UringRuntimeTest, OffloadRunsElsewhereAndComesHome) { RunOn(SmallOptions(), OffloadWork); }

Task<void> ResolveNames(Stage& stage) {
  const StatusOr<std::vector<Address>> literal = co_await stage.runtime.Resolve("::1", 7);
  EXPECT_EQ(literal.value(), (std::vector<Address>{{"::1", 7}}));
  const StatusOr<std::vector<Address>> local = co_await stage.runtime.Resolve("localhost", 9);
  EXPECT_TRUE(local.ok()) << local.status().ToString();
  EXPECT_FALSE(local->empty());
  EXPECT_EQ(local->front().port, 9);
  const StatusOr<std::vector<Address>> none = co_await stage.runtime.Resolve("no.such.invalid", 1);
  // Where the resolver cannot be reached it cannot tell either.
  EXPECT_TRUE(none.status().code() == StatusCode::kNotFound ||
              none.status().code() == StatusCode::kUnavailable)
      << none.status().ToString();
}

TEST(UringRuntimeTest, NamesResolve) { RunOn(SmallOptions(), ResolveNames); }

// --- signals and the end -------------------------------------------------------------------------

Task<void> AwaitTwoSignals(Stage& stage) {
  kill(getpid(), SIGTERM);
  const int first = co_await stage.host.WaitForSignal();
  EXPECT_EQ(first, SIGTERM);
  kill(getpid(), SIGINT);
  const int second = co_await stage.host.WaitForSignal();
  EXPECT_EQ(second, SIGINT);
}

TEST(UringHostTest, SignalsArriveThroughTheRing) {
  UringOptions options = SmallOptions();
  options.handle_signals = true;
  RunOn(std::move(options), AwaitTwoSignals);
}

Task<void> WaitForNoSignal(UringHost& host, int& number) {
  const int got = co_await host.WaitForSignal();
  number = got;
}

TEST(UringHostTest, WaitingForASignalEndsWithTheHostAndItsCode) {
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(SmallOptions());
  ASSERT_TRUE(host.ok());
  Gate gate((*host)->runtime(0).scheduler());
  int number = -1;
  const int code = (*host)->Run([&](std::span<Runtime* const> runtimes) {
    EXPECT_EQ(runtimes.size(), 1u);
    gate.Spawn("signal", ReadyClass::kCritical, WaitForNoSignal(**host, number));
    (*host)->RequestExit(7);
    (*host)->RequestExit(8);  // the first code wins
  });
  EXPECT_EQ(code, 7);
  EXPECT_EQ(number, 0);
  EXPECT_EQ(gate.running(), 0u);
}

TEST(UringHostTest, ExitMayBeAskedForByAnyThread) {
  UringOptions options = SmallOptions();
  options.reactors = 2;
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
  ASSERT_TRUE(host.ok());
  std::thread other;
  EXPECT_EQ((*host)->Run([&](std::span<Runtime* const>) {
    other = std::thread([&] { (*host)->RequestExit(3); });
  }),
            3);
  other.join();
}

TEST(UringHostTest, HostThatNeverRunsIsFreed) {
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(SmallOptions());
  ASSERT_TRUE(host.ok());
  EXPECT_EQ((*host)->runtime(0).core(), 0);
  EXPECT_EQ((*host)->runtime(0).cores_count(), 1);
}

// --- refusals and limits -------------------------------------------------------------------------

Status RefusedWith(int error) {
  UringOptions options = SmallOptions();
  options.setup = [error](unsigned, io_uring*, io_uring_params*) { return -error; };
  return UringHost::Create(std::move(options)).status();
}

TEST(UringSetupTest, RefusedRingNamesItsCauseAndRemedy) {
  const Status missing = RefusedWith(ENOSYS);
  EXPECT_EQ(missing.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(missing.message().find("ENOSYS"), absl::string_view::npos) << missing.ToString();
  EXPECT_NE(missing.message().find("seccomp"), absl::string_view::npos);
  EXPECT_EQ(RefusedWith(EPERM).code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(RefusedWith(ENOMEM).message().find("RLIMIT_MEMLOCK"), absl::string_view::npos);
  EXPECT_NE(RefusedWith(EINVAL).message().find("6.1"), absl::string_view::npos);
}

TEST(UringSetupTest, OptionsListEveryProblem) {
  UringOptions options = SmallOptions();
  EXPECT_TRUE(options.Validate().ok());
  options.reactors = 0;
  options.receive_buffers = 1000;
  options.cpu_list = {100000};
  options.arena_bytes = 5;
  options.cq_entries = 17;
  options.offload_threads = 0;
  const std::string text = UringHost::Create(std::move(options)).status().ToString();
  for (const char* part :
       {"reactors", "receive buffers", "CPU 100000", "arena", "ring entries", "offload"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST(UringSetupTest, UnusableLogOutputIsRefused) {
  UringOptions options = SmallOptions();
  options.log.outputs = {"/proc/no/such/file"};
  EXPECT_EQ(UringHost::Create(std::move(options)).status().code(), StatusCode::kInvalidArgument);
}

// Takes CAP_IPC_LOCK and the memory lock limit from this thread while it lives.
class NoLockedMemory {
 public:
  NoLockedMemory() {
    getrlimit(RLIMIT_MEMLOCK, &limit_);
    syscall(SYS_capget, &header_, data_);
    __user_cap_data_struct less[2] = {data_[0], data_[1]};
    less[0].effective &= ~(1u << CAP_IPC_LOCK);
    changed_ = syscall(SYS_capset, &header_, less) == 0;
    const rlimit none = {.rlim_cur = 2 * limits::kMiB,  // the rings fit, the arena does not
                         .rlim_max = limit_.rlim_max};
    changed_ = setrlimit(RLIMIT_MEMLOCK, &none) == 0 && changed_;
  }
  ~NoLockedMemory() {
    syscall(SYS_capset, &header_, data_);
    setrlimit(RLIMIT_MEMLOCK, &limit_);
  }
  bool changed() const { return changed_; }

 private:
  __user_cap_header_struct header_ = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data_[2] = {};
  rlimit limit_ = {};
  bool changed_ = false;
};

TEST(UringSetupTest, UnregisteredArenaServesPlainBuffersAndIsLogged) {
  const TestDirectory directory;
  const NoLockedMemory no_memory;
  if (!no_memory.changed()) GTEST_SKIP() << "capabilities cannot be changed here";
  const std::string log_path = directory.path() + "/log";
  UringOptions options = SmallOptions();
  options.log.level = LogLevel::kInfo;
  options.log.outputs = {log_path};
  {
    StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
    ASSERT_TRUE(host.ok()) << host.status().ToString();
    const IoBuffer buffer = (*host)->runtime(0).AllocateBuffer(kBlock);
    EXPECT_EQ(buffer.registered_index(), -1);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kBlock, 0u);
  }  // the log is written out when the host ends
  std::stringstream text;
  text << std::ifstream(log_path).rdbuf();
  EXPECT_NE(text.str().find("RLIMIT_MEMLOCK"), std::string::npos) << text.str();
  EXPECT_EQ(text.str().find("{\"level\":\"warn\",\"ts\":\"2"), 0u) << text.str();
}

TEST(UringSetupTest, DescriptorLimitIsRaisedToTheHardOne) {
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit low = {.rlim_cur = 256, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  {
    StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(SmallOptions());
    ASSERT_TRUE(host.ok());
    rlimit now = {};
    getrlimit(RLIMIT_NOFILE, &now);
    EXPECT_EQ(now.rlim_cur, before.rlim_max);
  }
  setrlimit(RLIMIT_NOFILE, &before);
}

// --- several cores -------------------------------------------------------------------------------

// Goes back and forth between two cores; each visit counts on the core it is on.
struct Ball : ReadyNode {
  std::span<Runtime* const> runtimes;
  size_t at = 0;
  uint64_t left = 0;
  uint64_t* landed = nullptr;  // one counter a core
  std::atomic<int>* in_play = nullptr;
  UringHost* host = nullptr;
};

void Bounce(ReadyNode& node) {
  auto& ball = static_cast<Ball&>(node);
  ++ball.landed[ball.at];
  Runtime& here = *ball.runtimes[ball.at];
  EXPECT_EQ(here.core(), static_cast<int>(ball.at));
  if (ball.left == 0) {
    if (ball.in_play->fetch_sub(1) == 1) ball.host->RequestExit(0);
    return;
  }
  --ball.left;
  ball.at = 1 - ball.at;
  EXPECT_TRUE(here.Post(static_cast<int>(ball.at), ball));
}

TEST(UringPostTest, MillionPostsBothWaysLoseNothing) {
  constexpr size_t kBalls = 100;
  constexpr uint64_t kBounces = 20000;  // of each: a million posts each way
  UringOptions options = SmallOptions();
  options.reactors = 2;
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
  ASSERT_TRUE(host.ok()) << host.status().ToString();
  std::vector<Ball> balls(kBalls);
  uint64_t landed[2] = {};
  std::atomic<int> in_play = kBalls;
  std::vector<Runtime*> runtimes;
  const int code = (*host)->Run([&](std::span<Runtime* const> all) {
    runtimes.assign(all.begin(), all.end());
    for (Ball& ball : balls) {
      ball.run = Bounce;
      ball.runtimes = runtimes;
      ball.left = kBounces;
      ball.landed = landed;
      ball.in_play = &in_play;
      ball.host = host->get();
      EXPECT_TRUE(runtimes[0]->Post(0, ball));
    }
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(landed[0], kBalls * (kBounces / 2 + 1));
  EXPECT_EQ(landed[1], kBalls * (kBounces / 2));
  EXPECT_EQ((*host)->stats(0).overflows + (*host)->stats(1).overflows, 0u);
}

TEST(UringPostTest, LonePostsWakeASleepingCore) {
  // One ball at a time: both cores fall asleep between visits, so every bounce needs its wake.
  constexpr uint64_t kBounces = 20000;
  UringOptions options = SmallOptions();
  options.reactors = 2;
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
  ASSERT_TRUE(host.ok());
  uint64_t landed[2] = {};
  std::atomic<int> in_play = 1;
  std::vector<Runtime*> runtimes;
  Ball ball;
  (*host)->Run([&](std::span<Runtime* const> all) {
    runtimes.assign(all.begin(), all.end());
    ball.run = Bounce;
    ball.runtimes = runtimes;
    ball.left = kBounces;
    ball.landed = landed;
    ball.in_play = &in_play;
    ball.host = host->get();
    EXPECT_TRUE(runtimes[0]->Post(0, ball));
  });
  EXPECT_EQ(landed[0] + landed[1], kBounces + 1);
}

// Many nodes posted in one turn: order is kept, and a full ring refuses.
struct Numbered : ReadyNode {
  size_t number = 0;
  std::vector<size_t>* seen = nullptr;
};

TEST(UringPostTest, OrderIsKeptAndAFullRingRefuses) {
  UringOptions options = SmallOptions();
  options.reactors = 2;
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
  ASSERT_TRUE(host.ok());
  constexpr size_t kNodes = limits::kPostRingSlots + 1;
  std::vector<Numbered> nodes(kNodes);
  std::vector<size_t> seen;
  Runtime& first = (*host)->runtime(0);
  // Before Run nobody takes them: the ring fills up.
  for (size_t i = 0; i < kNodes; ++i) {
    nodes[i].number = i;
    nodes[i].seen = &seen;
    nodes[i].run = [](ReadyNode& self) {
      auto& node = static_cast<Numbered&>(self);
      node.seen->push_back(node.number);
    };
    EXPECT_EQ(first.Post(1, nodes[i]), i < limits::kPostRingSlots) << i;
  }
  EXPECT_FALSE(nodes.back().queued);
  (*host)->Run([&](std::span<Runtime* const>) { (*host)->RequestExit(0); });
  ASSERT_EQ(seen.size(), limits::kPostRingSlots);
  for (size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], i);
}

struct PostCounts final : MetricsSource {
  void CollectMetrics(int core, MetricList& list) const override {
    list.Counter("posts_total", "Posts.", core == 0 ? 3 : 4);
  }
};

Task<void> GatherFromBoth(Stage& stage) {
  const PostCounts counts;
  Runtime* const cores[2] = {&stage.host.runtime(0), &stage.host.runtime(1)};
  const std::vector<MetricList> lists = co_await GatherMetrics(stage.runtime, cores, counts);
  EXPECT_EQ(RenderMetrics(lists),
            "# HELP posts_total Posts.\n# TYPE posts_total counter\nposts_total 7\n");
}

TEST(UringPostTest, MetricsAreGatheredFromEveryCore) {
  UringOptions options = SmallOptions();
  options.reactors = 2;
  RunOn(std::move(options), GatherFromBoth);
}

Task<void> BusyTurn(Stage& stage) {
  const MonoTime until = stage.runtime.Now() + Milliseconds(12);
  while (stage.runtime.Now() < until) {
  }
  co_await Yield();
  co_await SleepUntil(stage.runtime, stage.runtime.Now() + Microseconds(10));
  EXPECT_GE(stage.host.stats(0).slow_turns, 1u);
}

TEST(UringRuntimeTest, SlowTurnsAreCounted) { RunOn(SmallOptions(), BusyTurn); }

double ValueOf(std::string_view text, std::string_view name) {
  const size_t at = text.find(Concat("\n", name, " "));
  EXPECT_NE(at, std::string_view::npos) << name << " in\n" << text;
  return at == std::string_view::npos ? -1 : std::atof(text.data() + at + name.size() + 2);
}

Task<void> ScrapeOfAWorkingReactor(Stage& stage) {
  const MonoTime until = stage.runtime.Now() + Milliseconds(12);
  while (stage.runtime.Now() < until) {
  }
  co_await SleepUntil(stage.runtime, stage.runtime.Now() + Microseconds(10));
  std::vector<MetricList> lists(2);
  stage.host.CollectMetrics(0, lists[0]);
  stage.host.CollectProcessMetrics(lists[1]);
  const std::string text = RenderMetrics(lists);
  EXPECT_GE(ValueOf(text, "metastore_reactor_turns_total{core=\"0\"}"), 2);
  EXPECT_GE(ValueOf(text, "metastore_reactor_enters_total{core=\"0\"}"), 1);
  EXPECT_GE(ValueOf(text, "metastore_reactor_slow_turns_total{core=\"0\"}"), 1);
  EXPECT_GE(ValueOf(text, "metastore_reactor_turn_seconds_sum{core=\"0\"}"), 0.012);
  EXPECT_GE(ValueOf(text, "metastore_reactor_operations_in_flight{core=\"0\"}"), 1);
  const double open = ValueOf(text, "process_open_fds");
  EXPECT_GT(open, 3);
  EXPECT_LT(open, ValueOf(text, "process_max_fds"));
  EXPECT_GT(ValueOf(text, "process_cpu_seconds_total"), 0);
  EXPECT_GT(ValueOf(text, "process_resident_memory_bytes"), 1e6);
  const double began = ValueOf(text, "process_start_time_seconds");
  const double now = static_cast<double>(stage.runtime.WallNow().ns) / 1e9;
  EXPECT_LT(began, now + 2);
  EXPECT_GT(began, now - 600);
}

TEST(UringRuntimeTest, AScrapeTellsOfReactorAndProcess) {
  RunOn(SmallOptions(), ScrapeOfAWorkingReactor);
}

}  // namespace
}  // namespace metastore::io::uring
