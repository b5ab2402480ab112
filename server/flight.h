// One append task on its way to the disk, and the coding of what raft keeps in the log.
#pragma once

#include <string>
#include <vector>

#include "io/base/status.h"
#include "raft/ready.h"
#include "wal/log.h"

namespace metastore::server {

class Group;

// Reused from task to task; the log's completion is its base.
struct Flight : wal::AppendOp {
  Group* group = nullptr;
  raft::AppendTask task;
  std::string hard_state;  // its encoding, while the log may still have to copy it
  bool HasRecords() const { return task.hard_state.has_value() || !task.entries.empty(); }

  MonoTime proposed_at;    // when raft handed the task out
  bool submitted = false;  // the log, or the scheduler, has it
};

// Format: u8 version (1), u64 term, u64 vote, u64 commit.
std::string EncodeHardState(const raft::HardState& state);
// Errors: kDataLoss   not what EncodeHardState makes
StatusOr<raft::HardState> DecodeHardState(std::string_view bytes);

// The records of `flight`'s task into `records` (emptied first): hard state, then entries.
void RecordsOf(Flight& flight, std::vector<wal::Record>& records);

}  // namespace metastore::server
