// Aim: the bytes of segment headers, frames, records and footers: what is written is read back,
// what is changed is refused, and the golden files of version 1 stay readable for ever. Method:
// fixed values against files in tests/data/wal, and flips of every byte.
#include "wal/format.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "io/base/status.h"
#include "wal/footer.h"

namespace metastore::wal {
namespace {

constexpr uint64_t kStream = 0x5157e5a3;

// Hex without the trailing zero bytes.
std::string ToHex(std::string_view bytes) {
  const size_t end = bytes.find_last_not_of('\0');
  std::string hex;
  for (size_t i = 0; end != std::string_view::npos && i <= end; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
    if (i % 32 == 31) hex += '\n';
  }
  if (hex.empty() || hex.back() != '\n') hex += '\n';
  return hex;
}

std::string Golden(const std::string& name) {
  std::ifstream file(Concat(MS_TEST_DATA, "/wal/", name));
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

SegmentHeader SampleSegmentHeader() {
  return {.state = SegmentState::kActive,
          .cluster = ClusterId(0xcdf818194e3a8c32),
          .member = NodeId(0x8e9e05c52164694d),
          .stream = kStream,
          .file = 12,
          .segment_bytes = 64 << 20,
          .written = WallTime{1'700'000'000'123'456'789},
          .recycled = true,
          .segment = SegmentSeq(40),
          .first_live = SegmentSeq(37),
          .epoch = Epoch(6),
          .first_lsn = Lsn(9001),
          .previous_hash = 0x1122334455667788,
          .previous_footer_block = 16000,
          .previous_footer_blocks = 3,
          .previous_footer_hash = 0x99aabbccddeeff00};
}

std::vector<LoggedRecord> SampleRecords() {
  return {
      {GroupId(1), 70, {RecordKind::kHardState, 0, Term(3), LogIndex(8), "term 3 vote 2"}},
      {GroupId(1), 71, {RecordKind::kEntry, 1, Term(3), LogIndex(9), "put a=b"}},
      {GroupId(300), 5, {RecordKind::kSnapshotMeta, 0, Term(1), LogIndex(1 << 20), "conf"}},
      {GroupId(300), 6, {RecordKind::kPurge, 0, Term(1), LogIndex(1 << 20), ""}},
      {GroupId(1), 72, {RecordKind::kTruncate, 0, Term(0), LogIndex(9), ""}},
      {GroupId(1),
       73,
       {RecordKind::kRewrite, 0, Term(2), LogIndex(4), std::string_view("\0\xff", 2)}},
      {GroupId(1), 74, {RecordKind::kHealed, 2, Term(2), LogIndex(5), "healed"}},
  };
}

FrameHeader SampleFrameHeader() {
  FrameHeader header{.flags = kFrameHasHardState | kFrameSealsSegment,
                     .epoch = Epoch(6),
                     .lsn = Lsn(9007),
                     .requests = 5,
                     .previous_hash = 0xabcdef,
                     .durable = Lsn(9006),
                     .segment = SegmentSeq(40),
                     .block = 77,
                     .gather_us = 130,
                     .submit_wall = WallTime{1'700'000'000'500'000'000},
                     .submit_mono = MonoTime{987'654'321},
                     .first_live = SegmentSeq(38)};
  header.trace_count = 1;
  header.traces[0] = {Lsn(9006), 94, 2};
  return header;
}

// The sample frame's bytes; fills what encoding fills.
std::string EncodeSampleFrame(FrameHeader& header) {
  std::string frame(kFrameHeaderBytes, '\0');
  for (const LoggedRecord& logged : SampleRecords()) {
    std::string record(RecordBytes(logged), '\0');
    EXPECT_EQ(StoreRecord(record.data(), logged), record.data() + record.size());
    frame += record;
    ++header.record_count;
  }
  header.body_bytes = static_cast<uint32_t>(frame.size() - kFrameHeaderBytes);
  frame.resize(RoundUpToBlock(frame.size()));
  header.frame_bytes = static_cast<uint32_t>(frame.size());
  EncodeFrameHeader(header, kStream, frame.data());
  return frame;
}

TEST(SegmentHeaderTest, GoldenBytesAreWrittenAndRead) {
  std::string bytes(kSegmentHeaderBytes, 'x');
  EncodeSegmentHeader(SampleSegmentHeader(), bytes.data());
  EXPECT_EQ(ToHex(bytes), Golden("segment_header_v1.hex"));
  SegmentHeader header;
  ASSERT_EQ(DecodeSegmentHeader(bytes, header), Decoded::kGood);
  EXPECT_TRUE(header == SampleSegmentHeader());
}

TEST(SegmentHeaderTest, EveryFlippedByteIsFound) {
  std::string bytes(kSegmentHeaderBytes, 'x');
  EncodeSegmentHeader(SampleSegmentHeader(), bytes.data());
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    SegmentHeader header;
    EXPECT_EQ(DecodeSegmentHeader(bytes, header), Decoded::kInvalid) << i;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
  }
}

TEST(FrameTest, GoldenBytesAreWrittenAndRead) {
  FrameHeader header = SampleFrameHeader();
  const std::string frame = EncodeSampleFrame(header);
  EXPECT_EQ(ToHex(frame), Golden("frame_v1.hex"));
  FrameHeader read;
  ASSERT_EQ(DecodeFrameHeader(frame, {kStream, SegmentSeq(40), 77}, read), Decoded::kGood);
  EXPECT_TRUE(read == header);
  EXPECT_TRUE(FrameBodyIntact(read, kStream, frame));
  Reader reader(FrameBody(read, frame));
  for (const LoggedRecord& expected : SampleRecords()) {
    LoggedRecord logged;
    ASSERT_TRUE(ReadRecordFrom(reader, logged));
    EXPECT_EQ(logged.group, expected.group);
    EXPECT_EQ(logged.sequence, expected.sequence);
    EXPECT_EQ(logged.record.kind, expected.record.kind);
    EXPECT_EQ(logged.record.tag, expected.record.tag);
    EXPECT_EQ(logged.record.term, expected.record.term);
    EXPECT_EQ(logged.record.index, expected.record.index);
    EXPECT_EQ(logged.record.bytes, expected.record.bytes);
  }
  EXPECT_TRUE(reader.done());
}

TEST(FrameTest, EveryFlippedByteIsFound) {
  FrameHeader header = SampleFrameHeader();
  std::string frame = EncodeSampleFrame(header);
  for (size_t i = 0; i < frame.size(); ++i) {
    frame[i] = static_cast<char>(frame[i] ^ 1);
    FrameHeader read;
    const bool intact =
        DecodeFrameHeader(frame, {kStream, SegmentSeq(40), 77}, read) == Decoded::kGood &&
        FrameBodyIntact(read, kStream, frame);
    EXPECT_FALSE(intact) << i;
    frame[i] = static_cast<char>(frame[i] ^ 1);
  }
}

TEST(FrameTest, InAnotherPlaceItIsNoFrame) {
  FrameHeader header = SampleFrameHeader();
  const std::string frame = EncodeSampleFrame(header);
  FrameHeader read;
  EXPECT_EQ(DecodeFrameHeader(frame, {kStream + 1, SegmentSeq(40), 77}, read), Decoded::kInvalid);
  EXPECT_EQ(DecodeFrameHeader(frame, {kStream, SegmentSeq(41), 77}, read), Decoded::kInvalid);
  EXPECT_EQ(DecodeFrameHeader(frame, {kStream, SegmentSeq(40), 78}, read), Decoded::kInvalid);
}

TEST(FrameTest, ABodyOfAnotherEpochOrLsnDoesNotMatch) {
  FrameHeader header = SampleFrameHeader();
  const std::string frame = EncodeSampleFrame(header);
  FrameHeader other = header;
  other.epoch = Epoch(7);
  EXPECT_FALSE(FrameBodyIntact(other, kStream, frame));
  other = header;
  ++other.lsn;
  EXPECT_FALSE(FrameBodyIntact(other, kStream, frame));
}

TEST(RecordTest, TruncatedRecordsAreMalformed) {
  for (const LoggedRecord& logged : SampleRecords()) {
    std::string bytes(RecordBytes(logged), '\0');
    StoreRecord(bytes.data(), logged);
    for (size_t size = 0; size < bytes.size(); ++size) {
      Reader reader(std::string_view(bytes).substr(0, size));
      LoggedRecord read;
      EXPECT_FALSE(ReadRecordFrom(reader, read));
    }
  }
  for (const char kind : {'\0', '\x09', '\xff'}) {
    std::string bytes(20, '\0');
    bytes[0] = kind;
    Reader reader(bytes);
    LoggedRecord read;
    EXPECT_FALSE(ReadRecordFrom(reader, read));
  }
}

TEST(GroupStateTest, ItIsReadBackAndMalformedOnesAreRefused) {
  const GroupState state{.hard_state = "hard",
                         .snapshot_meta = "meta",
                         .snapshot = {Term(2), LogIndex(10)},
                         .purged = {Term(3), LogIndex(20)},
                         .last = LogIndex(25)};
  const std::string bytes = EncodeGroupState(state);
  EXPECT_EQ(ToHex(bytes), Golden("group_state_v1.hex"));
  GroupState read;
  ASSERT_TRUE(DecodeGroupState(bytes, read));
  EXPECT_EQ(read.hard_state, "hard");
  EXPECT_EQ(read.snapshot_meta, "meta");
  EXPECT_EQ(read.snapshot, state.snapshot);
  EXPECT_EQ(read.purged, state.purged);
  EXPECT_EQ(read.last, state.last);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeGroupState(std::string_view(bytes).substr(0, size), read));
  }
  EXPECT_FALSE(DecodeGroupState(bytes + "x", read));
  GroupState backwards = state;
  backwards.last = LogIndex(19);
  EXPECT_FALSE(DecodeGroupState(EncodeGroupState(backwards), read));
}

// --- footer

Footer SampleFooter() {
  return {.segment = SegmentSeq(40),
          .first_lsn = Lsn(9001),
          .last_lsn = Lsn(9003),
          .last_hash = 0x1234,
          .frame_blocks = {1, 300, 2048},
          .groups = {},
          .effects = {}};
}

std::string EncodeSampleFooter() {
  FooterBuilder builder(1 << 20);
  const auto add = [&](uint64_t group, uint64_t sequence, Effect effect) {
    builder.Add(GroupId(group), sequence, effect);
  };
  add(1, 7, {.kind = RecordKind::kGroupState, .index = LogIndex(4), .bytes = "state"});
  add(1, 8, {.kind = RecordKind::kHardState, .bytes = "old"});
  add(1, 9, {.term = Term(2), .index = LogIndex(5)});
  add(1, 10, {.term = Term(2), .index = LogIndex(6)});
  add(1, 11, {.term = Term(3), .index = LogIndex(7)});
  add(1, 12, {.term = Term(3), .index = LogIndex(8), .frame = 1});
  add(2, 1,
      {.kind = RecordKind::kSnapshotMeta,
       .term = Term(1),
       .index = LogIndex(9),
       .frame = 1,
       .bytes = "m"});
  add(1, 13, {.kind = RecordKind::kHardState, .frame = 2, .bytes = "new"});
  add(1, 14, {.kind = RecordKind::kPurge, .term = Term(2), .index = LogIndex(6), .frame = 2});
  return builder.Encode(SampleFooter(), kStream);
}

TEST(FooterTest, GoldenBytesAreWrittenAndRead) {
  const std::string bytes = EncodeSampleFooter();
  EXPECT_EQ(ToHex(bytes), Golden("footer_v1.hex"));
  Footer footer;
  ASSERT_TRUE(DecodeFooter(bytes, kStream, footer));
  EXPECT_EQ(footer.segment, SegmentSeq(40));
  EXPECT_EQ(footer.first_lsn, Lsn(9001));
  EXPECT_EQ(footer.last_lsn, Lsn(9003));
  EXPECT_EQ(footer.last_hash, 0x1234u);
  EXPECT_EQ(footer.frame_blocks, (std::vector<uint32_t>{1, 300, 2048}));
  ASSERT_EQ(footer.groups.size(), 2u);
  EXPECT_EQ(footer.groups[GroupId(1)], (FooterGroup{7, 14, true, "new"}));
  EXPECT_EQ(footer.groups[GroupId(2)], (FooterGroup{1, 1, false, ""}));
  ASSERT_EQ(footer.effects.size(), 6u) << "entries of one term and frame are one run";
  EXPECT_EQ(footer.effects[1].effect.count, 2u);
  EXPECT_EQ(footer.effects[0].effect.bytes, "state");
  EXPECT_EQ(footer.effects[4].effect.bytes, "m");
}

TEST(FooterTest, EveryFlippedByteIsFound) {
  std::string bytes = EncodeSampleFooter();
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(bytes[i] ^ 4);
    Footer footer;
    EXPECT_FALSE(DecodeFooter(bytes, kStream, footer)) << i;
    bytes[i] = static_cast<char>(bytes[i] ^ 4);
  }
  Footer footer;
  EXPECT_FALSE(DecodeFooter(bytes, kStream + 1, footer));
  EXPECT_FALSE(DecodeFooter("", kStream, footer));
}

TEST(FooterTest, ItsBoundHoldsAndBeyondTheCapThereIsNone) {
  FooterBuilder builder(20'000);
  uint64_t added = 0;
  std::string last;
  while (builder.usable() && added < 100'000) {
    const size_t bound = builder.BytesBound(3);
    FooterBuilder copy = builder;
    last = copy.Encode(SampleFooter(), kStream);
    EXPECT_LE(last.size(), bound);
    ++added;
    builder.Add(GroupId(added % 50), added,
                {.kind = added % 7 == 0 ? RecordKind::kHardState : RecordKind::kEntry,
                 .term = Term(added),
                 .index = LogIndex(added),
                 .bytes = added % 7 == 0 ? "hard state" : ""});
  }
  EXPECT_GT(added, 1000u);
  EXPECT_FALSE(builder.usable());
  EXPECT_EQ(builder.BytesBound(3), 0u);
}

}  // namespace
}  // namespace metastore::wal
