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
  std::vector<raft::Message> held;  // to peers once the task is durable: vote requests
  std::string hard_state;           // encodings, while the log may still have to copy them
  std::string snapshot_meta;
  bool HasRecords() const {
    return task.hard_state.has_value() || !task.entries.empty() || task.snapshot != nullptr;
  }

  MonoTime proposed_at;    // when raft handed the task out
  size_t appended = 0;     // of the task's entries, those the log has before the last part
  bool submitted = false;  // the log, or the scheduler, has it
  // Of a task with a snapshot: whether the engine has its state.
  enum class Install : uint8_t { kNone, kUnderWay, kDone } install = Install::kNone;
};

// What one hard state record holds.
struct DurableState {
  raft::HardState raft;
  // Of the data directory, drawn when it was made; 0: written before there were any.
  uint64_t incarnation = 0;
  // Not 0: the log took the place of a damaged one, and this member takes no part in elections
  // until it has applied an entry of this term or a later one (server/log_repair.h).
  Term repair_term;
  bool operator==(const DurableState&) const = default;
};
// Format: u8 version (2), u64 term, u64 vote, u64 commit, u64 incarnation (not in version 1).
// Version 3, only while there is one: and u64 repair term.
std::string EncodeHardState(const DurableState& state);
// Errors: kDataLoss   not what EncodeHardState makes
StatusOr<DurableState> DecodeHardState(std::string_view bytes);

// The next records of `flight`'s task into `records` (emptied first): hard state (with what `own`
// has beside raft's) and snapshot, then entries from `flight.appended` on, of about `bytes_max` but
// at least one. Returns the number of entries that are in the log with these.
size_t RecordsOf(Flight& flight, DurableState own, size_t bytes_max,
                 std::vector<wal::Record>& records);

}  // namespace metastore::server
