// Messages and tasks out.
#include <utility>

#include "raft/raft_core.h"

namespace metastore::raft {

bool RaftCore::NeedsAppend() const {
  return !log_.unstable().NextEntries().empty() || log_.unstable().NextSnapshot() != nullptr ||
         CurrentHardState() != reported_.hard || !outbox_.after_durable.empty();
}

bool RaftCore::HasReady() const {
  return !outbox_.now.empty() || NeedsAppend() || soft_ != reported_.soft ||
         log_.HasNextCommitted() || reads_.has_states() || CanAdvanceReads();
}

Ready RaftCore::TakeReady() {
  Ready ready;
  if (traced()) Trace(TraceKind::kReady);
  if (CanAdvanceReads()) AdvanceReads();
  if (soft_ != reported_.soft) {
    ready.soft_state = soft_;
    reported_.soft = soft_;
  }
  // Before the append is taken: what it says is durable next must not be applied with it, unless
  // the driver asked for that.
  if (log_.HasNextCommitted()) {
    std::vector<Entry> committed = log_.TakeNextCommitted(buffers_.TakeEntries());
    if (!committed.empty()) ready.apply = ApplyTask{std::move(committed)};
  }
  if (NeedsAppend()) ready.append = TakeAppend();
  if (!outbox_.now.empty()) ready.send_now = std::exchange(outbox_.now, buffers_.TakeMessages());
  ready.reads = reads_.TakeStates();
  return ready;
}

AppendTask RaftCore::TakeAppend() {
  AppendTask task;
  task.seq = ++reported_.last_append;
  const HardState hard = CurrentHardState();
  if (hard != reported_.hard) {
    const bool term_or_vote = hard.term != reported_.hard.term || hard.vote != reported_.hard.vote;
    task.must_sync = term_or_vote;
    task.hard_state = hard;
    reported_.hard = hard;
  }
  UnstableLog& unstable = log_.unstable();
  const std::span<const Entry> entries = unstable.NextEntries();
  if (!entries.empty()) {
    task.entries = buffers_.TakeEntries();
    task.entries.assign(entries.begin(), entries.end());
  }
  task.snapshot = unstable.NextSnapshot();
  if (!task.entries.empty() || task.snapshot != nullptr) task.must_sync = true;
  task.after_durable = std::exchange(outbox_.after_durable, buffers_.TakeMessages());
  // Every task attests the end of the log as it is now, also one without entries: an earlier answer
  // may have been dropped for its term (trap 30).
  if (!unstable.empty() || task.snapshot != nullptr) {
    Message durable;
    durable.type = MessageType::kStorageAppendResponse;
    durable.from = kLocalStorage;
    durable.to = config_.id;
    durable.term = term_;
    if (!unstable.empty()) durable.log = log_.LastId();
    durable.snapshot = task.snapshot;
    task.after_durable.push_back(std::move(durable));
  }
  unstable.AcceptInProgress();
  return task;
}

}  // namespace metastore::raft
