// Aim: what random clusters meet too rarely: a member that is removed stops, a leader whose disk
// stalls gives up, a vote outlives a restart, a snapshot names the term of its last entry, request
// ids are never used again, what two of three have acknowledged is on two disks, a failed write
// that nobody waits for ends a node, a snapshot is sent anew to a member that is back. Method:
// directed scenarios (cluster_harness.h), each also with the bug planted that it is there to find.
#include <gtest/gtest.h>

#include "server/mutation.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {
namespace {

class DriverSim : public testing::Test {
 protected:
  ~DriverSim() override {
#ifdef MS_MUTATIONS
    Plant(server::Mutation::kNone);
#endif
  }

  void Boot(ClusterOptions options) {
    cluster_ = std::make_unique<ClusterHarness>(std::move(options));
    ASSERT_EQ(cluster_->Boot(), OkStatus());
    cluster_->workload().Start({.writers = 4, .pause_max = Milliseconds(20)});
    cluster_->RunFor(Seconds(1));
    ASSERT_NE(cluster_->Leader(), nullptr);
  }

  // Nobody writes; there is a leader.
  void BootIdle(ClusterOptions options) {
    cluster_ = std::make_unique<ClusterHarness>(std::move(options));
    ASSERT_EQ(cluster_->Boot(), OkStatus());
    ASSERT_TRUE(cluster_->RunUntil([&] { return cluster_->Leader() != nullptr; }, Seconds(10)));
  }

  std::string FirstProblem() const { return cluster_->ok() ? "" : cluster_->problems().front(); }

  bool StopsWhenRemoved();
  void StallTheLeader();
  void VoteAndRestart(uint64_t seed);
  bool CatchesUpByALateSnapshot();
  void PutThrough(ClusterMember& member, int count, size_t value_bytes);
  void RepairUnderWrites();
  void LoseTheSecondCopy(uint64_t seed, bool by_crash);

  std::unique_ptr<ClusterHarness> cluster_;
};

io::Task<void> Remove(SimNode& node, NodeId id, bool& done) {
  server::Member member{.id = id};
  const Status removed =
      co_await ChangeMember(node, server::MemberOp::kRemove, std::move(member), 1, Seconds(5));
  done = removed.ok();
}

bool DriverSim::StopsWhenRemoved() {
  Boot({.seed = 41});
  cluster_->workload().Stop();
  cluster_->RunFor(Seconds(7));  // links must have been up for a while
  ClusterMember* const leader = cluster_->Leader();
  ClusterMember* removed = nullptr;
  for (const auto& member : cluster_->members()) {
    if (member.get() != leader) removed = member.get();
  }
  removed->standing = Standing::kLeaving;
  bool done = false;
  leader->node.SpawnCall(Remove(leader->node, removed->id, done));
  EXPECT_TRUE(cluster_->RunUntil([&] { return done; }, Seconds(10)));
  return cluster_->RunUntil([&] { return removed->refused; }, Seconds(10));
}

TEST_F(DriverSim, AMemberThatIsRemovedStops) {
  EXPECT_TRUE(StopsWhenRemoved());
  EXPECT_EQ(FirstProblem(), "");
}

void DriverSim::StallTheLeader() {
  Boot({.seed = 42});
  sim::SimDisk& disk = cluster_->Leader()->node.disk();
  disk.Stall();
  cluster_->RunFor(Seconds(4));
  disk.Release();
  cluster_->RunFor(Seconds(1));
}

TEST_F(DriverSim, ALeaderWhoseDiskStallsGivesUp) {
  StallTheLeader();
  EXPECT_EQ(FirstProblem(), "");
}

// The winner of an election is cut off before anybody hears of it, its voter restarts, and the
// former leader, which knows nothing of that term, comes back and campaigns for it.
void DriverSim::VoteAndRestart(uint64_t seed) {
  ClusterOptions options{.seed = seed};
  options.world.network.delay_min = options.world.network.delay_max = Milliseconds(15);
  Boot(std::move(options));
  cluster_->workload().Stop();
  cluster_->RunFor(Seconds(1));
  ClusterMember* const former = cluster_->Leader();
  former->node.PowerLoss();
  former->restart_at = MonoTime::Max() - Nanoseconds(1);  // when it is told
  ASSERT_TRUE(cluster_->RunUntil([&] { return cluster_->Leader() != nullptr; }, Seconds(10)));
  ClusterMember* const winner = cluster_->Leader();
  cluster_->world().network().Isolate(winner->node.machine());
  for (const auto& member : cluster_->members()) {
    if (member.get() == winner || member.get() == former) continue;
    member->node.PowerLoss();
    cluster_->Start(*member);
  }
  cluster_->Start(*former);
  cluster_->RunFor(Seconds(5));
  cluster_->world().network().HealAll();
  cluster_->RunFor(Seconds(2));
}

constexpr uint64_t kVoteSeeds = 4;

TEST_F(DriverSim, AVoteOutlivesARestart) {
  for (uint64_t seed = 1; seed <= kVoteSeeds; ++seed) {
    VoteAndRestart(seed);
    EXPECT_EQ(FirstProblem(), "") << seed;
  }
}

// The frame that promises the last write: no call is under way, and none would come through again.
TEST_F(DriverSim, AFailedWriteThatNobodyWaitsForEndsTheNode) {
  Boot({.seed = 43, .nodes = 1});
  cluster_->workload().Stop();
  ClusterMember& member = *cluster_->members().front();
  member.node.disk().FailNext(sim::SimFault::kWriteError, "wal");
  EXPECT_TRUE(cluster_->RunUntil([&] { return member.last_end == LifeEnd::kFailed; }, Seconds(1)));
  EXPECT_EQ(member.node.disk().fault_hits(sim::SimFault::kWriteError), 1u);
  cluster_->Settle(Seconds(10));
  EXPECT_EQ(FirstProblem(), "");
}

struct Puts {
  io::Address server;
  std::string key;
  int count = 1;
  size_t value_bytes = 10;
};

io::Task<void> PutOneByOne(ClusterHarness& cluster, Puts puts, bool& done) {
  io::Runtime& runtime = cluster.client().runtime();
  History& history = cluster.workload().history();
  KvClient client(runtime, puts.server);
  for (int i = 0; i < puts.count;) {
    const std::string value = Concat(runtime.Now().ns, ":", std::string(puts.value_bytes, 'v'));
    const MonoTime began = cluster.world().Now();
    history.Asked(value);
    StatusOr<PutAck> put = co_await client.Put(puts.key, value, runtime.Now() + Seconds(10));
    if (put.ok()) {
      history.Acknowledged({.keys = {{puts.key, value}},
                            .revision = put->revision,
                            .began = began,
                            .returned = cluster.world().Now()});
      ++i;
      continue;
    }
    co_await client.Reset();
    co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(1));
  }
  co_await client.Reset();
  done = true;
}

void DriverSim::PutThrough(ClusterMember& member, int count, size_t value_bytes) {
  io::Gate gate(cluster_->client().runtime().scheduler());
  bool done = false;
  gate.Spawn("puts", io::ReadyClass::kClient,
             PutOneByOne(*cluster_,
                         {.server = {member.node.machine().ip(), 2379},
                          .key = member.name,
                          .count = count,
                          .value_bytes = value_bytes},
                         done));
  ASSERT_TRUE(cluster_->RunUntil([&] { return gate.running() == 0; }, Seconds(60)));
  ASSERT_TRUE(done);
}

// A new leader commits nothing before a voter has caught up that needs its snapshot, which turns
// out to be damaged: the one it takes then ends with an entry of the term before.
bool DriverSim::CatchesUpByALateSnapshot() {
  BootIdle({.seed = 44, .snapshot_count = 20, .snapshot_catchup_entries = 0});
  ClusterMember* const former = cluster_->Leader();
  std::vector<ClusterMember*> others;
  for (const auto& member : cluster_->members()) {
    if (member.get() != former) others.push_back(member.get());
  }
  ClusterMember& late = *others[0];
  ClusterMember& next = *others[1];
  const LogIndex has = late.node.state().group().log().LastIndex();
  late.node.PowerLoss();
  late.restart_at = MonoTime::Max() - Nanoseconds(1);  // when it is told
  PutThrough(*former, 300, 4000);
  cluster_->RunFor(Seconds(1));
  EXPECT_GT(next.node.state().group().log().FirstIndex(), has + 1);
  for (const std::string& path : next.node.disk().ListFiles()) {
    if (path.find("/snap/") != std::string::npos) next.node.disk().FlipBit(path, 700, 3);
  }
  former->node.PowerLoss();
  former->restart_at = cluster_->world().Now() + Seconds(20);
  cluster_->Start(late);
  const bool caught_up = cluster_->RunUntil(
      [&] {
        return cluster_->Leader() == &next && late.node.running() &&
               late.node.state().group().status().applied ==
                   next.node.state().group().log().LastIndex();
      },
      Seconds(15));
  EXPECT_GT(next.node.machine().log().Count("could not send a snapshot"), 0u);
  return caught_up;
}

TEST_F(DriverSim, ASnapshotNamesTheTermOfItsLastEntry) {
  EXPECT_TRUE(CatchesUpByALateSnapshot());
  cluster_->Settle(Seconds(60));
  EXPECT_EQ(FirstProblem(), "");
}

// It loses its power while it gets a snapshot, and nobody tells the leader: the stream would end by
// silence after half a minute.
TEST_F(DriverSim, ASnapshotIsSentAnewToAMemberThatIsBack) {
  BootIdle({.seed = 47,
            .snapshot_count = 20,
            .snapshot_catchup_entries = 0,
            .adjust = [](const std::string& /*name*/, server::Config& config) {
              config.peer.snapshot_bytes_per_second = 200'000;
            }});
  ClusterMember& leader = *cluster_->Leader();
  ClusterMember& behind =
      *cluster_->members()[cluster_->members().front().get() == &leader ? 1 : 0];
  behind.node.PowerLoss();
  PutThrough(leader, 40, 20'000);
  cluster_->Start(behind);
  const auto receives = [&] { return behind.node.machine().log().Count("receiving snapshot") > 0; };
  ASSERT_TRUE(cluster_->RunUntil(receives, Seconds(10)));
  cluster_->world().network().options().silent_power_loss_per_cent = 100;
  behind.node.machine().PowerLoss();
  behind.restart_at = cluster_->world().Now() + Seconds(1);
  const auto caught_up = [&] {
    return behind.node.running() && behind.node.state().group().status().applied ==
                                        leader.node.state().group().status().applied;
  };
  EXPECT_TRUE(cluster_->RunUntil(caught_up, Seconds(12))) << cluster_->world().PrintLogs(20);
  cluster_->Settle(Seconds(60));
  EXPECT_EQ(FirstProblem(), "");
}

// The member's only writes lie far behind the beginning of the log, which it gets again: it serves
// before it comes to them. They are of its second start, as what follows a repair would be if it
// counted anew: the new log is opened to be begun, and then again.
void DriverSim::RepairUnderWrites() {
  BootIdle({.seed = 45, .segment_bytes = 4 * limits::kMiB});
  ClusterMember& leader = *cluster_->Leader();
  ClusterMember& repaired =
      *cluster_->members()[cluster_->members().front().get() == &leader ? 1 : 0];
  PutThrough(leader, 20, 500'000);
  repaired.node.PowerLoss();
  cluster_->Start(repaired);
  PutThrough(repaired, 5, 10);
  repaired.node.PowerLoss();
  Prng prng(7);
  ASSERT_TRUE(cluster_->DamageLog(repaired, prng));
  repaired.restart_at = cluster_->world().Now();
  cluster_->world().network().SetSlowFactor(leader.node.machine(), repaired.node.machine(), 100);
  PutThrough(repaired, 5, 10);
  cluster_->world().network().SetSlowFactor(leader.node.machine(), repaired.node.machine(), 1);
  EXPECT_TRUE(cluster_->RunUntil([&] { return !repaired.log_damaged; }, Seconds(10)));
  cluster_->Settle(Seconds(60));
}

TEST_F(DriverSim, RequestIdsAreNeverUsedAgain) {
  RepairUnderWrites();
  EXPECT_EQ(FirstProblem(), "");
}

// Of three only two run, and as one of them writes the entry down it fails; then it and the third
// go on without the leader, which alone has it.
void DriverSim::LoseTheSecondCopy(uint64_t seed, bool by_crash) {
  BootIdle({.seed = seed});
  ClusterMember* const leader = cluster_->Leader();
  std::vector<ClusterMember*> others;
  for (const auto& member : cluster_->members()) {
    if (member.get() != leader) others.push_back(member.get());
  }
  PutThrough(*leader, 1, 10);
  cluster_->RunFor(Seconds(1));
  others[0]->node.PowerLoss();
  for (ClusterMember* member : others) {
    member->restart_at = MonoTime::Max() - Nanoseconds(1);  // when it is told
  }
  sim::SimDisk& disk = others[1]->node.disk();
  if (by_crash) {
    disk.CrashAt(1, sim::SimCrash::kBefore);
  } else {
    disk.FailNext(sim::SimFault::kWriteError, "wal");
  }
  io::Gate gate(cluster_->client().runtime().scheduler());
  bool done = false;
  gate.Spawn(
      "put", io::ReadyClass::kClient,
      PutOneByOne(*cluster_, {.server = {leader->node.machine().ip(), 2379}, .key = "x"}, done));
  cluster_->RunFor(Milliseconds(500));
  EXPECT_FALSE(others[1]->node.exists());
  leader->node.PowerLoss();
  leader->restart_at = cluster_->world().Now() + Seconds(10);
  for (ClusterMember* member : others) cluster_->Start(*member);
  cluster_->RunUntil([&] { return gate.running() == 0 && leader->node.serving(); }, Seconds(30));
  cluster_->Settle(Seconds(60));
  CHECK(cluster_->world().RunUntil([&] { return gate.running() == 0; }, Seconds(60)));
}

constexpr uint64_t kCopySeeds = 4;

TEST_F(DriverSim, WhatIsAcknowledgedIsOnTwoDisks) {
  for (uint64_t seed = 1; seed <= kCopySeeds; ++seed) {
    for (const bool by_crash : {false, true}) {
      LoseTheSecondCopy(seed, by_crash);
      EXPECT_EQ(FirstProblem(), "") << seed;
    }
  }
}

#ifdef MS_MUTATIONS
TEST_F(DriverSim, AnAnswerBeforeTheWriteIsFound) {
  Plant(server::Mutation::kAnswerEarly);
  LoseTheSecondCopy(1, true);
  EXPECT_NE(FirstProblem().find("has committed entry"), std::string::npos) << FirstProblem();
}

TEST_F(DriverSim, AFailedWriteThatCountsIsFound) {
  Plant(server::Mutation::kFailedWriteDurable);
  std::string found;
  for (uint64_t seed = 1; seed <= kCopySeeds && found.empty(); ++seed) {
    LoseTheSecondCopy(seed, false);
    found = FirstProblem();
  }
  EXPECT_NE(found.find("has committed entry"), std::string::npos) << found;
}

TEST_F(DriverSim, ASnapshotOfAnotherTermIsFound) {
  Plant(server::Mutation::kSnapshotTermNow);
  EXPECT_FALSE(CatchesUpByALateSnapshot());
  EXPECT_NE(FirstProblem().find("has committed entry"), std::string::npos) << FirstProblem();
}

TEST_F(DriverSim, RequestIdsThatComeAgainAreFound) {
  Plant(server::Mutation::kBootsForgotten);
  RepairUnderWrites();
  EXPECT_NE(FirstProblem().find("revision"), std::string::npos) << FirstProblem();
}

TEST_F(DriverSim, OneThatGoesOnAfterItsRemovalIsFound) {
  Plant(server::Mutation::kRemovedGoesOn);
  EXPECT_FALSE(StopsWhenRemoved());
}

TEST_F(DriverSim, ASlowDiskThatLeadsOnIsFound) {
  Plant(server::Mutation::kSlowDiskLeads);
  StallTheLeader();
  EXPECT_NE(FirstProblem(), "");
}

TEST_F(DriverSim, AForgottenVoteIsFound) {
  Plant(server::Mutation::kVoteForgotten);
  std::string found;
  for (uint64_t seed = 1; seed <= kVoteSeeds && found.empty(); ++seed) {
    VoteAndRestart(seed);
    found = FirstProblem();
  }
  EXPECT_NE(found.find("two leaders in term"), std::string::npos) << found;
}
#endif

}  // namespace
}  // namespace metastore::sim_test
