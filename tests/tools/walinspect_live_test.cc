// Aim: `walinspect live` says of a node's ring what is in it, and of a file that is no ring that it
// is none. Method: made-up flushes through the report; files with and without a ring. What a
// running node shows is tested with real processes (tests/e2e/e2e_walinspect_live_test.py).
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tools/walinspect/live_report.h"
#include "tools/walinspect/node_ring.h"

namespace metastore::walinspect {
namespace {

// Flush number i: 1 ms after the one before, 100 us long, but one in a hundred 5 ms.
wal::FlushRecord Made(uint64_t i) {
  const MonoTime submitted{static_cast<int64_t>(i + 1) * 10'000'000};
  const Duration took = i % 100 == 50 ? Milliseconds(5) : Microseconds(100);
  return {.lsn = Lsn(i + 1),
          .epoch = Epoch(3),
          .segment = wal::SegmentSeq(1),
          .submitted_wall = {1'700'000'000'000'000'000 + submitted.ns},
          .opened = submitted - Microseconds(30),
          .submitted = submitted,
          .completed = submitted + took,
          .bytes = 4096,
          .body_bytes = 1000,
          .requests = 4,
          .records = 4,
          .in_flight = 1};
}

std::unique_ptr<LiveSnapshot> Snapshot(uint64_t count) {
  auto snapshot = std::make_unique<LiveSnapshot>();
  snapshot->process = 77;
  snapshot->written = count;
  snapshot->recent_span = Seconds(1);
  for (uint64_t i = 0; i < count; ++i) snapshot->Add(Made(i), i + 100 >= count);
  return snapshot;
}

bool Has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(WalinspectLive, TheReportIsTheRings) {
  const auto snapshot = Snapshot(1000);
  EXPECT_EQ(snapshot->recent_us.count(), 100u);
  EXPECT_EQ(snapshot->boot, Epoch(3));
  const LiveReport report{.snapshot = *snapshot, .directory = "DIR", .split_absent = "needs root"};
  const std::string text = LiveText(report, 0);
  for (const std::string_view part :
       {"DIR  process 77, boot 3", "last 1.0 s: 100.0 flushes/s", "4.0 requests a flush",
        "GOOD: ", "the last 1000 of 1000 flushes", "no split by the kernel's trace: needs root\n",
        "outliers beyond ", "by size: ", "histogram:", "flush time over time"}) {
    EXPECT_TRUE(Has(text, part)) << part << "\n" << text;
  }
  const std::string json = LiveJson(report);
  EXPECT_TRUE(json.starts_with("{\"schema\":\"walinspect.live/1\",")) << json;
  for (const std::string_view part :
       {"\"running\":true", "\"process\":77", "\"boot\":3", "\"written\":1000",
        "\"split_absent\":\"needs root\"", "\"recent\":{\"seconds\":1,\"flushes\":100,",
        "\"flush\":{\"count\":1000,", "\"heat_map\":"}) {
    EXPECT_TRUE(Has(json, part)) << part << "\n" << json;
  }
}

TEST(WalinspectLive, AScreenGetsTheMostTellingParts) {
  const auto snapshot = Snapshot(1000);
  const LiveReport report{.snapshot = *snapshot, .directory = "DIR", .split_absent = "x"};
  for (const size_t rows : {12u, 24u, 40u, 200u}) {
    const std::string text = LiveText(report, rows);
    EXPECT_LE(static_cast<size_t>(std::ranges::count(text, '\n')), rows);
    EXPECT_TRUE(Has(text, "flush (submission to durable)")) << rows;
  }
  EXPECT_EQ(LiveText(report, 200), LiveText(report, 0));
}

TEST(WalinspectLive, FailuresAndAnEndedNodeAreSaid) {
  auto snapshot = Snapshot(10);
  wal::FlushRecord failed = Made(10);
  failed.failed = true;
  snapshot->Add(failed, true);
  snapshot->running = false;
  const LiveReport report{.snapshot = *snapshot, .directory = "DIR"};
  EXPECT_EQ(snapshot->profile.flush_us.count(), 10u);
  EXPECT_TRUE(Has(LiveText(report, 0), "FAILED: 1 durable writes"));
  EXPECT_TRUE(Has(LiveText(report, 0), "THE NODE HAS ENDED"));
  EXPECT_TRUE(Has(LiveJson(report), "\"running\":false"));
  EXPECT_TRUE(Has(LiveJson(report), "\"failed\":1"));
}

TEST(WalinspectLive, AnEmptyRingIsAReportToo) {
  const LiveSnapshot snapshot;
  const SplitProfile split;
  const LiveReport report{.snapshot = snapshot, .directory = "DIR", .split = &split};
  EXPECT_TRUE(Has(LiveText(report, 0), "no flush\nTOO FEW"));
  EXPECT_TRUE(Has(LiveJson(report), "\"split\":{\"flushes\":0,"));
}

// --- finding the ring

class RingFileTest : public testing::Test {
 protected:
  RingFileTest() { std::filesystem::create_directories(directory_); }
  ~RingFileTest() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::vector<uint64_t>& words, size_t bytes) {
    const std::string path = directory_ + "/ring";
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(bytes));
    return path;
  }
  Status MapStatus(const std::vector<uint64_t>& words, size_t bytes) {
    return NodeRing::Map(Write(words, bytes)).status();
  }
  // A ring with one flush.
  static std::vector<uint64_t> Ring() {
    std::vector<uint64_t> words(wal::FlushRing::kShape.words());
    io::RecordRingWriter writer(words, wal::FlushRing::kShape);
    writer.Append(std::vector<uint64_t>(wal::FlushRing::kRecordWords, 5));
    return words;
  }

  const std::string directory_ = Concat("ring.", getpid());
};

TEST_F(RingFileTest, ARingIsMapped) {
  StatusOr<std::unique_ptr<NodeRing>> ring = NodeRing::Map(Write(Ring(), wal::FlushRing::kBytes));
  ASSERT_TRUE(ring.ok()) << ring.status();
  EXPECT_EQ((*ring)->ring().written(), 1u);
  EXPECT_EQ((*ring)->ring().Read(0)->lsn, Lsn(5));
  EXPECT_FALSE((*ring)->Alive());  // nobody's descriptor
}

TEST_F(RingFileTest, WhatIsNoRingIsRefusedByName) {
  const std::vector<uint64_t> ring = Ring();
  std::vector<uint64_t> newer = ring;
  ++newer[0];
  std::vector<uint64_t> larger = ring;
  larger.resize(3 * larger.size());
  const Status bad[] = {MapStatus(ring, 0),
                        MapStatus(ring, 7),
                        MapStatus(ring, wal::FlushRing::kBytes - 8),
                        MapStatus(newer, wal::FlushRing::kBytes),
                        MapStatus(larger, larger.size() * 8),
                        MapStatus(std::vector<uint64_t>(ring.size(), 1), wal::FlushRing::kBytes)};
  for (const Status& status : bad) {
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
    EXPECT_TRUE(Has(status.ToString(), directory_ + "/ring is no flush ring of this version"))
        << status;
  }
  EXPECT_EQ(MapStatus(std::vector<uint64_t>(ring.size()), wal::FlushRing::kBytes).code(),
            StatusCode::kUnavailable);  // of a node that is just starting
  EXPECT_EQ(NodeRing::Map(directory_ + "/none").status().code(), StatusCode::kNotFound);
}

TEST_F(RingFileTest, WithoutANodeNoneIsFound) {
  Write(Ring(), wal::FlushRing::kBytes);
  const StatusCode code = NodeRing::Find(directory_).status().code();
  EXPECT_TRUE(code == StatusCode::kNotFound || code == StatusCode::kPermissionDenied);
  EXPECT_EQ(NodeRing::Find(directory_ + "/none").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace metastore::walinspect
