// What `metactl status` says of one node, made from its pages /version, /health and /metrics.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/base/status.h"

namespace metastore::metactl {

// The pages of one node as they came.
struct NodePages {
  std::string version;
  std::string health;
  std::string metrics;
};

struct NodeReport {
  std::string endpoint;
  std::string version;      // MetaStore's
  std::string api_version;  // the etcd release it speaks
  std::string cluster_id;   // hex, as the member ids
  std::string member_id;
  std::string leader_id;  // empty: none is known
  bool is_leader = false;
  bool healthy = false;
  std::string reason;  // why not
  bool no_space = false;
  double boots = 0;
  double term = 0;
  double committed = 0;
  double applied = 0;
  double revision = 0;
  double compacted = 0;
  double keys = 0;
  double stored_bytes = 0;
  double live_bytes = 0;
  double quota_bytes = 0;  // 0: none
  double log_segments = 0;
  double snapshot_index = 0;  // 0: none
  double connections = 0;
  std::optional<double> flush_p50_ms;  // since the node's start; nothing: no flush yet
  std::optional<double> flush_p99_ms;
  std::optional<double> slow_turns;  // nothing: the node does not tell
};

// Errors: kFailedPrecondition  the pages are not a MetaStore node's; says which
StatusOr<NodeReport> MakeReport(std::string endpoint, const NodePages& pages);

// The value of a string field of a flat JSON object. Errors: kInvalidArgument  not JSON
StatusOr<std::string> JsonField(std::string_view json, std::string_view name);

// Some lines for people.
std::string ReportText(const NodeReport& report);
// One JSON object on one line; the names are those of NodeReport.
std::string ReportJson(const NodeReport& report);

}  // namespace metastore::metactl
