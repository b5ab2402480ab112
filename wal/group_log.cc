#include "wal/group_log.h"

#include <algorithm>

namespace metastore::wal {
namespace {

// A restated log longer than this is not believed: its index would need 4 GiB.
constexpr uint64_t kRestatedEntriesMax = uint64_t{1} << 28;
// Entries of one run: as many records as fit in a frame.
constexpr uint64_t kRunEntriesMax = limits::kFrameBytesMax / 7;

template <typename A, typename B>
Status Refused(std::string_view what, A got, std::string_view demand, B bound) {
  return DataLossError(what, " ", got.value(), " ", demand, " ", bound.value());
}

Status CheckRestated(const Effect& effect, const GroupBefore& before) {
  GroupState state;
  if (!DecodeGroupState(effect.bytes, state)) return DataLossError("malformed group state");
  if (state.last - state.purged.index > kRestatedEntriesMax) {
    return DataLossError("group state of ", state.last - state.purged.index, " entries");
  }
  const GroupState& is = before.state;
  const bool same = state.purged == is.purged && state.last == is.last &&
                    state.hard_state == is.hard_state && state.snapshot_meta == is.snapshot_meta;
  if (before.fresh || same) return OkStatus();
  return DataLossError("group state differs from what the records before it give");
}

Status CheckMoved(const Effect& effect, const GroupBefore& before) {
  const LogIndex first = before.state.purged.index + 1;
  const LogIndex last = before.state.last;
  if (effect.count == 0 || effect.index < first || effect.count > last + 1 - first ||
      effect.index + (effect.count - 1) > last) {
    return Refused("moved entry", effect.index, "is not in the log up to", last);
  }
  for (uint64_t i = 0; i < effect.count; ++i) {
    const std::optional<Term> term = before.term_of(effect.index + i);
    if (term && *term != effect.term) {
      return Refused("moved entry's term", effect.term, "is not", *term);
    }
  }
  return OkStatus();
}

Status CheckPurge(const Effect& effect, const GroupBefore& before) {
  const EntryRef& purged = before.state.purged;
  if (effect.index < purged.index) return Refused("purge", effect.index, "is below", purged.index);
  if (effect.index > before.state.last) {
    return Refused("purge", effect.index, "is above", before.state.last);
  }
  if (effect.index == purged.index) return OkStatus();
  const std::optional<Term> term = before.term_of(effect.index);
  if (!term || *term == effect.term) return OkStatus();
  return Refused("purged entry's term", effect.term, "is not", *term);
}

}  // namespace

Status CheckAdmitted(const Effect& effect, const GroupBefore& before) {
  const LogIndex first = before.state.purged.index + 1;
  const LogIndex last = before.state.last;
  switch (effect.kind) {
    case RecordKind::kEntry:
      if (effect.count == 0 || effect.count > kRunEntriesMax) {
        return DataLossError("a run of ", effect.count, " entries");
      }
      if (effect.index < first) return Refused("entry", effect.index, "is below", first);
      if (effect.index > last + 1)
        return Refused("entry", effect.index, "leaves a gap after", last);
      return OkStatus();
    case RecordKind::kRewrite:
    case RecordKind::kHealed:
      return CheckMoved(effect, before);
    case RecordKind::kHardState:
    case RecordKind::kSnapshotMeta:
      return OkStatus();
    case RecordKind::kTruncate:
      if (effect.index < first) return Refused("truncation", effect.index, "is below", first);
      if (effect.index > last + 1) return Refused("truncation", effect.index, "is above", last);
      return OkStatus();
    case RecordKind::kPurge:
      return CheckPurge(effect, before);
    case RecordKind::kGroupState:
      return CheckRestated(effect, before);
  }
  CHECK_UNREACHABLE();
}

Effect EffectOf(const Record& record, uint32_t frame) {
  return {.kind = record.kind,
          .term = record.term,
          .index = record.index,
          .count = 1,
          .frame = frame,
          .bytes = record.bytes};
}

const GroupLog::Slot& GroupLog::slot(LogIndex index) const {
  CHECK_GE(index, first());
  CHECK_LE(index, last());
  return slots_[index - first()];
}

StatusOr<Term> GroupLog::TermAt(LogIndex index) const {
  if (index == state_.purged.index) return state_.purged.term;
  if (index < first() || index > last()) {
    return OutOfRangeError("index ", index.value(), " is outside of the log, ", first().value(),
                           " to ", last().value());
  }
  return slot(index).term;
}

LogIndex GroupLog::first_absent() const {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].segment == 0) return first() + i;
  }
  return last() + 1;
}

Status GroupLog::Apply(const Effect& effect, const Place& place, SegmentTable& segments) {
  const auto term_of = [this](LogIndex index) {
    const Slot& found = slot(index);
    return found.segment == 0 ? std::nullopt : std::optional<Term>(found.term);
  };
  Status admitted = CheckAdmitted(effect, {.state = state_, .fresh = fresh(), .term_of = term_of});
  if (!admitted.ok()) return admitted;
  switch (effect.kind) {
    case RecordKind::kEntry:
      PutRun(effect, place, segments);
      break;
    case RecordKind::kRewrite:
    case RecordKind::kHealed:
      Replace(effect, place, segments);
      break;
    case RecordKind::kHardState:
      state_.hard_state.assign(effect.bytes);
      break;
    case RecordKind::kSnapshotMeta:
      DropFrom(first(), place, segments);
      state_.snapshot_meta.assign(effect.bytes);
      state_.snapshot = state_.purged = {effect.term, effect.index};
      state_.last = effect.index;
      break;
    case RecordKind::kTruncate:
      DropFrom(effect.index, place, segments);
      break;
    case RecordKind::kPurge:
      DropThrough(effect.index, place, segments);
      state_.purged = {effect.term, effect.index};
      break;
    case RecordKind::kGroupState:
      if (fresh()) Restate(effect);
      break;
  }
  return OkStatus();
}

void GroupLog::PutRun(const Effect& effect, const Place& place, SegmentTable& segments) {
  if (effect.index <= last()) DropFrom(effect.index, place, segments);
  const auto segment = static_cast<uint32_t>(place.segment.value());
  for (uint64_t i = 0; i < effect.count; ++i) {
    // Field by field: a slot put together elsewhere is copied as 16 bytes, which waits for the
    // stores of its parts.
    Slot& slot = slots_.emplace_back();
    slot.segment = segment;
    slot.frame = effect.frame;
    slot.term = effect.term;
  }
  state_.last += effect.count;
  segments.AddLive(segment, effect.count);
}

void GroupLog::Replace(const Effect& effect, const Place& place, SegmentTable& segments) {
  const auto segment = static_cast<uint32_t>(place.segment.value());
  for (uint64_t i = 0; i < effect.count; ++i) {
    Slot& slot = slots_[effect.index + i - first()];
    DropSlot(slot, place, segments);
    slot = {segment, effect.frame, effect.term};
  }
  segments.AddLive(segment, effect.count);
}

void GroupLog::DropFrom(LogIndex index, const Place& place, SegmentTable& segments) {
  while (last() >= index && !slots_.empty()) {
    DropSlot(slots_.back(), place, segments);
    slots_.pop_back();
    --state_.last;
  }
}

void GroupLog::DropThrough(LogIndex index, const Place& place, SegmentTable& segments) {
  for (LogIndex i = first(); i <= index; ++i) {
    DropSlot(slots_.front(), place, segments);
    slots_.pop_front();
  }
}

void GroupLog::DropSlot(const Slot& slot, const Place& place, SegmentTable& segments) {
  if (slot.segment == 0) {
    --absent_;
    return;
  }
  segments.DropLive(slot.segment, place.lsn);
}

void GroupLog::Restate(const Effect& effect) {
  CHECK(DecodeGroupState(effect.bytes, state_));
  absent_ = state_.last - state_.purged.index;
  slots_.assign(absent_, Slot{});
  restated_ = true;
}

GroupLog* GroupTable::Find(GroupId id) {
  if (last_ != nullptr && last_id_ == id) return last_;
  const auto found = groups_.find(id);
  if (found == groups_.end()) return nullptr;
  last_id_ = id;
  last_ = found->second.get();
  return last_;
}

GroupLog& GroupTable::FindOrAdd(GroupId id) {
  if (GroupLog* found = Find(id)) return *found;
  std::unique_ptr<GroupLog>& added = groups_[id];
  added = std::make_unique<GroupLog>();
  return *added;
}

Status GroupTable::Replay(GroupId id, uint64_t sequence, const Effect& effect,
                          const GroupLog::Place& place, SegmentTable& segments) {
  GroupLog& group = FindOrAdd(id);
  const bool begins = effect.kind == RecordKind::kGroupState && group.next_sequence == 1;
  if (sequence != group.next_sequence && !begins) {
    return DataLossError("group ", id.value(), " lacks its records ", group.next_sequence, " to ",
                         sequence - 1);
  }
  Status applied = group.Apply(effect, place, segments);
  if (!applied.ok()) return Annotate(applied, Concat("group ", id.value()));
  group.next_sequence = sequence + 1;
  return OkStatus();
}

Status GroupTable::ReplayFooter(const Footer& footer, SegmentTable& segments) {
  for (const auto& [id, facts] : footer.groups) {
    // A group that is new here begins with its state restated, or with its first record.
    GroupLog& group = FindOrAdd(id);
    const bool gap = facts.first_sequence != group.next_sequence;
    if (facts.last_sequence < facts.first_sequence || (gap && group.next_sequence != 1)) {
      return DataLossError("group ", id.value(), " lacks its records ", group.next_sequence, " to ",
                           facts.first_sequence - 1);
    }
  }
  for (const FooterEffect& item : footer.effects) {
    GroupLog& group = FindOrAdd(item.group);
    const GroupLog::Place place{footer.segment, footer.first_lsn + item.effect.frame};
    Status applied = group.Apply(item.effect, place, segments);
    if (!applied.ok()) return Annotate(applied, Concat("group ", item.group.value()));
  }
  for (const auto& [id, facts] : footer.groups) {
    GroupLog& group = FindOrAdd(id);
    if (facts.has_hard_state) {
      const Effect effect{.kind = RecordKind::kHardState, .bytes = facts.hard_state};
      CHECK(group.Apply(effect, {footer.segment, footer.last_lsn}, segments).ok());
    }
    group.next_sequence = facts.last_sequence + 1;
  }
  return OkStatus();
}

Status GroupTable::CheckComplete() const {
  for (const auto& [id, group] : groups_) {
    if (group->absent_count() == 0) continue;
    return DataLossError("group ", id.value(), " lacks entry ", group->first_absent().value(),
                         " and ", group->absent_count() - 1, " more");
  }
  return OkStatus();
}

}  // namespace metastore::wal
