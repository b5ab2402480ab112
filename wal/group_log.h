// GroupLog: the index of one group's log: where each entry lies, and the group's hard state,
// snapshot meta and purge point. GroupTable: those of all groups. The same code runs when records
// are appended and when they are replayed.
//
// Owner: Log. Pure but for the live counts of the segments its slots point to.
//
// Invariants
//  1. Slot i is entry purged.index + 1 + i; the last one is entry `last`.
//  2. A slot is absent only during replay: its entry was moved forward by a rewrite that is yet to
//  come.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "io/base/status.h"
#include "wal/footer.h"
#include "wal/segment.h"

namespace metastore::wal {

// A group's log before an effect.
struct GroupBefore {
  const GroupState& state;
  bool fresh = false;  // nothing was applied to it yet
  // The term of an entry within the log; nothing if it is absent (invariant 2).
  absl::FunctionRef<std::optional<Term>(LogIndex)> term_of;
};
// What `effect` demands of the log before it. Errors: kDataLoss  says what is wrong
Status CheckAdmitted(const Effect& effect, const GroupBefore& before);

class GroupLog final {
 public:
  struct Slot {
    uint32_t segment = 0;  // low bits of SegmentSeq; 0: absent
    uint32_t frame = 0;    // ordinal
    Term term;
    bool operator==(const Slot&) const = default;
  };

  // Where an effect's record lies.
  struct Place {
    SegmentSeq segment;
    Lsn lsn;
  };

  // CheckAdmitted, and does it; nothing changes on an error.
  Status Apply(const Effect& effect, const Place& place, SegmentTable& segments);

  // The next record's sequence number.
  uint64_t next_sequence = 1;
  // LSN of the last frame with a must_sync record of the group.
  Lsn last_sync;

  const GroupState& state() const { return state_; }
  LogIndex first() const { return state_.purged.index + 1; }
  LogIndex last() const { return state_.last; }
  // CHECKs first() <= index <= last().
  const Slot& slot(LogIndex index) const;
  StatusOr<Term> TermAt(LogIndex index) const;
  // Of replay: how many slots are absent, and the first.
  uint64_t absent_count() const { return absent_; }
  LogIndex first_absent() const;

 private:
  void PutRun(const Effect& effect, const Place& place, SegmentTable& segments);
  void Replace(const Effect& effect, const Place& place, SegmentTable& segments);
  void DropFrom(LogIndex index, const Place& place, SegmentTable& segments);
  void DropThrough(LogIndex index, const Place& place, SegmentTable& segments);
  void DropSlot(const Slot& slot, const Place& place, SegmentTable& segments);
  void Restate(const Effect& effect);
  bool fresh() const { return next_sequence == 1 && slots_.empty() && !restated_; }

  GroupState state_;
  std::deque<Slot> slots_;
  uint64_t absent_ = 0;
  bool restated_ = false;
};

class GroupTable final {
 public:
  // Null for an unknown group.
  GroupLog* Find(GroupId id);
  const GroupLog* Find(GroupId id) const { return const_cast<GroupTable*>(this)->Find(id); }
  GroupLog& FindOrAdd(GroupId id);
  const std::map<GroupId, std::unique_ptr<GroupLog>>& all() const { return groups_; }

  // Replays one record, whose sequence number must follow the group's last.
  // Errors: kDataLoss  a gap in the sequence, or an effect that the log before it does not admit
  Status Replay(GroupId id, uint64_t sequence, const Effect& effect, const GroupLog::Place& place,
                SegmentTable& segments);
  // Replays a whole segment from its footer. Errors: as Replay.
  Status ReplayFooter(const Footer& footer, SegmentTable& segments);
  // kDataLoss if an entry's slot is absent: the segment that had it was freed, and its rewrite is
  // missing.
  Status CheckComplete() const;

 private:
  std::map<GroupId, std::unique_ptr<GroupLog>> groups_;
  GroupId last_id_;
  GroupLog* last_ = nullptr;
};

// The effect of one record.
Effect EffectOf(const Record& record, uint32_t frame);

}  // namespace metastore::wal
