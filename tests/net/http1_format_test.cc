// Aim: HTTP/1 responses come out byte for byte. Method: whole responses compared; dates from known
// instants.
#include "net/http1_format.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace metastore::net {
namespace {

constexpr WallTime kThen{784'111'777'000'000'000};

TEST(HttpDateTest, KnownInstants) {
  const std::vector<std::pair<int64_t, const char*>> table = {
      {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
      {784'111'777, "Sun, 06 Nov 1994 08:49:37 GMT"},
      {951'782'400, "Tue, 29 Feb 2000 00:00:00 GMT"},
      {1'735'689'599, "Tue, 31 Dec 2024 23:59:59 GMT"},
      {4'107'542'400, "Mon, 01 Mar 2100 00:00:00 GMT"},
  };
  for (const auto& [seconds, text] : table)
    EXPECT_EQ(FormatHttpDate(WallTime{seconds * 1'000'000'000}), text);
}

TEST(HttpResponseTest, WholeResponse) {
  HttpResponse response;
  response.content_type = "application/json";
  response.body = "{}";
  response.headers.push_back({"X-A", "b"});
  EXPECT_EQ(FormatHttpResponse(response, HttpFraming{.now = kThen}),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: b\r\nDate: Sun, 06 Nov 1994 "
            "08:49:37 GMT\r\n"
            "Content-Length: 2\r\n\r\n{}");
}

TEST(HttpResponseTest, HeadKeepsTheLengthAndDropsTheBody) {
  HttpResponse response;
  response.body = "hello";
  const std::string bytes = FormatHttpResponse(response, HttpFraming{.head = true, .now = kThen});
  EXPECT_NE(bytes.find("Content-Length: 5\r\n"), std::string::npos);
  EXPECT_TRUE(bytes.ends_with("\r\n\r\n"));
}

TEST(HttpResponseTest, ConnectionHeaderFollowsTheFraming) {
  const HttpResponse response;
  const std::string kept = FormatHttpResponse(response, HttpFraming{.now = kThen});
  EXPECT_EQ(kept.find("Connection"), std::string::npos);
  const std::string closed =
      FormatHttpResponse(response, HttpFraming{.keep_alive = false, .now = kThen});
  EXPECT_NE(closed.find("Connection: close\r\n"), std::string::npos);
  const std::string old = FormatHttpResponse(response, HttpFraming{.http_1_0 = true, .now = kThen});
  EXPECT_NE(old.find("Connection: keep-alive\r\n"), std::string::npos);
}

TEST(HttpResponseTest, LineBreaksCannotSplitAResponse) {
  HttpResponse response;
  response.headers.push_back({"X", "a\r\nEvil: 1"});
  const std::string bytes = FormatHttpResponse(response, HttpFraming{.now = kThen});
  EXPECT_EQ(bytes.find("Evil"), std::string::npos);
}

TEST(HttpErrorTest, BodiesAreGosOwn) {
  EXPECT_EQ(HttpError(404).body, "404 page not found\n");
  EXPECT_EQ(HttpError(405).body, "405 Method Not Allowed\n");
  EXPECT_EQ(HttpError(405).status, 405);
  EXPECT_EQ(HttpReason(299), "Unknown");
}

}  // namespace
}  // namespace metastore::net
