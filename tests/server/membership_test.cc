// Aim: ids equal etcd's, and a cluster's members agree on them. Method: known values of etcd
// clusters, and the rule's independence of orders.
#include "server/membership.h"

#include <gtest/gtest.h>

namespace metastore::server {
namespace {

ClusterConfig Cluster(std::vector<InitialMember> members, std::string token = "etcd-cluster") {
  return {.initial_cluster = std::move(members), .token = std::move(token)};
}

// The ids every etcd with default flags has.
TEST(Membership, DefaultMemberHasItsWellKnownIds) {
  const NodeId member = MemberIdOf({"http://localhost:2380"}, "etcd-cluster");
  EXPECT_EQ(member.value(), 0x8e9e05c52164694dU);
  EXPECT_EQ(ClusterIdOf({member}).value(), 0xcdf818194e3a8c32U);
}

// The three members of etcd's own Procfile.
TEST(Membership, ThreeMembersOfTheLocalClusterHaveTheirWellKnownIds) {
  const std::string token = "etcd-cluster-1";
  const NodeId first = MemberIdOf({"http://127.0.0.1:12380"}, token);
  const NodeId second = MemberIdOf({"http://127.0.0.1:22380"}, token);
  const NodeId third = MemberIdOf({"http://127.0.0.1:32380"}, token);
  EXPECT_EQ(first.value(), 0x8211f1d0f64f3269U);
  EXPECT_EQ(second.value(), 0x91bc3c398fb3c146U);
  EXPECT_EQ(third.value(), 0xfd422379fda50e48U);
  EXPECT_EQ(ClusterIdOf({third, first, second}).value(), 0xef37ad9dc622a7c4U);
}

TEST(Membership, OrderOfUrlsAndMembersDoesNotMatter) {
  EXPECT_EQ(MemberIdOf({"http://b:1", "http://a:1"}, "t"),
            MemberIdOf({"http://a:1", "http://b:1"}, "t"));
  EXPECT_EQ(ClusterIdOf({NodeId(1), NodeId(2)}), ClusterIdOf({NodeId(2), NodeId(1)}));
}

TEST(Membership, TokenAndTimeChangeTheId) {
  const NodeId plain = MemberIdOf({"http://a:1"}, "t");
  EXPECT_NE(plain, MemberIdOf({"http://a:1"}, "u"));
  EXPECT_NE(plain, MemberIdOf({"http://a:1"}, "t", 1700000000));
  // The time is appended in decimal.
  EXPECT_EQ(MemberIdOf({"http://a:1"}, "t1700000000"), MemberIdOf({"http://a:1"}, "t", 1700000000));
}

TEST(Membership, BootstrapOfOneAndOfThreeTakesOnePath) {
  const InitialMember a{.name = "a", .peer_urls = {"http://a:2", "http://a:1"}};
  const InitialMember b{.name = "b", .peer_urls = {"http://b:1"}};
  const InitialMember c{.name = "c", .peer_urls = {"http://c:1"}};

  const StatusOr<Bootstrap> one = MakeBootstrap(Cluster({a}), "a");
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->members.size(), 1U);
  EXPECT_EQ(one->self, MemberIdOf({"http://a:1", "http://a:2"}, "etcd-cluster"));
  EXPECT_EQ(one->members[0].peer_urls, (std::vector<std::string>{"http://a:1", "http://a:2"}));
  EXPECT_EQ(one->cluster_id, ClusterIdOf({one->self}));

  const StatusOr<Bootstrap> from_a = MakeBootstrap(Cluster({a, b, c}), "a");
  const StatusOr<Bootstrap> from_c = MakeBootstrap(Cluster({c, b, a}), "c");
  ASSERT_TRUE(from_a.ok());
  ASSERT_TRUE(from_c.ok());
  EXPECT_EQ(from_a->members, from_c->members);
  EXPECT_EQ(from_a->cluster_id, from_c->cluster_id);
  EXPECT_NE(from_a->self, from_c->self);
  EXPECT_LT(from_a->members[0].id, from_a->members[1].id);
  EXPECT_LT(from_a->members[1].id, from_a->members[2].id);
}

TEST(Membership, MissingSelfAndTwinsAreRefused) {
  const InitialMember a{.name = "a", .peer_urls = {"http://a:1"}};
  const InitialMember twin{.name = "b", .peer_urls = {"http://a:1"}};
  const Status missing = MakeBootstrap(Cluster({a}), "b").status();
  EXPECT_EQ(missing.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(missing.message().find("no member is called b"), absl::string_view::npos);
  const Status same = MakeBootstrap(Cluster({a, twin}), "a").status();
  EXPECT_EQ(same.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(same.message().find("same peer URLs"), absl::string_view::npos);
}

}  // namespace
}  // namespace metastore::server
