// Aim: the flush ring tells of every durable write of a log what the log itself knows. Method: logs
// in simulation with a ring, held against the frames on their disk; a write that fails.
#include "wal/flush_ring.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/wal/wal_fixture.h"
#include "wal/scan.h"

namespace metastore::wal {
namespace {

// A machine whose log notes its flushes.
class NotedMachine final {
 public:
  explicit NotedMachine(FixtureOptions options = {}) : machine(options) {
    StatusOr<std::unique_ptr<io::SharedMemory>> memory =
        machine.runtime().MakeSharedMemory(FlushRing::kName, FlushRing::kBytes);
    EXPECT_TRUE(memory.ok()) << memory.status();
    words = (*memory)->words();
    ring.emplace(*std::move(memory));
    machine.options().flush_ring = &*ring;
    machine.MustOpen();
  }
  std::vector<FlushRecord> Flushes() {
    const StatusOr<FlushRingReader> reader = FlushRingReader::Open(words);
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::vector<FlushRecord> flushes;
    for (uint64_t i = reader->oldest(); i < reader->written(); ++i) {
      flushes.push_back(reader->Read(i).value());
    }
    return flushes;
  }

  std::span<uint64_t> words;
  std::optional<FlushRing> ring;  // outlives the log
  WalMachine machine;
};

class Frames final : public LogVisitor {
 public:
  Status OnSegment(const ScannedFile&) override { return OkStatus(); }
  Status OnFrame(const ScannedFile&, const FoundFrame& frame) override {
    headers[frame.header.lsn] = frame.header;
    return OkStatus();
  }
  Status OnFooter(const ScannedFile&, const Footer&) override { return OkStatus(); }
  std::map<Lsn, FrameHeader> headers;
};

TEST(WalFlushRing, TellsOfEveryFrameWhatTheFrameSays) {
  for (const uint32_t depth : {1u, 2u}) {
    NotedMachine noted({.depth = depth});
    noted.machine.MustAppendRange(kGroup, 1, 200, 3000);
    ASSERT_TRUE(noted.machine.Close().ok());
    Frames frames;
    io::Runtime& runtime = noted.machine.runtime();
    LogScan scan(runtime, {.directory = noted.machine.options().directory});
    ASSERT_TRUE(noted.machine.world().Await(runtime, scan.OpenFiles()).ok());
    ASSERT_TRUE(noted.machine.world().Await(runtime, scan.ReadHeaders()).ok());
    ASSERT_TRUE(noted.machine.world().Await(runtime, scan.Walk(frames)).ok());
    const std::vector<FlushRecord> flushes = noted.Flushes();
    ASSERT_EQ(flushes.size(), frames.headers.size());
    for (const FlushRecord& flush : flushes) {
      const FrameHeader& header = frames.headers.at(flush.lsn);
      EXPECT_EQ(flush.epoch, header.epoch);
      EXPECT_EQ(flush.segment, header.segment);
      EXPECT_EQ(flush.submitted_wall, header.submit_wall);
      EXPECT_EQ(flush.submitted, header.submit_mono);
      EXPECT_EQ((flush.submitted - flush.opened).us(), int64_t{header.gather_us});
      EXPECT_GT(flush.completed, flush.submitted);
      EXPECT_GE(flush.bytes, header.frame_bytes);
      EXPECT_EQ(flush.body_bytes, header.body_bytes);
      EXPECT_EQ(flush.requests, header.requests);
      EXPECT_EQ(flush.records, header.record_count);
      EXPECT_EQ(flush.flags, header.flags);
      EXPECT_GE(flush.in_flight, 1u);
      EXPECT_LE(flush.in_flight, depth);
      EXPECT_FALSE(flush.failed);
    }
  }
}

TEST(WalFlushRing, AFailedWriteIsNotedAsSuch) {
  NotedMachine noted;
  noted.machine.MustAppendRange(kGroup, 1, 3, 100);
  noted.machine.disk().OnIo([](const sim::SimIo& io) {
    const bool hit = io.op == sim::SimDiskOp::kDurableWrite;
    return sim::SimIoVerdict{.fault = hit ? sim::SimFault::kWriteError : sim::SimFault::kNone};
  });
  EXPECT_FALSE(noted.machine.Append(kGroup, {Entry(4, 1, "x")}).ok());
  const std::vector<FlushRecord> flushes = noted.Flushes();
  ASSERT_FALSE(flushes.empty());
  EXPECT_TRUE(flushes.back().failed);
  for (size_t i = 0; i + 1 < flushes.size(); ++i) EXPECT_FALSE(flushes[i].failed);
  noted.machine.disk().OnIo(nullptr);
}

TEST(WalFlushRing, WordsKeepEveryField) {
  std::vector<uint64_t> words;
  class Memory final : public io::SharedMemory {
   public:
    explicit Memory(std::vector<uint64_t>& words) : words_(words) {
      words_.resize(FlushRing::kShape.words());
    }
    std::span<uint64_t> words() override { return words_; }

   private:
    std::vector<uint64_t>& words_;
  };
  FlushRing ring(std::make_unique<Memory>(words));
  const FlushRecord flush{.lsn = Lsn(UINT64_MAX),
                          .epoch = Epoch(2),
                          .segment = SegmentSeq(3),
                          .submitted_wall = {-4},
                          .opened = {-5},
                          .submitted = {INT64_MAX},
                          .completed = {INT64_MIN},
                          .bytes = UINT32_MAX,
                          .body_bytes = 6,
                          .requests = UINT32_MAX - 1,
                          .records = 7,
                          .flags = UINT32_MAX,
                          .in_flight = UINT16_MAX,
                          .failed = true};
  ring.Add(flush);
  ring.Add({});
  const StatusOr<FlushRingReader> reader = FlushRingReader::Open(words);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->Read(0), flush);
  EXPECT_EQ(reader->Read(1), FlushRecord());
  EXPECT_EQ(reader->Read(2), std::nullopt);
  EXPECT_EQ(reader->written(), 2u);
}

}  // namespace
}  // namespace metastore::wal
