// Aim: every fault of the simulated disk has the effect its name says, and without faults the
// contract of io/file.h holds. Method: one core writes and reads one file; the fault is
// scripted, or its chance set to certain.
#include "io/sim/sim_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/io/sim_disk_fixture.h"

namespace metastore::sim {
namespace {

io::Task<Status> DoAllocate(io::File& file, uint64_t bytes) {
  const StatusOr<size_t> done = co_await file.Allocate(bytes);
  co_return done.status();
}

io::Task<Status> DoTruncate(io::File& file, uint64_t bytes) {
  const StatusOr<size_t> done = co_await file.Truncate(bytes);
  co_return done.status();
}

// --- no faults ---------------------------------------------------------------------------------

TEST_F(SimDiskTest, WrittenBytesAreReadAndCounted) {
  ASSERT_TRUE(Write(0, Blocks(2, 'a')).ok());
  ASSERT_TRUE(Write(1, Blocks(2, 'b'), How::kPlain).ok());
  ASSERT_TRUE(Sync().ok());
  EXPECT_EQ(file_->size(), 3 * kBlock);
  EXPECT_EQ(*Read(0, 4), Blocks(1, 'a') + Blocks(2, 'b'));
  EXPECT_EQ(*Read(3, 1), "");
  const SimDiskCounters& counters = disk_.counters();
  EXPECT_EQ(counters.durable_writes, 1u);
  EXPECT_EQ(counters.durable_bytes, 2 * kBlock);
  EXPECT_EQ(counters.writes, 1u);
  EXPECT_EQ(counters.write_bytes, 2 * kBlock);
  EXPECT_EQ(counters.syncs, 1u);
  EXPECT_EQ(counters.flushes(), 2u);
  EXPECT_EQ(counters.directory_syncs, 1u);
  EXPECT_EQ(counters.name_changes, 1u);
  EXPECT_EQ(counters.reads, 2u);
  EXPECT_EQ(counters.read_bytes, 3 * kBlock);
}

TEST_F(SimDiskTest, AcknowledgedDurabilitySurvivesEveryPowerLoss) {
  ASSERT_TRUE(Write(0, Blocks(4, 'o')).ok());
  std::string expected = Blocks(4, 'o');
  for (int round = 0; round < 40; ++round) {
    const char fill = static_cast<char>('a' + round % 26);
    const uint64_t block = world_.prng().Below(4);
    if (round % 2 == 0) {
      ASSERT_TRUE(Write(block, Blocks(1, fill)).ok());
    } else {
      ASSERT_TRUE(Write(block, Blocks(1, fill), How::kPlain).ok());
      ASSERT_TRUE(Sync().ok());
    }
    expected.replace(static_cast<size_t>(block) * kBlock, kBlock, kBlock, fill);
    machine_.PowerLoss();
    Down();
    Boot();
    ASSERT_EQ(*Read(0, 4), expected) << round;
  }
  EXPECT_EQ(disk_.counters().power_losses, 40u);
}

TEST_F(SimDiskTest, OperationsTakeTimeAndCompleteOutOfOrder) {
  struct Op : io::FileOp {
    std::vector<int>* order = nullptr;
    int number = 0;
  };
  io::IoBuffer buffer = runtime_->AllocateBuffer(kBlock);
  std::vector<Op> ops(16);
  std::vector<int> order;
  for (size_t i = 0; i < ops.size(); ++i) {
    Op& op = ops[i];
    op.kind = io::FileOpKind::kWrite;
    op.data = buffer.data();
    op.size = kBlock;
    op.offset = i * kBlock;
    op.order = &order;
    op.number = static_cast<int>(i);
    op.run = [](io::ReadyNode& node) {
      auto& self = static_cast<Op&>(node);
      EXPECT_TRUE(self.status.ok());
      self.order->push_back(self.number);
    };
    file_->Submit(op);
  }
  EXPECT_EQ(disk_.in_flight(), 16u);
  EXPECT_TRUE(order.empty());
  const MonoTime start = world_.Now();
  ASSERT_TRUE(world_.RunUntilIdle(Seconds(1)));
  EXPECT_GT(world_.Now(), start + Microseconds(50));
  EXPECT_EQ(order.size(), 16u);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(SimDiskTest, FilesAreCountedAgainstTheCapacityAndRemovalGivesRoom) {
  disk_.options().capacity_bytes = 4 * kBlock;
  ASSERT_TRUE(world_.Await(*runtime_, DoAllocate(*file_, 3 * kBlock)).ok());
  EXPECT_EQ(disk_.used_bytes(), 3 * kBlock);
  EXPECT_EQ(world_.Await(*runtime_, DoAllocate(*file_, 5 * kBlock)).code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(file_->size(), 3 * kBlock);
  EXPECT_EQ(Write(3, Blocks(2, 'a')).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(Write(0, Blocks(3, 'a')).ok());  // allocated space never lacks
  EXPECT_TRUE(Write(3, Blocks(1, 'a')).ok());
  {
    StatusOr<std::unique_ptr<io::File>> other =
        world_.Await(*runtime_, runtime_->OpenFile("/g", io::OpenMode::kCreate));
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(world_.Await(*runtime_, DoAllocate(**other, kBlock)).code(),
              StatusCode::kResourceExhausted);  // the other file has it all
  }
  StatusOr<io::FileSystemFacts> facts = world_.Await(*runtime_, runtime_->FactsOf("/"));
  EXPECT_EQ(facts->free_bytes, 0u);
  ASSERT_TRUE(world_.Await(*runtime_, DoTruncate(*file_, kBlock)).ok());
  EXPECT_EQ(disk_.used_bytes(), kBlock);
  ASSERT_TRUE(world_.Await(*runtime_, runtime_->RemoveFile("/f")).ok());
  facts = world_.Await(*runtime_, runtime_->FactsOf("/"));
  EXPECT_EQ(facts->free_bytes, 4 * kBlock);
}

TEST_F(SimDiskTest, ASegmentOfZerosIsCheap) {
  ASSERT_TRUE(world_.Await(*runtime_, DoAllocate(*file_, limits::kSegmentBytes)).ok());
  for (uint64_t at = 0; at < limits::kSegmentBytes; at += limits::kMiB) {
    ASSERT_TRUE(Write(at / kBlock, std::string(limits::kMiB, '\0'), How::kPlain).ok());
  }
  ASSERT_TRUE(Sync().ok());
  const SimImage image = disk_.Clone();
  EXPECT_EQ(image.FindFile("/f")->durable.chunk_bytes(), 0u);
  EXPECT_EQ(image.FindFile("/f")->durable_size, limits::kSegmentBytes);
}

TEST_F(SimDiskTest, OldBytesOfARecycledFileStay) {
  ASSERT_TRUE(Write(0, Blocks(8, 'o')).ok());
  ASSERT_TRUE(Write(0, Blocks(1, 'n')).ok());
  machine_.PowerLoss();
  Down();
  Boot();
  EXPECT_EQ(*Read(0, 8), Blocks(1, 'n') + Blocks(7, 'o'));
}

using SimDiskDeathTest = SimDiskTest;

TEST_F(SimDiskDeathTest, UnalignedTransfersAndChangedBuffersAreBugs) {
  io::IoBuffer buffer = runtime_->AllocateBuffer(2 * kBlock);
  io::FileOp op;
  op.run = [](io::ReadyNode&) {};
  op.kind = io::FileOpKind::kWrite;
  const auto submit = [&](uint64_t offset, char* data, size_t size) {
    op.offset = offset;
    op.data = data;
    op.size = size;
    file_->Submit(op);
  };
  EXPECT_DEATH(submit(512, buffer.data(), kBlock), "offset");
  EXPECT_DEATH(submit(0, buffer.data(), 512), "size");
  EXPECT_DEATH(submit(0, buffer.data() + 512, kBlock), "data");
  EXPECT_DEATH(
      {
        submit(0, buffer.data(), kBlock);
        buffer.data()[5] ^= 1;
        world_.RunFor(Seconds(1));
      },
      "source_hash");
}

// --- faults of single operations ---------------------------------------------------------------

TEST_F(SimDiskTest, ALostWriteIsAcknowledgedAndNotThere) {
  ASSERT_TRUE(Write(0, Blocks(1, 'o')).ok());
  disk_.FailNext(SimFault::kLostWrite, "/f");
  EXPECT_TRUE(Write(0, Blocks(1, 'n')).ok());
  EXPECT_EQ(*Read(0), Blocks(1, 'o'));
  EXPECT_EQ(disk_.fault_hits(SimFault::kLostWrite), 1u);
  EXPECT_TRUE(Write(0, Blocks(1, 'n')).ok());
  EXPECT_EQ(*Read(0), Blocks(1, 'n'));
}

TEST_F(SimDiskTest, AMisdirectedWriteLandsElsewhere) {
  ASSERT_TRUE(Write(0, Blocks(16, 'o')).ok());
  disk_.FailNext(SimFault::kMisdirectedWrite);
  EXPECT_TRUE(Write(3, Blocks(1, 'n')).ok());
  EXPECT_EQ(disk_.ReadDurable("/f", 3 * kBlock, kBlock), Blocks(1, 'o'));
  EXPECT_EQ(DurableSectors('n'), kBlock / kSectorBytes);
}

TEST_F(SimDiskTest, AMisdirectedReadGivesOtherBlocksOnce) {
  for (uint64_t block = 0; block < 8; ++block) {
    ASSERT_TRUE(Write(block, Blocks(1, static_cast<char>('a' + block))).ok());
  }
  disk_.FailNext(SimFault::kMisdirectedRead);
  EXPECT_NE(*Read(2), Blocks(1, 'c'));
  EXPECT_EQ(*Read(2), Blocks(1, 'c'));
}

TEST_F(SimDiskTest, BitRotFlipsOneBitForGood) {
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  disk_.FailNext(SimFault::kBitRot);
  const std::string rotten = *Read(0);
  int bits = 0;
  for (const char c : rotten) {
    bits += __builtin_popcount(static_cast<unsigned>(static_cast<unsigned char>(c) ^ 'a'));
  }
  EXPECT_EQ(bits, 1);
  EXPECT_EQ(*Read(0), rotten);
  machine_.PowerLoss();
  Down();
  Boot();
  EXPECT_EQ(*Read(0), rotten);
  disk_.FlipBit("/f", 100, 3);
  EXPECT_EQ((*Read(0))[100] ^ rotten[100], 1 << 3);
}

TEST_F(SimDiskTest, AnUnreadableSectorFailsUntilItIsWritten) {
  ASSERT_TRUE(Write(0, Blocks(4, 'a')).ok());
  disk_.MarkUnreadable("/f", 2 * kBlock + 700);
  EXPECT_EQ(Read(0, 4).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(Read(2).status().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(Read(0, 2).ok());
  EXPECT_TRUE(Read(3).ok());
  machine_.PowerLoss();
  Down();
  Boot();
  const Status status = Read(2).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "/f: read at offset 8192: EIO");
  ASSERT_TRUE(Write(2, Blocks(1, 'b')).ok());
  EXPECT_EQ(*Read(2), Blocks(1, 'b'));
  disk_.FailNext(SimFault::kUnreadable);
  EXPECT_FALSE(Read(0).ok());
  EXPECT_FALSE(Read(0).ok());
}

TEST_F(SimDiskTest, AReadErrorPasses) {
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  disk_.FailNext(SimFault::kReadError);
  EXPECT_EQ(Read(0).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(*Read(0), Blocks(1, 'a'));
}

TEST_F(SimDiskTest, AWriteErrorLeavesSomeSectors) {
  ASSERT_TRUE(Write(0, Blocks(4, 'o')).ok());
  disk_.FailNext(SimFault::kWriteError);
  EXPECT_EQ(Write(0, Blocks(4, 'n')).code(), StatusCode::kDataLoss);
  const std::string bytes = *Read(0, 4);
  EXPECT_NE(bytes.find('o'), std::string::npos);
  EXPECT_NE(bytes.find('n'), std::string::npos);
}

TEST_F(SimDiskTest, AShortWriteIsAnErrorAndLeavesAPrefix) {
  ASSERT_TRUE(Write(0, Blocks(4, 'o')).ok());
  disk_.FailNext(SimFault::kShortWrite);
  EXPECT_EQ(Write(0, Blocks(4, 'n')).code(), StatusCode::kInternal);
  const std::string bytes = *Read(0, 4);
  const size_t cut = bytes.find('o');
  ASSERT_NE(cut, std::string::npos);
  EXPECT_EQ(cut % kSectorBytes, 0u);
  EXPECT_EQ(bytes, std::string(cut, 'n') + std::string(4 * kBlock - cut, 'o'));
}

TEST_F(SimDiskTest, AFailedSyncLosesDataAndTheNextOneSucceeds) {
  ASSERT_TRUE(Write(0, Blocks(8, 'o')).ok());
  ASSERT_TRUE(Write(0, Blocks(8, 'n'), How::kPlain).ok());
  disk_.FailNext(SimFault::kSyncError);
  EXPECT_EQ(Sync().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(Sync().ok());
  EXPECT_EQ(*Read(0, 8), Blocks(8, 'n'));
  EXPECT_GT(DurableSectors('o'), 0u);
  EXPECT_GT(DurableSectors('n'), 0u);
}

TEST_F(SimDiskTest, AFailedDurableWriteIsPartlyThere) {
  ASSERT_TRUE(Write(0, Blocks(8, 'o')).ok());
  disk_.FailNext(SimFault::kSyncError);
  EXPECT_EQ(Write(0, Blocks(8, 'n')).code(), StatusCode::kDataLoss);
  EXPECT_GT(DurableSectors('o'), 0u);
  EXPECT_GT(DurableSectors('n'), 0u);
  EXPECT_TRUE(Sync().ok());
  EXPECT_GT(DurableSectors('o'), 0u);
}

TEST_F(SimDiskTest, AFailedSyncOfADirectoryMakesNoNameDurable) {
  StatusOr<std::unique_ptr<io::File>> made =
      world_.Await(*runtime_, runtime_->OpenFile("/g", io::OpenMode::kCreate));
  ASSERT_TRUE(made.ok());
  made->reset();
  disk_.FailNext(SimFault::kSyncError, "/");
  EXPECT_EQ(world_.Await(*runtime_, runtime_->SyncDirectory("/")).code(), StatusCode::kDataLoss);
  SimImage image = disk_.Clone();
  Prng prng(1);
  image.LosePower(PowerLossMode::kNothing, prng);
  EXPECT_EQ(image.Files(), std::vector<std::string>{"/f"});
}

TEST_F(SimDiskTest, LackOfSpaceAtAChosenOperation) {
  disk_.FailNext(SimFault::kNoSpace, "/f", 1);
  EXPECT_TRUE(Write(0, Blocks(1, 'a')).ok());
  EXPECT_EQ(Write(0, Blocks(1, 'b')).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(Write(0, Blocks(1, 'c')).ok());
  disk_.FailNext(SimFault::kNoSpace, "/g");
  EXPECT_EQ(
      world_.Await(*runtime_, runtime_->OpenFile("/g", io::OpenMode::kCreate)).status().code(),
      StatusCode::kResourceExhausted);
  disk_.FailNext(SimFault::kNoSpace);
  EXPECT_EQ(world_.Await(*runtime_, runtime_->MakeDirectories("/d")).code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(disk_.fault_hits(SimFault::kNoSpace), 3u);
}

TEST_F(SimDiskTest, AReadOnlyDiskRefusesEveryChange) {
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  disk_.SetReadOnly(true);
  EXPECT_EQ(Write(0, Blocks(1, 'b')).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(world_.Await(*runtime_, runtime_->RemoveFile("/f")).code(),
            StatusCode::kPermissionDenied);
  EXPECT_EQ(world_.Await(*runtime_, DoTruncate(*file_, 0)).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(*Read(0), Blocks(1, 'a'));
  disk_.SetReadOnly(false);
  EXPECT_TRUE(Write(0, Blocks(1, 'b')).ok());
}

TEST_F(SimDiskTest, ChancesHaveBudgets) {
  disk_.faults().Set(SimFault::kReadError, 1'000'000, 3);
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  int errors = 0;
  for (int i = 0; i < 10; ++i) errors += Read(0).ok() ? 0 : 1;
  EXPECT_EQ(errors, 3);
  disk_.faults().Set(SimFault::kReadError, 200'000);
  for (int i = 0; i < 200; ++i) errors += Read(0).ok() ? 0 : 1;
  EXPECT_GT(errors, 20);
  EXPECT_LT(errors, 80);
  disk_.faults().Clear();
  EXPECT_TRUE(Read(0).ok());
}

TEST_F(SimDiskTest, EveryFaultHasAName) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kSimFaults; ++i) names.insert(FaultName(static_cast<SimFault>(i)));
  EXPECT_EQ(names.size(), kSimFaults);
}

// --- time --------------------------------------------------------------------------------------

TEST_F(SimDiskTest, SpikesAndSlowDisksTakeTheirTime) {
  MonoTime start = world_.Now();
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  EXPECT_LT(world_.Now() - start, Milliseconds(2));
  disk_.FailNext(SimFault::kSpike);
  start = world_.Now();
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  EXPECT_GE(world_.Now() - start, Milliseconds(10));
  disk_.SetSlowFactor(100);
  start = world_.Now();
  ASSERT_TRUE(Write(0, Blocks(1, 'a')).ok());
  EXPECT_GE(world_.Now() - start, Milliseconds(2));
  EXPECT_EQ(disk_.fault_hits(SimFault::kSpike), 1u);
}

TEST_F(SimDiskTest, AStalledDiskCompletesNothingUntilReleased) {
  int done = 0;
  io::Gate gate(runtime_->scheduler());
  gate.Spawn("put", io::ReadyClass::kClient, PutInto(*runtime_, *file_, done));
  world_.RunFor(Microseconds(5));
  disk_.Stall();
  gate.Spawn("put", io::ReadyClass::kClient, PutInto(*runtime_, *file_, done));
  world_.RunFor(Seconds(100));
  EXPECT_EQ(done, 0);
  EXPECT_EQ(disk_.in_flight(), 2u);
  disk_.Release();
  world_.RunFor(Seconds(1));
  EXPECT_EQ(done, 2);
}

}  // namespace
}  // namespace metastore::sim
