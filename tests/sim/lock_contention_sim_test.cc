// Aim: over members that fail, at most one contender has a lock at any revision, nobody waits in
// vain, and an observer of an election misses nothing. Method: contenders that try again as clients
// do, by calls of any length at any member, while leaders die and are cut off and history is
// compacted, with a guard that only the holder may enter; what they and the observers were told is
// held against the store's history afterwards.

#include <gtest/gtest.h>

#include <functional>

#include "election.pb.h"
#include "lock.pb.h"
#include "rpc.pb.h"
#include "server/mutation.h"
#include "tests/sim/cluster_harness.h"
#include "tests/sim/node_harness.h"
#include "tests/sim/service_client.h"

namespace metastore::sim_test {
namespace {

constexpr int64_t kTtlSeconds = 3000;  // no lease ends by itself

struct Holding {
  std::string key;
  int64_t revision = 0;  // of the answer's header
};

// The existence of one key, [created, deleted).
struct Span {
  std::string key;
  int64_t created = 0;
  int64_t deleted = INT64_MAX;
};

std::vector<Span> SpansOf(const StoreHistory& store, const std::string& prefix) {
  std::vector<Span> spans;
  for (const auto& [key, versions] : store.keys()) {
    if (!key.starts_with(prefix)) continue;
    bool there = false;
    for (const StoreHistory::Version& version : versions) {
      if (version.deleted) {
        spans.back().deleted = version.revision;
      } else if (!there) {
        spans.push_back({.key = key, .created = version.revision});
      }
      there = !version.deleted;
    }
  }
  return spans;
}

// Who was told that it holds, did, and nobody before it was there.
std::vector<std::string> CheckHoldings(const std::vector<Span>& spans,
                                       const std::vector<Holding>& holdings) {
  std::vector<std::string> problems;
  for (const Holding& holding : holdings) {
    const int64_t at = holding.revision;
    const auto there = [at](const Span& span) { return span.created <= at && at < span.deleted; };
    const auto own = std::ranges::find_if(
        spans, [&](const Span& span) { return span.key == holding.key && there(span); });
    if (own == spans.end()) {
      problems.push_back(Concat(holding.key, " is not there at ", at));
      continue;
    }
    for (const Span& span : spans) {
      if (span.created < own->created && there(span)) {
        problems.push_back(Concat(holding.key, " is told to hold at ", at, " behind ", span.key));
      }
    }
  }
  return problems;
}

// Contenders, each with a lease of its own a round, who try again until they hold, by calls of any
// length, at any member.
class Contention {
 public:
  struct Parts {
    sim::SimWorld& world;
    io::Runtime& runtime;  // of the clients
    std::vector<io::Address> servers;
    // Runs the world until it is done, or for so long.
    std::function<bool(const std::function<bool()>& done, Duration limit)> run;
    // Where history may be compacted to.
    std::function<int64_t()> compact_to;
  };
  Contention(Parts parts, int rounds)
      : parts_(std::move(parts)),
        rounds_(rounds),
        gate_(std::make_unique<io::Gate>(parts_.runtime.scheduler())) {}
  ~Contention() {
    on_ = false;
    CHECK(parts_.run([&] { return gate_->running() == 0; }, Seconds(120)));
  }

  void Begin(int contenders) {
    for (int i = 0; i < contenders; ++i) {
      gate_->Spawn("contend", io::ReadyClass::kClient, Contend(i));
    }
    if (parts_.compact_to) gate_->Spawn("compact", io::ReadyClass::kClient, Compact());
    all_ = static_cast<uint64_t>(contenders * rounds_);
  }
  bool RunToTheEnd(Duration limit) {
    return parts_.run([&] { return holdings_.size() == all_ && holder_ < 0; }, limit);
  }
  // Until so many more have held.
  bool RunOn(size_t more, Duration limit) {
    const size_t target = std::min<size_t>(holdings_.size() + more, all_);
    return parts_.run([&] { return holdings_.size() >= target; }, limit);
  }

  const std::vector<Holding>& holdings() const { return holdings_; }
  const std::vector<std::string>& problems() const { return problems_; }
  uint64_t retries() const { return retries_; }
  uint64_t compactions() const { return compactions_; }

 private:
  io::Runtime& runtime() { return parts_.runtime; }
  Prng& prng() { return parts_.world.prng(); }
  const io::Address& AnyServer() { return parts_.servers[prng().Below(parts_.servers.size())]; }
  io::SignalWait Sleep(Duration span) { return io::SleepUntil(runtime(), runtime().Now() + span); }
  Duration AnyPatience() {
    static constexpr Duration kPatience[] = {Milliseconds(50), Milliseconds(500), Seconds(5),
                                             Seconds(60)};
    return kPatience[prng().Below(std::size(kPatience))];
  }

  // Calls until it is answered with OK, or with the code that says it was done before.
  template <typename Response, typename Request>
  io::Task<void> Insist(ServiceClient& client, std::string path, Request request,
                        StatusCode done_before) {
    while (on_) {
      auto reply =
          co_await client.Call<Response>(path, request, runtime().Now() + Milliseconds(1500));
      if (reply.ok() || reply.status().code() == done_before) co_return;
      co_await MoveOn(client);
    }
  }
  io::Task<void> MoveOn(ServiceClient& client) {
    ++retries_;
    co_await client.Reset();
    client.MoveTo(AnyServer());
    co_await Sleep(Milliseconds(20));
  }

  io::Task<void> Contend(int number) {
    ServiceClient client(runtime(), AnyServer());
    for (int round = 0; round < rounds_ && on_; ++round) {
      const int64_t lease = 1 + number + 1000 * (round + 1);
      etcdserverpb::LeaseGrantRequest grant;
      grant.set_id(lease);
      grant.set_ttl(kTtlSeconds);
      co_await Insist<etcdserverpb::LeaseGrantResponse>(client, "/etcdserverpb.Lease/LeaseGrant",
                                                        grant, StatusCode::kFailedPrecondition);
      co_await HoldOnce(client, lease, number);
      etcdserverpb::LeaseRevokeRequest revoke;
      revoke.set_id(lease);
      co_await Insist<etcdserverpb::LeaseRevokeResponse>(client, "/etcdserverpb.Lease/LeaseRevoke",
                                                         revoke, StatusCode::kNotFound);
    }
    co_await client.Reset();
  }

  io::Task<void> HoldOnce(ServiceClient& client, int64_t lease, int number) {
    v3lockpb::LockRequest request;
    request.set_name("m");
    request.set_lease(lease);
    std::string key;
    while (on_ && key.empty()) {
      auto locked = co_await client.Call<v3lockpb::LockResponse>("/v3lockpb.Lock/Lock", request,
                                                                 runtime().Now() + AnyPatience());
      if (locked.ok()) {
        key = locked->key();
        holdings_.push_back({key, locked->header().revision()});
      } else if (locked.status().code() != StatusCode::kDeadlineExceeded) {
        co_await MoveOn(client);
      } else if (prng().Below(2) == 0) {
        co_await MoveOn(client);  // or else tries again where it was, at once
      }
    }
    if (key.empty()) co_return;
    if (holder_ >= 0) problems_.push_back(Concat(number, " holds beside ", holder_));
    holder_ = number;
    co_await Sleep(Milliseconds(static_cast<int64_t>(prng().Below(30))));
    holder_ = -1;
    if (prng().Below(3) == 0) co_return;  // its lease's end will do
    v3lockpb::UnlockRequest unlock;
    unlock.set_key(key);
    co_await Insist<v3lockpb::UnlockResponse>(client, "/v3lockpb.Lock/Unlock", unlock,
                                              StatusCode::kOk);
  }

  // All the time.
  io::Task<void> Compact() {
    KvClient client(runtime(), AnyServer());
    while (on_ && holdings_.size() < all_) {
      StatusOr<PutAck> done =
          co_await client.Compact(parts_.compact_to(), runtime().Now() + Seconds(1));
      if (done.ok()) ++compactions_;
      const bool lost = done.status().code() == StatusCode::kUnavailable;
      if (lost) {
        co_await client.Reset();
        client.MoveTo(AnyServer());
      }
      co_await Sleep(Milliseconds(2));
    }
    co_await client.Reset();
  }

  const Parts parts_;
  const int rounds_;
  std::unique_ptr<io::Gate> gate_;
  bool on_ = true;
  uint64_t all_ = 0;
  int holder_ = -1;
  std::vector<Holding> holdings_;
  std::vector<std::string> problems_;
  uint64_t retries_ = 0;
  uint64_t compactions_ = 0;
};

TEST(LockSim, ContendersOnOneNodeAllGetTheirTurnsWhileHistoryIsCompacted) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    NodeHarness node({.seed = seed, .reactors = seed % 2 == 0 ? 1 : 3});
    ASSERT_TRUE(node.Boot().ok());
    sim::SimWorld& world = node.world();
    const auto run = [&](const std::function<bool()>& done, Duration limit) {
      return world.RunUntil(done, limit);
    };
    const auto newest = [&] {
      return node.node().state().group().status().engine.revision.value();
    };
    Contention contention({world, node.client_runtime(), {node.address()}, run, newest}, 8);
    contention.Begin(6);
    ASSERT_TRUE(contention.RunToTheEnd(Seconds(60)));
    EXPECT_EQ(contention.problems(), std::vector<std::string>());
    EXPECT_GT(contention.compactions(), 50u);
  }
}

Contention::Parts PartsOf(ClusterHarness& cluster, bool compacting) {
  Contention::Parts parts{.world = cluster.world(), .runtime = cluster.client().runtime()};
  for (const auto& member : cluster.members()) {
    parts.servers.push_back({member->node.machine().ip(), 2379});
  }
  parts.run = [&cluster](const std::function<bool()>& done, Duration limit) {
    return cluster.RunUntil(done, limit);
  };
  if (compacting) parts.compact_to = [&cluster] { return cluster.known_revision(); };
  return parts;
}

void Disturb(ClusterHarness& cluster, uint64_t how) {
  ClusterMember* const leader = cluster.Leader();
  if (leader == nullptr) return;
  if (how % 3 == 0) {
    for (const auto& member : cluster.members()) {
      if (member.get() == leader) continue;
      cluster.world().network().Cut(leader->node.machine(), member->node.machine());
    }
    cluster.RunFor(Seconds(3));
    cluster.world().network().HealAll();
    return;
  }
  leader->restart_at = cluster.world().Now() + Milliseconds(how % 2 == 0 ? 100 : 2500);
  leader->node.machine().KillProcess();
}

TEST(LockSim, OneHoldsAtATimeWhileLeadersDieAndNobodyWaitsInVain) {
  uint64_t retries = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    ClusterHarness cluster({.seed = seed, .reactors = 1 + static_cast<int>(seed % 2)});
    ASSERT_TRUE(cluster.Boot().ok());
    Contention contention(PartsOf(cluster, seed % 3 == 0), 6);
    contention.Begin(6);
    for (uint64_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(contention.RunOn(5, Seconds(120)));
      Disturb(cluster, seed + i);
    }
    ASSERT_TRUE(contention.RunToTheEnd(Seconds(120)));
    cluster.RunFor(Seconds(2));
    EXPECT_EQ(contention.problems(), std::vector<std::string>());
    EXPECT_TRUE(cluster.ok()) << cluster.problems().front();
    const std::vector<Span> spans = SpansOf(cluster.store(), "m/");
    EXPECT_GE(spans.size(), contention.holdings().size());
    EXPECT_EQ(CheckHoldings(spans, contention.holdings()), std::vector<std::string>());
    retries += contention.retries();
  }
  EXPECT_GT(retries, 50u);
}

#ifdef MS_MUTATIONS
class PlantedLockSim : public testing::Test {
 protected:
  ~PlantedLockSim() override { Plant(server::Mutation::kNone); }

  // What a few seeds on one node make of it.
  static std::string Find(server::Mutation mutation) {
    Plant(mutation);
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      ClusterHarness cluster({.seed = seed, .nodes = 1});
      CHECK(cluster.Boot().ok());
      Contention contention(PartsOf(cluster, false), 6);
      contention.Begin(6);
      contention.RunToTheEnd(Seconds(60));
      cluster.RunFor(Seconds(2));
      if (!contention.problems().empty()) return contention.problems().front();
      const std::vector<std::string> problems =
          CheckHoldings(SpansOf(cluster.store(), "m/"), contention.holdings());
      if (!problems.empty()) return problems.front();
    }
    return {};
  }
};

TEST_F(PlantedLockSim, WhoWinsWhenItsPredecessorGoesIsFound) {
  EXPECT_NE(Find(server::Mutation::kContestGoneIsWon), "");
}
#endif

}  // namespace
}  // namespace metastore::sim_test
