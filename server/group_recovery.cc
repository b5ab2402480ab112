// Group: from what is on disk to a running raft core.

#include <algorithm>
#include <optional>
#include <utility>

#include "server/group.h"

namespace metastore::server {

io::Task<Status> Group::Recover() {
  const LogIndex first = log_.FirstIndex(options_.id);
  const LogIndex last = log_.LastIndex(options_.id);
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
    std::tie(members_, conf_) = *std::move(state);
    snapshot_.last = meta.applied_index;
  }
  StatusOr<Term> purged_term = log_.TermAt(options_.id, first - 1);
  const Term start_term = purged_term.ok() ? *purged_term : Term(0);
  tail_ = std::make_unique<raft::TailLog>(raft::EntryId{start_term, first - 1},
                                          options_.log_cache_bytes);
  for (LogIndex index = first; index <= last; ++index) {
    StatusOr<Term> term = log_.TermAt(options_.id, index);
    MS_CO_RETURN_IF_ERROR(term.status());
    tail_->AppendIdOnly(raft::EntryId{*term, index});
  }
  BoundTail();
  tail_->Retain(engine_.stats().applied_index);
  co_return OkStatus();
}

// etcd's rule: the log of a new group begins with one committed membership entry for each member it
// starts with, equal on all of them, so that one node and three begin by the same path.
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
  task.hard_state = raft::HardState{.term = Term(1), .commit = task.entries.back().index};

  struct Waiting : Flight {
    io::OneShot<bool> done;
  } flight;
  flight.name = "group.begin";
  flight.ready_class = io::ReadyClass::kCritical;
  flight.run = [](io::ReadyNode& node) {
    static_cast<Waiting&>(static_cast<Flight&>(node)).done.Set(true);
  };
  flight.task = std::move(task);
  RecordsOf(flight, records_);
  Status appended = log_.Append(options_.id, records_, flight);
  MS_CO_RETURN_IF_ERROR(appended);
  co_await flight.done;
  MS_CO_RETURN_IF_ERROR(flight.status);
  tail_->Append(flight.task.entries);
  co_return OkStatus();
}

StatusOr<raft::InitialState> Group::MakeInitialState() const {
  raft::InitialState initial;
  initial.applied = engine_.stats().applied_index;
  initial.conf = conf_;
  const wal::GroupState* logged = log_.Find(options_.id);
  if (logged != nullptr && !logged->hard_state.empty()) {
    StatusOr<raft::HardState> state = DecodeHardState(logged->hard_state);
    if (!state.ok()) return state.status();
    initial.hard_state = *state;
  }
  // The commit index is logged lazily and the store may be ahead of it, never ahead of the log.
  LogIndex& commit = initial.hard_state.commit;
  commit = std::min(std::max(commit, initial.applied), tail_->LastIndex());
  return initial;
}

}  // namespace metastore::server
