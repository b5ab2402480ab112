// Group: snapshots of the memory engine and the log behind them; this member's publication.

#include <algorithm>
#include <utility>

#include "io/yield_as.h"
#include "server/group.h"
#include "server/mutation.h"
#include "server/server_command.h"

namespace metastore::server {
namespace {

// After a snapshot that could not be written (a full disk, most likely).
constexpr Duration kSnapshotRetry = Seconds(10);
// Some 50 ns each to free.
constexpr uint64_t kTailEntriesPerStep = 2048;
constexpr Duration kPublishRetry = Seconds(1);
constexpr Duration kPublishTimeout = Seconds(7);

}  // namespace

// Both bounds must be passed: the entries, so that a small log is left alone, and the log's growth,
// so that a large state is not written again and again for little news. Large is what it costs to
// walk and compress, not the file, which may be a small part of that: so the log grows to about the
// size of the state, and writing snapshots costs each entry about as much as one version costs.
bool Group::SnapshotDue() const {
  if (snapshot_.needed && engine_.stats().applied_index > snapshot_.last) return true;
  const uint64_t entries = engine_.stats().applied_index - snapshot_.last;
  return entries >= options_.snapshot_count &&
         snapshot_.log_bytes_since >= std::max(options_.snapshot_log_bytes, snapshot_.state_bytes);
}

void Group::MaybeSnapshot() {
  if (SnapshotDue()) snapshot_.wanted.NotifyAll();
}

io::Task<void> Group::SnapshotLoop() {
  while (!stop_.stopped()) {
    if (!SnapshotDue()) {
      co_await snapshot_.wanted.Wait(io::WaitLimit{.stop = stop_.token()});
      continue;
    }
    Status taken = co_await TakeSnapshot();
    if (taken.ok() || stop_.stopped()) continue;
    runtime_.log().Warn("could not take a snapshot; trying again later",
                        {{"error", taken.ToString()}, {"retry-after-ms", kSnapshotRetry.ms()}});
    co_await io::SleepUntil(runtime_, runtime_.Now() + kSnapshotRetry, stop_.token());
  }
}

io::Task<Status> Group::TakeSnapshot() {
  const LogIndex index = engine_.stats().applied_index;
  snapshot_.needed = false;
  const uint64_t log_bytes = std::exchange(snapshot_.log_bytes_since, 0);
  const uint64_t state_bytes = engine_.stats().stored_bytes;
  StatusOr<Term> term = log_.TermAt(options_.id, index);
  if (Mutated(Mutation::kSnapshotTermNow)) term = core_->term();
  MS_CO_RETURN_IF_ERROR(term.status());
  engine::SnapshotExtra extra{.term = *term, .server_state = members_.Encode(conf_)};
  if (Mutated(Mutation::kSnapshotNoMembers)) extra.server_state = Members().Encode(conf_);
  std::unique_ptr<engine::SnapshotSource> source = engine_.StartSnapshot(std::move(extra));
  raft::SnapshotMeta meta{.last = {*term, index}, .conf = conf_};
  const MonoTime began = runtime_.Now();
  StatusOr<engine::SnapshotFile> file = co_await snapshots_.Write(*source);
  if (!file.ok()) {
    snapshot_.log_bytes_since += log_bytes;
    co_return file.status();
  }
  snapshot_.last = index;
  snapshot_.last_bytes = file->stream_bytes;
  snapshot_.state_bytes = state_bytes;
  metrics_.snapshot_save.Observe(runtime_.Now() - began);
  tail_->SetSnapshot(std::move(meta));
  runtime_.log().Info("saved snapshot", {{"index", index.value()},
                                         {"bytes", file->stream_bytes},
                                         {"took-ms", (runtime_.Now() - began).ms()}});
  if (stop_.stopped()) co_return OkStatus();
  Status purged = co_await PurgeLog(index);
  co_return purged;
}

// Frees the log behind the OLDEST kept snapshot, so that a damaged newest one still has a way back,
// and behind what slow followers may need.
io::Task<Status> Group::PurgeLog(LogIndex snapshot) {
  const LogIndex oldest = snapshots_.files().back().applied_index;
  const uint64_t catchup = std::min(options_.snapshot_catchup_entries, snapshot.value());
  LogIndex through = std::min(oldest, snapshot - catchup);
  if (Mutated(Mutation::kPurgeToApplied)) through = engine_.stats().applied_index;
  if (through < tail_->FirstIndex()) co_return OkStatus();
  struct Purge : wal::AppendOp {
    io::OneShot<bool> done;
  } op;
  op.must_sync = false;
  op.name = "group.purge";
  op.ready_class = io::ReadyClass::kBackground;
  op.run = [](io::ReadyNode& node) { static_cast<Purge&>(node).done.Set(true); };
  co_await CompactTail(through);
  if (stop_.stopped()) co_return OkStatus();
  Status appended = log_.Purge(options_.id, through, op);
  MS_CO_RETURN_IF_ERROR(appended);
  co_await op.done;
  co_return op.status;
}

// Frees the entries in memory up to `through`, which is not above the applied index, in steps.
io::Task<void> Group::CompactTail(LogIndex through) {
  while (tail_->FirstIndex() <= through) {
    const LogIndex in_memory = std::max(tail_->FirstIndex(), tail_->tail_begin());
    tail_->Compact(std::min(through, in_memory + kTailEntriesPerStep));
    co_await io::YieldAs(io::ReadyClass::kBackground);
  }
}

// Tells the cluster this member's name and client URLs, once, when they are not known as they are.
io::Task<void> Group::PublishLoop() {
  MemberAttributes attributes = options_.self;
  attributes.incarnation = incarnation_;
  while (!stop_.stopped()) {
    const Member* self = members_.Find(attributes.id);
    const bool known = self != nullptr && self->name == attributes.name &&
                       self->client_urls == attributes.client_urls &&
                       self->incarnation == attributes.incarnation;
    if (known && core_->leader() != raft::kNobody) break;
    if (known || self == nullptr || core_->leader() == raft::kNobody) {
      co_await serving_changed_.Wait(io::WaitLimit{
          .timers = &runtime_, .deadline = runtime_.Now() + kPublishRetry, .stop = stop_.token()});
      continue;
    }
    ProposeCall call(runtime_, runtime_.core(), *this);
    call.terms.deadline = runtime_.Now() + kPublishTimeout;
    call.id = options_.publish_id;
    call.command = raft::Payload(EncodePublishMember(call.id, attributes));
    const bool arrived = co_await call;
    if (arrived && call.result.ok()) continue;
    co_await io::SleepUntil(runtime_, runtime_.Now() + kPublishRetry, stop_.token());
  }
  if (stop_.stopped()) co_return;
  published_ = true;
  serving_changed_.NotifyAll();
}

}  // namespace metastore::server
