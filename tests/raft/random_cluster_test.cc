// Aim: under any schedule nothing committed is lost, no term has two leaders, replicas apply the
// same entries, reads are not stale, and when the faults stop the cluster makes progress again.
// Method: five nodes, at first three voters; a seed draws every step: ticks, deliveries in any
// order, losses, repeats, flushes and applies one at a time, crashes with a random part of the
// waiting writes durable, restarts, compactions, membership changes, transfers, reads. Cluster
// checks after each.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

constexpr uint64_t kNodes = 5;

class RandomRun {
 public:
  RandomRun(uint64_t seed, bool safe_elections)
      : prng_(seed), wildness_(seed % 4), cluster_(MakeOptions(seed, safe_elections)) {}

  void Run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) Step();
    if (!testing::Test::HasFailure()) Recover();
  }

 private:
  static Cluster::Options MakeOptions(uint64_t seed, bool safe_elections) {
    Cluster::Options options;
    options.nodes = kNodes;
    options.seed = seed;
    options.configure = [safe_elections, seed](Config& config) {
      config.election_ticks = 5;
      config.pre_vote = safe_elections;
      config.check_quorum = safe_elections;
      // Small limits, so that every window fills.
      config.inflight_messages_max = 2 + seed % 3;
      config.message_bytes_max = 100 + 50 * (seed % 4);
      config.inflight_bytes_max = 2 * config.message_bytes_max;
      config.apply_bytes_max = 150;
      config.uncommitted_bytes_max = 400;
    };
    return options;
  }

  uint64_t AnyNode() { return 1 + prng_.Below(kNodes); }
  uint64_t AnyUp() {
    const uint64_t from = AnyNode();
    for (uint64_t i = 0; i < kNodes; ++i) {
      const uint64_t id = 1 + (from + i) % kNodes;
      if (cluster_.up(id)) return id;
    }
    cluster_.Restart(from);
    return from;
  }
  uint64_t LeaderOrAny() {
    const uint64_t leader = cluster_.Leader();
    return leader != 0 && prng_.Chance(9, 10) ? leader : AnyUp();
  }

  void Step() {
    const uint64_t kind = prng_.Below(1000);
    if (kind < 480) {
      NetworkStep();
    } else if (kind < 680) {
      cluster_.Flush(AnyNode());
    } else if (kind < 800) {
      cluster_.Apply(AnyNode());
    } else if (kind < 860) {
      cluster_.Tick(AnyNode());
    } else if (kind < 940) {
      cluster_.Propose(LeaderOrAny(), "v" + std::to_string(++values_));
    } else if (kind < 970) {
      cluster_.Read(AnyUp(), ReadToken(++reads_));
    } else if (prng_.Chance(1, 4 - wildness_)) {
      RareStep(prng_.Below(40));
    }
  }

  void NetworkStep() {
    std::vector<Message>& network = cluster_.network();
    if (network.empty()) return;
    // Mostly the oldest, so that something happens; sometimes any.
    const size_t at = prng_.Chance(3, 4) ? 0 : prng_.Below(network.size());
    const uint64_t fate = prng_.Below(100);
    if (fate < 2 * wildness_) {
      network.erase(network.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (fate < 3 * wildness_) {
      network.push_back(network[at]);
    } else {
      cluster_.Deliver(at);
    }
    if (network.size() > 300) network.erase(network.begin(), network.begin() + 100);
  }

  void RareStep(uint64_t kind) {
    if (kind < 4) {
      cluster_.Crash(AnyNode(), prng_.Below(4));
    } else if (kind < 16) {
      cluster_.Restart(AnyNode());
    } else if (kind < 22) {
      cluster_.Snapshot(AnyUp());
    } else if (kind < 28) {
      ChangeMembership();
    } else if (kind < 31) {
      const uint64_t from = LeaderOrAny();
      cluster_.core(from).TransferLeader(NodeId(AnyNode())).IgnoreError();
      cluster_.Pump(from);
    } else if (kind < 34) {
      const uint64_t id = LeaderOrAny();
      cluster_.core(id).ReportUnreachable(NodeId(AnyNode()));
      cluster_.core(id).ReportSnapshot(NodeId(AnyNode()), prng_.Chance(1, 2));
      cluster_.Pump(id);
    } else if (kind < 36) {
      const uint64_t id = AnyUp();
      cluster_.core(id).StepDown();
      cluster_.Pump(id);
    } else if (kind < 38) {
      const uint64_t id = AnyUp();
      EXPECT_TRUE(cluster_.core(id).ForgetLeader().ok());
      cluster_.Pump(id);
    } else {
      const uint64_t id = AnyUp();
      cluster_.core(id).Campaign();
      cluster_.Pump(id);
    }
  }

  void ChangeMembership() {
    ConfChange change;
    const uint64_t steps = prng_.Below(3);  // none: leave a joint membership
    for (uint64_t i = 0; i < steps; ++i) {
      const auto kind = static_cast<ConfChangeKind>(prng_.Below(4));
      change.steps.push_back({kind, NodeId(AnyNode())});
    }
    if (steps > 0) change.transition = static_cast<ConfTransition>(prng_.Below(3));
    const uint64_t id = LeaderOrAny();
    cluster_.core(id).ProposeConfChange(change);
    cluster_.Pump(id);
  }

  // No more faults: all nodes run, all messages arrive, time passes.
  void Recover() {
    for (uint64_t id = 1; id <= kNodes; ++id) cluster_.Restart(id);
    cluster_.Settle();
    const std::string last = "last";
    for (int round = 0; round < 400 && !testing::Test::HasFailure(); ++round) {
      for (uint64_t id = 1; id <= kNodes; ++id) cluster_.Tick(id);
      cluster_.Settle();
      const uint64_t leader = cluster_.Leader();
      if (leader == 0) continue;
      // What the peer links do when a snapshot did not arrive.
      for (uint64_t id = 1; id <= kNodes; ++id) {
        cluster_.core(leader).ReportSnapshot(NodeId(id), /*ok=*/false);
      }
      const ProposeResult result = cluster_.Propose(leader, last);
      cluster_.Settle();
      if (result.code == ProposeCode::kAccepted && MembersHave(leader, result.first.index)) return;
    }
    FAIL() << "no progress after the faults\n" << cluster_.Describe();
  }

  bool MembersHave(uint64_t leader, LogIndex index) {
    const ConfState conf = cluster_.core(leader).conf();
    for (const NodeId id : conf.voters) {
      if (cluster_.core(id.value()).applied() < index) return false;
    }
    return true;
  }

  Prng prng_;
  uint64_t wildness_;  // 0: hardly a fault, 3: many
  Cluster cluster_;
  uint64_t values_ = 0;
  uint64_t reads_ = 0;
};

uint64_t Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::strtoull(value, nullptr, 10);
}

// MS_RAFT_SEEDS in the environment runs that many more; MS_RAFT_SEED only that one.
void RunSeeds(uint64_t first, bool safe_elections) {
  uint64_t count = 150 + Environment("MS_RAFT_SEEDS");
  if (const uint64_t only = Environment("MS_RAFT_SEED"); only != 0) {
    first = only;
    count = 1;
  }
  for (uint64_t seed = first; seed < first + count; ++seed) {
    RandomRun(seed, safe_elections).Run(6000);
    if (testing::Test::HasFailure()) {
      GTEST_FAIL() << "replay: MS_RAFT_SEED=" << seed << " raft_test --gtest_filter="
                   << testing::UnitTest::GetInstance()->current_test_info()->test_suite_name()
                   << "." << testing::UnitTest::GetInstance()->current_test_info()->name();
    }
  }
}

TEST(RandomCluster, IsSafeAndRecoversWithPreVoteAndCheckQuorum) { RunSeeds(1, true); }
TEST(RandomCluster, IsSafeAndRecoversWithPlainElections) { RunSeeds(1000001, false); }

}  // namespace
}  // namespace metastore::raft
