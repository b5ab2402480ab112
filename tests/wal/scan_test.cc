// Aim: the verdicts, which recovery and walinspect share. Method: a log is changed in a known way;
// the verdict, file and offset must be that truth. And a live log is scanned again and again while
// it is written to.
#include "wal/scan.h"

#include <gtest/gtest.h>

#include "io/base/hash.h"

#include "tests/wal/wal_fixture.h"
#include "wal/replayer.h"

namespace metastore::wal {
namespace {

constexpr size_t kBlock = limits::kBlockBytes;

class CountingVisitor final : public LogVisitor {
 public:
  Status OnSegment(const ScannedFile&) override {
    ++segments;
    return OkStatus();
  }
  Status OnFrame(const ScannedFile&, const FoundFrame& frame) override {
    ++frames;
    RecordCursor cursor(frame);
    LoggedRecord logged;
    while (cursor.Next(logged)) ++records;
    return cursor.ok() ? OkStatus() : DataLossError("malformed");
  }
  Status OnFooter(const ScannedFile&, const Footer&) override { return OkStatus(); }
  uint64_t segments = 0;
  uint64_t frames = 0;
  uint64_t records = 0;
};

io::Task<StatusOr<Finding>> ScanOnce(io::Runtime& runtime, CountingVisitor& visitor) {
  ScanOptions options;
  options.directory = "/data/wal";
  LogScan scan(runtime, std::move(options));
  Status opened = co_await scan.OpenFiles();
  if (!opened.ok()) co_return opened;
  Status headers = co_await scan.ReadHeaders();
  if (!headers.ok()) co_return headers;
  Status walked = co_await scan.Walk(visitor);
  if (!walked.ok()) co_return walked;
  co_return scan.finding();
}

Finding Scan(WalMachine& machine) {
  CountingVisitor visitor;
  return *machine.world().Await(machine.runtime(), ScanOnce(machine.runtime(), visitor));
}

TEST(ScanTest, ACleanLogIsClean) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 300);
  ASSERT_TRUE(machine.Close().ok());
  EXPECT_EQ(VerdictText(Scan(machine).verdict), "CLEAN");
}

TEST(ScanTest, AnEmptyDirectoryIsClean) {
  WalMachine machine;
  machine.MustOpen();
  ASSERT_TRUE(machine.Close().ok());
  for (const std::string& path : machine.disk().ListFiles()) {
    ASSERT_TRUE(machine.world().Await(machine.runtime(), machine.runtime().RemoveFile(path)).ok());
  }
  EXPECT_EQ(VerdictText(Scan(machine).verdict), "CLEAN");
}

TEST(ScanTest, ATornFrameIsATornTail) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 300);
  machine.Reboot();
  const std::string path = machine.LivePaths()[0];
  machine.disk().FlipBit(path, 6 * kBlock + 300, 0);  // the last: header, epoch start, five entries
  const Finding finding = Scan(machine);
  EXPECT_EQ(VerdictText(finding.verdict), "TORN-TAIL");
  EXPECT_EQ(finding.file, path);
  EXPECT_EQ(finding.offset, 6 * kBlock);
}

TEST(ScanTest, APromisedFrameIsCorrupt) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 300);
  machine.Reboot();
  const std::string path = machine.LivePaths()[0];
  machine.disk().FlipBit(path, 5 * kBlock + 300, 0);
  const Finding finding = Scan(machine);
  EXPECT_EQ(VerdictText(finding.verdict), "CORRUPT");
  EXPECT_EQ(finding.file, path);
  EXPECT_EQ(finding.offset, 5 * kBlock);
  EXPECT_FALSE(finding.may_hide_hard_state);
}

TEST(ScanTest, SegmentsOfTwoMembersAreForeign) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 300);
  ASSERT_TRUE(machine.Close().ok());
  std::string block(kBlock, '\0');
  EncodeSegmentHeader({.cluster = ClusterId(0xc1), .member = NodeId(0xbad)}, block.data());
  machine.disk().WriteRaw("/data/wal/00000000000000000090.wal", 0, block);
  const Finding finding = Scan(machine);
  EXPECT_EQ(VerdictText(finding.verdict), "FOREIGN");
  EXPECT_EQ(finding.file, "/data/wal/00000000000000000090.wal");
}

TEST(ScanTest, ALaterReleasesSegmentIsNotCutOff) {
  WalMachine machine;
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 5, 300);
  ASSERT_TRUE(machine.Close().ok());
  std::string block = machine.disk().ReadCached(machine.LivePaths()[0], 0, kBlock);
  StoreU16(block.data() + 16, kFormatVersion + 1);
  StoreU64(block.data() + 8, Hash64(std::string_view(block).substr(16), LoadU64(block.data())));
  machine.disk().WriteRaw(machine.LivePaths()[0], 0, block);
  const Finding finding = Scan(machine);
  EXPECT_EQ(VerdictText(finding.verdict), "CORRUPT");
  EXPECT_NE(finding.detail.find("later release"), std::string::npos);
  EXPECT_EQ(machine.Open().code(), StatusCode::kDataLoss);
}

TEST(ScanTest, ALogThatIsBeingWrittenIsNeverCorrupt) {
  for (const uint32_t depth : {1u, 2u}) {
    WalMachine machine({.seed = depth, .depth = depth});
    machine.options().prepared_target = 4;
    machine.MustOpen();
    std::vector<std::unique_ptr<TestOp>> ops;
    uint64_t next = 1;
    for (int round = 0; round < 60; ++round) {
      for (int i = 0; i < 3; ++i) {
        if (!machine.log().accepting()) break;
        ops.push_back(std::make_unique<TestOp>());
        const std::string bytes(next * 731 % 20000, 'x');
        if (!machine.Submit(kGroup, {Entry(next, 1, bytes)}, *ops.back()).ok()) break;
        if (next++ % 10 == 0) machine.MustPurge(kGroup, next - 2);
      }
      const Finding finding = Scan(machine);
      EXPECT_TRUE(finding.verdict == Verdict::kClean || finding.verdict == Verdict::kTornTail)
          << VerdictText(finding.verdict) << " " << finding.file << " " << finding.offset << " "
          << finding.detail;
      if (HasFailure()) return;
    }
    EXPECT_GT(machine.log().stats().segments_sealed, 3u);
    machine.WaitFor([&] { return ops.back()->done; });
  }
}

}  // namespace
}  // namespace metastore::wal
