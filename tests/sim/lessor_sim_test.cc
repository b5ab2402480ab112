// Aim: leases of a cluster: one that is kept alive survives its leaders and one that is not goes in
// time; a checkpoint carries what is left to the next leader, and a keepalive clears it first; a
// leader that is cut off acknowledges nothing; every member answers. Method: whole members on
// simulated machines with real bytes between them, leaders that are killed or cut off, and a client
// that keeps a lease alive as etcd's do; and the same with bugs planted that it is there to find.
#include <gtest/gtest.h>

#include <algorithm>

#include "server/mutation.h"
#include "tests/sim/cluster_harness.h"
#include "tests/sim/lease_client.h"

namespace metastore::sim_test {
namespace {

constexpr Duration kCall = Seconds(5);

class LessorCluster {
 public:
  explicit LessorCluster(uint64_t seed, Duration checkpoint_interval = Seconds(300))
      : cluster_({.seed = seed,
                  .adjust =
                      [=](const std::string& /*name*/, server::Config& config) {
                        config.raft.lease_checkpoint_interval = checkpoint_interval;
                      }}),
        gate_(std::make_unique<io::Gate>(cluster_.client().runtime().scheduler())) {
    Status booted = cluster_.Boot();
    CHECK(booted.ok());
    CHECK(cluster_.RunUntil([&] { return cluster_.Leader() != nullptr; }, Seconds(10)));
  }
  ~LessorCluster() {
    keeping_ = false;
    cluster_.world().network().HealAll();
    CHECK(cluster_.world().RunUntil([&] { return gate_->running() == 0; }, Seconds(60)));
  }

  ClusterHarness& cluster() { return cluster_; }
  ClusterMember& Leader() {
    CHECK(cluster_.RunUntil([&] { return cluster_.Leader() != nullptr; }, Seconds(20)));
    return *cluster_.Leader();
  }
  ClusterMember& Follower() {
    ClusterMember& leader = Leader();
    for (const auto& member : cluster_.members()) {
      if (member.get() != &leader && member->node.running()) return *member;
    }
    CHECK_UNREACHABLE();
  }
  static io::Address AddressOf(ClusterMember& member) { return {member.node.machine().ip(), 2379}; }
  MonoTime Now() { return cluster_.client().runtime().Now(); }

  // Runs `task(client)` of a client of `member`; `task` returns a Task of a value.
  template <typename Make>
  auto On(ClusterMember& member, const Make& make) {
    LeaseClient client(cluster_.client().runtime(), AddressOf(member));
    auto result = cluster_.world().Await(cluster_.client().runtime(), make(client));
    cluster_.world().Await(cluster_.client().runtime(), client.Reset());
    return result;
  }
  bool Grant(ClusterMember& member, int64_t lease, int64_t ttl, const std::string& key) {
    const Status granted = On(member, [&](LeaseClient& client) {
                             return client.Grant(lease, ttl, Now() + kCall);
                           }).status();
    if (!granted.ok() || key.empty()) return granted.ok();
    return On(member, [&](LeaseClient& client) { return client.Put(key, lease, Now() + kCall); })
        .ok();
  }
  // -1: it is gone; -2: no answer.
  int64_t Ttl(ClusterMember& member, int64_t lease) {
    const StatusOr<LeaseTimes> times =
        On(member, [&](LeaseClient& client) { return client.TimeToLive(lease, Now() + kCall); });
    return times.ok() ? times->ttl : -2;
  }
  StatusOr<int64_t> KeepAlive(ClusterMember& member, int64_t lease, Duration timeout = kCall) {
    return On(member,
              [&](LeaseClient& client) { return client.KeepAlive(lease, Now() + timeout); });
  }
  bool Gone(int64_t lease) {
    for (const auto& member : cluster_.members()) {
      if (!member->node.running()) continue;
      if (member->node.state().group().engine().FindLease(LeaseId(lease)).has_value()) return false;
    }
    return true;
  }
  // Whether some member of the present still has the lease, and no leader has let it go.
  bool GoneWithin(int64_t lease, Duration limit) {
    return cluster_.RunUntil([&] { return Gone(lease); }, limit);
  }

  // A client revokes the lease at `when` and grants it anew behind that, over one connection,
  // before an answer has come. Whether it was granted.
  bool GrantAnew(ClusterMember& member, int64_t lease, MonoTime when) {
    LeaseClient client(cluster_.client().runtime(), AddressOf(member));
    bool granted = false;
    gate_->Spawn("anew", io::ReadyClass::kClient, RevokeAndGrant(client, lease, when, granted));
    CHECK(cluster_.world().RunUntil([&] { return gate_->running() == 0; }, Seconds(60)));
    cluster_.world().Await(cluster_.client().runtime(), client.Reset());
    return granted;
  }

  void KillLeader(Duration down) {
    ClusterMember& leader = Leader();
    leader.restart_at = cluster_.world().Now() + down;
    leader.node.machine().KillProcess();
    CHECK(cluster_.RunUntil(
        [&] { return cluster_.Leader() != nullptr && cluster_.Leader() != &leader; }, Seconds(20)));
  }
  void CutOff(ClusterMember& one) {
    for (const auto& member : cluster_.members()) {
      if (member.get() == &one) continue;
      cluster_.world().network().Cut(one.node.machine(), member->node.machine());
    }
  }

  // As etcd's clients do: over one stream, another member where one does not answer.
  void Keep(int64_t lease, Duration every) {
    keeping_ = true;
    gate_->Spawn("keep", io::ReadyClass::kClient, KeepLoop(lease, every));
  }
  void StopKeeping() { keeping_ = false; }
  uint64_t kept() const { return kept_; }
  bool lost() const { return lost_; }

 private:
  io::Task<void> KeepLoop(int64_t lease, Duration every) {
    io::Runtime& runtime = cluster_.client().runtime();
    LeaseClient client(runtime, AddressOf(*cluster_.members()[0]));
    for (size_t turn = 1; keeping_; ++turn) {
      StatusOr<int64_t> ttl = co_await client.KeepAlive(lease, runtime.Now() + Milliseconds(700));
      if (ttl.ok()) {
        ++kept_;
        if (*ttl == 0) lost_ = true;
        co_await io::SleepUntil(runtime, runtime.Now() + every);
        continue;
      }
      co_await client.Reset();
      client.MoveTo(AddressOf(*cluster_.members()[turn % cluster_.members().size()]));
      co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(50));
    }
    co_await client.Reset();
  }

  io::Task<void> RevokeAndGrant(LeaseClient& client, int64_t lease, MonoTime when, bool& granted) {
    StatusOr<std::vector<int64_t>> connected = co_await client.Leases(when);
    CHECK(connected.ok());
    co_await io::SleepUntil(cluster_.client().runtime(), when);
    gate_->Start("revoke", io::ReadyClass::kClient, Revoke(client, lease, when + kCall));
    StatusOr<int64_t> ttl = co_await client.Grant(lease, 60, when + kCall);
    granted = ttl.ok();
  }
  static io::Task<void> Revoke(LeaseClient& client, int64_t lease, MonoTime deadline) {
    Status revoked = co_await client.Revoke(lease, deadline);
    CHECK(revoked.ok() || revoked.code() == StatusCode::kNotFound);
  }

  ClusterHarness cluster_;
  std::unique_ptr<io::Gate> gate_;
  bool keeping_ = false;
  bool lost_ = false;
  uint64_t kept_ = 0;
};

TEST(LessorSim, ALeaseSurvivesItsLeadersWhileItIsKeptAliveAndGoesWhenNot) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    LessorCluster leases(seed);
    ASSERT_TRUE(leases.Grant(leases.Leader(), 7, 3, "key"));
    leases.Keep(7, Seconds(1));
    for (int i = 0; i < 4; ++i) {
      leases.KillLeader(Seconds(1));
      leases.cluster().RunFor(Seconds(4));
      EXPECT_FALSE(leases.lost());
      EXPECT_GT(leases.Ttl(leases.Leader(), 7), 0);
    }
    EXPECT_GT(leases.kept(), 10u);
    leases.StopKeeping();
    // The last keepalive, the pause in its TTL that the clock may not see, and the commit.
    EXPECT_TRUE(leases.GoneWithin(7, Seconds(3) + Seconds(1) + Milliseconds(500)));
    EXPECT_EQ(leases.Ttl(leases.Leader(), 7), -1);
    const StatusOr<int64_t> late = leases.KeepAlive(leases.Follower(), 7);
    ASSERT_TRUE(late.ok()) << late.status();
    EXPECT_EQ(*late, 0);
    EXPECT_TRUE(leases.cluster().ok());
  }
}

// Of a lease of 20 s, 9 s later.
int64_t TtlOfTheNextLeader() {
  LessorCluster leases(1, /*checkpoint_interval=*/Seconds(2));
  CHECK(leases.Grant(leases.Leader(), 7, 20, ""));
  leases.cluster().RunFor(Seconds(9));
  leases.KillLeader(Seconds(1));
  return leases.Ttl(leases.Leader(), 7);
}

TEST(LessorSim, ANewLeaderGivesWhatWasLeftAtTheLastCheckpoint) {
  const int64_t ttl = TtlOfTheNextLeader();
  EXPECT_GE(ttl, 11) << "never less than was left";
  EXPECT_LE(ttl, 14 + 1) << "two intervals and an election timeout more at most";
}

// Of a lease of 20 s with a checkpoint, that was kept alive under the leader before.
int64_t TtlAfterAKeepalive(uint64_t seed) {
  LessorCluster leases(seed, /*checkpoint_interval=*/Seconds(2));
  CHECK(leases.Grant(leases.Leader(), 7, 20, ""));
  leases.cluster().RunFor(Seconds(9) + Milliseconds(static_cast<int64_t>(seed) * 130));
  const StatusOr<int64_t> kept = leases.KeepAlive(leases.Follower(), 7);
  EXPECT_TRUE(kept.ok() && *kept == 20) << kept.status();
  leases.KillLeader(Seconds(1));
  const int64_t ttl = leases.Ttl(leases.Leader(), 7);
  EXPECT_TRUE(leases.cluster().ok());
  return ttl;
}

TEST(LessorSim, AKeepaliveClearsTheCheckpointBeforeItIsAcknowledged) {
  for (uint64_t seed = 1; seed <= 6; ++seed) EXPECT_GE(TtlAfterAKeepalive(seed), 20) << seed;
}

// Lease 7, granted before, while it still takes itself for the leader.
bool OneCutOffKeepsAlive(LessorCluster& leases, ClusterMember& leader) {
  CHECK(leases.Grant(leader, 7, 3, "key"));
  leases.CutOff(leader);
  return leases.KeepAlive(leader, 7, Milliseconds(700)).ok();
}

TEST(LessorSim, ALeaderThatIsCutOffAcknowledgesNothingAndRevokesNothing) {
  LessorCluster leases(3);
  ClusterMember& old = leases.Leader();
  ASSERT_TRUE(leases.Grant(old, 8, 30, ""));
  EXPECT_FALSE(OneCutOffKeepsAlive(leases, old));
  ASSERT_TRUE(leases.cluster().RunUntil(
      [&] { return leases.cluster().Leader() != nullptr && leases.cluster().Leader() != &old; },
      Seconds(20)));
  ClusterMember& heir = *leases.cluster().Leader();
  const StatusOr<int64_t> later = leases.KeepAlive(old, 8, Seconds(10));
  EXPECT_EQ(later.status().code(), StatusCode::kUnavailable) << "and says why";
  EXPECT_TRUE(leases.cluster().RunUntil([&] { return leases.Ttl(heir, 7) == -1; }, Seconds(10)));
  EXPECT_GT(leases.Ttl(heir, 8), 0);
  leases.cluster().world().network().HealAll();
  EXPECT_TRUE(leases.GoneWithin(7, Seconds(5)));
  const StatusOr<int64_t> healed = leases.KeepAlive(old, 8);
  ASSERT_TRUE(healed.ok()) << healed.status();
  EXPECT_EQ(*healed, 30);
  EXPECT_TRUE(leases.cluster().ok());
}

TEST(LessorSim, EveryMemberAnswers) {
  LessorCluster leases(5);
  ClusterMember& follower = leases.Follower();
  ASSERT_TRUE(leases.Grant(follower, 7, 60, "b"));
  ASSERT_TRUE(leases.Grant(follower, 5, 30, "a"));
  ASSERT_TRUE(leases
                  .On(follower,
                      [&](LeaseClient& client) { return client.Put("c", 7, leases.Now() + kCall); })
                  .ok());
  for (const auto& member : leases.cluster().members()) {
    SCOPED_TRACE(member->name);
    const StatusOr<LeaseTimes> times = leases.On(
        *member, [&](LeaseClient& client) { return client.TimeToLive(7, leases.Now() + kCall); });
    ASSERT_TRUE(times.ok()) << times.status();
    EXPECT_GE(times->ttl, 58);
    EXPECT_EQ(times->granted, 60);
    EXPECT_EQ(times->keys, (std::vector<std::string>{"b", "c"}));
    const StatusOr<std::vector<int64_t>> kept = leases.On(*member, [&](LeaseClient& client) {
      return client.KeepAliveAll({7, 9, 5, 7}, leases.Now() + kCall);
    });
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_EQ(*kept, (std::vector<int64_t>{60, 0, 30, 60}));
    const StatusOr<std::vector<int64_t>> list = leases.On(
        *member, [&](LeaseClient& client) { return client.Leases(leases.Now() + kCall); });
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_EQ(*list, (std::vector<int64_t>{5, 7}));
  }
  EXPECT_TRUE(
      leases
          .On(follower, [&](LeaseClient& client) { return client.Revoke(7, leases.Now() + kCall); })
          .ok());
  EXPECT_EQ(leases.Ttl(leases.Leader(), 7), -1);
  EXPECT_EQ(leases.Ttl(follower, 7), -1);
}

// The revoke of the lease that ends and that of the client may come in either order, and the grant
// between them.
TEST(LessorSim, AnIdThatIsGrantedAgainWhileItsLeaseEndsKeepsTheNewLease) {
  LessorCluster leases(8);
  ClusterMember& leader = leases.Leader();
  const server::Lessor& lessor = leader.node.state().group().leases().lessor();
  int granted_count = 0;
  for (int64_t before_us = -4000; before_us <= 6000; before_us += 500) {
    SCOPED_TRACE(Concat(before_us, " us before its end"));
    ASSERT_TRUE(leases.Grant(leader, 7, 3, ""));
    const MonoTime end = leases.Now() + Seconds(3);
    if (leases.GrantAnew(leader, 7, end - Microseconds(before_us))) {
      ++granted_count;
      leases.cluster().RunFor(Milliseconds(300));
      EXPECT_GE(leases.Ttl(leader, 7), 58);
      EXPECT_EQ(lessor.revoking(), 0u);
      ASSERT_TRUE(
          leases
              .On(leader,
                  [&](LeaseClient& client) { return client.Revoke(7, leases.Now() + kCall); })
              .ok());
    }
    ASSERT_TRUE(leases.GoneWithin(7, Seconds(5)));
  }
  EXPECT_GT(granted_count, 10);
  EXPECT_TRUE(leases.cluster().ok());
}

TEST(LessorSim, ManyLeasesThatEndAtOnceGoOneByOneAndSoon) {
  LessorCluster leases(6);
  LeaseClient client(leases.cluster().client().runtime(),
                     LessorCluster::AddressOf(leases.Leader()));
  constexpr int64_t kLeases = 1500;
  for (int64_t id = 1; id <= kLeases; ++id) {
    auto granted = leases.cluster().world().Await(leases.cluster().client().runtime(),
                                                  client.Grant(id, 20, leases.Now() + kCall));
    ASSERT_TRUE(granted.ok());
  }
  server::Group& group = leases.Leader().node.state().group();
  EXPECT_EQ(group.engine().stats().leases_count, kLeases);
  const bool gone = leases.cluster().RunUntil(
      [&] { return group.engine().stats().leases_count == 0; }, Seconds(23));
  EXPECT_TRUE(gone);
  EXPECT_EQ(group.leases().lessor().stats().expired_total, static_cast<uint64_t>(kLeases));
  EXPECT_EQ(group.leases().lessor().size(), 0u);
  leases.cluster().RunFor(Seconds(2));
  leases.cluster().world().Await(leases.cluster().client().runtime(), client.Reset());
  EXPECT_TRUE(leases.cluster().ok());
}

TEST(LessorSim, AMemberThatFailsEndsThoughTheLeaderOwesItAnAnswer) {
  LessorCluster leases(7);
  ClusterMember& leader = leases.Leader();
  ClusterMember& follower = leases.Follower();
  ASSERT_TRUE(leases.Grant(leader, 7, 30, ""));
  ASSERT_TRUE(leases.KeepAlive(follower, 7).ok());
  leases.cluster().world().network().CutOneWay(follower.node.machine(), leader.node.machine());
  EXPECT_FALSE(leases.KeepAlive(follower, 7, Milliseconds(300)).ok());
  follower.node.disk().FailNext(sim::SimFault::kWriteError, "wal");
  ASSERT_TRUE(
      leases
          .On(leader, [&](LeaseClient& client) { return client.Put("k", 0, leases.Now() + kCall); })
          .ok());
  const uint64_t events = leases.cluster().world().events_run();
  const auto ended = [&] { return !follower.node.exists(); };
  EXPECT_TRUE(leases.cluster().RunUntil(ended, Seconds(2)));
  EXPECT_LT(leases.cluster().world().events_run() - events, 10'000u) << "and does nothing else";
}

#ifdef MS_MUTATIONS
class PlantedLessorSim : public testing::Test {
 protected:
  ~PlantedLessorSim() override { Plant(server::Mutation::kNone); }
};

TEST_F(PlantedLessorSim, AnUnconfirmedKeepaliveIsFound) {
  Plant(server::Mutation::kLeaseUnconfirmed);
  LessorCluster leases(3);
  EXPECT_TRUE(OneCutOffKeepsAlive(leases, leases.Leader()));
}

TEST_F(PlantedLessorSim, ACheckpointThatStaysIsFound) {
  Plant(server::Mutation::kCheckpointKept);
  EXPECT_LT(TtlAfterAKeepalive(1), 20);
}

TEST_F(PlantedLessorSim, ACheckpointThatIsIgnoredIsFound) {
  Plant(server::Mutation::kCheckpointIgnored);
  EXPECT_GT(TtlOfTheNextLeader(), 14 + 1);
}
#endif

}  // namespace
}  // namespace metastore::sim_test
