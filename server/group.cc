#include "server/group.h"

#include <algorithm>
#include <span>
#include <utility>

#include "server/flight.h"
#include "server/mutation.h"

namespace metastore::server {
namespace {

// What a lease counts against the quota: about what one takes here.
constexpr uint64_t kLeaseBytes = 192;

}  // namespace

Group::Group(io::Runtime& runtime, wal::Log& log, engine::Engine& engine,
             engine::SnapshotStore& snapshots, PeerTransport& peers, GroupOptions options)
    : runtime_(runtime),
      log_(log),
      engine_(engine),
      snapshots_(snapshots),
      peers_(peers),
      options_(std::move(options)),
      batch_policy_(MakeBatchPolicy(options_.batch_policy, options_.batch)),
      proposals_(runtime),
      reads_(runtime),
      leases_(runtime, engine, *this, peers,
              {.election_timeout = options_.election_timeout,
               .checkpoint_interval = options_.lease_checkpoint_interval}),
      disk_(options_.election_timeout),
      digest_{.book = DigestBook(options_.raft.id), .fenced = options_.fenced},
      gate_(runtime.scheduler()) {
  pump_.group = this;
  pump_.name = "group.pump";
  pump_.ready_class = io::ReadyClass::kCritical;
  pump_.run = [](io::ReadyNode& node) { static_cast<PumpNode&>(node).group->Pump(); };
  more_reads_.group = this;
  more_reads_.name = "group.reads";
  more_reads_.ready_class = io::ReadyClass::kClient;
  more_reads_.run = [](io::ReadyNode& node) { static_cast<PumpNode&>(node).group->ServeReads(); };
  batch_timer_.group = this;
  batch_timer_.fired = [](io::Timer& timer) { static_cast<BatchTimer&>(timer).group->Schedule(); };
}

Group::~Group() { CHECK(!pump_.queued && !more_reads_.queued); }

io::Task<Status> Group::Start(const Bootstrap& bootstrap) {
  Status recovered = co_await Recover();
  MS_CO_RETURN_IF_ERROR(recovered);
  Status read = co_await ReadPublications();
  MS_CO_RETURN_IF_ERROR(read);
  // A founding member without its first entries has not voted yet, and begins again.
  const bool founding = !bootstrap.members.empty();
  const bool first_start =
      log_.Find(options_.id) == nullptr || (founding && log_.LastIndex(options_.id) == LogIndex(0));
  if (first_start) {
    Status begun = co_await BeginNew(bootstrap);
    MS_CO_RETURN_IF_ERROR(begun);
  }
  StatusOr<raft::InitialState> initial = MakeInitialState(first_start);
  MS_CO_RETURN_IF_ERROR(initial.status());
  core_ = std::make_unique<raft::RaftCore>(options_.raft, *tail_, *initial);
  ticks_ = TickClock(options_.tick, runtime_.Now());
  core_->SetCampaignAllowed(!fenced());
  core_->SetElectionsOpen(repair_term_ == Term() || Mutated(Mutation::kElectionsNotClosed));
  OpenElections(applied_term_);
  digest_.compared_at = runtime_.Now();
  FollowMembers();
  gate_.Spawn("group.apply", io::ReadyClass::kCritical, ApplyLoop());
  gate_.Spawn("group.snapshot", io::ReadyClass::kBackground, SnapshotLoop());
  gate_.Spawn("group.publish", io::ReadyClass::kBackground, PublishLoop());
  leases_.Start();
  gate_.Spawn("engine.upkeep", io::ReadyClass::kBackground, engine_.RunMaintenance(stop_.token()));
  Schedule();
  co_return OkStatus();
}

io::Task<void> Group::Stop() {
  stopping_ = true;
  runtime_.Cancel(batch_timer_);
  proposals_.FailAll(errors::kStopped);
  reads_.FailAll(errors::kStopped);
  FailMemberCalls(errors::kStopped);
  stop_.RequestStop();
  co_await leases_.Stop();
  co_await gate_.Close();
}

io::Task<void> Group::Drain() {
  while (!flights_.empty() && flights_.front()->submitted) {
    co_await flight_ended_.Wait();
  }
  flights_.clear();
  while (pump_.queued || more_reads_.queued) {
    co_await io::Yield();
  }
  if (tail_ != nullptr) {
    co_await CompactTail(tail_->LastIndex());
  }
}

std::optional<ClientError> Group::Refusal(const CallTerms& terms) const {
  if (stopping_ || !failure_.ok()) return errors::kStopped;
  if (fenced()) return errors::kCorrupt;
  if (terms.require_leader && core_->leader() == raft::kNobody) return errors::kNoLeader;
  if (is_learner_) return errors::kNotSupportedForLearner;
  return std::nullopt;
}

void Group::Propose(ProposeCall& call) {
  const auto refuse = [&](const ClientError& error) {
    call.Fail(error);
    call.Return(runtime_);
  };
  if (const std::optional<ClientError> refusal = Refusal(call.terms)) return refuse(*refusal);
  // Only with segments smaller than the default's (--experimental-wal-segment-bytes).
  if (call.command.size() > log_.record_bytes_max()) return refuse(errors::kRequestTooLarge);
  if (!log_.accepting() && call.quota_cost_bytes > 0) {
    // The next segments are still being filled, or cannot be made.
    return refuse(LogFull() ? errors::kNoSpace : errors::kTooManyRequests);
  }
  if (OverQuota(call.quota_cost_bytes)) return refuse(errors::kNoSpace);
  proposals_.Admit(call);
  Schedule();
}

void Group::Read(ReadCall& call) {
  const auto refuse = [&](const ClientError& error) {
    call.Fail(error);
    call.Return(runtime_);
  };
  if (stopping_ || !failure_.ok()) return refuse(errors::kStopped);
  if (fenced()) return refuse(errors::kCorrupt);
  if (call.terms.require_leader && core_->leader() == raft::kNobody) {
    return refuse(errors::kNoLeader);
  }
  // Its state may be years behind what it had told before.
  if (call.serializable && repair_term_ != Term()) return refuse(errors::kRepairing);
  if (call.serializable || Mutated(Mutation::kReadUnconfirmed)) {
    ServeRead(call);
    return;
  }
  if (is_learner_) return refuse(errors::kNotSupportedForLearner);
  reads_.Add(call);
  Schedule();
}

bool Group::OverQuota(uint64_t cost_bytes) const {
  if (cost_bytes == 0 || options_.quota_bytes == 0) return false;
  const engine::Stats stats = engine_.stats();
  const uint64_t lease_bytes = static_cast<uint64_t>(stats.leases_count) * kLeaseBytes;
  return stats.stored_bytes + lease_bytes + cost_bytes > options_.quota_bytes;
}

Term Group::leading_term() const {
  const bool leads = core_->is_leader() && applied_term_ == core_->term();
  return leads && failure_.ok() && !stopping_ ? applied_term_ : Term();
}

bool Group::ProposeLeading(Term term, std::span<raft::Payload> payloads) {
  if (stopping_ || !failure_.ok() || fenced()) return false;
  if (!core_->is_leader() || core_->term() != term) return false;
  if (core_->Propose(payloads).code != raft::ProposeCode::kAccepted) return false;
  Schedule();
  return true;
}

bool Group::LogFull() const {
  return !log_.accepting() && log_.poisoned().ok() && !log_.stats().preparation_error.empty();
}

// Leases rest on this, at the leader and at those who promised it something (raft/raft_core.h,
// "Time"): here, before a message is stepped, and between the last read given to raft and the
// TakeReady that may serve it.
void Group::CatchUp() {
  const TickClock::Due due = ticks_.Take(runtime_.Now());
  if (due.paused) {
    ++metrics_.pauses;
    if (!Mutated(Mutation::kLeaseOverPause)) core_->DropLease();
  }
  for (int i = 0; i < due.ticks; ++i) core_->Tick();
}

void Group::Tick() {
  if (stopping_ || !failure_.ok()) return;
  // Some frames are nobody's: a promise, a purge. Without an append no other would be told.
  if (!log_.poisoned().ok()) return Fail(log_.poisoned());
  CatchUp();
  SubmitFlights();
  const MonoTime now = runtime_.Now();
  WatchDisk(now);
  DiscardReceived();
  CompareDigests(now);
  proposals_.Expire(now);
  reads_.Expire(now);
  ExpireMemberCalls(now);
  EndTransfers(now);
  leases_.OnTick(now);
  Schedule();
}

void Group::Schedule() {
  if (!pump_.queued) runtime_.scheduler().Push(pump_);
}

void Group::Pump() {
  if (stopping_ || !failure_.ok()) return;
  if (CampaignsAlone()) core_->Campaign();
  ProposeWaiting();
  reads_.StartRound(*core_);
  if (!Mutated(Mutation::kLeaseTicksLate)) CatchUp();
  while (core_->HasReady()) HandleReady(core_->TakeReady());
  if (std::optional<raft::TailLog::Wanted> wanted =
          fetching_ ? std::nullopt : tail_->TakeWanted()) {
    fetching_ = true;
    gate_.Spawn("group.fetch", io::ReadyClass::kCritical, FetchEntries(*wanted));
  }
  if (tail_->TakeSnapshotWanted()) {
    snapshot_.needed = true;
    snapshot_.wanted.NotifyAll();
  }
  ServeReads();
  leases_.NoteLeadership();
}

// The only voter need not wait for an election timeout: nobody else could win.
bool Group::CampaignsAlone() const {
  return core_->role() == raft::Role::kFollower && core_->leader() == raft::kNobody &&
         conf_.voters.size() == 1 && conf_.voters.front() == options_.raft.id &&
         conf_.voters_outgoing.empty() && core_->applied() == core_->commit();
}

void Group::ProposeWaiting() {
  // Proposals that nobody leads wait here until somebody does, or until they expire.
  bool flushing = !flights_.empty();
  while (proposals_.waiting() > 0 && core_->leader() != raft::kNobody) {
    const BatchDecision decision = batch_policy_->Decide(
        {.waiting = proposals_.waiting(), .flushing = flushing, .now = runtime_.Now()});
    if (decision.take == 0) return AskAgain(decision.ask_again);
    flushing = true;
    if (!ProposeOldest(decision.take)) return;  // again after the next apply or tick
  }
}

// False: raft does not take all of them now: a full quota, a transfer.
bool Group::ProposeOldest(size_t count) {
  while (count > 0) {
    const size_t batch = std::min(count, kProposeBatchMax);
    count -= batch;
    payloads_.clear();
    proposals_.Take(batch, core_->term(), payloads_);
    if (payloads_.empty()) continue;
    if (Mutated(Mutation::kProposedTwice)) {
      std::vector<raft::Payload> again = payloads_;
      static_cast<void>(core_->Propose(again));
    }
    const raft::ProposeResult result = core_->Propose(payloads_);
    if (result.code != raft::ProposeCode::kAccepted &&
        result.code != raft::ProposeCode::kForwarded) {
      proposals_.PutBack(payloads_);
      return false;
    }
    metrics_.batches.Count(payloads_.size());
  }
  return true;
}

void Group::AskAgain(MonoTime when) {
  if (when == MonoTime::Max()) return;
  runtime_.Cancel(batch_timer_);
  runtime_.Arm(batch_timer_, when);
}

void Group::HandleReady(raft::Ready ready) {
  if (ready.soft_state.has_value() && ready.soft_state->leader != last_leader_) {
    OnLeaderChanged(ready.soft_state->leader);
  }
  std::vector<raft::Message> held;
  for (raft::Message& message : ready.send_now) {
    if (raft::NeedsDurableTerm(message)) {
      held.push_back(std::move(message));
    } else {
      SendToPeer(message);
    }
  }
  core_->buffers().Give(std::move(ready.send_now));
  CHECK(held.empty() || ready.append.has_value());
  if (ready.append.has_value()) SubmitAppend(*std::move(ready.append), std::move(held));
  if (ready.apply.has_value()) {
    apply_queue_.push_back(*std::move(ready.apply));
    apply_arrived_.NotifyOne();
  }
  for (const raft::ReadState& state : ready.reads) reads_.Confirm(state);
}

void Group::OnLeaderChanged(NodeId leader) {
  last_leader_ = leader;
  if (leader != raft::kNobody) ++leader_changes_total_;
  serving_changed_.NotifyAll();
  EndTransfers(runtime_.Now());
  leases_.OnLeaderChanged();
  Schedule();  // proposals and reads that waited for a leader
}

void Group::SubmitAppend(raft::AppendTask task, std::vector<raft::Message> held) {
  std::unique_ptr<Flight> flight;
  if (flight_pool_.empty()) {
    flight = std::make_unique<Flight>();
    flight->group = this;
    flight->name = "group.durable";
    flight->ready_class = io::ReadyClass::kCritical;
    flight->run = [](io::ReadyNode& node) {
      auto& self = static_cast<Flight&>(node);
      self.group->OnDurable(self);
    };
  } else {
    flight = std::move(flight_pool_.back());
    flight_pool_.pop_back();
  }
  if (Mutated(Mutation::kAnswerEarly)) {
    for (raft::Message& message : task.after_durable) {
      if (message.to != options_.raft.id) SendToPeer(message);
    }
  }
  flight->must_sync = task.must_sync;
  flight->requests = static_cast<uint32_t>(task.entries.size());
  if (task.snapshot != nullptr) received_ = LogIndex();
  flight->task = std::move(task);
  flight->held = std::move(held);
  flight->install = Flight::Install::kNone;
  flight->appended = 0;
  flight->proposed_at = runtime_.Now();
  flights_.push_back(std::move(flight));
  SubmitFlights();
}

void Group::SubmitFlights() {
  for (std::unique_ptr<Flight>& flight : flights_) {
    if (flight->submitted) continue;
    if (flight->task.snapshot != nullptr && flight->install != Flight::Install::kDone &&
        !Mutated(Mutation::kInstallNoBarrier)) {
      // The engine takes over its state first, and everything behind it waits.
      if (flight->install == Flight::Install::kNone && flight == flights_.front()) {
        flight->install = Flight::Install::kUnderWay;
        gate_.Spawn("group.install", io::ReadyClass::kCritical, Install(*flight));
      }
      return;
    }
    if (!flight->HasRecords()) {
      // Only messages to release, once everything before is durable: OnDurable of that takes it
      // along.
      if (flight != flights_.front()) continue;
      flight->submitted = true;
      flight->status = OkStatus();
      runtime_.scheduler().Push(*flight);
      continue;
    }
    Status appended = AppendToLog(*flight);
    // The window is full or the disk is: again after the next completion, or at the next tick.
    if (appended.code() == StatusCode::kResourceExhausted) return;
    if (!appended.ok()) return Fail(std::move(appended));
    flight->submitted = true;
  }
}

// In parts, so that a follower that catches up does not ask for more room at once than the log
// prepares. The last part completes the flight, after the others: the log keeps a group's order.
Status Group::AppendToLog(Flight& flight) {
  struct Part final : wal::AppendOp {};
  bool more = true;
  while (more) {
    const size_t end = RecordsOf(flight, DurableFacts(), options_.append_bytes_max, records_);
    more = end < flight.task.entries.size();
    if (!more) return log_.Append(options_.id, records_, flight);
    auto part = std::make_unique<Part>();
    part->must_sync = false;
    part->name = "group.part";
    part->ready_class = io::ReadyClass::kCritical;
    part->run = [](io::ReadyNode& node) { delete &static_cast<Part&>(node); };
    Status appended = log_.Append(options_.id, records_, *part);
    if (!appended.ok()) return appended;
    part.release();
    flight.appended = end;
  }
  return OkStatus();
}

void Group::OnDurable(Flight& flight) {
  CHECK(!flights_.empty() && flights_.front().get() == &flight);
  const Status status = Mutated(Mutation::kFailedWriteDurable) ? OkStatus() : flight.status;
  do {
    std::unique_ptr<Flight> done = std::move(flights_.front());
    flights_.pop_front();
    if (status.ok()) NoteStages(*done);
    if (status.ok() && failure_.ok() && !stopping_) Release(*done);
    core_->buffers().Give(std::move(done->task));
    done->task = raft::AppendTask();
    done->held.clear();
    done->submitted = false;
    if (flight_pool_.size() < kFlightPoolMax) flight_pool_.push_back(std::move(done));
  } while (!flights_.empty() && !flights_.front()->submitted && !flights_.front()->HasRecords());
  flight_ended_.NotifyAll();
  if (!status.ok()) return Fail(status);
  SubmitFlights();
  Pump();
}

void Group::NoteStages(const Flight& flight) {
  if (flight.task.entries.empty()) return;
  proposals_.stages().Note(flight.task.entries.front().index, flight.task.entries.back().index,
                           {.proposed = flight.proposed_at,
                            .submitted = flight.submitted_at,
                            .durable = flight.durable_at});
}

// Everything up to and including `flight` is durable.
void Group::Release(Flight& flight) {
  raft::AppendTask& task = flight.task;
  for (raft::Message& message : flight.held) SendToPeer(message);
  for (const raft::Entry& entry : task.entries) {
    NotePublication(entry.type, entry.payload.view());
    snapshot_.log_bytes_since += raft::EntryBytes(entry);
  }
  tail_->Extend(task);
  if (task.snapshot != nullptr) OnInstalled(*task.snapshot);
  core_->AppendDone(task.seq);
  for (raft::Message& message : task.after_durable) {
    if (message.to != options_.raft.id) {
      SendToPeer(message);
      continue;
    }
    Status stepped = core_->StepOwn(std::move(message));
    if (!stepped.ok()) return Fail(std::move(stepped));
  }
}

void Group::ServeReads() {
  const LogIndex applied =
      Mutated(Mutation::kReadUnapplied) ? core_->commit() : engine_.stats().applied_index;
  ready_reads_.clear();
  reads_.Serve(applied, kReadsAtOnce, ready_reads_);
  std::span<ReadCall* const> rest = ready_reads_;
  while (!rest.empty()) {
    const std::span<ReadCall* const> block = rest.first(std::min(rest.size(), kReadsPrefetched));
    rest = rest.subspan(block.size());
    queries_.clear();
    for (const ReadCall* call : block) queries_.push_back(&call->query);
    engine_.PrefetchRanges(queries_);
    for (ReadCall* call : block) ServeRead(*call);
  }
  if (reads_.Servable(applied) && !more_reads_.queued) runtime_.scheduler().Push(more_reads_);
}

void Group::ServeRead(ReadCall& call) {
  ++metrics_.ops.ranges;
  ReadAnswer& answer = call.result.emplace();
  if (engine_.TryRange(call.query, answer.range)) {
    answer.term = core_->term();
    call.Return(runtime_);
    return;
  }
  if (gate_.Spawn("group.read", io::ReadyClass::kClient, ServeLongRead(call))) return;
  call.Fail(errors::kStopped);
  call.Return(runtime_);
}

io::Task<void> Group::ServeLongRead(ReadCall& call) {
  engine::RangeResult range = co_await engine_.Range(call.query);
  call.result = ReadAnswer{.range = std::move(range), .term = core_->term()};
  if (fenced()) call.Fail(errors::kCorrupt);
  call.Return(runtime_);
}

io::Task<void> Group::FetchEntries(raft::TailLog::Wanted wanted) {
  StatusOr<std::vector<wal::ReadRecord>> records =
      co_await log_.ReadEntries(options_.id, wanted.begin, wanted.end, wanted.bytes_max);
  std::vector<raft::Entry> entries;
  if (records.status().code() == StatusCode::kOutOfRange) {
    records = std::vector<wal::ReadRecord>();  // purged meanwhile: raft will find that out
  }
  if (!records.ok()) {
    damaged_ = records.status().code() == StatusCode::kDataLoss;
    Fail(records.status());
    co_return;
  }
  entries.reserve(records->size());
  for (const wal::ReadRecord& record : *records) {
    entries.push_back(raft::Entry{.term = record.term,
                                  .index = record.index,
                                  .type = static_cast<raft::EntryType>(record.tag),
                                  .payload = raft::Payload(record.bytes)});
  }
  fetching_ = false;
  tail_->Refill(std::move(entries));
  core_->EntriesFetched();
  Schedule();
}

void Group::Fail(Status status) {
  if (!failure_.ok() || stopping_) return;
  failure_ = std::move(status);
  runtime_.log().Error("the group has failed and the node stops",
                       {{"group", options_.id.value()}, {"error", failure_.ToString()}});
  proposals_.FailAll(errors::kStopped);
  reads_.FailAll(errors::kStopped);
  FailMemberCalls(errors::kStopped);
  leases_.FailAll(errors::kStopped);
  failed_.NotifyAll();
}

// What follows from members_, whenever they have changed.
void Group::FollowMembers() {
  const Member* self = members_.Find(options_.raft.id);
  is_learner_ = self != nullptr && self->is_learner;
  peers_.Follow(members_);
}

size_t Group::inflight_messages() const {
  size_t messages = 0;
  const raft::ProgressMap members = core_->GetStatus().progress;
  for (const auto& [id, progress] : members) messages += progress.inflights().count();
  return messages;
}

GroupStatus Group::status() const {
  GroupStatus status;
  status.leader = core_->leader();
  status.is_leader = core_->is_leader();
  status.is_learner = is_learner_;
  status.term = core_->term();
  status.committed = core_->commit();
  status.conf = conf_;
  status.engine = engine_.stats();
  status.applied = status.engine.applied_index;
  status.leader_changes_total = leader_changes_total_;
  status.proposals = proposals_.stats();
  status.proposals_pending = proposals_.pending();
  status.proposals_waiting = proposals_.waiting();
  status.batch = batch_policy_->state();
  status.reads_pending = reads_.pending();
  status.quota_bytes = options_.quota_bytes;
  status.log_accepting = log_.accepting();
  status.installing = !flights_.empty() && flights_.front()->task.snapshot != nullptr;
  status.log_full = LogFull();
  status.flush_began = log_.stats().oldest_unfinished;
  status.quota_exceeded = OverQuota(1);
  status.snapshot_index = snapshot_.last;
  status.snapshot_bytes = snapshot_.last_bytes;
  status.digest = digest_status();
  status.repair_term = repair_term_;
  return status;
}

}  // namespace metastore::server
