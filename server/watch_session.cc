#include "server/watch_session.h"

#include <algorithm>
#include <utility>

#include "server/errors.h"
#include "server/mutation.h"
#include "server/watch_table.h"

namespace metastore::server {
namespace {

constexpr std::string_view kEmptyRange = "mvcc: watcher range is empty";
constexpr std::string_view kDuplicateId = "mvcc: duplicate watch ID provided on the WatchStream";
constexpr std::string_view kOpenEnd("\0", 1);

// Progress notifications of many streams are spread by up to this part of their interval.
constexpr int64_t kJitterPart = 10;

}  // namespace

std::vector<engine::Event> EventsOf(const WatchDelivery& delivery) {
  return DecodeBlock(delivery.events.view());
}

WatchSession::WatchSession(WatchTable& table) : table_(table) {
  progress_.timer.session = this;
  progress_.timer.fired = [](io::Timer& timer) {
    static_cast<ProgressTimer&>(timer).session->NotifyProgress();
  };
  table_.Join(*this);
}

WatchSession::~WatchSession() {
  End(CancelledError("the watch is over"));
  table_.Leave(*this);
}

io::Task<StatusOr<int64_t>> WatchSession::Create(WatchSpec spec) {
  if (!ended_.ok()) co_return ended_;
  if (watchers_.size() >= limits::kWatchersOfSessionMax) {
    co_return ToStatus(errors::kTooManyRequests);
  }
  const std::string_view refused = Judge(spec);
  if (!refused.empty()) {
    Status told = co_await Refuse(refused);
    if (!told.ok()) co_return told;
    co_return WatchDelivery::kNoId;
  }
  StatusOr<WatchMoment> moment = co_await table_.Ask(true, spec.prev_kv);
  if (!moment.ok()) co_return moment.status();
  if (!ended_.ok()) {
    table_.Settle();
    co_return ended_;
  }
  const Revision start = spec.start;
  Watcher& watcher = Add(std::move(spec));
  const int64_t id = watcher.id;
  watcher.next = start == Revision() ? moment->revision + 1 : start;
  table_.Place(watcher);
  table_.Settle();
  Answer({.kind = WatchDelivery::Kind::kCreated, .id = id, .revision = moment->revision});
  if (watcher.next < moment->compacted) CancelCompacted(watcher, moment->compacted);
  co_return id;
}

std::string_view WatchSession::Judge(const WatchSpec& spec) const {
  if (spec.start < Revision()) return errors::kCompacted.message;
  const bool bounded = !spec.range_end.empty() && spec.range_end != kOpenEnd;
  if (bounded && spec.key >= spec.range_end) return kEmptyRange;
  if (spec.id != WatchSpec::kAnyId && watchers_.contains(spec.id)) return kDuplicateId;
  return {};
}

io::Task<Status> WatchSession::Refuse(std::string_view reason) {
  StatusOr<WatchMoment> moment = co_await table_.Ask(false, false);
  if (!moment.ok()) co_return moment.status();
  if (!ended_.ok()) co_return ended_;
  Answer({.kind = WatchDelivery::Kind::kRefused, .revision = moment->revision, .reason = reason});
  co_return OkStatus();
}

io::Task<Status> WatchSession::RequireLeader() {
  StatusOr<WatchMoment> moment = co_await table_.Ask(false, false);
  if (!moment.ok()) co_return moment.status();
  if (!moment->member.has_leader) co_return ToStatus(errors::kNoLeader);
  requires_leader_ = true;
  co_return OkStatus();
}

Watcher& WatchSession::Add(WatchSpec spec) {
  auto watcher = std::make_unique<Watcher>();
  if (spec.id == WatchSpec::kAnyId) {
    while (watchers_.contains(next_id_)) ++next_id_;
    spec.id = next_id_++;
  }
  watcher->session = this;
  watcher->range = &table_.index().Take(spec.key, spec.range_end);
  watcher->id = spec.id;
  watcher->prev_kv = spec.prev_kv;
  watcher->fragment = spec.fragment;
  watcher->no_puts = spec.no_puts;
  watcher->no_deletes = spec.no_deletes;
  watcher->progress_notify = spec.progress_notify;
  if (spec.progress_notify && ++progress_.watchers == 1) ArmProgress();
  return *watchers_.emplace(spec.id, std::move(watcher)).first->second;
}

void WatchSession::Cancel(int64_t id) {
  const auto found = watchers_.find(id);
  if (found == watchers_.end()) return;
  Remove(*found->second);
  Answer({.kind = WatchDelivery::Kind::kCanceled, .id = id, .revision = table_.heard()});
}

void WatchSession::CancelCompacted(Watcher& watcher, Revision compacted) {
  if (Mutated(Mutation::kWatchCompactionSilent)) {
    watcher.next = compacted;
    return;
  }
  const int64_t id = watcher.id;
  Remove(watcher);
  Answer({.kind = WatchDelivery::Kind::kCanceled, .id = id, .compacted = compacted});
}

void WatchSession::Remove(Watcher& watcher) {
  table_.Remove(watcher);
  queue_.Disown(watcher);
  if (watcher.progress_notify && --progress_.watchers == 0) {
    table_.runtime().Cancel(progress_.timer);
  }
  watchers_.erase(watcher.id);
}

io::Task<Status> WatchSession::RequestProgress() {
  StatusOr<WatchMoment> moment = co_await table_.Ask(false, false);
  if (!moment.ok()) co_return moment.status();
  co_await table_.WaitDelivered(moment->revision);
  if (!ended_.ok()) co_return ended_;
  if (watchers_.empty() || behind_ > 0 || table_.live() < moment->revision) co_return OkStatus();
  for (const auto& [id, watcher] : watchers_) {
    if (watcher->next > table_.live() + 1) co_return OkStatus();  // it begins in the future
  }
  Answer({.kind = WatchDelivery::Kind::kProgress, .revision = table_.live()});
  co_return OkStatus();
}

void WatchSession::ArmProgress() {
  const Duration interval = table_.parts().progress_interval;
  const uint64_t jitter = static_cast<uint64_t>(interval.ns / kJitterPart) + 1;
  io::Runtime& runtime = table_.runtime();
  const Duration spread(static_cast<int64_t>(runtime.Random() % jitter));
  runtime.Arm(progress_.timer, runtime.Now() + interval + spread);
}

void WatchSession::NotifyProgress() {
  for (const auto& [id, watcher] : watchers_) {
    if (!watcher->progress_notify) continue;
    const bool was_active = watcher->active;
    watcher->active = false;
    const bool synced =
        watcher->state == WatcherState::kSynced || Mutated(Mutation::kWatchProgressBehind);
    const bool due = !was_active && synced && watcher->next <= table_.live() + 1;
    if (!due || queue_.answers_count() >= limits::kWatchAnswersMax) continue;
    Answer({.kind = WatchDelivery::Kind::kProgress, .id = id, .revision = table_.live()});
  }
  ArmProgress();
}

void WatchSession::Answer(WatchDelivery delivery) {
  queue_.Push(std::move(delivery), nullptr);
  arrived_.NotifyAll();
}

bool WatchSession::Offer(Watcher& watcher, const WatchBlock& block, Revision revision) {
  WatchDelivery delivery{.fragment = watcher.fragment,
                         .events_count = static_cast<uint32_t>(block.count),
                         .id = watcher.id,
                         .revision = revision,
                         .events = block.events};
  const size_t bytes = DeliveryQueue::BytesOf(delivery);
  if (watcher.queued_bytes > 0 && watcher.queued_bytes + bytes > limits::kWatcherQueuedBytesMax) {
    return false;
  }
  if (!queue_.empty() && queue_.bytes() + bytes > limits::kWatchSessionQueuedBytesMax) return false;
  watcher.active = true;
  queue_.Push(std::move(delivery), &watcher);
  arrived_.NotifyAll();
  return true;
}

io::Task<StatusOr<WatchDelivery>> WatchSession::Next(io::WaitLimit limit) {
  while (ended_.ok() && queue_.empty()) {
    const io::WaitResult waited = co_await arrived_.Wait(limit);
    if (waited == io::WaitResult::kTimedOut) co_return DeadlineExceededError("no event came");
    if (waited == io::WaitResult::kStopped) co_return CancelledError("the watch was stopped");
  }
  if (!ended_.ok()) co_return ended_;
  co_return Take();
}

WatchDelivery WatchSession::Take() {
  const size_t before = queue_.bytes();
  auto [delivery, owner] = queue_.Pop();
  constexpr size_t kShort = limits::kWatchSessionQueuedBytesMax / 2;
  const bool now_short = before > kShort && queue_.bytes() <= kShort;
  if (!parked_.empty()) Unpark(owner, now_short || queue_.empty());
  room_.NotifyAll();
  return std::move(delivery);
}

// `owner`: from whose deliveries one was taken; null: nobody's. `all`: those for whom the session
// was too long.
void WatchSession::Unpark(Watcher* owner, bool all) {
  const auto is_short = [](const Watcher& watcher) {
    return watcher.queued_bytes <= limits::kWatcherQueuedBytesMax / 2;
  };
  if (all) {
    for (size_t i = parked_.size(); i-- > 0;) {
      if (is_short(*parked_[i])) table_.Move(*parked_[i], WatcherState::kWaiting);
    }
  } else if (owner != nullptr && owner->state == WatcherState::kParked && is_short(*owner)) {
    table_.Move(*owner, WatcherState::kWaiting);
  }
}

io::Task<io::WaitResult> WatchSession::WaitRoom(io::WaitLimit limit) {
  while (ended_.ok() && queue_.answers_count() >= limits::kWatchAnswersMax) {
    const io::WaitResult waited = co_await room_.Wait(limit);
    if (waited != io::WaitResult::kNotified) co_return waited;
  }
  co_return io::WaitResult::kNotified;
}

void WatchSession::End(Status why) {
  if (!ended_.ok()) return;
  ended_ = std::move(why);
  queue_.Clear();
  while (!watchers_.empty()) {
    Watcher& watcher = *watchers_.begin()->second;
    watcher.queued_bytes = 0;
    Remove(watcher);
  }
  arrived_.NotifyAll();
  room_.NotifyAll();
}

}  // namespace metastore::server
