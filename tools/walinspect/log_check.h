// LogCheck: whether the records of a log make sense after one another, as recovery demands it when
// it rebuilds the index (wal::GroupTable), but in a memory that does not grow with the entries.
// Pure.
#pragma once

#include <map>

#include "io/base/status.h"
#include "tools/walinspect/group_runs.h"
#include "wal/format.h"

namespace metastore::walinspect {

class LogCheck final {
 public:
  // The next record of the log.
  // Errors: kDataLoss  a gap in the group's sequence, or what the records before it do not admit
  Status Take(const wal::LoggedRecord& logged, wal::SegmentSeq segment);
  // After the last record. Errors: kDataLoss  no record holds an entry that a group has
  Status CheckComplete() const;

 private:
  struct Group {
    wal::GroupState state;
    GroupRuns runs;
    uint64_t next_sequence = 1;
    bool begun = false;
  };

  Group& FindOrAdd(GroupId id);

  std::map<GroupId, Group> groups_;
  std::pair<const GroupId, Group>* last_ = nullptr;  // of groups_: most records follow their kind
};

}  // namespace metastore::walinspect
