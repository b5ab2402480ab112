// Aim: the vocabulary of io/base, and io's small value types, hold what their headers say.
// Method: tables of values at the edges; malformed input for every reader function.
#include <limits>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

#include "io/base/bounded_queue.h"
#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"
#include "io/base/ids.h"
#include "io/base/limits.h"
#include "io/base/prng.h"
#include "io/base/status.h"
#include "io/base/time.h"
#include "io/buffer.h"
#include "io/log.h"
#include "io/socket.h"

namespace metastore {
namespace {

TEST(CodingTest, FixedIntegersAreLittleEndianAndComeBack) {
  std::string bytes;
  PutU8(bytes, 0x01);
  PutU16(bytes, 0x0203);
  PutU32(bytes, 0x04050607);
  PutU64(bytes, 0x08090a0b0c0d0e0f);
  EXPECT_EQ(bytes, std::string("\x01\x03\x02\x07\x06\x05\x04\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08", 15));
  Reader reader(bytes);
  EXPECT_EQ(reader.U8(), 0x01);
  EXPECT_EQ(reader.U16(), 0x0203);
  EXPECT_EQ(reader.U32(), 0x04050607u);
  EXPECT_EQ(reader.U64(), 0x08090a0b0c0d0e0fu);
  EXPECT_TRUE(reader.done());
}

TEST(CodingTest, VarintsComeBackInTheirLength) {
  const uint64_t values[] = {
      0, 1, 127, 128, 16383, 16384, UINT32_MAX, uint64_t{1} << 62, uint64_t{1} << 63, UINT64_MAX};
  for (const uint64_t value : values) {
    std::string bytes;
    PutVarint(bytes, value);
    EXPECT_EQ(bytes.size(), VarintBytes(value)) << value;
    Reader reader(bytes);
    EXPECT_EQ(reader.Varint(), value);
    EXPECT_TRUE(reader.done()) << value;
  }
}

TEST(CodingTest, MalformedVarintsFail) {
  const std::string truncated = "\x80";
  const std::string too_long = std::string(10, '\x80') + '\x01';
  const std::string too_big = std::string(9, '\xff') + '\x02';
  for (const std::string& bytes : {truncated, too_long, too_big, std::string()}) {
    Reader reader(bytes);
    EXPECT_EQ(reader.Varint(), 0u);
    EXPECT_FALSE(reader.ok());
    EXPECT_FALSE(reader.done());
  }
}

TEST(CodingTest, ReaderFailsSoftlyAndForEver) {
  std::string bytes = "abc";
  Reader reader(bytes);
  EXPECT_EQ(reader.U32(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.U8(), 0);  // although three bytes are there
  EXPECT_EQ(reader.Bytes(1), "");
  EXPECT_FALSE(reader.ok());
}

TEST(CodingTest, LengthPrefixBeyondTheEndFails) {
  std::string bytes;
  PutBytes(bytes, "hello");
  Reader whole(bytes);
  EXPECT_EQ(whole.LengthPrefixed(), "hello");
  EXPECT_TRUE(whole.done());
  Reader cut(std::string_view(bytes).substr(0, 5));
  EXPECT_EQ(cut.LengthPrefixed(), "");
  EXPECT_FALSE(cut.ok());
  std::string huge;
  PutVarint(huge, UINT64_MAX);
  Reader absurd(huge);
  EXPECT_EQ(absurd.LengthPrefixed(), "");
  EXPECT_FALSE(absurd.ok());
}

TEST(CodingTest, ZigZagKeepsSmallNumbersSmall) {
  EXPECT_EQ(ZigZag(0), 0u);
  EXPECT_EQ(ZigZag(-1), 1u);
  EXPECT_EQ(ZigZag(1), 2u);
  for (const int64_t value : {INT64_MIN, INT64_C(-5), INT64_C(0), INT64_C(7), INT64_MAX}) {
    EXPECT_EQ(UnZigZag(ZigZag(value)), value);
  }
}

TEST(BoundedQueueTest, RefusesWhenFullAndKeepsOrderAcrossItsEnd) {
  BoundedQueue<std::string> queue(2);
  EXPECT_TRUE(queue.TryPush("a"));
  EXPECT_TRUE(queue.TryPush("b"));
  std::string third = "c";
  EXPECT_FALSE(queue.TryPush(std::move(third)));
  EXPECT_EQ(third, "c");  // untouched
  EXPECT_EQ(queue.Pop(), "a");
  EXPECT_TRUE(queue.TryPush("d"));
  EXPECT_EQ(queue.front(), "b");
  EXPECT_EQ(queue.Pop(), "b");
  EXPECT_EQ(queue.Pop(), "d");
  EXPECT_TRUE(queue.empty());
  EXPECT_DEATH(queue.Pop(), "empty");
}

TEST(HashTest, DependsOnEveryByteAndOnTheSeed) {
  const uint64_t hash = Hash64("frame", 1);
  EXPECT_EQ(Hash64("frame", 1), hash);
  EXPECT_NE(Hash64("frame", 2), hash);
  EXPECT_NE(Hash64("framf", 1), hash);
  EXPECT_NE(Hash64(std::string_view("frame\0", 6), 1), hash);
  // The checksum of every format: must never change.
  EXPECT_EQ(Hash64("", 0), 0x2d06800538d394c2u);
  EXPECT_NE(MixSeed(1, 2), MixSeed(2, 1));
}

TEST(HashTest, PiecesGiveTheHashOfTheWhole) {
  Prng prng(7);
  std::string bytes(100'000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(prng.Below(256));
  Hash64Stream stream;
  for (const size_t size : {0u, 1u, 200u, 241u, 4096u, 70'001u, 100'000u}) {
    for (const size_t piece_max : {1u, 300u, 20'000u, 200'000u}) {
      const std::string_view whole = std::string_view(bytes).substr(0, size);
      stream.Begin(size + 9);
      for (std::string_view rest = whole; !rest.empty();) {
        const size_t piece = std::min<size_t>(rest.size(), 1 + prng.Below(piece_max));
        stream.Add(rest.substr(0, piece));
        rest.remove_prefix(piece);
      }
      ASSERT_EQ(stream.Value(), Hash64(whole, size + 9)) << size << " in " << piece_max;
    }
  }
}

TEST(IdsTest, OrderCountAndHashLikeTheirNumbers) {
  const LogIndex five(5);
  EXPECT_LT(five, LogIndex(6));
  EXPECT_EQ(five + 2, LogIndex(7));
  EXPECT_EQ(LogIndex(7) - five, 2u);
  LogIndex next = five;
  EXPECT_EQ(++next, LogIndex(6));
  const std::unordered_set<LogIndex> set = {five, LogIndex(5), LogIndex(6)};
  EXPECT_EQ(set.size(), 2u);
  EXPECT_LT(Revision(-1), Revision(0));
}

TEST(PrngTest, SeedDecidesTheSequence) {
  Prng a(42);
  Prng b(42);
  Prng c(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a.Next();
    EXPECT_EQ(value, b.Next());
    differs |= value != c.Next();
  }
  EXPECT_TRUE(differs);
}

TEST(PrngTest, NumbersStayInTheirRangeAndCoverIt) {
  Prng prng(1);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = prng.Between(10, 14);
    EXPECT_GE(value, 10u);
    EXPECT_LE(value, 14u);
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 5u);
  EXPECT_FALSE(prng.Chance(0, 10));
  EXPECT_TRUE(prng.Chance(10, 10));
}

TEST(StatusTest, MakersJoinEveryKindOfArgument) {
  const std::string_view view = "view";
  const Status status = NotFoundError("a ", view, " ", std::string("s"), " ", 7, " ", uint64_t{8});
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(StdView(status.message()), "a view s 7 8");
}

TEST(StatusTest, AnnotateKeepsTheCodeAndOk) {
  EXPECT_TRUE(Annotate(OkStatus(), "x").ok());
  const Status status = Annotate(DataLossError("bad block"), "segment 3");
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(StdView(status.message()), "segment 3: bad block");
}

Status ReturnsEarly(const Status& first) {
  MS_RETURN_IF_ERROR(first);
  return UnknownError("went on");
}

TEST(StatusTest, ReturnIfErrorReturnsOnlyErrors) {
  EXPECT_EQ(ReturnsEarly(AbortedError("stop")).code(), StatusCode::kAborted);
  EXPECT_EQ(ReturnsEarly(OkStatus()).code(), StatusCode::kUnknown);
}

TEST(CheckTest, FailurePrintsExpressionAndValues) {
  const int three = 3;
  EXPECT_DEATH(CHECK_EQ(three, 4), "three == 4.*3 vs 4");
  EXPECT_DEATH(CHECK(three == 4), "three == 4");
  EXPECT_DEATH(CHECK_LT(LogIndex(5), LogIndex(5)), "5 vs 5");
  EXPECT_DEATH(CHECK_UNREACHABLE(), "impossible");
  CHECK_EQ(std::string("a"), std::string_view("a"));
}

TEST(TimeTest, SpansAndPointsAdd) {
  EXPECT_EQ(Milliseconds(3), Microseconds(3000));
  EXPECT_EQ(Seconds(1).ms(), 1000);
  EXPECT_EQ(MonoTime{5} + Nanoseconds(2), MonoTime{7});
  EXPECT_EQ(MonoTime{7} - MonoTime{5}, Nanoseconds(2));
  EXPECT_LT(MonoTime{5}, MonoTime::Max());
}

}  // namespace

namespace io {
namespace {

class CountingSource final : public BufferSource {
 public:
  void Free(char* /*data*/, size_t bytes) override { freed += bytes; }
  size_t freed = 0;
};

TEST(IoBufferTest, FreesItselfOnceHoweverItMoves) {
  CountingSource source;
  alignas(4096) static char memory[4096];
  {
    IoBuffer a(&source, memory, sizeof(memory), 3);
    IoBuffer b = std::move(a);
    IoBuffer c;
    c = std::move(b);
    EXPECT_EQ(c.registered_index(), 3);
    EXPECT_EQ(c.size(), 4096u);
    EXPECT_EQ(source.freed, 0u);
  }
  EXPECT_EQ(source.freed, 4096u);
}

TEST(SharedBytesTest, CopiesShareAndEmptyOwnsNothing) {
  const SharedBytes empty = SharedBytes::Copy("");
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty.view(), "");
  SharedBytes a = SharedBytes::Copy("value");
  const SharedBytes b = a;
  EXPECT_EQ(a.view().data(), b.view().data());
  a = SharedBytes();
  EXPECT_EQ(b.view(), "value");
  SharedBytes c = b;
  const SharedBytes d = std::move(c);
  EXPECT_EQ(d.size(), 5u);
}

TEST(AddressTest, PrintsAsUrlsDo) {
  EXPECT_EQ((Address{"127.0.0.1", 2379}).ToString(), "127.0.0.1:2379");
  EXPECT_EQ((Address{"::1", 80}).ToString(), "[::1]:80");
}

TEST(ReceivedBytesTest, GivenBackOnceHoweverItMoves) {
  int released = 0;
  {
    ReceivedBytes a(
        "abc",
        [](void* owner, uint64_t token) { *static_cast<int*>(owner) += static_cast<int>(token); },
        &released, 5);
    ReceivedBytes b = std::move(a);
    EXPECT_EQ(b.view(), "abc");
    EXPECT_FALSE(b.end_of_stream());
    ReceivedBytes c;
    EXPECT_TRUE(c.end_of_stream());
    c = std::move(b);
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 5);
}

TEST(JsonTest, StringsAreEscaped) {
  EXPECT_EQ(JsonString("plain"), "\"plain\"");
  EXPECT_EQ(JsonString("a\"b\\c\n\r\t"), "\"a\\\"b\\\\c\\n\\r\\t\"");
  EXPECT_EQ(JsonString(std::string_view("\x01\x00\x1f\x7f", 4)),
            "\"\\u0001\\u0000\\u001f\\u007f\"");
  EXPECT_EQ(JsonString("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
            "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

TEST(JsonTest, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(JsonString("a\xff"), "\"a\\ufffd\"");
  EXPECT_EQ(JsonString("\xc3"), "\"\\ufffd\"");                                   // truncated
  EXPECT_EQ(JsonString("\xc0\x80"), "\"\\ufffd\\ufffd\"");                        // overlong
  EXPECT_EQ(JsonString("\xe0\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\"");             // overlong
  EXPECT_EQ(JsonString("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");             // a surrogate
  EXPECT_EQ(JsonString("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");  // beyond U+10FFFF
}

TEST(JsonTest, FieldsKeepTheirTypes) {
  EXPECT_EQ(JsonFields({{"s", "x"}, {"n", 7}, {"b", true}, {"u", UINT64_MAX}}),
            "\"s\":\"x\",\"n\":7,\"b\":true,\"u\":18446744073709551615");
  EXPECT_EQ(JsonFields({}), "");
}

}  // namespace
}  // namespace io
}  // namespace metastore
