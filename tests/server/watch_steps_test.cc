// Aim: a batch for very many watchers is given to them in steps: one is bounded, the next batch
// waits, and who comes, goes or asks between two steps gets exactly what it must. Method: batches
// handed to a table directly; and, for every number of steps that two batches may take, something
// that happens after so many.

#include <functional>
#include <list>

#include "io/gate.h"
#include "io/yield_as.h"
#include "tests/server/watch_world.h"

namespace metastore::server {
namespace {

using Texts = std::vector<std::string>;

constexpr size_t kWatchers = 24;
constexpr size_t kFew = 4;  // of a step

class HandedArrival final : public WatchArrival {
 public:
  // One put of `key`.
  HandedArrival(Revision revision, std::string_view key) {
    engine::Event event;
    event.kv.key = io::SharedBytes::Copy(key);
    event.kv.value = io::SharedBytes::Copy("v");
    event.kv.create_revision = event.kv.mod_revision = revision;
    event.kv.version = 1;
    WatchBatchBuilder builder;
    builder.Add(event);
    batch = builder.Take(revision, revision);
  }
  void Return(bool watched) override { returned = watched ? "watched" : "unwatched"; }

  std::string returned;
};

WatchSpec Prefix(std::string_view prefix, int64_t start = 0) {
  return {
      .key = std::string(prefix), .range_end = std::string(prefix) + "~", .start = Revision(start)};
}

// kWatchers sessions with a watcher of "a" to "a~" each.
class Scene {
 public:
  explicit Scene(size_t step_watchers, int cores = 1)
      : world(23, cores, Seconds(600), step_watchers) {
    for (size_t i = 0; i < kWatchers; ++i) Add(Prefix("a"));
  }
  Holder& Add(WatchSpec spec) {
    Holder& holder = holders.emplace_back(world.table(), world.world());
    holder.Create(std::move(spec));
    return holder;
  }
  // Those that have more for their holder than the answer to their creation.
  size_t Served() {
    size_t served = 0;
    for (Holder& holder : holders) {
      served += holder.session().queued_bytes() > queued_before ? 1 : 0;
    }
    return served;
  }
  void ReadAll() {
    for (Holder& holder : holders) holder.StartReading();
    world.Run();
  }

  // Puts "a" in two batches, the second while the first is under way, and does `what` after so many
  // steps; then all is read, and "a" is put once more.
  void After(int steps, const std::function<void()>& what) {
    io::Runtime& runtime = world.table().runtime();
    world.Put("a", "1");
    world.world().Await(runtime, Steps(1));
    world.Put("a", "2");
    world.world().Await(runtime, Steps(steps));
    if (world.table().live() < world.table().heard()) ++under_way;
    what();
    ReadAll();
    world.Put("a", "3");
    world.Run();
  }

  static io::Task<void> Steps(int count) {
    for (int i = 0; i < count; ++i) co_await io::YieldAs(io::ReadyClass::kBackground);
  }

  WatchWorld world;
  std::list<Holder> holders;
  size_t queued_before = 0;
  int under_way = 0;
};

constexpr int kStepsMax = 2 * static_cast<int>(kWatchers) + 4;
// Of a store that was empty.
const Texts kAll = {"2+a=1", "3+a=2", "4+a=3"};

class WatchStepsTest : public testing::Test {
 protected:
  WatchStepsTest() : next_(scene_.world.revision() + 1) {
    scene_.queued_before = scene_.holders.front().session().queued_bytes();
  }

  Scene scene_{kFew};
  WatchTable& table_ = scene_.world.table();
  Revision next_;
};

TEST_F(WatchStepsTest, AStepIsBoundedAndTheRestFollows) {
  HandedArrival arrival(next_, "a");
  table_.OnBatch(arrival);
  EXPECT_EQ(scene_.Served(), kFew);
  EXPECT_EQ(arrival.returned, "");
  EXPECT_EQ(table_.live(), next_ - 1);
  EXPECT_EQ(table_.heard(), next_);
  scene_.world.Run();
  EXPECT_EQ(scene_.Served(), kWatchers);
  EXPECT_EQ(arrival.returned, "watched");
  EXPECT_EQ(table_.live(), next_);
}

TEST_F(WatchStepsTest, FewAreServedAtOnce) {
  while (scene_.holders.size() > kFew) scene_.holders.pop_back();
  HandedArrival arrival(next_, "a");
  table_.OnBatch(arrival);
  EXPECT_EQ(scene_.Served(), kFew);
  EXPECT_EQ(arrival.returned, "watched");
}

TEST_F(WatchStepsTest, TheNextBatchOvertakesNone) {
  Holder& other = scene_.Add(Prefix("ab"));
  HandedArrival first(next_, "a");
  HandedArrival second(next_ + 1, "ab");
  HandedArrival third(next_ + 2, "a");
  for (HandedArrival* arrival : {&first, &second, &third}) table_.OnBatch(*arrival);
  EXPECT_EQ(scene_.Served(), kFew) << "the others wait, of another range or not";
  scene_.ReadAll();
  EXPECT_EQ(third.returned, "watched");
  const auto text = [](Revision revision, std::string_view key) {
    return Concat(revision.value(), "+", key, "=v");
  };
  const std::string middle = text(next_ + 1, "ab");
  for (Holder& holder : scene_.holders) {
    const Texts all = {text(next_, "a"), middle, text(next_ + 2, "a")};
    EXPECT_EQ(holder.EventsFor(0, false), &holder == &other ? Texts{middle} : all);
  }
}

TEST_F(WatchStepsTest, ABatchWhoseWatchersHaveAllGoneIsReturned) {
  HandedArrival first(next_, "a");
  HandedArrival second(next_ + 1, "a");
  for (HandedArrival* arrival : {&first, &second}) table_.OnBatch(*arrival);
  for (Holder& holder : scene_.holders) holder.session().End(CancelledError("over"));
  EXPECT_EQ(first.returned, "");
  scene_.world.Run();
  EXPECT_EQ(first.returned, "unwatched");
  EXPECT_EQ(second.returned, "unwatched");
}

TEST_F(WatchStepsTest, ProgressWaitsForTheBatchUnderWayAndTheNextOneForProgress) {
  HandedArrival first(next_, "a");
  HandedArrival second(next_ + 1, "a");
  for (HandedArrival* arrival : {&first, &second}) table_.OnBatch(*arrival);
  Holder& holder = scene_.holders.back();  // has had its turn
  Status asked = scene_.world.world().Await(table_.runtime(), holder.session().RequestProgress());
  EXPECT_TRUE(asked.ok()) << asked;
  scene_.ReadAll();
  const std::deque<WatchDelivery>& got = holder.got();
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(got[1].kind, WatchDelivery::Kind::kEvents);
  EXPECT_EQ(got[2].kind, WatchDelivery::Kind::kProgress);
  EXPECT_EQ(got[2].revision, next_);
  EXPECT_EQ(got[3].kind, WatchDelivery::Kind::kEvents);
}

TEST(BetweenStepsTest, WhoGoesLeavesTheOthersWhatIsTheirs) {
  int under_way = 0;
  for (int steps = 0; steps < kStepsMax; ++steps) {
    SCOPED_TRACE(steps);
    Scene scene(1);
    Holder& cancelled = *std::next(scene.holders.begin(), 3);
    scene.After(steps, [&] {
      cancelled.session().Cancel(0);
      scene.holders.erase(std::next(scene.holders.begin(), 7));
      scene.holders.pop_back();
    });
    under_way += scene.under_way;
    for (Holder& holder : scene.holders) {
      const Texts got = holder.EventsFor(0, false);
      if (&holder != &cancelled) {
        EXPECT_EQ(got, kAll);
        continue;
      }
      ASSERT_LE(got.size(), 2u);
      EXPECT_EQ(got, Texts(kAll.begin(), kAll.begin() + static_cast<std::ptrdiff_t>(got.size())));
      EXPECT_EQ(holder.got().back().kind, WatchDelivery::Kind::kCanceled);
      EXPECT_GE(holder.got().back().revision.value(), 3);
    }
  }
  EXPECT_GT(under_way, 10);
}

// In a range that is watched already, and in one that is not.
TEST(BetweenStepsTest, WhoComesGetsWhatIsThereFromItsStartOn) {
  for (int steps = 0; steps < kStepsMax; ++steps) {
    for (int64_t start = 0; start <= 4; ++start) {
      SCOPED_TRACE(Concat(steps, " steps, from ", start));
      Scene scene(1);
      scene.After(steps, [&] {
        scene.Add(Prefix("a", start));
        scene.Add({.key = "a", .start = Revision(start)});
      });
      const std::ptrdiff_t skipped = start == 0 ? 2 : std::max<int64_t>(start - 2, 0);
      size_t place = 0;
      for (Holder& holder : scene.holders) {
        const bool came = place++ >= kWatchers;
        EXPECT_EQ(holder.EventsFor(0, false),
                  came ? Texts(kAll.begin() + skipped, kAll.end()) : kAll);
        EXPECT_EQ(holder.session().behind_count(), 0u);
      }
    }
  }
}

TEST(BetweenStepsTest, ProgressIsToldBehindTheEvents) {
  for (int steps = 0; steps < kStepsMax; ++steps) {
    SCOPED_TRACE(steps);
    Scene scene(1);
    WatchSession& session = scene.holders.front().session();  // the last to have its turn
    Status asked;
    scene.After(steps, [&] {
      asked = scene.world.world().Await(scene.world.table().runtime(), session.RequestProgress());
    });
    EXPECT_TRUE(asked.ok()) << asked;
    const std::deque<WatchDelivery>& got = scene.holders.front().got();
    ASSERT_EQ(got.size(), 5u);
    EXPECT_EQ(got[3].kind, WatchDelivery::Kind::kProgress);
    EXPECT_EQ(got[3].revision, Revision(3));
    EXPECT_EQ(scene.holders.front().EventsFor(0, false), kAll);
  }
}

io::Task<void> CreateOne(WatchSession& session, WatchSpec spec) {
  StatusOr<int64_t> id = co_await session.Create(std::move(spec));
  EXPECT_TRUE(id.ok()) << id.status();
}

// Batches arrive all the time, no oftener than the synced watchers' delivery keeps up with: while
// the last part of history is delivered, too.
TEST(BetweenStepsTest, WhoIsBehindIsSyncedThoughBatchesArrive) {
  constexpr int kBetween = 20;  // steps, between two puts
  constexpr int kPuts = 60;
  WatchWorld world(23, 2, Seconds(600), 1);
  for (int i = 0; i < 5; ++i) world.Put("a", "old");
  io::Runtime& runtime = world.table().runtime();
  io::Gate gate(runtime.scheduler());
  std::list<Holder> holders;
  for (size_t i = 0; i < kWatchers; ++i) {
    Holder& holder = holders.emplace_back(world.table(), world.world());
    holder.StartReading();
    gate.Spawn("create", io::ReadyClass::kClient, CreateOne(holder.session(), Prefix("a", 2)));
  }
  world.world().RunFor(Microseconds(1900));  // they are about to be caught up
  const WatchStats& stats = world.table().stats();
  EXPECT_EQ(stats.behind, kWatchers);
  for (int i = 0; i < kPuts; ++i) {
    world.Put("a", "new");
    world.world().Await(runtime, Scene::Steps(kBetween));
  }
  EXPECT_EQ(stats.watchers, kWatchers);
  EXPECT_EQ(stats.behind, 0u);
  EXPECT_EQ(stats.gaps_total, 0u);
  world.Run();
  Texts all;
  for (const engine::Event& event : world.changes()) all.push_back(TextOf(event, false));
  for (Holder& holder : holders) EXPECT_EQ(holder.EventsFor(0, false), all);
  world.world().Await(runtime, gate.Close());
}

io::Task<void> AskProgress(WatchSession& session, int& answered) {
  Status asked = co_await session.RequestProgress();
  EXPECT_TRUE(asked.ok()) << asked;
  ++answered;
}

// The next batch waits all the time. Of the first to have its turn, and of the last.
TEST(BetweenStepsTest, ProgressIsToldBeforeTheNextBatchBegins) {
  for (const bool first : {true, false}) {
    SCOPED_TRACE(first ? "first" : "last");
    Scene scene(kFew, 2);
    scene.ReadAll();
    Holder& holder = first ? scene.holders.back() : scene.holders.front();
    io::Runtime& runtime = scene.world.table().runtime();
    io::Gate gate(runtime.scheduler());
    int asked = 0;
    int answered = 0;
    for (int i = 0; i < 400; ++i) {
      WatchTable& table = scene.world.table();
      if (table.heard() < table.live() + 2) scene.world.Put("a", "v");
      if (asked == answered) {
        ++asked;
        gate.Spawn("ask", io::ReadyClass::kClient, AskProgress(holder.session(), answered));
      }
      scene.world.world().Await(runtime, Scene::Steps(1));
    }
    scene.world.Run();
    EXPECT_GT(asked, 10);
    int told = 0;
    Revision last;
    for (const WatchDelivery& delivery : holder.got()) {
      EXPECT_GE(delivery.revision, last);
      last = delivery.revision;
      told += delivery.kind == WatchDelivery::Kind::kProgress ? 1 : 0;
    }
    EXPECT_EQ(told, asked);
    scene.world.world().Await(runtime, gate.Close());
  }
}

}  // namespace
}  // namespace metastore::server
