// What the parts of a member tell /metrics: etcd's names where etcd has the thing, metastore_ names
// for the rest. docs/METRICS.md lists them all; a test holds it to the page.
//
// Each function runs on the core of what it reads.
#pragma once

#include "io/metrics.h"
#include "net/server_stats.h"
#include "server/edge.h"
#include "server/group.h"
#include "wal/log.h"

namespace metastore::server {

void AddIdentityMetrics(const Identity& identity, io::MetricList& list);
void AddGroupMetrics(const Group& group, io::MetricList& list);
void AddLogMetrics(const wal::Log& log, io::MetricList& list);
// Of one core's client ports, whose clock says `now`.
void AddClientMetrics(const net::ServerStats& stats, MonoTime now, io::MetricList& list);

}  // namespace metastore::server
