// Aim: HTTP/1 requests are read from any cut of the bytes; what is malformed, too large or
// ambiguous gets its status. Method: tables; every request is also fed byte by byte and cut at
// every place.
#include "net/http1_parser.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "net/net_limits.h"

namespace metastore::net {
namespace {

constexpr size_t kBodyMax = 1000;

struct Outcome {
  std::vector<HttpRequest> requests;
  int error = 0;
};

// Feeds the parts one after the other, as a connection does.
Outcome Parse(const std::vector<std::string_view>& parts) {
  Http1Parser parser(kBodyMax);
  Outcome outcome;
  for (std::string_view part : parts) {
    while (!part.empty() && outcome.error == 0) {
      const Http1Parser::State state = parser.Take(part);
      outcome.error = parser.error_status();
      if (state != Http1Parser::State::kComplete) continue;
      outcome.requests.push_back(parser.request());
      parser.Next();
    }
  }
  return outcome;
}

Outcome Parse(std::string_view bytes) { return Parse(std::vector<std::string_view>{bytes}); }

TEST(Http1ParserTest, GetIsRead) {
  const Outcome outcome = Parse(
      "GET /health?serializable=true&exclude=A%20B HTTP/1.1\r\nHost: x\r\nX-Thing:  v \r\n\r\n");
  ASSERT_EQ(outcome.requests.size(), 1u);
  const HttpRequest& request = outcome.requests[0];
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/health?serializable=true&exclude=A%20B");
  EXPECT_EQ(request.path, "/health");
  EXPECT_EQ(request.query, "serializable=true&exclude=A%20B");
  EXPECT_EQ(request.QueryValues("exclude"), std::vector<std::string>{"A B"});
  EXPECT_EQ(request.Find("x-thing"), "v");
  EXPECT_TRUE(request.keep_alive);
  EXPECT_FALSE(request.http_1_0);
}

TEST(Http1ParserTest, AnyCutGivesTheSameRequests) {
  const std::string bytes =
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
      "\r\nPOST /c HTTP/1.1\r\nhost: y\r\ntransfer-encoding: chunked\r\n\r\n"
      "4;ext=1\r\nWiki\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
      "GET / HTTP/1.0\n\n";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const Outcome outcome =
        Parse({std::string_view(bytes).substr(0, cut), std::string_view(bytes).substr(cut)});
    ASSERT_EQ(outcome.error, 0) << "cut at " << cut;
    ASSERT_EQ(outcome.requests.size(), 3u) << "cut at " << cut;
    EXPECT_EQ(outcome.requests[0].body, "hello");
    EXPECT_EQ(outcome.requests[1].body, "Wiki0123456789");
    EXPECT_EQ(outcome.requests[2].path, "/");
    EXPECT_FALSE(outcome.requests[2].keep_alive);
  }
}

TEST(Http1ParserTest, KeepAliveFollowsVersionAndConnection) {
  const std::vector<std::pair<const char*, bool>> table = {
      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
  };
  for (const auto& [bytes, keep_alive] : table) {
    const Outcome outcome = Parse(bytes);
    ASSERT_EQ(outcome.requests.size(), 1u) << bytes;
    EXPECT_EQ(outcome.requests[0].keep_alive, keep_alive) << bytes;
  }
}

TEST(Http1ParserTest, MalformedRequestsGetTheirStatus) {
  const std::string host = "Host: x\r\n";
  const std::vector<std::pair<std::string, int>> table = {
      {"GET\r\n", 400},
      {"GET /\r\n", 400},
      {"GET / HTTP/1.1 \r\n", 400},
      {"G@T / HTTP/1.1\r\n", 400},
      {"GET /a b HTTP/1.1\r\n", 400},
      {"GET /\x01 HTTP/1.1\r\n", 400},
      {"GET / HTTP/2.0\r\n", 505},
      {"GET / HTTP/0.9\r\n", 505},
      {"GET / HTTQ/1.1\r\n", 400},
      {"GET / http/1.1\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},  // no Host
      {"GET / HTTP/1.1\r\n" + host + host + "\r\n", 400},
      {"GET / HTTP/1.1\r\n" + host + "No colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + host + "Space : v\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + host + " folded\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + host + ": v\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", 400},
      {std::string("GET / HTTP/1.1\r\n" + host + "A: b") + '\0' + "\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: \r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1, 1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1001\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\n" + host +
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;" +
           std::string(300, 'e'),
       400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3e8\r\n" +
           std::string(1000, 'b') + "\r\n1\r\n",
       413},
  };
  for (const auto& [bytes, status] : table) {
    EXPECT_EQ(Parse(bytes).error, status) << bytes;
    std::vector<std::string_view> single;
    for (size_t i = 0; i < bytes.size(); ++i)
      single.push_back(std::string_view(bytes).substr(i, 1));
    EXPECT_EQ(Parse(single).error, status) << "byte by byte: " << bytes;
  }
}

TEST(Http1ParserTest, HeadersAreBounded) {
  const std::string start = "GET / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(Parse(start + "A: " + std::string(net_limits::kHttpHeaderBytesMax, 'a')).error, 431);
  EXPECT_EQ(Parse(std::string(net_limits::kHttpHeaderBytesMax + 1, 'G')).error, 431);
  std::string many = start;
  for (size_t i = 0; i < net_limits::kHttpHeadersMax; ++i) many += "a:\r\n";
  EXPECT_EQ(Parse(many + "\r\n").error, 431);
  std::string trailers = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
  while (trailers.size() <= net_limits::kHttpHeaderBytesMax + 10) trailers += "trailer: value\r\n";
  EXPECT_EQ(Parse(trailers).error, 431);
}

TEST(Http1ParserTest, EndlessEmptyLinesAreBounded) {
  std::string lines;
  for (size_t i = 0; i <= net_limits::kHttpHeaderBytesMax / 2; ++i) lines += "\r\n";
  EXPECT_EQ(Parse(lines).error, 431);
}

TEST(Http1ParserTest, ContinueIsAwaitedOnlyBeforeTheBody) {
  Http1Parser parser(kBodyMax);
  std::string_view head =
      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
  EXPECT_EQ(parser.Take(head), Http1Parser::State::kNeedMore);
  EXPECT_TRUE(parser.awaits_continue());
  std::string_view body = "a";
  EXPECT_EQ(parser.Take(body), Http1Parser::State::kNeedMore);
  EXPECT_FALSE(parser.awaits_continue());
}

TEST(Http1ParserTest, IdleMeansNothingOfARequestHasCome) {
  Http1Parser parser(kBodyMax);
  EXPECT_TRUE(parser.idle());
  std::string_view part = "G";
  parser.Take(part);
  EXPECT_FALSE(parser.idle());
}

TEST(HttpRequestTest, QueryValuesAreDecoded) {
  HttpRequest request;
  request.query = "verbose&a=1&a=x%2By+z&=e&b=&%61=3";
  EXPECT_EQ(request.QueryValues("a"), (std::vector<std::string>{"1", "x+y z", "3"}));
  EXPECT_EQ(request.QueryValues("verbose"), std::vector<std::string>{""});
  EXPECT_EQ(request.QueryValues("b"), std::vector<std::string>{""});
  EXPECT_TRUE(request.QueryValues("c").empty());
}

}  // namespace
}  // namespace metastore::net
