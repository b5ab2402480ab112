// The node's configuration: etcd's flags, ETCD_* environment and YAML file, checked as a whole
// before anything starts.
//
// ParseConfig is pure but for ConfigSources: it reads arguments, environment and file once, and
// gives either a Config in which every value is in range and the relations between them hold, or
// one error that lists every problem. Precedence, as etcd's: flag, else environment, else default;
// with --config-file the file alone counts.
//
// What becomes of a flag (server/config_flags.cc has each):
//   1. used         its value is a field below, and whoever owns the field honours it;
//   2. no effect    its effect cannot exist in this server (a bbolt setting, say): accepted, with a
//   warning;
//   3. not offered  its feature is not here yet: any value but the default is an error, never
//   ignored.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/step_budget.h"
#include "io/base/limits.h"
#include "io/base/status.h"
#include "io/base/time.h"
#include "io/file.h"
#include "io/log.h"
#include "net/peer_frame.h"
#include "server/batch_policy.h"
#include "server/config_url.h"

namespace metastore::server {

inline constexpr std::string_view kMetaStoreVersion = "0.1.0";
// The etcd release whose API is spoken: what Status, /version and clients that pick features by
// version see.
inline constexpr std::string_view kEtcdVersion = "3.6.0";
inline constexpr std::string_view kEtcdClusterVersion = "3.6.0";

// Who this member is and where it listens.
struct MemberConfig {
  std::string name = "default";            // --name; not empty, without '=' and ','
  std::string data_dir;                    // --data-dir; default ${name}.etcd
  std::string wal_dir;                     // --wal-dir; default ${data-dir}/member/wal
  std::vector<Url> listen_client_urls;     // at least one
  std::vector<Url> listen_peer_urls;       // at least one
  std::vector<Url> advertise_client_urls;  // at least one
  std::vector<Url>
      initial_advertise_peer_urls;  // at least one; this member's entry in initial_cluster
};

struct InitialMember {
  std::string name;
  std::vector<std::string> peer_urls;  // sorted
  bool operator==(const InitialMember&) const = default;
};

enum class ClusterState : uint8_t { kNew, kExisting };

// Of a member whose cluster lost its majority for good (server/force_new_cluster.h).
enum class ForceCluster : uint8_t { kNo, kPlan, kDo };

// How a cluster begins; but for what is named a flag, looked at only while the data directory is
// new.
struct ClusterConfig {
  std::vector<InitialMember> initial_cluster;  // by name; holds this member
  // kExisting: this member has been added to a running cluster, whose others are in
  // initial_cluster.
  ClusterState initial_state = ClusterState::kNew;
  std::string token = "etcd-cluster";
  bool strict_reconfig = true;             // --strict-reconfig-check
  int learners_max = 1;                    // --max-learners
  bool repair_from_peers = true;           // --repair-from-peers: of a damaged log, at any start
  ForceCluster force = ForceCluster::kNo;  // --force-new-cluster, --force-new-cluster-plan
};

// What goes between members.
struct PeerConfig {
  net::PeerCompression compression = net::PeerCompression::kOff;  // --peer-compression
  uint64_t snapshot_bytes_per_second = 0;  // --snapshot-send-rate: of one snapshot; 0 = no limit
};

struct RaftConfig {
  Duration heartbeat_interval = Milliseconds(100);  // one tick
  Duration election_timeout = Milliseconds(1000);   // at least 5 ticks, at most 50 s
  bool pre_vote = true;
  // --read-mode=lease: a leader answers linearizable reads without asking the others while none of
  // them can have been elected. The same on all members.
  bool lease_reads = false;
  uint64_t snapshot_count =
      10000;  // entries applied since the last snapshot before the next may start
  uint64_t snapshot_catchup_entries = 5000;  // entries kept behind a snapshot for slow followers
  Duration
      corrupt_check_time;  // --corrupt-check-time: between comparisons of applied state; 0: none

  // --lease-checkpoint-interval: after which a leader notes in the log what a lease has left, so
  // that the next one knows.
  Duration lease_checkpoint_interval = Seconds(300);

  int election_ticks() const {
    return static_cast<int>(election_timeout.ns / heartbeat_interval.ns);
  }
  // A lease ends so long before an election timeout: a tick, and a tenth for clocks that drift.
  int lease_margin_ticks() const { return 1 + (election_ticks() + 9) / 10; }
};

// What one client request, and all together, may ask for.
struct RequestConfig {
  uint64_t request_bytes_max = limits::kRequestBytesDefault;  // --max-request-bytes
  uint64_t txn_ops_max = limits::kTxnOpsDefault;              // --max-txn-ops
  // --watch-progress-notify-interval: of a watcher without events
  Duration watch_progress_interval = Seconds(600);
  // Watchers that are given their changes in one step. No flag: simulations make steps short.
  size_t watch_step_watchers = engine::kStepRecords;
  int64_t quota_bytes =
      0;  // --quota-backend-bytes: 0 = the engine's default (2 GiB in memory), negative = none
};

struct NetConfig {
  uint64_t connections_max = limits::kConnectionsMax;  // --max-connections
  uint32_t concurrent_streams_max = UINT32_MAX;        // --max-concurrent-streams: per connection
  Duration keepalive_min_time = Seconds(5);            // clients may ping no more often
  Duration keepalive_interval = Seconds(7200);  // the server pings an idle connection; 0 = never
  Duration keepalive_timeout = Seconds(20);     // and closes it when unanswered for so long
};

enum class StorageEngine : uint8_t { kMemory };

struct StorageConfig {
  StorageEngine engine = StorageEngine::kMemory;                     // --storage-engine
  io::DurableMethod wal_durable_method = io::DurableMethod::kDsync;  // --wal-durable-method
  uint64_t wal_segment_bytes = limits::kSegmentBytes;  // --experimental-wal-segment-bytes
  int wal_depth = 1;                                   // --wal-depth: frames in flight, 1 or 2
  BatchPolicyKind batch_policy = BatchPolicyKind::kNatural;  // --batch-policy, batch.enable
  BatchOptions batch;                                        // --batch-*: of the adaptive policy
};

// The machine this node may use.
struct RuntimeConfig {
  int reactors = 1;           // --reactors: 1..limits::kReactorsMax
  std::vector<int> cpu_list;  // --cpu-list: empty = not pinned, else one CPU a reactor
  Duration spin;  // --spin: polled before sleeping while a write is under way; 0 = not at all
  std::string io_trace;  // --experimental-io-trace: a new file; empty = none
};

enum class LogFormat : uint8_t { kJson, kConsole };

struct LogConfig {
  io::LogLevel level = io::LogLevel::kInfo;
  LogFormat format = LogFormat::kJson;
};

struct Config {
  MemberConfig member;
  ClusterConfig cluster;
  PeerConfig peer;
  RaftConfig raft;
  RequestConfig request;
  NetConfig net;
  StorageConfig storage;
  RuntimeConfig runtime;
  LogConfig log;
};

// What the process was asked to do.
enum class ConfigAction : uint8_t { kRun, kPrint };

// A flag that is used, and its value as somebody wrote it.
struct FlagInEffect {
  std::string name;
  std::string value;
  std::string origin;  // for people: --name=a, ETCD_NAME=a; empty: the default
};

struct ParsedConfig {
  ConfigAction action = ConfigAction::kRun;
  std::string text;                   // kPrint (--help, --version): goes to stdout, then exit 0
  Config config;                      // kRun
  std::vector<std::string> warnings;  // kRun: one log line each, at level warn
  std::vector<FlagInEffect> flags;    // kRun: all that are used, in the order of --help
};

// Where a configuration comes from besides the arguments.
struct ConfigSources {
  std::map<std::string, std::string, std::less<>> environment;
  // The whole content of a file. Errors: any; the message names what is wrong, the caller adds the
  // path.
  std::function<StatusOr<std::string>(const std::string& path)> read_file;
};

// The process's own environment and files: for main, before the reactors start.
ConfigSources ProcessConfigSources();

// Parses and checks the configuration. `argv` as main's: [0] is the program.
// Errors: kInvalidArgument  one line a problem, each naming its flag, variable or file, and what to
// do
StatusOr<ParsedConfig> ParseConfig(int argc, const char* const* argv, const ConfigSources& sources);

}  // namespace metastore::server
