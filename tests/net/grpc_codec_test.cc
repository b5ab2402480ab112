// Aim: every format of gRPC's wire is read and written exactly, and malformed input gets the error
// of the contract. Method: tables; messages cut at every byte.
#include "net/grpc_codec.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "net/net_limits.h"

namespace metastore::net {
namespace {

std::string Text(const Status& status) { return std::string(status.message()); }

TEST(MethodPathTest, SplitsAtTheLastSlash) {
  const StatusOr<MethodPath> path = SplitMethodPath("/etcdserverpb.KV/Range");
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(path->service, "etcdserverpb.KV");
  EXPECT_EQ(path->method, "Range");
  EXPECT_EQ(SplitMethodPath("/a/b/c")->service, "a/b");
}

TEST(MethodPathTest, MalformedNamesAreUnimplemented) {
  for (const char* path : {"", "/", "x", "/x", "x/y"}) {
    const Status status = SplitMethodPath(path).status();
    EXPECT_EQ(status.code(), StatusCode::kUnimplemented) << path;
    EXPECT_EQ(Text(status), Concat("malformed method name: \"", path, "\""));
  }
}

TEST(TimeoutTest, UnitsAndDigits) {
  const std::vector<std::pair<const char*, Duration>> table = {
      {"1H", Seconds(3600)},
      {"2M", Seconds(120)},
      {"3S", Seconds(3)},
      {"250m", Milliseconds(250)},
      {"7u", Microseconds(7)},
      {"9n", Nanoseconds(9)},
      {"0S", Seconds(0)},
      {"99999999n", Nanoseconds(99999999)},
      {"00000001S", Seconds(1)},
      {"99999999H", kTimeoutMax},
      {"99999999S", Seconds(99'999'999)},
  };
  for (const auto& [text, expected] : table) {
    const StatusOr<Duration> parsed = ParseTimeout(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->ns, expected.ns) << text;
  }
}

TEST(TimeoutTest, MalformedOnesAreInternalErrors) {
  const std::vector<std::pair<const char*, const char*>> table = {
      {"", "string is too short: \"\""},
      {"S", "string is too short: \"S\""},
      {"123456789S", "string is too long: \"123456789S\""},
      {"5x", "unit is not recognized: \"5x\""},
      {"5", "string is too short: \"5\""},
      {"-1S", "is not a number: \"-1S\""},
      {"1.S", "is not a number: \"1.S\""},
      {" 1S", "is not a number: \" 1S\""},
  };
  for (const auto& [text, why] : table) {
    const Status status = ParseTimeout(text).status();
    EXPECT_EQ(status.code(), StatusCode::kInternal) << text;
    EXPECT_EQ(Text(status), Concat("malformed grpc-timeout: transport: timeout ", why));
  }
}

TEST(PercentTest, EncodesWhatHeadersCannotHold) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", ""},
      {"etcdserver: key not found", "etcdserver: key not found"},
      {"100%", "100%25"},
      {"a\nb", "a%0Ab"},
      {"\x7f~ ", "%7F~ "},
      {"\xc3\xa9", "%C3%A9"},
      {std::string("\0", 1), "%00"},
  };
  for (const auto& [message, wire] : table) {
    std::string encoded;
    AppendPercentEncoded(encoded, message);
    EXPECT_EQ(encoded, wire);
    EXPECT_EQ(PercentDecoded(wire), message);
  }
}

TEST(PercentTest, LongMessagesAreCutBetweenEscapes) {
  std::string encoded = "kept";
  AppendPercentEncoded(encoded, std::string(net_limits::kStatusMessageBytesMax, '\n'));
  EXPECT_EQ((encoded.size() - 4) % 3, 0u);
  EXPECT_LE(encoded.size(), 4 + net_limits::kStatusMessageBytesMax);
  EXPECT_GE(encoded.size(), 4 + net_limits::kStatusMessageBytesMax - 3);
}

TEST(PercentTest, MalformedEscapesStay) {
  for (const char* text : {"%", "%4", "%zz", "a%g1b", "%%"}) EXPECT_EQ(PercentDecoded(text), text);
  EXPECT_EQ(PercentDecoded("%41%4"), "A%4");
  EXPECT_EQ(PercentDecoded("%e2%82%ac"), "\xe2\x82\xac");
}

TEST(Base64Test, DecodesWithAndWithoutPadding) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", ""},
      {"Zg==", "f"},
      {"Zg", "f"},
      {"Zm8=", "fo"},
      {"Zm8", "fo"},
      {"Zm9v", "foo"},
      {"AAEC/f7/", {"\0\1\2\xfd\xfe\xff", 6}},
  };
  for (const auto& [text, bytes] : table) {
    const StatusOr<std::string> decoded = DecodeBase64(text);
    ASSERT_TRUE(decoded.ok()) << text;
    EXPECT_EQ(*decoded, bytes) << text;
  }
}

TEST(Base64Test, RefusesOtherCharactersAndImpossibleLengths) {
  for (const char* text : {"Z", "Zm9vZ", "Zm9*", "Zm=v", "====", "Zg= ", "Z===", "-_-_"}) {
    EXPECT_EQ(DecodeBase64(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(Base64Test, EveryLengthComesBack) {
  std::string bytes;
  for (int i = 0; i < 70; ++i) {
    const StatusOr<std::string> back = DecodeBase64(EncodeBase64(bytes));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, bytes);
    bytes.push_back(static_cast<char>(i * 37));
  }
}

std::string Framed(std::string_view message) {
  const auto prefix = MessagePrefix(message.size());
  return std::string(prefix.data(), prefix.size()).append(message);
}

TEST(MessageTest, PrefixIsBigEndian) {
  EXPECT_EQ(Framed("").size(), kMessagePrefixBytes);
  const auto prefix = MessagePrefix(0x01020304);
  EXPECT_EQ(std::string(prefix.data(), prefix.size()), std::string("\0\1\2\3\4", 5));
}

// Feeds `bytes` in two parts, cut at `cut`, and gathers the messages.
std::vector<std::string> Assemble(std::string_view bytes, size_t cut) {
  MessageAssembler assembler;
  std::vector<std::string> messages;
  for (std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    while (!part.empty()) {
      EXPECT_TRUE(assembler.Take(part, 1000).ok());
      if (!assembler.complete()) continue;
      messages.push_back(assembler.message());
      assembler.Next();
    }
  }
  EXPECT_TRUE(assembler.empty());
  return messages;
}

TEST(MessageTest, AnyCutGivesTheSameMessages) {
  const std::vector<std::string> messages = {"one", "", "three three three", "4"};
  std::string bytes;
  for (const std::string& message : messages) bytes += Framed(message);
  for (size_t cut = 0; cut <= bytes.size(); ++cut)
    EXPECT_EQ(Assemble(bytes, cut), messages) << "cut at " << cut;
}

TEST(MessageTest, TooLargeIsRefusedAtItsPrefix) {
  MessageAssembler assembler;
  const std::string bytes = Framed(std::string(101, 'x'));
  std::string_view part = std::string_view(bytes).substr(0, kMessagePrefixBytes);
  const Status status = assembler.Take(part, 100);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(Text(status), "grpc: received message larger than max (101 vs. 100)");
}

TEST(MessageTest, LargestAllowedPasses) {
  MessageAssembler assembler;
  const std::string bytes = Framed(std::string(100, 'x'));
  std::string_view part = bytes;
  ASSERT_TRUE(assembler.Take(part, 100).ok());
  EXPECT_TRUE(assembler.complete());
  EXPECT_EQ(assembler.gathered(), 100u);
}

TEST(MessageTest, AnnouncedLengthAloneCostsNoMemory) {
  MessageAssembler assembler;
  const auto prefix = MessagePrefix(size_t{1} << 30);
  std::string_view part(prefix.data(), prefix.size());
  ASSERT_TRUE(assembler.Take(part, size_t{1} << 30).ok());
  EXPECT_LE(assembler.message().capacity(), 64 * limits::kKiB);
}

TEST(MessageTest, CompressedAndUnknownFlagsAreInternalErrors) {
  for (const auto& [flag, text] : std::vector<std::pair<char, const char*>>{
           {1, "grpc: compressed flag set with identity or empty encoding"},
           {2, "grpc: received unexpected payload format 2"},
           {'\xff', "grpc: received unexpected payload format 255"}}) {
    MessageAssembler assembler;
    const std::string bytes = std::string(1, flag) + std::string(4, '\0');
    std::string_view part = bytes;
    const Status status = assembler.Take(part, 100);
    EXPECT_EQ(status.code(), StatusCode::kInternal);
    EXPECT_EQ(Text(status), text);
  }
}

}  // namespace
}  // namespace metastore::net
