// Aim: a member that has joined, and ends before any leader has told it of the others, starts again
// whoever is up, and serves once somebody is; a member that was cut off while others joined votes
// for them. Method: one is killed the moment its log exists, while the leader cannot reach it, and
// starts alone; one comes back when all whom it knew have gone.
#include <gtest/gtest.h>

#include "server/membership.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {
namespace {

io::Task<void> Ask(SimNode& node, server::MemberOp op, server::Member member, uint64_t number,
                   bool& done) {
  const Status changed = co_await ChangeMember(node, op, std::move(member), number, Seconds(5));
  done = changed.ok();
}

server::Member NewMember(ClusterMember& member) {
  server::Member added{.peer_urls = {Concat("http://", member.node.machine().ip(), ":2380")}};
  added.id = server::MemberIdOf(added.peer_urls, "etcd-cluster", 1);
  return added;
}

// Until the leader does it.
bool Change(ClusterHarness& cluster, server::MemberOp op, const server::Member& member) {
  static uint64_t number = 0;
  bool done = false;
  for (int i = 0; i < 20 && !done; ++i) {
    ClusterMember* const leader = cluster.Leader();
    if (leader != nullptr) leader->node.SpawnCall(Ask(leader->node, op, member, ++number, done));
    cluster.RunUntil([&] { return done; }, Seconds(1));
  }
  return done;
}

TEST(JoinSim, AMemberThatHasNotHeardFromTheLeaderStartsAndWaits) {
  ClusterHarness cluster({.seed = 31, .spares = 1});
  ASSERT_EQ(cluster.Boot(), OkStatus());
  cluster.RunFor(Seconds(8));  // links must have been up for a while
  ClusterMember* const leader = cluster.Leader();
  ASSERT_NE(leader, nullptr);
  ClusterMember& joins = *cluster.members()[3];

  const server::Member added = NewMember(joins);
  ASSERT_TRUE(Change(cluster, server::MemberOp::kAdd, added));
  joins.id = added.id;
  joins.standing = Standing::kJoining;
  cluster.world().network().CutOneWay(leader->node.machine(), joins.node.machine());
  cluster.Start(joins);
  ASSERT_TRUE(cluster.RunUntil([&] { return joins.node.running(); }, Seconds(30)));
  ASSERT_TRUE(joins.node.state().group().members().all().empty());

  for (const auto& member : cluster.members()) {
    member->restart_at = MonoTime::Max() - Nanoseconds(1);  // not before it is told
    member->node.machine().PowerLoss();
  }
  cluster.RunFor(Milliseconds(10));
  cluster.world().network().HealAll();
  cluster.Start(joins);
  cluster.RunFor(Seconds(20));
  EXPECT_TRUE(joins.node.running());
  EXPECT_FALSE(joins.node.serving());
  EXPECT_EQ(joins.node.machine().log().Count("waiting for another member"), 1u);

  for (size_t i = 0; i < 3; ++i) cluster.Start(*cluster.members()[i]);
  EXPECT_TRUE(cluster.RunUntil([&] { return joins.node.serving(); }, Seconds(30)))
      << cluster.world().PrintLogs(20);
  joins.standing = Standing::kIn;
  cluster.Settle(Seconds(30));
  EXPECT_TRUE(cluster.ok()) << cluster.problems().front();
}

TEST(JoinSim, AMemberThatWasCutOffVotesForThoseWhoJoinedMeanwhile) {
  ClusterHarness cluster(
      {.seed = 32, .spares = 2, .adjust = [](const std::string& /*name*/, server::Config& config) {
         config.cluster.strict_reconfig = false;
       }});
  ASSERT_EQ(cluster.Boot(), OkStatus());
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.Leader() != nullptr; }, Seconds(10)));
  ASSERT_NE(cluster.Leader(), nullptr);
  auto& members = cluster.members();
  ClusterMember& cut_off = *members[members[0].get() == cluster.Leader() ? 1 : 0];
  for (const auto& member : members) {
    if (member.get() == &cut_off) continue;
    cluster.world().network().Cut(cut_off.node.machine(), member->node.machine());
  }
  for (size_t i = 3; i < members.size(); ++i) {
    server::Member joins = NewMember(*members[i]);
    joins.is_learner = true;
    ASSERT_TRUE(Change(cluster, server::MemberOp::kAddLearner, joins));
    members[i]->id = joins.id;
    members[i]->standing = Standing::kJoining;
    cluster.Start(*members[i]);
    ASSERT_TRUE(Change(cluster, server::MemberOp::kPromote, joins));
    members[i]->standing = Standing::kIn;
  }
  std::vector<ClusterMember*> gone;
  for (size_t i = 0; i < 3; ++i) {
    if (members[i].get() != &cut_off) gone.push_back(members[i].get());
  }
  for (ClusterMember* member : gone) {
    member->restart_at = MonoTime::Max() - Nanoseconds(1);  // not before it is told
    member->node.machine().PowerLoss();
  }
  cluster.RunFor(Milliseconds(10));
  cluster.world().network().HealAll();
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Leader() != nullptr; }, Seconds(30)))
      << "three of five are up";
  for (ClusterMember* member : gone) cluster.Start(*member);
  cluster.Settle(Seconds(30));
  EXPECT_TRUE(cluster.ok()) << cluster.problems().front();
}

}  // namespace
}  // namespace metastore::sim_test
