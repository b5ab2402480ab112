// Aim: the trailer metastore-stages and its histograms put each delay into the stage where it
// happened, exact to a tenth. Method: the Node on simulated runtimes; delays are injected into the
// disk and into the posts between cores, and compared with what the test sees from outside: when
// the client sent and got its answer, when the disk was given the write. Applying takes no
// simulated time: its delay is in tests/server/stage_times_test.cc.

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <utility>

#include "rpc.pb.h"
#include "tests/sim/node_harness.h"

namespace metastore::sim_test {
namespace {

using Stages = std::map<std::string, double, std::less<>>;  // milliseconds

// One put, and what is known of it.
struct Measured {
  MonoTime sent;
  MonoTime answered;
  MonoTime submitted;  // the disk was given its frame
  std::string trailer;
  Stages stages;

  double total_ms() const { return static_cast<double>((answered - sent).ns) / 1e6; }
  double sum_ms() const {
    double sum = 0;
    for (const auto& [name, span] : stages) sum += span;
    return sum;
  }
};

double Ms(Duration span) { return static_cast<double>(span.ns) / 1e6; }

Stages ParseStages(const std::string& text) {
  Stages stages;
  for (size_t at = 0; at < text.size();) {
    const size_t equals = text.find('=', at);
    const size_t comma = std::min(text.find(',', at), text.size());
    stages[text.substr(at, equals - at)] = std::strtod(&text[equals + 1], nullptr) / 1e3;
    at = comma + 1;
  }
  return stages;
}

io::Task<void> PutMeasured(NodeHarness& harness, std::string key, bool asks, Measured& measured) {
  io::Runtime& runtime = harness.client_runtime();
  net_test::GrpcClient client(runtime);
  const MonoTime deadline = runtime.Now() + Seconds(30);
  Status connected = co_await client.Connect(harness.address(), deadline);
  CHECK(connected.ok());
  etcdserverpb::PutRequest request;
  request.set_key(std::move(key));
  request.set_value("v");
  net_test::GrpcClient::Metadata metadata;
  if (asks) metadata.emplace_back("metastore-stages", "1");
  measured.sent = harness.world().Now();
  StatusOr<std::string> reply = co_await client.Call("/etcdserverpb.KV/Put", std::move(metadata),
                                                     request.SerializeAsString(), deadline);
  CHECK(reply.ok());
  measured.answered = harness.world().Now();
  for (const auto& [name, value] : client.last_trailers()) {
    if (name == "metastore-stages") measured.trailer = value;
  }
  measured.stages = ParseStages(measured.trailer);
  co_await client.Close();
}

// A put whose frame's submission is watched: the first durable write from now, once the log is
// quiet.
Measured PutWatched(NodeHarness& harness, std::string key) {
  Measured measured;
  harness.world().RunFor(Milliseconds(500));
  bool seen = false;
  harness.disk().OnIo([&](const sim::SimIo& io) {
    if (io.op == sim::SimDiskOp::kDurableWrite && !std::exchange(seen, true)) {
      measured.submitted = harness.world().Now();
    }
    return sim::SimIoVerdict();
  });
  harness.OnClient(PutMeasured(harness, std::move(key), true, measured));
  harness.disk().OnIo(nullptr);
  return measured;
}

void ExpectNear(double value, double expected, std::string_view what, const Measured& measured) {
  EXPECT_NEAR(value, expected, expected / 10) << what << " of " << measured.trailer;
}

TEST(StagesSim, OnlyAClientThatAsksIsTold) {
  NodeHarness harness({.seed = 3});
  ASSERT_EQ(harness.Boot(), OkStatus());
  Measured silent;
  for (int i = 0; i < 20; ++i) {
    harness.OnClient(PutMeasured(harness, "k", false, silent));
    EXPECT_EQ(silent.trailer, "");
  }
  Measured asking;
  harness.OnClient(PutMeasured(harness, "k", true, asking));
  EXPECT_EQ(asking.stages.size(), 5u) << asking.trailer;
  EXPECT_LE(asking.sum_ms(), asking.total_ms());
  harness.Stop();
}

TEST(StagesSim, ASlowDiskIsInFlush) {
  for (const int reactors : {1, 2}) {
    NodeHarness harness({.seed = 4, .reactors = reactors});
    ASSERT_EQ(harness.Boot(), OkStatus());
    Measured measured;
    harness.disk().Stall();
    harness.world().At(Milliseconds(80), [&] { harness.disk().Release(); });
    const MonoTime release = harness.world().Now() + Milliseconds(80);
    harness.OnClient(PutMeasured(harness, "k", true, measured));
    ExpectNear(measured.stages["flush"], Ms(release - measured.sent), "flush", measured);
    for (const char* other : {"gather", "queue", "apply", "send"}) {
      EXPECT_LT(measured.stages[other], 1) << other << " of " << measured.trailer;
    }
    harness.Stop();
  }
}

TEST(StagesSim, WaitingForTheFlushBeforeIsInQueue) {
  NodeHarness harness({.seed = 5});
  ASSERT_EQ(harness.Boot(), OkStatus());
  Measured first;
  Measured second;
  io::Gate clients(harness.client_runtime().scheduler());
  harness.disk().Stall();
  clients.Spawn("first", io::ReadyClass::kClient, PutMeasured(harness, "a", true, first));
  harness.world().RunFor(Milliseconds(30));
  clients.Spawn("second", io::ReadyClass::kClient, PutMeasured(harness, "b", true, second));
  harness.world().RunFor(Milliseconds(50));
  const MonoTime release = harness.world().Now();
  harness.disk().Release();
  ASSERT_TRUE(harness.world().RunUntil([&] { return clients.running() == 0; }, Seconds(10)));
  ExpectNear(first.stages["flush"], Ms(release - first.sent), "flush", first);
  ExpectNear(second.stages["queue"], Ms(release - second.sent), "queue", second);
  EXPECT_LT(first.stages["queue"], 1) << first.trailer;
  EXPECT_LT(second.stages["flush"], 5) << second.trailer;
  harness.Stop();
}

// The way to the state core is in gather, the way back in send.
TEST(StagesSim, SlowPostsAreInGatherAndSend) {
  sim::SimOptions world;
  world.post_delay_max = Milliseconds(100);
  NodeHarness harness({.seed = 6, .reactors = 2, .world = world});
  ASSERT_EQ(harness.Boot(), OkStatus());
  int gathers = 0;
  int sends = 0;
  for (int i = 0; i < 20; ++i) {
    Measured measured = PutWatched(harness, Concat("k", i));
    const double before = Ms(measured.submitted - measured.sent);
    const double after = measured.total_ms() - before - measured.stages["flush"];
    if (before > 10) {  // else the network's share counts
      ++gathers;
      ExpectNear(measured.stages["gather"], before, "gather", measured);
    }
    if (after > 10) {
      ++sends;
      ExpectNear(measured.stages["send"], after, "send", measured);
    }
  }
  EXPECT_GE(gathers, 10);
  EXPECT_GE(sends, 10);
  harness.Stop();
}

TEST(StagesSim, TheHistogramsHaveWhatTheTrailersSaid) {
  NodeHarness harness({.seed = 8});
  ASSERT_EQ(harness.Boot(), OkStatus());
  Stages sums;
  for (int i = 0; i < 10; ++i) {
    Measured measured = PutWatched(harness, Concat("k", i));
    for (const auto& [name, span] : measured.stages) sums[name] += span / 1e3;
  }
  io::Runtime& runtime = harness.machine().runtime();
  const std::string page = harness.world().Await(runtime, harness.node().MetricsText(runtime));
  ASSERT_EQ(sums.size(), 5u);
  for (const auto& [name, sum] : sums) {
    const std::string labels = Concat("{stage=\"", name, "\"} ");
    const std::string count = Concat("metastore_request_stage_seconds_count", labels, "10\n");
    EXPECT_NE(page.find(count), std::string::npos) << page;
    const std::string prefix = Concat("metastore_request_stage_seconds_sum", labels);
    const size_t at = page.find(prefix);
    ASSERT_NE(at, std::string::npos);
    EXPECT_NEAR(std::strtod(&page[at + prefix.size()], nullptr), sum, 1e-8) << name;
  }
  harness.Stop();
}

}  // namespace
}  // namespace metastore::sim_test
