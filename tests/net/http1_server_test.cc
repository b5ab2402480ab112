// Aim: HTTP/1.1 over real connections: keep-alive, pipelining, bodies, HEAD, errors and time
// limits. Method: a simulated machine each for server and clients (SimWorld); requests as raw
// bytes.
#include <gtest/gtest.h>

#include "net/net_limits.h"
#include "tests/net/server_harness.h"

namespace metastore::net_test {
namespace {

size_t Count(const std::string& text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
    ++count;
  return count;
}

TEST(Http1ServerTest, ConnectionIsKeptForTheNextRequest) {
  ServerHarness harness;
  const auto socket = harness.ConnectRaw();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(harness.Send(*socket, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").ok());
    const std::string answer = harness.Receive(*socket, 100);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    EXPECT_TRUE(answer.ends_with("hello"));
  }
  EXPECT_EQ(harness.stats().connections_total, 1u);
  EXPECT_EQ(harness.stats().http_requests_total, 5u);
}

TEST(Http1ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  ServerHarness harness;
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    bytes += Concat("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", 100 + i);
  }
  bytes += "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  const std::string answer = harness.Exchange(bytes);
  size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = answer.find(Concat("\r\n\r\n", 100 + i), at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_TRUE(answer.ends_with("hello"));
  EXPECT_EQ(Count(answer, "HTTP/1.1 200 OK"), 51u);
}

TEST(Http1ServerTest, BodiesByLengthAndByChunks) {
  ServerHarness harness;
  const std::string body(100'000, 'b');
  const std::string by_length = harness.Exchange(
      Concat("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ", body.size(),
             "\r\n\r\n", body));
  EXPECT_TRUE(by_length.ends_with("\r\n\r\n" + body));
  const std::string by_chunks = harness.Exchange(
      "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      "6\r\nchunks\r\n1\r\n!\r\n0\r\n\r\n");
  EXPECT_TRUE(by_chunks.ends_with("\r\n\r\nchunks!"));
}

TEST(Http1ServerTest, HeadHasTheLengthWithoutTheBody) {
  ServerHarness harness;
  const std::string answer =
      harness.Exchange("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(Count(answer, "Content-Length: 5\r\n"), 1u);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST(Http1ServerTest, HandlersErrorsKeepTheConnection) {
  ServerHarness harness;
  const std::string answer = harness.Exchange(
      "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nDELETE /hello HTTP/1.1\r\nHost: x\r\nConnection: "
      "close\r\n\r\n");
  EXPECT_EQ(Count(answer, "HTTP/1.1 404 Not Found\r\n"), 1u);
  EXPECT_EQ(Count(answer, "HTTP/1.1 405 Method Not Allowed\r\n"), 1u);
  EXPECT_EQ(harness.stats().http_errors, 0u);
}

TEST(Http1ServerTest, TransportsErrorsCloseTheConnection) {
  ServerHarness harness;
  const std::vector<std::pair<std::string, const char*>> table = {
      {"BAD\r\n\r\n", "400 Bad Request"},
      {"GET / HTTP/3.0\r\n\r\n", "505 HTTP Version Not Supported"},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
       "413 Content Too Large"},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(70'000, 'a'),
       "431 Request Header Fields Too Large"},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: br\r\n\r\n", "501 Not Implemented"},
  };
  for (const auto& [bytes, status] : table) {
    const std::string answer = harness.Exchange(bytes + "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(answer.starts_with(Concat("HTTP/1.1 ", status, "\r\n"))) << answer;
    EXPECT_EQ(Count(answer, "HTTP/1.1 "), 1u);
    EXPECT_EQ(Count(answer, "Connection: close\r\n"), 1u);
  }
  EXPECT_EQ(harness.stats().http_errors, table.size());
  EXPECT_TRUE(harness.pages().handled.empty());
}

TEST(Http1ServerTest, ContinueIsSentWhereItIsAwaited) {
  ServerHarness harness;
  const auto socket = harness.ConnectRaw();
  ASSERT_TRUE(
      harness
          .Send(*socket,
                "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
                "Content-Length: 4\r\n\r\n")
          .ok());
  EXPECT_EQ(harness.Receive(*socket, 1), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(harness.Send(*socket, "bo").ok());
  harness.world().RunFor(Milliseconds(5));
  ASSERT_TRUE(harness.Send(*socket, "dy").ok());
  const std::string answer = harness.ReceiveAll(*socket);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK"));
  EXPECT_TRUE(answer.ends_with("body"));
}

TEST(Http1ServerTest, UnfinishedRequestIsClosedAfterTheHeaderTimeout) {
  ServerHarness harness;
  const auto socket = harness.ConnectRaw();
  ASSERT_TRUE(harness.Send(*socket, "GET /hello HTTP/1.1\r\nHo").ok());
  const MonoTime before = harness.world().Now();
  EXPECT_EQ(harness.ReceiveAll(*socket, Seconds(400)), "");
  EXPECT_NEAR(static_cast<double>((harness.world().Now() - before).ms()), 300'000.0, 100.0);
  EXPECT_EQ(harness.stats().timeouts, 1u);
}

TEST(Http1ServerTest, SlowTrickleDoesNotExtendTheTimeout) {
  ServerHarness harness;
  const auto socket = harness.ConnectRaw();
  ASSERT_TRUE(harness.Send(*socket, "GET /hello HTTP/1.1\r\n").ok());
  for (int i = 0; i < 40; ++i) {
    harness.world().RunFor(Seconds(10));
    if (!harness.Send(*socket, "A: b\r\n").ok()) break;
  }
  EXPECT_EQ(harness.stats().timeouts, 1u);
  EXPECT_EQ(harness.stats().connections_open, 0u);
}

TEST(Http1ServerTest, EveryCutOfARequestIsUnderstood) {
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
  for (size_t cut = 1; cut < request.size(); ++cut) {
    ServerHarness harness;
    const auto socket = harness.ConnectRaw();
    ASSERT_TRUE(harness.Send(*socket, request.substr(0, cut)).ok());
    harness.world().RunFor(Milliseconds(5));
    ASSERT_TRUE(harness.Send(*socket, request.substr(cut)).ok());
    EXPECT_TRUE(harness.ReceiveAll(*socket).ends_with("\r\n\r\nok")) << cut;
  }
}

TEST(Http1ServerTest, ClientThatReadsNothingIsClosedAfterTheSendTimeout) {
  ServerHarness harness;
  const auto socket = harness.ConnectRaw();
  const std::string body(1'900'000, 'b');
  ASSERT_TRUE(harness
                  .Send(*socket, Concat("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: ",
                                        body.size(), "\r\n\r\n", body))
                  .ok());
  harness.world().RunFor(Seconds(59));
  EXPECT_EQ(harness.stats().connections_open, 1u);
  harness.world().RunFor(Seconds(3));
  EXPECT_EQ(harness.stats().connections_open, 0u);
  EXPECT_EQ(harness.stats().timeouts, 1u);
}

}  // namespace
}  // namespace metastore::net_test
