// Aim: flags, environment and file become one checked configuration, or one error that lists every
// problem. Method: ParseConfig on argument lists, environments and file texts.
#include "server/config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "server/config_flags.h"

namespace metastore::server {
namespace {

class ConfigTest : public testing::Test {
 protected:
  StatusOr<ParsedConfig> Parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "metastore");
    return ParseConfig(static_cast<int>(arguments.size()), arguments.data(), sources_);
  }

  StatusOr<ParsedConfig> ParseFile(std::string text) {
    file_ = std::move(text);
    return Parse({"--config-file", "c.yml"});
  }

  Config Good(std::vector<const char*> arguments) {
    StatusOr<ParsedConfig> parsed = Parse(std::move(arguments));
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return parsed.ok() ? parsed->config : Config{};
  }

  // The problems' lines.
  static std::string Problems(const StatusOr<ParsedConfig>& parsed) {
    EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument);
    return std::string(parsed.status().message());
  }

  static void ExpectProblem(const StatusOr<ParsedConfig>& parsed, std::string_view what) {
    const std::string problems = Problems(parsed);
    EXPECT_TRUE(problems.starts_with("the configuration has 1 problem:")) << problems;
    EXPECT_NE(problems.find(what), std::string::npos) << problems << "\nwanted: " << what;
  }

  static bool Warned(const StatusOr<ParsedConfig>& parsed, std::string_view what) {
    return std::ranges::any_of(parsed->warnings, [&](const std::string& warning) {
      return warning.find(what) != std::string::npos;
    });
  }

  std::string file_;
  ConfigSources sources_{.environment = {},
                         .read_file = [this](const std::string& path) -> StatusOr<std::string> {
                           if (path != "c.yml") return NotFoundError("cannot read it");
                           return file_;
                         }};
};

TEST_F(ConfigTest, DefaultsAreEtcds) {
  const StatusOr<ParsedConfig> parsed = Parse({});
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed->warnings.empty());
  EXPECT_EQ(parsed->action, ConfigAction::kRun);
  const Config& config = parsed->config;
  EXPECT_EQ(config.member.name, "default");
  EXPECT_EQ(config.member.data_dir, "default.etcd");
  EXPECT_EQ(config.member.wal_dir, "default.etcd/member/wal");
  EXPECT_EQ(ToStrings(config.member.listen_client_urls),
            std::vector<std::string>{"http://localhost:2379"});
  EXPECT_EQ(ToStrings(config.member.listen_peer_urls),
            std::vector<std::string>{"http://localhost:2380"});
  EXPECT_EQ(
      config.cluster.initial_cluster,
      (std::vector<InitialMember>{{.name = "default", .peer_urls = {"http://localhost:2380"}}}));
  EXPECT_EQ(config.cluster.initial_state, ClusterState::kNew);
  EXPECT_EQ(config.cluster.token, "etcd-cluster");
  EXPECT_EQ(config.raft.heartbeat_interval, Milliseconds(100));
  EXPECT_EQ(config.raft.election_ticks(), 10);
  EXPECT_TRUE(config.raft.pre_vote);
  EXPECT_EQ(config.raft.snapshot_count, 10000U);
  EXPECT_EQ(config.raft.snapshot_catchup_entries, 5000U);
  EXPECT_EQ(config.request.request_bytes_max, 1572864U);
  EXPECT_EQ(config.request.txn_ops_max, 128U);
  EXPECT_EQ(config.request.quota_bytes, 0);
  EXPECT_EQ(config.net.connections_max, limits::kConnectionsMax);
  EXPECT_EQ(config.net.concurrent_streams_max, UINT32_MAX);
  EXPECT_EQ(config.net.keepalive_interval, Seconds(7200));
  EXPECT_EQ(config.storage.wal_durable_method, io::DurableMethod::kDsync);
  EXPECT_EQ(config.storage.wal_depth, 1);
  EXPECT_EQ(config.runtime.reactors, 1);
  EXPECT_TRUE(config.runtime.cpu_list.empty());
  EXPECT_EQ(config.log.level, io::LogLevel::kInfo);
  EXPECT_EQ(config.log.format, LogFormat::kJson);
}

// What the structs say by themselves and what the table of flags says are written twice; they must
// agree.
TEST_F(ConfigTest, StructDefaultsAreTheFlagsDefaults) {
  const Config parsed = Good({});
  const Config plain;
  EXPECT_EQ(parsed.raft.heartbeat_interval, plain.raft.heartbeat_interval);
  EXPECT_EQ(parsed.raft.election_timeout, plain.raft.election_timeout);
  EXPECT_EQ(parsed.raft.snapshot_count, plain.raft.snapshot_count);
  EXPECT_EQ(parsed.raft.snapshot_catchup_entries, plain.raft.snapshot_catchup_entries);
  EXPECT_EQ(parsed.request.request_bytes_max, plain.request.request_bytes_max);
  EXPECT_EQ(parsed.request.txn_ops_max, plain.request.txn_ops_max);
  EXPECT_EQ(parsed.net.connections_max, plain.net.connections_max);
  EXPECT_EQ(parsed.net.keepalive_min_time, plain.net.keepalive_min_time);
  EXPECT_EQ(parsed.net.keepalive_interval, plain.net.keepalive_interval);
  EXPECT_EQ(parsed.net.keepalive_timeout, plain.net.keepalive_timeout);
  EXPECT_EQ(parsed.cluster.token, plain.cluster.token);
}

TEST_F(ConfigTest, EveryUsedFlagReachesItsField) {
  const Config config = Good({"--name=n",
                              "--data-dir",
                              "d",
                              "-wal-dir=w",
                              "--snapshot-count=7",
                              "--snapshot-catchup-entries=8",
                              "--heartbeat-interval=10",
                              "--election-timeout=60",
                              "--pre-vote=false",
                              "--max-request-bytes=100",
                              "--max-txn-ops=9",
                              "--quota-backend-bytes",
                              "-5",
                              "--max-connections=3",
                              "--max-concurrent-streams=4",
                              "--grpc-keepalive-min-time=1s",
                              "--grpc-keepalive-interval=2m",
                              "--grpc-keepalive-timeout=3s",
                              "--wal-durable-method=linked",
                              "--wal-depth=2",
                              "--reactors=2",
                              "--cpu-list=1,3",
                              "--spin",
                              "--log-level=debug",
                              "--log-format=console",
                              "--log-outputs=stderr",
                              "--initial-cluster=n=http://localhost:2380,o=http://o:1",
                              "--initial-cluster-state=existing",
                              "--initial-cluster-token=t"});
  EXPECT_EQ(config.member.name, "n");
  EXPECT_EQ(config.member.data_dir, "d");
  EXPECT_EQ(config.member.wal_dir, "w");
  EXPECT_EQ(config.cluster.initial_cluster[0].name, "n");
  EXPECT_EQ(config.cluster.initial_state, ClusterState::kExisting);
  EXPECT_EQ(config.cluster.token, "t");
  EXPECT_EQ(config.raft.snapshot_count, 7U);
  EXPECT_EQ(config.raft.snapshot_catchup_entries, 8U);
  EXPECT_EQ(config.raft.election_ticks(), 6);
  EXPECT_FALSE(config.raft.pre_vote);
  EXPECT_EQ(config.request.request_bytes_max, 100U);
  EXPECT_EQ(config.request.txn_ops_max, 9U);
  EXPECT_EQ(config.request.quota_bytes, -5);
  EXPECT_EQ(config.net.connections_max, 3U);
  EXPECT_EQ(config.net.concurrent_streams_max, 4U);
  EXPECT_EQ(config.net.keepalive_min_time, Seconds(1));
  EXPECT_EQ(config.net.keepalive_interval, Seconds(120));
  EXPECT_EQ(config.net.keepalive_timeout, Seconds(3));
  EXPECT_EQ(config.storage.wal_durable_method, io::DurableMethod::kLinked);
  EXPECT_EQ(config.storage.wal_depth, 2);
  EXPECT_EQ(config.runtime.reactors, 2);
  EXPECT_EQ(config.runtime.cpu_list, (std::vector<int>{1, 3}));
  EXPECT_EQ(config.runtime.spin, Microseconds(200));
  EXPECT_EQ(config.log.level, io::LogLevel::kDebug);
  EXPECT_EQ(config.log.format, LogFormat::kConsole);
}

TEST_F(ConfigTest, FlagsForCrashTestsReachTheirFields) {
  const Config config = Good({"--experimental-wal-segment-bytes=262144",
                              "--max-request-bytes=20000", "--experimental-io-trace=t"});
  EXPECT_EQ(config.storage.wal_segment_bytes, 262144U);
  EXPECT_EQ(config.runtime.io_trace, "t");
  EXPECT_EQ(Good({}).storage.wal_segment_bytes, limits::kSegmentBytes);
  EXPECT_EQ(Good({}).runtime.io_trace, "");
  ExpectProblem(Parse({"--experimental-wal-segment-bytes=262144"}), "does not fit: at most 28672");
}

TEST_F(ConfigTest, DataDirFollowsTheName) {
  EXPECT_EQ(Good({"--name", "infra0"}).member.data_dir, "infra0.etcd");
}

TEST_F(ConfigTest, TheLastOfSeveralCounts) {
  EXPECT_EQ(Good({"--name=a", "--name=b", "--pre-vote", "--pre-vote=false"}).member.name, "b");
}

TEST_F(ConfigTest, AnEmptyValueIsAValue) {
  EXPECT_EQ(Good({"--data-dir=", "--wal-dir", "", "-name=a"}).member.data_dir, "a.etcd");
}

TEST_F(ConfigTest, BooleanFlagsTakeNoSeparateValue) {
  EXPECT_TRUE(Good({"--pre-vote"}).raft.pre_vote);
  EXPECT_FALSE(Good({}).raft.lease_reads);
  EXPECT_TRUE(Good({"--read-mode=lease"}).raft.lease_reads);
  ExpectProblem(Parse({"--read-mode=stale"}), "must be one of: index, lease");
  ExpectProblem(Parse({"--pre-vote", "false"}), "false: an argument without a flag");
}

TEST_F(ConfigTest, EveryProblemIsListedAtOnce) {
  const std::string problems =
      Problems(Parse({"--bogus", "--heartbeat-interval=x", "--max-txn-ops=0", "--cert-file=c",
                      "--log-level=loud", "--listen-client-urls=https://localhost:1",
                      "--advertise-client-urls=http://h:1", "--name"}));
  EXPECT_TRUE(problems.starts_with("the configuration has 7 problems:")) << problems;
  for (const char* what : {"--bogus: no such flag", "--heartbeat-interval=x: expected a number",
                           "--max-txn-ops=0: must be", "--cert-file=c: not offered: TLS",
                           "--log-level=loud: must be one of: debug", "TLS is not offered yet",
                           "--name: needs a value"}) {
    EXPECT_NE(problems.find(what), std::string::npos) << what << "\n" << problems;
  }
}

TEST_F(ConfigTest, ValuesOutOfRangeAreRefused) {
  const struct {
    const char* flag;
    const char* what;
  } cases[] = {{"--name=", "must not be empty"},
               {"--name=a=b", "must not contain"},
               {"--heartbeat-interval=0", "must be from 1"},
               {"--election-timeout=50001", "must be from 1 to 50000"},
               {"--election-timeout=499", "at least 5 times --heartbeat-interval, 500 ms"},
               {"--max-request-bytes=4000000", "must be from 1"},
               {"--max-txn-ops=0", "must be from 1"},
               {"--max-connections=20001", "must be from 1 to 20000"},
               {"--max-concurrent-streams=4294967296", "must be from 1"},
               {"--grpc-keepalive-timeout=0", "must not be 0"},
               {"--wal-depth=3", "must be from 1 to 2"},
               {"--experimental-wal-segment-bytes=262143", "must be from 262144"},
               {"--experimental-wal-segment-bytes=20000001", "must be a multiple of 16384"},
               {"--wal-durable-method=osync", "must be one of: dsync, fdatasync, linked"},
               {"--storage-engine=lsm", "must be one of: memory"},
               {"--batch-policy=eager", "must be one of: natural, adaptive, off"},
               {"--batch-min-batch-size=300", "must not be below --batch-min-batch-size"},
               {"--batch-max-batch-size=0", "must be from 1"},
               {"--batch-min-timeout=1s", "must not be below --batch-min-timeout"},
               {"--batch-load-threshold=1", "above 0 and below 1"},
               {"--batch-load-threshold=much", "above 0 and below 1"},
               {"--reactors=65", "must be from 1 to 64"},
               {"--cpu-list=0-", "expected CPU numbers"},
               {"--cpu-list=0,1", "names 2 CPUs for 1 reactors"},
               {"--log-format=xml", "must be one of: json, console"},
               {"--log-outputs=/var/log/a", "not offered"},
               {"--initial-cluster-state=old", "must be one of: new, existing"},
               {"--initial-cluster-token=", "must not be empty"},
               {"--listen-peer-urls=http://localhost:2379", "clients and peers cannot share"},
               {"--listen-peer-urls=http://example.com:1", "expected an IP address or localhost"},
               {"--listen-client-urls=http://127.0.0.1:1", "--advertise-client-urls is required"},
               {"--quota-backend-bytes=2GiB", "expected a number"},
               {"--spin=5us", "expected true or false"},
               {"--watch-progress-notify-interval=99ms", "must be at least 100 ms"},
               {"--grpc-keepalive-interval=5", "expected a duration"}};
  for (const auto& one : cases) {
    SCOPED_TRACE(one.flag);
    ExpectProblem(Parse({one.flag}), one.what);
  }
}

TEST_F(ConfigTest, WhatIsNotOfferedIsRefusedUnlessItIsTheDefault) {
  for (const char* flag :
       {"--auto-tls", "--peer-trusted-ca-file=f", "--auth-token=jwt", "--discovery=http://d:1",
        "--auto-compaction-retention=1h", "--unsafe-no-fsync", "--cors=http://a",
        "--metrics=extensive", "--enable-v2", "--listen-metrics-urls=http://a:1",
        "--experimental-initial-corrupt-check", "--feature-gates=CompactHashCheck=true"}) {
    SCOPED_TRACE(flag);
    ExpectProblem(Parse({flag}), "not offered: ");
  }
  const StatusOr<ParsedConfig> defaults =
      Parse({"--auto-tls=false", "--auth-token=simple", "--auto-compaction-retention=0", "--cors=*",
             "--max-learners=1", "--compact-hash-check-time=60s",
             "--feature-gates=CompactHashCheck=false"});
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_TRUE(defaults->warnings.empty());
}

TEST_F(ConfigTest, WhatCannotHaveAnEffectIsAcceptedWithAWarning) {
  const StatusOr<ParsedConfig> parsed =
      Parse({"--backend-batch-limit=5", "--enable-pprof", "--max-wals=9",
             "--feature-gates=TxnModeWriteWithSharedBuffer=false,LeaseCheckpoint=true",
             "--logger=zap", "--experimental-enable-lease-checkpoint"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->warnings.size(), 6U);
  EXPECT_TRUE(Warned(parsed, "--backend-batch-limit=5: no effect"));
  EXPECT_TRUE(Warned(parsed, "TxnModeWriteWithSharedBuffer"));
}

TEST_F(ConfigTest, TheProgressIntervalIsTakenUnderBothNames) {
  for (const char* flag : {"--watch-progress-notify-interval=100ms",
                           "--experimental-watch-progress-notify-interval=100ms"}) {
    const StatusOr<ParsedConfig> parsed = Parse({flag});
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->config.request.watch_progress_interval, Milliseconds(100));
  }
}

TEST_F(ConfigTest, LeasesAreCheckpointedEverySecondAtMost) {
  const StatusOr<ParsedConfig> parsed = Parse({"--lease-checkpoint-interval=1s"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.raft.lease_checkpoint_interval, Seconds(1));
  ExpectProblem(Parse({"--lease-checkpoint-interval=999ms"}), "at least 1000 ms");
}

TEST_F(ConfigTest, BadFeatureGatesAreNamed) {
  ExpectProblem(Parse({"--feature-gates=Nope=true"}), "no such feature: Nope");
  ExpectProblem(Parse({"--feature-gates=LeaseCheckpoint"}), "Feature=true");
}

TEST_F(ConfigTest, OldSpellingsAreUnderstood) {
  const StatusOr<ParsedConfig> parsed = Parse({"--experimental-snapshot-catchup-entries=77"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.raft.snapshot_catchup_entries, 77U);
  EXPECT_TRUE(Warned(parsed, "an old spelling of snapshot-catchup-entries"));
  ExpectProblem(
      Parse({"--experimental-snapshot-catchup-entries=1", "--snapshot-catchup-entries=1"}),
      "given already as");
}

TEST_F(ConfigTest, ZeroSnapshotCountIsTheDefault) {
  EXPECT_EQ(Good({"--snapshot-count=0"}).raft.snapshot_count, 10000U);
}

// --- the cluster

TEST_F(ConfigTest, InitialClusterHoldsThisMember) {
  const Config config = Good({"--name=a", "--initial-cluster=a=http://h:2,a=http://h:1",
                              "--initial-advertise-peer-urls=http://h:1,http://h:2"});
  EXPECT_EQ(config.cluster.initial_cluster,
            (std::vector<InitialMember>{{.name = "a", .peer_urls = {"http://h:1", "http://h:2"}}}));
  ExpectProblem(Parse({"--initial-cluster=b=http://localhost:2380"}),
                "couldn't find local name \"default\"");
  ExpectProblem(Parse({"--initial-cluster=default=http://h:1"}),
                "differ from --initial-advertise-peer-urls");
  ExpectProblem(Parse({"--initial-cluster=http://h:1"}), "does not have the form name=URL");
  ExpectProblem(Parse({"--initial-cluster=default=h:1"}), "form http://host:port");
}

TEST_F(ConfigTest, AClusterIsItsMembersByName) {
  const StatusOr<ParsedConfig> parsed =
      Parse({"--initial-cluster=default=http://localhost:2380,b=http://b:1,b=http://b:2",
             "--peer-compression=dense", "--snapshot-send-rate=1000", "--max-learners=2",
             "--strict-reconfig-check=false"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Config& config = parsed->config;
  ASSERT_EQ(config.cluster.initial_cluster.size(), 2U);
  EXPECT_EQ(config.cluster.initial_cluster[0].name, "b");
  EXPECT_EQ(config.cluster.initial_cluster[0].peer_urls,
            (std::vector<std::string>{"http://b:1", "http://b:2"}));
  EXPECT_EQ(config.peer.compression, net::PeerCompression::kDense);
  EXPECT_EQ(config.peer.snapshot_bytes_per_second, 1000U);
  EXPECT_EQ(config.cluster.learners_max, 2);
  EXPECT_FALSE(config.cluster.strict_reconfig);
}

TEST_F(ConfigTest, AClusterHasAnEnd) {
  std::string members = "--initial-cluster=default=http://localhost:2380";
  for (int i = 0; i < 15; ++i) members += Concat(",m", i, "=http://h", i, ":1");
  ExpectProblem(Parse({members.c_str()}), "must name at most 15 members; it names 16");
}

TEST_F(ConfigTest, JoiningNeedsSomebodyToJoin) {
  ExpectProblem(Parse({"--initial-cluster-state=existing"}),
                "must name the members of the cluster to join");
}

TEST_F(ConfigTest, AnUnreachableAdvertisedAddressIsWarnedOf) {
  EXPECT_TRUE(Warned(Parse({"--listen-client-urls=http://0.0.0.0:2379",
                            "--advertise-client-urls=http://0.0.0.0:2379"}),
                     "clients cannot reach 0.0.0.0"));
}

// --- environment

TEST_F(ConfigTest, EnvironmentSetsWhatFlagsDoNot) {
  sources_.environment = {
      {"ETCD_NAME", "e"}, {"ETCD_MAX_TXN_OPS", "5"}, {"ETCD_DATA_DIR", ""}, {"PATH", "/bin"}};
  const Config config = Good({"--snapshot-count=3"});
  EXPECT_EQ(config.member.name, "e");
  EXPECT_EQ(config.member.data_dir, "e.etcd");
  EXPECT_EQ(config.request.txn_ops_max, 5U);
  EXPECT_EQ(config.raft.snapshot_count, 3U);
}

TEST_F(ConfigTest, FlagAndVariableTogetherAreFatal) {
  sources_.environment = {{"ETCD_NAME", "e"}};
  ExpectProblem(Parse({"--name=e"}), "conflicting environment variable \"ETCD_NAME\" is shadowed");
}

TEST_F(ConfigTest, UnknownVariablesAreWarnedOf) {
  sources_.environment = {{"ETCD_FOO", "1"}, {"ETCD_UNSUPPORTED_ARCH", "arm64"}};
  const StatusOr<ParsedConfig> parsed = Parse({});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->warnings,
            std::vector<std::string>{"ETCD_FOO: unrecognized environment variable"});
}

TEST_F(ConfigTest, ProblemsOfVariablesNameThem) {
  sources_.environment = {{"ETCD_MAX_TXN_OPS", "many"}};
  ExpectProblem(Parse({}), "ETCD_MAX_TXN_OPS=many: expected a number");
}

TEST_F(ConfigTest, ProcessSourcesHoldTheEnvironment) {
  const ConfigSources sources = ProcessConfigSources();
  EXPECT_TRUE(sources.environment.contains("PATH"));
  EXPECT_FALSE(sources.read_file("/nonexistent/file").ok());
}

// --- file

TEST_F(ConfigTest, BatchBlockOfTheFileChoosesTheAdaptivePolicy) {
  const StatusOr<ParsedConfig> parsed = ParseFile(
      "batch:\n"
      "  enable: true\n"
      "  min_batch_size: 2\n"
      "  max_batch_size: 64\n"
      "  min_timeout: 1ms\n"
      "  max_timeout: 4ms\n"
      "  load_threshold: 0.5\n");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const StorageConfig& storage = parsed->config.storage;
  EXPECT_EQ(storage.batch_policy, BatchPolicyKind::kAdaptive);
  EXPECT_EQ(storage.batch.size_min, 2u);
  EXPECT_EQ(storage.batch.size_max, 64u);
  EXPECT_EQ(storage.batch.wait_min, Milliseconds(1));
  EXPECT_EQ(storage.batch.wait_max, Milliseconds(4));
  EXPECT_EQ(storage.batch.load_threshold, 0.5);
  ExpectProblem(ParseFile("batch: {enable: true, policy: off}"), "asks for the adaptive policy");
  ExpectProblem(ParseFile("batch: {size: 5}"), "batch.size: no such setting");
}

TEST_F(ConfigTest, FileSetsEverything) {
  const StatusOr<ParsedConfig> parsed = ParseFile(
      "name: f\n"
      "heartbeat-interval: 50\n"
      "grpc-keepalive-min-time: 7000000000\n"
      "grpc-keepalive-timeout: 9s\n"
      "listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n"
      "advertise-client-urls: http://127.0.0.1:1\n"
      "quota-backend-bytes: -1\n"
      "pre-vote: false\n"
      "log-outputs: [stderr]\n"
      "cipher-suites: []\n"
      "wal-dir:\n"
      "discovery: ''\n"
      "auto-compaction-retention: \"0\"\n"
      "client-transport-security:\n  cert-file:\n  client-cert-auth: false\n"
      "peer-transport-security: {auto-tls: false}\n"
      "socket-options: {reuse-port: false}\n");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->warnings.empty());
  const Config& config = parsed->config;
  EXPECT_EQ(config.member.name, "f");
  EXPECT_EQ(config.raft.heartbeat_interval, Milliseconds(50));
  EXPECT_EQ(config.net.keepalive_min_time, Seconds(7));
  EXPECT_EQ(config.net.keepalive_timeout, Seconds(9));
  EXPECT_EQ(config.member.listen_client_urls.size(), 2U);
  EXPECT_EQ(config.request.quota_bytes, -1);
  EXPECT_FALSE(config.raft.pre_vote);
  EXPECT_EQ(config.member.wal_dir, "f.etcd/member/wal");
}

TEST_F(ConfigTest, TheFileInDeployIsGood) {
  const std::string path = MS_TEST_DATA "/../../deploy/metastore.yml";
  const StatusOr<std::string> text = ProcessConfigSources().read_file(path);
  ASSERT_TRUE(text.ok()) << text.status();
  const StatusOr<ParsedConfig> parsed = ParseFile(*text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->warnings.empty());
  EXPECT_EQ(parsed->config.member.data_dir, "/var/lib/metastore");
}

TEST_F(ConfigTest, JsonIsYamlToo) {
  const StatusOr<ParsedConfig> parsed = ParseFile(R"({"name": "j", "max-txn-ops": 4})");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.member.name, "j");
  EXPECT_EQ(parsed->config.request.txn_ops_max, 4U);
}

TEST_F(ConfigTest, FileDisplacesFlagsAndEnvironment) {
  sources_.environment = {{"ETCD_MAX_TXN_OPS", "5"}};
  file_ = "name: f\n";
  const StatusOr<ParsedConfig> parsed = Parse({"--config-file=c.yml", "--name=flag"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->config.member.name, "f");
  EXPECT_EQ(parsed->config.request.txn_ops_max, 128U);
  EXPECT_TRUE(Warned(parsed, "--name=flag: ignored, since the configuration is c.yml"));
  EXPECT_TRUE(Warned(parsed, "ETCD_MAX_TXN_OPS=5: ignored"));
}

TEST_F(ConfigTest, FileMayBeNamedByTheEnvironment) {
  sources_.environment = {{"ETCD_CONFIG_FILE", "c.yml"}};
  file_ = "name: f\n";
  EXPECT_EQ(Good({}).member.name, "f");
}

TEST_F(ConfigTest, ProblemsOfTheFileAreListedWithTheirPlace) {
  const StatusOr<ParsedConfig> parsed = ParseFile(
      "bogus: 1\n"
      "name: [a, b]\n"
      "max-txn-ops: {a: 1}\n"
      "config-file: other.yml\n"
      "peer-transport-security: [1]\n"
      "client-transport-security: {cert-file: c, nope: 1}\n"
      "listen-client-urls: [[http://a:1]]\n"
      "snapshot-count: many\n"
      "[1, 2]: x\n");
  const std::string problems = Problems(parsed);
  EXPECT_TRUE(problems.starts_with("the configuration has 10 problems:")) << problems;
  for (const char* what :
       {"c.yml: bogus: no such setting", "c.yml: name: expected one value, not a list",
        "c.yml: max-txn-ops: expected a plain value", "c.yml: config-file: no such setting",
        "c.yml: peer-transport-security: expected a map",
        "client-transport-security.cert-file: c in c.yml: not offered: TLS",
        "c.yml: client-transport-security.nope: no such setting",
        "c.yml: listen-client-urls: expected a list of plain values",
        "snapshot-count: many in c.yml: expected a number",
        "c.yml: a key: expected the name of a flag"}) {
    EXPECT_NE(problems.find(what), std::string::npos) << what << "\n" << problems;
  }
}

TEST_F(ConfigTest, UnreadableAndBrokenFilesAreProblems) {
  ExpectProblem(Parse({"--config-file=absent.yml"}), "absent.yml: cannot read it");
  ExpectProblem(ParseFile("name: [a"), "c.yml: ");
  ExpectProblem(ParseFile(std::string(100000, '[')), "c.yml: ");
  ExpectProblem(ParseFile("just text"), "expected `flag: value` lines");
  ExpectProblem(ParseFile(std::string(2 << 20, ' ')), "larger than");
  EXPECT_TRUE(ParseFile("").ok());
}

// --- help

TEST_F(ConfigTest, HelpAndVersionComeBeforeEverything) {
  const StatusOr<ParsedConfig> help = Parse({"--bogus", "-h"});
  ASSERT_TRUE(help.ok());
  EXPECT_EQ(help->action, ConfigAction::kPrint);
  for (const FlagSection& section : FlagSections()) {
    for (const FlagSpec& flag : section.flags) {
      EXPECT_NE(help->text.find(Concat("--", flag.name)), std::string::npos) << flag.name;
    }
  }
  const StatusOr<ParsedConfig> version = Parse({"-version"});
  ASSERT_TRUE(version.ok());
  EXPECT_EQ(version->action, ConfigAction::kPrint);
  EXPECT_NE(version->text.find("metastore Version: "), std::string::npos);
}

TEST(ConfigFlags, NamesAreUniqueAndDefaultsPassTheirOwnCheck) {
  Settings settings;
  for (const FlagSection& section : FlagSections()) {
    for (const FlagSpec& flag : section.flags) {
      const auto [position, added] = settings.try_emplace(
          std::string(flag.name), Setting{.value = std::string(flag.default_text), .origin = "x"});
      EXPECT_TRUE(added) << flag.name;
      EXPECT_EQ(FindFlag(flag.name), &flag);
      EXPECT_FALSE(flag.note.empty()) << flag.name;
    }
  }
  for (const FlagAlias& alias : FlagAliases()) {
    EXPECT_FALSE(settings.contains(alias.old_name)) << alias.old_name;
    EXPECT_NE(FindFlag(alias.old_name), nullptr) << alias.old_name;
  }
  std::vector<std::string> problems;
  std::vector<std::string> warnings;
  CheckSettings(settings, problems, warnings);
  EXPECT_TRUE(problems.empty()) << problems[0];
  EXPECT_TRUE(warnings.empty()) << warnings[0];
}

}  // namespace
}  // namespace metastore::server
