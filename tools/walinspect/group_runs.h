// GroupRuns: which record of a log holds each live entry of one group, as runs of consecutive
// indexes of one term that lie in one segment. A few runs a segment, whatever the number of
// entries: this is what keeps looking at a long log within a fixed memory. Pure.
//
// A run also has the group sequence number of its first record: of several records of one index in
// one segment, the live one is the only one with a number at or above its run's. Invariant: runs
// are in order of index and do not overlap.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "wal/format.h"

namespace metastore::walinspect {

class GroupRuns final {
 public:
  struct Run {
    uint64_t last = 0;  // index, included
    wal::SegmentSeq segment;
    Term term;
    uint64_t sequence = 0;  // of the first record put here
    bool closed = false;    // entries after it were dropped: the next ones begin a new run
  };

  // Does what the record does to its group's log. `logged` is the next one of its group.
  void Apply(const wal::LoggedRecord& logged, wal::SegmentSeq segment);

  // By first index.
  const std::map<uint64_t, Run>& runs() const { return runs_; }
  bool empty() const { return runs_.empty(); }
  uint64_t first() const { return runs_.empty() ? 0 : runs_.begin()->first; }
  uint64_t last() const { return runs_.empty() ? 0 : runs_.rbegin()->second.last; }
  uint64_t purged() const { return purged_; }
  // The first index after the purge point whose entry no record holds, though the log says that it
  // has it; 0: none is missing.
  uint64_t FirstMissing() const;
  // How many are missing.
  uint64_t MissingCount() const;
  // The term of an entry; nothing if no record holds it.
  std::optional<Term> TermOf(uint64_t index) const;
  // Whether this record is the one that holds the entry now.
  bool Holds(const wal::LoggedRecord& logged, wal::SegmentSeq segment) const;

 private:
  // `run` is what the entry would be alone.
  void Append(uint64_t index, const Run& run);
  void Replace(uint64_t index, const Run& run);
  std::map<uint64_t, Run>::const_iterator Find(uint64_t index) const;
  void DropFrom(uint64_t index);
  void DropThrough(uint64_t index);
  // Cuts the run that holds both index - 1 and index in two.
  void SplitBefore(uint64_t index);

  std::map<uint64_t, Run> runs_;
  uint64_t purged_ = 0;
  uint64_t end_ = 0;  // last index that the log says it has
};

}  // namespace metastore::walinspect
