// Aim: a trace of disk operations is read as it was written, its torn end is no damage, and damage
// is told with its place. Method: records through the codec; every byte of a small trace flipped.
#include "io/io_trace.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace metastore::io {
namespace {

std::vector<TraceRecord> Samples() {
  return {
      {.kind = TraceKind::kBegin,
       .op = TraceOp::kOpen,
       .mode = 2,
       .operation = 1,
       .time = {5},
       .file = 1,
       .name = "/d/f"},
      {.kind = TraceKind::kEnd, .code = StatusCode::kAlreadyExists, .operation = 1, .time = {6}},
      {.kind = TraceKind::kBegin,
       .op = TraceOp::kDurableWrite,
       .operation = 2,
       .time = {7},
       .file = 1,
       .offset = 4096,
       .size = 4,
       .data = "data"},
      {.kind = TraceKind::kNote, .mode = 3, .time = {8}, .size = 9, .name = "n", .data = "b"}};
}

std::string Encode(const std::vector<TraceRecord>& records) {
  std::string trace = IoTraceHead();
  for (const TraceRecord& record : records) AppendTraceRecord(trace, record, trace.size());
  return trace;
}

TEST(IoTraceTest, RecordsAreReadAsWritten) {
  const std::string trace = Encode(Samples());
  IoTraceReader reader(trace);
  TraceRecord record;
  for (const TraceRecord& expected : Samples()) {
    ASSERT_TRUE(reader.Next(record));
    EXPECT_EQ(record, expected);
  }
  EXPECT_FALSE(reader.Next(record));
  EXPECT_TRUE(reader.status().ok());
  EXPECT_FALSE(reader.cut_off());
}

TEST(IoTraceTest, ATornEndIsNoDamage) {
  const std::string whole = Encode(Samples());
  std::vector<TraceRecord> samples = Samples();
  samples.pop_back();
  const size_t last = Encode(samples).size();
  for (size_t size = last; size <= whole.size(); ++size) {
    IoTraceReader reader(std::string_view(whole).substr(0, size));
    TraceRecord record;
    size_t count = 0;
    while (reader.Next(record)) ++count;
    EXPECT_TRUE(reader.status().ok()) << size;
    EXPECT_EQ(count, size == whole.size() ? 4u : 3u);
    EXPECT_EQ(reader.cut_off(), size != last && size != whole.size());
  }
}

TEST(IoTraceTest, AFlippedByteIsToldOrCutsTheEndOff) {
  const std::string whole = Encode(Samples());
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    IoTraceReader reader(damaged);
    TraceRecord record;
    size_t count = 0;
    while (reader.Next(record)) ++count;
    EXPECT_LT(count, 4u) << i;
    EXPECT_TRUE(absl::IsDataLoss(reader.status()) || reader.cut_off()) << i;
  }
}

TEST(IoTraceTest, AMovedRecordIsDamaged) {
  std::string trace = IoTraceHead();
  AppendTraceRecord(trace, Samples()[0], trace.size() + 8);
  IoTraceReader reader(trace);
  TraceRecord record;
  EXPECT_FALSE(reader.Next(record));
  EXPECT_EQ(std::string(reader.status().message()), "trace, offset 16: a damaged record");
}

TEST(IoTraceTest, OtherFilesAreRefused) {
  for (const std::string_view bytes : {"", "MSIO", "something else than a trace of operations"}) {
    IoTraceReader reader(bytes);
    TraceRecord record;
    EXPECT_FALSE(reader.Next(record));
    EXPECT_TRUE(absl::IsDataLoss(reader.status())) << bytes;
  }
}

}  // namespace
}  // namespace metastore::io
