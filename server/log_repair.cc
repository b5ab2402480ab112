#include "server/log_repair.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "io/signal.h"
#include "server/mutation.h"
#include "server/peers.h"
#include "wal/identity.h"

namespace metastore::server {
namespace {

constexpr GroupId kGroup{1};
constexpr Duration kAskFor = Seconds(15);  // then the start fails, and says who did not answer
constexpr Duration kAskPause = Milliseconds(200);
// Damage may hide the last boots, never so many.
constexpr uint64_t kBootsHiddenMax = 1 << 16;

Status CannotRepair(const Status& damage, std::string_view why) {
  return DataLossError(StdView(damage.message()),
                       "; it cannot be repaired from the other members: ", why);
}

std::vector<net::PeerEndpoint> OthersOf(const Config& config) {
  std::vector<net::PeerEndpoint> endpoints;
  for (const InitialMember& member : config.cluster.initial_cluster) {
    if (member.name == config.member.name) continue;
    std::ranges::move(EndpointsOf(member.peer_urls), std::back_inserter(endpoints));
  }
  return endpoints;
}

void Merge(const Members& from, Members& to) {
  for (const auto& [id, member] : from.all()) to.Put(member);
}

bool Refused(const Status& status) { return status.code() == StatusCode::kPermissionDenied; }

std::string NameOf(NodeId id, const Members& members) {
  const Member* member = members.Find(id);
  const bool named = member != nullptr && !member->name.empty();
  return named ? member->name : Concat(absl::Hex(id.value()));
}

}  // namespace

// --- files ---------------------------------------------------------------------------------------

io::Task<StatusOr<bool>> LogRepair::Exists(std::string directory) {
  StatusOr<std::vector<io::DirectoryEntry>> entries = co_await runtime_.ListDirectory(directory);
  if (entries.status().code() == StatusCode::kNotFound) co_return false;
  MS_CO_RETURN_IF_ERROR(entries.status());
  co_return true;
}

io::Task<Status> LogRepair::RemoveAll(std::string directory) {
  StatusOr<std::vector<io::DirectoryEntry>> entries = co_await runtime_.ListDirectory(directory);
  if (entries.status().code() == StatusCode::kNotFound) co_return OkStatus();
  MS_CO_RETURN_IF_ERROR(entries.status());
  if (entries->empty()) co_return OkStatus();
  for (const io::DirectoryEntry& entry : *entries) {
    Status removed = co_await runtime_.RemoveFile(Concat(directory, "/", entry.name));
    MS_CO_RETURN_IF_ERROR(removed);
  }
  Status synced = co_await runtime_.SyncDirectory(directory);
  co_return synced;
}

// The new log was whole before the old one got its other name. One beside the old log is of a
// repair that did not come to that: it must not outlive the damage that it was made for.
io::Task<Status> LogRepair::FinishSwitch() {
  StatusOr<bool> made = co_await Exists(NewLog());
  MS_CO_RETURN_IF_ERROR(made.status());
  if (!*made) co_return OkStatus();
  StatusOr<bool> old = co_await Exists(places_.log);
  MS_CO_RETURN_IF_ERROR(old.status());
  if (*old) {
    Status cleared = co_await RemoveAll(NewLog());
    co_return cleared;
  }
  Status renamed = co_await runtime_.RenameDirectory(NewLog(), places_.log);
  co_return renamed;
}

io::Task<StatusOr<bool>> LogRepair::HasMark(Suspicion how) {
  StatusOr<std::unique_ptr<io::File>> mark =
      co_await runtime_.OpenFile(MarkOf(how), io::OpenMode::kRead);
  if (mark.status().code() == StatusCode::kNotFound) co_return false;
  MS_CO_RETURN_IF_ERROR(mark.status());
  co_return true;
}

io::Task<StatusOr<LogRepair::Suspicion>> LogRepair::Suspected() {
  for (const Suspicion how : {Suspicion::kTwice, Suspicion::kOnce}) {
    StatusOr<bool> there = co_await HasMark(how);
    MS_CO_RETURN_IF_ERROR(there.status());
    if (*there) co_return how;
  }
  co_return Suspicion::kNone;
}

io::Task<Status> LogRepair::Suspect(Suspicion how) {
  if (!config_.cluster.repair_from_peers || OthersOf(config_).empty()) co_return OkStatus();
  StatusOr<std::unique_ptr<io::File>> mark =
      co_await runtime_.OpenFile(MarkOf(how), io::OpenMode::kCreate);
  if (mark.status().code() == StatusCode::kAlreadyExists) co_return OkStatus();
  MS_CO_RETURN_IF_ERROR(mark.status());
  Status synced = co_await runtime_.SyncDirectory(MarksFolder());
  co_return synced;
}

io::Task<Status> LogRepair::Clear() {
  bool changed = false;
  for (const Suspicion how : {Suspicion::kTwice, Suspicion::kOnce}) {
    Status removed = co_await runtime_.RemoveFile(MarkOf(how));
    if (removed.code() == StatusCode::kNotFound) continue;
    MS_CO_RETURN_IF_ERROR(removed);
    changed = true;
  }
  if (!changed) co_return OkStatus();
  Status synced = co_await runtime_.SyncDirectory(MarksFolder());
  co_return synced;
}

io::Task<StatusOr<bool>> LogRepair::Damaged() {
  StatusOr<wal::Finding> finding = co_await wal::JudgeLog(runtime_, places_.log);
  MS_CO_RETURN_IF_ERROR(finding.status());
  co_return finding->verdict == wal::Verdict::kCorrupt;
}

// Of the next set; 0: there are too many.
io::Task<StatusOr<int>> LogRepair::FreeNumber() {
  StatusOr<bool> snapshots = co_await Exists(places_.snapshots);
  MS_CO_RETURN_IF_ERROR(snapshots.status());
  for (int number = 1; number <= kSetsMax; ++number) {
    StatusOr<bool> log = co_await Exists(Concat(places_.log, ".damaged-", number));
    MS_CO_RETURN_IF_ERROR(log.status());
    StatusOr<bool> other = co_await Exists(Concat(places_.snapshots, ".damaged-", number));
    MS_CO_RETURN_IF_ERROR(other.status());
    if (!*log && !(*snapshots && *other)) co_return number;
  }
  co_return 0;
}

// --- the other members ---------------------------------------------------------------------------

// Voters that somebody names, nobody knows to have left, and that have not answered.
std::vector<NodeId> LogRepair::Missing(const Identity& identity, const Answers& answers) const {
  std::vector<NodeId> missing;
  const auto left = [&](NodeId id) {
    return std::ranges::any_of(answers.by_member,
                               [&](const auto& one) { return one.second.members.Removed(id); });
  };
  const auto want = [&](NodeId id) {
    const bool known = id == identity.member || answers.by_member.contains(id) || left(id);
    if (!known && std::ranges::find(missing, id) == missing.end()) missing.push_back(id);
  };
  if (answers.by_member.empty()) {
    for (const auto& [id, member] : answers.members.all()) want(id);
  }
  for (const auto& [from, answer] : answers.by_member) {
    std::ranges::for_each(answer.conf.voters, want);
    std::ranges::for_each(answer.conf.voters_outgoing, want);
  }
  return missing;
}

io::Task<Status> LogRepair::AskMissing(const Identity& identity, uint64_t incarnation,
                                       Answers& answers) {
  std::string problems;
  for (const NodeId id : Missing(identity, answers)) {
    const Member* member = answers.members.Find(id);
    Status problem = UnavailableError("no address is known");
    if (member != nullptr) {
      TermQuestion question{.identity = identity,
                            .incarnation = incarnation,
                            .to = id,
                            .endpoints = EndpointsOf(member->peer_urls)};
      StatusOr<TermAnswer> answer = co_await AskForTerm(runtime_, config_, std::move(question));
      problem = answer.status();
      if (answer.ok()) {
        Merge(answer->members, answers.members);
        answers.by_member.emplace(id, *std::move(answer));
        continue;
      }
    }
    if (Refused(problem)) co_return problem;
    problems += Concat(problems.empty() ? "" : "; ", NameOf(id, answers.members), ": ",
                       StdView(problem.message()));
  }
  co_return problems.empty() ? OkStatus() : UnavailableError(problems);
}

Status LogRepair::JudgeMajority(const Answers& answers) {
  size_t whole = 0;
  for (const auto& [id, answer] : answers.by_member) whole += answer.votes ? 1 : 0;
  const size_t voters = answers.by_member.size() + 1;
  if (whole > voters / 2) return OkStatus();
  return UnavailableError("only ", whole, " of ", voters,
                          " voters have a whole log, and a majority must");
}

// Errors: kUnavailable, kPermissionDenied, kFailedPrecondition
io::Task<StatusOr<LogRepair::Answers>> LogRepair::AskAll(const Identity& identity,
                                                         uint64_t incarnation) {
  const MonoTime deadline = runtime_.Now() + kAskFor;
  io::StopSource never;
  Answers answers;
  Status problem;
  while (runtime_.Now() < deadline) {
    if (answers.members.all().empty()) {
      StatusOr<ClusterPicture> picture =
          co_await AskForMembers(runtime_, OthersOf(config_), never.token());
      problem = picture.status();
      if (picture.ok() && picture->cluster != identity.cluster) {
        co_return FailedPreconditionError("the members of --initial-cluster are of cluster ",
                                          absl::Hex(picture->cluster.value()), ", this log is of ",
                                          absl::Hex(identity.cluster.value()));
      }
      if (picture.ok()) answers.members = std::move(picture->members);
    }
    if (!answers.members.all().empty()) {
      problem = co_await AskMissing(identity, incarnation, answers);
      if (Refused(problem)) co_return problem;
      const bool all = problem.ok() && Missing(identity, answers).empty();
      if (all) problem = JudgeMajority(answers);
      if (all && problem.ok()) co_return answers;
      // Who repairs itself may have done so by then.
      if (all) std::erase_if(answers.by_member, [](const auto& one) { return !one.second.votes; });
    }
    co_await io::SleepUntil(runtime_, runtime_.Now() + kAskPause, never.token());
  }
  co_return Annotate(problem, "the log is damaged, and every other voter must answer to repair it");
}

// --- the new log ---------------------------------------------------------------------------------

// Its only record is the hard state that it begins with.
io::Task<Status> LogRepair::MakeLog(wal::LogOptions options, DurableState begin) {
  Status cleared = co_await RemoveAll(options.directory);
  MS_CO_RETURN_IF_ERROR(cleared);
  StatusOr<std::unique_ptr<wal::Log>> log = co_await wal::Log::Open(runtime_, std::move(options));
  MS_CO_RETURN_IF_ERROR(log.status());
  struct Waiting : wal::AppendOp {
    io::OneShot<bool> done;
  } op;
  op.name = "repair.begin";
  op.ready_class = io::ReadyClass::kCritical;
  op.run = [](io::ReadyNode& node) {
    static_cast<Waiting&>(static_cast<wal::AppendOp&>(node)).done.Set(true);
  };
  const std::string hard_state = EncodeHardState(begin);
  const wal::Record record{
      .kind = wal::RecordKind::kHardState, .term = begin.raft.term, .bytes = hard_state};
  Status appended = (*log)->Append(kGroup, {&record, 1}, op);
  if (appended.ok()) {
    co_await op.done;
    appended = op.status;
  }
  Status closed = co_await (*log)->Close();
  co_return appended.ok() ? closed : appended;
}

io::Task<Status> LogRepair::Switch(int number) {
  const std::string aside = Concat(".damaged-", number);
  StatusOr<bool> snapshots = co_await Exists(places_.snapshots);
  MS_CO_RETURN_IF_ERROR(snapshots.status());
  if (*snapshots) {
    Status moved = co_await runtime_.RenameDirectory(places_.snapshots, places_.snapshots + aside);
    MS_CO_RETURN_IF_ERROR(moved);
  }
  Status moved = co_await runtime_.RenameDirectory(places_.log, places_.log + aside);
  MS_CO_RETURN_IF_ERROR(moved);
  Status named = co_await runtime_.RenameDirectory(NewLog(), places_.log);
  MS_CO_RETURN_IF_ERROR(named);
  Status cleared = co_await Clear();
  co_return cleared;
}

io::Task<StatusOr<Members>> LogRepair::Run(Status damage, Identity identity, wal::LogOptions log) {
  const bool forced = config_.cluster.force != ForceCluster::kNo;
  if (!config_.cluster.repair_from_peers || forced) co_return damage;
  if (OthersOf(config_).empty()) {
    co_return CannotRepair(damage,
                           Concat("--initial-cluster names none. Put a copy of the data directory "
                                  "in its place, or drop what lies behind the damage, with all "
                                  "writes there: walinspect repair ",
                                  places_.log, " --data-dir ", config_.member.data_dir));
  }
  StatusOr<wal::LogRemains> remains = co_await wal::RemainsOfLog(runtime_, places_.log, kGroup);
  MS_CO_RETURN_IF_ERROR(remains.status());
  StatusOr<DurableState> former = DecodeHardState(remains->hard_state);
  if (!former.ok() || former->incarnation == 0) {
    co_return CannotRepair(damage,
                           "no intact hard state says which data directory this is. Remove the "
                           "member (member remove) and add it again as a new one");
  }
  StatusOr<int> number = co_await FreeNumber();
  MS_CO_RETURN_IF_ERROR(number.status());
  if (*number == 0) {
    co_return CannotRepair(damage, Concat("it was so ", kSetsMax,
                                          " times already: is the disk sound? What was set aside "
                                          "is in ",
                                          places_.log, ".damaged-*; move it away"));
  }
  runtime_.log().Warn("the log is damaged: asking the other members",
                      {{"error", StdView(damage.message())}});
  StatusOr<Answers> answers = co_await AskAll(identity, former->incarnation);
  if (Refused(answers.status())) {
    co_return FailedPreconditionError("the other members refuse this one: ",
                                      StdView(answers.status().message()));
  }
  MS_CO_RETURN_IF_ERROR(answers.status());
  Term term = former->raft.term;
  for (const auto& [id, answer] : answers->by_member) term = std::max(term, answer.term);
  if (Mutated(Mutation::kTermsNotAsked)) term = Term();
  ++term;
  log.directory = NewLog();
  const bool anew = Mutated(Mutation::kBootsForgotten);
  log.epoch_min = anew ? Epoch() : remains->epoch + kBootsHiddenMax;
  log.flush_ring = nullptr;
  DurableState begin{
      .raft = {.term = term}, .incarnation = former->incarnation, .repair_term = term};
  Status made = co_await MakeLog(std::move(log), std::move(begin));
  MS_CO_RETURN_IF_ERROR(made);
  Status switched = co_await Switch(*number);
  MS_CO_RETURN_IF_ERROR(switched);
  runtime_.log().Warn(
      "the damaged log was set aside: the leader sends everything, and until then this member "
      "takes "
      "no part in elections",
      {{"aside", Concat(places_.log, ".damaged-", *number)}, {"term", term.value()}});
  co_return std::move(answers->members);
}

}  // namespace metastore::server
