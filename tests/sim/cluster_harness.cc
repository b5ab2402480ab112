#include "tests/sim/cluster_harness.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace metastore::sim_test {
namespace {

constexpr uint16_t kClientPort = 2379;
constexpr uint16_t kPeerPort = 2380;
constexpr Duration kBootLimit = Seconds(60);
constexpr Duration kServersEvery = Milliseconds(50);
constexpr Duration kReadEvery = Milliseconds(300);
constexpr Duration kDigestEvery = Milliseconds(1500);
constexpr Duration kWriteThroughLimit = Seconds(15);
constexpr Duration kCompactionLimit = Seconds(3);
constexpr Duration kQuietLimit = Seconds(30);
constexpr size_t kProblemsMax = 20;

std::vector<server::Url> UrlOf(const sim::SimMachine& machine, uint16_t port) {
  return {{"http", machine.ip(), port}};
}

// I/O errors that were planted and have happened.
uint64_t ErrorsOf(const sim::SimDisk& disk) {
  uint64_t errors = 0;
  for (const sim::SimFault fault :
       {sim::SimFault::kWriteError, sim::SimFault::kSyncError, sim::SimFault::kReadError,
        sim::SimFault::kShortWrite, sim::SimFault::kNoSpace}) {
    errors += disk.fault_hits(fault);
  }
  return errors;
}

// And votes, as all do in the end.
bool Serves(ClusterMember& member) {
  return member.node.serving() && member.node.state().group().status().repair_term == Term();
}

}  // namespace

std::string_view LifeEndName(LifeEnd end) {
  switch (end) {
    case LifeEnd::kNone:
      return "first start";
    case LifeEnd::kStopped:
      return "stop";
    case LifeEnd::kKilled:
      return "kill";
    case LifeEnd::kPowerLoss:
      return "power loss";
    case LifeEnd::kFailed:
      return "failed disk";
    case LifeEnd::kWiped:
      return "lost disk";
    case LifeEnd::kDamaged:
      return "damage";
  }
  CHECK_UNREACHABLE();
}

ClusterHarness::ClusterHarness(ClusterOptions options)
    : options_(options), world_(options.seed, options.world), client_(world_.AddMachine("client")) {
  client_.StartProcess(1);
  for (int i = 0; i < options_.nodes + options_.spares; ++i) {
    const std::string name = Concat("n", i + 1);
    members_.push_back(std::make_unique<ClusterMember>(world_.AddMachine(name)));
    ClusterMember& member = *members_.back();
    member.name = name;
    member.founder = i < options_.nodes;
    member.standing = member.founder ? Standing::kIn : Standing::kOut;
  }
  workload_ = std::make_unique<Workload>(client_);
  workload_->SetServers(Servers());
  writers_ = std::make_unique<io::Gate>(client_.runtime().scheduler());
}

ClusterHarness::~ClusterHarness() {
  workload_.reset();
  CHECK(world_.RunUntil([&] { return writers_->running() == 0; }, Seconds(60)));
  writers_.reset();
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    if (member->node.exists()) member->node.Kill();
  }
  client_.EndProcess();
}

std::vector<io::Address> ClusterHarness::Servers() const {
  std::vector<io::Address> servers;
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    const bool serves = member->standing == Standing::kIn || member->standing == Standing::kLeaving;
    if (serves) servers.push_back({member->node.machine().ip(), kClientPort});
  }
  return servers;
}

server::Config ClusterHarness::MakeConfig(const ClusterMember& member) {
  const sim::SimMachine& machine = const_cast<ClusterMember&>(member).node.machine();
  server::Config config;
  config.member.name = member.name;
  config.member.data_dir = "/data";
  config.member.listen_client_urls = UrlOf(machine, kClientPort);
  config.member.advertise_client_urls = config.member.listen_client_urls;
  config.member.listen_peer_urls = UrlOf(machine, kPeerPort);
  config.member.initial_advertise_peer_urls = config.member.listen_peer_urls;
  config.cluster.initial_state =
      member.founder ? server::ClusterState::kNew : server::ClusterState::kExisting;
  for (const std::unique_ptr<ClusterMember>& other : members_) {
    const bool named = member.founder ? other->name <= Concat("n", options_.nodes)
                                      : other.get() == &member || other->id != NodeId();
    if (!named) continue;
    config.cluster.initial_cluster.push_back(
        {other->name, {UrlOf(other->node.machine(), kPeerPort)[0].ToString()}});
  }
  config.peer.compression = options_.compression;
  config.raft.heartbeat_interval = options_.heartbeat;
  config.raft.election_timeout = options_.election;
  config.raft.lease_reads = options_.lease_reads;
  config.raft.snapshot_count = options_.snapshot_count;
  config.raft.snapshot_catchup_entries = options_.snapshot_catchup_entries;
  config.raft.corrupt_check_time = options_.compare_every;
  config.storage.wal_depth = options_.wal_depth;
  config.storage.batch_policy = options_.batch_policy;
  config.storage.wal_segment_bytes = options_.segment_bytes;
  config.runtime.reactors = options_.reactors;
  if (options_.adjust) options_.adjust(member.name, config);
  return config;
}

// --- processes -----------------------------------------------------------------------------------

Status ClusterHarness::Boot() {
  const auto founders_serve = [&] {
    return std::ranges::all_of(members_,
                               [](const auto& m) { return !m->founder || m->node.serving(); });
  };
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    if (member->founder) Start(*member);
  }
  if (RunUntil(founders_serve, kBootLimit)) return OkStatus();
  return DeadlineExceededError("the founders do not serve in time\n", world_.PrintLogs(30));
}

void ClusterHarness::Start(ClusterMember& member) {
  member.restart_at = MonoTime::Max();
  member.faults_before = ErrorsOf(member.node.disk());
  member.term = Term();
  member.committed = member.applied = member.membership_compared = member.confirmed = LogIndex();
  member.slow_leader_since = MonoTime::Max();
  member.met_read_only = member.read_only;
  member.counted_start = false;
  if (member.crash_in_recovery != 0) {
    member.node.disk().CrashAt(member.crash_in_recovery, sim::SimCrash::kTorn);
    member.crash_in_recovery = 0;
  }
  ++counts_.starts;
  Trace(Concat("start ", member.name));
  member.node.Start(MakeConfig(member));
}

void ClusterHarness::LoseDisk(ClusterMember& member) {
  CHECK(!member.node.exists());
  member.node.machine().UseDisk(world_.AddDisk(Concat("disk", ++disks_)));
  member.last_end = LifeEnd::kWiped;
  member.damaged.clear();
  member.log_damaged = false;
  member.compared = LogIndex();
}

bool ClusterHarness::DamageLog(ClusterMember& member, Prng& prng, LogDamage how) {
  CHECK(!member.node.exists());
  member.logs_aside = LogsSetAside(member.node.disk(), kLogDirectory);
  const size_t frames = sim_test::DamageLog(member.node.disk(), kLogDirectory, prng, how);
  Trace(Concat("the log of ", member.name, " is damaged, of ", frames, " promised frames"));
  member.log_damaged = frames > 0;
  counts_.logs_damaged += member.log_damaged ? 1 : 0;
  return member.log_damaged;
}

ClusterMember* ClusterHarness::Leader() {
  ClusterMember* leader = nullptr;
  Term term;
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    if (!member->node.running()) continue;
    const server::GroupStatus status = member->node.state().group().status();
    if (!status.is_leader || status.term < term) continue;
    leader = member.get();
    term = status.term;
  }
  return leader;
}

void ClusterHarness::Step() {
  world_.RunFor(kStep);
  for (const std::unique_ptr<ClusterMember>& member : members_) Tend(*member);
  if (world_.Now() >= next_servers_) {
    next_servers_ = world_.Now() + kServersEvery;
    workload_->SetServers(Servers());
  }
  CheckNow();
  if (on_step_) on_step_();
}

void ClusterHarness::RunFor(Duration span) {
  const MonoTime end = world_.Now() + span;
  while (world_.Now() < end) Step();
}

bool ClusterHarness::RunUntil(const std::function<bool()>& done, Duration limit) {
  const MonoTime end = world_.Now() + limit;
  while (!done()) {
    if (world_.Now() >= end || !ok()) return false;
    Step();
  }
  return true;
}

void ClusterHarness::Tend(ClusterMember& member) {
  SimNode& node = member.node;
  if (!node.exists()) {
    if (world_.Now() >= member.restart_at) Start(member);
    return;
  }
  if (node.dead()) {
    const bool power = !node.machine().powered();
    node.Bury();
    return Restart(member, power ? LifeEnd::kPowerLoss : LifeEnd::kKilled);
  }
  if (node.ended()) return EndedByItself(member);
  if (node.running() && !member.counted_start) NoteStart(member);
}

// Whether it may have, and what comes next.
void ClusterHarness::EndedByItself(ClusterMember& member) {
  SimNode& node = member.node;
  const Status start = node.start_status().value_or(OkStatus());
  const Status why = start.ok() ? node.failure() : start;
  const bool disk_failed = ErrorsOf(node.disk()) > member.faults_before || member.met_read_only;
  const bool no_space = why.code() == StatusCode::kResourceExhausted;
  const bool must = member.wiped || member.standing == Standing::kLeaving;
  Trace(Concat("end of ", member.name, ": ", why.ToString()));
  node.Remove();
  if (why.ok()) return Restart(member, LifeEnd::kStopped);
  if (disk_failed || no_space) {
    node.machine().PowerLoss();  // of what had no durable write nothing is known
    return Restart(member, LifeEnd::kFailed);
  }
  // Before a data directory's number is in the log, only the leader can tell that it is another.
  const bool missed = member.wiped && why.code() == StatusCode::kDataLoss;
  if (missed || (must && why.code() == StatusCode::kFailedPrecondition)) {
    member.refused = true;
    return;
  }
  if (!member.damaged.empty() || member.log_damaged) {
    // What it finds while it runs it repairs at the next start.
    const bool refuses = StdView(why.message()).find("cannot be repaired") != std::string::npos;
    member.refused = why.code() == StatusCode::kDataLoss && refuses;
    if (member.refused) return;
    const bool no_answers = why.code() == StatusCode::kUnavailable && !start.ok();
    if (why.code() == StatusCode::kDataLoss || no_answers) {
      return Restart(member, LifeEnd::kDamaged);
    }
  }
  const bool joining = member.standing == Standing::kJoining || !member.founder;
  const bool not_let_in =
      why.code() == StatusCode::kUnavailable ||
      (why.code() == StatusCode::kFailedPrecondition && member.standing == Standing::kJoining);
  if (joining && !start.ok() && not_let_in) return Restart(member, LifeEnd::kStopped);
  Problem(Concat(member.name, " ended: ", why.ToString()));
}

void ClusterHarness::Restart(ClusterMember& member, LifeEnd end) {
  member.last_end = end;
  // Somebody may have said when already.
  if (member.restart_at != MonoTime::Max()) return;
  const uint64_t most = world_.prng().Chance(1, 5) ? 5'000 : 500;
  member.restart_at = world_.Now() + Milliseconds(static_cast<int64_t>(world_.prng().Below(most)));
}

void ClusterHarness::NoteStart(ClusterMember& member) {
  member.counted_start = true;
  member.node.disk().CrashAt(0, sim::SimCrash::kNone);
  server::Group& group = member.node.state().group();
  const server::GroupStatus status = group.status();
  member.id = member.node.state().identity().member;
  const bool replays = group.log().LastIndex() > status.applied;
  Trace(Concat(member.name, " has started, applied ", status.applied.value(), ", log to ",
               group.log().LastIndex().value()));
  ++counts_.recoveries[Concat(
      "after ", LifeEndName(member.last_end),
      status.snapshot_index == LogIndex() ? ", no snapshot" : ", a snapshot",
      group.log().FirstIndex() > LogIndex(1) ? ", a purged log" : ", a whole log",
      replays ? ", replay" : ", nothing to replay", status.is_learner ? ", learner" : "")];
}

// --- checks --------------------------------------------------------------------------------------

void ClusterHarness::Problem(std::string text) {
  if (problems_.size() >= kProblemsMax) return;
  Trace(Concat("PROBLEM ", text));
  problems_.push_back(Concat("at ", world_.Now().ns / 1000, " us: ", text));
}

void ClusterHarness::Trace(const std::string& what) {
  if (!options_.trace) return;
  std::fprintf(stderr, "%10.3f ms  %s\n", static_cast<double>(world_.Now().ns) / 1e6, what.c_str());
}

void ClusterHarness::CheckNow() {
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    if (member->node.running()) CheckMember(*member);
  }
  CheckDigests();
  ReadStoreSoon();
}

void ClusterHarness::CheckMember(ClusterMember& member) {
  const server::GroupStatus status = member.node.state().group().status();
  const auto backwards = [&](std::string_view what, uint64_t was, uint64_t is) {
    Problem(Concat("the ", what, " of ", member.name, " went from ", was, " back to ", is));
  };
  if (status.term < member.term) backwards("term", member.term.value(), status.term.value());
  if (status.committed < member.committed) {
    backwards("commit index", member.committed.value(), status.committed.value());
  }
  if (status.applied < member.applied) {
    backwards("applied index", member.applied.value(), status.applied.value());
  }
  if (status.applied > status.committed) {
    Problem(Concat(member.name, " has applied ", status.applied.value(), " but committed ",
                   status.committed.value()));
  }
  if (!status.installing) CheckMembership(member, status);
  CheckAlarms(member, status.digest);
  CheckLeadersDisk(member, status);
  member.term = status.term;
  member.committed = status.committed;
  member.applied = status.applied;
  if (status.is_leader) {
    const NodeId id = member.node.state().identity().member;
    const auto [at, first] = leaders_.emplace(status.term, id);
    if (first) {
      ++counts_.elections;
      Trace(Concat(member.name, " leads in term ", status.term.value()));
    }
    if (at->second != id) Problem(Concat("two leaders in term ", status.term.value()));
  }
  if (!status.installing) CheckEntries(member, status.applied);
  if (member.log_damaged) NoteRepair(member);
}

// Replaced, and trusted again.
void ClusterHarness::NoteRepair(ClusterMember& member) {
  if (member.node.state().group().status().repair_term != Term()) return;
  if (LogsSetAside(member.node.disk(), kLogDirectory) == member.logs_aside) return;
  member.log_damaged = false;
  ++counts_.logs_repaired;
}

// The term of the entry before the first one is known too: a snapshot may have said it.
void ClusterHarness::CheckEntries(ClusterMember& member, LogIndex applied) {
  const raft::TailLog& log = member.node.state().group().log();
  const LogIndex last = std::min(applied, log.LastIndex());
  const LogIndex before = std::max(log.FirstIndex() - 1, LogIndex(1));
  LogIndex index = std::max(before, member.compared + 1);
  if (committed_terms_.size() <= last.value()) committed_terms_.resize(last.value() + 1);
  for (; index <= last; ++index) {
    const std::optional<Term> term = log.TermAt(index);
    if (!term.has_value()) continue;
    Term& known = committed_terms_[index.value()];
    if (known == Term()) known = *term;
    ++counts_.entries;
    if (known == *term) continue;
    Problem(Concat(member.name, " has committed entry ", index.value(), " of term ", term->value(),
                   ", others that of term ", known.value()));
    return;
  }
  member.compared = std::max(member.compared, last);
}

void ClusterHarness::CheckMembership(ClusterMember& member, const server::GroupStatus& status) {
  if (member.membership_compared == status.applied) return;
  member.membership_compared = status.applied;
  const std::string members = member.node.state().group().members().Encode(status.conf);
  const auto [at, first] = memberships_.emplace(status.applied, std::pair(members, member.id));
  if (first) return;
  ++counts_.memberships;
  if (at->second.first == members) return;
  Problem(Concat("the memberships of ", member.name, " and of member ",
                 absl::Hex(at->second.second.value()), " differ at ", status.applied.value()));
}

void ClusterHarness::CheckAlarms(ClusterMember& member, const server::DigestStatus& status) {
  if (status.confirmed != member.confirmed) ++counts_.comparisons;
  member.confirmed = status.confirmed;
  const bool planted = std::ranges::any_of(members_, [](const auto& one) { return one->corrupt; });
  const bool alarmed = !status.fenced.empty() || !status.differing.empty();
  if (alarmed && !planted && ok()) {
    Problem(Concat(member.name, ": ", server::CorruptAlarms(member.id, status).front()));
  }
}

// It learns of the age of its write at a tick, and has some to step down.
void ClusterHarness::CheckLeadersDisk(ClusterMember& member, const server::GroupStatus& status) {
  const sim::SimMachine& machine = member.node.machine();
  const bool slow = status.flush_began != MonoTime::Max() &&
                    machine.LocalTime() - status.flush_began > options_.election;
  const bool leads = status.is_leader && status.conf.voters.size() > 1;
  if (!slow || !leads || machine.paused()) {
    member.slow_leader_since = MonoTime::Max();
    return;
  }
  member.slow_leader_since = std::min(member.slow_leader_since, world_.Now());
  if (world_.Now() - member.slow_leader_since < options_.heartbeat * 4) return;
  member.slow_leader_since = MonoTime::Max();
  Problem(Concat(member.name, " leads on though a log write takes ",
                 (machine.LocalTime() - status.flush_began).ms(), " ms"));
}

void ClusterHarness::CheckDigests() {
  if (world_.Now() < next_digest_) return;
  next_digest_ = world_.Now() + kDigestEvery;
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    if (member->node.running() && !member->corrupt) member->node.SpawnLook(TakeDigest(*member));
  }
}

io::Task<void> ClusterHarness::TakeDigest(ClusterMember& member) {
  engine::Engine& engine = member.node.state().group().engine();
  const LogIndex applied = engine.stats().applied_index;
  const uint64_t digest = co_await engine.Digest();
  if (engine.stats().applied_index != applied) co_return;  // of which moment it is, is not known
  const auto [at, first] = digests_.emplace(applied, std::pair(digest, member.id));
  if (first) co_return;
  ++counts_.digests;
  if (at->second.first == digest) co_return;
  Problem(Concat("the states of ", member.name, " and of member ",
                 absl::Hex(at->second.second.value()), " differ at ", applied.value()));
}

void ClusterHarness::ReadStoreSoon() {
  if (reading_ || world_.Now() < next_read_) return;
  next_read_ = world_.Now() + kReadEvery;
  ClusterMember& member = *members_[world_.prng().Below(members_.size())];
  if (!member.node.running() || member.corrupt) return;
  reading_ = member.node.SpawnLook(ReadMore(member));
}

// What any member has applied is the history of all.
io::Task<void> ClusterHarness::ReadMore(ClusterMember& member) {
  engine::HistoryQuery query{.from = store_next_};
  engine::HistoryResult part;
  do {
    part = co_await member.node.state().group().engine().History(query);
    if (part.outcome != engine::Outcome::kOk) break;
    for (const engine::Event& event : part.events) {
      const engine::KeyValue& kv = event.kv;
      store_.Add(std::string(kv.key.view()),
                 {.revision = static_cast<int64_t>(kv.mod_revision.value()),
                  .value = std::string(kv.value.view()),
                  .deleted = event.kind == engine::EventKind::kDelete});
    }
    query.from = part.next;
    store_next_ = std::max(store_next_, part.next);
    known_revision_ = static_cast<int64_t>(store_next_.value()) - 1;
  } while (part.next <= part.current);
  if (part.outcome == engine::Outcome::kCompacted) {
    Problem(Concat(member.name, " has compacted beyond ", known_revision_));
  }
  reading_ = false;
}

bool ClusterHarness::Compact() {
  const int64_t revision = known_revision_ - static_cast<int64_t>(world_.prng().Below(100));
  if (revision < 2) return false;
  compactions_.insert(revision);
  const std::vector<io::Address> servers = Servers();
  return writers_->Spawn("compaction", io::ReadyClass::kClient,
                         CompactTo(servers[world_.prng().Below(servers.size())], revision));
}

io::Task<void> ClusterHarness::CompactTo(io::Address server, int64_t revision) {
  KvClient client(client_.runtime(), std::move(server));
  const MonoTime deadline = client_.runtime().Now() + kCompactionLimit;
  StatusOr<PutAck> done = co_await client.Compact(revision, deadline);
  Trace(Concat("compaction to ", revision, ": ", done.status().ToString()));
  co_await client.Reset();
}

// --- once faults have stopped --------------------------------------------------------------------

bool ClusterHarness::Quiet() {
  ClusterMember* const leader = Leader();
  if (leader == nullptr) return false;
  const server::GroupStatus status = leader->node.state().group().status();
  return std::ranges::all_of(members_, [&](const auto& member) {
    if (member->standing != Standing::kIn) return true;
    if (!member->node.running()) return false;
    const server::GroupStatus own = member->node.state().group().status();
    return own.applied == status.applied && own.committed == status.committed &&
           status.applied == status.committed;
  });
}

void ClusterHarness::Settle(Duration limit) {
  const MonoTime began = world_.Now();
  const auto all_serve = [&] {
    return std::ranges::all_of(members_, [](const auto& member) {
      if (member->standing == Standing::kOut) return !member->node.exists();
      return member->standing == Standing::kIn && Serves(*member);
    });
  };
  if (!RunUntil(all_serve, limit)) {
    for (const std::unique_ptr<ClusterMember>& member : members_) {
      const bool serves = member->standing == Standing::kIn && Serves(*member);
      if (member->standing == Standing::kOut && !member->node.exists()) continue;
      Problem(Concat(member->name, serves ? " serves, but not all do " : " does not serve ",
                     limit.ms(), " ms after faults stopped: standing ",
                     static_cast<int>(member->standing), ", ", member->node.Show()));
    }
    return;
  }
  counts_.settled_in = std::max(counts_.settled_in, world_.Now() - began);
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    if (member->standing != Standing::kIn) continue;
    bool done = false;
    writers_->Spawn("through", io::ReadyClass::kClient, WriteThrough(*member, done));
    const auto ended = [&] { return writers_->running() == 0; };
    // A problem ends the first, but not the call, which knows `done`.
    if (!RunUntil(ended, kWriteThroughLimit * 2))
      CHECK(world_.RunUntil(ended, kWriteThroughLimit * 2));
    if (done) continue;
    return Problem(Concat("no write succeeds through ", member->name, ": ", member->node.Show()));
  }
  if (!RunUntil([&] { return Quiet(); }, kQuietLimit)) {
    return Problem("the members do not come to the same applied index");
  }
  next_digest_ = next_read_ = world_.Now();
  const auto store_read = [&] {
    ClusterMember* const leader = Leader();
    if (leader == nullptr) return false;
    return leader->node.state().group().engine().stats().revision < store_next_;
  };
  RunFor(Milliseconds(100));
  if (!RunUntil(store_read, kQuietLimit)) return Problem("the store's history cannot be read");
  CheckLogs();
  for (std::string& problem : workload_->history().Check(store_)) Problem(std::move(problem));
}

io::Task<void> ClusterHarness::WriteThrough(ClusterMember& member, bool& done) {
  io::Runtime& runtime = client_.runtime();
  const MonoTime deadline = runtime.Now() + kWriteThroughLimit;
  KvClient client(runtime, {member.node.machine().ip(), kClientPort});
  History& history = workload_->history();
  while (!done && runtime.Now() < deadline) {
    const std::string value = Concat("through ", member.name, " ", ++writes_through_);
    history.Asked(value);
    const MonoTime began = world_.Now();
    StatusOr<PutAck> put = co_await client.Put("through", value, runtime.Now() + Seconds(5));
    if (put.ok()) {
      history.Acknowledged({.keys = {{"through", value}},
                            .revision = put->revision,
                            .began = began,
                            .returned = world_.Now()});
      done = true;
      break;
    }
    history.Unknown();
    Trace(Concat("a write through ", member.name, ": ", put.status().ToString()));
    co_await client.Reset();
    co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(100));
  }
  co_await client.Reset();
}

void ClusterHarness::CheckLogs() {
  std::map<LogIndex, Term> terms;
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    if (!member->node.running()) continue;
    const raft::TailLog& log = member->node.state().group().log();
    for (LogIndex index = log.FirstIndex(); index <= log.LastIndex(); ++index) {
      const std::optional<Term> term = log.TermAt(index);
      CHECK(term.has_value());
      if (terms.emplace(index, *term).first->second == *term) continue;
      return Problem(Concat("the logs differ at ", index.value()));
    }
  }
  for (const std::unique_ptr<ClusterMember>& member : members_) {
    const sim::SimLog& log = member->node.machine().log();
    counts_.snapshots_sent += log.Count("sent snapshot");
    counts_.snapshots_installed += log.Count("installed the leader's snapshot");
    counts_.snapshots_taken += log.Count("saved snapshot");
  }
}

}  // namespace metastore::sim_test
