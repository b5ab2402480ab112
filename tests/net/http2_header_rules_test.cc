// Aim: which header lists are requests. Method: a table of lists, each with its verdict.
#include "net/http2_header_rules.h"

#include <gtest/gtest.h>

#include "tests/net/http2_client.h"

namespace metastore::net_test {
namespace {

using net::HeaderRules;
using net::RequestFacts;

bool IsRequest(const HeaderList& headers, RequestFacts* facts = nullptr) {
  HeaderRules rules;
  rules.BeginRequest();
  for (const auto& [name, value] : headers) {
    if (!rules.Check(name, value)) return false;
  }
  if (!rules.CompleteRequest()) return false;
  if (facts != nullptr) *facts = rules.facts();
  return true;
}

HeaderList With(const std::string& name, const std::string& value) {
  HeaderList headers = GrpcHeaders("/a.B/C");
  headers.emplace_back(name, value);
  return headers;
}

HeaderList Without(const std::string& name) {
  HeaderList headers = GrpcHeaders("/a.B/C");
  std::erase_if(headers, [&name](const auto& header) { return header.first == name; });
  return headers;
}

HeaderList Replaced(const std::string& name, const std::string& value) {
  HeaderList headers = GrpcHeaders("/a.B/C");
  for (auto& header : headers) {
    if (header.first == name) header.second = value;
  }
  return headers;
}

TEST(HeaderRulesTest, Requests) {
  EXPECT_TRUE(IsRequest(GrpcHeaders("/a.B/C")));
  EXPECT_TRUE(IsRequest(With("te", "Trailers")));
  EXPECT_TRUE(IsRequest(With("x-empty", "")));
  EXPECT_TRUE(IsRequest(With("x-high", "\x80\xff")));
  EXPECT_TRUE(IsRequest(Replaced(":scheme", "coap+tcp")));
  EXPECT_TRUE(IsRequest({{":method", "CONNECT"}, {":authority", "host:1"}}));
  EXPECT_TRUE(IsRequest(
      {{":method", "OPTIONS"}, {":scheme", "https"}, {":path", "*"}, {":authority", "a"}}));
  EXPECT_TRUE(
      IsRequest({{":method", "GET"}, {":scheme", "HTTP"}, {":path", "/"}, {"host", "a.b"}}));
  EXPECT_TRUE(
      IsRequest({{":method", "GET"}, {":scheme", "own"}, {":path", "rel"}, {":authority", "a"}}));
}

TEST(HeaderRulesTest, NoRequests) {
  const std::vector<HeaderList> table = {
      {},
      Without(":method"),
      Without(":scheme"),
      Without(":path"),
      Without(":authority"),
      Replaced(":method", ""),
      Replaced(":method", "P ST"),
      Replaced(":scheme", "1http"),
      Replaced(":path", "no-slash"),
      Replaced(":path", "*"),
      Replaced(":path", "/a b"),
      Replaced(":authority", "a/b"),
      With(":method", "POST"),  // twice, and late
      With(":status", "200"),
      {{":method", "POST"}, {"te", "trailers"}, {":scheme", "http"}, {":path", "/"}, {"host", "a"}},
      {{":method", "POST"}, {":protocol", "x"}, {":scheme", "http"}, {":path", "/"}, {"host", "a"}},
      {{":method", "CONNECT"}, {":authority", "a"}, {":path", "/"}},
      {{":method", "CONNECT"}},
      With("Upper", "x"),
      With("", "x"),
      With("bad name", "x"),
      With("x", "a\nb"),
      With("x", std::string("a\0b", 3)),
      With("x", " led"),
      With("x", "trailed\t"),
      With("te", "gzip"),
      With("connection", "close"),
      With("keep-alive", "1"),
      With("proxy-connection", "x"),
      With("transfer-encoding", "chunked"),
      With("upgrade", "h2c"),
      With("host", ""),
      With("content-length", ""),
      With("content-length", "-1"),
      With("content-length", "9223372036854775808"),
  };
  for (const HeaderList& headers : table) {
    EXPECT_FALSE(IsRequest(headers)) << (headers.empty() ? "nothing" : headers.back().first);
  }
}

TEST(HeaderRulesTest, FactsAreKept) {
  RequestFacts facts;
  ASSERT_TRUE(IsRequest(With("content-length", "9223372036854775807"), &facts));
  EXPECT_EQ(facts.content_length, INT64_MAX);
  EXPECT_FALSE(facts.host);
  ASSERT_TRUE(IsRequest(With("host", "again"), &facts));
  EXPECT_TRUE(facts.host);
  ASSERT_TRUE(
      IsRequest({{":method", "CONNECT"}, {":authority", "a"}, {"content-length", "5"}}, &facts));
  EXPECT_EQ(facts.content_length, -1);
}

TEST(HeaderRulesTest, TrailersAreHeldAgainstTheirRequest) {
  HeaderRules rules;
  rules.BeginTrailers({});
  EXPECT_TRUE(rules.Check("x", "y"));
  EXPECT_TRUE(rules.Check("content-length", "7"));
  EXPECT_EQ(rules.facts().content_length, 7);
  EXPECT_FALSE(rules.Check(":path", "/"));
  rules.BeginTrailers({.content_length = 7, .host = true});
  EXPECT_FALSE(rules.Check("content-length", "7"));
  rules.BeginTrailers({.content_length = 7, .host = true});
  EXPECT_FALSE(rules.Check("host", "a"));
}

}  // namespace
}  // namespace metastore::net_test
