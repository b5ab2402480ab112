// Group: from what is on disk to a running raft core.

#include <algorithm>
#include <optional>
#include <utility>

#include "server/group.h"
#include "server/mutation.h"

namespace metastore::server {
namespace {

constexpr Duration kTermAnswerTimeout = Seconds(3);
constexpr size_t kPublicationsReadBytes = 4 * limits::kMiB;  // at once
constexpr Duration kTermAnswerPause = Milliseconds(5);

}  // namespace

io::Task<Status> Group::Recover() {
  const LogIndex first = log_.FirstIndex(options_.id);
  const LogIndex last = log_.LastIndex(options_.id);
  if (log_.Find(options_.id) == nullptr && !snapshots_.files().empty()) {
    co_return DataLossError("the log is new, but there is the snapshot ",
                            snapshots_.files().front().path,
                            ": log segments are missing from the data directory");
  }
  StatusOr<std::optional<engine::SnapshotMeta>> loaded = co_await snapshots_.Load(engine_, first);
  MS_CO_RETURN_IF_ERROR(loaded.status());
  if (loaded->has_value()) {
    const engine::SnapshotMeta& meta = **loaded;
    if (meta.applied_index > last) {
      co_return DataLossError("the log ends at ", last.value(), " but the newest snapshot covers ",
                              meta.applied_index.value(),
                              ": log segments are missing from the data directory");
    }
    StatusOr<std::pair<Members, raft::ConfState>> state = Members::Decode(meta.server_state);
    MS_CO_RETURN_IF_ERROR(state.status());
    if (!Mutated(Mutation::kMembersNotLoaded)) std::tie(members_, conf_) = *std::move(state);
    snapshot_.last = meta.applied_index;
    applied_term_ = meta.term;
  }
  Status known = TakeIncarnation();
  MS_CO_RETURN_IF_ERROR(known);
  StatusOr<Term> purged_term = log_.TermAt(options_.id, first - 1);
  const Term start_term = purged_term.ok() ? *purged_term : Term(0);
  tail_ = std::make_unique<raft::TailLog>(raft::EntryId{start_term, first - 1},
                                          options_.log_cache_bytes);
  const bool forgets =
      Mutated(Mutation::kTailForgotten) && last > std::max(first, engine_.stats().applied_index);
  const LogIndex kept = forgets ? last - 1 : last;
  for (LogIndex index = first; index <= kept; ++index) {
    StatusOr<Term> term = log_.TermAt(options_.id, index);
    MS_CO_RETURN_IF_ERROR(term.status());
    tail_->AppendIdOnly(raft::EntryId{*term, index});
  }
  BoundTail();
  tail_->Retain(engine_.stats().applied_index);
  if (loaded->has_value()) {
    tail_->SetSnapshot({.last = {(*loaded)->term, (*loaded)->applied_index}, .conf = conf_});
  }
  co_return OkStatus();
}

// The directory's own, or a new one, which the next hard state makes durable.
Status Group::TakeIncarnation() {
  const wal::GroupState* logged = log_.Find(options_.id);
  if (logged != nullptr && !logged->hard_state.empty()) {
    StatusOr<DurableState> state = DecodeHardState(logged->hard_state);
    if (!state.ok()) return state.status();
    if (!Mutated(Mutation::kIncarnationRenewed)) incarnation_ = state->incarnation;
    repair_term_ = state->repair_term;
  }
  while (incarnation_ == 0) incarnation_ = runtime_.Random();
  return OkStatus();
}

// Of what the log has and is not applied. One that is alone has nobody to judge.
io::Task<Status> Group::ReadPublications() {
  if (members_.all().size() == 1 && conf_.voters.size() == 1) co_return OkStatus();
  LogIndex next = engine_.stats().applied_index + 1;
  const LogIndex end = log_.LastIndex(options_.id) + 1;
  while (next < end) {
    StatusOr<std::vector<wal::ReadRecord>> records =
        co_await log_.ReadEntries(options_.id, next, end, kPublicationsReadBytes);
    MS_CO_RETURN_IF_ERROR(records.status());
    for (const wal::ReadRecord& record : *records) {
      NotePublication(static_cast<raft::EntryType>(record.tag), record.bytes);
    }
    next = records->back().index + 1;
  }
  co_return OkStatus();
}

// etcd's rule: the log of a new group begins with one committed membership entry for each member it
// starts with, equal on all of them, so that one node and three begin by the same path. A member
// that joins begins with none, and hears the membership from the leader; its record marks the log
// as begun all the same, so that a lost log is never taken for a new one.
io::Task<Status> Group::BeginNew(const Bootstrap& bootstrap) {
  raft::AppendTask task;
  for (const BootstrapMember& member : bootstrap.members) {
    raft::ConfChange change;
    change.steps.push_back({raft::ConfChangeKind::kAddVoter, member.id});
    change.context = EncodeMember(Member{.id = member.id, .peer_urls = member.peer_urls});
    task.entries.push_back(raft::Entry{.term = Term(1),
                                       .index = LogIndex(task.entries.size() + 1),
                                       .type = raft::EntryType::kConfChange,
                                       .payload = raft::EncodeConfChange(change)});
  }
  const bool founding = !task.entries.empty();
  task.hard_state =
      raft::HardState{.term = Term(founding ? 1 : 0), .commit = LogIndex(task.entries.size())};

  struct Waiting : Flight {
    io::OneShot<bool> done;
  } flight;
  flight.name = "group.begin";
  flight.ready_class = io::ReadyClass::kCritical;
  flight.run = [](io::ReadyNode& node) {
    static_cast<Waiting&>(static_cast<Flight&>(node)).done.Set(true);
  };
  flight.task = std::move(task);
  RecordsOf(flight, DurableFacts(), SIZE_MAX, records_);
  Status appended = log_.Append(options_.id, records_, flight);
  MS_CO_RETURN_IF_ERROR(appended);
  co_await flight.done;
  MS_CO_RETURN_IF_ERROR(flight.status);
  tail_->Append(flight.task.entries);
  co_return OkStatus();
}

StatusOr<raft::InitialState> Group::MakeInitialState(bool first_start) const {
  raft::InitialState initial;
  initial.first_start = first_start || Mutated(Mutation::kLeasePromiseForgotten);
  initial.applied = engine_.stats().applied_index;
  initial.conf = conf_;
  const wal::GroupState* logged = log_.Find(options_.id);
  if (logged != nullptr && !logged->hard_state.empty()) {
    StatusOr<DurableState> state = DecodeHardState(logged->hard_state);
    if (!state.ok()) return state.status();
    initial.hard_state = state->raft;
    if (Mutated(Mutation::kVoteForgotten)) initial.hard_state.vote = raft::kNobody;
  }
  // The commit index is logged lazily and the store may be ahead of it, never ahead of the log.
  LogIndex& commit = initial.hard_state.commit;
  commit = std::min(std::max(commit, initial.applied), tail_->LastIndex());
  if (Mutated(Mutation::kCommitFromLog)) commit = tail_->LastIndex();
  if (Mutated(Mutation::kAppliedFromCommit)) initial.applied = commit;
  return initial;
}

// What was committed by this member's lost acknowledgements lies below the first entry of a leader
// that was elected without it (log_repair.h).
void Group::OpenElections(Term applied) {
  if (repair_term_ == Term() || applied < repair_term_) return;
  runtime_.log().Info("repaired from the other members: this one takes part in elections again",
                      {{"term", repair_term_.value()}});
  repair_term_ = Term();  // the next hard state says so
  ++metrics_.repairs;
  core_->SetElectionsOpen(true);
  serving_changed_.NotifyAll();
}

// What the log has and is not applied may be a membership that nobody else can tell of.
io::Task<StatusOr<TermAnswer>> Group::AnswerTerm() {
  const LogIndex held = core_->last_index();
  const MonoTime deadline = runtime_.Now() + kTermAnswerTimeout;
  while (engine_.stats().applied_index < held) {
    const MonoTime next = runtime_.Now() + kTermAnswerPause;
    const io::WaitResult result = co_await io::SleepUntil(runtime_, next, stop_.token());
    const bool late = runtime_.Now() >= deadline;
    if (late || result == io::WaitResult::kStopped || stopping_ || !failure_.ok()) {
      co_return UnavailableError("what the log has is not applied in time");
    }
  }
  co_return TermAnswer{
      .term = core_->term(), .votes = repair_term_ == Term(), .members = members_, .conf = conf_};
}

}  // namespace metastore::server
