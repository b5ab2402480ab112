#include "server/state_core.h"

#include <algorithm>
#include <utility>

#include "engine/memory_engine.h"
#include "server/metrics_page.h"

namespace metastore::server {
namespace {

// --quota-backend-bytes=0 with the memory engine, as etcd's default.
constexpr uint64_t kMemoryQuotaDefault = 2 * limits::kGiB;
// Space the log leaves free for one snapshot, so that a full disk can free itself again.
constexpr uint64_t kSnapshotReserveBytes = 256 * limits::kMiB;
// Of the file system, at most: a small one must not refuse to start for the reserve's sake.
constexpr uint64_t kSnapshotReserveShare = 16;

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
      gate_(runtime.scheduler()) {}

StateCore::~StateCore() = default;

io::Task<Status> StateCore::Start() {
  StatusOr<Bootstrap> bootstrap = MakeBootstrap(config_.cluster, config_.member.name);
  MS_CO_RETURN_IF_ERROR(bootstrap.status());
  bootstrap_ = *std::move(bootstrap);
  identity_.cluster = bootstrap_.cluster_id;
  identity_.member = bootstrap_.self;
  Status prepared = co_await PrepareDirectories();
  MS_CO_RETURN_IF_ERROR(prepared);
  Status opened = co_await OpenLog();
  MS_CO_RETURN_IF_ERROR(opened);
  engine_ = engine::MakeMemoryEngine({.hash_seed = runtime_.Random(), .clock = &runtime_});
  snapshots_ = std::make_unique<engine::SnapshotStore>(runtime_, snapshot_dir_);
  Status found = co_await snapshots_->Open();
  MS_CO_RETURN_IF_ERROR(found);
  group_ = std::make_unique<Group>(runtime_, *log_, *engine_, *snapshots_, MakeGroupOptions());
  Status started = co_await group_->Start(bootstrap_);
  MS_CO_RETURN_IF_ERROR(started);
  gate_.Spawn("state.tick", io::ReadyClass::kCritical, TickLoop());
  co_return OkStatus();
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

io::Task<Status> StateCore::OpenLog() {
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
                              kSnapshotReserveBytes, facts->total_bytes / kSnapshotReserveShare)};
  StatusOr<std::unique_ptr<wal::Log>> log = co_await wal::Log::Open(runtime_, std::move(options));
  MS_CO_RETURN_IF_ERROR(log.status());
  log_ = *std::move(log);
  if (log_->LastIndex(GroupOptions().id) == LogIndex(0) &&
      config_.cluster.initial_state == ClusterState::kExisting) {
    co_return FailedPreconditionError(
        "--initial-cluster-state=existing, but the data directory ", config_.member.data_dir,
        " is new: joining a running cluster is not offered yet; use --initial-cluster-state=new");
  }
  identity_.boot = static_cast<uint32_t>(log_->boot_count());
  co_return OkStatus();
}

GroupOptions StateCore::MakeGroupOptions() {
  GroupOptions options;
  options.raft.id = identity_.member;
  options.raft.seed = runtime_.Random();
  options.raft.election_ticks = config_.raft.election_ticks();
  options.raft.pre_vote = config_.raft.pre_vote;
  options.snapshot_count = config_.raft.snapshot_count;
  options.snapshot_catchup_entries = config_.raft.snapshot_catchup_entries;
  options.snapshot_log_bytes = config_.storage.wal_segment_bytes;
  options.batch_policy = config_.storage.batch_policy;
  options.batch = config_.storage.batch;
  options.quota_bytes = QuotaOf(config_.request.quota_bytes);
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
}

io::Task<void> StateCore::TickLoop() {
  MonoTime next = runtime_.Now();
  while (true) {
    next = next + config_.raft.heartbeat_interval;
    const io::WaitResult result = co_await io::SleepUntil(runtime_, next, stop_.token());
    if (result == io::WaitResult::kStopped) co_return;
    // After a pause (a stopped process, a stalled machine) ticks are not made up for: time that
    // nobody could act in must not look like silence of a leader.
    if (runtime_.Now() - next > config_.raft.heartbeat_interval * 2) next = runtime_.Now();
    group_->Tick();
  }
}

io::Task<void> StateCore::Stop() {
  stop_.RequestStop();
  co_await gate_.Close();
  if (group_ != nullptr) {
    co_await group_->Stop();
  }
  if (log_ != nullptr) {
    Status closed = co_await log_->Close();
    if (!closed.ok()) runtime_.log().Error("closing the log", {{"error", closed.ToString()}});
  }
  if (group_ != nullptr) {
    co_await group_->Drain();
  }
  group_.reset();
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
