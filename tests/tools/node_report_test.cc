// Aim: a status report says what the pages say, and pages of other programs are told apart.
// Method: pages by hand.

#include "tools/metactl/node_report.h"

#include <gtest/gtest.h>

#include "tools/metactl/http_client.h"

namespace metastore::metactl {
namespace {

NodePages GoodPages() {
  return {.version = "{\"etcdserver\":\"3.6.0\",\"metastore\":\"0.1.0\"}",
          .health = "{\"health\":\"true\",\"reason\":\"\"}",
          .metrics =
              "metastore_version{version=\"0.1.0\"} 1\n"
              "metastore_member{cluster_id=\"ab\",member_id=\"c1\"} 1\n"
              "metastore_raft_leader{leader_id=\"c1\"} 1\netcd_server_is_leader 1\n"
              "metastore_wal_accepting 1\netcd_debugging_mvcc_current_revision 1e+06\n"
              "etcd_mvcc_db_total_size_in_bytes 1536\n"
              "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 10\n"
              "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 10\n"
              "metastore_reactor_slow_turns_total{core=\"0\"} 2\n"
              "metastore_reactor_slow_turns_total{core=\"1\"} 3\n"};
}

TEST(NodeReportTest, TellsWhatThePagesSay) {
  const StatusOr<NodeReport> report = MakeReport("http://a:1", GoodPages());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->healthy);
  EXPECT_FALSE(report->no_space);
  EXPECT_TRUE(report->is_leader);
  EXPECT_EQ(report->member_id, "c1");
  EXPECT_EQ(report->slow_turns, 5);
  EXPECT_DOUBLE_EQ(*report->flush_p50_ms, 0.5);
  EXPECT_DOUBLE_EQ(*report->flush_p99_ms, 0.99);
  const std::string text = ReportText(*report);
  for (const char* part : {"http://a:1\n", "healthy\n", "c1 (this member)", "1000000, compacted 0",
                           "1.5 KiB", "p50 0.500 ms, p99 0.990 ms", "alarms        none"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  }
  const std::string json = ReportJson(*report);
  EXPECT_EQ(*JsonField(json, "leader_id"), "c1");
  EXPECT_NE(json.find("\"revision\":1000000,"), std::string::npos) << json;
  EXPECT_NE(json.find("\"flush_p99_ms\":0.990,"), std::string::npos) << json;
}

TEST(NodeReportTest, WhatANodeDoesNotTellIsNoNumber) {
  NodePages pages = GoodPages();
  pages.metrics = "metastore_version{version=\"0.1.0\"} 1\nmetastore_wal_accepting 0\n";
  pages.health = "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}";
  const StatusOr<NodeReport> report = MakeReport("http://a:1", pages);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->healthy);
  EXPECT_TRUE(report->no_space);
  EXPECT_EQ(report->flush_p50_ms, std::nullopt);
  const std::string json = ReportJson(*report);
  EXPECT_NE(json.find("\"flush_p50_ms\":null,"), std::string::npos) << json;
  EXPECT_NE(json.find("\"slow_turns\":null}"), std::string::npos) << json;
  const std::string text = ReportText(*report);
  EXPECT_NE(text.find("UNHEALTHY: RAFT NO LEADER"), std::string::npos) << text;
  EXPECT_NE(text.find("NONE"), std::string::npos) << text;
  EXPECT_NE(text.find("NOSPACE"), std::string::npos) << text;
  EXPECT_EQ(text.find("slow turns"), std::string::npos) << text;
}

TEST(NodeReportTest, PagesOfAnotherProgramAreToldApart) {
  const std::pair<std::string NodePages::*, std::string> cases[] = {
      {&NodePages::version, "<html>"},
      {&NodePages::version, "{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}"},
      {&NodePages::health, "ok"},
      {&NodePages::health, "{}"},
      {&NodePages::metrics, "<html>"},
      {&NodePages::metrics, "etcd_server_has_leader 1\n"}};
  for (const auto& [page, content] : cases) {
    NodePages pages = GoodPages();
    pages.*page = content;
    const StatusOr<NodeReport> report = MakeReport("http://a:1", pages);
    EXPECT_EQ(report.status().code(), StatusCode::kFailedPrecondition) << content;
    EXPECT_NE(StdView(report.status().message()).find("http://a:1"), std::string_view::npos);
  }
}

TEST(EndpointsTest, SchemesAreAddedAndSlashesTakenOff) {
  EXPECT_EQ(*ParseEndpoints("127.0.0.1:2379, http://b:1/,,https://c"),
            (std::vector<std::string>{"http://127.0.0.1:2379", "http://b:1", "https://c"}));
  EXPECT_EQ(ParseEndpoints(" , ").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseEndpoints("").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace metastore::metactl
