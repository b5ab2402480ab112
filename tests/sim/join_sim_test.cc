// Aim: a member that has joined, and ends before any leader has told it of the others, starts again
// whoever is up, and serves once somebody is. Method: it is killed the moment its log exists, while
// the leader cannot reach it; then it starts alone.
#include <gtest/gtest.h>

#include "server/membership.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {
namespace {

io::Task<void> Add(SimNode& node, server::Member member, bool& done) {
  const Status added =
      co_await ChangeMember(node, server::MemberOp::kAdd, std::move(member), 1, Seconds(5));
  done = added.ok();
}

TEST(JoinSim, AMemberThatHasNotHeardFromTheLeaderStartsAndWaits) {
  ClusterHarness cluster({.seed = 31, .spares = 1});
  ASSERT_EQ(cluster.Boot(), OkStatus());
  cluster.RunFor(Seconds(8));  // links must have been up for a while
  ClusterMember* const leader = cluster.Leader();
  ASSERT_NE(leader, nullptr);
  ClusterMember& joins = *cluster.members()[3];

  server::Member added{.peer_urls = {Concat("http://", joins.node.machine().ip(), ":2380")}};
  added.id = server::MemberIdOf(added.peer_urls, "etcd-cluster", 1);
  bool done = false;
  leader->node.SpawnCall(Add(leader->node, added, done));
  ASSERT_TRUE(cluster.RunUntil([&] { return done; }, Seconds(10)));
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

}  // namespace
}  // namespace metastore::sim_test
