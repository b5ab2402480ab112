// Aim: the stages of a write are told apart exactly, for those chosen and asked for, and nothing is
// kept of others. Method: points in time by hand; a call through Proposals on a simulated core.

#include "server/stage_times.h"

#include <gtest/gtest.h>

#include "io/gate.h"
#include "io/sim/sim_world.h"
#include "server/proposals.h"

namespace metastore::server {
namespace {

FlightTimes Flight(int64_t base_us) {
  return {.proposed = MonoTime{base_us * 1000},
          .submitted = MonoTime{(base_us + 10) * 1000},
          .durable = MonoTime{(base_us + 110) * 1000}};
}

StageTimes SomeTimes() {
  return {.began = MonoTime{1'000'000},
          .flight = {.proposed = MonoTime{1'002'500},
                     .submitted = MonoTime{1'002'500},
                     .durable = MonoTime{1'092'750}},
          .applied = MonoTime{1'093'000},
          .answered = MonoTime{3'093'001}};
}

TEST(StageTimesTest, SpansAreWithoutGap) {
  const std::array<Duration, kStages> spans = SomeTimes().Spans();
  Duration sum;
  for (const Duration span : spans) sum = sum + span;
  EXPECT_EQ(sum, SomeTimes().answered - SomeTimes().began);
  EXPECT_EQ(StagesText(SomeTimes()),
            "gather=2.500,queue=0.000,flush=90.250,apply=0.250,send=2000.001");
}

TEST(StageLogTest, EachEntryHasTheTimesOfItsRun) {
  StageLog log;
  EXPECT_EQ(log.Find(LogIndex(1)), std::nullopt);
  log.Note(LogIndex(5), LogIndex(7), Flight(100));
  log.Note(LogIndex(8), LogIndex(8), Flight(200));
  log.Note(LogIndex(10), LogIndex(12), Flight(300));
  EXPECT_EQ(log.Find(LogIndex(4)), std::nullopt);
  for (uint64_t index = 5; index <= 7; ++index) {
    EXPECT_EQ(log.Find(LogIndex(index))->proposed, Flight(100).proposed);
  }
  EXPECT_EQ(log.Find(LogIndex(8))->durable, Flight(200).durable);
  EXPECT_EQ(log.Find(LogIndex(9)), std::nullopt);
  EXPECT_EQ(log.Find(LogIndex(12))->submitted, Flight(300).submitted);
  EXPECT_EQ(log.Find(LogIndex(13)), std::nullopt);
  log.Drop(LogIndex(11));
  EXPECT_EQ(log.Find(LogIndex(8)), std::nullopt);
  EXPECT_TRUE(log.Find(LogIndex(12)).has_value());
  log.Drop(LogIndex(12));
  EXPECT_EQ(log.Find(LogIndex(12)), std::nullopt);
}

TEST(StageLogTest, ReplacedEntriesHaveTheNewTimes) {
  StageLog log;
  log.Note(LogIndex(5), LogIndex(9), Flight(100));
  log.Note(LogIndex(10), LogIndex(12), Flight(200));
  log.Note(LogIndex(8), LogIndex(10), Flight(300));
  EXPECT_EQ(log.Find(LogIndex(7))->proposed, Flight(100).proposed);
  EXPECT_EQ(log.Find(LogIndex(8))->proposed, Flight(300).proposed);
  EXPECT_EQ(log.Find(LogIndex(10))->proposed, Flight(300).proposed);
  EXPECT_EQ(log.Find(LogIndex(11)), std::nullopt);
}

TEST(StageLogTest, KeepsTheNewestRunsOnly) {
  StageLog log;
  const uint64_t count = StageLog::kRunsMax + 10;
  for (uint64_t i = 1; i <= count; ++i) log.Note(LogIndex(i), LogIndex(i), Flight(0));
  EXPECT_EQ(log.Find(LogIndex(10)), std::nullopt);
  EXPECT_TRUE(log.Find(LogIndex(11)).has_value());
  EXPECT_TRUE(log.Find(LogIndex(count)).has_value());
}

// One call that Proposals admits; the test plays the pump.
class AppliedCallTest : public testing::Test, public CallReceiver {
 protected:
  AppliedCallTest()
      : machine_(world_.AddMachine("n")),
        runtime_(*machine_.StartProcess()[0]),
        gate_(runtime_.scheduler()),
        proposals_(std::make_unique<Proposals>(runtime_)) {}
  ~AppliedCallTest() override {
    proposals_.reset();
    machine_.EndProcess();
  }
  void Propose(ProposeCall& call) override { proposals_->Admit(call); }
  void Read(ReadCall& /*call*/) override { FAIL(); }
  void ChangeMember(MemberCall& /*call*/) override { FAIL(); }
  void TransferLeader(TransferCall& /*call*/) override { FAIL(); }

  io::Task<void> Write(bool measured) {
    ProposeCall call(runtime_, 0, *this);
    call.id = kId;
    call.command = raft::Payload("command");
    if (measured) call.stages = StageTimes{.began = runtime_.Now()};
    const bool arrived = co_await call;
    CHECK(arrived);
    stages_ = call.stages;
    ++returns_;
  }
  void Start(bool measured) {
    gate_.Spawn("write", io::ReadyClass::kClient, Write(measured));
    world_.RunFor(Milliseconds(1));
  }
  void Resolve(LogIndex index) {
    proposals_->Resolve(engine::ApplyResult{.index = index, .request = kId}, Term(1));
    world_.RunFor(Milliseconds(1));
    EXPECT_EQ(returns_, 1);
  }

  const engine::RequestId kId{.node = NodeId(1), .boot = 1, .counter = 1};
  sim::SimWorld world_{1};
  sim::SimMachine& machine_;
  io::Runtime& runtime_;
  io::Gate gate_;
  std::unique_ptr<Proposals> proposals_;
  std::optional<StageTimes> stages_;
  int returns_ = 0;
};

TEST_F(AppliedCallTest, TheTimeUntilItIsAppliedIsInApply) {
  Start(true);
  const MonoTime durable = runtime_.Now();
  proposals_->stages().Note(LogIndex(7), LogIndex(9),
                            {.proposed = durable, .submitted = durable, .durable = durable});
  world_.RunFor(Milliseconds(40));
  Resolve(LogIndex(8));
  ASSERT_TRUE(stages_.has_value());
  EXPECT_EQ((stages_->applied - durable).ms(), 40);
  EXPECT_EQ(stages_->flight.durable, durable);
}

TEST_F(AppliedCallTest, OfAnEntryWithoutTimesNothingIsSaid) {
  Start(true);
  Resolve(LogIndex(8));
  EXPECT_EQ(stages_, std::nullopt);
}

TEST_F(AppliedCallTest, ACallThatIsNotMeasuredStaysSo) {
  Start(false);
  proposals_->stages().Note(LogIndex(8), LogIndex(8), {});
  Resolve(LogIndex(8));
  EXPECT_EQ(stages_, std::nullopt);
}

struct Request {
  explicit Request(std::string_view asked) {
    if (!asked.empty()) metadata.Add(StageMeter::kKey, asked);
  }
  net::Metadata metadata;
  io::Address peer;
  net::GrpcRequest request{.path = "/etcdserverpb.KV/Put",
                           .metadata = metadata,
                           .peer = peer,
                           .cancelled = {},
                           .message = {}};
};

std::string PageOf(const StageMeter& meter) {
  io::MetricList list;
  meter.AddMetrics(list);
  return io::RenderMetrics({&list, 1});
}

TEST(StageMeterTest, MeasuresOneInSixteenAndThoseThatAsk) {
  StageMeter meter;
  const Request silent("");
  const Request other("0");
  const Request asking("1");
  int measured = 0;
  for (int i = 0; i < 160; ++i)
    measured += meter.Measures(i % 2 == 0 ? silent.request : other.request);
  EXPECT_EQ(measured, 10);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(meter.Measures(asking.request));
}

TEST(StageMeterTest, TellsOnlyWhoAskedAndCountsBoth) {
  StageMeter meter;
  const Request silent("");
  const Request asking("1");
  const Request stranger("1");
  meter.Keep(silent.request, SomeTimes());
  meter.Keep(asking.request, SomeTimes());
  const MonoTime now{1'093'000 + 7'000};
  net::GrpcReply reply;
  meter.Finish(stranger.request, now, reply);
  EXPECT_TRUE(reply.trailers.empty());
  meter.Finish(silent.request, now, reply);
  EXPECT_TRUE(reply.trailers.empty());
  EXPECT_TRUE(meter.keeps_any());
  meter.Finish(asking.request, now, reply);
  EXPECT_EQ(reply.trailers.Find("metastore-stages"),
            "gather=2.500,queue=0.000,flush=90.250,apply=0.250,send=7.000");
  EXPECT_FALSE(meter.keeps_any());
  const std::string page = PageOf(meter);
  EXPECT_NE(page.find("_count{stage=\"flush\"} 2\n"), std::string::npos) << page;
  EXPECT_NE(page.find("_sum{stage=\"send\"} 1.4e-05\n"), std::string::npos) << page;
}

}  // namespace
}  // namespace metastore::server
