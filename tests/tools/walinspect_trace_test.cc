// Aim: the kernel's trace is read as it is written, whatever else is in it, and a flush's time is
// split into stages that are its own and add up to it. Method: recorded lines of kernels 6.18 and
// 6.1 on ext4 over virtio; made-up ones for other devices; random bytes.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <numeric>

#include "io/base/prng.h"
#include "tools/walinspect/flush_split.h"
#include "tools/walinspect/live_report.h"
#include "tools/walinspect/trace_text.h"

namespace metastore::walinspect {
namespace {

// One durable write of 4 KiB: data, the file system's inode, a cache flush; busy processors.
std::string Recorded() {
  std::ifstream file(MS_TEST_DATA "/walinspect/flush_6_18.trace");
  EXPECT_TRUE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}
constexpr int32_t kNode = 16792;
constexpr uint64_t kInode = 11028690;

MonoTime At(int64_t us) { return {12'230'000'000'000 + us * 1000}; }

wal::FlushRecord FlushOf(int64_t submitted_us, int64_t completed_us, uint32_t bytes = 4096) {
  return {.lsn = Lsn(9),
          .opened = At(submitted_us) - Microseconds(20),
          .submitted = At(submitted_us),
          .completed = At(completed_us),
          .bytes = bytes};
}

std::optional<SplitFlush> Split(std::string_view text, const wal::FlushRecord& flush) {
  return SplitOf(ParseTrace(text), flush, {.thread = kNode, .inodes = {kInode}});
}

int64_t Us(const SplitFlush& split, FlushStage stage) { return split.ns(stage) / 1000; }

void ExpectWhole(const SplitFlush& split) {
  const int64_t sum = std::accumulate(split.stage_ns.begin(), split.stage_ns.end(), int64_t{0});
  EXPECT_EQ(sum, (split.flush.completed - split.flush.submitted).ns);
  for (const int64_t ns : split.stage_ns) EXPECT_GE(ns, 0);
}

// A line of the trace at `us`, by the node if `task` is empty.
std::string Line(int64_t us, std::string_view text, std::string_view task = "") {
  const std::string owner = task.empty() ? Concat("metastore-", kNode) : std::string(task);
  const std::string fraction = std::to_string(1'000'000 + us).substr(1);
  return Concat("  ", owner, " [000] ..... 12230.", fraction, ": ", text, "\n");
}
constexpr std::string_view kSubmitText = "io_uring_submit_req: opcode WRITE_FIXED, flags 0x0";

// --- lines

TEST(WalinspectTrace, ReadsRecordedLines) {
  const std::vector<TraceEvent> events = ParseTrace(Recorded());
  ASSERT_EQ(events.size(), 14u);
  EXPECT_EQ(events[0].kind, TraceKind::kSubmit);
  EXPECT_EQ(events[0].thread, kNode);
  EXPECT_EQ(events[0].task, "metastore");
  EXPECT_EQ(events[0].at_ns, 12'230'308'796'000);
  EXPECT_EQ(events[2].kind, TraceKind::kIssue);
  EXPECT_EQ(events[2].device, uint64_t{254} << 32);
  EXPECT_EQ(events[2].sector, 120329440u);
  EXPECT_EQ(events[2].sectors, 8u);
  EXPECT_TRUE(events[2].write);
  EXPECT_FALSE(events[2].flush);
  EXPECT_EQ(events[4].kind, TraceKind::kSyncBegin);
  EXPECT_EQ(events[4].inode, kInode);
  EXPECT_TRUE(events[5].metadata);
  EXPECT_EQ(events[7].task, "other name");
  EXPECT_TRUE(events[8].flush && events[8].write);
  EXPECT_TRUE(events[9].flush && !events[9].write);
  EXPECT_EQ(events[10].kind, TraceKind::kComplete);
  EXPECT_EQ(events[13].kind, TraceKind::kWriteEnd);
  EXPECT_EQ(events[13].inode, kInode);
  EXPECT_TRUE(events[13].durable);
}

TEST(WalinspectTrace, ReadsKernel61sForms) {
  const auto submit = ParseTraceLine(
      "   metastore-7   [002] ..... 55.000001: io_uring_submit_sqe: ring 000000001, req "
      "0000000002, "
      "user_data 0x3, opcode WRITE, flags 0x0, non block 1, sq_thread 0");
  ASSERT_TRUE(submit.has_value());
  EXPECT_EQ(submit->kind, TraceKind::kSubmit);
  const auto complete = ParseTraceLine(
      "          <idle>-0       [001] ..s1. 55.000100: block_rq_complete: 259,1 WFS () 4096 + 16 "
      "[0]");
  ASSERT_TRUE(complete.has_value());
  EXPECT_EQ(complete->device, uint64_t{259} << 32 | 1);
  EXPECT_EQ(complete->sectors, 16u);
  EXPECT_FALSE(complete->flush);  // forced unit access: no flush of its own
  const auto remap = ParseTraceLine(
      "   metastore-7   [002] ..... 55.000002: block_bio_remap: 254,0 WS 12345 + 8 <- (253,1) 345");
  ASSERT_TRUE(remap.has_value());
  EXPECT_EQ(remap->from_device, uint64_t{253} << 32 | 1);
  EXPECT_EQ(remap->from_sector, 345u);
  const auto lost = ParseTraceLine("CPU:1 [LOST 1234 EVENTS]");
  ASSERT_TRUE(lost.has_value());
  EXPECT_EQ(lost->kind, TraceKind::kLost);
  EXPECT_EQ(lost->sectors, 1234u);
}

TEST(WalinspectTrace, WhatIsNoEventIsSkipped) {
  for (const std::string_view line : {
           "# tracer: nop",
           "",
           "CPU:1 [LOST many EVENTS]",
           "a-1 [000] ..... 1.000001: block_rq_issue: 254,0 R 4096 () 8 + 8 [a]",  // a read
           "a-1 [000] ..... 1.000001: block_rq_issue: 254,0 WS 4096 () 8 + [a]",
           "a-1 [000] ..... 1.000001: block_rq_issue: 254 WS 4096 () 8 + 8 [a]",
           "a-1 [000] ..... 1.0000000001: block_bio_queue: 254,0 WS 8 + 8 [a]",
           "a-1 [000] ..... x.000001: block_bio_queue: 254,0 WS 8 + 8 [a]",
           "a-b [000] ..... 1.000001: block_bio_queue: 254,0 WS 8 + 8 [a]",
           "a-1 [000] ..... 1.000001: block_bio_queue 254,0 WS 8 + 8 [a]",
           "a-1 [000] ..... 1.000001: sched_switch: prev_comm=a",
           "a-1 [000] ..... 1.000001: io_uring_submit_req: opcode RECV, flags 0",
           "a-1 [000] ..... 1.000001: ext4_sync_file_enter: dev 254,0 ino -1",
           "a-1 [000] ..... 1.000001: block_bio_remap: 254,0 WS 1 + 8 <- 253",
       }) {
    EXPECT_FALSE(ParseTraceLine(line).has_value()) << line;
  }
  // A task may be called anything.
  const auto odd = ParseTraceLine(
      "a [b] c-d-12 [000] ..... 1.000001: block_bio_queue: 254,0 WS 8 + 8 [a [b] c-d]");
  ASSERT_TRUE(odd.has_value());
  EXPECT_EQ(odd->task, "a [b] c-d");
  EXPECT_EQ(odd->thread, 12);
}

TEST(WalinspectTrace, HostileBytesDoNoHarm) {
  Prng prng(5);
  const std::string good = Recorded();
  const wal::FlushRecord flush = FlushOf(308'790, 352'060);
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (uint64_t i = 0; i < 1 + prng.Below(12); ++i) {
      const size_t at = prng.Below(text.size());
      switch (prng.Below(4)) {
        case 0:
          text[at] = static_cast<char>(prng.Below(256));
          break;
        case 1:
          text.erase(at, prng.Below(80));
          break;
        case 2:
          text.insert(at, text.substr(prng.Below(text.size()), prng.Below(200)));
          break;
        default:
          text[at] = "0123456789 +-,:[]()FWSM\n"[prng.Below(24)];
          break;
      }
    }
    const std::optional<SplitFlush> split = Split(text, flush);
    if (split) ExpectWhole(*split);
  }
}

// --- the split

TEST(WalinspectSplit, ARecordedFlushIsSplitToTheMicrosecond) {
  const std::optional<SplitFlush> split = Split(Recorded(), FlushOf(308'740, 352'060));
  ASSERT_TRUE(split.has_value());
  ExpectWhole(*split);
  EXPECT_EQ(Us(*split, FlushStage::kSubmit), 56);
  EXPECT_EQ(Us(*split, FlushStage::kFileSystem), 24 + 7 + 1);
  EXPECT_EQ(Us(*split, FlushStage::kBlockQueue), 17 + 10 + 11);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceWrite), 100);
  EXPECT_EQ(Us(*split, FlushStage::kMetadataWrite), 246);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceFlush), 240);
  // Three times the kernel's own thread had to run first, twice not before the next tick.
  EXPECT_EQ(Us(*split, FlushStage::kWorker), 3121 + 8 + 3462);
  EXPECT_EQ(Us(*split, FlushStage::kWakeUp), 36'017);
}

TEST(WalinspectSplit, ForcedUnitAccessNeedsNoFlush) {
  const std::string text = Line(10, kSubmitText) +
                           Line(12, "block_bio_queue: 259,0 WFS 800 + 8 [metastore]") +
                           Line(13, "block_rq_issue: 259,0 WFS 4096 () 800 + 8 [metastore]") +
                           Line(43, "block_rq_complete: 259,0 WFS () 800 + 8 [0]", "<idle>-0");
  const std::optional<SplitFlush> split = Split(text, FlushOf(8, 50));
  ASSERT_TRUE(split.has_value());
  ExpectWhole(*split);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceWrite), 30);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceFlush), 0);
  EXPECT_EQ(Us(*split, FlushStage::kWorker), 0);
  EXPECT_EQ(Us(*split, FlushStage::kWakeUp), 7);
}

TEST(WalinspectSplit, AWriteAndThenASyncIsOneFlush) {
  const std::string worker = Concat("iou-wrk-", kNode, "-55");
  const std::string file = Concat("dev 254,0 ino ", kInode, " ");
  const std::string text =
      Line(10, kSubmitText) + Line(12, "block_bio_queue: 254,0 WS 800 + 8 [metastore]") +
      Line(13, "block_rq_issue: 254,0 WS 4096 () 800 + 8 [metastore]") +
      Line(43, "block_rq_complete: 254,0 WS () 800 + 8 [0]", "<idle>-0") +
      Line(45, "iomap_dio_complete: dev 254:0 ino 0xa848d2 flags DIRECT|WRITE aio 1",
           "kworker/0:1-9") +
      Line(70, "ext4_sync_file_enter: " + file + "parent 1 datasync 1", worker) +
      Line(72, "block_bio_queue: 254,0 FWS 0 + 0 [iou-wrk]", worker) +
      Line(73, "block_rq_issue: 254,0 FF 0 () 0 + 0 [kworker]", "kworker/0:1H-8") +
      Line(93, "block_rq_complete: 254,0 FF () 0 + 0 [0]", "<idle>-0") +
      Line(94, "ext4_sync_file_exit: " + file + "ret 0", worker);
  const std::optional<SplitFlush> split = Split(text, FlushOf(9, 100));
  ASSERT_TRUE(split.has_value());
  ExpectWhole(*split);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceWrite), 30);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceFlush), 20);
  EXPECT_EQ(Us(*split, FlushStage::kWorker), 2 + 25 + 1);
  EXPECT_EQ(Us(*split, FlushStage::kFileSystem), 2 + 2);
  EXPECT_EQ(Us(*split, FlushStage::kBlockQueue), 1 + 1);
  EXPECT_EQ(Us(*split, FlushStage::kWakeUp), 6);
}

TEST(WalinspectSplit, FollowsDeviceMapperAndRequestsInParts) {
  const std::string text = Line(10, kSubmitText) +
                           Line(11, "block_bio_queue: 253,1 WS 100 + 16 [metastore]") +
                           Line(12, "block_bio_remap: 254,0 WS 2148 + 16 <- (253,1) 100") +
                           Line(20, "block_rq_issue: 254,0 WS 4096 () 2148 + 8 [metastore]") +
                           Line(21, "block_rq_issue: 254,0 WS 4096 () 2156 + 8 [metastore]") +
                           Line(60, "block_rq_complete: 254,0 WS () 2156 + 8 [0]", "<idle>-0") +
                           Line(70, "block_rq_complete: 254,0 WS () 2148 + 8 [0]", "<idle>-0");
  const std::optional<SplitFlush> split = Split(text, FlushOf(9, 75, 8192));
  ASSERT_TRUE(split.has_value());
  ExpectWhole(*split);
  EXPECT_EQ(Us(*split, FlushStage::kBlockQueue), 9);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceWrite), 50);
  EXPECT_EQ(Us(*split, FlushStage::kWakeUp), 5);
}

TEST(WalinspectSplit, OthersIoIsNotTakenForTheFlushs) {
  const std::string text =
      Line(5, kSubmitText) +  // fills a segment: of another size
      Line(6, "block_bio_queue: 254,0 WS 5000 + 2048 [metastore]") + Line(10, kSubmitText) +
      Line(11, "block_bio_queue: 254,0 WS 100 + 8 [metastore]") +
      Line(12, "block_bio_queue: 254,0 WS 9000 + 8 [other]", "other-5") +
      Line(13, "block_rq_issue: 254,0 WS 4096 () 9000 + 8 [other]", "other-5") +
      Line(20, "block_rq_issue: 254,0 WS 4096 () 100 + 8 [metastore]") +
      Line(30, "block_rq_issue: 254,0 FF 0 () 0 + 0 [other]", "other-5") +
      Line(50, "block_rq_complete: 254,0 WS () 100 + 8 [0]", "<idle>-0") + Line(55, kSubmitText) +
      Line(56, "block_bio_queue: 254,0 WS 108 + 8 [metastore]") +
      Line(80, "block_rq_complete: 254,0 FF () 0 + 0 [0]", "<idle>-0") +
      Line(90, "block_rq_complete: 254,0 WS () 9000 + 8 [0]", "<idle>-0");
  const std::optional<SplitFlush> split = Split(text, FlushOf(4, 60));
  ASSERT_TRUE(split.has_value());
  ExpectWhole(*split);
  EXPECT_EQ(Us(*split, FlushStage::kSubmit), 6);
  EXPECT_EQ(Us(*split, FlushStage::kBlockQueue), 9);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceWrite), 30);
  EXPECT_EQ(Us(*split, FlushStage::kDeviceFlush), 0);
  EXPECT_EQ(Us(*split, FlushStage::kWakeUp), 10);
}

TEST(WalinspectSplit, AnIncompleteTraceGivesNoSplit) {
  const wal::FlushRecord flush = FlushOf(308'740, 352'060);
  const std::string text = Recorded();
  EXPECT_TRUE(Split(text, flush).has_value());
  for (const std::string_view missing :
       {"io_uring_submit_req", "block_bio_queue: 254,0 WS ", "block_rq_complete: 254,0 WS () 12",
        "block_rq_complete: 254,0 WSM", "block_rq_complete: 254,0 FF"}) {
    std::string cut = text;
    const size_t at = cut.find(missing);
    ASSERT_NE(at, std::string::npos) << missing;
    const size_t begin = cut.rfind('\n', at) + 1;  // 0 on the first line
    cut.erase(begin, cut.find('\n', at) + 1 - begin);
    EXPECT_FALSE(Split(cut, flush).has_value()) << missing;
  }
  EXPECT_FALSE(Split(text, FlushOf(308'740, 352'060, 8192)).has_value());
  EXPECT_FALSE(Split("", flush).has_value());
}

TEST(WalinspectSplit, TheProfileAddsUpAndKeepsTheSlowest) {
  SplitProfile profile;
  for (int64_t i = 0; i < 10; ++i) {
    SplitFlush split{.flush = FlushOf(100, 200 + i * 10)};
    split.stage_ns[static_cast<size_t>(FlushStage::kDeviceFlush)] = 75'000;
    split.stage_ns[static_cast<size_t>(FlushStage::kWakeUp)] = 25'000 + i * 10'000;
    profile.Add(split);
  }
  EXPECT_EQ(profile.count(), 10u);
  EXPECT_NEAR(profile.Share(FlushStage::kDeviceFlush) + profile.Share(FlushStage::kWakeUp), 1,
              1e-9);
  ASSERT_EQ(profile.slowest().size(), SplitProfile::kSlowest);
  EXPECT_EQ(profile.slowest().front().flush.completed, At(290));
  const std::string text = SplitText(profile);
  EXPECT_NE(text.find("190 us (frame 9, 4.0 KiB): wake-up 115 us, device flush 75 us"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace metastore::walinspect
