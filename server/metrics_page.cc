#include "server/metrics_page.h"

#include "io/base/status.h"

namespace metastore::server {
namespace {

uint64_t Flag(bool value) { return value ? 1 : 0; }

void AddRaft(const GroupStatus& group, io::MetricList& list) {
  list.Gauge("etcd_server_has_leader", "Whether a leader is known.",
             Flag(group.leader != raft::kNobody));
  list.Gauge("etcd_server_is_leader", "Whether this member leads.", Flag(group.is_leader));
  list.Gauge("etcd_server_is_learner", "Whether this member is a learner.", Flag(group.is_learner));
  list.Counter("etcd_server_leader_changes_seen_total", "Leaders seen since start.",
               group.leader_changes_total);
  list.Gauge("etcd_server_proposals_committed_total", "Commit index.", group.committed.value());
  list.Gauge("etcd_server_proposals_applied_total", "Applied index.", group.applied.value());
  list.Gauge("etcd_server_proposals_pending", "Writes admitted and not yet answered.",
             uint64_t{group.proposals_pending});
  list.Counter(
      "etcd_server_proposals_failed_total", "Writes that expired or were dropped.",
      group.proposals.expired_total + group.proposals.failed_total + group.proposals.lost_total);
  if (group.leader != raft::kNobody) {
    list.Gauge("metastore_raft_leader", "The leader that is known; none: no series.", 1.0,
               {{"leader_id", Concat(absl::Hex(group.leader.value()))}});
  }
  list.Gauge("metastore_repair_elections_closed",
             "Whether this member takes no part in elections: its log was damaged, and the leader "
             "sends it again.",
             Flag(group.repair_term != Term()));
  list.Gauge("metastore_raft_term", "Raft term.", group.term.value());
  list.Counter("metastore_proposals_admitted_total", "Writes admitted.",
               group.proposals.admitted_total);
  list.Counter("metastore_proposals_refused_total", "Writes refused: too many waited.",
               group.proposals.refused_total);
  list.Gauge("metastore_reads_pending", "Linearizable reads waiting.",
             uint64_t{group.reads_pending});
}

// Under names that dashboards of this kind of store know.
void AddRaftTimes(const Group& group, io::MetricList& list) {
  list.Counter("raft_leader_changes_total", "Leaders seen since start.",
               group.status().leader_changes_total);
  list.Counter("raft_election_timeout_total",
               "Times this member campaigned: no leader for an election timeout.",
               group.raft_counts().election_timeouts);
  list.Counter("raft_heartbeat_timeout_total",
               "Times the leader was silent for three heartbeat intervals.",
               group.raft_counts().heartbeat_timeouts);
  list.Gauge("raft_inflight_messages", "Appends sent by this leader and not yet answered.",
             uint64_t{group.inflight_messages()});
  list.Add("raft_apply_duration_ms", "Time to apply one batch of committed entries.",
           group.metrics().apply);
  list.Counter("etcd_server_slow_apply_total", "Batches that took longer than 100 ms to apply.",
               group.metrics().slow_applies);
  list.Counter("etcd_server_heartbeat_send_failures_total",
               "Heartbeats of this leader that a link did not take.",
               group.metrics().heartbeat_send_failures);
}

void AddBatches(const GroupStatus& group, const BatchCounts& counts, io::MetricList& list) {
  list.Counter("metastore_batch_proposals_total", "Writes given to raft.", counts.proposals);
  list.Counter("metastore_batch_batches_total", "Batches they were given in.", counts.batches);
  list.Gauge("metastore_batch_average_size", "Writes a batch, since start.", counts.average());
  list.Gauge("metastore_batch_load", "What the batch policy takes for the load, 0 to 1.",
             group.batch.load);
  list.Gauge("metastore_batch_size", "Writes the batch policy waits for; 0: for none.",
             uint64_t{group.batch.batch_size});
  list.Gauge("metastore_batch_wait_seconds", "The longest it waits for them.",
             static_cast<double>(group.batch.wait.ns) / 1e9);
  list.Gauge("metastore_batch_buffer_length", "Writes that wait to be given to raft.",
             uint64_t{group.proposals_waiting});
}

void AddStore(const GroupStatus& group, io::MetricList& list) {
  const engine::Stats& engine = group.engine;
  list.Gauge("etcd_server_quota_backend_bytes", "Quota of stored bytes; 0: none.",
             group.quota_bytes);
  list.Gauge("metastore_quota_exceeded", "Whether writes are refused for the quota.",
             Flag(group.quota_exceeded));
  list.Gauge("etcd_mvcc_db_total_size_in_bytes", "Logical bytes of every stored version.",
             engine.stored_bytes);
  list.Gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Logical bytes of live keys.",
             engine.live_bytes);
  list.Gauge("etcd_debugging_mvcc_keys_total", "Live keys.",
             static_cast<double>(engine.keys_count));
  list.Gauge("etcd_debugging_mvcc_current_revision", "Current revision.",
             static_cast<double>(engine.revision.value()));
  list.Gauge("etcd_debugging_mvcc_compact_revision", "Compacted revision.",
             static_cast<double>(engine.compacted.value()));
}

void AddDigests(const GroupStatus& group, const GroupMetrics& metrics, io::MetricList& list) {
  list.Counter("metastore_digest_taken_total", "Digests of the applied state, to be compared.",
               metrics.digests);
  list.Counter("metastore_digest_skipped_total", "Comparisons left out: a digest was under way.",
               metrics.digests_skipped);
  list.Counter("metastore_digest_differences_total",
               "Digests of other members that differed from this one's.",
               metrics.digest_differences);
  list.Gauge("metastore_digest_confirmed_index",
             "Index at which a majority last had this member's digest.",
             group.digest.confirmed.value());
  list.Gauge("metastore_digest_differing_members", "Members whose state differs from this one's.",
             uint64_t{group.digest.differing.size()});
  list.Gauge("metastore_digest_in_doubt", "Whether digests differ and no majority agrees.",
             Flag(group.digest.in_doubt));
  list.Gauge("metastore_digest_fenced", "Whether this member is fenced: its state was wrong.",
             Flag(!group.digest.fenced.empty()));
  list.Add("etcd_mvcc_hash_duration_seconds", "Time to take a digest of the applied state.",
           metrics.digest_take);
}

void AddOps(const OpCounts& ops, io::MetricList& list) {
  list.Counter("etcd_mvcc_put_total", "Puts applied, those in transactions included.", ops.puts);
  list.Counter("etcd_mvcc_delete_total", "Range deletions applied, likewise.", ops.deletes);
  list.Counter("etcd_mvcc_range_total", "Ranges read, likewise.", ops.ranges);
  list.Counter("etcd_mvcc_txn_total", "Transactions applied that did more than one operation.",
               ops.txns);
}

void AddLeases(const Group& group, const GroupStatus& status, io::MetricList& list) {
  const GroupLeases& leases = group.leases();
  const LessorStats& stats = leases.lessor().stats();
  list.Counter("etcd_debugging_lease_granted_total", "Leases granted.", stats.granted_total);
  list.Counter("etcd_debugging_lease_revoked_total", "Leases revoked or expired.",
               stats.revoked_total);
  list.Counter("etcd_debugging_lease_renewed_total", "Renewals by this member as leader.",
               stats.renewed_total);
  list.Add("etcd_debugging_lease_ttl_total", "TTLs of leases granted, in seconds.",
           leases.lessor().ttls());
  list.Counter("etcd_debugging_server_lease_expired_total",
               "Leases that this member as leader revoked when their time was over.",
               stats.expired_total);
  list.Gauge("metastore_leases", "Leases there are.",
             static_cast<uint64_t>(status.engine.leases_count));
  list.Gauge("metastore_lease_revokes_under_way", "Expired leases whose revoke is not applied yet.",
             static_cast<uint64_t>(leases.lessor().revoking()));
  list.Counter("metastore_lease_checkpoints_total",
               "Leases in checkpoints proposed, those that clear one included.",
               stats.checkpoints_total);
  list.Counter("metastore_lease_checkpoints_cleared_total", "Of these, for a keepalive.",
               stats.clears_total);
  list.Counter("metastore_lease_questions_forwarded_total",
               "Keepalives and looks at leases that the leader was asked.",
               leases.forwarded_total());
  list.Gauge("metastore_lease_questions_pending",
             "Keepalives and looks at leases that are not answered yet.",
             static_cast<uint64_t>(leases.questions_waiting()));
}

}  // namespace

void AddIdentityMetrics(const Identity& identity, io::MetricList& list) {
  list.Gauge("etcd_server_version", "The etcd release whose API is spoken.", 1.0,
             {{"server_version", kEtcdVersion}});
  list.Gauge("etcd_cluster_version", "The cluster's level of that API.", 1.0,
             {{"cluster_version", kEtcdClusterVersion}});
  list.Gauge("etcd_server_id", "This member.", 1.0,
             {{"server_id", Concat(absl::Hex(identity.member.value()))}});
  list.Gauge("metastore_member", "This member and its cluster.", 1.0,
             {{"cluster_id", Concat(absl::Hex(identity.cluster.value()))},
              {"member_id", Concat(absl::Hex(identity.member.value()))}});
  list.Gauge("metastore_version", "This build.", 1.0, {{"version", kMetaStoreVersion}});
  list.Gauge("metastore_boots", "Starts on this data directory.", uint64_t{identity.boot});
}

void AddGroupMetrics(const Group& group, io::MetricList& list) {
  const GroupStatus status = group.status();
  AddRaft(status, list);
  AddRaftTimes(group, list);
  AddStore(status, list);
  const GroupMetrics& metrics = group.metrics();
  AddBatches(status, metrics.batches, list);
  AddOps(metrics.ops, list);
  AddDigests(status, metrics, list);
  AddLeases(group, status, list);
  list.Counter("metastore_repairs_total", "Repairs of a damaged log that came to their end.",
               metrics.repairs);
  list.Counter("metastore_slow_disk_hand_overs_total",
               "Leadership offered to another member because a flush was slow.",
               metrics.slow_disk_hand_overs);
  list.Counter("metastore_slow_disk_step_downs_total",
               "Leadership given up because a flush was slow.", metrics.slow_disk_step_downs);
  list.Counter("metastore_full_disk_hand_overs_total",
               "Leadership offered to another member because the disk was full.",
               metrics.full_disk_hand_overs);
  list.Counter("metastore_pauses_total",
               "Times in which the node did not run for two ticks or more.", metrics.pauses);
  list.Gauge("metastore_read_lease", "Whether reads need no round: it leads and has a lease.",
             Flag(group.has_lease()));
  list.Counter("metastore_peer_messages_ignored_total",
               "Messages of members that raft had no use for.", metrics.peer_messages_ignored);
  list.Add("metastore_snapshot_save_seconds", "Time to write a snapshot, durable included.",
           metrics.snapshot_save);
  list.Gauge("metastore_snapshot_index", "Applied index of the newest snapshot; 0: none.",
             status.snapshot_index.value());
  list.Gauge("metastore_snapshot_bytes", "Bytes of the newest snapshot.", status.snapshot_bytes);
}

void AddLogMetrics(const wal::Log& log, io::MetricList& list) {
  const wal::LogStats stats = log.stats();
  const wal::LogMetrics& metrics = log.metrics();
  list.Add("etcd_disk_wal_fsync_duration_seconds", "Durable writes of the log.", metrics.flush);
  list.Add("metastore_wal_gather_seconds", "From a frame's first record to its submission.",
           metrics.gather);
  list.Add("metastore_wal_frame_bytes", "Bytes of a durable write.", metrics.frame_bytes);
  list.Add("metastore_wal_frame_requests", "Client writes that shared a durable write.",
           metrics.frame_requests);
  list.Counter("metastore_wal_durable_writes_total", "Durable writes completed.", stats.frames);
  list.Counter("metastore_wal_promise_writes_total", "Of these, written only as promises.",
               stats.promise_frames);
  list.Gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log.", stats.bytes_written);
  list.Counter("metastore_wal_padding_bytes_total", "Of these, padding.", stats.bytes_padding);
  list.Counter("metastore_wal_records_total", "Records appended.", stats.records);
  list.Counter("metastore_wal_rewritten_records_total",
               "Of these, copies that free an old segment.", stats.rewritten_records);
  list.Counter("metastore_wal_segments_recycled_total", "Segments given back for reuse.",
               stats.segments_recycled);
  list.Gauge("metastore_wal_segments_live", "Segments in use.", stats.segments_live);
  list.Gauge("metastore_wal_segments_prepared", "Segments ready for use.", stats.segments_prepared);
  list.Counter("metastore_wal_preparation_failures_total",
               "Segments that could not be made; no space, most likely.",
               stats.preparation_failures);
  list.Gauge("metastore_wal_queued_bytes", "Bytes appended and not yet durable.",
             stats.queued_bytes);
  list.Gauge("metastore_wal_accepting", "Whether the log takes writes.", Flag(log.accepting()));
}

void AddClientMetrics(const net::ServerStats& stats, MonoTime now, io::MetricList& list) {
  uint64_t faults = 0;
  for (size_t i = 0; i < stats.faults.size(); ++i) {
    if (i != static_cast<size_t>(net::Http2Fault::kNone)) faults += stats.faults[i];
  }
  list.Counter("etcd_network_client_grpc_received_bytes_total", "Bytes from clients.",
               stats.received_bytes);
  list.Counter("etcd_network_client_grpc_sent_bytes_total", "Bytes to clients.", stats.sent_bytes);
  list.Gauge("metastore_connections_open", "Client connections.", stats.connections_open);
  list.Counter("metastore_connections_total", "Client connections since start.",
               stats.connections_total);
  list.Counter("metastore_connections_refused_total", "Connections over the cap.",
               stats.connections_refused);
  list.Counter("metastore_accepts_paused_total", "Accepting paused: out of descriptors.",
               stats.accepts_paused);
  list.Gauge("metastore_calls_open", "gRPC calls under way.", stats.calls_open);
  list.Counter("metastore_calls_total", "gRPC calls since start.", stats.calls_total);
  list.Counter("metastore_calls_refused_total", "gRPC calls answered before a handler ran.",
               stats.calls_refused);
  list.Add("grpc_request_duration_ms", "Calls, from their receipt until they are answered.",
           stats.call_duration);
  list.Gauge("grpc_request_rate", "Calls answered a second, over the last 10 s.",
             stats.calls_answered.PerSecond(now));
  list.Gauge("grpc_error_rate", "Of these, with another status than OK.",
             stats.calls_failed.PerSecond(now));
  list.Counter("metastore_http_requests_total", "HTTP/1.1 requests since start.",
               stats.http_requests_total);
  list.Counter("metastore_protocol_faults_total", "Connections ended by a protocol fault.", faults);
  list.Counter("metastore_network_timeouts_total",
               "Connections ended by a timeout of preface, header or send.", stats.timeouts);
}

}  // namespace metastore::server
