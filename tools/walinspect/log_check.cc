#include "tools/walinspect/log_check.h"

#include <utility>

#include "io/base/check.h"
#include "wal/group_log.h"

namespace metastore::walinspect {
namespace {

// Does to `state` what the record, which it admits, does to its group.
void Follow(wal::GroupState& state, const wal::Record& record, bool fresh) {
  switch (record.kind) {
    case wal::RecordKind::kEntry:
      state.last = record.index;
      return;
    case wal::RecordKind::kRewrite:
    case wal::RecordKind::kHealed:
      return;
    case wal::RecordKind::kHardState:
      state.hard_state.assign(record.bytes);
      return;
    case wal::RecordKind::kSnapshotMeta:
      state.snapshot_meta.assign(record.bytes);
      state.snapshot = state.purged = {record.term, record.index};
      state.last = record.index;
      return;
    case wal::RecordKind::kTruncate:
      state.last = LogIndex(record.index.value() - 1);
      return;
    case wal::RecordKind::kPurge:
      state.purged = {record.term, record.index};
      return;
    case wal::RecordKind::kGroupState:
      if (fresh) CHECK(wal::DecodeGroupState(record.bytes, state));
      return;
  }
  CHECK_UNREACHABLE();
}

}  // namespace

LogCheck::Group& LogCheck::FindOrAdd(GroupId id) {
  if (last_ == nullptr || last_->first != id) last_ = &*groups_.try_emplace(id).first;
  return last_->second;
}

Status LogCheck::Take(const wal::LoggedRecord& logged, wal::SegmentSeq segment) {
  Group& group = FindOrAdd(logged.group);
  const bool begins =
      group.next_sequence == 1 && logged.record.kind == wal::RecordKind::kGroupState;
  if (logged.sequence != group.next_sequence && !begins) {
    return DataLossError("group ", logged.group.value(), " lacks its records ", group.next_sequence,
                         " to ", logged.sequence - 1);
  }
  const auto term_of = [&group](LogIndex index) { return group.runs.TermOf(index.value()); };
  const Status admitted =
      wal::CheckAdmitted(wal::EffectOf(logged.record, 0),
                         {.state = group.state, .fresh = !group.begun, .term_of = term_of});
  if (!admitted.ok()) return Annotate(admitted, Concat("group ", logged.group.value()));
  Follow(group.state, logged.record, !group.begun);
  group.runs.Apply(logged, segment);
  group.next_sequence = logged.sequence + 1;
  group.begun = true;
  return OkStatus();
}

Status LogCheck::CheckComplete() const {
  for (const auto& [id, group] : groups_) {
    const uint64_t first = group.runs.FirstMissing();
    if (first == 0) continue;
    return DataLossError("group ", id.value(), " lacks entry ", first, " and ",
                         group.runs.MissingCount() - 1, " more");
  }
  return OkStatus();
}

}  // namespace metastore::walinspect
