#include "server/config_flags.h"

#include <algorithm>
#include <array>

namespace metastore::server {
namespace {

using enum FlagType;
using enum FlagEffect;

constexpr std::string_view kTls = "TLS";
constexpr std::string_view kDiscovery = "cluster discovery";
constexpr std::string_view kTracing = "distributed tracing";
constexpr std::string_view kAuth = "authentication";
constexpr std::string_view kPeers = "clusters of more than one member";
constexpr std::string_view kGate = "this feature";
constexpr std::string_view kBbolt = "there is no bbolt file here";
constexpr std::string_view kProxy = "the v2 proxy";
constexpr std::string_view kNoProxy = "there is no v2 proxy here";
constexpr std::string_view kCheckpoints = "what leases have left is always noted and kept";

constexpr auto kMember = std::to_array<FlagSpec>({
    {"name", kString, "default", kUsed, "name of this member"},
    {"data-dir", kString, "", kUsed, "directory of all data; ${name}.etcd if empty"},
    {"wal-dir", kString, "", kUsed, "directory of the log; in the data directory if empty"},
    {"snapshot-count", kUint, "10000", kUsed,
     "entries applied before the next snapshot; 0 = default"},
    {"snapshot-catchup-entries", kUint, "5000", kUsed, "entries kept behind a snapshot"},
    {"heartbeat-interval", kUint, "100", kUsed, "milliseconds between heartbeats: one tick"},
    {"election-timeout", kUint, "1000", kUsed, "milliseconds without a leader until an election"},
    {"initial-election-tick-advance", kBool, "true", kNotOffered, "starting without it"},
    {"listen-peer-urls", kList, "http://localhost:2380", kUsed, "where peers connect"},
    {"listen-client-urls", kList, "http://localhost:2379", kUsed, "where clients connect"},
    {"listen-client-http-urls", kList, "", kNotOffered, "a separate HTTP port"},
    {"max-wals", kUint, "5", kNone, "the log frees its segments behind each snapshot"},
    {"max-snapshots", kUint, "5", kNone, "only the newest snapshot is kept"},
    {"memory-mlock", kBool, "false", kNotOffered, "locking memory"},
    {"quota-backend-bytes", kInt, "0", kUsed,
     "live bytes stored; 0 = default, negative = no quota"},
    {"backend-bbolt-freelist-type", kString, "map", kNone, kBbolt},
    {"backend-batch-interval", kDuration, "0s", kNone, kBbolt},
    {"backend-batch-limit", kUint, "0", kNone, kBbolt},
    {"max-txn-ops", kUint, "128", kUsed, "operations in one transaction"},
    {"max-request-bytes", kUint, "1572864", kUsed, "bytes of one client request"},
    {"max-concurrent-streams", kUint, "4294967295", kUsed, "open requests of one connection"},
    {"grpc-keepalive-min-time", kDuration, "5s", kUsed, "shortest time between a client's pings"},
    {"grpc-keepalive-interval", kDuration, "2h", kUsed, "time between pings to a client; 0 = none"},
    {"grpc-keepalive-timeout", kDuration, "20s", kUsed, "time a client has to answer a ping"},
    {"socket-reuse-port", kBool, "false", kNotOffered, "sharing a port with other processes"},
    {"socket-reuse-address", kBool, "false", kNotOffered, "sharing an address"},
    {"enable-grpc-gateway", kBool, "true", kNone, "the JSON gateway is not offered yet"},
    {"raft-read-timeout", kDuration, "5s", kNotOffered, kPeers},
    {"raft-write-timeout", kDuration, "5s", kNotOffered, kPeers},
    {"feature-gates", kString, "", kUsed, "features, as A=true,B=false"},
});

constexpr auto kClustering = std::to_array<FlagSpec>({
    {"initial-advertise-peer-urls", kList, "http://localhost:2380", kUsed,
     "this member's peer URLs"},
    {"initial-cluster", kList, "", kUsed, "members as name=URL,...; this member alone if empty"},
    {"initial-cluster-state", kString, "new", kUsed, "new or existing"},
    {"initial-cluster-token", kString, "etcd-cluster", kUsed, "keeps clusters apart"},
    {"advertise-client-urls", kList, "http://localhost:2379", kUsed, "client URLs told to clients"},
    {"discovery", kString, "", kNotOffered, kDiscovery},
    {"discovery-fallback", kString, "exit", kNone, "there is no discovery that could fail"},
    {"discovery-proxy", kString, "", kNotOffered, kDiscovery},
    {"discovery-srv", kString, "", kNotOffered, kDiscovery},
    {"discovery-srv-name", kString, "", kNotOffered, kDiscovery},
    {"discovery-endpoints", kList, "", kNotOffered, kDiscovery},
    {"discovery-token", kString, "", kNotOffered, kDiscovery},
    {"discovery-dial-timeout", kDuration, "2s", kNotOffered, kDiscovery},
    {"discovery-request-timeout", kDuration, "5s", kNotOffered, kDiscovery},
    {"discovery-keepalive-time", kDuration, "2s", kNotOffered, kDiscovery},
    {"discovery-keepalive-timeout", kDuration, "6s", kNotOffered, kDiscovery},
    {"discovery-insecure-transport", kBool, "true", kNotOffered, kDiscovery},
    {"discovery-insecure-skip-tls-verify", kBool, "false", kNotOffered, kDiscovery},
    {"discovery-cert", kString, "", kNotOffered, kDiscovery},
    {"discovery-key", kString, "", kNotOffered, kDiscovery},
    {"discovery-cacert", kString, "", kNotOffered, kDiscovery},
    {"discovery-user", kString, "", kNotOffered, kDiscovery},
    {"discovery-password", kString, "", kNotOffered, kDiscovery},
    {"strict-reconfig-check", kBool, "true", kUsed,
     "refuse membership changes that endanger the quorum"},
    {"pre-vote", kBool, "true", kUsed, "ask before disturbing a leader"},
    {"auto-compaction-retention", kString, "0", kNotOffered, "automatic compaction"},
    {"auto-compaction-mode", kString, "periodic", kNotOffered, "automatic compaction"},
});

constexpr auto kSecurity = std::to_array<FlagSpec>({
    {"cert-file", kString, "", kNotOffered, kTls},
    {"key-file", kString, "", kNotOffered, kTls},
    {"client-cert-file", kString, "", kNotOffered, kTls},
    {"client-key-file", kString, "", kNotOffered, kTls},
    {"client-cert-auth", kBool, "false", kNotOffered, kTls},
    {"client-crl-file", kString, "", kNotOffered, kTls},
    {"client-cert-allowed-hostname", kList, "", kNotOffered, kTls},
    {"trusted-ca-file", kString, "", kNotOffered, kTls},
    {"auto-tls", kBool, "false", kNotOffered, kTls},
    {"peer-cert-file", kString, "", kNotOffered, kTls},
    {"peer-key-file", kString, "", kNotOffered, kTls},
    {"peer-client-cert-file", kString, "", kNotOffered, kTls},
    {"peer-client-key-file", kString, "", kNotOffered, kTls},
    {"peer-client-cert-auth", kBool, "false", kNotOffered, kTls},
    {"peer-trusted-ca-file", kString, "", kNotOffered, kTls},
    {"peer-cert-allowed-cn", kList, "", kNotOffered, kTls},
    {"peer-cert-allowed-hostname", kList, "", kNotOffered, kTls},
    {"peer-crl-file", kString, "", kNotOffered, kTls},
    {"peer-auto-tls", kBool, "false", kNotOffered, kTls},
    {"peer-skip-client-san-verification", kBool, "false", kNotOffered, kTls},
    {"self-signed-cert-validity", kUint, "1", kNotOffered, kTls},
    {"cipher-suites", kList, "", kNotOffered, kTls},
    {"tls-min-version", kString, "TLS1.2", kNotOffered, kTls},
    {"tls-max-version", kString, "", kNotOffered, kTls},
    {"cors", kList, "*", kNotOffered, "restricting origins"},
    {"host-whitelist", kList, "*", kNotOffered, "restricting host names"},
    {"auth-token", kString, "simple", kNotOffered, kAuth},
    {"bcrypt-cost", kUint, "10", kNotOffered, kAuth},
    {"auth-token-ttl", kUint, "300", kNotOffered, kAuth},
});

constexpr auto kObservability = std::to_array<FlagSpec>({
    {"enable-pprof", kBool, "false", kNone, "it profiles Go programs; use perf"},
    {"metrics", kString, "basic", kNotOffered, "extensive metrics"},
    {"listen-metrics-urls", kList, "", kNotOffered, "a separate metrics port"},
    {"logger", kString, "zap", kNone, "it names a Go library"},
    {"log-outputs", kList, "default", kUsed, "default or stderr, both the standard error"},
    {"log-level", kString, "info", kUsed, "debug, info, warn or error"},
    {"log-format", kString, "json", kUsed, "json or console"},
    {"enable-log-rotation", kBool, "false", kNotOffered, "rotating log files"},
    {"log-rotation-config-json", kString,
     R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})",
     kNone, "only rotating log files would read it"},
    {"warning-unary-request-duration", kDuration, "300ms", kNotOffered, "warning of slow requests"},
    {"enable-distributed-tracing", kBool, "false", kNotOffered, kTracing},
    {"distributed-tracing-address", kString, "localhost:4317", kNotOffered, kTracing},
    {"distributed-tracing-service-name", kString, "etcd", kNotOffered, kTracing},
    {"distributed-tracing-instance-id", kString, "", kNotOffered, kTracing},
    {"distributed-tracing-sampling-rate", kUint, "0", kNotOffered, kTracing},
});

constexpr auto kFeatures = std::to_array<FlagSpec>({
    {"corrupt-check-time", kDuration, "0s", kUsed,
     "time between comparisons of what members have applied; 0 = none, else 1s or more"},
    {"compact-hash-check-time", kDuration, "1m", kNotOffered, "comparing members"},
    {"compaction-batch-limit", kUint, "1000", kNone, "compaction paces itself"},
    {"compaction-sleep-interval", kDuration, "10ms", kNone, "compaction paces itself"},
    {"watch-progress-notify-interval", kDuration, "10m", kUsed,
     "time without events after which a watcher that asked for it is told how far it is"},
    {"warning-apply-duration", kDuration, "100ms", kNotOffered, "warning of slow applies"},
    {"bootstrap-defrag-threshold-megabytes", kUint, "0", kNone, "there is nothing to defragment"},
    {"max-learners", kUint, "1", kUsed, "learners at a time"},
    {"downgrade-check-time", kDuration, "5s", kNotOffered, "downgrading"},
    {"experimental-wait-cluster-ready-timeout", kDuration, "5s", kNotOffered, kPeers},
    {"experimental-initial-corrupt-check", kBool, "false", kNotOffered, kGate},
    {"experimental-compact-hash-check-enabled", kBool, "false", kNotOffered, kGate},
    {"experimental-enable-lease-checkpoint", kBool, "false", kNone, kCheckpoints},
    {"experimental-enable-lease-checkpoint-persist", kBool, "false", kNone, kCheckpoints},
    {"experimental-stop-grpc-service-on-defrag", kBool, "false", kNone,
     "no defragmentation stops it"},
    {"experimental-txn-mode-write-with-shared-buffer", kBool, "true", kNone, kBbolt},
    {"experimental-set-member-localaddr", kBool, "false", kNotOffered, kPeers},
    {"enable-v2", kBool, "false", kNotOffered, "the v2 API"},
    {"v2-deprecation", kString, "not-yet", kNone, "there is no v2 store here"},
    {"proxy", kString, "off", kNotOffered, kProxy},
    {"proxy-failure-wait", kUint, "5000", kNone, kNoProxy},
    {"proxy-refresh-interval", kUint, "30000", kNone, kNoProxy},
    {"proxy-dial-timeout", kUint, "1000", kNone, kNoProxy},
    {"proxy-write-timeout", kUint, "5000", kNone, kNoProxy},
    {"proxy-read-timeout", kUint, "0", kNone, kNoProxy},
});

constexpr auto kUnsafe = std::to_array<FlagSpec>({
    {"force-new-cluster", kBool, "false", kUsed,
     "makes the survivor of a lost majority a cluster of one; reports what may be lost"},
    {"unsafe-no-fsync", kBool, "false", kNotOffered, "answering writes before they are durable"},
});

constexpr auto kOther = std::to_array<FlagSpec>({
    {"config-file", kString, "", kUsed, "YAML file; flags and environment are then ignored"},
});

constexpr auto kMetaStore = std::to_array<FlagSpec>({
    {"reactors", kUint, "1", kUsed, "threads that serve, one io_uring each"},
    {"cpu-list", kString, "", kUsed, "CPUs to pin the reactors to, as 0-3,6; one each"},
    {"spin", kBool, "false", kUsed, "poll for 200us while a write is under way, then sleep"},
    {"storage-engine", kString, "memory", kUsed, "memory"},
    {"wal-durable-method", kString, "dsync", kUsed, "dsync, fdatasync or linked"},
    {"wal-depth", kUint, "1", kUsed, "log writes under way at once, 1 or 2"},
    {"batch-policy", kString, "natural", kUsed,
     "natural: what arrives during a flush joins the next; adaptive: waits for a batch; off: one "
     "write, one flush"},
    {"batch-enable", kBool, "false", kUsed, "the same as --batch-policy=adaptive"},
    {"batch-min-batch-size", kUint, "1", kUsed, "adaptive: proposals of a batch without load"},
    {"batch-max-batch-size", kUint, "256", kUsed, "adaptive: proposals of a batch at full load"},
    {"batch-min-timeout", kDuration, "5ms", kUsed, "adaptive: longest wait for it without load"},
    {"batch-max-timeout", kDuration, "20ms", kUsed, "adaptive: longest wait for it at full load"},
    {"batch-load-threshold", kString, "0.7", kUsed,
     "adaptive: where half of the maxima is reached"},
    {"force-new-cluster-plan", kBool, "false", kUsed,
     "only writes the report of --force-new-cluster, and ends"},
    {"max-connections", kUint, "20000", kUsed, "client connections"},
    {"read-mode", kString, "index", kUsed,
     "index: a leader asks a majority before linearizable reads; lease: not while no other can "
     "have "
     "been elected, if clocks differ by less than a tenth; the same on all members"},
    {"lease-checkpoint-interval", kDuration, "5m", kUsed,
     "after which a leader notes in the log what a lease has left, for the next one; 1s or more"},
    {"repair-from-peers", kBool, "true", kUsed,
     "a member whose log is damaged sets it aside and gets everything from the others again"},
    {"peer-compression", kString, "off", kUsed,
     "zstd between members: off, fast or dense; from 1 KiB on"},
    {"snapshot-send-rate", kUint, "0", kUsed,
     "bytes a second of a snapshot sent to a member; 0 = no limit"},
    {"experimental-wal-segment-bytes", kUint, "67108864", kUsed,
     "bytes of a log segment, and of log between snapshots; small ones are for tests"},
    {"experimental-io-trace", kString, "", kUsed,
     "new file for a trace of all disk operations, for walinspect crashtest; slow"},
});

constexpr auto kSections = std::to_array<FlagSection>({
    {"Member", kMember},
    {"Clustering", kClustering},
    {"Security", kSecurity},
    {"Observability", kObservability},
    {"Features", kFeatures},
    {"Unsafe", kUnsafe},
    {"Other", kOther},
    {"MetaStore's own", kMetaStore},
});

constexpr auto kAliases = std::to_array<FlagAlias>({
    {"experimental-memory-mlock", "memory-mlock"},
    {"experimental-snapshot-catchup-entries", "snapshot-catchup-entries"},
    {"experimental-corrupt-check-time", "corrupt-check-time"},
    {"experimental-compact-hash-check-time", "compact-hash-check-time"},
    {"experimental-compaction-batch-limit", "compaction-batch-limit"},
    {"experimental-compaction-sleep-interval", "compaction-sleep-interval"},
    {"experimental-watch-progress-notify-interval", "watch-progress-notify-interval"},
    {"experimental-warning-apply-duration", "warning-apply-duration"},
    {"experimental-warning-unary-request-duration", "warning-unary-request-duration"},
    {"experimental-bootstrap-defrag-threshold-megabytes", "bootstrap-defrag-threshold-megabytes"},
    {"experimental-max-learners", "max-learners"},
    {"experimental-downgrade-check-time", "downgrade-check-time"},
    {"experimental-backend-bbolt-freelist-type", "backend-bbolt-freelist-type"},
    {"experimental-peer-skip-client-san-verification", "peer-skip-client-san-verification"},
    {"experimental-enable-distributed-tracing", "enable-distributed-tracing"},
    {"experimental-distributed-tracing-address", "distributed-tracing-address"},
    {"experimental-distributed-tracing-service-name", "distributed-tracing-service-name"},
    {"experimental-distributed-tracing-instance-id", "distributed-tracing-instance-id"},
    {"experimental-distributed-tracing-sampling-rate", "distributed-tracing-sampling-rate"},
});

std::string HelpLine(const FlagSpec& flag) {
  std::string line = Concat("  --", flag.name);
  if (!flag.default_text.empty()) line += Concat(" (", flag.default_text, ")");
  line.resize(std::max<size_t>(line.size() + 1, 50), ' ');
  switch (flag.effect) {
    case kUsed:
      return Concat(line, flag.note, "\n");
    case kNone:
      return Concat(line, "no effect: ", flag.note, "\n");
    case kNotOffered:
      return Concat(line, "not offered: ", flag.note, "\n");
  }
  return line;
}

}  // namespace

std::span<const FlagSection> FlagSections() { return kSections; }

std::span<const FlagAlias> FlagAliases() { return kAliases; }

const FlagSpec* FindFlag(std::string_view name) {
  for (const FlagAlias& alias : kAliases) {
    if (alias.old_name == name) name = alias.name;
  }
  for (const FlagSection& section : kSections) {
    const auto found = std::ranges::find(section.flags, name, &FlagSpec::name);
    if (found != section.flags.end()) return &*found;
  }
  return nullptr;
}

std::string HelpText() {
  std::string text =
      "usage: metastore [--flag=value]...\n\n"
      "A replicated metadata store that speaks the etcd v3 API. Each flag --x-y can also be set "
      "as\n"
      "ETCD_X_Y in the environment, or as x-y in the file that --config-file names.\n";
  for (const FlagSection& section : kSections) {
    text += Concat("\n", section.title, " (default in parentheses):\n");
    for (const FlagSpec& flag : section.flags) text += HelpLine(flag);
  }
  text +=
      "\n  --version  prints the version\n  --help     prints this\n\n"
      "etcd 3.5's and 3.6's --experimental-x is understood where --x is.\n";
  return text;
}

std::string EnvironmentName(std::string_view flag) {
  std::string name = "ETCD_";
  for (char c : flag) {
    if (c == '-') c = '_';
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    name += c;
  }
  return name;
}

void Gathered::Add(std::string_view flag_name, std::string value, std::string origin) {
  const FlagSpec* flag = FindFlag(flag_name);
  if (flag == nullptr) {
    problems.push_back(Concat(origin, ": no such setting"));
    return;
  }
  if (flag->name != flag_name) {
    warnings.push_back(Concat(origin, ": an old spelling of ", flag->name));
  }
  const auto [position, added] =
      settings.try_emplace(std::string(flag->name), Setting{.value = value, .origin = origin});
  if (!added) problems.push_back(Concat(origin, ": given already as ", position->second.origin));
}

}  // namespace metastore::server
