#include "tools/metactl/node_report.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <cstdio>

#include "io/log.h"
#include "tools/metactl/prometheus_text.h"

namespace metastore::metactl {
namespace {

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string Whole(double value) { return Fixed(value, 0); }

std::string Bytes(double value) {
  constexpr double kStep = 1024;
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (value >= kStep && unit + 1 < std::size(kUnits)) {
    value /= kStep;
    ++unit;
  }
  return Concat(Fixed(value, unit == 0 ? 0 : 1), " ", std::string_view(kUnits[unit]));
}

Status NotOurs(const std::string& endpoint, std::string_view page) {
  return FailedPreconditionError(endpoint, page,
                                 ": not a MetaStore server's page: is this its client port?");
}

void FillNumbers(const MetricsText& metrics, NodeReport& report) {
  struct Field {
    std::string_view name;
    double& into;
  };
  const Field fields[] = {
      {"metastore_boots", report.boots},
      {"metastore_raft_term", report.term},
      {"etcd_server_proposals_committed_total", report.committed},
      {"etcd_server_proposals_applied_total", report.applied},
      {"etcd_debugging_mvcc_current_revision", report.revision},
      {"etcd_debugging_mvcc_compact_revision", report.compacted},
      {"etcd_debugging_mvcc_keys_total", report.keys},
      {"etcd_mvcc_db_total_size_in_bytes", report.stored_bytes},
      {"etcd_mvcc_db_total_size_in_use_in_bytes", report.live_bytes},
      {"etcd_server_quota_backend_bytes", report.quota_bytes},
      {"metastore_wal_segments_live", report.log_segments},
      {"metastore_snapshot_index", report.snapshot_index},
      {"metastore_connections_open", report.connections},
  };
  for (const Field& field : fields) field.into = metrics.Find(field.name).value_or(0);
  for (const auto& [quantile, into] :
       {std::pair(0.5, &report.flush_p50_ms), std::pair(0.99, &report.flush_p99_ms)}) {
    const std::optional<double> seconds =
        metrics.Quantile("etcd_disk_wal_fsync_duration_seconds", quantile);
    if (seconds.has_value()) *into = *seconds * 1e3;
  }
  report.slow_turns = metrics.Sum("metastore_reactor_slow_turns_total");
}

}  // namespace

StatusOr<std::string> JsonField(std::string_view json, std::string_view name) {
  google::protobuf::Struct object;
  const auto parsed = google::protobuf::util::JsonStringToMessage(std::string(json), &object);
  if (!parsed.ok()) return InvalidArgumentError("not a JSON object");
  const auto found = object.fields().find(std::string(name));
  return found == object.fields().end() ? std::string() : found->second.string_value();
}

StatusOr<NodeReport> MakeReport(std::string endpoint, const NodePages& pages) {
  NodeReport report{.endpoint = std::move(endpoint)};
  const StatusOr<std::string> version = JsonField(pages.version, "metastore");
  if (!version.ok() || version->empty()) return NotOurs(report.endpoint, "/version");
  report.version = *version;
  report.api_version = JsonField(pages.version, "etcdserver").value_or("");
  const StatusOr<std::string> health = JsonField(pages.health, "health");
  if (!health.ok() || health->empty()) return NotOurs(report.endpoint, "/health");
  report.healthy = *health == "true";
  report.reason = JsonField(pages.health, "reason").value_or("");
  const StatusOr<MetricsText> metrics = MetricsText::Parse(pages.metrics);
  if (!metrics.ok() || !metrics->Find("metastore_version").has_value()) {
    return NotOurs(report.endpoint, "/metrics");
  }
  report.cluster_id = metrics->LabelOf("metastore_member", "cluster_id");
  report.member_id = metrics->LabelOf("metastore_member", "member_id");
  report.leader_id = metrics->LabelOf("metastore_raft_leader", "leader_id");
  report.is_leader = metrics->Find("etcd_server_is_leader").value_or(0) == 1;
  report.no_space = metrics->Find("metastore_quota_exceeded").value_or(0) == 1 ||
                    metrics->Find("metastore_wal_accepting").value_or(1) == 0;
  FillNumbers(*metrics, report);
  return report;
}

std::string ReportText(const NodeReport& report) {
  std::string text = Concat(report.endpoint, "\n");
  const auto line = [&text](std::string_view name, const std::string& value) {
    std::string padded(name);
    padded.resize(14, ' ');
    text += Concat("  ", padded, value, "\n");
  };
  line("health", report.healthy ? "healthy" : Concat("UNHEALTHY: ", report.reason));
  line("alarms", report.no_space ? "NOSPACE: writes are refused" : "none");
  line("version", Concat(report.version, " (etcd API ", report.api_version, ")"));
  line("member", Concat(report.member_id, " of cluster ", report.cluster_id, ", start ",
                        Whole(report.boots)));
  line("leader", report.leader_id.empty()
                     ? std::string("NONE")
                     : Concat(report.leader_id, report.is_leader ? " (this member)" : "", ", term ",
                              Whole(report.term)));
  line("revision", Concat(Whole(report.revision), ", compacted ", Whole(report.compacted)));
  line("log",
       Concat("committed ", Whole(report.committed), ", applied ", Whole(report.applied), ", ",
              Whole(report.log_segments), " segments, snapshot at ", Whole(report.snapshot_index)));
  line("data", Concat(Whole(report.keys), " keys, ", Bytes(report.stored_bytes), ", live ",
                      Bytes(report.live_bytes), ", quota ",
                      report.quota_bytes == 0 ? std::string("none") : Bytes(report.quota_bytes)));
  line("flush", report.flush_p50_ms.has_value()
                    ? Concat("p50 ", Fixed(*report.flush_p50_ms, 3), " ms, p99 ",
                             Fixed(*report.flush_p99_ms, 3), " ms since start")
                    : std::string("none yet"));
  line("clients", Concat(Whole(report.connections), " connections"));
  if (report.slow_turns.has_value()) line("slow turns", Whole(*report.slow_turns));
  return text;
}

std::string ReportJson(const NodeReport& report) {
  std::string json = Concat("{", io::JsonFields({{"endpoint", report.endpoint},
                                                 {"healthy", report.healthy},
                                                 {"reason", report.reason},
                                                 {"no_space", report.no_space},
                                                 {"version", report.version},
                                                 {"api_version", report.api_version},
                                                 {"cluster_id", report.cluster_id},
                                                 {"member_id", report.member_id},
                                                 {"leader_id", report.leader_id},
                                                 {"is_leader", report.is_leader}}));
  const auto number = [&json](std::string_view name, std::optional<double> value, int digits) {
    json +=
        Concat(",\"", name, "\":", value.has_value() ? Fixed(*value, digits) : std::string("null"));
  };
  number("boots", report.boots, 0);
  number("term", report.term, 0);
  number("committed", report.committed, 0);
  number("applied", report.applied, 0);
  number("revision", report.revision, 0);
  number("compacted", report.compacted, 0);
  number("keys", report.keys, 0);
  number("stored_bytes", report.stored_bytes, 0);
  number("live_bytes", report.live_bytes, 0);
  number("quota_bytes", report.quota_bytes, 0);
  number("log_segments", report.log_segments, 0);
  number("snapshot_index", report.snapshot_index, 0);
  number("connections", report.connections, 0);
  number("flush_p50_ms", report.flush_p50_ms, 3);
  number("flush_p99_ms", report.flush_p99_ms, 3);
  number("slow_turns", report.slow_turns, 0);
  return json + "}\n";
}

}  // namespace metastore::metactl
