#include "server/state_core.h"

#include <algorithm>
#include <utility>

#include "engine/memory_engine.h"
#include "server/fence_mark.h"
#include "server/force_new_cluster.h"
#include "server/metrics_page.h"
#include "server/mutation.h"
#include "wal/identity.h"

namespace metastore::server {
namespace {

// --quota-backend-bytes=0 with the memory engine, as etcd's default.
constexpr uint64_t kMemoryQuotaDefault = 2 * limits::kGiB;
// Space the log leaves free for one snapshot, so that a full disk can free itself again.
constexpr uint64_t kSnapshotReserveBytes = 256 * limits::kMiB;
// Of the file system, at most: a small one must not refuse to start for the reserve's sake.
constexpr uint64_t kSnapshotReserveShare = 16;

// Between two rounds of questions to the members that the flags name.
constexpr Duration kAskAgain = Seconds(1);

// Of the leader's log, before a learner may vote, as etcd's.
constexpr uint64_t kLearnerReadyPercent = 90;

uint64_t QuotaOf(int64_t configured) {
  if (configured < 0) return 0;
  return configured == 0 ? kMemoryQuotaDefault : static_cast<uint64_t>(configured);
}

}  // namespace

StateCore::StateCore(io::Runtime& runtime, const Config& config)
    : runtime_(runtime),
      config_(config),
      wal_dir_(config.member.wal_dir.empty() ? config.member.data_dir + "/member/wal"
                                             : config.member.wal_dir),
      snapshot_dir_(config.member.data_dir + "/member/snap"),
      repair_(runtime, config,
              {.log = wal_dir_,
               .snapshots = snapshot_dir_,
               .mark = config.member.data_dir + "/member/damaged"}),
      gate_(runtime.scheduler()) {}

StateCore::~StateCore() = default;

io::Task<Status> StateCore::Start() {
  Status prepared = co_await PrepareDirectories();
  MS_CO_RETURN_IF_ERROR(prepared);
  Status finished = co_await repair_.FinishSwitch();
  MS_CO_RETURN_IF_ERROR(finished);
  Status identified = co_await Identify();
  MS_CO_RETURN_IF_ERROR(identified);
  Status opened = co_await OpenOrRepairLog();
  MS_CO_RETURN_IF_ERROR(opened);
  if (config_.cluster.force != ForceCluster::kNo) {
    ForceOptions force{.identity = identity_,
                       .data_dir = config_.member.data_dir,
                       .snapshot_dir = snapshot_dir_,
                       .plan_only = config_.cluster.force == ForceCluster::kPlan};
    Status forced = co_await ForceNewCluster(runtime_, *log_, std::move(force));
    MS_CO_RETURN_IF_ERROR(forced);
  }
  engine_ = engine::MakeMemoryEngine({.hash_seed = runtime_.Random(), .clock = &runtime_});
  snapshots_ = std::make_unique<engine::SnapshotStore>(runtime_, snapshot_dir_);
  Status found = co_await snapshots_->Open();
  MS_CO_RETURN_IF_ERROR(found);
  StatusOr<std::string> fenced = co_await ReadFenceMark(runtime_, config_.member.data_dir);
  MS_CO_RETURN_IF_ERROR(fenced.status());
  if (!fenced->empty()) {
    runtime_.log().Error("this member is fenced and serves nobody",
                         {{"mark", FenceMarkPath(config_.member.data_dir)}, {"cause", *fenced}});
  }
  peers_ = std::make_unique<Peers>(runtime_, config_, *snapshots_, identity_);
  GroupOptions options = MakeGroupOptions();
  options.fenced = *std::move(fenced);
  group_ =
      std::make_unique<Group>(runtime_, *log_, *engine_, *snapshots_, *peers_, std::move(options));
  peers_->Attach(*group_);
  changes_.Add(group_->leases().lessor());
  watches_ = std::make_unique<WatchHub>(runtime_, *engine_, [this] {
    return WatchMember{.term = group_->term(),
                       .has_leader = group_->leader() != raft::kNobody,
                       .fenced = group_->fenced()};
  });
  changes_.Add(*watches_);
  engine_->SetListener(&changes_);
  const bool new_log = log_->created();
  Status started = co_await group_->Start(bootstrap_);
  if (started.code() == StatusCode::kDataLoss && !new_log) {
    const bool again = suspicion_ != LogRepair::Suspicion::kNone;
    const auto how = again ? LogRepair::Suspicion::kTwice : LogRepair::Suspicion::kOnce;
    co_await NoteDamage(how);
  }
  MS_CO_RETURN_IF_ERROR(started);
  if (suspicion_ != LogRepair::Suspicion::kNone) {
    Status cleared = co_await repair_.Clear();
    MS_CO_RETURN_IF_ERROR(cleared);
  }
  if (group_->members().all().empty() && bootstrap_.members.empty()) {
    // It joined and nobody has told it of the others: it waits for them, whoever is up now.
    peers_->Follow(known_);
    if (known_.all().empty()) {
      gate_.Spawn("state.find", io::ReadyClass::kBackground, FindCluster());
    }
  }
  Status listening = peers_->Listen();
  MS_CO_RETURN_IF_ERROR(listening);
  gate_.Spawn("state.tick", io::ReadyClass::kCritical, TickLoop());
  co_return OkStatus();
}

// The flags say who this member is only while the data directory is new, as in etcd: a member that
// was added later has an id that no flag gives.
io::Task<Status> StateCore::Identify() {
  StatusOr<std::optional<wal::LogIdentity>> known = co_await wal::IdentityOfLog(runtime_, wal_dir_);
  MS_CO_RETURN_IF_ERROR(known.status());
  const bool founding = config_.cluster.initial_state == ClusterState::kNew;
  StatusOr<Bootstrap> bootstrap = MakeBootstrap(config_.cluster, config_.member.name);
  if (!known->has_value()) {
    if (config_.cluster.force != ForceCluster::kNo) {
      co_return FailedPreconditionError("--force-new-cluster: there is no log in ", wal_dir_,
                                        "; give it the data directory of the surviving member");
    }
    if (!founding) {
      Status asked = co_await AskCluster();
      co_return asked;
    }
    MS_CO_RETURN_IF_ERROR(bootstrap.status());
    bootstrap_ = *std::move(bootstrap);
    identity_.cluster = bootstrap_.cluster_id;
    identity_.member = bootstrap_.self;
    co_return OkStatus();
  }
  identity_.cluster = (*known)->cluster;
  identity_.member = (*known)->member;
  const bool same = bootstrap.ok() && bootstrap->cluster_id == identity_.cluster &&
                    bootstrap->self == identity_.member;
  if (founding && same) bootstrap_ = *std::move(bootstrap);
  co_return OkStatus();
}

// Who this member is in the cluster that it joins, and who the others are.
io::Task<Status> StateCore::AskCluster() {
  std::vector<net::PeerEndpoint> endpoints;
  std::vector<std::string> own;
  for (const InitialMember& member : config_.cluster.initial_cluster) {
    if (member.name == config_.member.name) {
      own = member.peer_urls;
      continue;
    }
    for (net::PeerEndpoint& endpoint : EndpointsOf(member.peer_urls)) {
      endpoints.push_back(std::move(endpoint));
    }
  }
  StatusOr<ClusterPicture> picture =
      co_await AskForMembers(runtime_, std::move(endpoints), stop_.token());
  MS_CO_RETURN_IF_ERROR(picture.status());
  if (identity_.cluster != ClusterId() && picture->cluster != identity_.cluster) {
    co_return FailedPreconditionError("the members that --initial-cluster names are of cluster ",
                                      absl::Hex(picture->cluster.value()), ", this one is of ",
                                      absl::Hex(identity_.cluster.value()));
  }
  known_ = std::move(picture->members);
  if (identity_.member != NodeId()) co_return OkStatus();  // a log says who it is
  for (const auto& [id, member] : known_.all()) {
    std::vector<std::string> urls = member.peer_urls;
    std::ranges::sort(urls);
    if (urls != own) continue;
    if (member.incarnation != 0) {
      co_return FailedPreconditionError(
          "the cluster knows ", config_.member.name,
          " with another data directory, which held acknowledged writes: remove the member "
          "(member remove ",
          absl::Hex(id.value()), ") and add it again as a new one");
    }
    identity_.cluster = picture->cluster;
    identity_.member = id;
    co_return OkStatus();
  }
  co_return FailedPreconditionError("no member of the cluster has the peer URLs of ",
                                    config_.member.name,
                                    ": add it first (member add), with the same URLs");
}

// After a restart: until the leader reaches this member. Whoever tells where the others are may
// know some of them only, or where they were.
io::Task<void> StateCore::FindCluster() {
  bool told = false;
  while (!stop_.stopped() && group_->members().all().empty()) {
    Status asked = co_await AskCluster();
    if (stop_.stopped() || !group_->members().all().empty()) co_return;
    if (asked.ok()) {
      peers_->Follow(known_);
    } else if (!std::exchange(told, true)) {
      runtime_.log().Warn("waiting for another member of the cluster",
                          {{"error", asked.ToString()}});
    }
    co_await io::SleepUntil(runtime_, runtime_.Now() + kAskAgain, stop_.token());
  }
}

io::Task<Status> StateCore::PrepareDirectories() {
  Status made = co_await runtime_.MakeDirectories(config_.member.data_dir + "/member");
  MS_CO_RETURN_IF_ERROR(made);
  StatusOr<std::unique_ptr<io::DirectoryLock>> lock =
      co_await runtime_.LockDirectory(config_.member.data_dir);
  if (lock.status().code() == StatusCode::kAlreadyExists) {
    co_return AlreadyExistsError("another process is using the data directory ",
                                 config_.member.data_dir, "; stop it or choose another --data-dir");
  }
  MS_CO_RETURN_IF_ERROR(lock.status());
  lock_ = *std::move(lock);
  StatusOr<io::FileSystemFacts> facts = co_await runtime_.FactsOf(config_.member.data_dir);
  MS_CO_RETURN_IF_ERROR(facts.status());
  if (facts->direct_block == 0 || facts->direct_block > limits::kBlockBytes) {
    co_return FailedPreconditionError("the data directory ", config_.member.data_dir,
                                      " is on a file system (", facts->type,
                                      ") without direct I/O in ", limits::kBlockBytes,
                                      "-byte blocks; choose a --data-dir on ext4 or xfs");
  }
  co_return OkStatus();
}

void StateCore::MakeFlushRing() {
  StatusOr<std::unique_ptr<io::SharedMemory>> memory =
      runtime_.MakeSharedMemory(wal::FlushRing::kName, wal::FlushRing::kBytes);
  if (memory.ok()) {
    flush_ring_ = std::make_unique<wal::FlushRing>(*std::move(memory));
  } else {
    runtime_.log().Warn("no record of the last flushes: walinspect live will not work",
                        {{"error", memory.status().ToString()}});
  }
}

io::Task<StatusOr<wal::LogOptions>> StateCore::MakeLogOptions() {
  StatusOr<io::FileSystemFacts> facts = co_await runtime_.FactsOf(config_.member.data_dir);
  MS_CO_RETURN_IF_ERROR(facts.status());
  wal::LogOptions options{.directory = wal_dir_,
                          .cluster = identity_.cluster,
                          .member = identity_.member,
                          .method = config_.storage.wal_durable_method,
                          .depth = static_cast<uint32_t>(config_.storage.wal_depth),
                          .segment_bytes = config_.storage.wal_segment_bytes,
                          .frame_bytes_max = std::min<uint64_t>(
                              limits::kFrameBytesMax, config_.storage.wal_segment_bytes / 4),
                          .free_bytes_reserve = std::min(
                              kSnapshotReserveBytes, facts->total_bytes / kSnapshotReserveShare),
                          .flush_ring = flush_ring_.get()};
  co_return options;
}

// A damaged log is repaired; one that could not be read this once is refused, as any failing disk.
io::Task<Status> StateCore::OpenOrRepairLog() {
  MakeFlushRing();
  StatusOr<LogRepair::Suspicion> suspected = co_await repair_.Suspected();
  MS_CO_RETURN_IF_ERROR(suspected.status());
  suspicion_ = *suspected;
  Status opened;
  if (suspicion_ == LogRepair::Suspicion::kNone) opened = co_await OpenLog();
  if (log_ == nullptr && opened.code() != StatusCode::kDataLoss) MS_CO_RETURN_IF_ERROR(opened);
  if (log_ == nullptr) {
    Status repaired = co_await RepairIfDamaged(opened);
    MS_CO_RETURN_IF_ERROR(repaired);
    opened = co_await OpenLog();
  }
  MS_CO_RETURN_IF_ERROR(opened);
  StatusOr<bool> repairing = RepairUnderWay();
  MS_CO_RETURN_IF_ERROR(repairing.status());
  if (*repairing) bootstrap_ = Bootstrap();  // it has begun long ago; the leader tells it how
  co_return OkStatus();
}

// `opened`: why it could not be; OK: former runs have found something.
io::Task<Status> StateCore::RepairIfDamaged(Status opened) {
  bool damaged = suspicion_ == LogRepair::Suspicion::kTwice;
  if (!damaged) {
    StatusOr<bool> judged = co_await repair_.Damaged();
    MS_CO_RETURN_IF_ERROR(judged.status());
    damaged = *judged;
  }
  if (!damaged) co_return opened;
  if (opened.ok()) {
    opened = DataLossError("former runs have found damage in ", wal_dir_, " or ", snapshot_dir_,
                           " (see their logs)");
  }
  if (config_.cluster.force != ForceCluster::kNo) {
    co_return Annotate(opened, "--force-new-cluster: there is nobody to repair this member from");
  }
  StatusOr<wal::LogOptions> options = co_await MakeLogOptions();
  MS_CO_RETURN_IF_ERROR(options.status());
  StatusOr<Members> members =
      co_await repair_.Run(std::move(opened), identity_, *std::move(options));
  MS_CO_RETURN_IF_ERROR(members.status());
  known_ = *std::move(members);
  suspicion_ = LogRepair::Suspicion::kNone;
  co_return OkStatus();
}

StatusOr<bool> StateCore::RepairUnderWay() const {
  const wal::GroupState* logged = log_->Find(GroupOptions().id);
  if (logged == nullptr || logged->hard_state.empty()) return false;
  StatusOr<DurableState> state = DecodeHardState(logged->hard_state);
  if (!state.ok()) return state.status();
  return state->repair_term != Term();
}

// So that the next start looks at everything, and repairs what this one cannot live with.
io::Task<void> StateCore::NoteDamage(LogRepair::Suspicion how) {
  Status noted = co_await repair_.Suspect(how);
  if (!noted.ok()) {
    runtime_.log().Error("cannot note the damage for the next start",
                         {{"error", noted.ToString()}});
  }
}

io::Task<Status> StateCore::OpenLog() {
  StatusOr<wal::LogOptions> options = co_await MakeLogOptions();
  MS_CO_RETURN_IF_ERROR(options.status());
  StatusOr<std::unique_ptr<wal::Log>> log = co_await wal::Log::Open(runtime_, *std::move(options));
  MS_CO_RETURN_IF_ERROR(log.status());
  log_ = *std::move(log);
  identity_.boot = static_cast<uint32_t>(log_->boot_count());
  co_return OkStatus();
}

GroupOptions StateCore::MakeGroupOptions() {
  GroupOptions options;
  options.raft.id = identity_.member;
  options.raft.seed = runtime_.Random();
  options.raft.election_ticks = config_.raft.election_ticks();
  options.raft.pre_vote = config_.raft.pre_vote;
  options.raft.learner_ready_percent = kLearnerReadyPercent;
  options.tick = config_.raft.heartbeat_interval;
  options.election_timeout = config_.raft.election_timeout;
  if (config_.raft.lease_reads) options.raft.read_mode = raft::ReadMode::kLease;
  options.raft.lease_margin_ticks = config_.raft.lease_margin_ticks();
  options.strict_reconfig = config_.cluster.strict_reconfig;
  options.learners_max = config_.cluster.learners_max;
  options.snapshot_count = config_.raft.snapshot_count;
  options.snapshot_catchup_entries = config_.raft.snapshot_catchup_entries;
  options.snapshot_log_bytes = config_.storage.wal_segment_bytes;
  options.append_bytes_max =
      std::min<uint64_t>(limits::kFrameBytesMax, config_.storage.wal_segment_bytes / 4);
  options.batch_policy = config_.storage.batch_policy;
  options.batch = config_.storage.batch;
  options.quota_bytes = QuotaOf(config_.request.quota_bytes);
  options.digest_every = config_.raft.corrupt_check_time;
  options.lease_checkpoint_interval = config_.raft.lease_checkpoint_interval;
  options.data_dir = config_.member.data_dir;
  options.self.id = identity_.member;
  options.self.name = config_.member.name;
  for (const Url& url : config_.member.advertise_client_urls) {
    options.self.client_urls.push_back(url.ToString());
  }
  // The edges' counters begin with their core's number in the top byte; this one is none of theirs.
  options.publish_id = {.node = identity_.member, .boot = identity_.boot, .counter = UINT64_MAX};
  return options;
}

void StateCore::AddMetrics(io::MetricList& list) const {
  AddIdentityMetrics(identity_, list);
  AddGroupMetrics(*group_, list);
  AddLogMetrics(*log_, list);
  peers_->AddMetrics(list);
  watches_->AddMetrics(list);
}

io::Task<void> StateCore::TickLoop() {
  while (true) {
    const io::WaitResult result =
        co_await io::SleepUntil(runtime_, group_->next_tick(), stop_.token());
    if (result == io::WaitResult::kStopped) co_return;
    if (Mutated(Mutation::kLeaseTicksLate)) {
      const MonoTime late = runtime_.Now() + config_.raft.heartbeat_interval;
      co_await io::SleepUntil(runtime_, late, stop_.token());
    }
    group_->Tick();
  }
}

io::Task<void> StateCore::Stop() {
  stop_.RequestStop();
  co_await gate_.Close();
  if (group_ != nullptr) {
    co_await group_->Stop();
    if (group_->damaged()) co_await NoteDamage(LogRepair::Suspicion::kOnce);
  }
  if (peers_ != nullptr) {
    co_await peers_->Stop();
  }
  if (log_ != nullptr) {
    Status closed = co_await log_->Close();
    if (!closed.ok()) runtime_.log().Error("closing the log", {{"error", closed.ToString()}});
  }
  if (group_ != nullptr) {
    co_await group_->Drain();
  }
  if (engine_ != nullptr) engine_->SetListener(nullptr);
  watches_.reset();
  group_.reset();
  peers_.reset();
  snapshots_.reset();
  log_.reset();
  lock_.reset();
  // Last: it may take a while, and a successor on the data directory need not wait for it.
  if (engine_ != nullptr) {
    co_await engine_->Close();
  }
  engine_.reset();
}

}  // namespace metastore::server
