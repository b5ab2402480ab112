// Aim: whoever observes an election is told of every leader and every proclamation, in order, once,
// from the moment the stream began until it ends, whatever members fail. Method: candidates at all
// members of a cluster win, proclaim and resign while leaders die; who led, and what was
// proclaimed, follows from the store's history, and each stream must be a piece of it.

#include <gtest/gtest.h>

#include <map>

#include "election.pb.h"
#include "rpc.pb.h"
#include "tests/sim/cluster_harness.h"
#include "tests/sim/node_harness.h"
#include "tests/sim/service_client.h"

namespace metastore::sim_test {
namespace {

constexpr int64_t kTtlSeconds = 3000;  // no lease ends by itself
constexpr std::string_view kService = "/v3electionpb.Election/";

struct Told {
  std::string key;
  std::string value;
  int64_t revision = 0;  // of the put
  bool operator==(const Told&) const = default;
};

// What an observer from the beginning on is told.
std::vector<Told> Expected(const StoreHistory& store) {
  struct Change {
    std::string key;
    StoreHistory::Version version;
  };
  std::multimap<int64_t, Change> changes;
  for (const auto& [key, versions] : store.keys()) {
    if (!key.starts_with("e/")) continue;
    for (const StoreHistory::Version& version : versions) {
      changes.insert({version.revision, {key, version}});
    }
  }
  struct Candidate {
    int64_t created = 0;
    Told told;
  };
  std::map<std::string, Candidate> candidates;
  std::vector<Told> expected;
  for (const auto& [revision, change] : changes) {
    if (change.version.deleted) {
      candidates.erase(change.key);
    } else {
      Candidate& candidate = candidates[change.key];
      if (candidate.created == 0) candidate.created = revision;
      candidate.told = {change.key, change.version.value, revision};
    }
    const auto first = std::ranges::min_element(
        candidates, {}, [](const auto& candidate) { return candidate.second.created; });
    if (first == candidates.end()) continue;
    const Told& leader = first->second.told;
    if (expected.empty() || expected.back() != leader) expected.push_back(leader);
  }
  return expected;
}

class Elections {
 public:
  static constexpr int kEach = 3;  // candidates, and observers

  explicit Elections(uint64_t seed)
      : cluster_({.seed = seed, .reactors = 1 + static_cast<int>(seed % 2)}),
        gate_(std::make_unique<io::Gate>(runtime().scheduler())) {
    Status booted = cluster_.Boot();
    CHECK(booted.ok());
  }
  ~Elections() {
    on_ = observing_ = false;
    CHECK(cluster_.RunUntil([&] { return gate_->running() == 0; }, Seconds(120)));
  }

  void Begin() {
    for (int i = 0; i < kEach; ++i) {
      gate_->Spawn("candidate", io::ReadyClass::kClient, Contend(i));
      gate_->Spawn("observe", io::ReadyClass::kClient, Observe());
    }
  }
  bool RunOn(uint64_t more) {
    const uint64_t target = won_ + more;
    return cluster_.RunUntil([&] { return won_ >= target; }, Seconds(60));
  }
  void KillLeader(Duration down) {
    ClusterMember* const leader = cluster_.Leader();
    if (leader == nullptr) return;
    leader->restart_at = cluster_.world().Now() + down;
    leader->node.machine().KillProcess();
  }
  // Once each observer has a stream that was told something.
  void End() {
    CHECK(cluster_.RunUntil([&] { return told_something_ == kEach; }, Seconds(60)));
    on_ = false;
    cluster_.RunFor(Seconds(20));
    observing_ = false;
    CHECK(cluster_.RunUntil([&] { return gate_->running() == 0; }, Seconds(60)));
  }
  StoreHistory Store() {
    SimNode& node = cluster_.Leader()->node;
    return cluster_.world().Await(node.machine().runtime(), ReadStore(node.state()));
  }
  ClusterHarness& cluster() { return cluster_; }
  uint64_t resigned() const { return resigned_; }
  // By stream.
  const std::vector<std::vector<Told>>& told() const { return told_; }

 private:
  io::Runtime& runtime() { return cluster_.client().runtime(); }
  Prng& prng() { return cluster_.world().prng(); }
  io::Address AnyServer() {
    auto& members = cluster_.members();
    return {members[prng().Below(members.size())]->node.machine().ip(), 2379};
  }
  MonoTime In(Duration span) { return runtime().Now() + span; }
  io::Task<void> MoveOn(ServiceClient& client) {
    co_await client.Reset();
    client.MoveTo(AnyServer());
    co_await io::SleepUntil(runtime(), In(Milliseconds(20)));
  }

  io::Task<void> Contend(int number) {
    ServiceClient client(runtime(), AnyServer());
    for (int64_t round = 1; on_; ++round) {
      const int64_t lease = round * 10 + number;
      etcdserverpb::LeaseGrantRequest grant;
      grant.set_id(lease);
      grant.set_ttl(kTtlSeconds);
      auto granted = co_await client.Call<etcdserverpb::LeaseGrantResponse>(
          "/etcdserverpb.Lease/LeaseGrant", grant, In(Seconds(2)));
      if (granted.ok()) {
        co_await Campaign(client, lease);
      } else {
        co_await MoveOn(client);
      }
      etcdserverpb::LeaseRevokeRequest revoke;
      revoke.set_id(lease);
      for (bool gone = !granted.ok(); !gone;) {
        auto revoked = co_await client.Call<etcdserverpb::LeaseRevokeResponse>(
            "/etcdserverpb.Lease/LeaseRevoke", revoke, In(Seconds(2)));
        gone = revoked.ok() || revoked.status().code() == StatusCode::kNotFound;
        if (!gone) co_await MoveOn(client);
      }
    }
    co_await client.Reset();
  }

  // Errors end its turn.
  io::Task<void> Campaign(ServiceClient& client, int64_t lease) {
    v3electionpb::CampaignRequest campaign;
    campaign.set_name("e");
    campaign.set_lease(lease);
    campaign.set_value(Concat("candidate ", lease));
    auto elected = co_await client.Call<v3electionpb::CampaignResponse>(
        Concat(kService, "Campaign"), campaign, In(Seconds(5)));
    if (!elected.ok()) co_return;
    ++won_;
    v3electionpb::ProclaimRequest proclaim;
    *proclaim.mutable_leader() = elected->leader();
    for (uint64_t i = prng().Below(4); i > 0; --i) {
      proclaim.set_value(Concat("leader ", lease, " says ", i));
      auto proclaimed = co_await client.Call<v3electionpb::ProclaimResponse>(
          Concat(kService, "Proclaim"), proclaim, In(Seconds(2)));
      if (!proclaimed.ok()) co_return;
    }
    if (prng().Below(2) == 0) co_return;  // its lease's end will do
    v3electionpb::ResignRequest resign;
    *resign.mutable_leader() = elected->leader();
    auto resigned = co_await client.Call<v3electionpb::ResignResponse>(Concat(kService, "Resign"),
                                                                       resign, In(Seconds(2)));
    if (resigned.ok()) ++resigned_;
  }

  io::Task<void> Observe() {
    ServiceClient client(runtime(), AnyServer());
    while (observing_) {
      const bool connected = co_await client.Connect(In(Seconds(1)));
      if (connected) {
        co_await ObserveOnce(client);
      }
      co_await MoveOn(client);
    }
    co_await client.Reset();
  }
  io::Task<void> ObserveOnce(ServiceClient& client) {
    v3electionpb::LeaderRequest request;
    request.set_name("e");
    const auto stream = client.Start(Concat(kService, "Observe"), request);
    const size_t place = told_.size();
    told_.emplace_back();
    while (observing_) {
      StatusOr<std::optional<std::string>> message = co_await stream->Read(In(Milliseconds(500)));
      if (message.status().code() == StatusCode::kDeadlineExceeded) continue;
      if (!message.ok() || !message->has_value()) break;
      v3electionpb::LeaderResponse response;
      CHECK(response.ParseFromString(**message));
      const mvccpb::KeyValue& kv = response.kv();
      if (told_[place].empty()) ++told_something_;
      told_[place].push_back({kv.key(), kv.value(), kv.mod_revision()});
      if (prng().Below(50) == 0) co_await io::SleepUntil(runtime(), In(Milliseconds(200)));
    }
    if (!told_[place].empty()) --told_something_;
  }

  ClusterHarness cluster_;
  std::unique_ptr<io::Gate> gate_;
  bool on_ = true;
  bool observing_ = true;
  int told_something_ = 0;  // streams that are open and were
  uint64_t won_ = 0;
  uint64_t resigned_ = 0;
  std::vector<std::vector<Told>> told_;
};

// The pieces' ends: streams that were there to the end have heard of the last.
void ExpectPieces(const std::vector<std::vector<Told>>& pieces, const std::vector<Told>& whole) {
  size_t complete = 0;
  for (const std::vector<Told>& piece : pieces) {
    if (piece.empty()) continue;
    const auto begin = std::ranges::find(whole, piece.front());
    ASSERT_NE(begin, whole.end()) << piece.front().key << " at " << piece.front().revision;
    ASSERT_LE(piece.size(), static_cast<size_t>(whole.end() - begin));
    for (size_t i = 0; i < piece.size(); ++i) {
      ASSERT_EQ(piece[i], begin[static_cast<ptrdiff_t>(i)])
          << "told of " << piece[i].revision << ", not of "
          << begin[static_cast<ptrdiff_t>(i)].revision;
    }
    if (piece.back() == whole.back()) ++complete;
  }
  std::string ends;
  for (const std::vector<Told>& piece : pieces) {
    ends += Concat(" ", piece.empty() ? 0 : piece.back().revision);
  }
  EXPECT_EQ(complete, size_t{Elections::kEach})
      << "each observer's last stream; they ended at" << ends << " of " << whole.back().revision;
}

TEST(ElectionSim, ObserversMissNoLeaderAndNoProclamation) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    Elections elections(seed);
    elections.Begin();
    for (uint64_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(elections.RunOn(15));
      elections.KillLeader(Milliseconds((seed + i) % 2 == 0 ? 100 : 2500));
    }
    ASSERT_TRUE(elections.RunOn(15));
    elections.End();
    EXPECT_TRUE(elections.cluster().ok());
    EXPECT_GT(elections.resigned(), 5u);
    const std::vector<Told> expected = Expected(elections.Store());
    EXPECT_GT(expected.size(), 60u);
    ExpectPieces(elections.told(), expected);
  }
}

}  // namespace
}  // namespace metastore::sim_test
