// LogWatch: the one log of a cluster, entry by entry as it is committed, whichever members come and
// go meanwhile: what was asked of the store, in its true order, and when.
//
// Looks at the members' logs in memory at every step, and at their disks for what it has missed so
// (an entry of a process that ended in the same step). Without effect on any of them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "raft/types.h"
#include "tests/sim/cluster_harness.h"

namespace metastore::sim_test {

struct CommittedEntry {
  raft::EntryId id;
  raft::EntryType type = raft::EntryType::kNormal;
  std::string payload;
  // Of world time: it came to be committed after the one and not after the other; a step apart,
  // unless whoever could tell had just ended or not yet started.
  MonoTime after;
  MonoTime by;
};

class LogWatch final {
 public:
  // Gives entries to `taker`, from the first of the log on, in order. `cluster` outlives it.
  LogWatch(ClusterHarness& cluster, std::function<void(const CommittedEntry&)> taker)
      : cluster_(cluster), taker_(std::move(taker)) {}

  // At every step, from the first on.
  void Look();
  // Whether all was given that a member was seen to have committed.
  bool complete() const { return given_ == commits_.size(); }

 private:
  struct Commit {
    raft::EntryId id;
    MonoTime after;
    MonoTime by;
  };

  void NoteLog(const raft::TailLog& log);
  void NoteCommit(const raft::TailLog& log, LogIndex committed);
  bool SeesAll() const;
  void SearchDisks();
  void Give();

  ClusterHarness& cluster_;
  std::function<void(const CommittedEntry&)> taker_;
  std::map<raft::EntryId, CommittedEntry> seen_;  // above those given, without times
  std::vector<Commit> commits_;                   // by index, from the first on
  size_t given_ = 0;                              // of these
  MonoTime saw_all_;                              // when all that was committed was seen to be
};

}  // namespace metastore::sim_test
