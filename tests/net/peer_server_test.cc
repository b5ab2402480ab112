// Aim: the peer port: strangers cost one line and little time, streams are bounded, members are let
// in or told why not, closed when they leave, and everything ends at Shutdown. Method: simulated
// machines (peer_harness.h) and bare sockets.
#include "net/peer_server.h"

#include <gtest/gtest.h>

#include "tests/net/peer_harness.h"

namespace metastore::net_test {
namespace {

using net::PeerHello;
using net::PeerServer;
using net::PeerStream;
using net::PeerStreamKind;
using net::PeerUrgency;

constexpr std::string_view kRefusedLine = "peer stream refused";

class PeerServerTest : public testing::Test {
 protected:
  PeerServerTest() {
    pair_.a.Boot();
    pair_.b.Boot();
  }
  ~PeerServerTest() override {
    for (auto& socket : sockets_) socket->Close();
    for (auto& stream : streams_) stream->Close();
    world().RunFor(Milliseconds(10));
  }

  sim::SimWorld& world() { return pair_.world; }
  PeerServer& server() { return pair_.b.server(); }
  io::Runtime& near() { return pair_.a.runtime(); }
  io::Address address() { return {.ip = pair_.b.machine().ip(), .port = kPeerPort}; }

  io::Socket& ConnectRaw() {
    StatusOr<std::unique_ptr<io::Socket>> socket =
        world().Await(near(), near().Connect(address(), near().Now() + Seconds(1)));
    CHECK(socket.ok());
    return *sockets_.emplace_back(std::move(*socket));
  }
  // Whether the server has closed it.
  bool Closed(io::Socket& socket) {
    const StatusOr<io::ReceivedBytes> received = world().Await(near(), socket.Receive());
    return !received.ok() || received->end_of_stream();
  }
  Status Dial(PeerHello hello) {
    StatusOr<std::unique_ptr<PeerStream>> stream =
        world().Await(near(), PeerStream::Dial(near(), address(), hello, {}));
    if (stream.ok()) streams_.push_back(std::move(*stream));
    world().RunFor(Milliseconds(5));
    return stream.status();
  }
  static PeerHello Hello(PeerStreamKind kind, uint64_t from = 1) {
    return {.kind = kind, .cluster = kPeerCluster, .from = NodeId(from), .to = NodeId(2)};
  }

  PeerPair pair_;
  std::vector<std::unique_ptr<io::Socket>> sockets_;
  std::vector<std::unique_ptr<PeerStream>> streams_;
};

TEST_F(PeerServerTest, HttpClientCostsOneLine) {
  io::Socket& socket = ConnectRaw();
  ASSERT_TRUE(world().Await(near(), socket.Send("GET /health HTTP/1.1\r\n\r\n")).ok());
  EXPECT_TRUE(Closed(socket));
  EXPECT_EQ(pair_.b.machine().log().Count(kRefusedLine), 1u);
  EXPECT_TRUE(pair_.b.machine().log().Contains("not of the peer protocol"));
  EXPECT_EQ(server().stats().refused_total, 1u);
  EXPECT_EQ(server().stats().streams, 0u);
}

TEST_F(PeerServerTest, FloodOfStrangersDoesNotFloodTheLog) {
  for (int i = 0; i < 500; ++i) {
    io::Socket& socket = ConnectRaw();
    ASSERT_TRUE(world().Await(near(), socket.Send("x")).ok());
    EXPECT_TRUE(Closed(socket));
  }
  EXPECT_EQ(server().stats().refused_total, 500u);
  EXPECT_LE(pair_.b.machine().log().Count(kRefusedLine),
            static_cast<size_t>((world().Now() - MonoTime{}).ms() / 1000 + 1));
}

TEST_F(PeerServerTest, SilentConnectionsCountUntilTheirTimeout) {
  for (size_t i = 0; i < PeerServer::kStreamsMax; ++i) ConnectRaw();
  world().RunFor(Milliseconds(5));
  EXPECT_EQ(server().stats().streams, PeerServer::kStreamsMax);
  EXPECT_TRUE(Closed(ConnectRaw()));
  EXPECT_EQ(Dial(Hello(PeerStreamKind::kMembers)).code(), StatusCode::kUnavailable);
  EXPECT_EQ(server().stats().refused_total, 2u);
  EXPECT_EQ(server().stats().accepted_total, PeerServer::kStreamsMax + 2);
  world().RunFor(Seconds(6));
  EXPECT_EQ(server().stats().streams, 0u);
  EXPECT_TRUE(Dial(Hello(PeerStreamKind::kMembers)).ok());
  EXPECT_EQ(server().stats().streams, 1u);
}

TEST_F(PeerServerTest, AdmitDecides) {
  pair_.b.verdict = FailedPreconditionError("another cluster");
  EXPECT_EQ(Dial(Hello(PeerStreamKind::kSnapshot)).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(server().stats().refused_total, 1u);
  EXPECT_EQ(pair_.b.machine().log().Count("another cluster"), 1u);
  EXPECT_EQ(pair_.b.serving, 0u);
  pair_.b.verdict = OkStatus();
  EXPECT_TRUE(Dial(Hello(PeerStreamKind::kSnapshot)).ok());
  EXPECT_EQ(pair_.b.serving, 1u);
  ASSERT_EQ(pair_.b.admitted.size(), 1u);
  EXPECT_EQ(pair_.b.admitted[0], Hello(PeerStreamKind::kSnapshot));
}

TEST_F(PeerServerTest, StreamsOfAMemberThatLeavesAreClosed) {
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kMessages)).ok());
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kSnapshot)).ok());
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kSnapshot, 9)).ok());
  EXPECT_EQ(server().stats().streams, 3u);
  server().CloseStreamsOf(NodeId(1));
  world().RunFor(Milliseconds(5));
  EXPECT_EQ(server().stats().streams, 1u);
  ASSERT_EQ(pair_.b.stream_ends.size(), 2u);
  EXPECT_EQ(pair_.b.stream_ends[0].code(), StatusCode::kCancelled);
  EXPECT_EQ(server().stats().refused_total, 0u);
}

TEST_F(PeerServerTest, NewerMessageStreamEndsTheOlder) {
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kMessages)).ok());
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kMessages, 9)).ok());
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kSnapshot)).ok());
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kSnapshot)).ok());
  EXPECT_EQ(server().stats().streams, 4u);
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kMessages)).ok());
  EXPECT_EQ(server().stats().streams, 4u);
  EXPECT_EQ(pair_.b.stream_ends.size(), 1u);
}

TEST_F(PeerServerTest, HandlerThatReturnsEndsTheStream) {
  pair_.b.hangs_up = true;
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kMembers)).ok());
  EXPECT_EQ(server().stats().streams, 0u);
  const Status end = world().Await(near(), streams_[0]->Receive()).status();
  EXPECT_EQ(end.code(), StatusCode::kUnavailable);
}

TEST_F(PeerServerTest, ListensOnSeveralAddressesUntilItIsShutDown) {
  EXPECT_EQ(server().Listen(address()).status().code(), StatusCode::kAlreadyExists);
  const StatusOr<io::Address> second = server().Listen({.ip = "127.0.0.1", .port = 0});
  ASSERT_TRUE(second.ok());
  EXPECT_NE(second->port, 0);
  world().Await(pair_.b.runtime(), server().Shutdown());
  EXPECT_EQ(server().Listen({.ip = "127.0.0.1", .port = 0}).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(PeerServerTest, ShutdownEndsStreamsOfEveryStage) {
  ConnectRaw();                                              // no hello yet
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kMessages)).ok());  // served
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kSnapshot)).ok());  // served in the background
  io::Socket& stuck = ConnectRaw();                          // half a hello
  ASSERT_TRUE(world().Await(near(), stuck.Send("MSPR")).ok());
  world().RunFor(Milliseconds(5));
  EXPECT_EQ(server().stats().streams, 4u);
  const MonoTime begin = world().Now();
  world().Await(pair_.b.runtime(), server().Shutdown());
  EXPECT_LT((world().Now() - begin).ms(), 5);
  EXPECT_EQ(server().stats().streams, 0u);
  EXPECT_EQ(server().stats().refused_total, 0u);
  EXPECT_EQ(pair_.b.serving, 0u);
}

TEST_F(PeerServerTest, ProcessDiesUnderItsStreams) {
  ConnectRaw();
  ASSERT_TRUE(Dial(Hello(PeerStreamKind::kMessages)).ok());
  pair_.b.Kill();
  EXPECT_EQ(pair_.b.serving, 0u);
}

}  // namespace
}  // namespace metastore::net_test
