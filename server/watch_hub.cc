#include "server/watch_hub.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "io/base/limits.h"

namespace metastore::server {

WatchHub::WatchHub(io::Runtime& runtime, engine::Engine& engine,
                   std::function<WatchMember()> member)
    : runtime_(runtime), engine_(engine), member_(std::move(member)) {
  flush_.hub = this;
  flush_.name = "watch.flush";
  flush_.run = [](io::ReadyNode& node) { static_cast<FlushNode&>(node).hub->Flush(); };
}

WatchHub::~WatchHub() {
  CHECK(lanes_.empty());
  CHECK(!flush_.queued);
}

WatchMoment WatchHub::Look() {
  Flush();
  const engine::Stats stats = engine_.stats();
  return {.revision = stats.revision, .compacted = stats.compacted, .member = member_()};
}

WatchMoment WatchHub::Attach(WatchFeed& feed, bool previous) {
  WatchMoment moment = Look();
  Lane& lane = LaneOf(feed);
  ++lane.attaches;
  moment.began = !std::exchange(lane.on, true);
  lane.previous = lane.previous || previous;
  FollowLanes();
  return moment;
}

io::Task<void> WatchHub::Detach(WatchFeed& feed) {
  Lane& lane = LaneOf(feed);
  lane.on = false;
  FollowLanes();
  while (lane.batches > 0) co_await lane.returned.Wait();
  while (flush_.queued) co_await io::Yield();
  std::erase_if(lanes_, [&feed](const auto& one) { return one->feed == &feed; });
}

io::Task<void> WatchHub::Read(WatchHistory& history) {
  engine::HistoryQuery query{.from = history.from,
                             .key = history.key,
                             .range_end = history.range_end,
                             .prev_kv = history.prev_kv,
                             .bytes_max = limits::kWatchBatchBytes};
  const engine::HistoryResult result = co_await engine_.History(query);
  history.outcome = result.outcome;
  history.compacted = result.compacted;
  history.current = result.current;
  WatchBatchBuilder builder;
  for (const engine::Event& event : result.events) builder.Add(event);
  history.batch = builder.Take(history.from, result.next - 1);
}

WatchHub::Lane& WatchHub::LaneOf(WatchFeed& feed) {
  const auto found =
      std::ranges::find_if(lanes_, [&feed](const auto& lane) { return lane->feed == &feed; });
  if (found != lanes_.end()) return **found;
  lanes_.push_back(std::make_unique<Lane>());
  lanes_.back()->feed = &feed;
  return *lanes_.back();
}

void WatchHub::FollowLanes() {
  wanted_ = Detail::kNothing;
  for (const auto& lane : lanes_) {
    if (lane->on)
      wanted_ = std::max(wanted_, lane->previous ? Detail::kPrevious : Detail::kChanges);
  }
}

void WatchHub::OnChanges(Revision revision, std::span<const engine::Event> events) {
  if (wanted_ == Detail::kNothing) return;
  if (builder_.empty()) {
    first_ = revision;
    ScheduleFlush();
  }
  last_ = revision;
  for (const engine::Event& event : events) builder_.Add(event);
  if (builder_.bytes() >= limits::kWatchBatchBytes) SendPending();
}

// What a feed has heard of may be far behind what is there now.
void WatchHub::OnRestored() {
  for (const auto& lane : lanes_) lane->lost = lane->on;
  if (wanted_ != Detail::kNothing) ScheduleFlush();
}

void WatchHub::ScheduleFlush() {
  if (!flush_.queued) runtime_.scheduler().Push(flush_);
}

void WatchHub::SendPending() {
  if (builder_.empty()) return;
  const WatchBatch batch = builder_.Take(first_, last_);
  for (const auto& lane : lanes_) {
    if (lane->on) Send(*lane, batch);
  }
}

void WatchHub::Flush() {
  SendPending();
  for (const auto& lane : lanes_) {
    if (lane->on && lane->lost && lane->batches == 0) Resume(*lane);
  }
}

void WatchHub::Send(Lane& lane, const WatchBatch& batch) {
  const size_t bytes = batch.bytes.size() + batch.changes.size() * sizeof(WatchChange);
  const bool full = lane.batches >= limits::kWatchFeedBatchesMax ||
                    (lane.batches > 0 && lane.bytes + bytes > limits::kWatchFeedBytesMax);
  if (!lane.lost && !full) {
    auto post = std::make_unique<Post>();
    post->name = "watch.batch";
    post->hub = this;
    post->lane = &lane;
    post->batch = batch;
    post->bytes = bytes;
    post->attaches = lane.attaches;
    post->run = [](io::ReadyNode& node) {
      auto& there = static_cast<Post&>(node);
      there.lane->feed->OnBatch(there);
    };
    if (runtime_.Post(lane.feed->runtime().core(), *post)) {
      ++lane.batches;
      lane.bytes += bytes;
      ++batches_;
      std::ignore = post.release();  // comes back to OnReturned
      return;
    }
  }
  lane.lost = true;
  ++lost_batches_;
}

void WatchHub::Post::Return(bool somebody) {
  watched = somebody;
  batch = WatchBatch();
  run = [](io::ReadyNode& back) {
    auto& own = static_cast<Post&>(back);
    own.hub->OnReturned(std::unique_ptr<Post>(&own));
  };
  // Few are under way: there is room.
  CHECK(lane->feed->runtime().Post(hub->runtime_.core(), *this));
}

// The feed learns that there is a gap, even if nothing changes any more.
void WatchHub::Resume(Lane& lane) {
  lane.lost = false;
  const Revision revision = engine_.stats().revision;
  Send(lane, WatchBatch{.first = revision + 1, .last = revision});
  if (lane.lost) ScheduleFlush();
}

void WatchHub::AddMetrics(io::MetricList& list) const {
  list.Counter("metastore_watch_batches_total", "Batches of changes sent to cores with watchers.",
               batches_);
  list.Counter("metastore_watch_lost_batches_total",
               "Batches not sent to a core that did not keep up.", lost_batches_);
}

void WatchHub::OnReturned(std::unique_ptr<Post> post) {
  Lane& lane = *post->lane;
  --lane.batches;
  lane.bytes -= post->bytes;
  // Somebody may have begun to watch since then.
  if (!post->watched && post->attaches == lane.attaches) {
    lane.on = lane.previous = lane.lost = false;
    FollowLanes();
  }
  if (lane.on && lane.lost) Flush();
  lane.returned.NotifyAll();
}

}  // namespace metastore::server
