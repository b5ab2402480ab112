// From checked settings to the typed Config: ranges, enumerations and the relations between flags.
#include <algorithm>
#include <array>
#include <utility>

#include "io/base/check.h"
#include "server/config_flags.h"
#include "server/config_values.h"

namespace metastore::server {
namespace {

using Lines = std::vector<std::string>;

// A client request becomes one log entry together with its header.
constexpr uint64_t kRequestBytesCap = limits::kEntryBytesMax - 64 * limits::kKiB;
// etcd's own bounds (embed.Config.Validate).
constexpr Duration kElectionTimeoutMax = Milliseconds(50000);
constexpr int64_t kElectionTicksMin = 5;
constexpr uint64_t kMillisecondsMax = 50000;
// Four frames of the least size that the log takes (wal/log.cc); a frame is a quarter of a segment.
constexpr uint64_t kSegmentBytesMin = 256 * limits::kKiB;
constexpr uint64_t kSegmentUnit = 4 * limits::kBlockBytes;
// What io/uring polls for when told to (io/uring/reactor_loop.cc).
constexpr Duration kSpin = Microseconds(200);
// A comparison walks all that is stored.
constexpr Duration kCompareEveryMin = Seconds(1);
constexpr Duration kCheckpointEveryMin = Seconds(1);
constexpr Duration kWatchProgressMin = Milliseconds(100);  // as etcd's

template <typename T>
struct Choice {
  std::string_view text;
  T value;
};

// Reads settings one by one; a value that cannot be read is the default, and its problem has been
// told already (CheckSettings) or is told here.
class Builder {
 public:
  Builder(const Settings& settings, Lines& problems, Lines& warnings)
      : settings_(settings), problems_(problems), warnings_(warnings) {}

  Config Build() {
    Config config;
    BuildMember(config.member);
    BuildCluster(config.member, config.cluster);
    BuildPeer(config.peer);
    BuildRaft(config.raft);
    BuildRequest(config.request);
    BuildNet(config.net);
    BuildStorage(config.storage);
    CheckSegments(config);
    BuildRuntime(config.runtime);
    BuildLog(config.log);
    CheckGates();
    return config;
  }

 private:
  bool IsSet(std::string_view flag) const { return settings_.find(flag) != settings_.end(); }

  std::string Text(std::string_view flag) const {
    const auto found = settings_.find(flag);
    if (found != settings_.end()) return found->second.value;
    const FlagSpec* spec = FindFlag(flag);
    CHECK(spec != nullptr);
    return std::string(spec->default_text);
  }

  // How the problem's line begins: what was written, or the flag and its default.
  std::string Origin(std::string_view flag) const {
    const auto found = settings_.find(flag);
    return found != settings_.end() ? found->second.origin : Concat("--", flag, "=", Text(flag));
  }

  template <typename... Args>
  void Problem(std::string_view flag, const Args&... args) {
    problems_.push_back(Concat(Origin(flag), ": ", args...));
  }

  // A number within [low, high]. What is no number at all has been told by CheckSettings.
  uint64_t Uint(std::string_view flag, uint64_t low, uint64_t high) {
    const StatusOr<uint64_t> value = ParseUint(Text(flag));
    if (!value.ok()) return low;
    if (*value < low || *value > high) {
      Problem(flag, "must be from ", low, " to ", high);
      return low;
    }
    return *value;
  }

  bool Bool(std::string_view flag) const { return ParseBool(Text(flag)).value_or(false); }

  Duration Time(std::string_view flag) const {
    return ParseDuration(Text(flag)).value_or(Duration{});
  }

  template <typename T, size_t kCount>
  T OneOf(std::string_view flag, const std::array<Choice<T>, kCount>& choices) {
    const std::string text = Text(flag);
    std::string allowed;
    for (const Choice<T>& choice : choices) {
      if (choice.text == text) return choice.value;
      allowed += Concat(allowed.empty() ? "" : ", ", choice.text);
    }
    Problem(flag, "must be one of: ", allowed);
    return choices[0].value;
  }

  std::vector<Url> Urls(std::string_view flag) {
    StatusOr<std::vector<Url>> urls = ParseUrlList(Text(flag));
    if (urls.ok()) return *std::move(urls);
    Problem(flag, StdView(urls.status().message()));
    return {};
  }

  std::vector<Url> BoundUrls(std::string_view flag) {
    std::vector<Url> urls = Urls(flag);
    for (const Url& url : urls) {
      const StatusOr<io::Address> address = BindAddress(url);
      if (!address.ok()) Problem(flag, StdView(address.status().message()));
    }
    return urls;
  }

  void BuildMember(MemberConfig& member) {
    member.name = Text("name");
    if (member.name.empty()) Problem("name", "must not be empty");
    if (member.name.find_first_of("=,") != std::string::npos) {
      Problem("name", "must not contain '=' or ','");
    }
    member.data_dir = Text("data-dir");
    if (member.data_dir.empty()) member.data_dir = member.name + ".etcd";
    member.wal_dir = Text("wal-dir");
    if (member.wal_dir.empty()) member.wal_dir = member.data_dir + "/member/wal";

    member.listen_client_urls = BoundUrls("listen-client-urls");
    member.listen_peer_urls = BoundUrls("listen-peer-urls");
    for (const Url& url : member.listen_peer_urls) {
      if (std::ranges::find(member.listen_client_urls, url) == member.listen_client_urls.end())
        continue;
      Problem("listen-peer-urls", "clients and peers cannot share ", url.ToString());
    }
    BuildAdvertised(member);
  }

  void BuildAdvertised(MemberConfig& member) {
    member.initial_advertise_peer_urls = Urls("initial-advertise-peer-urls");
    member.advertise_client_urls = Urls("advertise-client-urls");
    if (IsSet("listen-client-urls") && !IsSet("advertise-client-urls")) {
      Problem("listen-client-urls",
              "--advertise-client-urls is required when --listen-client-urls is set explicitly");
    }
    for (const Url& url : member.advertise_client_urls) {
      if (url.host != "0.0.0.0" && url.host != "::") continue;
      warnings_.push_back(
          Concat(Origin("advertise-client-urls"), ": clients cannot reach ", url.host));
    }
  }

  void BuildCluster(const MemberConfig& member, ClusterConfig& cluster) {
    static constexpr auto kStates = std::to_array<Choice<ClusterState>>(
        {{"new", ClusterState::kNew}, {"existing", ClusterState::kExisting}});
    cluster.initial_state = OneOf("initial-cluster-state", kStates);
    cluster.token = Text("initial-cluster-token");
    if (cluster.token.empty()) Problem("initial-cluster-token", "must not be empty");
    cluster.strict_reconfig = Bool("strict-reconfig-check");
    cluster.repair_from_peers = Bool("repair-from-peers");
    cluster.learners_max = static_cast<int>(Uint("max-learners", 0, limits::kVotersMax));
    if (Bool("force-new-cluster")) cluster.force = ForceCluster::kDo;
    if (Bool("force-new-cluster-plan")) cluster.force = ForceCluster::kPlan;

    std::vector<std::string> own = ToStrings(member.initial_advertise_peer_urls);
    std::ranges::sort(own);
    if (Text("initial-cluster").empty()) {
      cluster.initial_cluster.push_back({.name = member.name, .peer_urls = own});
      CheckJoining(cluster);
      return;
    }
    if (!ParseInitialCluster(cluster.initial_cluster)) return;
    const auto self = std::ranges::find(cluster.initial_cluster, member.name, &InitialMember::name);
    if (self == cluster.initial_cluster.end()) {
      Problem("initial-cluster", "couldn't find local name \"", member.name,
              "\" in the initial cluster configuration");
    } else if (self->peer_urls != own) {
      Problem("initial-cluster", "the URLs of ", member.name,
              " differ from --initial-advertise-peer-urls=", Text("initial-advertise-peer-urls"));
    }
    if (cluster.initial_cluster.size() > limits::kVotersMax) {
      Problem("initial-cluster", "must name at most ", limits::kVotersMax, " members; it names ",
              cluster.initial_cluster.size());
    }
    CheckJoining(cluster);
  }

  void CheckJoining(const ClusterConfig& cluster) {
    if (cluster.initial_state == ClusterState::kNew || cluster.initial_cluster.size() > 1) return;
    Problem("initial-cluster",
            "must name the members of the cluster to join, with --initial-cluster-state=existing");
  }

  void BuildPeer(PeerConfig& peer) {
    static constexpr auto kLevels =
        std::to_array<Choice<net::PeerCompression>>({{"off", net::PeerCompression::kOff},
                                                     {"fast", net::PeerCompression::kFast},
                                                     {"dense", net::PeerCompression::kDense}});
    peer.compression = OneOf("peer-compression", kLevels);
    peer.snapshot_bytes_per_second = Uint("snapshot-send-rate", 0, UINT64_MAX);
  }

  // name=url,name=url,...; a name may come several times, once for each of its URLs. False:
  // problems were told.
  bool ParseInitialCluster(std::vector<InitialMember>& members) {
    std::map<std::string, std::vector<std::string>> by_name;
    bool good = true;
    for (const std::string& part : SplitList(Text("initial-cluster"))) {
      const size_t equals = part.find('=');
      if (equals == 0 || equals == std::string::npos) {
        Problem("initial-cluster", "\"", part, "\" does not have the form name=URL");
        good = false;
        continue;
      }
      StatusOr<Url> url = ParseUrl(std::string_view(part).substr(equals + 1));
      if (!url.ok()) Problem("initial-cluster", StdView(url.status().message()));
      good = good && url.ok();
      if (url.ok()) by_name[part.substr(0, equals)].push_back(url->ToString());
    }
    for (auto& [name, urls] : by_name) {
      std::ranges::sort(urls);
      members.push_back({.name = name, .peer_urls = std::move(urls)});
    }
    return good;
  }

  void BuildRaft(RaftConfig& raft) {
    const size_t problems_before = problems_.size();
    raft.heartbeat_interval =
        Milliseconds(static_cast<int64_t>(Uint("heartbeat-interval", 1, kMillisecondsMax)));
    raft.election_timeout =
        Milliseconds(static_cast<int64_t>(Uint("election-timeout", 1, kMillisecondsMax)));
    static_assert(kElectionTimeoutMax == Milliseconds(static_cast<int64_t>(kMillisecondsMax)));
    const Duration shortest = raft.heartbeat_interval * kElectionTicksMin;
    if (problems_.size() == problems_before && raft.election_timeout < shortest) {
      Problem("election-timeout", "should be at least 5 times --heartbeat-interval, ",
              shortest.ms(), " ms");
    }
    raft.pre_vote = Bool("pre-vote");
    static constexpr auto kReadModes =
        std::to_array<Choice<bool>>({{"index", false}, {"lease", true}});
    raft.lease_reads = OneOf("read-mode", kReadModes);
    raft.snapshot_count = Uint("snapshot-count", 0, UINT64_MAX);
    if (raft.snapshot_count == 0) raft.snapshot_count = RaftConfig{}.snapshot_count;
    raft.snapshot_catchup_entries = Uint("snapshot-catchup-entries", 0, UINT64_MAX);
    raft.corrupt_check_time = Time("corrupt-check-time");
    if (raft.corrupt_check_time != Duration{} && raft.corrupt_check_time < kCompareEveryMin) {
      Problem("corrupt-check-time", "must be 0 or at least ", kCompareEveryMin.ms(), " ms");
    }
    raft.lease_checkpoint_interval = Time("lease-checkpoint-interval");
    if (raft.lease_checkpoint_interval < kCheckpointEveryMin) {
      Problem("lease-checkpoint-interval", "must be at least ", kCheckpointEveryMin.ms(), " ms");
    }
  }

  void BuildRequest(RequestConfig& request) {
    request.request_bytes_max = Uint("max-request-bytes", 1, kRequestBytesCap);
    request.txn_ops_max = Uint("max-txn-ops", 1, limits::kEntryKeysMaxDefault);
    request.watch_progress_interval = Time("watch-progress-notify-interval");
    if (request.watch_progress_interval < kWatchProgressMin) {
      Problem("watch-progress-notify-interval", "must be at least ", kWatchProgressMin.ms(), " ms");
    }
    request.quota_bytes = ParseInt(Text("quota-backend-bytes")).value_or(0);
  }

  void BuildNet(NetConfig& net) {
    net.connections_max = Uint("max-connections", 1, limits::kConnectionsMax);
    net.concurrent_streams_max =
        static_cast<uint32_t>(Uint("max-concurrent-streams", 1, UINT32_MAX));
    net.keepalive_min_time = Time("grpc-keepalive-min-time");
    net.keepalive_interval = Time("grpc-keepalive-interval");
    net.keepalive_timeout = Time("grpc-keepalive-timeout");
    if (net.keepalive_timeout == Duration{}) Problem("grpc-keepalive-timeout", "must not be 0");
  }

  void BuildStorage(StorageConfig& storage) {
    static constexpr auto kEngines =
        std::to_array<Choice<StorageEngine>>({{"memory", StorageEngine::kMemory}});
    static constexpr auto kMethods =
        std::to_array<Choice<io::DurableMethod>>({{"dsync", io::DurableMethod::kDsync},
                                                  {"fdatasync", io::DurableMethod::kFdatasync},
                                                  {"linked", io::DurableMethod::kLinked}});
    storage.engine = OneOf("storage-engine", kEngines);
    storage.wal_durable_method = OneOf("wal-durable-method", kMethods);
    storage.wal_depth = static_cast<int>(Uint("wal-depth", 1, limits::kWalDepthMax));
    BuildSegments(storage);
    BuildBatch(storage);
  }

  void BuildSegments(StorageConfig& storage) {
    constexpr std::string_view kFlag = "experimental-wal-segment-bytes";
    const size_t problems_before = problems_.size();
    storage.wal_segment_bytes = Uint(kFlag, kSegmentBytesMin, limits::kGiB);
    if (storage.wal_segment_bytes % kSegmentUnit != 0) {
      Problem(kFlag, "must be a multiple of ", kSegmentUnit);
    }
    if (problems_.size() != problems_before) storage.wal_segment_bytes = limits::kSegmentBytes;
  }

  // A record is at most half a frame, and a frame a quarter of a segment.
  void CheckSegments(const Config& config) {
    const uint64_t room = config.storage.wal_segment_bytes / 8 - limits::kBlockBytes;
    if (config.request.request_bytes_max <= room) return;
    Problem("experimental-wal-segment-bytes",
            "a request of --max-request-bytes=", config.request.request_bytes_max,
            " does not fit: at most ", room);
  }

  void BuildBatch(StorageConfig& storage) {
    static constexpr auto kPolicies = std::to_array<Choice<BatchPolicyKind>>({
        {BatchPolicyName(BatchPolicyKind::kNatural), BatchPolicyKind::kNatural},
        {BatchPolicyName(BatchPolicyKind::kAdaptive), BatchPolicyKind::kAdaptive},
        {BatchPolicyName(BatchPolicyKind::kOff), BatchPolicyKind::kOff},
    });
    storage.batch_policy = OneOf("batch-policy", kPolicies);
    if (Bool("batch-enable")) {
      if (IsSet("batch-policy") && storage.batch_policy != BatchPolicyKind::kAdaptive) {
        Problem("batch-enable", "asks for the adaptive policy, --batch-policy for another");
      }
      storage.batch_policy = BatchPolicyKind::kAdaptive;
    }
    BatchOptions& batch = storage.batch;
    batch.size_min = Uint("batch-min-batch-size", 1, limits::kProposalsMax);
    batch.size_max = Uint("batch-max-batch-size", 1, limits::kProposalsMax);
    batch.wait_min = Time("batch-min-timeout");
    batch.wait_max = Time("batch-max-timeout");
    const StatusOr<double> threshold = ParseDecimal(Text("batch-load-threshold"));
    const bool within = threshold.ok() && *threshold > 0 && *threshold < 1;
    if (!within) Problem("batch-load-threshold", "must be a number above 0 and below 1");
    if (within) batch.load_threshold = *threshold;
    if (batch.size_max < batch.size_min) {
      Problem("batch-max-batch-size", "must not be below --batch-min-batch-size");
    }
    if (batch.wait_max < batch.wait_min) {
      Problem("batch-max-timeout", "must not be below --batch-min-timeout");
    }
  }

  void BuildRuntime(RuntimeConfig& runtime) {
    runtime.reactors = static_cast<int>(Uint("reactors", 1, limits::kReactorsMax));
    if (Bool("spin")) runtime.spin = kSpin;
    runtime.io_trace = Text("experimental-io-trace");
    StatusOr<std::vector<int>> cpus = ParseCpuList(Text("cpu-list"));
    if (!cpus.ok()) {
      Problem("cpu-list", StdView(cpus.status().message()));
      return;
    }
    runtime.cpu_list = *std::move(cpus);
    if (!runtime.cpu_list.empty() &&
        std::cmp_not_equal(runtime.cpu_list.size(), runtime.reactors)) {
      Problem("cpu-list", "names ", runtime.cpu_list.size(), " CPUs for ", runtime.reactors,
              " reactors (--reactors); give one each");
    }
  }

  void BuildLog(LogConfig& log) {
    static constexpr auto kLevels =
        std::to_array<Choice<io::LogLevel>>({{"debug", io::LogLevel::kDebug},
                                             {"info", io::LogLevel::kInfo},
                                             {"warn", io::LogLevel::kWarn},
                                             {"error", io::LogLevel::kError},
                                             {"dpanic", io::LogLevel::kError},
                                             {"panic", io::LogLevel::kError},
                                             {"fatal", io::LogLevel::kError}});
    static constexpr auto kFormats = std::to_array<Choice<LogFormat>>(
        {{"json", LogFormat::kJson}, {"console", LogFormat::kConsole}});
    log.level = OneOf("log-level", kLevels);
    log.format = OneOf("log-format", kFormats);
    const Lines outputs = SplitList(Text("log-outputs"));
    const bool stderr_only = std::ranges::all_of(outputs, [](const std::string& output) {
      return output == "default" || output == "stderr";
    });
    if (!stderr_only) Problem("log-outputs", "not offered: any but default and stderr");
  }

  void CheckGates() {
    struct Gate {
      std::string_view name;
      bool by_default;
      bool free;  // either value is true of this server
    };
    static constexpr auto kGates =
        std::to_array<Gate>({{"StopGRPCServiceOnDefrag", false, true},
                             {"InitialCorruptCheck", false, false},
                             {"CompactHashCheck", false, false},
                             {"TxnModeWriteWithSharedBuffer", true, true},
                             {"LeaseCheckpoint", false, true},
                             {"LeaseCheckpointPersist", false, true},
                             {"SetMemberLocalAddr", false, false},
                             {"FastLeaseKeepAlive", true, true},
                             {"PriorityRequest", false, false}});
    for (const std::string& part : SplitList(Text("feature-gates"))) {
      const size_t equals = part.find('=');
      const std::string_view name = std::string_view(part).substr(0, equals);
      const auto gate = std::ranges::find(kGates, name, &Gate::name);
      StatusOr<bool> value =
          ParseBool(equals == std::string::npos ? "" : std::string_view(part).substr(equals + 1));
      if (gate == kGates.end()) {
        Problem("feature-gates", "no such feature: ", name);
      } else if (!value.ok()) {
        Problem("feature-gates", "\"", part, "\" does not have the form Feature=true or =false");
      } else if (*value != gate->by_default && !gate->free) {
        Problem("feature-gates", "not offered: ", name);
      } else if (*value != gate->by_default) {
        warnings_.push_back(Concat(Origin("feature-gates"), ": no effect: ", name));
      }
    }
  }

  const Settings& settings_;
  Lines& problems_;
  Lines& warnings_;
};

}  // namespace

Config BuildConfig(const Settings& settings, std::vector<std::string>& problems,
                   std::vector<std::string>& warnings) {
  return Builder(settings, problems, warnings).Build();
}

}  // namespace metastore::server
