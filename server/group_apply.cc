// Group: committed entries become state, and waiters get their answers.

#include <string>
#include <utility>
#include <variant>

#include "server/answer_reads.h"
#include "server/group.h"
#include "server/mutation.h"
#include "server/server_command.h"

namespace metastore::server {
namespace {

// Applying goes on for this long before other work of the core gets its turn.
constexpr Duration kApplySlice = Milliseconds(2);
constexpr size_t kEntriesPerClockRead = 64;
constexpr Duration kSlowApply = Milliseconds(100);  // as etcd's

// What a processor or memory that errs may do (kApplyFlipsABit).
engine::ApplyResult ApplyFlipped(engine::Engine& engine, const engine::Entry& entry) {
  StatusOr<engine::Command> command = engine::DecodeCommand(entry.command);
  engine::PutOp* put = command.ok() ? std::get_if<engine::PutOp>(&command->op) : nullptr;
  if (put == nullptr || put->value.empty()) return engine.Apply(entry);
  std::string value(put->value);
  value.back() = static_cast<char>(value.back() ^ 1);
  put->value = value;
  const std::string flipped = engine::EncodeCommand(*command);
  return engine.Apply({.index = entry.index, .command = flipped});
}

}  // namespace

io::Task<void> Group::ApplyLoop() {
  while (!stop_.stopped()) {
    if (apply_queue_.empty()) {
      co_await apply_arrived_.Wait(io::WaitLimit{.stop = stop_.token()});
      continue;
    }
    raft::ApplyTask task = std::move(apply_queue_.front());
    apply_queue_.pop_front();
    applying_ = true;
    const MonoTime began = runtime_.Now();
    Status applied = co_await ApplyCommitted(task);
    const Duration took = runtime_.Now() - began;
    metrics_.apply.Observe(took);
    if (took > kSlowApply) ++metrics_.slow_applies;
    applying_ = false;
    if (!applied.ok()) {
      Fail(std::move(applied));
      co_return;
    }
    if (stop_.stopped() || !failure_.ok()) co_return;
    const LogIndex last = task.entries.back().index;
    proposals_.stages().Drop(last);
    tail_->Retain(last);
    core_->ApplyDone(last);
    OpenElections(applied_term_);
    core_->buffers().Give(std::move(task));
    leases_.OnApplied();
    MaybeSnapshot();
    Schedule();
  }
}

io::Task<Status> Group::ApplyCommitted(const raft::ApplyTask& task) {
  std::vector<engine::Entry> batch;
  batch.reserve(task.entries.size());
  for (const raft::Entry& entry : task.entries) batch.push_back(ForEngine(entry));
  Status fetched = co_await engine_.Prefetch(batch);
  MS_CO_RETURN_IF_ERROR(fetched);
  MonoTime slice_end = runtime_.Now() + kApplySlice;
  for (size_t i = 0; i < task.entries.size(); ++i) {
    ApplyEntry(task.entries[i], batch[i]);
    if (i % kEntriesPerClockRead != kEntriesPerClockRead - 1 || runtime_.Now() < slice_end)
      continue;
    co_await io::Yield();
    slice_end = runtime_.Now() + kApplySlice;
    if (stop_.stopped()) co_return OkStatus();
  }
  co_return OkStatus();
}

engine::Entry Group::ForEngine(const raft::Entry& entry) {
  const std::string_view command = entry.payload.view();
  const bool for_engine = entry.type == raft::EntryType::kNormal && !IsServerCommand(command);
  return {.index = entry.index, .command = for_engine ? command : std::string_view()};
}

void Group::ApplyEntry(const raft::Entry& entry, const engine::Entry& for_engine) {
  if (entry.term > applied_term_) {
    applied_term_ = entry.term;
    proposals_.FailOfTermsBefore(entry.term);
  }
  engine::ReadPin pin;
  ProposeCall* reader = nullptr;
  if (!for_engine.command.empty()) {
    reader = proposals_.FindReader(for_engine.command);
    if (reader != nullptr) pin = engine_.Pin();
  }
  const bool errs = Mutated(Mutation::kApplyFlipsABit) && !members_.all().empty() &&
                    members_.all().begin()->first == options_.raft.id;
  engine::ApplyResult applied =
      errs ? ApplyFlipped(engine_, for_engine) : engine_.Apply(for_engine);
  metrics_.ops.Count(applied.op);
  if (entry.type != raft::EntryType::kNormal) return ApplyConfChange(entry);
  if (IsServerCommand(entry.payload.view())) return ApplyServerCommand(entry.payload.view());
  if (reader != nullptr && applied.outcome == engine::Outcome::kOk) {
    // Leaves Proposals here: its answer no longer depends on raft, and it must not expire
    // meanwhile.
    proposals_.Detach(*reader);
    proposals_.StampApplied(*reader, entry.index);
    if (gate_.Spawn("group.answer", io::ReadyClass::kClient,
                    AnswerWithReads(*reader, std::move(applied), std::move(pin)))) {
      return;
    }
    reader->Fail(errors::kStopped);
    reader->Return(runtime_);
    return;
  }
  proposals_.Resolve(std::move(applied), core_->term());
}

io::Task<void> Group::AnswerWithReads(ProposeCall& call, engine::ApplyResult applied,
                                      engine::ReadPin pin) {
  WriteAnswer answer{.term = core_->term()};
  for (const engine::RangeQuery& query : AnswerReadsOf(*call.op, applied.op, pin)) {
    engine::RangeResult read = co_await engine_.Range(query);
    answer.reads.push_back(std::move(read));
  }
  answer.applied = std::move(applied);
  call.result = std::move(answer);
  if (fenced()) call.Fail(errors::kCorrupt);
  call.Return(runtime_);
}

void Group::ApplyServerCommand(std::string_view command) {
  // An entry that this build cannot decode changes nothing, on every member alike.
  StatusOr<ServerCommand> decoded = DecodeServerCommand(command);
  if (!decoded.ok()) return;
  if (decoded->kind == ServerOpKind::kCompare) return BeginDigest();
  members_.SetAttributes(decoded->attributes);
  FollowMembers();
  engine::ApplyResult applied{.request = decoded->request, .revision = engine_.stats().revision};
  proposals_.Resolve(std::move(applied), core_->term());
  serving_changed_.NotifyAll();
}

// What is in the log says already who is who (Peers::Admit).
void Group::NotePublication(raft::EntryType type, std::string_view command) {
  if (type != raft::EntryType::kNormal || !IsServerCommand(command)) return;
  StatusOr<ServerCommand> decoded = DecodeServerCommand(command);
  if (!decoded.ok() || decoded->kind != ServerOpKind::kPublishMember) return;
  peers_.NotePublished(decoded->attributes);
}

void Group::ApplyConfChange(const raft::Entry& entry) {
  StatusOr<raft::ConfChange> change = raft::DecodeConfChange(entry.payload);
  if (!change.ok()) return;
  StatusOr<raft::ConfState> conf = core_->ApplyConfChange(*change);
  MemberChange asked;
  if (!change->context.empty()) {
    StatusOr<MemberChange> decoded = DecodeMemberChange(change->context);
    if (decoded.ok()) asked = *std::move(decoded);
  }
  // Refused on every member alike.
  if (!conf.ok()) return ResolveMemberCalls(asked.request, conf.status());
  conf_ = *std::move(conf);
  members_.Apply(*change, asked.member, conf_);
  BoundTail();
  if (!Mutated(Mutation::kLinksNotFollowed)) FollowMembers();
  ResolveMemberCalls(asked.request, OkStatus());
  StopIfRemoved();
}

// The cache serves followers; without any, memory that goes round quickly stays in the processor's
// caches.
void Group::BoundTail() {
  const size_t others = conf_.voters.size() + conf_.learners.size() + conf_.voters_outgoing.size();
  tail_->SetBytesMax(others > 1 ? options_.log_cache_bytes : kLoneLogCacheBytes);
}

}  // namespace metastore::server
