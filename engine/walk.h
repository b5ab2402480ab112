// Walking a Store in bounded steps while entries are applied between them, and which versions such
// a walk sees.
//
// Pure and synchronous; the coroutines that yield between steps are in memory_read.cc and
// memory_snapshot.cc. Each walk remembers its place: a step that ends for its budget returns false,
// and the next call goes on there. In between its owner holds a pin of no higher floor than the
// walk reads at, which keeps in place whatever a walk points to.
#pragma once

#include <string>
#include <string_view>

#include "engine/step_budget.h"
#include "engine/store.h"

namespace metastore::engine {

// A place in key order that survives changes of the tree: the key to go on from.
class KeyWalk final {
 public:
  // The views outlive it.
  KeyWalk(std::string_view key, std::string_view range_end) : begin_(key), end_(range_end) {}

  // Calls visit(record) for further records of the range. When visit returns false the walk stops
  // at that record, which the next step begins with. True once the range is at its end.
  template <typename Visit>
  bool Step(const Store& store, StepBudget& budget, const Visit& visit) {
    if (ended_) return true;
    KeyTree::Cursor at = store.tree().Seek(next_.empty() ? begin_ : next_);
    for (;; at.Next()) {
      const KeyRecord* record = at.record();
      ended_ = record == nullptr || !BeforeRangeEnd(record->key(), begin_, end_);
      if (ended_) return true;
      if (budget.Spend(1) && visit(*record)) continue;
      next_ = record->key();
      budget.SpendBytes(next_.size());
      return false;
    }
  }

 private:
  const std::string_view begin_;
  const std::string_view end_;
  std::string next_;  // empty: from begin_; keys are not empty
  bool ended_ = false;
};

// What VisibleAt finds, in steps: the way is as long as the number of the key's later versions.
class VersionSearch final {
 public:
  // True: found() is the newest version of `record` that a read at `at` sees, null if there is none
  // or the key is deleted there. False: call again with the same record, or drop the search.
  bool Step(const KeyRecord& record, Position at, StepBudget& budget) {
    if (record_ != &record) {
      record_ = &record;
      version_ = record.newest;
    }
    while (version_ != nullptr && !version_->Before(at)) {
      if (!budget.Spend(1)) return false;
      version_ = version_->previous;
    }
    record_ = nullptr;
    if (version_ != nullptr && version_->tombstone) version_ = nullptr;
    return true;
  }
  const Version* found() const { return version_; }

 private:
  const KeyRecord* record_ = nullptr;  // under way
  const Version* version_ = nullptr;
};

// The versions of one record after the other that are kept at `upto` under the compaction floor:
// all from the floor on, and the newest below it unless it is a delete or something was changed at
// the floor itself. Whether removal has already happened makes no difference.
class KeptWalk final {
 public:
  KeptWalk(Position upto, Revision floor) : upto_(upto), floor_(floor) {}

  // Calls visit(version, first) for the kept versions of `record`, newest first. False: call again
  // with the same record.
  template <typename Visit>
  bool Step(const KeyRecord& record, StepBudget& budget, const Visit& visit) {
    if (record_ != &record) Begin(record);
    while (version_ != nullptr) {
      if (!budget.Spend(1)) return false;
      if (version_->Before(upto_)) {
        visit(*version_, first_);
        first_ = false;
        at_floor_ = version_->main <= floor_;
      }
      MoveTo(version_->previous);
    }
    record_ = nullptr;
    return true;
  }

 private:
  void Begin(const KeyRecord& record) {
    record_ = &record;
    first_ = true;
    at_floor_ = false;
    MoveTo(record.newest);
  }
  // Never rests on a version below the floor that is not kept: a removal may take it.
  void MoveTo(const Version* version) {
    const bool below = version != nullptr && version->main < floor_;
    version_ = below && (at_floor_ || version->tombstone) ? nullptr : version;
  }

  const Position upto_;
  const Revision floor_;
  const KeyRecord* record_ = nullptr;  // under way
  const Version* version_ = nullptr;   // the next of it
  bool first_ = true;
  bool at_floor_ = false;  // the last one visited was at the floor or below
};

}  // namespace metastore::engine
