// Aim: the session's events, flow control both ways, bounded output, drain and keepalive.
// Method: joined in memory with nghttp2's client; no sockets, time by hand.
#include "net/http2_session.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/net/session_pair.h"

namespace metastore::net_test {
namespace {

using net::Http2Code;
using net::Http2Fault;

// Of ours and of the oracle, which so are told to agree.
class Http2SessionTest : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Both, Http2SessionTest, testing::Values(kOurs, kOracle),
                         [](const auto& info) { return std::string(info.param.name); });

constexpr size_t kWindow = net_limits::kStreamWindowBytes;

TEST_P(Http2SessionTest, RequestAndAnswerCross) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), GrpcFrame("ping"), true);
  ASSERT_TRUE(pair.Exchange());
  RecordingListener::Request& request = pair.listener.at(call.id);
  EXPECT_EQ(request.body, GrpcFrame("ping"));
  EXPECT_TRUE(request.ended);
  EXPECT_EQ(request.headers, GrpcHeaders("/a.B/C"));
  pair.Answer(call.id, "pong");
  ASSERT_TRUE(pair.Exchange());
  EXPECT_TRUE(call.closed);
  EXPECT_EQ(call.reset_code, 0u);
  EXPECT_EQ(TakeGrpcMessage(call.body), "pong");
  EXPECT_TRUE(GrpcStatusOf(call).ok());
  EXPECT_EQ(call.Find(call.headers, ":status"), "200");
  EXPECT_EQ(call.Find(call.trailers, "grpc-status"), "0");
  EXPECT_EQ(request.sent, 9u);
  EXPECT_EQ(pair.listener.closed, 1u);
  EXPECT_EQ(pair.server->streams_open(), 0u);
}

TEST_P(Http2SessionTest, EveryCutOfTheBytesGivesTheSameEvents) {
  Http2Client client;
  ClientStream& call = client.Open(GrpcHeaders("/a.B/C"), GrpcFrame("message"), true);
  const std::string bytes = client.Output();
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    RawPeer peer(GetParam(), {}, false);
    ASSERT_TRUE(peer.Feed(std::string_view(bytes).substr(0, cut)).ok()) << cut;
    ASSERT_TRUE(peer.Feed(std::string_view(bytes).substr(cut)).ok()) << cut;
    EXPECT_EQ(peer.listener.at(call.id).body, GrpcFrame("message")) << cut;
    EXPECT_TRUE(peer.listener.at(call.id).ended) << cut;
  }
}

TEST_P(Http2SessionTest, SettingsAnnounceTheLimits) {
  RawPeer peer(GetParam(), net::Http2Options{.streams_max = 77, .keepalive = {}}, false);
  peer.server->Pump(peer.now);
  const std::vector<RawFrame> frames = ParseFrames(peer.server->Output());
  ASSERT_FALSE(frames.empty());
  ASSERT_EQ(frames[0].type, net::FrameType::kSettings);
  EXPECT_NE(frames[0].payload.find(std::string_view("\0\x3\0\0\0\x4d", 6)), std::string::npos);
  EXPECT_NE(frames[0].payload.find(std::string_view("\0\x4\0\x10\0\0", 6)), std::string::npos);
  EXPECT_NE(frames[0].payload.find(std::string_view("\0\x6\0\x1\0\0", 6)), std::string::npos);
}

TEST_P(Http2SessionTest, SettingsOfThePeerAreNoticed) {
  RawPeer peer(GetParam(), {}, false);
  EXPECT_FALSE(peer.server->settings_received());
  ASSERT_TRUE(peer.Feed(RawGreeting()).ok());
  EXPECT_TRUE(peer.server->settings_received());
}

// --- flow control ------------------------------------------------------------

TEST_P(Http2SessionTest, UnconsumedBytesStopAtTheWindow) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), std::string(3 * kWindow, 'x'), true);
  ASSERT_TRUE(pair.Exchange());
  RecordingListener::Request& request = pair.listener.at(call.id);
  EXPECT_EQ(request.body.size(), kWindow);
  pair.server->Consumed(*request.stream, kWindow);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_EQ(request.body.size(), 2 * kWindow);
  pair.server->Consumed(*request.stream, kWindow);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_EQ(request.body.size(), 3 * kWindow);
  EXPECT_TRUE(request.ended);
}

TEST_P(Http2SessionTest, OneFullStreamDoesNotStopAnother) {
  SessionPair pair(GetParam());
  for (int i = 0; i < 8; ++i)
    pair.client.Open(GrpcHeaders("/a.B/C"), std::string(2 * kWindow, 'x'), true);
  ASSERT_TRUE(pair.Exchange());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), GrpcFrame("small"), true);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_TRUE(pair.listener.at(call.id).ended);
}

TEST_P(Http2SessionTest, BodyWaitsForTheClientsWindow) {
  SessionPair pair(GetParam(), {},
                   Http2ClientOptions{.stream_window = 1000, .open_windows = false});
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), GrpcFrame(""), true);
  ASSERT_TRUE(pair.Exchange());
  pair.Answer(call.id, std::string(5000, 'y'));
  ASSERT_TRUE(pair.Exchange());
  EXPECT_EQ(call.body.size(), 1000u);
  EXPECT_EQ(pair.listener.at(call.id).sent, 1000u);
  EXPECT_FALSE(call.closed);
  for (int i = 0; i < 5; ++i) {
    pair.client.Consume(call,
                        std::min<size_t>(1000, call.body.size() - 1000 * static_cast<size_t>(i)));
    ASSERT_TRUE(pair.Exchange());
  }
  EXPECT_EQ(call.body.size(), 5005u);
  EXPECT_TRUE(call.closed);
  EXPECT_TRUE(GrpcStatusOf(call).ok());
}

TEST_P(Http2SessionTest, MessagesOfAStreamGoOutInOrder) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), "", false);
  ASSERT_TRUE(pair.Exchange());
  net::Http2Stream& stream = *pair.listener.at(call.id).stream;
  const std::array<net::Http2Header, 1> head = {{{":status", "200"}}};
  pair.server->SubmitHeaders(stream, head, false);
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    const std::string body(static_cast<size_t>(i * 7), static_cast<char>('a' + i % 26));
    pair.server->SendData(stream, "[" + std::to_string(i % 10) + "]", body);
    expected += "[" + std::to_string(i % 10) + "]" + body;
    if (i % 3 == 0) ASSERT_TRUE(pair.Exchange());
  }
  ASSERT_TRUE(pair.Exchange());
  EXPECT_EQ(call.body, expected);
  EXPECT_FALSE(call.ended);
}

TEST_P(Http2SessionTest, OutputIsBoundedUntilItIsTaken) {
  SessionPair pair(GetParam(), {},
                   Http2ClientOptions{.stream_window = 1 << 30, .connection_window = 1 << 30});
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), GrpcFrame(""), true);
  ASSERT_TRUE(pair.Exchange());
  const size_t size = 50 << 20;
  pair.Answer(call.id, std::string(size, 'z'));
  size_t received = 0;
  while (!call.closed) {
    pair.server->Pump(pair.now);
    ASSERT_LE(pair.server->Output().size(), net_limits::kOutputBytesHigh + 16'384 + 64);
    ASSERT_GT(pair.server->Output().size(), 0u);
    pair.ToClient();
    received += call.body.size();
    call.body.clear();
  }
  EXPECT_EQ(received, size + 5);
}

// --- ends --------------------------------------------------------------------

TEST_P(Http2SessionTest, ClientsResetClosesWithItsCode) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), "", false);
  ASSERT_TRUE(pair.Exchange());
  pair.client.Cancel(call);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_EQ(pair.listener.closed, 1u);
  EXPECT_EQ(pair.listener.at(call.id).close_code, Http2Code::kCancel);
}

TEST_P(Http2SessionTest, OurResetReachesTheClientAndSilencesTheStream) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), "", false);
  ASSERT_TRUE(pair.Exchange());
  pair.server->Reset(*pair.listener.at(call.id).stream, Http2Code::kRefusedStream);
  pair.client.Send(call, "more", true);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_TRUE(call.closed);
  EXPECT_EQ(call.reset_code, 7u);
  EXPECT_EQ(pair.listener.at(call.id).body, "");
  EXPECT_FALSE(pair.listener.at(call.id).ended);
}

TEST_P(Http2SessionTest, AnswerBeforeTheRequestEndsStopsTheClientWithoutError) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), "", false);
  ASSERT_TRUE(pair.Exchange());
  pair.Answer(call.id, "early");
  ASSERT_TRUE(pair.Exchange());
  EXPECT_TRUE(call.closed);
  EXPECT_EQ(call.reset_code, 0u);
  EXPECT_EQ(TakeGrpcMessage(call.body), "early");
  EXPECT_TRUE(GrpcStatusOf(call).ok());
  EXPECT_EQ(pair.listener.closed, 1u);
}

TEST_P(Http2SessionTest, DestroyingTheSessionClosesItsStreams) {
  SessionPair pair(GetParam());
  const int32_t id = pair.client.Open(GrpcHeaders("/a.B/C"), "", false).id;
  ASSERT_TRUE(pair.Exchange());
  pair.server.reset();
  EXPECT_EQ(pair.listener.closed, 1u);
  EXPECT_EQ(pair.listener.at(id).close_code, Http2Code::kCancel);
}

TEST_P(Http2SessionTest, HalfCloseKeepsOurHalfOpen) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), GrpcFrame("all"), true);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_TRUE(pair.listener.at(call.id).ended);
  EXPECT_EQ(pair.listener.closed, 0u);
  pair.Answer(call.id, "late");
  ASSERT_TRUE(pair.Exchange());
  EXPECT_EQ(TakeGrpcMessage(call.body), "late");
}

// A client that has not seen our SETTINGS yet may open more: those it can open again.
TEST_P(Http2SessionTest, StreamsBeyondTheLimitAreRefused) {
  RawPeer peer(GetParam(), net::Http2Options{.streams_max = 3, .keepalive = {}}, false);
  ASSERT_TRUE(peer.Feed(RawGreeting()).ok());
  for (uint32_t i = 0; i < 5; ++i)
    ASSERT_TRUE(peer.Feed(RawRequest(2 * i + 1, "/a.B/C", true)).ok());
  EXPECT_EQ(peer.listener.requests.size(), 3u);
  peer.server->Pump(peer.now);
  size_t refused = 0;
  for (const RawFrame& frame : ParseFrames(peer.server->Output())) {
    if (frame.type == net::FrameType::kRstStream)
      refused += frame.payload == std::string_view("\0\0\0\x7", 4) ? 1 : 0;
  }
  EXPECT_EQ(refused, 2u);
}

TEST_P(Http2SessionTest, ShutdownLetsCallsFinishAndRefusesLaterOnes) {
  SessionPair pair(GetParam());
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), GrpcFrame(""), true);
  ASSERT_TRUE(pair.Exchange());
  pair.server->Shutdown();
  pair.ToClient();
  EXPECT_TRUE(pair.client.goaway());
  EXPECT_EQ(pair.client.goaway_last_stream(), INT32_MAX);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_EQ(pair.client.goaway_code(), 0u);
  EXPECT_EQ(pair.client.goaway_last_stream(), call.id);
  EXPECT_FALSE(pair.server->finished());
  pair.Answer(call.id, "done");
  pair.Exchange();
  EXPECT_EQ(TakeGrpcMessage(call.body), "done");
  EXPECT_TRUE(pair.server->finished());
}

TEST_P(Http2SessionTest, ShutdownOfAnIdleConnectionFinishesIt) {
  SessionPair pair(GetParam());
  ASSERT_TRUE(pair.Exchange());
  pair.server->Shutdown();
  pair.Exchange();
  EXPECT_TRUE(pair.server->finished());
  EXPECT_EQ(pair.server->fault(), Http2Fault::kNone);
}

TEST_P(Http2SessionTest, GoawayOfTheClientFinishesAnIdleSession) {
  RawPeer peer(GetParam());
  ASSERT_TRUE(peer.Feed(Raw(net::FrameType::kGoaway, 0, 0, std::string(8, '\0'))).ok());
  peer.server->Pump(peer.now);
  EXPECT_TRUE(peer.server->finished());
  EXPECT_EQ(peer.server->fault(), Http2Fault::kNone);
}

// --- keepalive ---------------------------------------------------------------

TEST_P(Http2SessionTest, SilentPeerIsPingedAndItsAnswerCounts) {
  SessionPair pair(GetParam());
  ASSERT_TRUE(pair.Exchange());
  pair.now = pair.server->next_tick();
  ASSERT_TRUE(pair.server->Tick(pair.now).ok());
  pair.ToClient();
  EXPECT_EQ(pair.client.pings_received(), 1u);
  ASSERT_TRUE(pair.Exchange());
  pair.now = pair.now + Seconds(20);
  EXPECT_TRUE(pair.server->Tick(pair.now).ok());
  EXPECT_EQ(pair.server->fault(), Http2Fault::kNone);
}

TEST_P(Http2SessionTest, UnansweredPingEndsTheConnection) {
  RawPeer peer(GetParam());
  ASSERT_TRUE(peer.server->Tick(peer.server->next_tick()).ok());
  const Status status = peer.server->Tick(peer.server->next_tick());
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(peer.server->fault(), Http2Fault::kKeepaliveTimeout);
  EXPECT_TRUE(peer.server->finished());
  EXPECT_EQ(peer.GoawayCode(), 0u);
}

TEST_P(Http2SessionTest, FaultNamesAreDistinct) {
  std::map<std::string_view, int> names;
  for (size_t i = 0; i < net::kHttp2FaultsCount; ++i)
    ++names[net::FaultName(static_cast<Http2Fault>(i))];
  EXPECT_EQ(names.size(), net::kHttp2FaultsCount);
}

}  // namespace
}  // namespace metastore::net_test
