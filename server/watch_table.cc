#include "server/watch_table.h"

#include <algorithm>
#include <utility>

#include "io/cross_call.h"
#include "server/errors.h"
#include "server/mutation.h"
#include "server/state_calls.h"
#include "server/watch_session.h"

namespace metastore::server {
namespace {

void Append(auto& list, Watcher& watcher) {
  watcher.place = static_cast<uint32_t>(list.size());
  list.push_back(&watcher);
}

void TakeOut(auto& list, Watcher& watcher) {
  CHECK(list[watcher.place] == &watcher);
  list.back()->place = watcher.place;
  list[watcher.place] = list.back();
  list.pop_back();
}

}  // namespace

WatchTable::WatchTable(const Parts& parts)
    : parts_(parts),
      index_(parts.runtime.Random()),
      catch_up_(*this),
      fan_out_(index_, &WatchRange::synced, &WatchRange::synced_slot),
      gate_(parts.runtime.scheduler()) {
  step_.table = this;
  step_.name = "watch.deliver";
  step_.ready_class = io::ReadyClass::kBackground;
  step_.run = [](io::ReadyNode& node) { static_cast<StepNode&>(node).table->Deliver(); };
  pause_.table = this;
  pause_.name = "watch.pause";
  pause_.ready_class = io::ReadyClass::kClient;
  pause_.run = [](io::ReadyNode& node) { static_cast<StepNode&>(node).table->GoOn(); };
}

WatchTable::~WatchTable() {
  CHECK(sessions_.empty());
  CHECK(under_way_ == nullptr);
  CHECK(!pause_.queued);
}

void WatchTable::Start() {
  gate_.Spawn("watch.catch_up", io::ReadyClass::kBackground, catch_up_.Run(stop_.token()));
  gate_.Spawn("watch.leader", io::ReadyClass::kBackground, FollowLeader());
}

void WatchTable::EndSessions(const Status& why) {
  ended_ = why;
  for (WatchSession* session : sessions_) session->End(why);
}

io::Task<void> WatchTable::Close() {
  CHECK(sessions_.empty());
  stop_.RequestStop();
  co_await gate_.Close();
  io::CrossTask detach(parts_.runtime, parts_.state, [this] { return parts_.hub.Detach(*this); });
  while (true) {
    const bool arrived = co_await detach;
    if (arrived) break;
    co_await io::Yield();
  }
  while (pause_.queued) co_await io::Yield();
}

// etcd's streams that require a leader outlive it by about three elections.
io::Task<void> WatchTable::FollowLeader() {
  constexpr int kLooksMax = 3;
  int without = 0;
  while (!stop_.stopped()) {
    const MonoTime next = parts_.runtime.Now() + parts_.leader_interval;
    co_await io::SleepUntil(parts_.runtime, next, stop_.token());
    if (stop_.stopped()) co_return;
    if (sessions_.empty()) continue;
    StatusOr<WatchMoment> moment = co_await Ask(false, false);
    if (!moment.ok()) continue;
    if (moment->member.fenced) EndSessions(ToStatus(errors::kCorrupt));
    without = moment->member.has_leader ? 0 : without + 1;
    if (without >= kLooksMax) EndLeaderless();
  }
}

void WatchTable::EndLeaderless() {
  for (WatchSession* session : sessions_) {
    if (session->requires_leader_) session->End(ToStatus(errors::kNoLeader));
  }
}

void WatchTable::OnBatch(WatchArrival& arrival) {
  heard_ = std::max(heard_, arrival.batch.last);
  const bool idle = under_way_ == nullptr && waiting_.empty() && !pause_.queued;
  if (!idle) return waiting_.push_back(&arrival);
  Begin(arrival);
  Deliver();
}

void WatchTable::Begin(WatchArrival& arrival) {
  const WatchBatch& batch = arrival.batch;
  if (batch.first > live_ + 1 && !Mutated(Mutation::kWatchGapIgnored)) Gap(batch.first);
  under_way_ = &arrival;
  fan_out_.Begin(batch);
}

// A step. The next batch begins with a step of its own.
void WatchTable::Deliver() {
  if (under_way_ == nullptr) {
    Begin(*waiting_.front());
    waiting_.pop_front();
  }
  engine::StepBudget budget = NewStep();
  if (fan_out_.Step(budget, *this)) {
    live_ = std::max(live_, under_way_->batch.last);
    std::exchange(under_way_, nullptr)->Return(stats_.watchers + making_ > 0);
    if (delivered_.has_waiters()) return Pause();
  }
  GoOn();
}

// Between two batches: who waits for that goes on before the next one begins. They are clients'
// calls, and `pause_` is behind them in the queue of their class.
void WatchTable::Pause() {
  delivered_.NotifyAll();
  parts_.runtime.scheduler().Push(pause_);
}

void WatchTable::GoOn() {
  if (under_way_ != nullptr || !waiting_.empty()) parts_.runtime.scheduler().Push(step_);
}

io::Task<void> WatchTable::WaitDelivered(Revision revision) {
  const auto done = [&] { return live_ >= std::min(revision, heard_); };
  while (under_way_ != nullptr || !done()) co_await delivered_.Wait();
}

// What was between is read from history by all who may need it.
void WatchTable::Gap(Revision resumed) {
  ++stats_.gaps_total;
  for (WatchSession* session : sessions_) {
    for (const auto& [id, watcher] : session->watchers_) {
      if (watcher->state != WatcherState::kSynced || watcher->next >= resumed) continue;
      watcher->next = std::max(watcher->next, live_ + 1);
      Move(*watcher, WatcherState::kWaiting);
    }
  }
  live_ = resumed - 1;
}

io::Task<StatusOr<WatchMoment>> WatchTable::Ask(bool attach, bool previous) {
  if (attach) ++making_;
  WatchMoment moment;
  LookCall look(parts_.runtime, parts_.state,
                [&] { moment = attach ? parts_.hub.Attach(*this, previous) : parts_.hub.Look(); });
  const bool arrived = co_await look;
  if (!arrived) {
    if (attach) --making_;
    co_return ToStatus(errors::kTooManyRequests);
  }
  term_ = moment.member.term;
  if (moment.began) {
    live_ = std::max(live_, moment.revision);
    heard_ = std::max(heard_, live_);
  }
  co_return moment;
}

void WatchTable::Join(WatchSession& session) {
  session.place_ = sessions_.size();
  sessions_.push_back(&session);
  if (!ended_.ok()) session.End(ended_);
}

void WatchTable::Leave(WatchSession& session) {
  sessions_.back()->place_ = session.place_;
  sessions_[session.place_] = sessions_.back();
  sessions_.pop_back();
}

void WatchTable::Place(Watcher& watcher) {
  ++stats_.watchers;
  Enlist(watcher, watcher.next > heard_ ? WatcherState::kSynced : WatcherState::kWaiting);
}

void WatchTable::Remove(Watcher& watcher) {
  Unlist(watcher);
  --stats_.watchers;
  WatchRange& range = *watcher.range;
  if (range.watchers_count == 1) {
    fan_out_.Forget(range);
    catch_up_.Forget(range);
  }
  index_.Give(range);
}

void WatchTable::Move(Watcher& watcher, WatcherState to) {
  Unlist(watcher);
  Enlist(watcher, to);
}

void WatchTable::Enlist(Watcher& watcher, WatcherState state) {
  watcher.state = state;
  if (state != WatcherState::kSynced) {
    ++watcher.session->behind_;
    ++stats_.behind;
  }
  switch (state) {
    case WatcherState::kSynced:
      return Append(watcher.range->synced, watcher);
    case WatcherState::kPassing:
      Append(watcher.range->passing, watcher);
      return catch_up_.Add(watcher);
    case WatcherState::kWaiting:
      return catch_up_.Add(watcher);
    case WatcherState::kParked:
      ++stats_.parked;
      return Append(watcher.session->parked_, watcher);
  }
  CHECK_UNREACHABLE();
}

void WatchTable::Unlist(Watcher& watcher) {
  if (watcher.state != WatcherState::kSynced) {
    --watcher.session->behind_;
    --stats_.behind;
  }
  switch (watcher.state) {
    case WatcherState::kSynced:
      return TakeOut(watcher.range->synced, watcher);
    case WatcherState::kPassing:
      TakeOut(watcher.range->passing, watcher);
      return catch_up_.Remove(watcher);
    case WatcherState::kWaiting:
      return catch_up_.Remove(watcher);
    case WatcherState::kParked:
      --stats_.parked;
      return TakeOut(watcher.session->parked_, watcher);
  }
  CHECK_UNREACHABLE();
}

void WatchTable::Offer(Watcher& watcher, const WatchBlock& block) {
  OfferAs(watcher, block, block.last);
}

void WatchTable::OfferAs(Watcher& watcher, const WatchBlock& block, Revision revision) {
  if (watcher.session->Offer(watcher, block, revision)) {
    stats_.events_total += block.count;
    watcher.next = block.last + 1;
    return;
  }
  ++stats_.over_budget_total;
  if (Mutated(Mutation::kWatchBudgetDrops)) return;
  const bool forgotten = Mutated(Mutation::kWatchPlaceForgotten);
  watcher.next = forgotten ? watcher.next - 1 : std::max(watcher.next, block.first);
  Move(watcher, WatcherState::kParked);
}

void WatchTable::AddMetrics(io::MetricList& list) const {
  uint64_t queued_events = 0;
  uint64_t queued_bytes = 0;
  for (const WatchSession* session : sessions_) {
    queued_events += session->queue_.events_count();
    queued_bytes += session->queue_.bytes();
  }
  list.Gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.",
             uint64_t{sessions_.size()});
  list.Gauge("etcd_debugging_mvcc_watcher_total", "Watchers.", stats_.watchers);
  list.Gauge("etcd_debugging_mvcc_slow_watcher_total",
             "Watchers that do not yet have every change.", stats_.behind);
  list.Counter("etcd_debugging_mvcc_events_total", "Events given to watchers' streams.",
               stats_.events_total);
  list.Gauge("etcd_debugging_mvcc_pending_events_total", "Of these, not yet taken by their stream.",
             queued_events);
  list.Gauge("metastore_watch_queued_bytes",
             "Bytes that watch streams have not yet taken; what watchers share counts for each.",
             queued_bytes);
  list.Gauge("metastore_watch_parked", "Watchers that wait until their stream takes what it has.",
             stats_.parked);
  list.Counter("metastore_watch_over_budget_total",
               "Times a watcher was over its budget and left to history.",
               stats_.over_budget_total);
  list.Counter("metastore_watch_gaps_total",
               "Times a core did not keep up with the changes and read history instead.",
               stats_.gaps_total);
  list.Counter("metastore_watch_catch_up_reads_total", "Reads of history for watchers behind.",
               catch_up_.reads_total());
}

}  // namespace metastore::server
