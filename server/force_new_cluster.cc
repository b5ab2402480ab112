#include "server/force_new_cluster.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/memory_engine.h"
#include "engine/snapshot_store.h"
#include "io/gate.h"
#include "io/queue.h"
#include "raft/conf_changer.h"
#include "server/config_values.h"
#include "server/fence_mark.h"
#include "server/flight.h"
#include "server/force_report.h"
#include "server/server_command.h"

namespace metastore::server {
namespace {

constexpr size_t kReadBytes = limits::kMiB;
constexpr size_t kListedInLog = 20;  // changes; the file has more
constexpr std::string_view kReportPrefix = "force-new-cluster-";
constexpr std::string_view kReportSuffix = ".report";
constexpr std::string_view kPlanName = "force-new-cluster-plan.report";

// The report's name says which entry it is about, so that another time has another report.
std::string ReportName(raft::EntryId forced) {
  return Concat(kReportPrefix, forced.index.value(), "-", forced.term.value(), kReportSuffix);
}

std::optional<raft::EntryId> EntryOfReport(std::string_view name) {
  if (!name.starts_with(kReportPrefix) || !name.ends_with(kReportSuffix)) return std::nullopt;
  name.remove_prefix(kReportPrefix.size());
  name.remove_suffix(kReportSuffix.size());
  const size_t dash = name.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const StatusOr<uint64_t> index = ParseUint(name.substr(0, dash));
  const StatusOr<uint64_t> term = ParseUint(name.substr(dash + 1));
  if (!index.ok() || !term.ok()) return std::nullopt;
  return raft::EntryId{Term(*term), LogIndex(*index)};
}

// Notes what entries change, while it has somewhere to.
class ChangeNotes final : public engine::ChangeListener {
 public:
  DoubtfulEntries* into = nullptr;

  void OnChanges(Revision revision, std::span<const engine::Event> events) override {
    if (into == nullptr) return;
    for (const engine::Event& event : events) {
      ++into->changes_count;
      if (into->changes.size() >= DoubtfulEntries::kListedMax) continue;
      into->changes.push_back({.revision = revision,
                               .key = std::string(event.kv.key.view()),
                               .deleted = event.kind == engine::EventKind::kDelete});
    }
  }
  void OnLeaseGranted(const engine::LeaseInfo&) override {}
  void OnLeaseRevoked(LeaseId) override {}
  void OnCompacted(Revision) override {}
  void OnRestored() override {}
};

// An append that a coroutine waits for.
struct Appending : wal::AppendOp {
  Appending() {
    name = "force.append";
    ready_class = io::ReadyClass::kCritical;
    run = [](io::ReadyNode& node) { static_cast<Appending&>(node).done.Set(true); };
  }
  io::OneShot<bool> done;
};

class Forcing final {
 public:
  Forcing(io::Runtime& runtime, wal::Log& log, ForceOptions options)
      : runtime_(runtime),
        log_(log),
        options_(std::move(options)),
        first_(log.FirstIndex(options_.group)),
        last_(log.LastIndex(options_.group)),
        snapshots_(runtime, options_.snapshot_dir),
        engine_(engine::MakeMemoryEngine({.hash_seed = runtime.Random(), .clock = &runtime})),
        gate_(runtime.scheduler()) {
    engine_->SetListener(&notes_);
  }

  io::Task<Status> Run() {
    gate_.Spawn("force.upkeep", io::ReadyClass::kBackground,
                engine_->RunMaintenance(stop_.token()));
    Status done = co_await Force();
    stop_.RequestStop();
    co_await gate_.Close();
    co_await engine_->Close();
    co_return done;
  }

 private:
  io::Task<Status> Force();
  io::Task<Status> JudgeMember();
  io::Task<Status> Restore();
  Status Begin(const engine::SnapshotMeta& meta);
  io::Task<Status> Replay(LogIndex end);
  void Apply(const wal::ReadRecord& record);
  void ApplyConfChange(const raft::ConfChange& change);
  bool RemovesSelf(const wal::ReadRecord& record) const;
  Status AlreadyAlone() const;
  Status JudgeMembership() const;
  io::Task<Status> JudgeEarlierReports();
  void PlanEntries();
  void PlanEntry(raft::ConfChangeKind kind, const Member& member);
  io::Task<Status> Report();
  io::Task<Status> WriteReport(std::string path, std::string text);
  io::Task<Status> Append();
  io::Task<Status> Snapshot();
  raft::ConfState conf() const { return tracker_.config().State(); }
  bool Alone() const { return conf().voters == std::vector{self()} && !joint(); }
  bool joint() const { return !conf().voters_outgoing.empty(); }
  NodeId self() const { return options_.identity.member; }

  io::Runtime& runtime_;
  wal::Log& log_;
  const ForceOptions options_;
  const LogIndex first_;
  const LogIndex last_;  // of the log as it was found
  DurableState hard_state_;

  engine::SnapshotStore snapshots_;
  ChangeNotes notes_;
  std::unique_ptr<engine::Engine> engine_;
  Members members_;        // after what was applied and is not left out
  raft::Tracker tracker_;  // likewise, for its membership only
  ForceFacts facts_;
  std::vector<raft::Entry> entries_;  // that make the new membership
  Term term_;                         // of these
  io::StopSource stop_;
  io::Gate gate_;
};

io::Task<Status> Forcing::Force() {
  Status fit = co_await JudgeMember();
  MS_CO_RETURN_IF_ERROR(fit);
  Status restored = co_await Restore();
  MS_CO_RETURN_IF_ERROR(restored);
  Status committed = co_await Replay(facts_.committed + 1);
  MS_CO_RETURN_IF_ERROR(committed);
  if (Alone()) co_return AlreadyAlone();
  Status first_time = co_await JudgeEarlierReports();
  MS_CO_RETURN_IF_ERROR(first_time);
  facts_.taken.revision_before = facts_.taken.revision_after = engine_->stats().revision;
  facts_.taken.first = facts_.taken.end = facts_.committed + 1;
  notes_.into = &facts_.taken;
  Status rest = co_await Replay(last_ + 1);
  MS_CO_RETURN_IF_ERROR(rest);
  notes_.into = nullptr;
  Status possible = JudgeMembership();
  MS_CO_RETURN_IF_ERROR(possible);
  PlanEntries();
  if (!Alone()) co_return InternalError("the membership planned is not of this member alone");
  Status told = co_await Report();
  MS_CO_RETURN_IF_ERROR(told);
  Status appended = co_await Append();
  MS_CO_RETURN_IF_ERROR(appended);
  // What was left out is in the engine all the same: the group replays the log instead.
  if (facts_.left_out.count() > 0) co_return OkStatus();
  Status saved = co_await Snapshot();
  if (!saved.ok()) runtime_.log().Warn("could not take a snapshot", {{"error", saved.ToString()}});
  co_return OkStatus();
}

// --- what this member has ------------------------------------------------------------------------

// Whether its data may become the cluster's.
io::Task<Status> Forcing::JudgeMember() {
  const wal::GroupState* logged = log_.Find(options_.group);
  if (logged != nullptr && !logged->hard_state.empty()) {
    StatusOr<DurableState> state = DecodeHardState(logged->hard_state);
    MS_CO_RETURN_IF_ERROR(state.status());
    hard_state_ = *state;
  }
  if (hard_state_.repair_term != Term()) {
    co_return FailedPreconditionError(
        "--force-new-cluster: this member had not got back from the others what damage to its log "
        "had cost it; force another member");
  }
  if (last_ == LogIndex()) {
    co_return FailedPreconditionError(
        "--force-new-cluster: this member's log has nothing of a cluster; force another member");
  }
  StatusOr<std::string> fenced = co_await ReadFenceMark(runtime_, options_.data_dir);
  MS_CO_RETURN_IF_ERROR(fenced.status());
  if (fenced->empty()) co_return OkStatus();
  co_return FailedPreconditionError(
      "--force-new-cluster: this member is fenced, since its state was not that of the others (",
      FenceMarkPath(options_.data_dir), "); force another member");
}

io::Task<Status> Forcing::Restore() {
  Status opened = co_await snapshots_.Open();
  MS_CO_RETURN_IF_ERROR(opened);
  StatusOr<std::optional<engine::SnapshotMeta>> loaded = co_await snapshots_.Load(*engine_, first_);
  MS_CO_RETURN_IF_ERROR(loaded.status());
  if (loaded->has_value()) MS_CO_RETURN_IF_ERROR(Begin(**loaded));
  facts_.committed =
      std::min(std::max(hard_state_.raft.commit, engine_->stats().applied_index), last_);
  co_return OkStatus();
}

// From the membership of the snapshot.
Status Forcing::Begin(const engine::SnapshotMeta& meta) {
  if (meta.applied_index > last_) {
    return DataLossError("the log ends at ", last_.value(), " but the newest snapshot covers ",
                         meta.applied_index.value(),
                         ": log segments are missing from the data directory");
  }
  StatusOr<std::pair<Members, raft::ConfState>> state = Members::Decode(meta.server_state);
  MS_RETURN_IF_ERROR(state.status());
  StatusOr<raft::Membership> membership =
      raft::ConfChanger::Restore(state->second, last_, raft::Inflights());
  MS_RETURN_IF_ERROR(membership.status());
  members_ = std::move(state->first);
  tracker_.Switch(std::move(membership->config), std::move(membership->progress));
  return OkStatus();
}

// Applies the log up to `end`, without it.
io::Task<Status> Forcing::Replay(LogIndex end) {
  while (engine_->stats().applied_index + 1 < end) {
    StatusOr<std::vector<wal::ReadRecord>> records = co_await log_.ReadEntries(
        options_.group, engine_->stats().applied_index + 1, end, kReadBytes);
    MS_CO_RETURN_IF_ERROR(records.status());
    for (const wal::ReadRecord& record : *records) Apply(record);
    co_await io::Yield();
  }
  co_return OkStatus();
}

void Forcing::Apply(const wal::ReadRecord& record) {
  const bool doubtful = record.index > facts_.committed;
  if (doubtful && facts_.left_out.count() == 0 && RemovesSelf(record)) {
    facts_.left_out.first = facts_.left_out.end = record.index;
    facts_.left_out.revision_before = engine_->stats().revision;
    notes_.into = &facts_.left_out;
  }
  const bool left_out = notes_.into == &facts_.left_out;
  const bool normal = static_cast<raft::EntryType>(record.tag) == raft::EntryType::kNormal;
  const bool servers = normal && IsServerCommand(record.bytes);
  engine_->Apply(
      {.index = record.index, .command = normal && !servers ? std::string_view(record.bytes) : ""});
  if (notes_.into != nullptr) {
    notes_.into->end = record.index + 1;
    notes_.into->revision_after = engine_->stats().revision;
  }
  if (left_out) return;
  if (servers) {
    StatusOr<ServerCommand> decoded = DecodeServerCommand(record.bytes);
    if (decoded.ok()) members_.SetAttributes(decoded->attributes);
  } else if (!normal) {
    StatusOr<raft::ConfChange> change = raft::DecodeConfChange(raft::Payload(record.bytes));
    if (change.ok()) ApplyConfChange(*change);
  }
}

// As Group::ApplyConfChange: what does not fit was refused on every member alike.
void Forcing::ApplyConfChange(const raft::ConfChange& change) {
  StatusOr<raft::Membership> next =
      raft::ConfChanger(tracker_, last_, raft::Inflights()).Apply(change);
  if (!next.ok()) return;
  tracker_.Switch(std::move(next->config), std::move(next->progress));
  StatusOr<MemberChange> asked = DecodeMemberChange(change.context);
  members_.Apply(change, asked.ok() ? asked->member : Member(), conf());
}

bool Forcing::RemovesSelf(const wal::ReadRecord& record) const {
  if (static_cast<raft::EntryType>(record.tag) == raft::EntryType::kNormal) return false;
  StatusOr<raft::ConfChange> change = raft::DecodeConfChange(raft::Payload(record.bytes));
  return change.ok() && std::ranges::any_of(change->steps, [&](const raft::ConfChangeStep& step) {
           return step.kind == raft::ConfChangeKind::kRemove && step.node == self();
         });
}

// --- what to make of it --------------------------------------------------------------------------

Status Forcing::AlreadyAlone() const {
  constexpr std::string_view kWords =
      "--force-new-cluster: this member is a cluster of one already, and nothing is changed";
  if (options_.plan_only) return FailedPreconditionError(kWords);
  runtime_.log().Warn(kWords, {{"advice", "take the flag away before adding members"}});
  return OkStatus();
}

Status Forcing::JudgeMembership() const {
  if (members_.Removed(self())) {
    return FailedPreconditionError(
        "--force-new-cluster: this member was removed from the cluster; its data is not the "
        "cluster's: force another member");
  }
  if (members_.Find(self()) != nullptr) return OkStatus();
  return FailedPreconditionError(
      "--force-new-cluster: this member joined the cluster and was never told of it: it has no "
      "data to go on with; force another member");
}

// A flag forgotten on the command line must not throw out members that were added since.
io::Task<Status> Forcing::JudgeEarlierReports() {
  StatusOr<std::vector<io::DirectoryEntry>> files =
      co_await runtime_.ListDirectory(options_.data_dir);
  MS_CO_RETURN_IF_ERROR(files.status());
  for (const io::DirectoryEntry& file : *files) {
    const std::optional<raft::EntryId> forced = EntryOfReport(file.name);
    if (!forced.has_value() || forced->index > last_) continue;
    StatusOr<Term> term = log_.TermAt(options_.group, forced->index);
    if (term.ok() && *term != forced->term) continue;  // it was not carried out
    co_return FailedPreconditionError(
        "--force-new-cluster: this was done before, as of entry ", forced->index.value(), " (",
        options_.data_dir, "/", file.name,
        "), and the cluster has other members again: take the flag away. If these are lost for "
        "good as well, move that file elsewhere and start once more");
  }
  co_return OkStatus();
}

void Forcing::PlanEntries() {
  const Member own = *members_.Find(self());
  facts_.cluster = options_.identity.cluster;
  facts_.self = own;
  for (const auto& [id, member] : members_.all()) {
    if (id != self()) facts_.others.push_back(member);
  }
  const LogIndex kept = facts_.taken.end - 1;
  facts_.term = log_.TermAt(options_.group, kept).value_or(Term());
  const Term newest = log_.TermAt(options_.group, last_).value_or(Term());
  term_ = std::max(hard_state_.raft.term, newest) + 1;
  if (joint()) PlanEntry(raft::ConfChangeKind::kUpdate, Member());
  const raft::ConfState now = conf();
  const bool votes = std::ranges::find(now.voters, self()) != now.voters.end();
  if (!votes) PlanEntry(raft::ConfChangeKind::kAddVoter, own);
  for (const Member& other : facts_.others) PlanEntry(raft::ConfChangeKind::kRemove, other);
  // Where the entries taken over have removed the others: one of the new term all the same.
  if (entries_.empty()) PlanEntry(raft::ConfChangeKind::kUpdate, own);
  facts_.forced_last = kept + entries_.size();
}

// Nobody's change leaves a joint membership.
void Forcing::PlanEntry(raft::ConfChangeKind kind, const Member& member) {
  raft::ConfChange change;
  if (member.id != NodeId()) {
    change.steps.push_back({kind, member.id});
    change.context = EncodeMemberChange({{}, member});
  }
  ApplyConfChange(change);
  entries_.push_back({.term = term_,
                      .index = facts_.taken.end + entries_.size(),
                      .type = raft::EntryType::kConfChangeV2,
                      .payload = raft::EncodeConfChange(change)});
}

// --- telling and doing it ------------------------------------------------------------------------

io::Task<Status> Forcing::Report() {
  const std::string name =
      options_.plan_only ? std::string(kPlanName) : ReportName({term_, facts_.forced_last});
  const std::string path = Concat(options_.data_dir, "/", name);
  std::string text = ForceReport(facts_, DoubtfulEntries::kListedMax);
  Status written = co_await WriteReport(path, std::move(text));
  if (!written.ok()) co_return Annotate(written, "nothing was changed: the report");
  const std::string brief = ForceReport(facts_, kListedInLog);
  size_t end = 0;
  for (size_t begin = 0; begin < brief.size(); begin = end + 1) {
    end = brief.find('\n', begin);
    if (end > begin) runtime_.log().Warn(brief.substr(begin, end - begin), {{"report", path}});
  }
  if (!options_.plan_only) co_return OkStatus();
  co_return FailedPreconditionError("--force-new-cluster-plan: nothing was changed; the report is ",
                                    path);
}

// Durable when this completes. Files have whole blocks: the last line is filled up with blanks.
io::Task<Status> Forcing::WriteReport(std::string path, std::string text) {
  Status removed = co_await runtime_.RemoveFile(path);
  if (!removed.ok() && removed.code() != StatusCode::kNotFound) co_return removed;
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(path, io::OpenMode::kCreate);
  MS_CO_RETURN_IF_ERROR(file.status());
  const size_t blocks = text.size() / limits::kBlockBytes + 1;
  text.resize(blocks * limits::kBlockBytes - 1, ' ');
  text += '\n';
  for (size_t offset = 0; offset < text.size(); offset += kReadBytes) {
    const size_t part = std::min(kReadBytes, text.size() - offset);
    io::IoBuffer buffer = runtime_.AllocateBuffer(part);
    std::memcpy(buffer.data(), text.data() + offset, part);
    const StatusOr<size_t> put =
        co_await (*file)->Write(offset, {buffer.data(), part}, buffer.registered_index());
    MS_CO_RETURN_IF_ERROR(put.status());
  }
  const StatusOr<size_t> synced = co_await (*file)->Sync();
  MS_CO_RETURN_IF_ERROR(synced.status());
  Status named = co_await runtime_.SyncDirectory(options_.data_dir);
  co_return named;
}

io::Task<Status> Forcing::Append() {
  hard_state_.raft = {.term = term_, .vote = self(), .commit = facts_.forced_last};
  const std::string hard_state = EncodeHardState(hard_state_);
  std::vector<wal::Record> records;
  for (const raft::Entry& entry : entries_) {
    records.push_back({.kind = wal::RecordKind::kEntry,
                       .tag = static_cast<uint8_t>(entry.type),
                       .term = entry.term,
                       .index = entry.index,
                       .bytes = entry.payload.view()});
  }
  records.push_back({.kind = wal::RecordKind::kHardState,
                     .term = term_,
                     .index = facts_.forced_last,
                     .bytes = hard_state});
  Appending op;
  Status appended = log_.Append(options_.group, records, op);
  MS_CO_RETURN_IF_ERROR(appended);
  co_await op.done;
  MS_CO_RETURN_IF_ERROR(op.status);
  runtime_.log().Warn("this member is a cluster of one now; take --force-new-cluster away",
                      {{"index", facts_.forced_last.value()}});
  co_return OkStatus();
}

io::Task<Status> Forcing::Snapshot() {
  for (const raft::Entry& entry : entries_) engine_->Apply({.index = entry.index});
  std::unique_ptr<engine::SnapshotSource> source =
      engine_->StartSnapshot({.term = term_, .server_state = members_.Encode(conf())});
  StatusOr<engine::SnapshotFile> file = co_await snapshots_.Write(*source);
  co_return file.status();
}

}  // namespace

io::Task<Status> ForceNewCluster(io::Runtime& runtime, wal::Log& log, ForceOptions options) {
  Forcing forcing(runtime, log, std::move(options));
  Status done = co_await forcing.Run();
  if (done.code() != StatusCode::kDataLoss) co_return done;
  co_return Annotate(done, "--force-new-cluster: there is nobody to repair this member from");
}

}  // namespace metastore::server
