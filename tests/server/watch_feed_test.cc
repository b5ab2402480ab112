// Aim: a feed that is told off because nobody watches stays on for who begins to watch meanwhile.
// Method: the last watcher goes, a change finds none, and a new one comes some turns later; every
// number of turns that the way there and back may take, on one core and on two.

#include "server/watch_session.h"
#include "tests/server/watch_world.h"

namespace metastore::server {
namespace {

class WatchFeedTest : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Cores, WatchFeedTest, testing::Values(1, 2));

io::Task<int64_t> CreateAfter(WatchSession& session, int turns) {
  for (int turn = 0; turn < turns; ++turn) co_await io::Yield();
  WatchSpec spec{.key = "a"};
  StatusOr<int64_t> id = co_await session.Create(std::move(spec));
  co_return id.value_or(WatchDelivery::kNoId);
}

TEST_P(WatchFeedTest, AWatcherThatComesWhileTheFeedIsToldOffGetsItsEvents) {
  for (int turns = 0; turns < 12; ++turns) {
    WatchWorld world(5, GetParam());
    Holder holder(world.table(), world.world());
    holder.session().Cancel(holder.Create({.key = "a"}));
    world.Put("a", "unwatched");
    const int64_t id =
        world.world().Await(world.table().runtime(), CreateAfter(holder.session(), turns));
    EXPECT_EQ(id, 1);
    world.Run();
    const int64_t revision = world.revision().value() + 1;
    world.Put("a", "watched");
    holder.StartReading();
    world.Run();
    const std::vector<std::string> events = holder.EventsFor(id, false);
    ASSERT_FALSE(events.empty()) << turns << " turns";
    EXPECT_EQ(events.back(), Concat(revision, "+a=watched")) << turns << " turns";
  }
}

}  // namespace
}  // namespace metastore::server
