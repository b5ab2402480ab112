// Aim: a full disk costs a cluster neither writes nor its leader: a leader whose log takes no more
// hands over to a member with room, one that has nobody to hand over to leads on, and clients are
// told the cause only where it is one. Method: whole nodes on simulated disks whose capacity ends;
// writes of 7 kB through chosen members.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sim/cluster_harness.h"
#include "tests/sim/node_harness.h"

namespace metastore::sim_test {
namespace {

constexpr size_t kValueBytes = 7000;
constexpr std::string_view kNoSpace = "etcdserver: mvcc: database space exceeded";
constexpr std::string_view kTooMany = "etcdserver: too many requests";

// Writes through the members it is given until it is let go; counts what it is told.
class Writes {
 public:
  Writes(sim::SimWorld& world, io::Runtime& client)
      : world_(world), runtime_(client), gate_(client.scheduler()) {}
  explicit Writes(ClusterHarness& cluster) : Writes(cluster.world(), cluster.client().runtime()) {}
  ~Writes() {
    on_ = false;
    CHECK(world_.RunUntil([&] { return gate_.running() == 0; }, Seconds(60)));
  }
  void Through(io::Address address) {
    gate_.Spawn("write", io::ReadyClass::kClient, Write(std::move(address)));
  }
  void Through(ClusterMember& member) { Through({member.node.machine().ip(), 2379}); }
  uint64_t done() const { return done_; }
  uint64_t no_space() const { return no_space_; }
  uint64_t too_many() const { return too_many_; }

 private:
  io::Task<void> Write(io::Address address) {
    KvClient client(runtime_, address);
    while (on_) {
      StatusOr<PutAck> put =
          co_await client.Put(Concat("k", done_ % 10), std::string(kValueBytes, 'v'),
                              runtime_.Now() + Milliseconds(500));
      if (put.ok()) ++done_;
      const std::string_view why = StdView(put.status().message());
      no_space_ += why == kNoSpace ? 1 : 0;
      too_many_ += why == kTooMany ? 1 : 0;
      if (!put.ok() && put.status().code() != StatusCode::kResourceExhausted) {
        co_await client.Reset();
      }
      co_await io::SleepUntil(runtime_, runtime_.Now() + Milliseconds(5));
    }
    co_await client.Reset();
  }

  sim::SimWorld& world_;
  io::Runtime& runtime_;
  io::Gate gate_;
  uint64_t done_ = 0;
  uint64_t no_space_ = 0;
  uint64_t too_many_ = 0;
  bool on_ = true;
};

class FullDiskSim : public testing::Test {
 protected:
  FullDiskSim() {
    Status booted = cluster_.Boot();
    CHECK(booted.ok());
    CHECK(cluster_.RunUntil([&] { return cluster_.Leader() != nullptr; }, Seconds(10)));
    leader_ = cluster_.Leader();
  }
  static bool Full(ClusterMember& member) {
    return member.node.running() && member.node.state().group().status().log_full;
  }
  static void Fill(ClusterMember& member) {
    member.node.disk().options().capacity_bytes = member.node.disk().used_bytes();
  }
  static void MakeRoom(ClusterMember& member) {
    member.node.disk().options().capacity_bytes = uint64_t{64} << 30;
  }
  bool AllFull() {
    return std::ranges::all_of(cluster_.members(), [](const auto& m) { return Full(*m); });
  }
  bool OtherLeads() {
    ClusterMember* const now = cluster_.Leader();
    return now != nullptr && now != leader_;
  }
  void ExpectFine() {
    EXPECT_TRUE(cluster_.ok()) << cluster_.problems().front() << cluster_.world().PrintLogs(20);
  }

  ClusterHarness cluster_{{.seed = 21, .snapshot_count = 50}};
  ClusterMember* leader_ = nullptr;
};

TEST_F(FullDiskSim, ALeaderHandsOverAndDoesNotTakeItBack) {
  Writes writes(cluster_);
  for (const auto& member : cluster_.members()) {
    if (member.get() != leader_) writes.Through(*member);
  }
  Fill(*leader_);
  ASSERT_TRUE(cluster_.RunUntil([&] { return Full(*leader_); }, Seconds(60)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return OtherLeads(); }, Seconds(3)));
  const uint64_t before = writes.done();
  ASSERT_TRUE(cluster_.RunUntil([&] { return writes.done() > before + 10; }, Seconds(3)));
  EXPECT_EQ(leader_->node.state().group().metrics().full_disk_hand_overs, 1u);
  // Nor is it made to, while its disk is full and for a while after.
  for (const auto& member : cluster_.members()) {
    if (member.get() == leader_) continue;
    cluster_.world().network().Isolate(member->node.machine());
    cluster_.RunFor(Seconds(4));
    EXPECT_NE(cluster_.Leader(), leader_);
    cluster_.world().network().HealAll();
    cluster_.RunFor(Seconds(4));
  }
  MakeRoom(*leader_);
  EXPECT_TRUE(cluster_.RunUntil([&] { return !Full(*leader_); }, Seconds(10)));
  cluster_.RunFor(Seconds(15));
  ExpectFine();
}

TEST_F(FullDiskSim, WhereAllAreFullNobodyFlapsAndRoomIsEnough) {
  uint64_t elections = 0;
  {
    Writes writes(cluster_);
    for (const auto& member : cluster_.members()) {
      writes.Through(*member);
      Fill(*member);
    }
    ASSERT_TRUE(cluster_.RunUntil([&] { return AllFull(); }, Seconds(60)));
    cluster_.RunFor(Seconds(5));  // one that was not full yet may have been offered leadership
    elections = cluster_.counts().elections;
    const uint64_t done = writes.done();
    const uint64_t refused = writes.no_space();
    ClusterMember* const leads = cluster_.Leader();
    cluster_.RunFor(Seconds(30));
    EXPECT_EQ(cluster_.counts().elections, elections);
    EXPECT_EQ(cluster_.Leader(), leads);
    EXPECT_EQ(writes.done(), done);
    EXPECT_GT(writes.no_space(), refused + 500);
    for (const auto& member : cluster_.members()) MakeRoom(*member);
    EXPECT_TRUE(cluster_.RunUntil([&] { return writes.done() > done + 100; }, Seconds(20)));
  }
  ExpectFine();
}

TEST_F(FullDiskSim, WhereAllAreFullOneLeadsAfterARestartOfAll) {
  {
    Writes writes(cluster_);
    for (const auto& member : cluster_.members()) {
      writes.Through(*member);
      Fill(*member);
    }
    ASSERT_TRUE(cluster_.RunUntil([&] { return AllFull(); }, Seconds(60)));
  }
  for (const auto& member : cluster_.members()) member->node.machine().PowerLoss();
  cluster_.RunFor(Milliseconds(10));
  ASSERT_TRUE(cluster_.RunUntil([&] { return AllFull(); }, Seconds(30)));
  EXPECT_TRUE(cluster_.RunUntil([&] { return cluster_.Leader() != nullptr; }, Seconds(20)));
  const uint64_t elections = cluster_.counts().elections;
  cluster_.RunFor(Seconds(30));
  EXPECT_EQ(cluster_.counts().elections, elections);
  for (const auto& member : cluster_.members()) MakeRoom(*member);
  {
    Writes writes(cluster_);
    for (const auto& member : cluster_.members()) writes.Through(*member);
    EXPECT_TRUE(cluster_.RunUntil([&] { return writes.done() > 100; }, Seconds(30)));
  }
  ExpectFine();
}

TEST(FullDiskOfOne, KeepsLeading) {
  ClusterHarness cluster({.seed = 22, .nodes = 1});
  ASSERT_EQ(cluster.Boot(), OkStatus());
  ClusterMember& member = *cluster.members()[0];
  Writes writes(cluster);
  writes.Through(member);
  member.node.disk().options().capacity_bytes = member.node.disk().used_bytes();
  ASSERT_TRUE(cluster.RunUntil([&] { return writes.no_space() > 10; }, Seconds(60)));
  cluster.RunFor(Seconds(20));
  EXPECT_EQ(cluster.Leader(), &member);
  EXPECT_EQ(cluster.counts().elections, 1u);
}

// The log waits for its next segments while the disk has all the room there is.
TEST(SlowPreparation, IsNoLackOfSpace) {
  NodeHarness harness({.seed = 4, .snapshot_count = 1'000'000'000});
  ASSERT_EQ(harness.Boot(), OkStatus());
  harness.disk().options().latency = Milliseconds(10);
  Writes writes(harness.world(), harness.client_runtime());
  for (int i = 0; i < 32; ++i) writes.Through(harness.address());
  harness.world().RunFor(Seconds(3));
  EXPECT_GT(writes.done(), 100u);
  EXPECT_GT(writes.too_many(), 0u);
  EXPECT_EQ(writes.no_space(), 0u);
  harness.disk().options().capacity_bytes = harness.disk().used_bytes();
  harness.world().RunFor(Seconds(3));
  EXPECT_GT(writes.no_space(), 0u);
}

}  // namespace
}  // namespace metastore::sim_test
