#include "tools/walinspect/group_runs.h"

#include <algorithm>
#include <iterator>

#include "io/base/check.h"

namespace metastore::walinspect {

void GroupRuns::SplitBefore(uint64_t index) {
  auto run = runs_.lower_bound(index);
  if (run == runs_.begin()) return;
  --run;
  if (run->second.last < index) return;
  Run upper = run->second;
  run->second.last = index - 1;
  run->second.closed = true;
  runs_.emplace(index, upper);
}

void GroupRuns::DropFrom(uint64_t index) {
  end_ = std::min(end_, index - 1);
  SplitBefore(index);
  const auto from = runs_.lower_bound(index);
  if (from == runs_.end()) return;
  runs_.erase(from, runs_.end());
  if (!runs_.empty()) runs_.rbegin()->second.closed = true;
}

void GroupRuns::DropThrough(uint64_t index) {
  SplitBefore(index + 1);
  runs_.erase(runs_.begin(), runs_.upper_bound(index));
  purged_ = std::max(purged_, index);
  end_ = std::max(end_, index);
}

void GroupRuns::Append(uint64_t index, wal::SegmentSeq segment, uint64_t sequence) {
  if (!runs_.empty()) {
    Run& run = runs_.rbegin()->second;
    if (run.last + 1 == index && run.segment == segment && !run.closed) {
      run.last = index;
      return;
    }
  }
  runs_[index] = {.last = index, .segment = segment, .sequence = sequence};
}

void GroupRuns::Replace(uint64_t index, wal::SegmentSeq segment, uint64_t sequence) {
  SplitBefore(index);
  SplitBefore(index + 1);
  const auto at = runs_.find(index);
  const bool same_segment = at != runs_.end() && at->second.segment == segment;
  if (at != runs_.end()) runs_.erase(at);
  auto next = runs_.lower_bound(index);
  if (next != runs_.begin() && !same_segment) {
    Run& before = std::prev(next)->second;
    if (before.last + 1 == index && before.segment == segment && !before.closed) {
      before.last = index;
      return;
    }
  }
  runs_[index] = {.last = index, .segment = segment, .sequence = sequence};
}

void GroupRuns::Apply(const wal::LoggedRecord& logged, wal::SegmentSeq segment) {
  const uint64_t index = logged.record.index.value();
  switch (logged.record.kind) {
    case wal::RecordKind::kEntry:
      DropFrom(index);
      Append(index, segment, logged.sequence);
      end_ = index;
      return;
    case wal::RecordKind::kRewrite:
    case wal::RecordKind::kHealed:
      Replace(index, segment, logged.sequence);
      return;
    case wal::RecordKind::kTruncate:
      DropFrom(index);
      return;
    case wal::RecordKind::kPurge:
      DropThrough(index);
      return;
    case wal::RecordKind::kSnapshotMeta:
      runs_.clear();
      purged_ = end_ = index;
      return;
    case wal::RecordKind::kGroupState: {
      wal::GroupState state;
      if (!wal::DecodeGroupState(logged.record.bytes, state)) return;
      DropFrom(state.last.value() + 1);
      DropThrough(state.purged.index.value());
      end_ = state.last.value();
      return;
    }
    case wal::RecordKind::kHardState:
      return;
  }
  CHECK_UNREACHABLE();
}

uint64_t GroupRuns::FirstMissing() const {
  uint64_t next = purged_ + 1;
  for (const auto& [first, run] : runs_) {
    if (first != next) return next;
    next = run.last + 1;
  }
  return next <= end_ ? next : 0;
}

bool GroupRuns::Holds(const wal::LoggedRecord& logged, wal::SegmentSeq segment) const {
  if (!wal::IsEntryKind(logged.record.kind)) return false;
  const uint64_t index = logged.record.index.value();
  auto run = runs_.upper_bound(index);
  if (run == runs_.begin()) return false;
  --run;
  return index <= run->second.last && run->second.segment == segment &&
         logged.sequence >= run->second.sequence;
}

}  // namespace metastore::walinspect
