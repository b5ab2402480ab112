// Aim: /metrics tells what happened, number by number. Method: the Node on simulated runtimes is
// given known calls over real bytes; the page is asked for as its HTTP handler does.

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/node_harness.h"

namespace metastore::sim_test {
namespace {

class MetricsSim : public testing::TestWithParam<int> {
 protected:
  MetricsSim() : harness_({.seed = 5, .reactors = GetParam()}) {
    EXPECT_EQ(harness_.Boot(), OkStatus());
  }

  std::string Page() {
    io::Runtime& runtime = harness_.machine().runtime();
    return harness_.world().Await(runtime, harness_.node().MetricsText(runtime));
  }
  // Of the series with exactly this name and these labels.
  static double Value(const std::string& page, const std::string& series) {
    const size_t at = page.find("\n" + series + " ");
    EXPECT_NE(at, std::string::npos) << "no " << series << " in\n" << page;
    return at == std::string::npos ? -1 : std::strtod(&page[at + series.size() + 2], nullptr);
  }
  static double Handled(const std::string& page, std::string_view method, std::string_view code) {
    return Value(page, Concat("grpc_server_handled_total{grpc_service=\"etcdserverpb.KV\","
                              "grpc_method=\"",
                              method, "\",grpc_type=\"unary\",grpc_code=\"", code, "\"}"));
  }
  MonoTime Deadline() { return harness_.client_runtime().Now() + Seconds(5); }

  NodeHarness harness_;
};

io::Task<void> KnownCalls(NodeHarness& harness, MonoTime deadline) {
  KvClient client(harness.client_runtime(), harness.address());
  for (int i = 0; i < 5; ++i) {
    StatusOr<PutAck> put = co_await client.Put(Concat("k", i), "v", deadline);
    CHECK(put.ok());
  }
  StatusOr<PutAck> refused = co_await client.Put("", "v", deadline);
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  StatusOr<PutAck> removed = co_await client.Delete("k0", deadline);
  CHECK(removed.ok());
  StatusOr<TxnAck> swapped = co_await client.CompareAndSwap("new", 0, "v", deadline);
  CHECK(swapped.ok());
  for (int i = 0; i < 3; ++i) {
    StatusOr<ReadAck> read = co_await client.Get("k1", 0, deadline);
    CHECK(read.ok());
  }
  co_await client.Reset();
}

TEST_P(MetricsSim, EachCallIsCountedOnce) {
  const std::string before = Page();
  harness_.OnClient(KnownCalls(harness_, Deadline()));
  const std::string page = Page();
  EXPECT_EQ(Handled(page, "Put", "OK"), 5);
  EXPECT_EQ(Handled(page, "Put", "InvalidArgument"), 1);
  EXPECT_EQ(Handled(page, "Put", "Unavailable"), 0);
  EXPECT_EQ(Handled(page, "DeleteRange", "OK"), 1);
  EXPECT_EQ(Handled(page, "Txn", "OK"), 1);
  EXPECT_EQ(Handled(page, "Range", "OK"), 3);
  const std::string put =
      "{grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\",grpc_type=\"unary\"}";
  EXPECT_EQ(Value(page, "grpc_server_started_total" + put), 6);
  EXPECT_EQ(Value(page, "grpc_server_msg_received_total" + put), 6);
  EXPECT_EQ(Value(page, "grpc_server_msg_sent_total" + put), 5);
  EXPECT_EQ(Value(page, "etcd_mvcc_put_total") - Value(before, "etcd_mvcc_put_total"), 6);
  EXPECT_EQ(Value(page, "etcd_mvcc_delete_total"), 1);
  EXPECT_EQ(Value(page, "etcd_mvcc_range_total"), 3);
  EXPECT_EQ(Value(page, "etcd_mvcc_txn_total"), 0);  // it did a single operation
  EXPECT_EQ(Value(page, "etcd_debugging_mvcc_keys_total"), 5);
  EXPECT_EQ(Value(page, "metastore_calls_total"), 11);
  EXPECT_EQ(Value(page, "grpc_request_duration_ms_count"), 11);
  harness_.Stop();
}

TEST_P(MetricsSim, RatesAreOfTheLastTenSeconds) {
  harness_.OnClient(KnownCalls(harness_, Deadline()));
  harness_.world().RunFor(Seconds(5));
  const std::string page = Page();
  EXPECT_EQ(Value(page, "grpc_request_rate"), 1.1);
  EXPECT_EQ(Value(page, "grpc_error_rate"), 0.1);
  harness_.world().RunFor(Seconds(12));
  const std::string later = Page();
  EXPECT_EQ(Value(later, "grpc_request_rate"), 0);
  EXPECT_EQ(Value(later, "grpc_error_rate"), 0);
  harness_.Stop();
}

io::Task<void> Puts(NodeHarness& harness, int count, MonoTime deadline) {
  KvClient client(harness.client_runtime(), harness.address());
  for (int i = 0; i < count; ++i) {
    StatusOr<PutAck> put = co_await client.Put("k", "v", deadline);
    CHECK(put.ok());
  }
  co_await client.Reset();
}

TEST_P(MetricsSim, TimesOfCallsProposalsAndAppliesAreThoseOfTheDisk) {
  constexpr int kPuts = 64;
  const std::string before = Page();
  harness_.disk().options().latency = Milliseconds(20);
  harness_.OnClient(Puts(harness_, kPuts, harness_.client_runtime().Now() + Seconds(60)));
  const std::string page = Page();
  const auto grown = [&](const std::string& series) {
    return Value(page, series) - Value(before, series);
  };
  // One after the other, each a durable write of about 20 ms.
  EXPECT_EQ(grown("grpc_request_duration_ms_count"), kPuts);
  EXPECT_GT(grown("grpc_request_duration_ms_sum"), kPuts * 10);
  EXPECT_LT(grown("grpc_request_duration_ms_sum"), kPuts * 100);
  EXPECT_EQ(grown("grpc_request_duration_ms_bucket{le=\"5\"}"), 0);
  EXPECT_EQ(grown("raft_propose_duration_ms_count"), kPuts / 16);
  EXPECT_GT(grown("raft_propose_duration_ms_sum"), kPuts / 16 * 10);
  EXPECT_LT(grown("raft_propose_duration_ms_sum"), grown("grpc_request_duration_ms_sum"));
  EXPECT_EQ(grown("raft_apply_duration_ms_count"), kPuts);
  EXPECT_LT(grown("raft_apply_duration_ms_sum"), kPuts);
  EXPECT_EQ(Value(page, "raft_leader_changes_total"), 1);
  EXPECT_EQ(Value(page, "raft_election_timeout_total"), 0);
  EXPECT_EQ(Value(page, "raft_heartbeat_timeout_total"), 0);
  EXPECT_EQ(Value(page, "raft_inflight_messages"), 0);
  EXPECT_EQ(Value(page, "etcd_server_slow_apply_total"), 0);
  harness_.Stop();
}

TEST_P(MetricsSim, EveryDurableWriteIsInTheHistogramOfItsLatency) {
  const auto count = [](const std::string& page, std::string_view bound) {
    return Value(page, Concat("etcd_disk_wal_fsync_duration_seconds_bucket{le=\"", bound, "\"}"));
  };
  const std::string before = Page();
  harness_.disk().options().latency = Milliseconds(20);
  harness_.OnClient(KnownCalls(harness_, Deadline()));
  const std::string page = Page();
  EXPECT_EQ(count(page, "+Inf"), Value(page, "metastore_wal_durable_writes_total"));
  EXPECT_EQ(count(page, "+Inf"), Value(page, "etcd_disk_wal_fsync_duration_seconds_count"));
  // Seven writes, one after the other, each took about 20 ms.
  EXPECT_EQ(count(page, "0.004"), count(before, "0.004"));
  EXPECT_GE(count(page, "0.256") - count(before, "0.256"), 7);
  const double sum = Value(page, "etcd_disk_wal_fsync_duration_seconds_sum") -
                     Value(before, "etcd_disk_wal_fsync_duration_seconds_sum");
  EXPECT_GT(sum, 7 * 0.010);
  harness_.Stop();
}

TEST_P(MetricsSim, IdentityLeaderAndIndexesAreThoseOfTheNode) {
  const std::string page = Page();
  const server::Identity& identity = harness_.node().state().identity();
  const std::string member = Concat(absl::Hex(identity.member.value()));
  EXPECT_EQ(
      Value(page, Concat("metastore_member{cluster_id=\"", absl::Hex(identity.cluster.value()),
                         "\",member_id=\"", member, "\"}")),
      1);
  EXPECT_EQ(Value(page, Concat("metastore_raft_leader{leader_id=\"", member, "\"}")), 1);
  EXPECT_EQ(Value(page, "etcd_server_has_leader"), 1);
  const server::GroupStatus status = harness_.node().state().group().status();
  EXPECT_EQ(Value(page, "etcd_server_proposals_applied_total"),
            static_cast<double>(status.applied.value()));
  EXPECT_EQ(Value(page, "etcd_debugging_mvcc_current_revision"),
            static_cast<double>(status.engine.revision.value()));
  EXPECT_EQ(Value(page, "metastore_boots"), 1);
  harness_.Stop();
}

INSTANTIATE_TEST_SUITE_P(Reactors, MetricsSim, testing::Values(1, 2));

}  // namespace
}  // namespace metastore::sim_test
