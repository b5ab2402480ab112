// Aim: the survivor of a lost majority becomes a cluster of one with everything it had, wherever it
// crashes on the way, and grows again; who was left behind cannot mix in; nothing is forced twice,
// or by mistake. Method: three whole nodes on simulated machines, two of which are lost; the third
// starts with --force-new-cluster from one image of its disk, with a crash at every operation.
// Needs io/sim and server/force_new_cluster.h.

#include <gtest/gtest.h>

#include <map>

#include "absl/strings/match.h"
#include "server/fence_mark.h"
#include "server/membership.h"
#include "tests/sim/kv_client.h"
#include "tests/sim/log_damage.h"
#include "tests/sim/node_harness.h"
#include "tests/sim/sim_node.h"

namespace metastore::sim_test {
namespace {

constexpr Duration kServes = Seconds(30);

struct Acknowledged {
  std::string value;
  int64_t revision = 0;
};

class ForceSim : public testing::Test {
 protected:
  ForceSim() : world_(2024), client_(world_.AddMachine("client")) {
    client_.StartProcess(1);
    for (const char* name : {"n1", "n2", "n3"}) {
      nodes_.push_back(std::make_unique<SimNode>(world_.AddMachine(name)));
    }
  }
  ~ForceSim() override {
    nodes_.clear();
    client_.EndProcess();
  }

  SimNode& n1() { return *nodes_[0]; }
  SimNode& n2() { return *nodes_[1]; }
  SimNode& n3() { return *nodes_[2]; }

  static std::string PeerUrl(SimNode& node) {
    return Concat("http://", node.machine().ip(), ":2380");
  }
  server::Config ConfigOf(SimNode& node) {
    server::Config config;
    config.member.name = node.machine().name();
    config.member.data_dir = "/data";
    config.member.listen_client_urls = {{"http", node.machine().ip(), 2379}};
    config.member.advertise_client_urls = config.member.listen_client_urls;
    config.member.listen_peer_urls = {{"http", node.machine().ip(), 2380}};
    config.member.initial_advertise_peer_urls = config.member.listen_peer_urls;
    for (const std::unique_ptr<SimNode>& one : nodes_) {
      config.cluster.initial_cluster.push_back({one->machine().name(), {PeerUrl(*one)}});
    }
    config.cluster.strict_reconfig = strict_reconfig_;
    config.raft.snapshot_count = snapshot_count_;
    config.storage.wal_segment_bytes = 256 * limits::kKiB;
    return config;
  }
  Status StartForced(server::ForceCluster force = server::ForceCluster::kDo) {
    server::Config config = ConfigOf(n3());
    config.cluster.force = force;
    n3().Start(std::move(config));
    return n3().Await(kServes);
  }
  Status StartPlainly(SimNode& node, Duration limit = kServes) {
    node.Start(ConfigOf(node));
    return node.Await(limit);
  }
  // Why a start failed, and the process taken away.
  std::string Words(const Status& status) {
    if (n3().exists()) n3().Stop();
    return status.ToString();
  }

  // Three members, and writes through n3, which are so in its log.
  void Found() {
    for (const std::unique_ptr<SimNode>& node : nodes_) node->Start(ConfigOf(*node));
    for (const std::unique_ptr<SimNode>& node : nodes_) ASSERT_EQ(node->Await(kServes), OkStatus());
    Write(60);
  }
  void Write(int count) {
    KvClient client(client_.runtime(), {n3().machine().ip(), 2379});
    for (int i = 0; i < count; ++i) {
      const std::string key = Concat("key", i % 40);
      const std::string value(1 + static_cast<size_t>(i) * 37, static_cast<char>('a' + i % 26));
      const StatusOr<PutAck> put = world_.Await(
          client_.runtime(), client.Put(key, value, client_.runtime().Now() + Seconds(10)));
      ASSERT_TRUE(put.ok()) << put.status();
      acknowledged_[key] = {value, put->revision};
    }
    world_.Await(client_.runtime(), client.Reset());
  }
  // The other two are lost for good, and n3 loses its power: its disk as it was.
  sim::SimImage LoseMajority() {
    n1().Kill();
    n2().Kill();
    n3().PowerLoss();
    return n3().disk().Clone();
  }

  void ExpectAlone() {
    const server::GroupStatus status = n3().state().group().status();
    EXPECT_EQ(status.conf.voters, std::vector{n3().state().identity().member});
    EXPECT_TRUE(status.is_leader);
    EXPECT_EQ(n3().state().group().members().removed().size(), 2u);
  }
  void ExpectEverything(SimNode& node) {
    const StoreHistory store = world_.Await(node.machine().runtime(), ReadStore(node.state()));
    for (const auto& [key, last] : acknowledged_) {
      const StoreHistory::Version* found = store.At(key, INT64_MAX);
      ASSERT_NE(found, nullptr) << key;
      EXPECT_EQ(found->value, last.value) << key;
      EXPECT_EQ(found->revision, last.revision) << key;
    }
  }
  std::vector<std::string> Reports() {
    std::vector<std::string> reports;
    for (const std::string& path : n3().disk().ListFiles()) {
      if (path.ends_with(".report")) reports.push_back(path);
    }
    return reports;
  }
  std::string ReportText() {
    const std::vector<std::string> reports = Reports();
    if (reports.size() != 1) return Concat(reports.size(), " reports");
    sim::SimDisk& disk = n3().disk();
    return disk.ReadDurable(reports[0], 0, static_cast<size_t>(disk.FileSize(reports[0])));
  }

  io::Task<Status> Change(server::MemberOp op, server::Member member) {
    io::Runtime& runtime = n3().machine().runtime();
    server::MemberCall call(runtime, runtime.core(), n3().state().group());
    call.terms.deadline = runtime.Now() + Seconds(5);
    call.id = {.node = n3().state().identity().member, .boot = 99, .counter = ++requests_};
    call.op = op;
    call.member = std::move(member);
    const bool arrived = co_await call;
    co_return arrived ? call.result : AbortedError("not arrived");
  }
  Status ChangeMember(server::MemberOp op, server::Member member) {
    return world_.Await(n3().machine().runtime(), Change(op, std::move(member)));
  }
  // A new member on a new disk of that machine.
  void Join(SimNode& node) {
    node.machine().UseDisk(world_.AddDisk(Concat(node.machine().name(), "-new")));
    server::Member member{.peer_urls = {PeerUrl(node)}};
    member.id = server::MemberIdOf(member.peer_urls, "etcd-cluster", 1000);
    Status added = ChangeMember(server::MemberOp::kAdd, member);
    for (int i = 0; i < 20 && !added.ok(); ++i) {  // until the links count as stable
      world_.RunFor(Seconds(1));
      added = ChangeMember(server::MemberOp::kAdd, member);
    }
    ASSERT_EQ(added, OkStatus());
    server::Config config = ConfigOf(node);
    config.cluster.initial_state = server::ClusterState::kExisting;
    node.Start(std::move(config));
    ASSERT_EQ(node.Await(kServes), OkStatus()) << world_.PrintLogs(40);
  }

  sim::SimWorld world_;
  sim::SimMachine& client_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::map<std::string, Acknowledged> acknowledged_;  // the last write of each key
  uint64_t snapshot_count_ = 10000;
  bool strict_reconfig_ = true;
  uint64_t requests_ = 0;
};

io::Task<bool> Arrived(server::TransferCall& call) {
  const bool arrived = co_await call;
  co_return arrived;
}

// Whichever way it is started after a crash, it is either as before or a cluster of one.
void ForceSimCrashAt(uint64_t k, const Status& after, bool alone) {
  if (after.ok()) {
    EXPECT_TRUE(alone) << "crash at operation " << k;
  } else {
    EXPECT_EQ(after.code(), StatusCode::kDeadlineExceeded) << "crash at operation " << k << after;
  }
}

class ForceSimCrashes : public ForceSim, public testing::WithParamInterface<uint64_t> {};

TEST_P(ForceSimCrashes, LoseNothingAndCanBeRepeated) {
  constexpr sim::SimCrash kCrashes[] = {sim::SimCrash::kBefore, sim::SimCrash::kTorn,
                                        sim::SimCrash::kAfter};
  snapshot_count_ = GetParam();
  Found();
  const sim::SimImage image = LoseMajority();
  uint64_t as_before = 0;
  uint64_t done = 0;
  for (uint64_t k = 1; k < 300; ++k) {
    n3().disk().Restore(image.Clone());
    n3().disk().CrashAt(k, kCrashes[k % 3],
                        k % 2 == 0 ? sim::SimCrashKind::kPowerLoss : sim::SimCrashKind::kKill);
    const Status forced = StartForced();
    if (!n3().dead()) {
      ASSERT_EQ(forced, OkStatus());
      break;  // it serves after fewer than k operations
    }
    n3().Bury();
    if (k % 2 == 0) {
      const Status after = StartPlainly(n3(), Seconds(4));
      ++(after.ok() ? done : as_before);
      ForceSimCrashAt(k, after, n3().serving() && n3().state().group().status().is_leader);
      n3().Stop();
    }
    ASSERT_EQ(StartForced(), OkStatus()) << "crash at operation " << k << world_.PrintLogs(40);
    ExpectAlone();
    ExpectEverything(n3());
    n3().Stop();
    ASSERT_EQ(StartPlainly(n3()), OkStatus()) << "crash at operation " << k;
    ExpectAlone();
    ExpectEverything(n3());
    n3().Stop();
    if (HasFailure()) FAIL() << "crash at operation " << k;
  }
  EXPECT_GT(as_before, 5u);
  EXPECT_GT(done, 2u);
}

INSTANTIATE_TEST_SUITE_P(SnapshotCounts, ForceSimCrashes, testing::Values(10000, 20));

TEST_F(ForceSim, TheReportSaysWhoGoesAndWhatIsInDoubt) {
  Found();
  LoseMajority();
  ASSERT_EQ(StartForced(), OkStatus());
  const std::string report = ReportText();
  EXPECT_TRUE(absl::StrContains(report, "goes on    n3 (")) << report;
  EXPECT_TRUE(absl::StrContains(report, "taken out  n1 (")) << report;
  EXPECT_TRUE(absl::StrContains(report, "taken out  n2 (")) << report;
  EXPECT_TRUE(absl::StrContains(report, "last data  revision 61,")) << report;
  // The commit index is learnt with the next message, which the last write here never had.
  EXPECT_TRUE(absl::StrContains(report, "TAKEN OVER")) << report;
  EXPECT_TRUE(absl::StrContains(report, "    revision 61 put     \"key19\"\n")) << report;
  EXPECT_TRUE(absl::StrContains(report, "(member add).\n")) << report;
  EXPECT_EQ(report.size() % limits::kBlockBytes, 0u);
  EXPECT_TRUE(n3().machine().log().Contains("taken out  n1 ("));
}

TEST_F(ForceSim, APlanChangesNothing) {
  Found();
  LoseMajority();
  const Status planned = StartForced(server::ForceCluster::kPlan);
  EXPECT_EQ(planned.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(
      Words(planned), "nothing was changed; the report is /data/force-new-cluster-plan.report"));
  EXPECT_TRUE(absl::StrContains(ReportText(), "last data  revision 61,"));
  EXPECT_EQ(StartPlainly(n3(), Seconds(5)).code(), StatusCode::kDeadlineExceeded);
  n3().Stop();
  ASSERT_EQ(StartForced(), OkStatus());
  ExpectEverything(n3());
}

TEST_F(ForceSim, OldMembersAreRefusedAndNewOnesJoin) {
  Found();
  LoseMajority();
  ASSERT_EQ(StartForced(), OkStatus());
  // With their old data the other two are a majority of the old cluster.
  n1().Start(ConfigOf(n1()));
  n2().Start(ConfigOf(n2()));
  ASSERT_TRUE(world_.RunUntil([&] { return n1().ended() && n2().ended(); }, Seconds(60)));
  EXPECT_TRUE(absl::StrContains(n1().failure().ToString(), "permanently removed"))
      << n1().failure();
  EXPECT_TRUE(absl::StrContains(n2().failure().ToString(), "permanently removed"))
      << n2().failure();
  n1().Remove();
  n2().Remove();
  ASSERT_TRUE(n3().serving());
  ExpectAlone();
  Join(n1());
  Join(n2());
  ASSERT_FALSE(HasFailure());
  Write(10);
  world_.RunFor(Seconds(2));
  for (const std::unique_ptr<SimNode>& node : nodes_) ExpectEverything(*node);
  // Three again, which go on without any one of them.
  EXPECT_EQ(n1().state().group().status().conf.voters.size(), 3u);
  n2().Kill();
  world_.RunFor(Seconds(5));
  Write(5);
}

TEST_F(ForceSim, OnceMoreIsANoOpAndRefusedOnceOthersJoined) {
  Found();
  LoseMajority();
  ASSERT_EQ(StartForced(), OkStatus());
  n3().Stop();
  ASSERT_EQ(StartForced(), OkStatus());
  EXPECT_TRUE(n3().machine().log().Contains("is a cluster of one already"));
  EXPECT_EQ(Reports().size(), 1u);
  n3().Stop();
  const Status planned = StartForced(server::ForceCluster::kPlan);
  EXPECT_EQ(planned.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(Words(planned), "is a cluster of one already")) << planned;
  ASSERT_EQ(StartForced(), OkStatus());
  Join(n1());
  ASSERT_FALSE(HasFailure());
  n3().Stop();
  const Status refused = StartForced();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(Words(refused), "this was done before")) << refused;
  // Without the flag it is a member like any other.
  ASSERT_EQ(StartPlainly(n3()), OkStatus());
  EXPECT_EQ(n3().state().group().status().conf.voters.size(), 2u);
}

TEST_F(ForceSim, AnUnprovenRemovalOfItselfIsDropped) {
  strict_reconfig_ = false;
  Found();
  if (!n3().state().group().status().is_leader) {
    SimNode& leader = n1().state().group().status().is_leader ? n1() : n2();
    server::TransferCall call(leader.machine().runtime(), 0, leader.state().group());
    call.target = n3().state().identity().member;
    call.deadline = leader.machine().runtime().Now() + Seconds(5);
    ASSERT_TRUE(world_.Await(leader.machine().runtime(), Arrived(call)));
    ASSERT_EQ(call.result, OkStatus());
  }
  n1().Kill();
  n2().Kill();
  // It reaches the leader's log, and nobody else.
  EXPECT_FALSE(
      ChangeMember(server::MemberOp::kRemove, {.id = n3().state().identity().member}).ok());
  n3().PowerLoss();
  ASSERT_EQ(StartForced(), OkStatus());
  EXPECT_TRUE(absl::StrContains(ReportText(), "DROPPED")) << ReportText();
  ExpectAlone();
  ExpectEverything(n3());
  n3().Stop();
  ASSERT_EQ(StartPlainly(n3()), OkStatus());
  ExpectAlone();
}

TEST_F(ForceSim, AnEmptyDataDirectoryIsRefused) {
  const Status refused = StartForced();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(Words(refused), "there is no log in /data/member/wal")) << refused;
}

TEST_F(ForceSim, ARemovedMemberIsRefused) {
  Found();
  world_.RunFor(Seconds(6));  // until the links count as stable
  ASSERT_EQ(ChangeMember(server::MemberOp::kRemove, {.id = n3().state().identity().member}),
            OkStatus());
  ASSERT_TRUE(world_.RunUntil([&] { return n3().ended(); }, kServes));
  n3().Remove();
  const Status refused = StartForced();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(Words(refused), "this member was removed")) << refused;
}

TEST_F(ForceSim, AFencedMemberIsRefused) {
  Found();
  LoseMajority();
  n3().disk().WriteRaw(server::FenceMarkPath("/data"), 0, std::string(limits::kBlockBytes, 'f'));
  const Status refused = StartForced();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(Words(refused), "this member is fenced")) << refused;
}

TEST_F(ForceSim, ADamagedMemberIsRefused) {
  Found();
  n3().Stop();
  ASSERT_GT(DamageLog(n3().disk(), "/data/member/wal", world_.prng()), 0u);
  n1().Kill();
  n2().Kill();
  const Status refused = StartForced();
  EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(Words(refused), "nobody to repair this member from")) << refused;
}

// Its log is new and has yet to hear of what its old one had acknowledged.
TEST_F(ForceSim, AMemberThatHasNotEndedItsRepairIsRefused) {
  Found();
  n3().Stop();
  ASSERT_GT(DamageLog(n3().disk(), "/data/member/wal", world_.prng()), 0u);
  const auto repairs = [&] {
    return n3().machine().log().Contains("the damaged log was set aside");
  };
  for (int i = 0; i < 3 && !repairs(); ++i) {  // the first start may find the damage while it runs
    if (n3().exists()) n3().Stop();
    n3().Start(ConfigOf(n3()));
    world_.RunUntil([&] { return repairs() || n3().ended(); }, kServes);
  }
  ASSERT_TRUE(repairs()) << world_.PrintLogs(40);
  n3().Kill();
  n1().Kill();
  n2().Kill();
  const Status refused = StartForced();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(Words(refused), "had not got back from the others")) << refused;
}

}  // namespace
}  // namespace metastore::sim_test
