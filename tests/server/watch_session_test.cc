// Aim: what a session's holder is given is what etcd's watch gives: answers in order, every event
// once, in order and whole revisions together, whatever is behind, compacted or lost on the way.
// Method: an engine and watch tables on simulated cores, one and several; the changes that the
// engine told of are the oracle.

#include "server/watch_session.h"

#include "server/errors.h"
#include "tests/server/watch_world.h"

namespace metastore::server {
namespace {

using Texts = std::vector<std::string>;

// Where several watchers' order among each other is open.
Texts Sorted(Texts texts) {
  std::ranges::sort(texts);
  return texts;
}

constexpr std::string_view kOpenEnd("\0", 1);

WatchSpec Key(std::string_view key, int64_t start = 0) {
  return {.key = std::string(key), .start = Revision(start)};
}
WatchSpec Range(std::string_view key, std::string_view range_end, int64_t start = 0) {
  return {.key = std::string(key), .range_end = std::string(range_end), .start = Revision(start)};
}

// By cores.
class WatchSessionTest : public testing::TestWithParam<int> {
 protected:
  WatchSessionTest() : world_(17, GetParam()) {}

  WatchWorld world_;
};

INSTANTIATE_TEST_SUITE_P(Cores, WatchSessionTest, testing::Values(1, 2, 3));

TEST_P(WatchSessionTest, EventsFollowTheCreation) {
  world_.Put("a", "before");
  Holder holder(world_.table(), world_.world());
  EXPECT_EQ(holder.Create(Key("a")), 0);
  EXPECT_EQ(holder.Create(Range("a", "c")), 1);
  world_.Put("a", "1");
  world_.Put("b", "2");
  world_.Delete("a");
  EXPECT_EQ(holder.Texts(),
            (Texts{"created 0", "created 1", "events 0: 3+a=1 5-a", "events 1: 3+a=1 4+b=2 5-a"}));
}

TEST_P(WatchSessionTest, APastStartGetsHistoryThenWhatComes) {
  world_.Put("a", "1");
  world_.Put("b", "2");
  world_.Put("a", "3");
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a", 2));
  WatchSpec spec = Range("a", kOpenEnd, 3);
  spec.prev_kv = true;
  holder.Create(spec);
  EXPECT_EQ(Sorted(holder.Texts()), (Texts{"created 0", "created 1", "events 0: 2+a=1 4+a=3",
                                           "events 1: 3+b=2 4+a=3 was=1"}));
  world_.Put("a", "4");
  EXPECT_EQ(holder.Texts(), (Texts{"events 0: 5+a=4", "events 1: 5+a=4 was=3"}));
  EXPECT_EQ(holder.session().behind_count(), 0u);
}

TEST_P(WatchSessionTest, AFutureStartGetsNothingOlder) {
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a", 4));
  for (const char* value : {"1", "2", "3", "4"}) world_.Put("a", value);
  EXPECT_EQ(holder.Texts(), (Texts{"created 0", "events 0: 4+a=3 5+a=4"}));
}

TEST_P(WatchSessionTest, ChangesOfOneTransactionComeTogether) {
  Holder holder(world_.table(), world_.world());
  holder.Create(Range("a", "z"));
  world_.Put("a", "1");
  world_.Put("b", "1");
  engine::TxnOp txn;
  txn.success.emplace_back(engine::PutOp{.key = "c", .value = "2"});
  engine::DeleteRangeOp both;
  both.key = "a";
  both.range_end = "c";
  txn.success.emplace_back(both);
  world_.Run();
  world_.Apply(std::move(txn));
  EXPECT_EQ(holder.Texts().back(), "events 0: 4+c=2 4-a 4-b");
}

TEST_P(WatchSessionTest, FiltersLeaveOut) {
  Holder holder(world_.table(), world_.world());
  WatchSpec spec = Key("a");
  spec.no_puts = true;
  holder.Create(spec);
  spec.no_deletes = true;
  holder.Create(spec);
  spec.no_puts = false;
  holder.Create(spec);
  world_.Put("a", "1");
  world_.Delete("a");
  const Texts texts = holder.Texts();
  EXPECT_EQ(Texts(texts.begin() + 3, texts.end()), (Texts{"events 2: 2+a=1", "events 0: 3-a"}));
}

TEST_P(WatchSessionTest, WhatCannotBeIsRefusedInItsTurn) {
  Holder holder(world_.table(), world_.world());
  holder.Create(Range("b", "a"));
  holder.Create(Range("b", "b"));
  holder.Create(Key("a", -1));
  WatchSpec spec = Key("a");
  spec.id = 7;
  EXPECT_EQ(holder.Create(spec), 7);
  EXPECT_EQ(holder.Create(spec), WatchDelivery::kNoId);
  EXPECT_EQ(holder.Texts(),
            (Texts{"refused: mvcc: watcher range is empty", "refused: mvcc: watcher range is empty",
                   "refused: etcdserver: mvcc: required revision has been compacted", "created 7",
                   "refused: mvcc: duplicate watch ID provided on the WatchStream"}));
}

TEST_P(WatchSessionTest, IdsAreCountedPastThoseInUse) {
  Holder holder(world_.table(), world_.world());
  WatchSpec spec = Key("a");
  spec.id = 1;
  holder.Create(spec);
  EXPECT_EQ(holder.Create(Key("a")), 0);
  EXPECT_EQ(holder.Create(Key("a")), 2);
  holder.session().Cancel(0);
  EXPECT_EQ(holder.Create(Key("a")), 3);
}

TEST_P(WatchSessionTest, ACancelledWatcherGetsNothingMore) {
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a"));
  world_.Put("a", "1");
  world_.Run();
  holder.session().Cancel(0);
  holder.session().Cancel(0);
  holder.session().Cancel(5);
  world_.Put("a", "2");
  EXPECT_EQ(holder.Texts(), (Texts{"created 0", "events 0: 2+a=1", "canceled 0 compacted 0"}));
}

TEST_P(WatchSessionTest, AStartBelowTheCompactionIsCancelled) {
  for (const char* value : {"1", "2", "3", "4"}) world_.Put("a", value);
  world_.Compact(Revision(4));
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a", 3));
  holder.Create(Key("a", 4));
  EXPECT_EQ(holder.Texts(),
            (Texts{"created 0", "canceled 0 compacted 4", "created 1", "events 1: 4+a=3 5+a=4"}));
}

TEST_P(WatchSessionTest, ProgressIsAnsweredBehindWhatIsPendingAndOnlyWhenAllAreSynced) {
  Holder holder(world_.table(), world_.world());
  io::Runtime& runtime = world_.table().runtime();
  const auto ask = [&] {
    EXPECT_TRUE(world_.world().Await(runtime, holder.session().RequestProgress()).ok());
  };
  ask();  // no watchers: no answer
  holder.Create(Key("a"));
  world_.Put("a", "1");
  world_.Put("b", "2");
  ask();
  EXPECT_EQ(holder.Texts(), (Texts{"created 0", "events 0: 2+a=1", "progress -1 at 3"}));
  holder.Create(Key("b", 9));
  ask();  // one begins in the future
  EXPECT_EQ(holder.Texts(), (Texts{"created 1"}));
}

TEST_P(WatchSessionTest, NobodyWatchesAndChangesAreNotTold) {
  EXPECT_EQ(world_.hub().WantedDetail(), engine::ChangeListener::Detail::kNothing);
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a"));
  EXPECT_EQ(world_.hub().WantedDetail(), engine::ChangeListener::Detail::kChanges);
  WatchSpec spec = Key("b");
  spec.prev_kv = true;
  holder.Create(spec);
  EXPECT_EQ(world_.hub().WantedDetail(), engine::ChangeListener::Detail::kPrevious);
  holder.session().Cancel(0);
  holder.session().Cancel(1);
  world_.Put("a", "1");
  world_.Run();
  EXPECT_EQ(world_.hub().WantedDetail(), engine::ChangeListener::Detail::kNothing);
  world_.Put("a", "2");
  holder.Create(Key("a"));
  world_.Put("a", "3");
  EXPECT_EQ(holder.Texts().back(), "events 2: 4+a=3");
}

TEST_P(WatchSessionTest, WhoDoesNotReadHoldsItsBudgetAndMissesNothing) {
  Holder holder(world_.table(), world_.world());
  Holder reader(world_.table(), world_.world());
  holder.Create(Key("a"));
  reader.Create(Key("a"));
  reader.StartReading();
  const std::string value(10'000, 'x');
  for (int i = 0; i < 200; ++i) {
    world_.Put("a", value);
    world_.world().RunFor(Milliseconds(1));
    EXPECT_LE(holder.session().queued_bytes(),
              limits::kWatcherQueuedBytesMax + 2 * sizeof(WatchDelivery));
  }
  EXPECT_GT(world_.table().stats().over_budget_total, 0u);
  EXPECT_EQ(world_.table().stats().parked, 1u);
  EXPECT_EQ(reader.EventsFor(0, false).size(), 200u);
  holder.StartReading();
  world_.world().RunFor(Seconds(1));
  EXPECT_EQ(holder.EventsFor(0, false), reader.EventsFor(0, false));
  EXPECT_EQ(world_.table().stats().behind, 0u);
}

TEST_P(WatchSessionTest, ASessionHoldsItsBudgetHoweverManyWatchersItHas) {
  Holder holder(world_.table(), world_.world());
  for (int i = 0; i < 100; ++i) holder.Create(Key("a"));
  const std::string value(50'000, 'x');
  for (int i = 0; i < 40; ++i) {
    world_.Put("a", value);
    world_.world().RunFor(Milliseconds(1));
    EXPECT_LE(holder.session().queued_bytes(), limits::kWatchSessionQueuedBytesMax + 100'000);
  }
  EXPECT_GT(world_.table().stats().parked, 0u);
  holder.StartReading();
  world_.world().RunFor(Seconds(2));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(holder.EventsFor(i, false).size(), 40u) << i;
  EXPECT_EQ(world_.table().stats().behind, 0u);
}

// More than may be under way to an edge, in one turn of the state core.
TEST_P(WatchSessionTest, ALostFeedIsReadFromHistory) {
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a"));
  holder.StartReading();
  const std::string value(600'000, 'x');
  for (int i = 0; i < 60; ++i) world_.Put("a", value);
  world_.world().RunFor(Seconds(2));
  EXPECT_GT(world_.hub().lost_batches(), 0u);
  EXPECT_EQ(world_.table().stats().gaps_total, 1u);
  EXPECT_EQ(holder.EventsFor(0, false).size(), 60u);
  world_.Put("a", "last");
  world_.Run();
  EXPECT_EQ(holder.EventsFor(0, false).back(), "62+a=last");
}

TEST_P(WatchSessionTest, ManyThatAreBehindShareAPass) {
  for (int i = 0; i < 3000; ++i) world_.Put(Concat("k", i % 10), "v");
  Holder holder(world_.table(), world_.world());
  holder.StartReading();
  // Each needs two thirds of history at least: two reads.
  for (int i = 0; i < 1000; ++i) holder.Create(Key(Concat("k", i % 10), 2 + i));
  world_.world().RunFor(Seconds(2));
  EXPECT_EQ(world_.table().stats().behind, 0u);
  for (const int id : {0, 1, 500, 999}) {
    EXPECT_EQ(holder.EventsFor(id, false).size(), static_cast<size_t>(3000 - id + 9) / 10) << id;
  }
  io::MetricList list;
  world_.table().AddMetrics(list);
  const auto reads = std::ranges::find_if(list.samples(), [](const io::MetricSample& sample) {
    return sample.name == "metastore_watch_catch_up_reads_total";
  });
  ASSERT_NE(reads, list.samples().end());
  EXPECT_LT(reads->count, 100u);
}

TEST_P(WatchSessionTest, ACompactionCancelsWhoIsBehindIt) {
  Holder slow(world_.table(), world_.world());
  slow.Create(Key("a"));
  slow.Create(Key("b"));
  const std::string value(100'000, 'x');
  for (int i = 0; i < 10; ++i) {
    world_.Put("a", value);
    world_.Run();
  }
  world_.Compact(world_.revision());
  const Texts texts = slow.Texts();
  EXPECT_EQ(texts.back(), "canceled 0 compacted 11");
  world_.Put("b", "1");
  EXPECT_EQ(slow.Texts(), Texts{"events 1: 12+b=1"});
}

TEST_P(WatchSessionTest, AnEndedSessionSaysWhy) {
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a"));
  holder.StartReading();
  world_.Run();
  world_.table().EndSessions(ToStatus(errors::kStopped));
  world_.Run();
  EXPECT_EQ(holder.ended(), ToStatus(errors::kStopped));
  EXPECT_EQ(world_.table().stats().watchers, 0u);
  Holder late(world_.table(), world_.world());
  io::Runtime& runtime = world_.table().runtime();
  EXPECT_EQ(world_.world().Await(runtime, late.session().Create(Key("a"))).status(),
            ToStatus(errors::kStopped));
}

TEST_P(WatchSessionTest, WithoutALeaderOnlyThoseEndThatAskedForOne) {
  Holder holder(world_.table(), world_.world());
  Holder other(world_.table(), world_.world());
  io::Runtime& runtime = world_.table().runtime();
  EXPECT_TRUE(world_.world().Await(runtime, holder.session().RequireLeader()).ok());
  holder.Create(Key("a"));
  other.Create(Key("a"));
  holder.StartReading();
  other.StartReading();
  world_.member.has_leader = false;
  world_.world().RunFor(Milliseconds(1500));
  EXPECT_TRUE(holder.ended().ok());
  world_.world().RunFor(Seconds(3));
  EXPECT_EQ(holder.ended(), ToStatus(errors::kNoLeader));
  EXPECT_TRUE(other.ended().ok());
  Holder late(world_.table(), world_.world());
  EXPECT_EQ(world_.world().Await(runtime, late.session().RequireLeader()),
            ToStatus(errors::kNoLeader));
}

TEST_P(WatchSessionTest, NextEndsAtItsDeadline) {
  Holder holder(world_.table(), world_.world());
  io::Runtime& runtime = world_.table().runtime();
  const io::WaitLimit limit{.timers = &runtime, .deadline = runtime.Now() + Milliseconds(5)};
  EXPECT_EQ(world_.world().Await(runtime, holder.session().Next(limit)).status().code(),
            StatusCode::kDeadlineExceeded);
}

// A snapshot replaces the state with one that is ahead.
TEST_P(WatchSessionTest, ARestoredStateIsReadFromHistory) {
  world_.Put("a", "1");
  Holder holder(world_.table(), world_.world());
  holder.Create(Key("a"));
  world_.Run();

  WatchWorld ahead(18, 1);
  ahead.Put("a", "1");
  ahead.Put("a", "2");
  ahead.Put("b", "3");
  ahead.Put("a", "4");
  io::Runtime& there = ahead.table().runtime();
  auto source = ahead.engine().StartSnapshot({.term = Term(1), .server_state = ""});
  auto sink = world_.engine().StartRestore();
  // The state core's own runtime: of the world with one core, the only one.
  sim::SimMachine& machine = world_.world().machine("n");
  io::Runtime& state = machine.runtime(0);
  while (true) {
    const StatusOr<std::string> bytes = ahead.world().Await(there, source->Next());
    ASSERT_TRUE(bytes.ok());
    if (bytes->empty()) break;
    EXPECT_TRUE(world_.world().Await(state, sink->Add(*bytes)).ok());
  }
  EXPECT_TRUE(world_.world().Await(state, sink->Finish()).ok());
  source.reset();
  sink.reset();
  EXPECT_EQ(holder.Texts(), (Texts{"created 0", "events 0: 3+a=2 5+a=4"}));
  world_.Put("a", "5");
  EXPECT_EQ(holder.Texts(), Texts{"events 0: 6+a=5"});
}

class WatchProgressTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Cores, WatchProgressTest, testing::Values(1, 2));

TEST_P(WatchProgressTest, IdleWatchersAreToldHowFarTheyAre) {
  WatchWorld world(17, GetParam(), Milliseconds(1000));
  Holder holder(world.table(), world.world());
  WatchSpec spec = Key("a");
  spec.progress_notify = true;
  holder.Create(spec);
  holder.Create(Key("a"));
  spec.start = Revision(9);
  holder.Create(spec);
  EXPECT_EQ(holder.Texts().size(), 3u);
  world.Put("b", "1");
  world.world().RunFor(Milliseconds(1100));
  EXPECT_EQ(holder.Texts(), Texts{"progress 0 at 2"});
  world.Put("a", "2");
  EXPECT_EQ(Sorted(holder.Texts()), (Texts{"events 0: 3+a=2", "events 1: 3+a=2"}));
  world.world().RunFor(Milliseconds(1050));
  EXPECT_EQ(holder.Texts(), Texts{});
  world.world().RunFor(Milliseconds(1100));
  EXPECT_EQ(holder.Texts(), Texts{"progress 0 at 3"});
}

}  // namespace
}  // namespace metastore::server
