// Aim: a peer that breaks the rules of HTTP/2, or floods, is told so by the right GOAWAY and costs
// nothing more. Method: raw frames fed to a session; the faults and codes are read from its output.
#include <gtest/gtest.h>

#include "net/net_limits.h"
#include "tests/net/session_pair.h"

namespace metastore::net_test {
namespace {

using net::FrameType;
using net::Http2Fault;

// Of ours and of the oracle, which so are told to agree.
class Http2AbuseTest : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Both, Http2AbuseTest, testing::Values(kOurs, kOracle),
                         [](const auto& info) { return std::string(info.param.name); });

constexpr uint32_t kProtocolError = 1;
constexpr uint32_t kFlowControlError = 3;
constexpr uint32_t kFrameSizeError = 6;
constexpr uint32_t kCompressionError = 9;
constexpr uint32_t kEnhanceYourCalm = 11;

void ExpectFault(RawPeer& peer, Http2Fault fault, uint32_t code) {
  EXPECT_EQ(peer.server->fault(), fault);
  EXPECT_EQ(peer.GoawayCode(), code);
  EXPECT_TRUE(peer.server->finished());
  EXPECT_EQ(peer.Feed("x").code(), StatusCode::kFailedPrecondition);
}

TEST_P(Http2AbuseTest, BadPreface) {
  RawPeer peer(GetParam(), {}, false);
  EXPECT_EQ(peer.Feed("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").code(), StatusCode::kInvalidArgument);
  ExpectFault(peer, Http2Fault::kPreface, kProtocolError);
}

TEST_P(Http2AbuseTest, FirstFrameMustBeSettings) {
  RawPeer peer(GetParam(), {}, false);
  EXPECT_FALSE(
      peer.Feed(std::string(net::kHttp2Preface) + Raw(FrameType::kPing, 0, 0, "12345678")).ok());
  ExpectFault(peer, Http2Fault::kProtocol, kProtocolError);
}

struct BadFrame {
  const char* what;
  std::string bytes;
  Http2Fault fault;
  uint32_t code;
};

TEST_P(Http2AbuseTest, ConnectionErrorsOfTheRfc) {
  const std::string request = RawRequest(1, "/a.B/C", false);
  const std::vector<BadFrame> table = {
      {"DATA on stream 0", Raw(FrameType::kData, 0, 0, "x"), Http2Fault::kProtocol, kProtocolError},
      {"DATA on an idle stream", Raw(FrameType::kData, 0, 5, "x"), Http2Fault::kProtocol,
       kProtocolError},
      {"HEADERS on stream 0", Raw(FrameType::kHeaders, kEndHeaders, 0, ""), Http2Fault::kProtocol,
       kProtocolError},
      {"an even stream", RawRequest(2, "/a", true), Http2Fault::kProtocol, kProtocolError},
      {"PING of 7 bytes", Raw(FrameType::kPing, 0, 0, "1234567"), Http2Fault::kFrameSize,
       kFrameSizeError},
      {"PING on a stream", Raw(FrameType::kPing, 0, 1, "12345678"), Http2Fault::kProtocol,
       kProtocolError},
      {"SETTINGS of 5 bytes", Raw(FrameType::kSettings, 0, 0, "12345"), Http2Fault::kFrameSize,
       kFrameSizeError},
      {"SETTINGS ack with bytes", Raw(FrameType::kSettings, kAck, 0, "123456"),
       Http2Fault::kFrameSize, kFrameSizeError},
      {"SETTINGS window too large", Raw(FrameType::kSettings, 0, 0, {"\0\x4\xff\xff\xff\xff", 6}),
       Http2Fault::kFlowControl, kFlowControlError},
      {"SETTINGS frame size too small", Raw(FrameType::kSettings, 0, 0, {"\0\x5\0\0\0\1", 6}),
       Http2Fault::kProtocol, kProtocolError},
      {"RST_STREAM of 3 bytes", request + Raw(FrameType::kRstStream, 0, 1, "123"),
       Http2Fault::kFrameSize, kFrameSizeError},
      {"RST_STREAM on an idle stream", RawReset(7), Http2Fault::kProtocol, kProtocolError},
      {"WINDOW_UPDATE of 3 bytes", Raw(FrameType::kWindowUpdate, 0, 0, "123"),
       Http2Fault::kFrameSize, kFrameSizeError},
      {"WINDOW_UPDATE of zero", Raw(FrameType::kWindowUpdate, 0, 0, {"\0\0\0\0", 4}),
       Http2Fault::kProtocol, kProtocolError},
      {"window beyond 2^31-1", Raw(FrameType::kWindowUpdate, 0, 0, "\x7f\xff\xff\xff"),
       Http2Fault::kFlowControl, kFlowControlError},
      {"PUSH_PROMISE of a client", Raw(FrameType::kPushPromise, kEndHeaders, 1, {"\0\0\0\2", 4}),
       Http2Fault::kProtocol, kProtocolError},
      {"CONTINUATION alone", Raw(FrameType::kContinuation, kEndHeaders, 1, ""),
       Http2Fault::kProtocol, kProtocolError},
      {"another frame inside a header block",
       Raw(FrameType::kHeaders, 0, 1, RawHeaderBlock("/a")) +
           Raw(FrameType::kPing, 0, 0, "12345678"),
       Http2Fault::kProtocol, kProtocolError},
      {"padding longer than the frame", Raw(FrameType::kData, 0x8, 1, "\x09x"),
       Http2Fault::kProtocol, kProtocolError},
      {"broken HPACK", Raw(FrameType::kHeaders, kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"),
       Http2Fault::kCompression, kCompressionError},
      {"HPACK index beyond the table", Raw(FrameType::kHeaders, kEndHeaders, 1, "\xfe"),
       Http2Fault::kCompression, kCompressionError},
      {"a frame of more than 16 KiB", Raw(FrameType::kData, 0, 1, std::string(16'385, 'x')),
       Http2Fault::kFrameSize, kFrameSizeError},
      {"GOAWAY of 4 bytes", Raw(FrameType::kGoaway, 0, 0, "1234"), Http2Fault::kFrameSize,
       kFrameSizeError},
  };
  for (const BadFrame& bad : table) {
    SCOPED_TRACE(bad.what);
    RawPeer peer(GetParam());
    EXPECT_EQ(peer.Feed(bad.bytes).code(), StatusCode::kInvalidArgument);
    ExpectFault(peer, bad.fault, bad.code);
  }
}

TEST_P(Http2AbuseTest, EveryCutOfABadFrameIsFound) {
  const std::string bytes = RawRequest(1, "/a.B/C", false) + Raw(FrameType::kPing, 0, 0, "1234567");
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    RawPeer peer(GetParam());
    const Status first = peer.Feed(std::string_view(bytes).substr(0, cut));
    if (first.ok()) (void)peer.Feed(std::string_view(bytes).substr(cut));
    EXPECT_EQ(peer.server->fault(), Http2Fault::kFrameSize) << cut;
  }
}

TEST_P(Http2AbuseTest, MoreDataThanTheWindowIsAFlowControlError) {
  RawPeer peer(GetParam());
  ASSERT_TRUE(peer.Feed(RawRequest(1, "/a.B/C", false)).ok());
  const std::string frame = Raw(FrameType::kData, 0, 1, std::string(16'384, 'x'));
  const size_t fitting = net_limits::kStreamWindowBytes / 16'384;
  for (size_t i = 0; i < fitting; ++i) ASSERT_TRUE(peer.Feed(frame).ok()) << i;
  const Status status = peer.Feed(frame);
  peer.server->Pump(peer.now);
  // A stream error or a connection error, both of FLOW_CONTROL_ERROR (RFC 9113 6.9.1).
  bool told = peer.server->fault() == Http2Fault::kFlowControl;
  for (const RawFrame& sent : ParseFrames(peer.server->Output())) {
    told = told ||
           (sent.type == FrameType::kRstStream && sent.payload == std::string_view("\0\0\0\x3", 4));
  }
  EXPECT_TRUE(told) << status;
  EXPECT_LE(peer.listener.at(1).body.size(), size_t{net_limits::kStreamWindowBytes} + 16'384);
  const size_t size = peer.listener.at(1).body.size();
  (void)peer.Feed(frame);
  EXPECT_EQ(peer.listener.at(1).body.size(), size);
}

TEST_P(Http2AbuseTest, MoreStreamsThanAcknowledgedIsAConnectionError) {
  RawPeer peer(GetParam(), net::Http2Options{.streams_max = 3, .keepalive = {}});
  for (uint32_t id = 1; id <= 5; id += 2)
    ASSERT_TRUE(peer.Feed(RawRequest(id, "/a.B/C", true)).ok());
  EXPECT_FALSE(peer.Feed(RawRequest(7, "/a.B/C", true)).ok());
  EXPECT_EQ(peer.listener.open_max, 3u);
  ExpectFault(peer, Http2Fault::kProtocol, kProtocolError);
}

TEST_P(Http2AbuseTest, MalformedRequestsAreResetAlone) {
  RawPeer peer(GetParam());
  const std::string block = RawHeaderBlock("/a");
  const std::vector<std::string> bad = {
      Raw(FrameType::kHeaders, kEndHeaders, 1, ""),  // no pseudo headers
      Raw(FrameType::kHeaders, kEndHeaders, 3,
          block + std::string("\x10\x2te\x4gzip")),  // RFC 9113 8.2.2
      Raw(FrameType::kHeaders, kEndHeaders, 5, block + std::string("\x10\x5Upper\x1x")),
      Raw(FrameType::kHeaders, kEndHeaders, 7,
          block + std::string("\x10\x0a"
                              "connection\x5"
                              "close")),
  };
  for (const std::string& frame : bad) EXPECT_TRUE(peer.Feed(frame).ok());
  EXPECT_TRUE(peer.listener.requests.empty());
  ASSERT_TRUE(peer.Feed(RawRequest(9, "/a.B/C", true)).ok());
  EXPECT_EQ(peer.listener.requests.size(), 1u);
  EXPECT_EQ(peer.server->fault(), Http2Fault::kNone);
}

// --- floods ------------------------------------------------------------------

TEST_P(Http2AbuseTest, RapidReset) {
  RawPeer peer(GetParam());
  size_t pairs = 0;
  for (uint32_t id = 1; pairs < 10'000; id += 2, ++pairs) {
    if (!peer.Feed(RawRequest(id, "/a.B/C", false) + RawReset(id)).ok()) break;
  }
  EXPECT_EQ(pairs, net_limits::kResetBurst);
  EXPECT_EQ(peer.listener.open_max, 1u);
  ExpectFault(peer, Http2Fault::kResetFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, SettingsFlood) {
  RawPeer peer(GetParam());
  const size_t fed = peer.FeedUntilFault(Raw(FrameType::kSettings, 0, 0, ""), 1000);
  EXPECT_EQ(fed, net_limits::kSettingsBurst);  // the greeting had one too
  ExpectFault(peer, Http2Fault::kSettingsFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, HugeSettingsFrame) {
  RawPeer peer(GetParam());
  std::string entries;
  for (int i = 0; i < 100; ++i) entries.append("\0\x3\0\0\0\x64", 6);
  EXPECT_FALSE(peer.Feed(Raw(FrameType::kSettings, 0, 0, entries)).ok());
  ExpectFault(peer, Http2Fault::kSettingsFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, PingFloodIsTooManyPings) {
  RawPeer peer(GetParam());
  const size_t fed = peer.FeedUntilFault(Raw(FrameType::kPing, 0, 0, "12345678"), 1000);
  EXPECT_EQ(fed, 4u);
  EXPECT_EQ(peer.GoawayText(), "too_many_pings");
  ExpectFault(peer, Http2Fault::kPingFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, PingsInOneReadWithoutReadingTheAnswers) {
  RawPeer peer(GetParam());
  std::string pings;
  for (int i = 0; i < 5000; ++i) pings += Raw(FrameType::kPing, 0, 0, "12345678");
  EXPECT_FALSE(peer.Feed(pings).ok());
  ExpectFault(peer, Http2Fault::kPingFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, EmptyDataFrames) {
  RawPeer peer(GetParam());
  ASSERT_TRUE(peer.Feed(RawRequest(1, "/a.B/C", false)).ok());
  const size_t fed = peer.FeedUntilFault(Raw(FrameType::kData, 0, 1, ""), 10'000);
  EXPECT_EQ(fed, net_limits::kEmptyFrameBurst + 1);
  ExpectFault(peer, Http2Fault::kEmptyFrameFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, DataFramesOfPaddingOnly) {
  RawPeer peer(GetParam());
  ASSERT_TRUE(peer.Feed(RawRequest(1, "/a.B/C", false)).ok());
  const size_t fed = peer.FeedUntilFault(Raw(FrameType::kData, 0x8, 1, {"\x2\0\0", 3}), 10'000);
  EXPECT_EQ(fed, net_limits::kEmptyFrameBurst + 1);
  EXPECT_EQ(peer.server->fault(), Http2Fault::kEmptyFrameFlood);
}

TEST_P(Http2AbuseTest, PriorityFrames) {
  RawPeer peer(GetParam());
  const size_t fed =
      peer.FeedUntilFault(Raw(FrameType::kPriority, 0, 1, {"\0\0\0\0\x10", 5}), 10'000);
  EXPECT_EQ(fed, net_limits::kEmptyFrameBurst + 1);
  ExpectFault(peer, Http2Fault::kEmptyFrameFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, UnknownFramesAreSkipped) {
  RawPeer peer(GetParam());
  EXPECT_EQ(
      peer.FeedUntilFault(Raw(static_cast<FrameType>(0x42), 0xff, 3, std::string(1000, '?')), 100),
      100u);
  ASSERT_TRUE(peer.Feed(RawRequest(1, "/a.B/C", true)).ok());
  EXPECT_EQ(peer.listener.requests.size(), 1u);
  EXPECT_TRUE(peer.server->Output().empty());
}

TEST_P(Http2AbuseTest, ContinuationFlood) {
  RawPeer peer(GetParam());
  ASSERT_TRUE(peer.Feed(Raw(FrameType::kHeaders, 0, 1, RawHeaderBlock("/a"))).ok());
  const size_t fed = peer.FeedUntilFault(Raw(FrameType::kContinuation, 0, 1, ""), 10'000);
  EXPECT_EQ(fed, net_limits::kContinuationsMax + 1);
  ExpectFault(peer, Http2Fault::kHeaderFlood, kEnhanceYourCalm);
}

// One entry of the dynamic table, named over and over by one byte: 16 KiB that decode to 64 MiB.
TEST_P(Http2AbuseTest, HeaderBombIsCutEarly) {
  RawPeer peer(GetParam());
  std::string block = RawHeaderBlock("/a");
  block += "\x40\x01x\x7f";             // literal with indexing, name "x", value of 127 + ...
  block += std::string("\x81\x1e", 2);  // ... 3841 bytes
  block += std::string(127 + 0x01 + (0x1e << 7), 'v');
  block += std::string(12'000, '\xbe');  // index 62: the newest entry
  EXPECT_FALSE(peer.Feed(Raw(FrameType::kHeaders, kEndHeaders, 1, block)).ok());
  EXPECT_TRUE(peer.listener.requests.empty());
  ExpectFault(peer, Http2Fault::kHeaderFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, SomewhatTooLargeHeadersCostTheirStreamOnly) {
  SessionPair pair(GetParam());
  HeaderList headers = GrpcHeaders("/a.B/C");
  for (int i = 0; i < 1000; ++i)
    headers.emplace_back("key-" + std::to_string(i), std::string(40, 'v'));
  ClientStream& large = pair.client.Open(headers, "", true);
  ClientStream& small = pair.client.Open(GrpcHeaders("/a.B/C"), "", true);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_TRUE(large.closed);
  EXPECT_EQ(large.reset_code, kEnhanceYourCalm);
  EXPECT_EQ(pair.listener.requests.size(), 1u);
  EXPECT_TRUE(pair.listener.at(small.id).ended);
}

TEST_P(Http2AbuseTest, BadStreamsWithoutEnd) {
  RawPeer peer(GetParam());
  size_t fed = 0;
  for (uint32_t id = 1; fed < 10'000; id += 2, ++fed) {
    if (!peer.Feed(Raw(FrameType::kHeaders, kEndHeaders, id, "")).ok()) break;
    peer.server->Pump(peer.now);
    peer.server->Output().clear();
  }
  EXPECT_EQ(fed, net_limits::kBadStreamBurst);
  ExpectFault(peer, Http2Fault::kBadStreamFlood, kEnhanceYourCalm);
}

TEST_P(Http2AbuseTest, AfterAFaultNothingIsSentButTheGoaway) {
  RawPeer peer(GetParam());
  ASSERT_TRUE(peer.Feed(RawRequest(1, "/a.B/C", true)).ok());
  net::Http2Stream& stream = *peer.listener.at(1).stream;
  ASSERT_FALSE(peer.Feed(Raw(FrameType::kPing, 0, 0, "1")).ok());
  const size_t size = peer.server->Output().size();
  const std::vector<net::Http2Header> head = {{":status", "200"}};
  peer.server->SubmitHeaders(stream, head, false);
  peer.server->SendData(stream, "", "late");
  peer.server->SubmitTrailers(stream, head);
  peer.server->Consumed(stream, 1);
  peer.server->Reset(stream, net::Http2Code::kCancel);
  peer.server->Pump(peer.now);
  EXPECT_EQ(peer.server->Output().size(), size);
  EXPECT_FALSE(peer.server->wants_pump());
}

}  // namespace
}  // namespace metastore::net_test
