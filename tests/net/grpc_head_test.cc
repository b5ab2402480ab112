// Aim: what the transport reads of request headers, what becomes metadata, and why a request is
// refused. Method: tables of header lists.
#include "net/grpc_head.h"

#include <gtest/gtest.h>

#include <vector>

namespace metastore::net {
namespace {

using Headers = std::vector<Http2Header>;

Headers Good() {
  return {{":method", "POST"},
          {":scheme", "http"},
          {":path", "/a.B/C"},
          {":authority", "host:2379"},
          {"content-type", "application/grpc"},
          {"te", "trailers"},
          {"user-agent", "grpc-go/1.71"}};
}

Headers With(Headers headers, std::string_view name, std::string_view value) {
  for (Http2Header& header : headers) {
    if (header.name == name) {
      header.value = value;
      return headers;
    }
  }
  headers.push_back({name, value});
  return headers;
}

TEST(RequestHeadTest, GoodHeadersPass) {
  Metadata metadata;
  const RequestHead head = ParseRequestHead(Good(), metadata);
  EXPECT_TRUE(head.status.ok());
  EXPECT_EQ(head.path, "/a.B/C");
  EXPECT_FALSE(head.has_timeout);
}

TEST(RequestHeadTest, OnlyWhatIsNotTheProtocolsIsMetadata) {
  Metadata metadata;
  Headers headers = Good();
  headers.push_back({"token", "abc"});
  headers.push_back({"hasleader", "true"});
  headers.push_back({"grpc-accept-encoding", "gzip"});
  headers.push_back({"grpc-timeout", "5S"});
  headers.push_back({"content-length", "12"});
  headers.push_back({"token", "second"});
  const RequestHead head = ParseRequestHead(headers, metadata);
  EXPECT_TRUE(head.status.ok());
  ASSERT_EQ(metadata.size(), 5u);
  EXPECT_EQ(metadata.Find("token"), "abc");
  EXPECT_EQ(metadata.value(4), "second");
  EXPECT_EQ(metadata.Find("hasleader"), "true");
  EXPECT_EQ(metadata.Find(":authority"), "host:2379");
  EXPECT_EQ(metadata.Find("user-agent"), "grpc-go/1.71");
  EXPECT_EQ(metadata.Find("absent"), std::nullopt);
}

TEST(RequestHeadTest, TimeoutIsRead) {
  Metadata metadata;
  const RequestHead head = ParseRequestHead(With(Good(), "grpc-timeout", "1500m"), metadata);
  EXPECT_TRUE(head.has_timeout);
  EXPECT_EQ(head.timeout.ms(), 1500);
}

TEST(RequestHeadTest, BinaryMetadataIsDecoded) {
  Metadata metadata;
  const RequestHead head = ParseRequestHead(With(Good(), "trace-bin", "AAEC"), metadata);
  EXPECT_TRUE(head.status.ok());
  EXPECT_EQ(metadata.Find("trace-bin"), std::string_view("\0\1\2", 3));
}

struct Refusal {
  const char* name;
  const char* value;
  int http_status;
  StatusCode code;
  const char* message;
};

TEST(RequestHeadTest, RefusalsCarryGrpcGosTexts) {
  const std::vector<Refusal> table = {
      {"content-type", "application/json", 415, StatusCode::kInvalidArgument,
       "invalid gRPC request content-type \"application/json\""},
      {"content-type", "application/grpcx", 415, StatusCode::kInvalidArgument,
       "invalid gRPC request content-type \"application/grpcx\""},
      {":method", "GET", 405, StatusCode::kInternal,
       "Received a HEADERS frame with :method \"GET\" which should be POST"},
      {"grpc-encoding", "gzip", 200, StatusCode::kUnimplemented,
       "grpc: Decompressor is not installed for grpc-encoding \"gzip\""},
      {"grpc-timeout", "5x", 400, StatusCode::kInternal,
       "malformed grpc-timeout: transport: timeout unit is not recognized: \"5x\""},
      {"x-bin", "*", 400, StatusCode::kInternal,
       "malformed binary metadata \"*\" in header \"x-bin\": base64 of an impossible length"},
  };
  for (const Refusal& refusal : table) {
    Metadata metadata;
    const RequestHead head = ParseRequestHead(With(Good(), refusal.name, refusal.value), metadata);
    EXPECT_EQ(head.status.code(), refusal.code) << refusal.name;
    EXPECT_EQ(head.status.message(), refusal.message);
    EXPECT_EQ(head.http_status, refusal.http_status) << refusal.name;
  }
}

TEST(RequestHeadTest, MissingContentTypeIsRefused) {
  Metadata metadata;
  const Headers headers = {{":method", "POST"}, {":path", "/a/b"}};
  EXPECT_EQ(ParseRequestHead(headers, metadata).http_status, 415);
}

TEST(RequestHeadTest, ContentTypes) {
  for (const char* good :
       {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"}) {
    EXPECT_TRUE(IsGrpcContentType(good)) << good;
  }
  for (const char* bad :
       {"", "application/grp", "application/grpc-web", "text/plain", "Application/grpc"}) {
    EXPECT_FALSE(IsGrpcContentType(bad)) << bad;
  }
}

TEST(RequestHeadTest, IdentityEncodingIsNone) {
  Metadata metadata;
  EXPECT_TRUE(ParseRequestHead(With(Good(), "grpc-encoding", "identity"), metadata).status.ok());
}

TEST(MetadataTest, ClearedMetadataIsEmpty) {
  Metadata metadata;
  metadata.Add("a", "1");
  metadata.Clear();
  EXPECT_TRUE(metadata.empty());
  EXPECT_EQ(metadata.Find("a"), std::nullopt);
  metadata.Add("b", "");
  EXPECT_EQ(metadata.Find("b"), "");
  EXPECT_EQ(metadata.key(0), "b");
}

}  // namespace
}  // namespace metastore::net
