// Aim: `walinspect bench` measures what the disk does, judges it as documented, ends in time and
// leaves nothing behind. Method: a simulated disk that is slow as a test says; results with known
// figures; trees of files that look like /sys.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/tools/walinspect_fixture.h"
#include "tools/walinspect/bench_report.h"

namespace metastore::walinspect {
namespace {

// --- the device

class FakeSys final {
 public:
  FakeSys() : root_(std::filesystem::path(testing::TempDir()) / "walinspect_sys") {
    std::filesystem::remove_all(root_);
  }
  ~FakeSys() { std::filesystem::remove_all(root_); }

  void Put(const std::string& path, const std::string& line) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << line << "\n";
  }
  void Number(const std::string& number, const std::string& device) {
    std::filesystem::create_directories(root_ / "dev/block");
    std::filesystem::create_directories(root_ / device);
    std::filesystem::create_symlink(root_ / device, root_ / "dev/block" / number);
  }
  std::string path() const { return root_; }

 private:
  std::filesystem::path root_;
};

TEST(WalinspectBench, AVirtualDisksPartitionIsFoundWithItsQueue) {
  FakeSys sys;
  const std::string disk = "devices/pci0/virtio1/block/vda";
  sys.Number("254:2", disk + "/vda2");
  sys.Put(disk + "/vda2/partition", "2");
  sys.Put(disk + "/size", "2048");
  sys.Put(disk + "/queue/write_cache", "write back");
  sys.Put(disk + "/queue/fua", "0");
  sys.Put(disk + "/queue/rotational", "1");
  sys.Put(disk + "/queue/scheduler", "none [mq-deadline] kyber");
  sys.Put(disk + "/queue/logical_block_size", "512");
  sys.Put(disk + "/queue/physical_block_size", "4096");
  const DeviceFacts facts = DeviceOfNumber(254, 2, sys.path());
  EXPECT_EQ(facts.name, "vda");
  EXPECT_EQ(facts.partition, "vda2");
  EXPECT_EQ(facts.transport, "virtual");
  EXPECT_EQ(facts.bytes, limits::kMiB);
  EXPECT_EQ(facts.scheduler, "mq-deadline");
  EXPECT_TRUE(facts.has_volatile_cache());
  EXPECT_EQ(facts.fua, false);
  EXPECT_FALSE(facts.rotates());
  EXPECT_EQ(DeviceText(facts),
            "device: vda, partition vda2, 1.0 MiB, blocks of 512/4096, scheduler mq-deadline, "
            "rotational 1 (a virtual disk: says nothing)\n"
            "  write cache: write back, FUA: no: a durable write is a write, then a flush of the "
            "cache\n");
}

TEST(WalinspectBench, LayersOfAMappedDeviceAreNamed) {
  FakeSys sys;
  sys.Number("253:0", "devices/virtual/block/dm-0");
  sys.Put("devices/virtual/block/dm-0/dm/name", "vg-data");
  sys.Put("devices/virtual/block/dm-0/slaves/nvme0n1/size", "1");
  sys.Put("devices/virtual/block/dm-0/queue/rotational", "1");
  const DeviceFacts facts = DeviceOfNumber(253, 0, sys.path());
  EXPECT_EQ(facts.model, "vg-data");
  EXPECT_EQ(facts.layers, std::vector<std::string>{"nvme0n1"});
  EXPECT_TRUE(facts.rotates());
  EXPECT_NE(DeviceText(facts).find("write cache and FUA unknown"), std::string::npos);
}

TEST(WalinspectBench, WithoutABlockDeviceThatIsSaid) {
  const FakeSys sys;
  const DeviceFacts facts = DeviceOfNumber(0, 44, sys.path());
  EXPECT_EQ(facts.name, "");
  EXPECT_NE(DeviceText(facts).find("no block device of its own"), std::string::npos);
}

// --- the runs

Request BenchOf(Duration time) {
  Request request{.directory = "/data"};
  request.bench.time = time;
  request.bench.cells.resize(12);  // the base and what is in one way not the base
  return request;
}

std::vector<std::string> Leftovers(InspectedMachine& inspected) {
  std::vector<std::string> paths = inspected.machine.disk().ListFiles();
  std::erase_if(paths,
                [](const std::string& path) { return path.find("bench") == std::string::npos; });
  return paths;
}

TEST(WalinspectBench, AGoodDiskIsMeasuredInEveryWayAndInTime) {
  InspectedMachine inspected;
  const MonoTime before = inspected.machine.world().Now();
  EXPECT_EQ(*inspected.Run(BenchDisk, BenchOf(Seconds(2))), kExitClean) << inspected.output;
  EXPECT_LE((inspected.machine.world().Now() - before).ns, Seconds(3).ns);
  EXPECT_TRUE(inspected.Has("GOOD: 99 of 100 durable writes of 4 KiB took at most"));
  EXPECT_TRUE(inspected.Has("; stable")) << inspected.output;
  EXPECT_TRUE(inspected.Has("wal-durable-method: ")) << inspected.output;
  EXPECT_EQ(Leftovers(inspected), std::vector<std::string>());
  EXPECT_EQ(*inspected.RunJson(BenchDisk, BenchOf(Seconds(2))), kExitClean);
  EXPECT_TRUE(inspected.output.starts_with(R"({"schema":"walinspect.bench/1","verdict":"good",)"));
  EXPECT_FALSE(inspected.Has(R"("count":0,)")) << "some cell was not measured";
}

TEST(WalinspectBench, ASlowDiskIsCalledSlowAndEndsInTime) {
  InspectedMachine inspected;
  inspected.DelayWrites([](MonoTime) { return true; }, Microseconds(25'500));
  const MonoTime before = inspected.machine.world().Now();
  EXPECT_EQ(*inspected.Run(BenchDisk, BenchOf(Seconds(5))), kExitSlow);
  EXPECT_LE((inspected.machine.world().Now() - before).ns, Seconds(8).ns);
  EXPECT_TRUE(inspected.Has("SLOW: 99 of 100")) << inspected.output;
  EXPECT_TRUE(inspected.Has("give the log another one")) << inspected.output;
}

TEST(WalinspectBench, WaitingForAProcessorIsNotBlamedOnTheDisk) {
  InspectedMachine inspected;
  inspected.machine.disk().options().latency = Microseconds(10);
  uint64_t writes = 0;
  inspected.DelayWrites([&](MonoTime) { return ++writes % 2 == 0; }, Milliseconds(12));
  EXPECT_EQ(*inspected.Run(BenchDisk, BenchOf(Seconds(4))), kExitSlow);
  EXPECT_TRUE(inspected.Has("took a whole multiple of 4.00 ms, a scheduler tick"))
      << inspected.output;
  EXPECT_FALSE(inspected.Has("give the log another one")) << inspected.output;
}

TEST(WalinspectBench, ADiskThatSlowsDownIsNotCalledStable) {
  InspectedMachine inspected;
  const MonoTime slow_from = inspected.machine.world().Now() + Milliseconds(1400);
  inspected.DelayWrites([=](MonoTime now) { return now > slow_from; }, Microseconds(700));
  EXPECT_EQ(*inspected.Run(BenchDisk, BenchOf(Seconds(2))), kExitClean);
  EXPECT_TRUE(inspected.Has("NOT stable")) << inspected.output;
}

TEST(WalinspectBench, AStopRemovesTheFiles) {
  InspectedMachine inspected;
  io::StopSource stop;
  uint64_t writes = 0;
  inspected.machine.disk().OnIo([&](const sim::SimIo& io) {
    if (io.op == sim::SimDiskOp::kDurableWrite && ++writes == 1000) stop.RequestStop();
    return sim::SimIoVerdict{};
  });
  Request request = BenchOf(Seconds(2));
  request.bench.stop = stop.token();
  const StatusOr<int> code = inspected.Run(BenchDisk, request);
  EXPECT_EQ(code.status().code(), StatusCode::kCancelled);
  EXPECT_LT(writes, 1010u);
  EXPECT_EQ(Leftovers(inspected), std::vector<std::string>());
}

TEST(WalinspectBench, AFailingDiskIsReportedAndTheFilesAreRemoved) {
  InspectedMachine inspected;
  uint64_t writes = 0;
  inspected.machine.disk().OnIo([&](const sim::SimIo& io) {
    const bool fails = io.op == sim::SimDiskOp::kDurableWrite && ++writes == 1000;
    return sim::SimIoVerdict{.fault = fails ? sim::SimFault::kWriteError : sim::SimFault::kNone};
  });
  EXPECT_EQ(inspected.Run(BenchDisk, BenchOf(Seconds(2))).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(Leftovers(inspected), std::vector<std::string>());
}

TEST(WalinspectBench, AFileOfAnotherRunIsNotTouched) {
  InspectedMachine inspected;
  const std::string path = "/data/walinspect-bench-2.tmp";
  inspected.machine.disk().WriteRaw(path, 0, "mine");
  const StatusOr<int> code = inspected.Run(BenchDisk, BenchOf(Seconds(2)));
  EXPECT_EQ(code.status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(Leftovers(inspected), std::vector<std::string>{path});
}

// --- the judgement

CellResult Result(const BenchCell& cell, uint64_t us, uint64_t count = 3000) {
  CellResult result{.cell = cell};
  for (Histogram& round : result.rounds) {
    for (uint64_t i = 0; i < count / kBenchRounds; ++i) round.Add(us * 1000);
    result.all.Merge(round);
  }
  result.took = Microseconds(static_cast<int64_t>(us * count / cell.depth));
  return result;
}

TEST(WalinspectBench, FewWritesAreEnoughToCallADiskSlowNotToCallItGood) {
  EXPECT_EQ(VerdictOf({.results = {Result(kBaseCell, 400'000, 12)}}), DiskVerdict::kSlow);
  EXPECT_EQ(VerdictOf({.results = {Result(kBaseCell, 400, 12)}}), DiskVerdict::kTooFew);
  EXPECT_EQ(VerdictOf({.results = {Result(kBaseCell, 400)}}), DiskVerdict::kGood);
  EXPECT_EQ(VerdictOf({.results = {Result(kBaseCell, 9)}}), DiskVerdict::kTooQuick);
}

TEST(WalinspectBench, FlushesThatCannotBeTrueAreDoubted) {
  const BenchCell plain{.method = BenchMethod::kPlain};
  BenchReport report{.results = {Result(kBaseCell, 100), Result(plain, 60)}};
  report.device = {.name = "sda", .transport = "other", .write_cache = "write back"};
  EXPECT_EQ(Doubts(report).size(), 0u);
  report.device.rotational = true;
  ASSERT_EQ(Doubts(report).size(), 1u);
  EXPECT_NE(Doubts(report)[0].find("the disk rotates"), std::string::npos);
  report.device.transport = "virtual";  // whose word on rotation is worth nothing
  EXPECT_EQ(Doubts(report).size(), 0u);
  report.results[1] = Result(plain, 99);
  ASSERT_EQ(Doubts(report).size(), 1u);
  EXPECT_NE(Doubts(report)[0].find("the flush does nothing"), std::string::npos);
  report.device.fua = true;  // then there is no flush to be missed
  EXPECT_EQ(Doubts(report).size(), 0u);
  report.results[0] = Result(kBaseCell, 9);
  EXPECT_EQ(Doubts(report).size(), 1u);
}

TEST(WalinspectBench, AnotherMethodIsRecommendedOnlyIfItIsClearlyQuicker) {
  const BenchCell linked{.method = BenchMethod::kLinked};
  const BenchCell separate{.method = BenchMethod::kFdatasync};
  BenchReport report{.results = {Result(kBaseCell, 100), Result(linked, 95), Result(separate, 97)}};
  EXPECT_EQ(Recommend(report).method, BenchMethod::kDsync);
  report.results[2] = Result(separate, 80);
  EXPECT_EQ(Recommend(report).method, BenchMethod::kFdatasync);
  report.results[1] = Result(linked, 70);
  EXPECT_EQ(Recommend(report).method, BenchMethod::kLinked);
  for (int i = 0; i < 60; ++i) report.results[1].all.Add(5'000'000);  // its p99 is bad
  EXPECT_EQ(Recommend(report).method, BenchMethod::kFdatasync);
}

TEST(WalinspectBench, TwoAtOnceAreRecommendedOnlyIfEverySizeGains) {
  const BenchCell two{.depth = 2};
  const BenchCell large{.bytes = limits::kMiB};
  const BenchCell large_two{.bytes = limits::kMiB, .depth = 2};
  BenchReport report{.results = {Result(kBaseCell, 100), Result(two, 110), Result(large, 900),
                                 Result(large_two, 950)}};
  EXPECT_EQ(Recommend(report).depth, 2u);
  report.results[3] = Result(large_two, 1700);
  EXPECT_EQ(Recommend(report).depth, 1u);
}

}  // namespace
}  // namespace metastore::walinspect
