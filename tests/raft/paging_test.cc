// Aim: entries that are no more in a node's memory come from its disk, page by page, for followers
// far behind and for apply (kUnavailable, then EntriesFetched). Method: clusters whose logs keep
// 200 bytes in memory; what the disk gives is given by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

class Paging : public testing::Test {
 protected:
  static constexpr uint64_t kEntries = 100;

  Paging() {
    Cluster::Options options;
    options.tail_bytes = 200;
    options.configure = [](Config& config) {
      config.message_bytes_max = 400;
      config.inflight_bytes_max = 1000;
    };
    cluster_.emplace(options);
    cluster_->Elect(1);
    cluster_->Settle();
  }
  // `id` misses entries that the leader keeps on its disk only.
  void FallBehind(const std::vector<uint64_t>& ids) {
    cluster_->lost = [ids](const Message& m) {
      return std::find(ids.begin(), ids.end(), m.to.value()) != ids.end();
    };
    for (uint64_t i = 0; i < kEntries; ++i) {
      cluster_->Propose(1, "value");
      cluster_->Settle();
    }
    cluster_->lost = [](const Message&) { return false; };
  }
  void Hear(int ticks) {
    for (int i = 0; i < ticks; ++i) {
      cluster_->Tick(1);
      cluster_->Settle();
    }
  }

  std::optional<Cluster> cluster_;
};

TEST_F(Paging, FeedsAFollowerFarBehindFromTheDisk) {
  FallBehind({3});
  ASSERT_GT(cluster_->node(1).view->tail_begin(), cluster_->core(3).last_index() + kEntries / 2);
  Hear(3);
  EXPECT_TRUE(cluster_->Converged()) << cluster_->Describe();
  EXPECT_GE(cluster_->node(1).fetches, 5u);
  EXPECT_EQ(cluster_->node(3).start.last.index, LogIndex(1));  // without a snapshot
}

TEST_F(Paging, SendsNothingButHeartbeatsWhileItWaitsForTheDisk) {
  FallBehind({3});
  const auto tick_without_fetching = [this] {
    cluster_->Tick(1);
    while (cluster_->Deliver(0) || cluster_->Flush(3)) {
    }
  };
  tick_without_fetching();
  EXPECT_TRUE(cluster_->node(1).wanted.has_value());
  const LogIndex before = cluster_->core(3).last_index();
  for (int i = 0; i < 3; ++i) tick_without_fetching();
  EXPECT_EQ(cluster_->core(3).last_index(), before);
  EXPECT_TRUE(cluster_->core(1).is_leader());
  Hear(3);
  EXPECT_TRUE(cluster_->Converged());
}

TEST_F(Paging, OfTwoFollowersTakesTurns) {
  Cluster::Options options;
  options.nodes = options.voters = 5;
  options.tail_bytes = 200;
  options.configure = [](Config& config) { config.message_bytes_max = 400; };
  cluster_.emplace(options);
  cluster_->Elect(1);
  cluster_->Settle();
  FallBehind({4, 5});
  Hear(10);
  EXPECT_TRUE(cluster_->Converged()) << cluster_->Describe();
}

TEST_F(Paging, ServesApplyAfterARestart) {
  FallBehind({});
  cluster_->Crash(3);
  cluster_->node(3).store = cluster_->node(3).start;  // its state machine is at the beginning
  cluster_->Restart(3);
  Hear(3);
  EXPECT_TRUE(cluster_->Converged()) << cluster_->Describe();
}

}  // namespace
}  // namespace metastore::raft
