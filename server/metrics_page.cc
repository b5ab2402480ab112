// The Prometheus text of /metrics.

#include "io/base/status.h"
#include "server/http_api.h"

namespace metastore::server {
namespace {

class Page {
 public:
  void Gauge(std::string_view name, std::string_view help, int64_t value) {
    Head(name, help, "gauge");
    Line(name, "", std::to_string(value));
  }
  void Counter(std::string_view name, std::string_view help, uint64_t value) {
    Head(name, help, "counter");
    Line(name, "", std::to_string(value));
  }
  void Info(std::string_view name, std::string_view help, std::string_view label,
            std::string_view value) {
    Head(name, help, "gauge");
    Line(name, Concat("{", label, "=\"", value, "\"}"), "1");
  }
  std::string Take() { return std::move(text_); }

 private:
  void Head(std::string_view name, std::string_view help, std::string_view type) {
    text_ += Concat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
  }
  void Line(std::string_view name, std::string_view labels, std::string_view value) {
    text_ += Concat(name, labels, " ", value, "\n");
  }

  std::string text_;
};

int64_t Signed(uint64_t value) { return static_cast<int64_t>(value); }

void RaftLines(const NodeFacts& facts, Page& page) {
  const GroupStatus& group = facts.group;
  page.Gauge("etcd_server_has_leader", "Whether a leader is known.",
             group.leader == raft::kNobody ? 0 : 1);
  page.Gauge("etcd_server_is_leader", "Whether this member leads.", group.is_leader ? 1 : 0);
  page.Counter("etcd_server_leader_changes_seen_total", "Leaders seen since start.",
               group.leader_changes_total);
  page.Gauge("etcd_server_proposals_committed_total", "Commit index.",
             Signed(group.committed.value()));
  page.Gauge("etcd_server_proposals_applied_total", "Applied index.",
             Signed(group.applied.value()));
  page.Gauge("etcd_server_proposals_pending", "Writes admitted and not yet answered.",
             Signed(group.proposals_pending));
  page.Counter("etcd_server_proposals_failed_total", "Writes that expired or were dropped.",
               group.proposals.expired_total + group.proposals.failed_total);
  page.Counter("metastore_proposals_admitted_total", "Writes admitted.",
               group.proposals.admitted_total);
  page.Counter("metastore_proposals_refused_total", "Writes refused: too many waited.",
               group.proposals.refused_total);
  page.Gauge("metastore_reads_pending", "Linearizable reads waiting.", Signed(group.reads_pending));
  page.Info("etcd_server_version", "The etcd release whose API is spoken.", "server_version",
            kEtcdVersion);
  page.Info("metastore_version", "This build.", "version", kMetaStoreVersion);
}

void StoreLines(const NodeFacts& facts, Page& page) {
  const engine::Stats& engine = facts.group.engine;
  page.Gauge("etcd_server_quota_backend_bytes", "Quota of stored bytes; 0: none.",
             Signed(facts.group.quota_bytes));
  page.Gauge("etcd_mvcc_db_total_size_in_bytes", "Logical bytes of every stored version.",
             Signed(engine.stored_bytes));
  page.Gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Logical bytes of live keys.",
             Signed(engine.live_bytes));
  page.Gauge("etcd_debugging_mvcc_keys_total", "Live keys.", engine.keys_count);
  page.Gauge("etcd_debugging_mvcc_current_revision", "Current revision.", engine.revision.value());
  page.Gauge("etcd_debugging_mvcc_compact_revision", "Compacted revision.",
             engine.compacted.value());
}

void LogLines(const NodeFacts& facts, Page& page) {
  const wal::LogStats& log = facts.log;
  page.Counter("metastore_wal_durable_writes_total", "Durable writes completed.", log.frames);
  page.Counter("metastore_wal_promise_writes_total", "Of these, written only as promises.",
               log.promise_frames);
  page.Gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log.",
             Signed(log.bytes_written));
  page.Counter("metastore_wal_padding_bytes_total", "Of these, padding.", log.bytes_padding);
  page.Counter("metastore_wal_records_total", "Records appended.", log.records);
  page.Gauge("metastore_wal_segments_live", "Segments in use.", Signed(log.segments_live));
  page.Gauge("metastore_wal_segments_prepared", "Segments ready for use.",
             Signed(log.segments_prepared));
  page.Gauge("metastore_wal_queued_bytes", "Bytes appended and not yet durable.",
             Signed(log.queued_bytes));
  page.Gauge("metastore_wal_last_flush_microseconds", "Latency of the last durable write.",
             Signed(log.last_flush_us));
}

void NetLines(const NodeFacts& facts, Page& page) {
  net::ServerStats sum;
  uint64_t faults = 0;
  for (const net::ServerStats& edge : facts.edges) {
    sum.connections_open += edge.connections_open;
    sum.connections_total += edge.connections_total;
    sum.connections_refused += edge.connections_refused;
    sum.calls_open += edge.calls_open;
    sum.calls_total += edge.calls_total;
    sum.received_bytes += edge.received_bytes;
    sum.sent_bytes += edge.sent_bytes;
    for (size_t i = 0; i < edge.faults.size(); ++i) {
      if (i != static_cast<size_t>(net::Http2Fault::kNone)) faults += edge.faults[i];
    }
  }
  page.Counter("etcd_network_client_grpc_received_bytes_total", "Bytes from clients.",
               sum.received_bytes);
  page.Counter("etcd_network_client_grpc_sent_bytes_total", "Bytes to clients.", sum.sent_bytes);
  page.Gauge("metastore_connections_open", "Client connections.", Signed(sum.connections_open));
  page.Counter("metastore_connections_total", "Client connections since start.",
               sum.connections_total);
  page.Counter("metastore_connections_refused_total", "Connections over the cap.",
               sum.connections_refused);
  page.Gauge("metastore_calls_open", "gRPC calls under way.", Signed(sum.calls_open));
  page.Counter("metastore_calls_total", "gRPC calls since start.", sum.calls_total);
  page.Counter("metastore_protocol_faults_total", "Connections ended by a protocol fault.", faults);
}

}  // namespace

std::string MetricsPage(const NodeFacts& facts) {
  Page page;
  RaftLines(facts, page);
  StoreLines(facts, page);
  LogLines(facts, page);
  NetLines(facts, page);
  return page.Take();
}

}  // namespace metastore::server
