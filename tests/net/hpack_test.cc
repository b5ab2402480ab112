// Aim: the memo of header blocks answers only where decoding would give the same, and what the
// encoder sends any peer decodes. Method: blocks made by nghttp2's deflater or by hand; nghttp2's
// inflater, told the table sizes of the SETTINGS, reads what was encoded.
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <array>

#include "io/base/check.h"
#include "net/hpack_decoder.h"
#include "net/hpack_encoder.h"
#include "tests/net/session_pair.h"

namespace metastore::net_test {
namespace {

using net::HeaderDecoder;
using net::HeaderRules;
using net::HpackEncoder;
using net::Http2Header;

// --- decoding ----------------------------------------------------------------

class Decoding final {
 public:
  // As a session does with a block in one piece; the headers as text.
  std::string Decode(const std::string& block) {
    const HeaderDecoder::Known known = decoder_.Find(block);
    number = known.number;
    if (known.list != nullptr) return Text(*known.list);
    rules_.BeginRequest();
    decoder_.Begin(&rules_);
    if (decoder_.Decode(block, true) != HeaderDecoder::Result::kOk) return "broken";
    return Text(decoder_.Finish(block));
  }

  uint64_t number = 0;  // of the last; 0: decoded

 private:
  static std::string Text(const net::HeaderList& list) {
    std::string text;
    for (const Http2Header& header : list.headers)
      text.append(header.name).append("=").append(header.value).append(" ");
    return text;
  }

  HeaderDecoder decoder_;
  HeaderRules rules_;
};

std::string Literal(char form, std::string_view name, std::string_view value) {
  std::string block(1, form);
  block.append(1, static_cast<char>(name.size())).append(name);
  return block.append(1, static_cast<char>(value.size())).append(value);
}
const std::string kIndexX1 = Literal(0x40, "x", "1");
const std::string kIndexX2 = Literal(0x40, "x", "2");
const std::string kNewest("\xbe");  // index 62
const std::string kNewestName = std::string("\x0f\x2f", 2) + std::string("\1v", 2);

TEST(HeaderDecoderTest, RepeatedLiteralsAreRemembered) {
  Decoding decoding;
  const std::string block = RawHeaderBlock("/a.B/C");
  const std::string text = decoding.Decode(block);
  EXPECT_EQ(decoding.number, 0u);
  EXPECT_EQ(decoding.Decode(block), text);
  const uint64_t number = decoding.number;
  EXPECT_NE(number, 0u);
  EXPECT_EQ(decoding.Decode(block), text);
  EXPECT_EQ(decoding.number, number);
  EXPECT_NE(decoding.Decode(RawHeaderBlock("/a.B/D")), text);
  EXPECT_EQ(decoding.number, 0u);
}

TEST(HeaderDecoderTest, ABlockThatChangesTheTableIsDecodedEachTime) {
  Decoding decoding;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(decoding.Decode(kIndexX1), "x=1 ");
    EXPECT_EQ(decoding.number, 0u);
  }
  // It did go into the table each time: three entries.
  EXPECT_EQ(decoding.Decode("\xc0"), "x=1 ");
  EXPECT_EQ(decoding.Decode("\xc1"), "broken");
}

TEST(HeaderDecoderTest, EqualBytesMeanSomethingElseAfterTheTableChanged) {
  Decoding decoding;
  decoding.Decode(kIndexX1);
  EXPECT_EQ(decoding.Decode(kNewest), "x=1 ");
  EXPECT_EQ(decoding.Decode(kNewest), "x=1 ");
  EXPECT_NE(decoding.number, 0u);
  decoding.Decode(kIndexX2);
  EXPECT_EQ(decoding.Decode(kNewest), "x=2 ");
  EXPECT_EQ(decoding.number, 0u);
  EXPECT_EQ(decoding.Decode(kNewest), "x=2 ");
  EXPECT_NE(decoding.number, 0u);
}

TEST(HeaderDecoderTest, ALiteralWithANameOfTheTableReadsItToo) {
  Decoding decoding;
  decoding.Decode(Literal(0x40, "first", "1"));
  EXPECT_EQ(decoding.Decode(kNewestName), "first=v ");
  decoding.Decode(Literal(0x40, "second", "1"));
  EXPECT_EQ(decoding.Decode(kNewestName), "second=v ");
}

TEST(HeaderDecoderTest, ASizeUpdateChangesTheTable) {
  Decoding decoding;
  decoding.Decode(kIndexX1);
  EXPECT_EQ(decoding.Decode(kNewest), "x=1 ");
  EXPECT_EQ(decoding.Decode(std::string("\x20") + Literal(0, "y", "2")), "y=2 ");
  EXPECT_EQ(decoding.Decode(kNewest), "broken");
}

TEST(HeaderDecoderTest, BlocksThatDoNotReadTheTableOutliveItsChanges) {
  Decoding decoding;
  const std::string block = RawHeaderBlock("/a.B/C");
  const std::string text = decoding.Decode(block);
  decoding.Decode(kIndexX1);
  EXPECT_EQ(decoding.Decode(block), text);
  EXPECT_NE(decoding.number, 0u);
}

TEST(HeaderDecoderTest, AFewBlocksTakeTurns) {
  Decoding decoding;
  std::array<std::string, 3> blocks;
  for (size_t i = 0; i < blocks.size(); ++i)
    blocks[i] = RawHeaderBlock("/a.B/" + std::to_string(i));
  for (const std::string& block : blocks) decoding.Decode(block);
  for (int round = 0; round < 10; ++round) {
    for (const std::string& block : blocks) {
      decoding.Decode(block);
      EXPECT_NE(decoding.number, 0u);
    }
    decoding.Decode(RawHeaderBlock("/a.B/once" + std::to_string(round)));  // evicts none of them
  }
}

TEST(HeaderDecoderTest, MalformedAndLargeBlocksAreNotRemembered) {
  Decoding decoding;
  const std::string malformed = Literal(0, "Upper", "1");
  const std::string large = [] {
    std::string block;
    for (int i = 0; i < 20; ++i) block += Literal(0, "x", std::string(100, 'v'));
    return block;
  }();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(decoding.Decode(malformed), "");
    EXPECT_EQ(decoding.number, 0u);
    EXPECT_EQ(decoding.Decode(large).size(), 20u * 103);
    EXPECT_EQ(decoding.number, 0u);
  }
}

// "via" without a value: a byte each on the wire, some fifty in memory.
TEST(HeaderDecoderTest, BlocksOfManyHeadersAreNotRemembered) {
  Decoding decoding;
  const std::string block = RawHeaderBlock("/a.B/C") + std::string(900, '\xbc');
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(decoding.Decode(block), "broken");
    EXPECT_EQ(decoding.number, 0u);
  }
}

TEST(HeaderDecoderTest, TableUseOfEachForm) {
  struct Case {
    std::string block;
    bool reads;
    bool changes;
  };
  const std::vector<Case> table = {
      {"", false, false},
      {"\x82\xbd", false, false},                 // static entries 2 and 61
      {"\x82\xbe", true, false},                  // 62
      {std::string("\xff\x00", 2), true, false},  // 127
      {Literal(0x00, "n", "v"), false, false},
      {Literal(0x10, "n", "v"), false, false},
      {std::string("\x0f\x2e\1v", 4), false, false},  // name 61
      {std::string("\x0f\x2f\1v", 4), true, false},   // name 62
      {std::string("\x1f\x2f\1v", 4), true, false},
      {Literal(0x40, "n", "v"), false, true},
      {std::string("\x41\1v", 3), false, true},
      {"\x20", false, true},
      {"\x3f\xe1\x1f", false, true},
      {Literal(0x00, "n", "\x40\x20\xbe"), false, false},  // only inside a string
      {Literal(0x00, "n", "v") + "\xbe", true, false},
  };
  for (const Case& c : table) {
    const net::TableUse use = net::TableUseOf(c.block);
    EXPECT_EQ(use.changes, c.changes) << testing::PrintToString(c.block);
    if (!c.changes) EXPECT_EQ(use.reads, c.reads) << testing::PrintToString(c.block);
  }
}

// --- encoding ----------------------------------------------------------------

constexpr std::array<Http2Header, 2> kHead = {
    {{":status", "200"}, {"content-type", "application/grpc"}}};
constexpr std::array<Http2Header, 1> kEnd = {{{"grpc-status", "0"}}};
constexpr net::Http2FixedHeaders kFixedHead(kHead);
constexpr net::Http2FixedHeaders kFixedEnd(kEnd);
constexpr std::string_view kHeadText = ":status=200 content-type=application/grpc ";
constexpr std::string_view kEndText = "grpc-status=0 ";

class Peer final {
 public:
  Peer() { CHECK_EQ(nghttp2_hd_inflate_new(&inflater_), 0); }
  ~Peer() { nghttp2_hd_inflate_del(inflater_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // SETTINGS with these table sizes, acknowledged.
  void SetTableSizes(std::initializer_list<uint32_t> sizes) {
    encoder.SetTableSize(std::min(sizes), *(sizes.end() - 1));
    if (std::min(sizes) < *(sizes.end() - 1))
      CHECK_EQ(nghttp2_hd_inflate_change_table_size(inflater_, std::min(sizes)), 0);
    CHECK_EQ(nghttp2_hd_inflate_change_table_size(inflater_, *(sizes.end() - 1)), 0);
  }
  std::string Send(const net::Http2FixedHeaders& headers) {
    std::string block = encoder.TakeTableUpdate();
    bytes = block.size();
    block += encoder.EncodeFixed(headers);
    bytes = block.size();
    return Decode(block);
  }
  std::string Decode(std::string_view block) {
    std::string text;
    auto* in = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
      nghttp2_nv header;
      flags = 0;
      const ssize_t taken = nghttp2_hd_inflate_hd2(inflater_, &header, &flags, in, left, 1);
      if (taken < 0) return "broken";
      in += taken;
      left -= static_cast<size_t>(taken);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0) continue;
      text.append(reinterpret_cast<const char*>(header.name), header.namelen).append("=");
      text.append(reinterpret_cast<const char*>(header.value), header.valuelen).append(" ");
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    return text;
  }

  HpackEncoder encoder;
  size_t bytes = 0;  // of the last block

 private:
  nghttp2_hd_inflater* inflater_ = nullptr;
};

void ExpectAnswersDecode(Peer& peer, int count) {
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(peer.Send(kFixedHead), kHeadText);
    EXPECT_EQ(peer.Send(kFixedEnd), kEndText);
  }
}

TEST(HpackEncoderTest, AnswersShrinkToThreeBytes) {
  Peer peer;
  ExpectAnswersDecode(peer, 2);
  EXPECT_EQ(peer.Send(kFixedHead), kHeadText);
  EXPECT_EQ(peer.bytes, 2u);
  EXPECT_EQ(peer.Send(kFixedEnd), kEndText);
  EXPECT_EQ(peer.bytes, 1u);
}

TEST(HpackEncoderTest, AnyTableSizeIsHonoured) {
  for (const uint32_t size : {0u, 1u, 43u, 44u, 60u, 103u, 104u, 4095u, 4096u, 4097u, 1u << 30}) {
    SCOPED_TRACE(size);
    Peer peer;
    peer.SetTableSizes({size});
    ExpectAnswersDecode(peer, 4);
  }
}

TEST(HpackEncoderTest, TableSizesMayChangeAtAnyTime) {
  Peer peer;
  ExpectAnswersDecode(peer, 3);
  peer.SetTableSizes({0});
  ExpectAnswersDecode(peer, 3);
  peer.SetTableSizes({200});
  ExpectAnswersDecode(peer, 3);
  EXPECT_EQ(peer.bytes, 1u);
  peer.SetTableSizes({0, 4096});  // down and up again: what was in it is gone
  ExpectAnswersDecode(peer, 3);
  EXPECT_EQ(peer.bytes, 1u);
  peer.SetTableSizes({60});
  peer.SetTableSizes({50});
  peer.SetTableSizes({4096});  // three SETTINGS before the next block
  ExpectAnswersDecode(peer, 3);
  peer.SetTableSizes({100'000});
  ExpectAnswersDecode(peer, 3);
  EXPECT_EQ(peer.bytes, 1u);
}

TEST(HpackEncoderTest, MoreFixedListsThanAreKeptStillDecode) {
  static constexpr std::array<std::array<Http2Header, 1>, 10> kLists = {{{{{"n0", "v"}}},
                                                                         {{{"n1", "v"}}},
                                                                         {{{"n2", "v"}}},
                                                                         {{{"n3", "v"}}},
                                                                         {{{"n4", "v"}}},
                                                                         {{{"n5", "v"}}},
                                                                         {{{"n6", "v"}}},
                                                                         {{{"n7", "v"}}},
                                                                         {{{"n8", "v"}}},
                                                                         {{{"n9", "v"}}}}};
  static constexpr std::array<net::Http2FixedHeaders, 10> kFixed = {
      net::Http2FixedHeaders(kLists[0]), net::Http2FixedHeaders(kLists[1]),
      net::Http2FixedHeaders(kLists[2]), net::Http2FixedHeaders(kLists[3]),
      net::Http2FixedHeaders(kLists[4]), net::Http2FixedHeaders(kLists[5]),
      net::Http2FixedHeaders(kLists[6]), net::Http2FixedHeaders(kLists[7]),
      net::Http2FixedHeaders(kLists[8]), net::Http2FixedHeaders(kLists[9])};
  Peer peer;
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < kFixed.size(); ++i)
      EXPECT_EQ(peer.Send(kFixed[i]), "n" + std::to_string(i) + "=v ");
  }
}

TEST(HpackEncoderTest, LiteralsDoNotTouchTheTable) {
  Peer peer;
  ExpectAnswersDecode(peer, 2);
  std::string block;
  const std::array<Http2Header, 5> headers = {{{":status", "404"},
                                               {":status", "415"},
                                               {"content-type", "application/grpc"},
                                               {"grpc-message", std::string_view("long")},
                                               {"empty", ""}}};
  HpackEncoder::AppendLiterals(block, headers);
  EXPECT_EQ(net::TableUseOf(block).reads, false);
  EXPECT_EQ(net::TableUseOf(block).changes, false);
  EXPECT_EQ(peer.Decode(block),
            ":status=404 :status=415 content-type=application/grpc grpc-message=long empty= ");
  const std::string value(100'000, 'v');
  const std::array<Http2Header, 1> large = {{{"x", value}}};
  block.clear();
  HpackEncoder::AppendLiterals(block, large);
  ExpectAnswersDecode(peer, 1);
  EXPECT_EQ(peer.bytes, 1u);
}

}  // namespace
}  // namespace metastore::net_test
