#include "tools/walinspect/group_runs.h"

#include <algorithm>
#include <iterator>

#include "io/base/check.h"

namespace metastore::walinspect {
namespace {

// Whether the entry `next` belongs to the run before it.
bool GoesOn(const GroupRuns::Run& run, const GroupRuns::Run& next) {
  return run.last + 1 == next.last && run.segment == next.segment && run.term == next.term &&
         !run.closed;
}

}  // namespace

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

void GroupRuns::Append(uint64_t index, const Run& run) {
  if (!runs_.empty() && GoesOn(runs_.rbegin()->second, run)) {
    runs_.rbegin()->second.last = index;
    return;
  }
  runs_[index] = run;
}

void GroupRuns::Replace(uint64_t index, const Run& run) {
  SplitBefore(index);
  SplitBefore(index + 1);
  const auto at = runs_.find(index);
  const bool same_segment = at != runs_.end() && at->second.segment == run.segment;
  if (at != runs_.end()) runs_.erase(at);
  const auto next = runs_.lower_bound(index);
  if (next != runs_.begin() && !same_segment && GoesOn(std::prev(next)->second, run)) {
    std::prev(next)->second.last = index;
    return;
  }
  runs_[index] = run;
}

void GroupRuns::Apply(const wal::LoggedRecord& logged, wal::SegmentSeq segment) {
  const uint64_t index = logged.record.index.value();
  const Run alone{
      .last = index, .segment = segment, .term = logged.record.term, .sequence = logged.sequence};
  switch (logged.record.kind) {
    case wal::RecordKind::kEntry:
      DropFrom(index);
      Append(index, alone);
      end_ = index;
      return;
    case wal::RecordKind::kRewrite:
    case wal::RecordKind::kHealed:
      Replace(index, alone);
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

uint64_t GroupRuns::MissingCount() const {
  uint64_t held = 0;
  for (const auto& [first, run] : runs_) held += run.last - first + 1;
  return end_ - purged_ - held;
}

std::map<uint64_t, GroupRuns::Run>::const_iterator GroupRuns::Find(uint64_t index) const {
  const auto after = runs_.upper_bound(index);
  if (after == runs_.begin()) return runs_.end();
  const auto run = std::prev(after);
  return index <= run->second.last ? run : runs_.end();
}

std::optional<Term> GroupRuns::TermOf(uint64_t index) const {
  const auto run = Find(index);
  return run == runs_.end() ? std::nullopt : std::optional<Term>(run->second.term);
}

bool GroupRuns::Holds(const wal::LoggedRecord& logged, wal::SegmentSeq segment) const {
  if (!wal::IsEntryKind(logged.record.kind)) return false;
  const auto run = Find(logged.record.index.value());
  return run != runs_.end() && run->second.segment == segment &&
         logged.sequence >= run->second.sequence;
}

}  // namespace metastore::walinspect
