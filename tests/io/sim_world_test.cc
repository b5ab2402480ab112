// Aim: the world of the simulator itself: virtual time, determinism, and how a process dies.
// Method: small scripts on one or two machines; equal and different seeds are compared by their
// trace hashes.
#include "io/sim/sim_world.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/base/limits.h"
#include "io/gate.h"
#include "io/queue.h"
#include "io/runtime.h"

namespace metastore::sim {
namespace {

constexpr size_t kBlock = limits::kBlockBytes;

// Writes one block of `fill` at `offset`, durably or not.
io::Task<Status> WriteBlock(io::Runtime& runtime, io::File& file, uint64_t offset, char fill) {
  io::IoBuffer buffer = runtime.AllocateBuffer(kBlock);
  std::fill_n(buffer.data(), kBlock, fill);
  const StatusOr<size_t> written = co_await file.Write(offset, {buffer.data(), kBlock});
  co_return written.status();
}

io::Task<Status> WriteBlockDurably(io::Runtime& runtime, io::File& file, uint64_t offset,
                                   char fill) {
  io::IoBuffer buffer = runtime.AllocateBuffer(kBlock);
  std::fill_n(buffer.data(), kBlock, fill);
  const StatusOr<size_t> written =
      co_await file.DurableWrite(offset, {buffer.data(), kBlock}, io::DurableMethod::kDsync);
  co_return written.status();
}

io::Task<StatusOr<std::unique_ptr<io::File>>> CreateDurably(io::Runtime& runtime,
                                                            std::string path) {
  StatusOr<std::unique_ptr<io::File>> file = co_await runtime.OpenFile(path, io::OpenMode::kCreate);
  if (!file.ok()) co_return file.status();
  const Status synced = co_await runtime.SyncDirectory("/");
  if (!synced.ok()) co_return synced;
  co_return std::move(file);
}

// Blocks of 'a' one after the other, each durable before the next, until something fails.
io::Task<Status> AppendForEver(io::Runtime& runtime, std::string path, uint64_t& acknowledged) {
  StatusOr<std::unique_ptr<io::File>> file = co_await CreateDurably(runtime, path);
  if (!file.ok()) co_return file.status();
  for (;;) {
    const Status written = co_await WriteBlockDurably(runtime, **file, acknowledged * kBlock, 'a');
    if (!written.ok()) co_return written;
    ++acknowledged;
  }
}

io::Task<void> Discard(io::Task<Status> task) {
  const Status status = co_await std::move(task);
  EXPECT_TRUE(status.ok() || status.code() == StatusCode::kCancelled) << status;
}

io::Task<void> EchoOne(io::Listener& listener) {
  StatusOr<std::unique_ptr<io::Socket>> socket = co_await listener.Accept();
  if (!socket.ok()) co_return;
  for (;;) {
    StatusOr<io::ReceivedBytes> bytes = co_await (*socket)->Receive();
    if (!bytes.ok() || bytes->end_of_stream()) co_return;
    const Status sent = co_await (*socket)->Send(bytes->view());
    if (!sent.ok()) co_return;
  }
}

io::Task<Status> SendAndReceive(io::Runtime& runtime, io::Address to, size_t bytes_count) {
  StatusOr<std::unique_ptr<io::Socket>> socket =
      co_await runtime.Connect(to, runtime.Now() + Seconds(10));
  if (!socket.ok()) co_return socket.status();
  const std::string bytes(bytes_count, 'x');
  const Status sent = co_await (*socket)->Send(bytes);
  if (!sent.ok()) co_return sent;
  size_t received = 0;
  while (received < bytes.size()) {
    StatusOr<io::ReceivedBytes> piece = co_await (*socket)->Receive();
    if (!piece.ok()) co_return piece.status();
    if (piece->end_of_stream()) co_return UnavailableError("end of stream");
    received += piece->view().size();
  }
  co_return OkStatus();
}

struct Outcome {
  uint64_t hash = 0;
  uint64_t acknowledged = 0;
  uint64_t events = 0;
};

// Disk, network, two machines, a power loss.
Outcome RunScript(uint64_t seed) {
  SimWorld world(seed);
  SimMachine& a = world.AddMachine("a");
  SimMachine& b = world.AddMachine("b");
  io::Runtime& on_a = *a.StartProcess()[0];
  io::Runtime& on_b = *b.StartProcess(2)[1];
  Outcome outcome;
  StatusOr<std::unique_ptr<io::Listener>> listener = on_b.Listen({b.ip(), 2380});
  EXPECT_TRUE(listener.ok());
  {
    io::Gate gate(on_a.scheduler());
    io::Gate echo(on_b.scheduler());
    gate.Spawn("append", io::ReadyClass::kCritical,
               Discard(AppendForEver(on_a, "/log", outcome.acknowledged)));
    echo.Spawn("echo", io::ReadyClass::kClient, EchoOne(**listener));
    EXPECT_TRUE(world.Await(on_a, SendAndReceive(on_a, {b.ip(), 2380}, 100'000)).ok());
    world.RunFor(Milliseconds(5));
    a.PowerLoss();
    a.DrainDead();
    world.RunFor(Seconds(30));
    b.KillProcess();
    b.DrainDead();
  }
  outcome.hash = world.TraceHash();
  outcome.events = world.events_run();
  listener->reset();
  a.EndProcess();
  b.EndProcess();
  EXPECT_GE(a.disk().FileSize("/log"), outcome.acknowledged * kBlock);
  return outcome;
}

TEST(SimWorldTest, SameSeedGivesTheSameEvents) {
  const Outcome first = RunScript(7);
  const Outcome second = RunScript(7);
  EXPECT_EQ(first.hash, second.hash);
  EXPECT_EQ(first.events, second.events);
  EXPECT_EQ(first.acknowledged, second.acknowledged);
  EXPECT_GT(first.acknowledged, 3u);
}

TEST(SimWorldTest, OtherSeedsGiveOtherEvents) {
  const Outcome first = RunScript(1);
  for (uint64_t seed = 2; seed < 12; ++seed) EXPECT_NE(RunScript(seed).hash, first.hash) << seed;
}

io::Task<void> SleepFor(io::Runtime& runtime, Duration span) {
  co_await io::SleepUntil(runtime, runtime.Now() + span);
}

TEST(SimWorldTest, TimeIsVirtualAndPassesOnlyAsAsked) {
  SimWorld world(1);
  io::Runtime& runtime = *world.AddMachine("a").StartProcess()[0];
  const MonoTime start = world.Now();
  const MonoTime local = runtime.Now();
  world.RunFor(Seconds(3600));
  EXPECT_EQ(world.Now(), start + Seconds(3600));
  EXPECT_EQ(runtime.Now(), local + Seconds(3600));
  world.Await(runtime, SleepFor(runtime, Seconds(60)));
  EXPECT_GE(world.Now(), start + Seconds(3660));
  EXPECT_LE(world.Now(), start + Seconds(3660) + Milliseconds(1));
  world.machine("a").EndProcess();
}

TEST(SimWorldTest, NothingIsLeftToHappenWhenIdle) {
  SimWorld world(1);
  io::Runtime& runtime = *world.AddMachine("a").StartProcess()[0];
  EXPECT_TRUE(world.RunUntilIdle(Seconds(1)));
  EXPECT_FALSE(world.Step());
  io::Gate gate(runtime.scheduler());
  gate.Spawn("sleep", io::ReadyClass::kClient, SleepFor(runtime, Seconds(10)));
  EXPECT_FALSE(world.RunUntilIdle(Seconds(1)));
  EXPECT_EQ(gate.running(), 1u);
  EXPECT_TRUE(world.RunUntilIdle(Seconds(20)));
  EXPECT_EQ(gate.running(), 0u);
}

TEST(SimWorldTest, ActionsRunAtTheirTimeAndPredicatesStopTheRun) {
  SimWorld world(1);
  const MonoTime start = world.Now();
  std::vector<int> order;
  world.At(Milliseconds(20), [&order] { order.push_back(2); });
  world.At(Milliseconds(10), [&order] { order.push_back(1); });
  EXPECT_TRUE(world.RunUntil([&order] { return order.size() == 1; }, Seconds(1)));
  EXPECT_EQ(world.Now(), start + Milliseconds(10));
  EXPECT_FALSE(world.RunUntil([&order] { return order.size() == 3; }, Milliseconds(5)));
  EXPECT_EQ(world.Now(), start + Milliseconds(15));
  EXPECT_FALSE(world.RunUntil([&order] { return order.size() == 3; }, Seconds(1)));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

io::Task<void> YieldTimes(int times) {
  for (int i = 0; i < times; ++i) co_await io::Yield();
}

TEST(SimWorldTest, ALoopThatNeverWaitsTakesVirtualTime) {
  SimWorld world(1);
  io::Runtime& runtime = *world.AddMachine("a").StartProcess()[0];
  const MonoTime start = world.Now();
  world.Await(runtime, YieldTimes(10'000));
  EXPECT_GT(world.Now(), start + Microseconds(900));
}

TEST(SimWorldTest, ClocksDriftAndTimersFollowThem) {
  SimWorld world(1);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  machine.SetClockDrift(100'000);  // 10 % fast
  const MonoTime world_start = world.Now();
  const MonoTime local_start = runtime.Now();
  world.RunFor(Seconds(10));
  EXPECT_EQ(runtime.Now() - local_start, Seconds(11));
  world.Await(runtime, SleepFor(runtime, Seconds(11)));
  EXPECT_GE(world.Now() - world_start, Seconds(20));
  EXPECT_LE(world.Now() - world_start, Seconds(20) + Milliseconds(1));
  const MonoTime before_jump = runtime.Now();
  const WallTime wall = runtime.WallNow();
  machine.JumpWallClock(Seconds(-3600));
  EXPECT_EQ(runtime.WallNow().ns, wall.ns - Seconds(3600).ns);
  EXPECT_EQ(runtime.Now(), before_jump);
}

TEST(SimWorldTest, ADriftWhileATimerIsArmedMovesIt) {
  SimWorld world(1);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  const MonoTime start = world.Now();
  io::Gate gate(runtime.scheduler());
  gate.Spawn("sleep", io::ReadyClass::kClient, SleepFor(runtime, Seconds(10)));
  world.RunFor(Milliseconds(1));
  machine.SetClockDrift(-500'000);  // half speed
  EXPECT_TRUE(world.RunUntilIdle(Seconds(100)));
  EXPECT_GE(world.Now() - start, Seconds(19));
  EXPECT_LE(world.Now() - start, Seconds(20) + Milliseconds(1));
}

// --- death -------------------------------------------------------------------------------------

// What a node looks like to its death: loops on the disk, on a timer, on a socket, on a queue.
struct MiniNode {
  explicit MiniNode(io::Runtime& on) : runtime(on), gate(on.scheduler()), queue(8) {}

  static io::Task<void> Ticks(MiniNode& node) {
    while (!node.stop.stopped()) {
      const io::WaitResult result = co_await io::SleepUntil(
          node.runtime, node.runtime.Now() + Milliseconds(10), node.stop.token());
      if (result == io::WaitResult::kTimedOut) ++node.ticks;
    }
  }
  static io::Task<void> Takes(MiniNode& node) {
    for (;;) {
      const std::optional<int> item = co_await node.queue.Next(node.stop.token());
      if (!item.has_value()) co_return;
    }
  }
  static io::Task<void> Accepts(MiniNode& node, io::Listener& listener) {
    for (;;) {
      StatusOr<std::unique_ptr<io::Socket>> socket = co_await listener.Accept();
      if (!socket.ok()) {
        node.accept_status = socket.status();
        co_return;
      }
      StatusOr<io::ReceivedBytes> bytes = co_await (*socket)->Receive();
      node.receive_status = bytes.status();
    }
  }
  static io::Task<void> Appends(MiniNode& node) {
    node.append_status = co_await AppendForEver(node.runtime, "/log", node.acknowledged);
  }

  io::Runtime& runtime;
  io::Gate gate;
  io::StopSource stop;
  io::AsyncQueue<int> queue;
  uint64_t ticks = 0;
  uint64_t acknowledged = 0;
  Status append_status;
  Status accept_status;
  Status receive_status;
};

io::Task<void> ConnectAndHold(io::Runtime& runtime, io::Address to, Status& receive_status) {
  StatusOr<std::unique_ptr<io::Socket>> socket =
      co_await runtime.Connect(to, runtime.Now() + Seconds(5));
  if (!socket.ok()) co_return;
  StatusOr<io::ReceivedBytes> bytes = co_await (*socket)->Receive();
  receive_status = bytes.status();
}

class DeathTest : public testing::TestWithParam<bool> {
 protected:
  bool power_loss() const { return GetParam(); }
};

TEST_P(DeathTest, EveryLoopEndsAndAllIsDrained) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SimWorld world(seed);
    SimMachine& machine = world.AddMachine("node");
    SimMachine& client = world.AddMachine("client");
    io::Runtime& runtime = *machine.StartProcess()[0];
    io::Runtime& remote = *client.StartProcess()[0];
    StatusOr<std::unique_ptr<io::Listener>> listener = runtime.Listen({"0.0.0.0", 2379});
    ASSERT_TRUE(listener.ok());
    MiniNode node(runtime);
    node.gate.Spawn("ticks", io::ReadyClass::kCritical, MiniNode::Ticks(node));
    node.gate.Spawn("takes", io::ReadyClass::kClient, MiniNode::Takes(node));
    node.gate.Spawn("accepts", io::ReadyClass::kClient, MiniNode::Accepts(node, **listener));
    node.gate.Spawn("appends", io::ReadyClass::kCritical, MiniNode::Appends(node));
    Status client_status;
    io::Gate remote_gate(remote.scheduler());
    remote_gate.Spawn("hold", io::ReadyClass::kClient,
                      ConnectAndHold(remote, {machine.ip(), 2379}, client_status));
    world.RunFor(Milliseconds(50));
    const uint64_t ticks = node.ticks;
    const MonoTime instant = world.Now();
    if (power_loss()) {
      world.network().options().silent_power_loss_per_cent = 0;
      machine.PowerLoss();
    } else {
      machine.KillProcess();
    }
    EXPECT_TRUE(machine.dead());
    node.stop.RequestStop();
    machine.DrainDead();
    EXPECT_EQ(world.Now(), instant);  // draining takes no world time
    EXPECT_EQ(node.gate.running(), 0u);
    EXPECT_EQ(node.append_status.code(), StatusCode::kCancelled);
    EXPECT_EQ(node.receive_status.code(), StatusCode::kCancelled);
    EXPECT_EQ(node.accept_status.code(), StatusCode::kCancelled);
    EXPECT_LE(node.ticks, ticks + 1);
    listener->reset();
    machine.EndProcess();
    EXPECT_GE(machine.disk().FileSize("/log"), node.acknowledged * kBlock);
    EXPECT_GT(node.acknowledged, 10u);
    world.RunFor(Seconds(1));
    EXPECT_EQ(client_status.code(), StatusCode::kUnavailable);  // reset by the node's machine
    EXPECT_EQ(remote_gate.running(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, DeathTest, testing::Bool(), [](const auto& parameter) {
  return parameter.param ? std::string("PowerLoss") : std::string("Kill");
});

TEST(SimWorldTest, SleepsOfADeadProcessEndAtOnceWithItsOwnClockAhead) {
  SimWorld world(3);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  io::Gate gate(runtime.scheduler());
  gate.Spawn("sleep", io::ReadyClass::kClient, SleepFor(runtime, Seconds(3600)));
  world.RunFor(Seconds(1));
  const MonoTime local = runtime.Now();
  const MonoTime now = world.Now();
  machine.KillProcess();
  world.RunFor(Seconds(1));
  EXPECT_EQ(gate.running(), 1u);  // a dead core does not run by itself
  machine.DrainDead();
  EXPECT_EQ(gate.running(), 0u);
  EXPECT_GE(runtime.Now(), local + Seconds(3598));
  EXPECT_EQ(world.Now(), now + Seconds(1));
}

io::Task<void> CountBlocks(io::Runtime& runtime, uint64_t& written) {
  const Status ended = co_await AppendForEver(runtime, "/log", written);
  EXPECT_EQ(ended.code(), StatusCode::kCancelled);
}

TEST(SimWorldTest, APausedProcessDoesNothingUntilItGoesOnOrDies) {
  SimWorld world(6);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  io::Gate gate(runtime.scheduler());
  uint64_t written = 0;
  gate.Spawn("append", io::ReadyClass::kClient, CountBlocks(runtime, written));
  world.RunFor(Milliseconds(10));
  machine.Pause();
  const uint64_t before = written;
  EXPECT_GT(before, 10u);
  world.RunFor(Seconds(5));
  EXPECT_EQ(written, before);
  EXPECT_EQ(machine.disk().in_flight(), 0u);  // what was asked of the disk has completed
  machine.Resume();
  world.RunFor(Milliseconds(10));
  EXPECT_GT(written, before + 10);
  machine.Pause();
  world.RunFor(Seconds(1));
  machine.KillProcess();
  machine.DrainDead();
  EXPECT_EQ(gate.running(), 0u);
  machine.EndProcess();
  EXPECT_FALSE(machine.paused());
}

io::Task<void> UseEverything(io::Runtime& runtime, std::vector<StatusCode>& codes) {
  const Status made = co_await runtime.MakeDirectories("/late");
  codes.push_back(made.code());
  const StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime.OpenFile("/late/file", io::OpenMode::kCreate);
  codes.push_back(file.status().code());
  const Status removed = co_await runtime.RemoveFile("/log");
  codes.push_back(removed.code());
  const StatusOr<std::vector<io::DirectoryEntry>> listed = co_await runtime.ListDirectory("/");
  codes.push_back(listed.status().code());
  const StatusOr<io::FileSystemFacts> facts = co_await runtime.FactsOf("/");
  codes.push_back(facts.status().code());
  const StatusOr<std::unique_ptr<io::DirectoryLock>> lock = co_await runtime.LockDirectory("/");
  codes.push_back(lock.status().code());
  const StatusOr<std::unique_ptr<io::Socket>> socket =
      co_await runtime.Connect({"10.0.0.1", 1}, runtime.Now() + Seconds(1));
  codes.push_back(socket.status().code());
  const StatusOr<std::vector<io::Address>> resolved = co_await runtime.Resolve("localhost", 1);
  codes.push_back(resolved.status().code());
  const StatusOr<std::unique_ptr<io::Listener>> listener = runtime.Listen({"0.0.0.0", 1});
  codes.push_back(listener.status().code());
}

io::Task<void> WriteLate(io::Runtime& runtime, io::File& file, StatusCode& code) {
  const Status written = co_await WriteBlockDurably(runtime, file, 0, 'z');
  code = written.code();
}

TEST(SimWorldTest, NewOperationsOfADeadProcessAreCancelledAndHaveNoEffect) {
  SimWorld world(5);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  StatusOr<std::unique_ptr<io::File>> file = world.Await(runtime, CreateDurably(runtime, "/log"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(world.Await(runtime, WriteBlockDurably(runtime, **file, 0, 'a')).ok());
  machine.KillProcess();
  const uint64_t operations = machine.disk().io_count();
  std::vector<StatusCode> codes;
  StatusCode write_code = StatusCode::kOk;
  io::Gate gate(runtime.scheduler());
  gate.Spawn("late", io::ReadyClass::kClient, UseEverything(runtime, codes));
  gate.Spawn("late", io::ReadyClass::kClient, WriteLate(runtime, **file, write_code));
  machine.DrainDead();
  EXPECT_EQ(gate.running(), 0u);
  EXPECT_EQ(codes, std::vector<StatusCode>(9, StatusCode::kCancelled));
  EXPECT_EQ(write_code, StatusCode::kCancelled);
  EXPECT_EQ(machine.disk().io_count(), operations);
  EXPECT_EQ(machine.disk().ReadCached("/log", 0, kBlock), std::string(kBlock, 'a'));
  EXPECT_EQ(machine.disk().ListFiles(), std::vector<std::string>{"/log"});
  file->reset();
}

TEST(SimWorldTest, AKillKeepsWhatAPowerLossLoses) {
  for (const bool power_loss : {false, true}) {
    SimOptions options;
    options.disk.power_loss = PowerLossMode::kNothing;
    SimWorld world(9, options);
    SimMachine& machine = world.AddMachine("a");
    io::Runtime& runtime = *machine.StartProcess()[0];
    StatusOr<std::unique_ptr<io::File>> file = world.Await(runtime, CreateDurably(runtime, "/f"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(world.Await(runtime, WriteBlockDurably(runtime, **file, 0, 'a')).ok());
    ASSERT_TRUE(world.Await(runtime, WriteBlock(runtime, **file, 0, 'b')).ok());
    ASSERT_TRUE(world.Await(runtime, WriteBlock(runtime, **file, kBlock, 'c')).ok());
    if (power_loss) {
      machine.PowerLoss();
    } else {
      machine.KillProcess();
    }
    file->reset();
    machine.EndProcess();
    const std::string expected =
        power_loss ? std::string(kBlock, 'a') : std::string(kBlock, 'b') + std::string(kBlock, 'c');
    EXPECT_EQ(machine.disk().ReadCached("/f", 0, 2 * kBlock), expected);
  }
}

io::Task<StatusCode> TryLock(io::Runtime& runtime) {
  const StatusOr<std::unique_ptr<io::DirectoryLock>> lock = co_await runtime.LockDirectory("/");
  co_return lock.status().code();
}

TEST(SimWorldTest, ADeadHolderLetsGoOfItsLock) {
  SimWorld world(1);
  SimMachine& first = world.AddMachine("a");
  SimMachine& second = world.AddMachine("b");
  second.UseDisk(first.disk());
  io::Runtime& on_first = *first.StartProcess()[0];
  io::Runtime& on_second = *second.StartProcess()[0];
  StatusOr<std::unique_ptr<io::DirectoryLock>> lock =
      world.Await(on_first, on_first.LockDirectory("/"));
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(world.Await(on_second, TryLock(on_second)), StatusCode::kAlreadyExists);
  first.KillProcess();
  EXPECT_EQ(world.Await(on_second, TryLock(on_second)), StatusCode::kOk);
  lock->reset();
}

TEST(SimWorldTest, AwaitComesBackWhenTheProcessDies) {
  SimWorld world(1);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  uint64_t acknowledged = 0;
  machine.disk().CrashAt(10, SimCrash::kBefore);
  const Status status = world.Await(runtime, AppendForEver(runtime, "/log", acknowledged));
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_TRUE(machine.dead());
  EXPECT_EQ(acknowledged, 7u);  // after create and sync of the directory
  EXPECT_EQ(machine.disk().FileSize("/log"), 7 * kBlock);
}

// --- cores -------------------------------------------------------------------------------------

struct Posted : io::ReadyNode {
  std::vector<int>* order = nullptr;
  int number = 0;
};

void Record(io::ReadyNode& node) {
  auto& posted = static_cast<Posted&>(node);
  posted.order->push_back(posted.number);
}

TEST(SimWorldTest, PostsArriveInOrderAndTheRingIsBounded) {
  SimWorld world(2);
  const std::vector<io::Runtime*> cores = world.AddMachine("a").StartProcess(2);
  std::vector<int> order;
  std::vector<Posted> nodes(limits::kPostRingSlots + 1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    nodes[i].run = &Record;
    nodes[i].order = &order;
    nodes[i].number = static_cast<int>(i);
    EXPECT_EQ(cores[0]->Post(1, nodes[i]), i < limits::kPostRingSlots);
  }
  EXPECT_FALSE(nodes.back().queued);
  EXPECT_TRUE(world.RunUntilIdle(Seconds(10)));
  ASSERT_EQ(order.size(), limits::kPostRingSlots);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(SimWorldTest, PostsUnderWayReachTheDeadCore) {
  SimWorld world(2);
  SimMachine& machine = world.AddMachine("a");
  const std::vector<io::Runtime*> cores = machine.StartProcess(2);
  std::vector<int> order;
  Posted first;
  Posted second;
  for (Posted* node : {&first, &second}) {
    node->run = &Record;
    node->order = &order;
  }
  ASSERT_TRUE(cores[0]->Post(1, first));
  machine.KillProcess();
  ASSERT_TRUE(cores[0]->Post(1, second));
  machine.DrainDead();
  EXPECT_EQ(order.size(), 2u);
}

TEST(SimWorldTest, LogLinesOfAMachineAreKeptAndFound) {
  SimWorld world(4);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  runtime.log().Warn("disk is slow", {{"took_ms", 12}, {"file", "x.log"}});
  EXPECT_EQ(machine.log().Count("disk is slow"), 1u);
  EXPECT_TRUE(machine.log().Contains("\"took_ms\":12"));
  EXPECT_TRUE(machine.log().Contains("\"file\":\"x.log\""));
  EXPECT_FALSE(machine.log().Contains("other"));
  EXPECT_NE(world.PrintLogs().find("seed 4"), std::string::npos);
  EXPECT_NE(world.PrintLogs().find("warn disk is slow"), std::string::npos);
}

}  // namespace
}  // namespace metastore::sim
