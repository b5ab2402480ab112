// Aim: ClientServer as clients see it: two protocols on a port, caps, timeouts, faults, drain,
// death of the process. Method: a simulated machine each for server and clients (SimWorld); clients
// speak real bytes.
#include "net/server.h"

#include <gtest/gtest.h>

#include "tests/net/server_harness.h"
#include "tests/net/session_pair.h"

namespace metastore::net_test {
namespace {

using net::Http2Fault;
using net::PortUse;
using net::Protocol;

bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(SniffTest, ThreeBytesDecide) {
  EXPECT_EQ(net::SniffProtocol(""), Protocol::kUndecided);
  EXPECT_EQ(net::SniffProtocol("P"), Protocol::kUndecided);
  EXPECT_EQ(net::SniffProtocol("PR"), Protocol::kUndecided);
  EXPECT_EQ(net::SniffProtocol("PRI"), Protocol::kHttp2);
  EXPECT_EQ(net::SniffProtocol("PRI * HTTP/2.0\r\n"), Protocol::kHttp2);
  EXPECT_EQ(net::SniffProtocol("PROPFIND / HTTP/1.1"), Protocol::kHttp1);
  for (const char* first : {"G", "PO", "PUT", "PA"}) {
    EXPECT_EQ(net::SniffProtocol(first), Protocol::kHttp1) << first;
  }
  // A TLS hello, a blank, zeros: no method begins so.
  for (const std::string_view first :
       {std::string_view("\x16\x03\x01"), std::string_view(" GET"), std::string_view("\0\0", 2)}) {
    EXPECT_EQ(net::SniffProtocol(first), Protocol::kNeither) << first;
  }
}

TEST(ServerTest, BothProtocolsShareAPort) {
  ServerHarness harness;
  const auto client = harness.Connect();
  EXPECT_EQ(*harness.Call(*client, "Unary", "hello"), "hello");
  const std::string page = harness.Exchange("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(page.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(page.ends_with("\r\n\r\nhello"));
  EXPECT_EQ(harness.stats().connections_http2, 1u);
  EXPECT_EQ(harness.stats().connections_http1, 1u);
  EXPECT_EQ(harness.stats().connections_total, 2u);
  EXPECT_GT(harness.stats().received_bytes, 0u);
  EXPECT_GT(harness.stats().sent_bytes, 0u);
  harness.Close(*client);
}

TEST(ServerTest, PortsMaySpeakOneProtocolOnly) {
  ServerHarness harness;
  const io::Address grpc = harness.Listen(PortUse::kGrpcOnly);
  const io::Address http = harness.Listen(PortUse::kHttpOnly);
  const auto get = harness.ConnectRaw(grpc);
  ASSERT_TRUE(harness.Send(*get, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").ok());
  EXPECT_EQ(harness.ReceiveAll(*get), "");
  const auto call = harness.ConnectRaw(http);
  ASSERT_TRUE(harness.Send(*call, RawGreeting()).ok());
  EXPECT_EQ(harness.ReceiveAll(*call), "");
  EXPECT_EQ(harness.stats().bad_prefaces, 2u);
}

TEST(ServerTest, TakenAddressIsRefused) {
  ServerHarness harness;
  const Status status = harness.server().Listen(harness.address(), PortUse::kGrpcAndHttp).status();
  EXPECT_EQ(status.code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(Contains(std::string(status.message()), harness.address().ToString()));
}

TEST(ServerTest, ConnectionsBeyondTheCapAreClosed) {
  net::ServerOptions options;
  options.connections_max = 3;
  ServerHarness harness(1, options);
  std::vector<std::unique_ptr<io::Socket>> sockets;
  for (int i = 0; i < 3; ++i) sockets.push_back(harness.ConnectRaw());
  const auto refused = harness.ConnectRaw();
  EXPECT_EQ(harness.ReceiveAll(*refused), "");
  EXPECT_EQ(harness.stats().connections_refused, 1u);
  EXPECT_EQ(harness.stats().connections_open, 3u);
  sockets.pop_back();
  harness.world().RunFor(Milliseconds(10));
  EXPECT_TRUE(Contains(harness.Exchange("GET /hello HTTP/1.0\r\n\r\n"), "hello"));
}

// --- idle and half open ------------------------------------------------------

TEST(ServerTest, SilentConnectionIsClosedAfterThePrefaceTimeout) {
  ServerHarness harness;
  const auto silent = harness.ConnectRaw();
  const MonoTime before = harness.world().Now();
  EXPECT_EQ(harness.ReceiveAll(*silent), "");
  EXPECT_NEAR(static_cast<double>((harness.world().Now() - before).ms()), 10'000.0, 20.0);
  const auto partial = harness.ConnectRaw();
  ASSERT_TRUE(harness.Send(*partial, "PR").ok());
  EXPECT_EQ(harness.ReceiveAll(*partial), "");
  EXPECT_EQ(harness.stats().timeouts, 2u);
  EXPECT_EQ(harness.stats().connections_open, 0u);
}

TEST(ServerTest, PrefaceWithoutSettingsTimesOut) {
  ServerHarness harness;
  const auto peer = harness.ConnectRaw();
  ASSERT_TRUE(harness.Send(*peer, net::kHttp2Preface).ok());
  harness.ReceiveAll(*peer);
  EXPECT_EQ(harness.stats().timeouts, 1u);
  EXPECT_EQ(harness.stats().connections_open, 0u);
}

TEST(ServerTest, IdleHttp2ConnectionLivesAndIsPinged) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ASSERT_TRUE(harness.Call(*client, "Unary", "x").ok());
  harness.world().RunFor(Seconds(3 * 7200 + 100));
  EXPECT_EQ(client->http2().pings_received(), 3u);
  EXPECT_TRUE(harness.Call(*client, "Unary", "x").ok());
  harness.Close(*client);
}

TEST(ServerTest, HalfOpenConnectionIsFoundByThePing) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ASSERT_TRUE(harness.Call(*client, "Unary", "x").ok());
  harness.world().network().Isolate(harness.server_machine());
  harness.world().RunFor(Seconds(7200 + 30));
  EXPECT_EQ(harness.stats().connections_open, 0u);
  harness.world().network().HealAll();
  harness.Close(*client);
}

TEST(ServerTest, PeerThatDoesNotReadIsClosedAfterTheSendTimeout) {
  ServerHarness harness;
  const auto socket = harness.ConnectRaw();
  std::string bytes = RawGreeting() + Raw(net::FrameType::kWindowUpdate, 0, 0, "\x3f\xff\xff\xff");
  bytes += Raw(net::FrameType::kSettings, 0, 0, {"\0\x4\x7f\xff\xff\xff", 6});
  bytes += RawRequest(1, "/test.Echo/Flood", false) +
           Raw(net::FrameType::kData, kEndStream, 1, GrpcFrame("5000"));
  ASSERT_TRUE(harness.Send(*socket, bytes).ok());
  harness.world().RunFor(Seconds(10));
  // What the wires hold, one buffer being sent, and one that waits.
  EXPECT_LE(harness.echo().written * 1005, 256'000 + 2 * net_limits::kOutputBytesHigh + 200'000);
  EXPECT_EQ(harness.stats().connections_open, 1u);
  harness.world().RunFor(Seconds(60));
  EXPECT_EQ(harness.stats().connections_open, 0u);
  EXPECT_EQ(harness.stats().timeouts, 1u);
  EXPECT_EQ(harness.echo().running, 0u);
}

// A client that sends requests for ever and reads nothing is not read from for ever.
TEST(ServerTest, SlowReaderIsNoLongerReadFrom) {
  ServerHarness harness;
  const auto socket = harness.ConnectRaw();
  std::string bytes = RawGreeting() + Raw(net::FrameType::kWindowUpdate, 0, 0, "\x3f\xff\xff\xff");
  ASSERT_TRUE(harness.Send(*socket, bytes).ok());
  bytes.clear();
  const std::string message = GrpcFrame(std::string(8000, 'q'));
  for (uint32_t id = 1; id < 2000; id += 2) {
    bytes += RawRequest(id, "/test.Echo/Unary", false) +
             Raw(net::FrameType::kData, kEndStream, id, message);
  }
  bool sent = false;
  io::Gate gate(harness.client_runtime().scheduler());
  struct Sender {
    static io::Task<void> Run(io::Socket& to, std::string all, bool& done) {
      const Status status = co_await to.Send(all);
      done = status.ok();
    }
  };
  CHECK(gate.Spawn("test.send", io::ReadyClass::kClient, Sender::Run(*socket, bytes, sent)));
  harness.world().RunFor(Seconds(20));
  EXPECT_FALSE(sent);
  EXPECT_LT(harness.stats().received_bytes, 2'500'000u);  // of 8 MB
  EXPECT_LT(harness.echo().begun, 300u);
  socket->Close();
  harness.world().Await(harness.client_runtime(), gate.Close());
}

// --- faults ------------------------------------------------------------------

TEST(ServerTest, FaultyPeerGetsGoawayAndOthersAreUnaffected) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ASSERT_TRUE(harness.Call(*client, "Unary", "x").ok());
  const std::string answer =
      harness.Exchange(RawGreeting() + Raw(net::FrameType::kPing, 0, 0, "bad"));
  bool goaway = false;
  for (const RawFrame& frame : ParseFrames(answer))
    goaway = goaway || frame.type == net::FrameType::kGoaway;
  EXPECT_TRUE(goaway);
  EXPECT_EQ(harness.faults(Http2Fault::kFrameSize), 1u);
  EXPECT_TRUE(harness.Call(*client, "Unary", "still served").ok());
  harness.Close(*client);
}

TEST(ServerTest, FaultStopsTheConnectionsCalls) {
  ServerHarness harness;
  const std::string request = RawRequest(1, "/test.Echo/Sleep", false) +
                              Raw(net::FrameType::kData, kEndStream, 1, GrpcFrame("x"));
  harness.Exchange(RawGreeting() + request + Raw(net::FrameType::kPing, 0, 0, "bad"));
  harness.world().RunFor(Seconds(2));
  EXPECT_EQ(harness.echo().running, 0u);
  EXPECT_EQ(harness.stats().connections_open, 0u);
}

// What the session answers by itself while it is fed must wake the writer too.
TEST(ServerTest, APingWithNothingElseIsAnswered) {
  ServerHarness harness;
  const std::unique_ptr<io::Socket> socket = harness.ConnectRaw();
  ASSERT_TRUE(harness.Send(*socket, RawGreeting()).ok());
  harness.Receive(*socket, 55, Seconds(1));  // SETTINGS, a window and the answer to ours
  ASSERT_TRUE(harness.Send(*socket, Raw(net::FrameType::kPing, 0, 0, "12345678")).ok());
  EXPECT_TRUE(Contains(harness.Receive(*socket, 17, Seconds(1)), "12345678"));
  socket->Close();
}

TEST(ServerTest, PingFloodIsToldToCalmDown) {
  ServerHarness harness;
  std::string bytes = RawGreeting();
  for (int i = 0; i < 100; ++i) bytes += Raw(net::FrameType::kPing, 0, 0, "12345678");
  const std::string answer = harness.Exchange(bytes);
  EXPECT_TRUE(Contains(answer, "too_many_pings"));
  EXPECT_EQ(harness.faults(Http2Fault::kPingFlood), 1u);
}

TEST(ServerTest, RandomBytesNeverHarmTheServer) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    ServerHarness harness(seed);
    Prng prng(seed);
    std::string bytes = prng.Chance(3, 4) ? RawGreeting() : "";
    if (prng.Chance(1, 2)) bytes += RawRequest(1, "/test.Echo/Echo", false);
    const size_t size = prng.Below(5000);
    for (size_t i = 0; i < size; ++i)
      bytes.push_back(static_cast<char>(prng.Below(prng.Chance(1, 2) ? 256 : 10)));
    harness.Exchange(bytes, Seconds(400));
    const auto client = harness.Connect();
    EXPECT_TRUE(harness.Call(*client, "Unary", "x").ok()) << "seed " << seed;
    EXPECT_EQ(harness.stats().connections_open, 1u) << "seed " << seed;
    harness.Close(*client);
  }
}

TEST(ServerTest, ResetConnectionsAreForgotten) {
  ServerHarness harness;
  std::vector<std::unique_ptr<GrpcClient>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(harness.Connect());
    clients.back()->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("x"), true);
    ASSERT_TRUE(harness.Call(*clients.back(), "Unary", "x").ok());
  }
  EXPECT_EQ(harness.echo().running, 20u);
  harness.world().network().ResetConnections(harness.server_machine(),
                                             harness.world().machine("client"));
  harness.world().RunFor(Seconds(2));
  EXPECT_EQ(harness.echo().running, 0u);
  EXPECT_EQ(harness.stats().connections_open, 0u);
  for (const auto& client : clients) harness.Close(*client);
}

// --- ends --------------------------------------------------------------------

TEST(ServerTest, ShutdownLetsCallsFinish) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ClientStream& sleeping =
      client->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("slept"), true);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  harness.world().At(Milliseconds(500), [&] { harness.echo().ReleaseSleepers(); });
  const MonoTime before = harness.world().Now();
  harness.Shutdown(Seconds(30));
  EXPECT_LT((harness.world().Now() - before).ms(), 2500);
  harness.world().RunFor(Milliseconds(100));
  EXPECT_TRUE(client->http2().goaway());
  EXPECT_EQ(client->http2().goaway_code(), 0u);
  EXPECT_EQ(TakeGrpcMessage(sleeping.body), "slept");
  EXPECT_TRUE(GrpcStatusOf(sleeping).ok());
  EXPECT_EQ(harness.Call(*client, "Unary", "late").status().code(), StatusCode::kUnavailable);
  harness.Close(*client);
}

TEST(ServerTest, ShutdownGivesUpAtItsDeadline) {
  ServerHarness harness;
  const auto client = harness.Connect();
  client->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("x"), true);
  ASSERT_TRUE(harness.Call(*client, "Unary", "wake").ok());
  const MonoTime before = harness.world().Now();
  harness.Shutdown(Seconds(3));
  EXPECT_NEAR(static_cast<double>((harness.world().Now() - before).ms()), 3000.0, 50.0);
  EXPECT_EQ(harness.echo().running, 0u);
  EXPECT_EQ(harness.echo().cancelled, 1u);
  harness.Close(*client);
}

TEST(ServerTest, ShutdownClosesIdleConnectionsQuickly) {
  ServerHarness harness;
  const auto client = harness.Connect();
  ASSERT_TRUE(harness.Call(*client, "Unary", "x").ok());
  const auto page = harness.ConnectRaw();
  ASSERT_TRUE(harness.Send(*page, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").ok());
  EXPECT_TRUE(Contains(harness.Receive(*page, 100), "hello"));
  const MonoTime before = harness.world().Now();
  harness.Shutdown(Seconds(30));
  EXPECT_LT((harness.world().Now() - before).ms(), 1500);
  harness.Close(*client);
}

TEST(ServerTest, ShutdownAnswersThePageUnderWay) {
  ServerHarness harness;
  const auto page = harness.ConnectRaw();
  ASSERT_TRUE(harness.Send(*page, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").ok());
  harness.world().RunFor(Milliseconds(100));
  harness.Shutdown(Seconds(30));
  const std::string answer = harness.ReceiveAll(*page);
  EXPECT_TRUE(answer.ends_with("hello"));
  EXPECT_TRUE(Contains(answer, "Connection: close"));
}

TEST(ServerTest, ListenAfterShutdownIsRefused) {
  ServerHarness harness;
  harness.world().Await(harness.server_runtime(),
                        harness.server().Shutdown(harness.server_runtime().Now()));
  EXPECT_EQ(harness.server()
                .Listen(io::Address{.ip = "0.0.0.0", .port = 0}, PortUse::kGrpcAndHttp)
                .status()
                .code(),
            StatusCode::kFailedPrecondition);
}

TEST(ServerTest, DeathOfTheProcessUnwindsEverything) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    ServerHarness harness(seed);
    const auto client = harness.Connect();
    client->http2().Open(GrpcHeaders("/test.Echo/Sleep"), GrpcFrame("x"), true);
    client->http2().Open(GrpcHeaders("/test.Echo/Flood"), GrpcFrame("100000"), true);
    ASSERT_TRUE(harness.Call(*client, "Unary", "x").ok());
    const auto idle = harness.ConnectRaw();
    const auto page = harness.ConnectRaw();
    ASSERT_TRUE(harness.Send(*page, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").ok());
    harness.world().RunFor(Microseconds(static_cast<int64_t>(harness.world().prng().Below(3000))));
    harness.KillServer();
    harness.Close(*client);
  }
}

TEST(ServerTest, OneSeedOneHistory) {
  const auto run = [](uint64_t seed) {
    ServerHarness harness(seed);
    const auto client = harness.Connect();
    for (int i = 0; i < 20; ++i)
      (void)harness.Call(*client, "Unary", std::string(static_cast<size_t>(i) * 500, 'x'));
    harness.Close(*client);
    return harness.world().TraceHash();
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

}  // namespace
}  // namespace metastore::net_test
