#include "raft/progress.h"

#include <algorithm>

#include "io/base/check.h"

namespace metastore::raft {

Progress::Progress(LogIndex next, Inflights window, bool learner)
    : next_(next), learner_(learner), inflights_(std::move(window)) {
  CHECK_GE(next, LogIndex(1));
}

void Progress::Enter(ProgressState state) {
  state_ = state;
  append_paused_ = false;
  pending_snapshot_ = LogIndex();
  inflights_.Reset();
}

void Progress::BecomeProbe() {
  // A snapshot that was sent is taken to have arrived: the probe goes on right after it.
  next_ = std::max(match_ + 1, pending_snapshot_ + 1);
  Enter(ProgressState::kProbe);
  sent_commit_ = std::min(sent_commit_, next_ - 1);
}

void Progress::BecomeReplicate() {
  Enter(ProgressState::kReplicate);
  next_ = match_ + 1;
}

void Progress::BecomeSnapshot(LogIndex snapshot) {
  Enter(ProgressState::kSnapshot);
  pending_snapshot_ = snapshot;
  next_ = snapshot + 1;
  sent_commit_ = snapshot;
}

void Progress::AbortSnapshot() {
  CHECK(state_ == ProgressState::kSnapshot);
  pending_snapshot_ = LogIndex();
  BecomeProbe();
}

void Progress::SentEntries(size_t count, size_t bytes) {
  switch (state_) {
    case ProgressState::kReplicate:
      // Optimistic: the next append follows on before this one is answered (thesis 10.2.1).
      if (count > 0) {
        next_ += count;
        inflights_.Add(next_ - 1, bytes);
      }
      append_paused_ = inflights_.full();
      return;
    case ProgressState::kProbe:
      // One probe at a time; the answer or a heartbeat's answer lets the next one go.
      if (count > 0) append_paused_ = true;
      return;
    case ProgressState::kSnapshot:
      break;
  }
  CHECK_UNREACHABLE();
}

bool Progress::MaybeUpdate(LogIndex index) {
  if (index <= match_) return false;
  match_ = index;
  next_ = std::max(next_, index + 1);
  append_paused_ = false;
  return true;
}

bool Progress::MaybeDecrease(LogIndex rejected, LogIndex hint) {
  if (state_ == ProgressState::kReplicate) {
    // Old news when it refuses what was acknowledged since.
    if (rejected <= match_) return false;
    next_ = match_ + 1;
  } else {
    // Not the answer to the probe under way.
    if (next_ - 1 != rejected) return false;
    next_ = std::max(std::min(rejected, hint + 1), match_ + 1);
    append_paused_ = false;
  }
  sent_commit_ = std::min(sent_commit_, next_ - 1);
  return true;
}

namespace {

auto LowerBound(auto& items, NodeId id) {
  return std::lower_bound(items.begin(), items.end(), id,
                          [](const auto& item, NodeId key) { return item.first < key; });
}

}  // namespace

Progress* ProgressMap::Find(NodeId id) {
  const auto at = LowerBound(items_, id);
  return at != items_.end() && at->first == id ? &at->second : nullptr;
}

const Progress* ProgressMap::Find(NodeId id) const {
  const auto at = LowerBound(items_, id);
  return at != items_.end() && at->first == id ? &at->second : nullptr;
}

Progress& ProgressMap::Insert(NodeId id, Progress progress) {
  const auto at = LowerBound(items_, id);
  CHECK(at == items_.end() || at->first != id);
  return items_.insert(at, {id, std::move(progress)})->second;
}

void ProgressMap::Erase(NodeId id) {
  const auto at = LowerBound(items_, id);
  if (at != items_.end() && at->first == id) items_.erase(at);
}

std::string_view Name(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe:
      return "StateProbe";
    case ProgressState::kReplicate:
      return "StateReplicate";
    case ProgressState::kSnapshot:
      return "StateSnapshot";
  }
  CHECK_UNREACHABLE();
}

std::string Describe(const Progress& progress) {
  std::string out(Name(progress.state()));
  out += " match=" + std::to_string(progress.match().value());
  out += " next=" + std::to_string(progress.next().value());
  if (progress.learner()) out += " learner";
  if (progress.paused()) out += " paused";
  if (progress.pending_snapshot() > LogIndex()) {
    out += " pendingSnap=" + std::to_string(progress.pending_snapshot().value());
  }
  if (!progress.recent_active()) out += " inactive";
  if (progress.inflights().count() > 0) {
    out += " inflight=" + std::to_string(progress.inflights().count());
    if (progress.inflights().full()) out += "[full]";
  }
  return out;
}

std::string Describe(const ProgressMap& progress) {
  std::string out;
  for (const auto& [id, p] : progress)
    out += std::to_string(id.value()) + ": " + Describe(p) + "\n";
  return out;
}

}  // namespace metastore::raft
