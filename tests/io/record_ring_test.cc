// Aim: a reader of a RecordRing gets whole records or none, whatever the writer does meanwhile, and
// nothing but a ring of the right shape is taken for one. Method: wraps on purpose, half-written
// slots made by hand, and a writer in another thread.
#include "io/record_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace metastore::io {
namespace {

constexpr RecordRingShape kShape = {.format = 0x1234, .record_words = 3, .slots = 4};

class RecordRingTest : public testing::Test {
 protected:
  RecordRingReader MustOpen() {
    StatusOr<RecordRingReader> reader = RecordRingReader::Open(memory_, kShape);
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *reader;
  }
  Status OpenStatus(std::span<uint64_t> memory) {
    return RecordRingReader::Open(memory, kShape).status();
  }

  std::vector<uint64_t> memory_ = std::vector<uint64_t>(kShape.words());
};

using Record = std::array<uint64_t, 3>;

TEST_F(RecordRingTest, TheLastRecordsAreThere) {
  RecordRingWriter writer(memory_, kShape);
  const RecordRingReader reader = MustOpen();
  Record record = {};
  EXPECT_EQ(reader.written(), 0u);
  EXPECT_FALSE(reader.Read(0, record));
  for (uint64_t i = 0; i < 10; ++i) writer.Append(Record{i, i * 10, i * 100});
  EXPECT_EQ(reader.written(), 10u);
  EXPECT_EQ(reader.oldest(), 6u);
  for (uint64_t i = 0; i < 12; ++i) {
    const bool there = i >= 6 && i < 10;
    ASSERT_EQ(reader.Read(i, record), there) << i;
    if (there) EXPECT_EQ(record, (Record{i, i * 10, i * 100}));
  }
}

TEST_F(RecordRingTest, ARecordThatIsBeingOverwrittenIsNotTaken) {
  RecordRingWriter writer(memory_, kShape);
  const RecordRingReader reader = MustOpen();
  writer.Append(Record{1, 2, 3});
  Record record = {};
  ASSERT_TRUE(reader.Read(0, record));
  memory_[kShape.slot_at(0)] = 2 * 4 + 1;  // the fifth record has just begun here
  EXPECT_FALSE(reader.Read(0, record));
  EXPECT_FALSE(reader.Read(4, record));
}

TEST_F(RecordRingTest, AWriterInAnotherThreadNeverShowsHalfARecord) {
  constexpr uint64_t kRecords = 200'000;
  RecordRingWriter writer(memory_, kShape);
  const RecordRingReader reader = MustOpen();
  std::thread thread([&] {
    for (uint64_t i = 0; i < kRecords; ++i) writer.Append(Record{i, ~i, i * 7});
  });
  uint64_t taken = 0;
  Record record = {};
  while (reader.written() < kRecords) {
    for (uint64_t i = reader.oldest(); i < reader.written(); ++i) {
      if (!reader.Read(i, record)) continue;
      ++taken;
      ASSERT_EQ(record, (Record{i, ~i, i * 7}));
    }
  }
  thread.join();
  for (uint64_t i = reader.oldest(); i < kRecords; ++i) {
    ASSERT_TRUE(reader.Read(i, record));
    ++taken;
  }
  EXPECT_GE(taken, kShape.slots);
}

TEST_F(RecordRingTest, OnlyARingOfThisShapeIsOpened) {
  EXPECT_EQ(OpenStatus(memory_).code(), StatusCode::kUnavailable);  // not begun yet
  EXPECT_EQ(OpenStatus({}).code(), StatusCode::kFailedPrecondition);
  RecordRingWriter writer(memory_, kShape);
  EXPECT_TRUE(OpenStatus(memory_).ok());
  EXPECT_EQ(OpenStatus(std::span(memory_).first(memory_.size() - 1)).code(),
            StatusCode::kFailedPrecondition);
  for (const size_t word : {0u, 1u, 2u}) {
    std::vector<uint64_t> other = memory_;
    ++other[word];
    EXPECT_EQ(OpenStatus(other).code(), StatusCode::kFailedPrecondition) << word;
  }
}

}  // namespace
}  // namespace metastore::io
