// What a RaftCore wants done: the output of TakeReady, carried out by the node pump.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "raft/message.h"
#include "raft/types.h"

namespace metastore::raft {

// One write to the log of this group. Tasks are executed and completed in the order of `seq`.
struct AppendTask {
  AppendSeq seq;
  std::optional<HardState> hard_state;  // goes before the entries (trap 29)
  // Contiguous. The first may be at or below the log's last entry: what is there is truncated.
  std::vector<Entry> entries;
  // To be installed first, atomically with the hard state (trap 22): the log begins after its last.
  std::shared_ptr<const SnapshotMeta> snapshot;
  // False: only a new commit index or only messages to release. Never flush for its sake: it is
  // complete once everything before it is durable, and its record rides along with the next one.
  bool must_sync = false;
  // To be released in this order when this task and everything before it is durable (trap 28):
  // messages to peers are sent, messages to this node are given to StepOwn.
  std::vector<Message> after_durable;
};

// Committed entries, for the state machine, in order. RaftCore::ApplyDone(entries.back().index)
// when all of them are applied.
struct ApplyTask {
  std::vector<Entry> entries;  // never empty
};

enum class ReadOutcome : uint8_t {
  kServe,    // linearizable once the state machine has applied `index`
  kRefused,  // leadership changed under way: try again
};

struct ReadState {
  ReadToken token;
  LogIndex index;
  ReadOutcome outcome = ReadOutcome::kServe;

  bool operator==(const ReadState&) const = default;
};

struct Ready {
  std::optional<SoftState> soft_state;  // present when it changed; for notices only
  // To peers; those with NeedsDurableTerm() not before `append` is durable.
  std::vector<Message> send_now;
  std::optional<AppendTask> append;
  std::optional<ApplyTask> apply;
  std::vector<ReadState> reads;

  bool empty() const {
    return !soft_state && send_now.empty() && !append && !apply && reads.empty();
  }
};

}  // namespace metastore::raft
