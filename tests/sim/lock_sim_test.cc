// Aim: the Lock and Election services do as etcd's: contenders have their turn in the order they
// came, whoever gives up or loses its lease leaves the queue and takes nothing from others, errors
// are exact, an observer is told of leaders and proclamations. Method: scripts of calls, real bytes
// to one simulated node.

#include <gtest/gtest.h>

#include <map>

#include "election.pb.h"
#include "lock.pb.h"
#include "rpc.pb.h"
#include "tests/sim/node_harness.h"
#include "tests/sim/service_client.h"

namespace metastore::sim_test {
namespace {

constexpr std::string_view kLock = "/v3lockpb.Lock/Lock";
constexpr std::string_view kCampaign = "/v3electionpb.Election/Campaign";
constexpr Duration kCallLimit = Seconds(10);
constexpr Duration kStillWaits = Milliseconds(200);
constexpr int64_t kTtlSeconds = 3000;

using Pending = std::unique_ptr<net_test::GrpcClientStream>;

v3lockpb::LockRequest LockOf(std::string_view name, int64_t lease) {
  v3lockpb::LockRequest request;
  request.set_name(std::string(name));
  request.set_lease(lease);
  return request;
}

v3electionpb::CampaignRequest CampaignOf(std::string_view name, int64_t lease,
                                         std::string_view value) {
  v3electionpb::CampaignRequest request;
  request.set_name(std::string(name));
  request.set_lease(lease);
  request.set_value(std::string(value));
  return request;
}

// One connection of a script's; the calls that must succeed.
class Caller {
 public:
  Caller(io::Runtime& runtime, io::Address server)
      : runtime_(runtime), client(runtime, std::move(server)) {}

  MonoTime Limit() { return runtime_.Now() + kCallLimit; }
  io::SignalWait Sleep(Duration span) { return io::SleepUntil(runtime_, runtime_.Now() + span); }

  io::Task<void> Grant(int64_t lease) {
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(lease);
    request.set_ttl(kTtlSeconds);
    auto granted = co_await client.Call<etcdserverpb::LeaseGrantResponse>(
        "/etcdserverpb.Lease/LeaseGrant", request, Limit());
    EXPECT_TRUE(granted.ok()) << granted.status();
  }
  io::Task<void> Revoke(int64_t lease) {
    etcdserverpb::LeaseRevokeRequest request;
    request.set_id(lease);
    auto revoked = co_await client.Call<etcdserverpb::LeaseRevokeResponse>(
        "/etcdserverpb.Lease/LeaseRevoke", request, Limit());
    EXPECT_TRUE(revoked.ok()) << revoked.status();
  }
  io::Task<int64_t> LeasesCount() {
    auto leases = co_await client.Call<etcdserverpb::LeaseLeasesResponse>(
        "/etcdserverpb.Lease/LeaseLeases", etcdserverpb::LeaseLeasesRequest(), Limit());
    EXPECT_TRUE(leases.ok()) << leases.status();
    co_return leases.ok() ? leases->leases_size() : -1;
  }
  io::Task<int64_t> Put(std::string key) {
    etcdserverpb::PutRequest request;
    request.set_key(std::move(key));
    auto put =
        co_await client.Call<etcdserverpb::PutResponse>("/etcdserverpb.KV/Put", request, Limit());
    EXPECT_TRUE(put.ok()) << put.status();
    co_return put->header().revision();
  }
  // Create revision; 0: it is not there.
  io::Task<int64_t> Created(std::string key) {
    etcdserverpb::RangeRequest request;
    request.set_key(std::move(key));
    auto read = co_await client.Call<etcdserverpb::RangeResponse>("/etcdserverpb.KV/Range", request,
                                                                  Limit());
    EXPECT_TRUE(read.ok()) << read.status();
    co_return read->kvs_size() == 0 ? 0 : read->kvs(0).create_revision();
  }
  io::Task<std::string> Lock(std::string name, int64_t lease) {
    auto locked = co_await client.Call<v3lockpb::LockResponse>(std::string(kLock),
                                                               LockOf(name, lease), Limit());
    EXPECT_TRUE(locked.ok()) << locked.status();
    co_return locked.ok() ? locked->key() : std::string();
  }
  io::Task<int64_t> Unlock(std::string key) {
    v3lockpb::UnlockRequest request;
    request.set_key(std::move(key));
    auto unlocked =
        co_await client.Call<v3lockpb::UnlockResponse>("/v3lockpb.Lock/Unlock", request, Limit());
    EXPECT_TRUE(unlocked.ok()) << unlocked.status();
    co_return unlocked.ok() ? unlocked->header().revision() : 0;
  }
  // A call that waits; it has entered.
  template <typename Request>
  io::Task<Pending> Wait(std::string_view path, Request request) {
    Pending pending = client.Start(path, request);
    StatusOr<std::optional<std::string>> nothing =
        co_await pending->Read(runtime_.Now() + kStillWaits);
    EXPECT_EQ(nothing.status().code(), StatusCode::kDeadlineExceeded) << "it must wait";
    co_return pending;
  }
  io::Task<void> CheckWaits(Pending& pending) {
    StatusOr<std::optional<std::string>> nothing =
        co_await pending->Read(runtime_.Now() + kStillWaits);
    EXPECT_EQ(nothing.status().code(), StatusCode::kDeadlineExceeded) << "it must wait";
  }
  // Its answer, soon.
  template <typename Response>
  io::Task<Response> Finish(Pending& pending) {
    Response response;
    StatusOr<std::optional<std::string>> message =
        co_await pending->Read(runtime_.Now() + kStillWaits);
    EXPECT_TRUE(message.ok() && message->has_value()) << message.status();
    if (message.ok() && message->has_value()) EXPECT_TRUE(response.ParseFromString(**message));
    co_return response;
  }
  io::Task<void> FinishWith(Pending& pending, Status expected) {
    StatusOr<std::optional<std::string>> message =
        co_await pending->Read(runtime_.Now() + kStillWaits);
    EXPECT_EQ(message.status(), expected);
  }

  io::Runtime& runtime_;
  ServiceClient client;
};

// A node, and a script that runs to its end.
using Script = io::Task<void> (*)(Caller& caller);

io::Task<void> RunScript(NodeHarness& harness, Script script) {
  Caller caller(harness.client_runtime(), harness.address());
  const bool connected = co_await caller.client.Connect(caller.Limit());
  CHECK(connected);
  co_await script(caller);
  co_await caller.client.Reset();
}

void OnOneNode(Script script) {
  for (const int reactors : {1, 3}) {
    NodeHarness harness({.seed = 7, .reactors = reactors});
    ASSERT_TRUE(harness.Boot().ok());
    harness.world().Await(harness.client_runtime(), RunScript(harness, script));
  }
}

// --- scripts -------------------------------------------------------------------------------------

io::Task<void> InTurn(Caller& caller) {
  for (int64_t lease = 1; lease <= 4; ++lease) {
    co_await caller.Grant(lease);
  }
  const std::string held = co_await caller.Lock("m", 1);
  EXPECT_EQ(held, "m/1");
  const std::string again = co_await caller.Lock("m", 1);
  EXPECT_EQ(again, "m/1");
  std::map<int64_t, Pending> waiting;
  for (int64_t lease = 4; lease >= 2; --lease) {
    waiting[lease] = co_await caller.Wait(kLock, LockOf("m", lease));
  }
  const std::string other = co_await caller.Lock("other", 2);
  EXPECT_EQ(other, "other/2");
  int64_t released = co_await caller.Unlock("m/1");
  for (int64_t lease = 4; lease >= 2; --lease) {
    auto locked = co_await caller.Finish<v3lockpb::LockResponse>(waiting[lease]);
    EXPECT_EQ(locked.key(), Concat("m/", lease));
    EXPECT_GE(locked.header().revision(), released);
    for (int64_t behind = lease - 1; behind >= 2; --behind) {
      co_await caller.CheckWaits(waiting[behind]);
    }
    released = co_await caller.Unlock(locked.key());
  }
}

TEST(LockSim, ContendersHaveTheirTurnInTheOrderTheyCame) { OnOneNode(InTurn); }

io::Task<void> OneGivesUp(Caller& caller) {
  for (int64_t lease = 1; lease <= 3; ++lease) {
    co_await caller.Grant(lease);
  }
  co_await caller.Lock("m", 1);
  Pending front = co_await caller.Wait(kLock, LockOf("m", 2));
  Pending behind = co_await caller.Wait(kLock, LockOf("m", 3));
  front->Cancel();
  co_await caller.CheckWaits(behind);
  const int64_t given_up = co_await caller.Created("m/2");
  EXPECT_EQ(given_up, 0);
  auto late = co_await caller.client.Call<v3lockpb::LockResponse>(
      std::string(kLock), LockOf("m", 2), caller.runtime_.Now() + kStillWaits);
  EXPECT_EQ(late.status().code(), StatusCode::kDeadlineExceeded);
  co_await caller.Sleep(kStillWaits);
  const int64_t late_key = co_await caller.Created("m/2");
  EXPECT_EQ(late_key, 0);
  co_await caller.Unlock("m/1");
  auto locked = co_await caller.Finish<v3lockpb::LockResponse>(behind);
  EXPECT_EQ(locked.key(), "m/3");
}

TEST(LockSim, WhoGivesUpLeavesTheQueueAndNobodyOvertakes) { OnOneNode(OneGivesUp); }

io::Task<void> HoldersSecondCall(Caller& caller) {
  co_await caller.Grant(1);
  co_await caller.Grant(2);
  co_await caller.Lock("m", 1);
  const int64_t created = co_await caller.Created("m/1");
  for (int i = 0; i < 20; ++i) {
    Pending again = caller.client.Start(kLock, LockOf("m", 1));
    co_await caller.Sleep(Microseconds(100) * i);
    again->Cancel();
  }
  co_await caller.Sleep(kStillWaits);
  const int64_t still = co_await caller.Created("m/1");
  EXPECT_EQ(still, created);
}

// A contender comes to be the first while one of its calls gives up, and another one holds. How
// often the holder's key is gone then.
io::Task<int> LostHoldings(NodeHarness& harness) {
  Caller caller(harness.client_runtime(), harness.address());
  const bool connected = co_await caller.client.Connect(caller.Limit());
  CHECK(connected);
  co_await caller.Grant(1);
  co_await caller.Grant(2);
  int lost = 0;
  for (int i = 0; i < 20; ++i) {
    co_await caller.Lock("m", 1);
    Pending first = co_await caller.Wait(kLock, LockOf("m", 2));
    v3lockpb::UnlockRequest unlock;
    unlock.set_key("m/1");
    Pending unlocking = caller.client.Start("/v3lockpb.Lock/Unlock", unlock);
    co_await caller.Sleep(Microseconds(100) * i);
    first->Cancel();
    auto second = co_await caller.client.Call<v3lockpb::LockResponse>(
        std::string(kLock), LockOf("m", 2), caller.Limit());
    co_await caller.Sleep(kStillWaits);
    const int64_t held = co_await caller.Created("m/2");
    if (second.ok() && held == 0) ++lost;
    co_await caller.Unlock("m/2");
  }
  co_await caller.client.Reset();
  co_return lost;
}

int CountLostHoldings() {
  NodeHarness harness({.seed = 7});
  CHECK(harness.Boot().ok());
  return harness.world().Await(harness.client_runtime(), LostHoldings(harness));
}

TEST(LockSim, ACallThatGivesUpTakesNothingFromAHolderWithItsLease) {
  OnOneNode(HoldersSecondCall);
  EXPECT_EQ(CountLostHoldings(), 0);
}

io::Task<void> LeasesEnd(Caller& caller) {
  for (int64_t lease = 1; lease <= 3; ++lease) {
    co_await caller.Grant(lease);
  }
  co_await caller.Lock("m", 1);
  Pending loser = co_await caller.Wait(kLock, LockOf("m", 2));
  Pending next = co_await caller.Wait(kLock, LockOf("m", 3));
  co_await caller.Revoke(2);
  co_await caller.FinishWith(loser, UnknownError("mutex: session is expired"));
  co_await caller.CheckWaits(next);
  co_await caller.Revoke(1);
  co_await caller.Finish<v3lockpb::LockResponse>(next);

  co_await caller.Grant(1);
  auto elected = co_await caller.client.Call<v3electionpb::CampaignResponse>(
      std::string(kCampaign), CampaignOf("e", 3, "three"), caller.Limit());
  EXPECT_TRUE(elected.ok());
  Pending candidate = co_await caller.Wait(kCampaign, CampaignOf("e", 1, "one"));
  co_await caller.Revoke(1);
  co_await caller.FinishWith(candidate, UnknownError("election: not leader"));
}

TEST(LockSim, ALeaseThatEndsEndsItsPlaceAndItsHolding) { OnOneNode(LeasesEnd); }

io::Task<void> OwnLeases(Caller& caller) {
  const std::string held = co_await caller.Lock("m", 0);
  const int64_t lease = std::stoll(held.substr(2), nullptr, 16);
  EXPECT_GT(lease, 0);
  etcdserverpb::LeaseTimeToLiveRequest ask;
  ask.set_id(lease);
  auto left = co_await caller.client.Call<etcdserverpb::LeaseTimeToLiveResponse>(
      "/etcdserverpb.Lease/LeaseTimeToLive", ask, caller.Limit());
  EXPECT_EQ(left->grantedttl(), 60);
  Pending waiting = co_await caller.Wait(kLock, LockOf("m", 0));
  const int64_t both = co_await caller.LeasesCount();
  EXPECT_EQ(both, 2);
  waiting->Cancel();
  co_await caller.Sleep(kStillWaits);
  const int64_t one = co_await caller.LeasesCount();
  EXPECT_EQ(one, 1);
  // Nobody renews the holder's.
  Pending next = co_await caller.Wait(kLock, LockOf("m", 0));
  co_await caller.Sleep(Seconds(40));
  co_await caller.CheckWaits(next);
  const int64_t held_still = co_await caller.Created(held);
  EXPECT_NE(held_still, 0);
  co_await caller.Sleep(Seconds(18));
  co_await caller.Sleep(Seconds(5));
  const int64_t held_after = co_await caller.Created(held);
  EXPECT_EQ(held_after, 0);
}

TEST(LockSim, WithoutALeaseOneIsGrantedForAMinute) { OnOneNode(OwnLeases); }

io::Task<void> Compacted(Caller& caller) {
  co_await caller.Grant(1);
  co_await caller.Grant(2);
  co_await caller.Lock("m", 1);
  Pending waiting = co_await caller.Wait(kLock, LockOf("m", 2));
  for (int i = 0; i < 5; ++i) {
    etcdserverpb::CompactionRequest compaction;
    const int64_t revision = co_await caller.Put("k");
    compaction.set_revision(revision);
    compaction.set_physical(true);
    auto compacted = co_await caller.client.Call<etcdserverpb::CompactionResponse>(
        "/etcdserverpb.KV/Compact", compaction, caller.Limit());
    EXPECT_TRUE(compacted.ok()) << compacted.status();
  }
  co_await caller.CheckWaits(waiting);
  co_await caller.Unlock("m/1");
  co_await caller.Finish<v3lockpb::LockResponse>(waiting);
}

TEST(LockSim, CompactionsPassAContender) { OnOneNode(Compacted); }

// --- errors

template <typename Response, typename Request>
io::Task<void> Refused(Caller& caller, std::string path, Request request, std::string text) {
  auto reply = co_await caller.client.Call<Response>(path, request, caller.Limit());
  EXPECT_EQ(reply.status(), UnknownError(text)) << path;
}

v3electionpb::ProclaimRequest ProclaimOf(const v3electionpb::LeaderKey& leader,
                                         std::string_view value) {
  v3electionpb::ProclaimRequest request;
  *request.mutable_leader() = leader;
  request.set_value(std::string(value));
  return request;
}

io::Task<void> Errors(Caller& caller) {
  const std::string unknown_lease = "etcdserver: requested lease not found";
  const std::string no_key = "etcdserver: key is not provided";
  const std::string no_field = "\"leader\" field must be provided";
  co_await Refused<v3lockpb::LockResponse>(caller, std::string(kLock), LockOf("m", 9),
                                           unknown_lease);
  co_await Refused<v3lockpb::LockResponse>(caller, std::string(kLock), LockOf("m", -9),
                                           unknown_lease);
  co_await Refused<v3lockpb::UnlockResponse>(caller, "/v3lockpb.Lock/Unlock",
                                             v3lockpb::UnlockRequest(), no_key);
  const std::string election = "/v3electionpb.Election/";
  co_await Refused<v3electionpb::CampaignResponse>(caller, std::string(kCampaign),
                                                   CampaignOf("e", 9, "v"), unknown_lease);
  co_await Refused<v3electionpb::LeaderResponse>(
      caller, election + "Leader", v3electionpb::LeaderRequest(), "election: no leader");
  co_await Refused<v3electionpb::ProclaimResponse>(caller, election + "Proclaim",
                                                   v3electionpb::ProclaimRequest(), no_field);
  co_await Refused<v3electionpb::ResignResponse>(caller, election + "Resign",
                                                 v3electionpb::ResignRequest(), no_field);
  v3electionpb::LeaderKey leader;
  co_await Refused<v3electionpb::ProclaimResponse>(caller, election + "Proclaim",
                                                   ProclaimOf(leader, "v"), no_key);
  leader.set_key("e/1");
  leader.set_rev(5);
  leader.set_lease(9);
  co_await Refused<v3electionpb::ProclaimResponse>(caller, election + "Proclaim",
                                                   ProclaimOf(leader, "v"), "election: not leader");
  v3electionpb::ResignRequest resign;
  *resign.mutable_leader() = leader;
  auto resigned = co_await caller.client.Call<v3electionpb::ResignResponse>(election + "Resign",
                                                                            resign, caller.Limit());
  EXPECT_TRUE(resigned.ok()) << "also who is not elected";
}

TEST(LockSim, ErrorsAreEtcds) { OnOneNode(Errors); }

// --- elections

struct Told {
  std::string key;
  std::string value;
  int64_t mod_revision = 0;
  bool operator==(const Told&) const = default;
};

Told ToldOf(const v3electionpb::LeaderResponse& response) {
  return {response.kv().key(), response.kv().value(), response.kv().mod_revision()};
}

io::Task<void> OneElection(Caller& caller) {
  co_await caller.Grant(1);
  co_await caller.Grant(2);
  const std::string election = "/v3electionpb.Election/";
  v3electionpb::LeaderRequest ask;
  ask.set_name("e");
  Pending observing = co_await caller.Wait(election + "Observe", ask);
  auto first = co_await caller.client.Call<v3electionpb::CampaignResponse>(
      std::string(kCampaign), CampaignOf("e", 1, "one"), caller.Limit());
  EXPECT_EQ(first->leader().key(), "e/1");
  EXPECT_EQ(first->leader().rev(), first->header().revision());
  EXPECT_EQ(first->leader().lease(), 1);
  auto told = co_await caller.Finish<v3electionpb::LeaderResponse>(observing);
  EXPECT_EQ(ToldOf(told), (Told{"e/1", "one", first->leader().rev()}));
  Pending second = co_await caller.Wait(kCampaign, CampaignOf("e", 2, "two"));
  co_await caller.CheckWaits(observing);
  // Of the same lease: nothing changes, or the value does.
  auto again = co_await caller.client.Call<v3electionpb::CampaignResponse>(
      std::string(kCampaign), CampaignOf("e", 1, "one"), caller.Limit());
  EXPECT_EQ(again->leader().rev(), first->leader().rev());
  co_await caller.CheckWaits(observing);
  auto other = co_await caller.client.Call<v3electionpb::CampaignResponse>(
      std::string(kCampaign), CampaignOf("e", 1, "uno"), caller.Limit());
  EXPECT_EQ(other->leader().rev(), first->leader().rev());
  EXPECT_EQ(other->header().revision(), again->header().revision()) << "before the value's change";
  told = co_await caller.Finish<v3electionpb::LeaderResponse>(observing);
  EXPECT_EQ(told.kv().value(), "uno");
  auto proclaimed = co_await caller.client.Call<v3electionpb::ProclaimResponse>(
      election + "Proclaim", ProclaimOf(first->leader(), "eins"), caller.Limit());
  EXPECT_TRUE(proclaimed.ok());
  told = co_await caller.Finish<v3electionpb::LeaderResponse>(observing);
  EXPECT_EQ(ToldOf(told), (Told{"e/1", "eins", proclaimed->header().revision()}));
  EXPECT_EQ(told.header().revision(), proclaimed->header().revision());
  auto who = co_await caller.client.Call<v3electionpb::LeaderResponse>(election + "Leader", ask,
                                                                       caller.Limit());
  EXPECT_EQ(ToldOf(*who), ToldOf(told));
  v3electionpb::ResignRequest resign;
  *resign.mutable_leader() = first->leader();
  auto resigned = co_await caller.client.Call<v3electionpb::ResignResponse>(election + "Resign",
                                                                            resign, caller.Limit());
  EXPECT_TRUE(resigned.ok());
  auto elected = co_await caller.Finish<v3electionpb::CampaignResponse>(second);
  EXPECT_EQ(elected.leader().key(), "e/2");
  told = co_await caller.Finish<v3electionpb::LeaderResponse>(observing);
  EXPECT_EQ(ToldOf(told), (Told{"e/2", "two", elected.leader().rev()}));
  EXPECT_EQ(told.header().revision(), resigned->header().revision());
  co_await Refused<v3electionpb::ProclaimResponse>(
      caller, election + "Proclaim", ProclaimOf(first->leader(), "x"), "election: not leader");
  observing->Cancel();
}

TEST(LockSim, AnElectionGoesAsEtcds) { OnOneNode(OneElection); }

}  // namespace
}  // namespace metastore::sim_test
