// Aim: what a crash leaves on the simulated disk, at an exact operation and at any instant, and
// how tests reach for its content. Method: one core writes one file; the machine dies before,
// within or after an operation.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/sim/sim_disk.h"
#include "tests/io/sim_disk_fixture.h"

namespace metastore::sim {
namespace {

using SimDiskContentTest = SimDiskTest;

class SimDiskCrashTest : public testing::TestWithParam<SimCrashKind> {};

struct CrashOutcome {
  std::string durable;
  Status status;
};

// 8 blocks 'o', durable; then the crash at the durable write of 8 blocks 'n'.
CrashOutcome CrashAtWrite(uint64_t seed, SimCrash crash, SimCrashKind kind) {
  SimWorld world(seed);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  machine.disk().WriteRaw("/f", 0, std::string(8 * kBlock, 'o'));
  CrashOutcome outcome;
  {
    StatusOr<std::unique_ptr<io::File>> file =
        world.Await(runtime, runtime.OpenFile("/f", io::OpenMode::kReadWrite));
    CHECK(file.ok());
    machine.disk().CrashAt(1, crash, kind);
    outcome.status =
        world.Await(runtime, Put(runtime, **file, 0, std::string(8 * kBlock, 'n'), How::kDurable));
    EXPECT_TRUE(machine.dead());
  }
  machine.EndProcess();
  outcome.durable = kind == SimCrashKind::kKill ? machine.disk().ReadCached("/f", 0, 8 * kBlock)
                                                : machine.disk().ReadDurable("/f", 0, 8 * kBlock);
  return outcome;
}

TEST_P(SimDiskCrashTest, BeforeTornAndAfterLeaveWhatTheirNamesSay) {
  std::set<std::string> torn;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const CrashOutcome before = CrashAtWrite(seed, SimCrash::kBefore, GetParam());
    EXPECT_EQ(before.durable, std::string(8 * kBlock, 'o'));
    EXPECT_EQ(before.status.code(), StatusCode::kCancelled);
    const CrashOutcome after = CrashAtWrite(seed, SimCrash::kAfter, GetParam());
    EXPECT_EQ(after.durable, std::string(8 * kBlock, 'n'));
    EXPECT_EQ(after.status.code(), StatusCode::kCancelled);
    const CrashOutcome within = CrashAtWrite(seed, SimCrash::kTorn, GetParam());
    EXPECT_EQ(within.status.code(), StatusCode::kCancelled);
    EXPECT_NE(within.durable.find('o'), std::string::npos);
    EXPECT_NE(within.durable.find('n'), std::string::npos);
    for (size_t at = 0; at < within.durable.size(); at += kSectorBytes) {
      EXPECT_EQ(within.durable.substr(at, kSectorBytes),
                std::string(kSectorBytes, within.durable[at]));
    }
    torn.insert(within.durable);
  }
  EXPECT_EQ(torn.size(), 20u);
}

INSTANTIATE_TEST_SUITE_P(All, SimDiskCrashTest,
                         testing::Values(SimCrashKind::kPowerLoss, SimCrashKind::kKill),
                         [](const auto& parameter) {
                           return parameter.param == SimCrashKind::kKill ? std::string("Kill")
                                                                         : std::string("PowerLoss");
                         });

// Three durable blocks in a durable file; counts what was acknowledged.
io::Task<void> SmallScript(io::Runtime& runtime, int& acknowledged) {
  StatusOr<std::unique_ptr<io::File>> file = co_await runtime.OpenFile("/f", io::OpenMode::kCreate);
  if (!file.ok()) co_return;
  const Status named = co_await runtime.SyncDirectory("/");
  if (!named.ok()) co_return;
  for (uint64_t block = 0; block < 3; ++block) {
    const How how = block == 1 ? How::kPlain : How::kDurable;
    const std::string bytes(kBlock, static_cast<char>('a' + block));
    const Status written = co_await Put(runtime, **file, block * kBlock, bytes, how);
    if (!written.ok()) co_return;
    if (how == How::kPlain) {
      const Status synced = co_await DoSync(**file);
      if (!synced.ok()) co_return;
    }
    ++acknowledged;
  }
}

// Boots, runs the script into the crash, and checks what was acknowledged. True if it crashed.
bool CrashInScript(uint64_t number, SimCrash crash, uint64_t seed) {
  SimWorld world(seed);
  SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  machine.disk().CrashAt(number, crash);
  int acknowledged = 0;
  world.Await(runtime, SmallScript(runtime, acknowledged));
  const bool crashed = machine.dead();
  machine.EndProcess();
  if (acknowledged == 0) return crashed;
  std::string expected;
  for (int i = 0; i < acknowledged; ++i) expected.append(kBlock, static_cast<char>('a' + i));
  EXPECT_EQ(machine.disk().ReadDurable("/f", 0, expected.size()), expected);
  return crashed;
}

TEST(SimDiskSweepTest, EveryCrashPointOfAScriptKeepsWhatWasAcknowledged) {
  for (const SimCrash crash : {SimCrash::kBefore, SimCrash::kTorn, SimCrash::kAfter}) {
    uint64_t number = 1;
    while (CrashInScript(number, crash, number)) ++number;
    EXPECT_EQ(number, 7u);  // create, its name, three writes, one sync: six operations
  }
}

TEST_F(SimDiskContentTest, AHookSeesEveryOperationAndDecides) {
  std::vector<SimDiskOp> seen;
  disk_.OnIo([&seen](const SimIo& io) {
    seen.push_back(io.op);
    SimIoVerdict verdict;
    if (io.op == SimDiskOp::kDurableWrite && io.offset == kBlock && io.path == "/f") {
      verdict.fault = SimFault::kNoSpace;
    }
    return verdict;
  });
  EXPECT_TRUE(Write(0, Blocks(1, 'a')).ok());
  EXPECT_EQ(Write(1, Blocks(1, 'a')).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(Read(0).ok());
  EXPECT_TRUE(Sync().ok());
  EXPECT_TRUE(world_.Await(*runtime_, runtime_->SyncDirectory("/")).ok());
  disk_.OnIo(nullptr);
  EXPECT_TRUE(Write(1, Blocks(1, 'a')).ok());
  EXPECT_EQ(seen, (std::vector<SimDiskOp>{SimDiskOp::kDurableWrite, SimDiskOp::kDurableWrite,
                                          SimDiskOp::kRead, SimDiskOp::kSync,
                                          SimDiskOp::kSyncDirectory}));
}

TEST(SimDiskUnderWayTest, APowerLossTearsWhatIsUnderWay) {
  std::set<size_t> counts;
  bool shorn = false;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimOptions options;
    options.disk.power_loss = seed % 3 == 0 ? PowerLossMode::kEverything : PowerLossMode::kSectors;
    options.disk.shorn_sectors = true;
    SimWorld world(seed, options);
    SimMachine& machine = world.AddMachine("a");
    io::Runtime& runtime = *machine.StartProcess()[0];
    machine.disk().WriteRaw("/f", 0, std::string(4 * kBlock, 'o'));
    StatusOr<std::unique_ptr<io::File>> file =
        world.Await(runtime, runtime.OpenFile("/f", io::OpenMode::kReadWrite));
    ASSERT_TRUE(file.ok());
    io::IoBuffer buffer = runtime.AllocateBuffer(4 * kBlock);
    std::fill_n(buffer.data(), 4 * kBlock, 'n');
    io::FileOp op;
    op.kind = io::FileOpKind::kDurableWrite;
    op.data = buffer.data();
    op.size = 4 * kBlock;
    op.run = [](io::ReadyNode&) {};
    (*file)->Submit(op);
    machine.PowerLoss();
    machine.DrainDead();
    EXPECT_EQ(op.status.code(), StatusCode::kCancelled);
    const std::string bytes = machine.disk().ReadDurable("/f", 0, 4 * kBlock);
    counts.insert(static_cast<size_t>(std::count(bytes.begin(), bytes.end(), 'n')) / kSectorBytes);
    for (size_t at = 0; at < bytes.size(); at += kSectorBytes) {
      shorn = shorn || bytes[at] != bytes[at + kSectorBytes - 1];
    }
  }
  EXPECT_GT(counts.size(), 5u);
  EXPECT_TRUE(shorn);
}

TEST_F(SimDiskContentTest, ACloneAtAnInstantTearsByItsOwnSeedAndTheOriginalGoesOn) {
  ASSERT_TRUE(Write(0, Blocks(2, 'o')).ok());
  int done = 0;
  io::Gate gate(runtime_->scheduler());
  gate.Spawn("put", io::ReadyClass::kClient, PutInto(*runtime_, *file_, done));
  ASSERT_TRUE(world_.RunUntil([this] { return disk_.in_flight() == 1; }, Seconds(1)));
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimDisk& other = world_.AddDisk(Concat("clone", seed));
    other.Restore(disk_.CloneAfterPowerLoss(seed));
    outcomes.insert(other.ReadDurable("/f", 0, kBlock));
    EXPECT_EQ(other.ReadDurable("/f", kBlock, kBlock), Blocks(1, 'o'));
    SimDisk& again = world_.AddDisk(Concat("again", seed));
    again.Restore(disk_.CloneAfterPowerLoss(seed));
    EXPECT_EQ(again.ReadDurable("/f", 0, kBlock), other.ReadDurable("/f", 0, kBlock));
  }
  EXPECT_GT(outcomes.size(), 10u);
  EXPECT_TRUE(outcomes.contains(Blocks(1, 'o')));
  EXPECT_TRUE(outcomes.contains(Blocks(1, 'a')));
  world_.RunFor(Seconds(1));
  EXPECT_EQ(done, 1);
}

TEST_F(SimDiskContentTest, AnOlderImageCanBeRestored) {
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  SimImage old = disk_.Clone();
  ASSERT_TRUE(Write(0, Blocks(1, 'b')).ok());
  Down();
  disk_.Restore(std::move(old));
  Boot();
  EXPECT_EQ(*Read(0), Blocks(1, 'a'));
}

TEST_F(SimDiskContentTest, RawBytesAreWrittenAndReadAtAnyOffset) {
  disk_.WriteRaw("d/e/raw", 3, "hello");
  EXPECT_EQ(disk_.ListFiles(), (std::vector<std::string>{"/d/e/raw", "/f"}));
  EXPECT_EQ(disk_.FileSize("/d/e/raw"), 8u);
  EXPECT_EQ(disk_.ReadDurable("/d/e/raw", 2, 100), std::string("\0hello", 6));
  disk_.WriteRaw("/d/e/raw", 3, "j");
  EXPECT_EQ(disk_.ReadCached("/d/e/raw", 3, 5), "jello");
  EXPECT_EQ(disk_.ReadCached("/d/e/raw", 9, 5), "");
}

TEST_F(SimDiskContentTest, AKillMayOrMayNotFinishWhatIsUnderWay) {
  std::set<std::string> outcomes;
  for (int round = 0; round < 60; ++round) {
    disk_.WriteRaw("/f", 0, Blocks(1, 'o'));
    int done = 0;
    io::Gate gate(runtime_->scheduler());
    gate.Spawn("put", io::ReadyClass::kClient, PutInto(*runtime_, *file_, done));
    ASSERT_TRUE(world_.RunUntil([this] { return disk_.in_flight() == 1; }, Seconds(1)));
    machine_.KillProcess();
    Down();
    outcomes.insert(disk_.ReadCached("/f", 0, kBlock));
    Boot();
  }
  EXPECT_TRUE(outcomes.contains(Blocks(1, 'o')));
  EXPECT_TRUE(outcomes.contains(Blocks(1, 'a')));
  EXPECT_GT(outcomes.size(), 4u);
}

}  // namespace
}  // namespace metastore::sim
