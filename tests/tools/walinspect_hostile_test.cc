// Aim: no command of walinspect crashes or hangs on what is no log, a damaged one, or frames that
// are intact and say impossible things. Method: random changes of a log's files, and a log with
// extreme numbers encoded by wal/'s own functions.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/tools/walinspect_fixture.h"
#include "wal/segment.h"

namespace metastore::walinspect {
namespace {

// Every command gives an exit code or an error that says something.
void RunAll(InspectedMachine& inspected, const std::string& directory) {
  const Request request{.directory = directory,
                        .fsync = {.svg = "heat.svg", .what_if = "policy=adaptive"},
                        .export_format = "chrome-trace",
                        .other_directory = directory};
  for (const InspectedMachine::Command command :
       {List, Dump, Verify, Stats, Fsync, Export, Diff, Repair}) {
    for (const DumpFormat format : {DumpFormat::kText, DumpFormat::kJson}) {
      Request one = request;
      one.format = format;
      const StatusOr<int> code = inspected.Run(command, one);
      if (code.ok()) {
        EXPECT_GE(*code, kExitClean);
        EXPECT_LE(*code, kExitSlow);
      } else {
        EXPECT_FALSE(code.status().message().empty());
      }
    }
  }
}

std::string RandomBytes(Prng& prng, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(prng.Below(256));
  return bytes;
}

// One random change of one file.
void Change(sim::SimDisk& disk, Prng& prng, const std::string& path) {
  const uint64_t size = disk.FileSize(path);
  const uint64_t at = prng.Below(size);
  switch (prng.Below(4)) {
    case 0:
      disk.FlipBit(path, at, static_cast<unsigned>(prng.Below(8)));
      return;
    case 1:
      disk.WriteRaw(path, at,
                    RandomBytes(prng, 1 + prng.Below(std::min<uint64_t>(size - at, 9000))));
      return;
    case 2:
      disk.MarkUnreadable(path, at);
      return;
    default:  // frames of one place in another
      disk.WriteRaw(path, at / wal::kBlockBytes * wal::kBlockBytes,
                    disk.ReadCached(path, wal::kBlockBytes, 3 * wal::kBlockBytes));
  }
}

TEST(WalinspectHostile, ChangedLogsAreSurvived) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    Prng prng(seed);
    InspectedMachine inspected;
    inspected.machine.MustAppendRange(wal::kGroup, 1, 60, 100 + prng.Below(8000));
    inspected.machine.MustPurge(wal::kGroup, 20);
    ASSERT_TRUE(inspected.machine.Close().ok());
    const std::vector<std::string> paths = inspected.machine.disk().ListFiles();
    for (uint64_t i = 1 + prng.Below(4); i > 0; --i) {
      Change(inspected.machine.disk(), prng, paths[prng.Below(paths.size())]);
    }
    RunAll(inspected, "/data/wal");
  }
}

TEST(WalinspectHostile, FilesThatAreNoLogAreSurvived) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    Prng prng(seed);
    InspectedMachine inspected;
    for (uint64_t number = 1; number <= 3; ++number) {
      const std::string path = Concat("/data/noise/", wal::SegmentFileName(number));
      inspected.machine.disk().WriteRaw(path, 0, RandomBytes(prng, 1 + prng.Below(70'000)));
    }
    RunAll(inspected, "/data/noise");
  }
}

TEST(WalinspectHostile, IntactFramesThatLieAreSurvived) {
  constexpr uint64_t kStream = 77;
  for (const int64_t extreme : {INT64_MIN, int64_t{-1}, INT64_MAX}) {
    SCOPED_TRACE(extreme);
    InspectedMachine inspected;
    std::string file(64 * wal::kBlockBytes, '\0');
    wal::EncodeSegmentHeader({.state = wal::SegmentState::kActive,
                              .stream = kStream,
                              .file = 1,
                              .segment_bytes = file.size(),
                              .segment = wal::SegmentSeq(1),
                              .first_live = wal::SegmentSeq(1),
                              .epoch = Epoch(1),
                              .first_lsn = Lsn(1)},
                             file.data());
    uint64_t previous = 0;
    for (uint32_t lsn = 1; lsn <= 40; ++lsn) {
      char* frame = file.data() + size_t{lsn} * wal::kBlockBytes;
      wal::LoggedRecord logged{.group = wal::kGroup, .sequence = lsn};
      logged.record.kind = static_cast<wal::RecordKind>(1 + lsn % 7);
      logged.record.index = LogIndex(lsn % 3 == 0 ? UINT64_MAX : lsn % 5);
      const char* end = wal::StoreRecord(frame + wal::kFrameHeaderBytes, logged);
      wal::FrameHeader header{.epoch = Epoch(1),
                              .lsn = Lsn(lsn),
                              .frame_bytes = wal::kBlockBytes,
                              .record_count = 1,
                              .requests = 1000,
                              .previous_hash = previous,
                              .durable = Lsn(lsn - 1),
                              .segment = wal::SegmentSeq(1),
                              .block = lsn,
                              .gather_us = UINT32_MAX,
                              .submit_wall = {lsn % 2 == 0 ? extreme : 0},
                              .submit_mono = {lsn % 2 == 0 ? extreme : 0},
                              .first_live = wal::SegmentSeq(1),
                              .trace_count = 1};
      header.body_bytes = static_cast<uint32_t>(end - (frame + wal::kFrameHeaderBytes));
      header.traces[0] = {.lsn = Lsn(lsn - 1), .latency_us = UINT32_MAX, .blocks = UINT32_MAX};
      wal::EncodeFrameHeader(header, kStream, frame);
      previous = header.hash;
    }
    inspected.machine.disk().WriteRaw(Concat("/data/lies/", wal::SegmentFileName(1)), 0, file);
    RunAll(inspected, "/data/lies");
    ASSERT_EQ(*inspected.Run(Stats, {.directory = "/data/lies"}), kExitClean) << inspected.output;
  }
}

}  // namespace
}  // namespace metastore::walinspect
