#include "server/watch_catch_up.h"

#include <algorithm>

#include "io/cross_call.h"
#include "server/mutation.h"
#include "server/watch_session.h"
#include "server/watch_table.h"

namespace metastore::server {
namespace {

// Watchers are created, and slow sessions come back, one by one: those that do so within this time
// share a pass.
constexpr Duration kGather = Milliseconds(2);
constexpr Duration kAskAgain = Milliseconds(1);  // where too many calls are under way

constexpr std::string_view kOpenEnd("\0", 1);

// The end of a range that is not given by one.
std::string EndOf(const WatchRange& range) {
  if (!range.range_end().empty()) return std::string(range.range_end());
  return std::string(range.key()) + '\0';
}

bool EndsLater(std::string_view a, std::string_view b) {
  if (b == kOpenEnd) return false;
  return a == kOpenEnd || a > b;
}

}  // namespace

CatchUp::CatchUp(WatchTable& table)
    : table_(table), fan_out_(table.index(), &WatchRange::passing, &WatchRange::passing_slot) {}

void CatchUp::Add(Watcher& watcher) {
  watcher.lag_place = static_cast<uint32_t>(behind_.size());
  behind_.push_back(&watcher);
  if (watcher.state == WatcherState::kPassing) {
    ++pass_.watchers;
    if (watcher.prev_kv) ++pass_.previous;
  }
  arrived_.NotifyAll();
}

void CatchUp::Remove(Watcher& watcher) {
  Watcher* last = behind_.back();
  CHECK(behind_[watcher.lag_place] == &watcher);
  last->lag_place = watcher.lag_place;
  behind_[watcher.lag_place] = last;
  behind_.pop_back();
  if (watcher.state == WatcherState::kPassing) {
    --pass_.watchers;
    if (watcher.prev_kv) --pass_.previous;
  }
}

io::Task<void> CatchUp::Run(io::StopToken stop) {
  while (!stop.stopped()) {
    if (behind_.empty()) {
      recent_.clear();
      co_await arrived_.Wait(io::WaitLimit{.stop = stop});
      continue;
    }
    if (pass_.watchers == 0) {
      if (table_.stats().behind > 1) {
        io::Runtime& runtime = table_.runtime();
        co_await io::SleepUntil(runtime, runtime.Now() + kGather, stop);
        if (behind_.empty() || stop.stopped()) continue;
      }
      BeginPass();
    }
    co_await Join();
    co_await Step(stop);
  }
}

void CatchUp::BeginPass() {
  const Watcher& first = *behind_.front();
  pass_.next = first.next;
  pass_.until = table_.heard();
  pass_.key = first.range->key();
  pass_.range_end = EndOf(*first.range);
  for (const Watcher* watcher : behind_) {
    pass_.next = std::min(pass_.next, watcher->next);
    if (Covers(*watcher->range)) continue;
    if (watcher->range->key() < pass_.key) pass_.key = watcher->range->key();
    std::string end = EndOf(*watcher->range);
    if (EndsLater(end, pass_.range_end)) pass_.range_end = std::move(end);
  }
}

bool CatchUp::Covers(const WatchRange& range) const {
  if (range.key() < pass_.key) return false;
  if (pass_.range_end == kOpenEnd) return true;
  return range.range_end().empty() ? range.key() < pass_.range_end
                                   : !EndsLater(range.range_end(), pass_.range_end);
}

// One step of a look at all who are behind, from the last one on: whom `visit` moves, or who goes
// between steps, is replaced by the last. `left` have not been looked at, but for those who were
// moved there. True: all have been.
template <typename Visit>
bool CatchUp::VisitStep(size_t& left, const Visit& visit) {
  engine::StepBudget budget = table_.NewStep();
  left = std::min(left, behind_.size());
  while (left > 0) {
    if (!budget.Spend(1)) return false;
    visit(*behind_[--left]);
  }
  return true;
}

io::Task<void> CatchUp::Join() {
  if (pass_.watchers == behind_.size()) co_return;
  const auto join = [this](Watcher& watcher) {
    if (watcher.state != WatcherState::kWaiting || watcher.next < pass_.next) return;
    if (Covers(*watcher.range)) table_.Move(watcher, WatcherState::kPassing);
  };
  size_t left = SIZE_MAX;
  while (!VisitStep(left, join)) co_await io::Yield();
}

io::Task<void> CatchUp::Step(io::StopToken stop) {
  auto history = std::make_unique<WatchHistory>();
  history->from = pass_.next;
  history->key = pass_.key;
  history->range_end = pass_.range_end;
  history->prev_kv = pass_.previous > 0;
  const WatchHistory* recent = FindRecent(*history);
  if (recent != nullptr) {
    co_await Take(*recent);
    co_await io::Yield();
    co_return;
  }
  WatchHub& hub = table_.parts().hub;
  io::CrossTask reading(table_.runtime(), table_.parts().state,
                        [&hub, &history] { return hub.Read(*history); });
  const bool arrived = co_await reading;
  if (!arrived) {
    io::Runtime& runtime = table_.runtime();
    co_await io::SleepUntil(runtime, runtime.Now() + kAskAgain, stop);
    co_return;
  }
  ++reads_total_;
  if (stop.stopped()) co_return;
  co_await Take(*history);
  const size_t bytes = history->batch.bytes.size();
  if (bytes == 0 || bytes > limits::kWatcherQueuedBytesMax) co_return;
  if (recent_.size() == limits::kWatchRecentReads) recent_.pop_front();
  recent_.push_back(std::move(history));
}

// Slow sessions have each taken their part of a pass a little later than the one before.
const WatchHistory* CatchUp::FindRecent(const WatchHistory& wanted) const {
  for (const auto& one : recent_) {
    if (one->from == wanted.from && one->key == wanted.key && one->range_end == wanted.range_end &&
        one->prev_kv == wanted.prev_kv) {
      return one.get();
    }
  }
  return nullptr;
}

io::Task<void> CatchUp::Take(const WatchHistory& history) {
  if (history.outcome == engine::Outcome::kStateReplaced) co_return;
  if (history.outcome == engine::Outcome::kCompacted) {
    CancelCompacted(history.compacted);
    pass_.next = std::max(pass_.next, history.compacted);
    co_return;
  }
  CHECK(history.outcome == engine::Outcome::kOk);
  pass_.current = std::max(history.current, table_.heard());
  pass_.next = history.batch.last + 1;
  fan_out_.Begin(history.batch);
  while (!Deliver()) co_await io::Yield();
  co_await EndPass();
}

bool CatchUp::Deliver() {
  engine::StepBudget budget = table_.NewStep();
  return fan_out_.Step(budget, *this);
}

bool CatchUp::HasAllHeard() const {
  const Revision wanted = Mutated(Mutation::kWatchSyncedEarly) ? pass_.next + 1 : pass_.next;
  return wanted > table_.heard();
}

// If it is at its end, or others are to have their turn.
io::Task<void> CatchUp::EndPass() {
  size_t left = SIZE_MAX;
  if (HasAllHeard()) {
    const auto sync = [this](Watcher& watcher) { Leave(watcher, WatcherState::kSynced); };
    while (HasAllHeard() && !VisitStep(left, sync)) co_await io::Yield();
  } else if (pass_.next > pass_.until && pass_.watchers < behind_.size()) {
    const auto wait = [this](Watcher& watcher) { Leave(watcher, WatcherState::kWaiting); };
    while (!VisitStep(left, wait)) co_await io::Yield();
  }
}

void CatchUp::Leave(Watcher& watcher, WatcherState to) {
  if (watcher.state != WatcherState::kPassing) return;
  watcher.next = std::max(watcher.next, pass_.next);
  table_.Move(watcher, to);
}

void CatchUp::CancelCompacted(Revision compacted) {
  const std::vector<Watcher*> all = behind_;
  for (Watcher* watcher : all) {
    if (watcher->state != WatcherState::kPassing) continue;
    if (std::max(watcher->next, pass_.next) >= compacted) continue;
    watcher->session->CancelCompacted(*watcher, compacted);
  }
}

// Synced at once where it may be: until the end of the pass a batch may come. One that was parked
// stays so.
void CatchUp::Offer(Watcher& watcher, const WatchBlock& block) {
  table_.OfferAs(watcher, block, pass_.current);
  if (HasAllHeard()) Leave(watcher, WatcherState::kSynced);
}

}  // namespace metastore::server
