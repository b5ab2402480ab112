// Aim: what Http2ServerSession does in its own way: answers framed at once, turns, output that is
// full, remembered headers. Method: raw frames and nghttp2's client, joined in memory. What it
// shares with the oracle is in http2_session_test, http2_abuse_test and http2_differ_test.
#include "net/http2_server_session.h"

#include <gtest/gtest.h>

#include <array>

#include "net/net_limits.h"
#include "tests/net/session_pair.h"

namespace metastore::net_test {
namespace {

using net::FrameType;
using net::Http2Code;
using net::Http2Fault;
using net::Http2Header;

constexpr std::array<Http2Header, 2> kHead = {
    {{":status", "200"}, {"content-type", "application/grpc"}}};
constexpr std::array<Http2Header, 1> kEnd = {{{"grpc-status", "0"}}};
constexpr net::Http2FixedHeaders kFixedHead(kHead);
constexpr net::Http2FixedHeaders kFixedEnd(kEnd);

size_t Respond(net::Http2Session& session, net::Http2Stream& stream, std::string body) {
  return session.Respond(
      stream,
      net::Http2Answer{
          .headers = kFixedHead, .head = "head", .body = std::move(body), .trailers = kFixedEnd});
}

std::string Number(uint32_t value) {
  std::string bytes;
  net::AppendBigEndian32(bytes, value);
  return bytes;
}
std::string WindowUpdate(uint32_t stream, uint32_t bytes) {
  return Raw(FrameType::kWindowUpdate, 0, stream, Number(bytes));
}
std::string InitialWindow(uint32_t bytes) {
  return Raw(FrameType::kSettings, 0, 0, std::string("\0\4", 2) + Number(bytes));
}

// A peer with some requests that were fed whole, and their streams.
class Requests final {
 public:
  explicit Requests(uint32_t count, bool end = true) {
    for (uint32_t i = 0; i < count; ++i)
      CHECK(peer.Feed(RawRequest(2 * i + 1, "/a.B/C", end)).ok());
  }
  net::Http2Session& session() { return *peer.server; }
  RecordingListener::Request& at(int32_t id) { return peer.listener.at(id); }
  size_t Respond(int32_t id, std::string body) {
    return net_test::Respond(session(), *at(id).stream, std::move(body));
  }
  std::vector<RawFrame> Take() {
    session().Pump(peer.now);
    const std::vector<RawFrame> frames = ParseFrames(session().Output());
    session().Output().clear();
    return frames;
  }
  // DATA until no more room is in the output.
  void FillOutput(int32_t id) {
    CHECK(peer.Feed(WindowUpdate(0, 1 << 30) + InitialWindow(1 << 30)).ok());
    session().Output().clear();
    Respond(id, std::string(2 << 20, 'f'));
    session().Pump(peer.now);
    CHECK_GE(session().Output().size(), net_limits::kOutputBytesHigh);
  }

  RawPeer peer;
};

size_t Count(const std::vector<RawFrame>& frames, FrameType type) {
  return static_cast<size_t>(std::count_if(
      frames.begin(), frames.end(), [type](const RawFrame& frame) { return frame.type == type; }));
}

// --- answers -----------------------------------------------------------------

TEST(Http2ServerSessionTest, AnAnswerIsFramedAtOnceAndClosedByPump) {
  Requests requests(1);
  EXPECT_EQ(requests.Respond(1, "body"), 0u);
  const std::vector<RawFrame> frames = ParseFrames(requests.session().Output());
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[1].payload, "headbody");
  EXPECT_EQ(frames[2].flags, kEndStream | kEndHeaders);
  EXPECT_EQ(requests.session().streams_open(), 0u);
  EXPECT_EQ(requests.peer.listener.closed, 0u);
  EXPECT_TRUE(requests.session().wants_pump());
  requests.session().Pump(requests.peer.now);
  EXPECT_EQ(requests.peer.listener.closed, 1u);
  EXPECT_EQ(requests.at(1).close_code, Http2Code::kNoError);
  EXPECT_EQ(requests.at(1).sent, 0u);  // it was told by Respond
}

TEST(Http2ServerSessionTest, LaterAnswersTakeThreeBytesOfHeaders) {
  Requests requests(3);
  for (const int32_t id : {1, 3, 5}) requests.Respond(id, "x");
  const std::vector<RawFrame> frames = requests.Take();
  ASSERT_EQ(frames.size(), 9u);
  EXPECT_EQ(frames[6].payload.size(), 2u);
  EXPECT_EQ(frames[8].payload.size(), 1u);
}

TEST(Http2ServerSessionTest, AnAnswerBeyondTheWindowWaitsForIt) {
  Requests requests(1);
  ASSERT_TRUE(requests.peer.Feed(WindowUpdate(0, 1 << 20)).ok());
  const size_t bytes = 4 + 70'000;
  EXPECT_EQ(requests.Respond(1, std::string(70'000, 'x')), bytes);
  requests.Take();
  EXPECT_EQ(requests.at(1).sent, 65'535u);
  EXPECT_FALSE(requests.session().wants_pump());
  ASSERT_TRUE(requests.peer.Feed(WindowUpdate(1, 100'000)).ok());
  EXPECT_TRUE(requests.session().wants_pump());
  const std::vector<RawFrame> rest = requests.Take();
  EXPECT_EQ(requests.at(1).sent, bytes);
  EXPECT_EQ(rest.back().type, FrameType::kHeaders);
  EXPECT_EQ(requests.peer.listener.closed, 1u);
}

TEST(Http2ServerSessionTest, AnAnswerBeforeTheRequestsEndIsFollowedByAReset) {
  Requests requests(1, false);
  EXPECT_EQ(requests.Respond(1, "early"), 0u);
  // What crosses it on the wire is ignored, and counts for the connection's window only.
  ASSERT_TRUE(requests.peer.Feed(Raw(FrameType::kData, kEndStream, 1, "late")).ok());
  const std::vector<RawFrame> frames = requests.Take();
  ASSERT_EQ(frames.size(), 4u);
  EXPECT_EQ(frames[3].type, FrameType::kRstStream);
  EXPECT_EQ(frames[3].payload, Number(0));
  EXPECT_EQ(requests.at(1).body, "");
  EXPECT_FALSE(requests.at(1).ended);
  EXPECT_EQ(requests.at(1).close_code, Http2Code::kNoError);
}

TEST(Http2ServerSessionTest, AnswersToGoneStreamsGoNowhere) {
  Requests requests(2);
  net::Http2Stream& first = *requests.at(1).stream;
  requests.session().Reset(first, Http2Code::kCancel);
  EXPECT_EQ(net_test::Respond(requests.session(), first, "x"), 0u);
  requests.session().SubmitHeaders(first, kHead, false);
  requests.session().SendData(first, "", "x");
  requests.session().SubmitTrailers(first, kEnd);
  requests.session().Consumed(first, 1 << 20);
  requests.session().Reset(first, Http2Code::kRefusedStream);
  const std::vector<RawFrame> frames = requests.Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].payload, Number(static_cast<uint32_t>(Http2Code::kCancel)));
  EXPECT_EQ(requests.at(1).close_code, Http2Code::kCancel);
}

TEST(Http2ServerSessionTest, LongTrailersGoOnInContinuationFrames) {
  SessionPair pair;
  ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), "", true);
  ASSERT_TRUE(pair.Exchange());
  net::Http2Stream& stream = *pair.listener.at(call.id).stream;
  const std::string value(20'000, 'v');
  const std::array<Http2Header, 2> trailers = {{{"grpc-status", "0"}, {"long", value}}};
  pair.server->SubmitHeaders(stream, kHead, false);
  pair.server->SubmitTrailers(stream, trailers);
  ASSERT_TRUE(pair.Exchange());
  EXPECT_TRUE(call.closed);
  EXPECT_EQ(call.Find(call.trailers, "long"), value);
}

TEST(Http2ServerSessionTest, TheClientsHeaderTableSizeIsHonoured) {
  for (const uint32_t size : {0u, 50u, 4096u, 10'000u}) {
    SessionPair pair;
    ASSERT_TRUE(pair.Exchange());
    for (int round = 0; round < 4; ++round) {
      if (round == 2) pair.client.SubmitSettings(1, size);
      ClientStream& call = pair.client.Open(GrpcHeaders("/a.B/C"), "", true);
      ASSERT_TRUE(pair.Exchange());
      Respond(*pair.server, *pair.listener.at(call.id).stream, "x");
      ASSERT_TRUE(pair.Exchange()) << size;
      EXPECT_TRUE(GrpcStatusOf(call).ok()) << size;
    }
  }
}

// --- turns -------------------------------------------------------------------

TEST(Http2ServerSessionTest, StreamsTakeTurnsOfOneFrame) {
  Requests requests(3);
  ASSERT_TRUE(requests.peer.Feed(WindowUpdate(0, 1 << 20) + InitialWindow(1 << 20)).ok());
  requests.Take();
  for (const int32_t id : {1, 3}) requests.Respond(id, std::string(50'000, 'x'));
  EXPECT_GT(requests.Respond(5, "small, and behind those that wait"), 0u);
  std::vector<uint32_t> order;
  for (const RawFrame& frame : requests.Take())
    if (frame.type == FrameType::kData) order.push_back(frame.stream);
  EXPECT_EQ(order, (std::vector<uint32_t>{1, 3, 5, 1, 3, 1, 3, 1, 3}));
}

TEST(Http2ServerSessionTest, TheConnectionsWindowStarvesNobodyForGood) {
  Requests requests(4);
  ASSERT_TRUE(requests.peer.Feed(InitialWindow(1 << 20)).ok());
  for (const int32_t id : {1, 3, 5}) requests.Respond(id, std::string(40'000, 'x'));
  requests.Take();
  EXPECT_EQ(requests.at(1).sent + requests.at(3).sent + requests.at(5).sent, 65'535u);
  EXPECT_FALSE(requests.session().wants_pump());
  // Headers need no window.
  requests.session().SubmitHeaders(*requests.at(7).stream, kHead, true);
  EXPECT_EQ(Count(requests.Take(), FrameType::kHeaders), 1u);
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(requests.peer.Feed(WindowUpdate(0, 1000)).ok());
    requests.Take();
  }
  EXPECT_EQ(requests.peer.listener.closed, 4u);
}

TEST(Http2ServerSessionTest, SettingsMayShrinkWindowsBelowZero) {
  Requests requests(1);
  ASSERT_TRUE(requests.peer.Feed(WindowUpdate(0, 1 << 20)).ok());
  requests.Respond(1, std::string(100'000, 'x'));
  requests.Take();
  ASSERT_EQ(requests.at(1).sent, 65'535u);
  ASSERT_TRUE(requests.peer.Feed(InitialWindow(1000)).ok());
  ASSERT_TRUE(requests.peer.Feed(WindowUpdate(1, 64'535)).ok());  // at zero now
  EXPECT_EQ(Count(requests.Take(), FrameType::kData), 0u);
  ASSERT_TRUE(requests.peer.Feed(WindowUpdate(1, 1)).ok());
  requests.Take();
  EXPECT_EQ(requests.at(1).sent, 65'536u);
  ASSERT_TRUE(requests.peer.Feed(InitialWindow(1 << 20)).ok());
  requests.Take();
  EXPECT_EQ(requests.at(1).sent, 100'004u);
}

TEST(Http2ServerSessionTest, SettingsThatOverflowAStreamsWindowResetIt) {
  Requests requests(2);
  ASSERT_TRUE(requests.peer.Feed(WindowUpdate(1, 0x7fffffff - 65'535)).ok());
  ASSERT_TRUE(requests.peer.Feed(InitialWindow(65'536)).ok());
  requests.Take();
  EXPECT_EQ(requests.at(1).close_code, Http2Code::kFlowControlError);
  EXPECT_NE(requests.at(3).stream, nullptr);
}

// --- an output that is full --------------------------------------------------

TEST(Http2ServerSessionTest, AnswersToFramesWaitWhileTheOutputIsFull) {
  Requests requests(1);
  requests.FillOutput(1);
  const size_t size = requests.session().Output().size();
  for (uint32_t id = 3; id < 3 + 2 * 500; id += 2)
    ASSERT_TRUE(requests.peer.Feed(Raw(FrameType::kHeaders, kEndHeaders, id, "")).ok());
  ASSERT_TRUE(requests.peer.Feed(Raw(FrameType::kPing, 0, 0, "12345678")).ok());
  EXPECT_EQ(requests.session().Output().size(), size);
  requests.session().Output().clear();
  const std::vector<RawFrame> frames = requests.Take();
  EXPECT_EQ(Count(frames, FrameType::kRstStream), 500u);
  EXPECT_EQ(Count(frames, FrameType::kPing), 1u);
  EXPECT_EQ(frames[500].type, FrameType::kPing);  // before more data
}

TEST(Http2ServerSessionTest, WhatWaitsForAFullOutputIsBounded) {
  Requests requests(1);
  requests.FillOutput(1);
  std::string settings;
  for (uint32_t i = 0; i < net_limits::kSettingsBurst - 3; ++i)
    settings += Raw(FrameType::kSettings, 0, 0, "");
  ASSERT_TRUE(requests.peer.Feed(settings).ok());
  uint32_t id = 3;
  for (; requests.peer.Feed(Raw(FrameType::kHeaders, kEndHeaders, id, "")).ok(); id += 2)
    ASSERT_LT(id, 2 * net_limits::kControlFramesQueuedMax);
  EXPECT_EQ(requests.session().fault(), Http2Fault::kPingFlood);
}

// While a send is under way nobody pumps, and only a full output stops the reader.
TEST(Http2ServerSessionTest, StreamsThatAreRefusedFillTheOutput) {
  Requests requests(0);
  int32_t id = 1;
  for (; requests.session().Output().size() < net_limits::kOutputBytesHigh; id += 2) {
    ASSERT_LT(id, 2 * 50'000) << "refused streams without bound";
    ASSERT_TRUE(requests.peer.Feed(RawRequest(static_cast<uint32_t>(id), "/a.B/C", true)).ok());
    requests.session().Reset(*requests.at(id).stream, Http2Code::kRefusedStream);
  }
  EXPECT_EQ(requests.peer.listener.closed, 0u);
  requests.Take();
  EXPECT_EQ(requests.peer.listener.closed, static_cast<size_t>(id / 2));
  EXPECT_EQ(requests.at(1).close_code, Http2Code::kRefusedStream);
}

TEST(Http2ServerSessionTest, WindowUpdatesWaitForRoomInTheOutput) {
  Requests requests(2, false);
  const std::string data = Raw(FrameType::kData, 0, 3, std::string(16'384, 'x'));
  for (size_t i = 0; i < net_limits::kStreamWindowBytes / 16'384; ++i)
    ASSERT_TRUE(requests.peer.Feed(data).ok());
  requests.FillOutput(1);
  requests.session().Consumed(*requests.at(3).stream, net_limits::kStreamWindowBytes);
  EXPECT_TRUE(requests.session().wants_pump());
  requests.session().Output().clear();
  bool opened = false;
  for (const RawFrame& frame : requests.Take())
    opened = opened || (frame.type == FrameType::kWindowUpdate && frame.stream == 3);
  EXPECT_TRUE(opened);
  EXPECT_TRUE(requests.peer.Feed(data).ok());
  EXPECT_EQ(requests.at(3).body.size(), net_limits::kStreamWindowBytes + 16'384u);
}

// --- headers -----------------------------------------------------------------

TEST(Http2ServerSessionTest, RepeatedHeadersHaveANumber) {
  Requests requests(3);
  ASSERT_TRUE(requests.peer.Feed(RawRequest(7, "/a.B/D", true)).ok());
  ASSERT_TRUE(requests.peer.Feed(RawRequest(9, "/a.B/D", true)).ok());
  EXPECT_EQ(requests.at(1).stream->headers_number, 0u);
  const uint64_t number = requests.at(3).stream->headers_number;
  EXPECT_NE(number, 0u);
  EXPECT_EQ(requests.at(5).stream->headers_number, number);
  EXPECT_EQ(requests.at(7).stream->headers_number, 0u);
  EXPECT_NE(requests.at(9).stream->headers_number, number);
  EXPECT_EQ(requests.at(5).headers, requests.at(1).headers);
}

TEST(Http2ServerSessionTest, RepeatedHeadersOfEveryCutAreTheSame) {
  const std::string block = RawHeaderBlock("/a.B/C");
  const std::string padded = Raw(FrameType::kHeaders, kEndHeaders | 0x8 | kEndStream, 3,
                                 std::string(1, '\4') + block + std::string(4, '\0'));
  const std::string parts =
      Raw(FrameType::kHeaders, kEndStream, 3, std::string_view(block).substr(0, 20)) +
      Raw(FrameType::kContinuation, kEndHeaders, 3, std::string_view(block).substr(20));
  for (const std::string& again : {RawRequest(3, "/a.B/C", true), padded, parts}) {
    for (size_t cut = 0; cut <= again.size(); ++cut) {
      Requests requests(1);
      ASSERT_TRUE(requests.peer.Feed(std::string_view(again).substr(0, cut)).ok());
      ASSERT_TRUE(requests.peer.Feed(std::string_view(again).substr(cut)).ok());
      ASSERT_EQ(requests.at(3).headers, requests.at(1).headers) << cut;
      ASSERT_TRUE(requests.at(3).ended);
      // The table is in step still: what is remembered serves again.
      ASSERT_TRUE(requests.peer.Feed(RawRequest(5, "/a.B/C", true)).ok());
      ASSERT_EQ(requests.at(5).headers, requests.at(1).headers) << cut;
    }
  }
}

TEST(Http2ServerSessionTest, ARememberedContentLengthStillHolds) {
  RawPeer peer;
  const std::string block =
      RawHeaderBlock("/a") + std::string("\x10\x0e") + "content-length\x01" + "5";
  for (const uint32_t id : {1u, 3u, 5u, 7u})
    ASSERT_TRUE(peer.Feed(Raw(FrameType::kHeaders, kEndHeaders, id, block)).ok());
  ASSERT_TRUE(peer.Feed(Raw(FrameType::kHeaders, kEndHeaders | kEndStream, 9, block)).ok());
  ASSERT_TRUE(peer.Feed(Raw(FrameType::kData, kEndStream, 3, "1234")).ok());
  ASSERT_TRUE(peer.Feed(Raw(FrameType::kData, kEndStream, 5, "12345")).ok());
  ASSERT_TRUE(peer.Feed(Raw(FrameType::kData, 0, 7, "123456")).ok());
  peer.server->Pump(peer.now);
  EXPECT_NE(peer.listener.at(1).stream, nullptr);
  EXPECT_EQ(peer.listener.at(3).close_code, Http2Code::kProtocolError);
  EXPECT_TRUE(peer.listener.at(5).ended);
  EXPECT_EQ(peer.listener.at(7).close_code, Http2Code::kProtocolError);
  EXPECT_EQ(peer.listener.at(7).body, "");
  EXPECT_FALSE(peer.listener.requests.contains(9));
}

TEST(Http2ServerSessionTest, ContinuationFramesAreCountedNotTheirPieces) {
  const std::string block = RawHeaderBlock("/a.B/C");
  std::string bytes = Raw(FrameType::kHeaders, kEndStream, 1, "");
  for (size_t i = 0; i + 1 < net_limits::kContinuationsMax; ++i)
    bytes += Raw(FrameType::kContinuation, 0, 1, block.substr(i * 4, 4));
  bytes += Raw(FrameType::kContinuation, kEndHeaders, 1,
               block.substr(4 * (net_limits::kContinuationsMax - 1)));
  RawPeer peer;
  for (const char byte : bytes) ASSERT_TRUE(peer.Feed(std::string_view(&byte, 1)).ok());
  EXPECT_TRUE(peer.listener.at(1).ended);
}

TEST(Http2ServerSessionTest, AContinuationBeyondTheFrameSizeIsAFault) {
  RawPeer peer;
  EXPECT_FALSE(peer.Feed(Raw(FrameType::kHeaders, 0, 1, "") +
                         Raw(FrameType::kContinuation, 0, 1, std::string(16'385, '\0')))
                   .ok());
  EXPECT_EQ(peer.server->fault(), Http2Fault::kFrameSize);
}

TEST(Http2ServerSessionTest, MoreDataThanTheConnectionsWindowIsAFault) {
  Requests requests(5, false);
  std::string bytes;
  for (uint32_t id = 1; id <= 9; id += 2) {
    for (size_t i = 0; i < net_limits::kStreamWindowBytes / 16'384; ++i)
      bytes += Raw(FrameType::kData, 0, id, std::string(16'384, 'x'));
  }
  EXPECT_FALSE(requests.peer.Feed(bytes).ok());  // 5 MiB at once
  EXPECT_EQ(requests.session().fault(), Http2Fault::kFlowControl);
}

}  // namespace
}  // namespace metastore::net_test
