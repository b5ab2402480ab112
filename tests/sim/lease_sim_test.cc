// Aim: with lease reads a leader answers without asking the others, and never what is out of date:
// not after a pause, not beside a voter that has just restarted, not with a clock that drifts
// within the margin; with one that drifts beyond it, it does, so the check can tell. Method: a
// writer that turns to whoever takes its writes, a reader that stays with the first leader while it
// is cut off from the other members, and real time (history.h) over what both were told. Each bug
// planted in the driver must show.
#include <gtest/gtest.h>

#include "server/mutation.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {
namespace {

constexpr Duration kWriteTimeout = Milliseconds(300);
constexpr Duration kReadTimeout = Seconds(10);
constexpr Duration kPause = Milliseconds(3);

class Leases {
 public:
  explicit Leases(uint64_t seed)
      : cluster_({.seed = seed, .lease_reads = true}),
        gate_(std::make_unique<io::Gate>(cluster_.client().runtime().scheduler())) {
    Status booted = cluster_.Boot();
    CHECK(booted.ok());
    cluster_.RunUntil([&] { return cluster_.Leader() != nullptr; }, Seconds(10));
    leader_ = cluster_.Leader();
    for (const auto& member : cluster_.members()) {
      if (member.get() != leader_) others_.push_back(member.get());
    }
  }

  ~Leases() {
    on_ = reads_ = false;
    cluster_.world().network().HealAll();
    if (leader_->node.machine().paused()) leader_->node.machine().Resume();
    CHECK(cluster_.world().RunUntil([&] { return gate_->running() == 0; }, Seconds(60)));
  }

  // Writes go to the members that are not the first leader, reads to that one; both until told
  // otherwise.
  void Begin() {
    gate_->Spawn("write", io::ReadyClass::kClient, Write());
    gate_->Spawn("read", io::ReadyClass::kClient, Read());
    cluster_.RunUntil([&] { return written_ > 5 && leader_->node.state().group().has_lease(); },
                      Seconds(10));
  }
  void LetRead(bool on) { reads_ = on; }
  void LetWrite(bool on) { writes_ = on; }
  // Until another member leads and has taken writes; 0: not within `limit`.
  bool AwaitSuccessor(Duration limit) {
    const bool elected = cluster_.RunUntil(
        [&] {
          ClusterMember* const now = cluster_.Leader();
          return now != nullptr && now != leader_;
        },
        limit);
    const uint64_t before = written_;
    return elected && cluster_.RunUntil([&] { return written_ > before + 3; }, Seconds(5));
  }
  void CutOffLeader() {
    for (ClusterMember* other : others_) {
      cluster_.world().network().Cut(leader_->node.machine(), other->node.machine());
    }
  }

  ClusterHarness& cluster() { return cluster_; }
  ClusterMember& leader() { return *leader_; }
  ClusterMember& other(size_t i) { return *others_[i]; }
  uint64_t answered() const { return answered_; }
  bool stale() const { return !history_.CheckOrder().empty(); }

 private:
  static io::Address AddressOf(ClusterMember& member) { return {member.node.machine().ip(), 2379}; }

  io::Task<void> Write() {
    io::Runtime& runtime = cluster_.client().runtime();
    KvClient client(runtime, AddressOf(*others_[0]));
    for (size_t turn = 0; on_; ++turn) {
      if (!writes_) {
        co_await io::SleepUntil(runtime, runtime.Now() + kPause);
        continue;
      }
      const MonoTime began = cluster_.world().Now();
      const std::string value = Concat(turn);
      StatusOr<PutAck> put = co_await client.Put("key", value, runtime.Now() + kWriteTimeout);
      if (put.ok()) {
        ++written_;
        history_.Acknowledged({.keys = {{"key", value}},
                               .revision = put->revision,
                               .began = began,
                               .returned = cluster_.world().Now()});
      } else {
        co_await client.Reset();
        client.MoveTo(AddressOf(*others_[turn % others_.size()]));
      }
      co_await io::SleepUntil(runtime, runtime.Now() + kPause);
    }
    co_await client.Reset();
  }

  io::Task<void> Read() {
    io::Runtime& runtime = cluster_.client().runtime();
    KvClient client(runtime, AddressOf(*leader_));
    while (on_) {
      if (reads_) {
        const MonoTime began = cluster_.world().Now();
        StatusOr<ReadAck> read = co_await client.Get("key", 0, runtime.Now() + kReadTimeout);
        if (read.ok()) {
          ++answered_;
          history_.Read({.key = "key",
                         .found = read->found,
                         .value = read->value,
                         .mod_revision = read->mod_revision,
                         .header_revision = read->header_revision,
                         .began = began,
                         .returned = cluster_.world().Now()});
        } else {
          co_await client.Reset();
        }
      }
      co_await io::SleepUntil(runtime, runtime.Now() + kPause);
    }
    co_await client.Reset();
  }

  ClusterHarness cluster_;
  std::unique_ptr<io::Gate> gate_;
  ClusterMember* leader_ = nullptr;
  std::vector<ClusterMember*> others_;
  History history_;
  uint64_t written_ = 0;
  uint64_t answered_ = 0;
  bool on_ = true;
  bool reads_ = true;
  bool writes_ = true;
};

// The scenarios; true: an answer was out of date.

// Reads wait at the leader that sleeps, and go on while it is still cut off.
bool LeaderSleeps(uint64_t seed) {
  Leases leases(seed);
  leases.Begin();
  leases.LetRead(false);
  leases.cluster().RunFor(Milliseconds(50));
  leases.CutOffLeader();
  leases.leader().node.machine().Pause();
  EXPECT_TRUE(leases.AwaitSuccessor(Seconds(20)));
  leases.LetRead(true);
  leases.cluster().RunFor(Milliseconds(50));
  leases.leader().node.machine().Resume();
  leases.cluster().RunFor(Milliseconds(600));
  EXPECT_TRUE(leases.cluster().ok());
  return leases.stale();
}

// One voter does not hear the leader and wants to be elected all the time; the other, by whose
// promise the leader has its lease, restarts.
bool VoterRestarts(uint64_t seed) {
  Leases leases(seed);
  leases.Begin();
  leases.LetWrite(false);  // else the first would have too short a log
  leases.cluster().RunFor(Milliseconds(500));
  sim::SimNetwork& network = leases.cluster().world().network();
  network.Cut(leases.leader().node.machine(), leases.other(1).node.machine());
  leases.cluster().RunFor(Milliseconds(2500) + Milliseconds(static_cast<int64_t>(seed % 10) * 100));
  ClusterMember& voter = leases.other(0);
  voter.restart_at = leases.cluster().world().Now();
  voter.node.machine().KillProcess();
  leases.CutOffLeader();
  leases.LetWrite(true);
  leases.AwaitSuccessor(Seconds(2));
  leases.cluster().RunFor(Milliseconds(300));
  EXPECT_TRUE(leases.cluster().ok());
  return leases.stale();
}

bool LeadersClockDrifts(uint64_t seed, int64_t per_million) {
  Leases leases(seed);
  leases.Begin();
  leases.leader().node.machine().SetClockDrift(per_million);
  leases.cluster().RunFor(Milliseconds(500));
  leases.CutOffLeader();
  EXPECT_TRUE(leases.AwaitSuccessor(Seconds(20)));
  leases.cluster().RunFor(Seconds(1));
  return leases.stale();
}

uint64_t FirstStale(uint64_t seeds, const std::function<bool(uint64_t)>& scenario) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    if (scenario(seed)) return seed;
  }
  return 0;
}

TEST(LeaseSim, ALeaderThatIsCutOffAnswersUntilItsLeaseEnds) {
  Leases leases(1);
  leases.Begin();
  leases.CutOffLeader();
  const uint64_t before = leases.answered();
  leases.cluster().RunFor(Milliseconds(600));
  const uint64_t within = leases.answered();
  EXPECT_GT(within, before + 50);
  leases.cluster().RunFor(Milliseconds(250));
  const uint64_t after = leases.answered();
  leases.cluster().RunFor(Seconds(3));
  EXPECT_LE(leases.answered(), after + 1);
  EXPECT_FALSE(leases.stale());
}

TEST(LeaseSim, APauseEndsTheLease) { EXPECT_EQ(FirstStale(4, LeaderSleeps), 0u); }

TEST(LeaseSim, ARestartedVoterKeepsStill) { EXPECT_EQ(FirstStale(8, VoterRestarts), 0u); }

TEST(LeaseSim, AClockMayDriftWithinTheMarginAndNotBeyond) {
  for (const int64_t within : {-100'000, 100'000}) {
    EXPECT_EQ(FirstStale(4, [&](uint64_t seed) { return LeadersClockDrifts(seed, within); }), 0u);
  }
  const uint64_t found =
      FirstStale(8, [](uint64_t seed) { return LeadersClockDrifts(seed, -500'000); });
  EXPECT_NE(found, 0u);
}

TEST(LeaseSim, AMemberWithAnotherReadModeIsKeptOut) {
  bool same = false;
  ClusterHarness cluster({.seed = 5,
                          .lease_reads = true,
                          .adjust = [&](const std::string& name, server::Config& config) {
                            if (name == "n3") config.raft.lease_reads = same;
                          }});
  ClusterMember& odd = *cluster.members()[2];
  for (const auto& member : cluster.members()) cluster.Start(*member);
  const auto serve = [&](size_t i) { return cluster.members()[i]->node.serving(); };
  ASSERT_TRUE(cluster.RunUntil([&] { return serve(0) && serve(1); }, Seconds(20)));
  cluster.RunFor(Seconds(10));
  EXPECT_TRUE(odd.node.running());
  EXPECT_FALSE(odd.node.serving());
  EXPECT_GT(cluster.members()[0]->node.machine().log().Count("--read-mode") +
                odd.node.machine().log().Count("--read-mode"),
            0u);
  same = true;
  odd.node.Stop();
  odd.restart_at = cluster.world().Now();
  EXPECT_TRUE(cluster.RunUntil([&] { return serve(2); }, Seconds(20)));
}

#ifdef MS_MUTATIONS

uint64_t FirstStaleWith(server::Mutation mutation, uint64_t seeds, bool (*scenario)(uint64_t)) {
  Plant(mutation);
  const uint64_t found = FirstStale(seeds, scenario);
  Plant(server::Mutation::kNone);
  return found;
}

TEST(LeaseSim, FindsALeaseKeptOverAPause) {
  EXPECT_NE(FirstStaleWith(server::Mutation::kLeaseOverPause, 4, LeaderSleeps), 0u);
}

TEST(LeaseSim, FindsTicksThatAreGivenLate) {
  EXPECT_NE(FirstStaleWith(server::Mutation::kLeaseTicksLate, 8, LeaderSleeps), 0u);
}

TEST(LeaseSim, FindsAVoterThatForgetsWhatItPromised) {
  EXPECT_NE(FirstStaleWith(server::Mutation::kLeasePromiseForgotten, 20, VoterRestarts), 0u);
}

#endif

}  // namespace
}  // namespace metastore::sim_test
