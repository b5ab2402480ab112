// Walking a Store in bounded steps while entries are applied between them, and which versions such
// a walk sees.
//
// Pure and synchronous; the coroutines that yield between steps are in memory_read.cc and
// memory_snapshot.cc.
#pragma once

#include <string>
#include <string_view>

#include "engine/store.h"

namespace metastore::engine {

// Records visited between two yields: some 100 ns each, so well below 2 ms.
inline constexpr size_t kStepRecords = 2000;

// A place in key order that survives changes of the tree: the key to go on from.
class KeyWalk final {
 public:
  KeyWalk(std::string_view key, std::string_view range_end)
      : begin_(key), end_(range_end), next_(key) {}

  // Calls visit(record) for up to `records_max` further records of the range. When visit returns
  // false the walk stops at that record, which the next step begins with. True once the range is at
  // its end.
  template <typename Visit>
  bool Step(const Store& store, size_t records_max, const Visit& visit) {
    if (ended_) return true;
    KeyTree::Cursor at = store.tree().Seek(next_);
    for (size_t i = 0; i < records_max; ++i, at.Next()) {
      KeyRecord* record = at.record();
      ended_ = record == nullptr || !BeforeRangeEnd(record->key(), begin_, end_);
      if (ended_) return true;
      if (visit(*record)) continue;
      next_ = record->key();
      return false;
    }
    ended_ = at.record() == nullptr;
    if (!ended_) next_ = at.record()->key();
    return ended_;
  }

 private:
  std::string begin_;
  std::string end_;
  std::string next_;
  bool ended_ = false;
};

// The version after `version` (null: from the newest) that is kept at `upto` under the compaction
// floor: all from the floor on, and the newest below it unless it is a delete or something was
// changed at the floor itself. Whether removal has already happened makes no difference.
inline const Version* NextKept(const KeyRecord& record, const Version* version, Position upto,
                               Revision floor) {
  const bool at_floor = version != nullptr && version->main <= floor;
  const Version* next = version == nullptr ? record.newest : version->previous;
  while (next != nullptr && !next->Before(upto)) next = next->previous;
  if (next == nullptr || next->main >= floor) return next;
  return at_floor || next->tombstone ? nullptr : next;
}

}  // namespace metastore::engine
