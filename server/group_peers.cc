// Group: the other members: messages both ways, their snapshots, and what a slow disk means for
// leadership.

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

#include "server/group.h"
#include "server/mutation.h"

namespace metastore::server {
namespace {

constexpr Duration kLeaveAfter = Seconds(1);

}  // namespace

void Group::SendToPeer(raft::Message& message) {
  if (message.type == raft::MessageType::kSnapshot) {
    return peers_.SendSnapshot(options_.id, std::move(message));
  }
  if (peers_.Send(options_.id, message)) return;
  if (message.type == raft::MessageType::kHeartbeat) ++metrics_.heartbeat_send_failures;
  // What is lost shows by missing answers, but for two kinds that are better told at once.
  if (message.type == raft::MessageType::kAppend) core_->ReportUnreachable(message.to);
  if (message.type == raft::MessageType::kPropose) TakeBack(message);
}

// Proposals that never left: they wait for a leader that can be reached.
void Group::TakeBack(raft::Message& message) {
  payloads_.clear();
  for (raft::Entry& entry : message.entries) payloads_.push_back(std::move(entry.payload));
  proposals_.PutBack(payloads_);
}

void Group::OnPeerMessage(raft::Message message) {
  if (stopping_ || !failure_.ok()) return;
  if (message.type == raft::MessageType::kSnapshot) received_ = message.snapshot->last.index;
  if (!Mutated(Mutation::kLeaseTicksLate)) CatchUp();
  Status stepped = core_->Step(std::move(message));
  if (stepped.code() == StatusCode::kDataLoss) return Fail(std::move(stepped));
  // Others are of strangers, or of peers that know more than this member: they change nothing.
  if (!stepped.ok()) ++metrics_.peer_messages_ignored;
  Schedule();
}

void Group::OnPeerUp() {
  if (stopping_ || !failure_.ok()) return;
  Schedule();  // for proposals that could not be sent
}

void Group::OnPeerDown(NodeId peer) {
  if (stopping_ || !failure_.ok()) return;
  core_->ReportUnreachable(peer);
  Schedule();
}

void Group::OnSnapshotSent(NodeId peer, bool ok) {
  if (stopping_ || !failure_.ok()) return;
  if (!ok) ReplaceLostSnapshot();
  core_->ReportSnapshot(peer, ok);
  Schedule();
}

// The newest may have turned out to be damaged when it was sent: then another takes its place.
void Group::ReplaceLostSnapshot() {
  const bool there = std::ranges::any_of(
      snapshots_.files(), [&](const auto& file) { return file.applied_index == snapshot_.last; });
  if (there) return;
  snapshot_.last = LogIndex();
  snapshot_.needed = true;
  snapshot_.wanted.NotifyAll();
}

void Group::OnRefused(const Status& why) {
  Fail(FailedPreconditionError("the other members refuse this one: ", StdView(why.message())));
}

// Not at once: whoever asked for it here may still be waiting for the answer.
void Group::StopIfRemoved() {
  if (!members_.Removed(options_.raft.id) || Mutated(Mutation::kRemovedGoesOn)) return;
  gate_.Spawn("group.leave", io::ReadyClass::kCritical, Leave());
}

io::Task<void> Group::Leave() {
  co_await io::SleepUntil(runtime_, runtime_.Now() + kLeaveAfter, stop_.token());
  Fail(
      FailedPreconditionError("this member has been removed from the cluster: it serves no more, "
                              "and its data directory can be deleted"));
}

// The state of a leader's snapshot, whose file is durable, takes the place of the engine's. Only
// then the log says that it did: until that is durable, a restart goes on from the old state.
io::Task<void> Group::Install(Flight& flight) {
  Status installed = co_await InstallState(*flight.task.snapshot);
  if (stopping_ || !failure_.ok()) co_return;
  if (!installed.ok()) {
    Fail(std::move(installed));
    co_return;
  }
  flight.install = Flight::Install::kDone;
  SubmitFlights();
}

io::Task<Status> Group::InstallState(const raft::SnapshotMeta& snapshot) {
  const MonoTime began = runtime_.Now();
  StatusOr<engine::SnapshotMeta> loaded =
      co_await snapshots_.LoadReceived(engine_, snapshot.last.index);
  MS_CO_RETURN_IF_ERROR(loaded.status());
  StatusOr<std::pair<Members, raft::ConfState>> state = Members::Decode(loaded->server_state);
  MS_CO_RETURN_IF_ERROR(state.status());
  if (!Mutated(Mutation::kInstallNoMembers)) std::tie(members_, conf_) = *std::move(state);
  runtime_.log().Info(
      "installed the leader's snapshot",
      {{"index", snapshot.last.index.value()}, {"took-ms", (runtime_.Now() - began).ms()}});
  co_return OkStatus();
}

// And now the log begins after it.
void Group::OnInstalled(const raft::SnapshotMeta& snapshot) {
  snapshot_.last = snapshot.last.index;
  snapshot_.log_bytes_since = 0;
  snapshot_.state_bytes = engine_.stats().stored_bytes;
  tail_->SetSnapshot(snapshot);
  snapshots_.NoteInstalled(snapshot.last.index);
  BoundTail();
  OpenElections(snapshot.last.term);
  FollowMembers();
  serving_changed_.NotifyAll();
  StopIfRemoved();
}

// Raft takes a snapshot at once, or when what is being applied is done, or has no use for it.
void Group::DiscardReceived() {
  if (received_ == LogIndex() || applying_ || !apply_queue_.empty() || core_->HasReady()) return;
  snapshots_.Discard(std::exchange(received_, LogIndex()));
}

// disk_watch.h says what follows from what.
void Group::WatchDisk(MonoTime now) {
  if (Mutated(Mutation::kSlowDiskLeads)) return;
  const MonoTime oldest = log_.stats().oldest_unfinished;
  const Duration age = oldest == MonoTime::Max() ? Duration() : now - oldest;
  const DiskVerdict verdict = disk_.Look({.now = now,
                                          .flush_age = age,
                                          .full = LogFull(),
                                          .leads = core_->is_leader(),
                                          .leader_known = core_->leader() != raft::kNobody,
                                          .alone = conf_.voters.size() <= 1});
  core_->SetCampaignAllowed(verdict.may_lead && !fenced());
  switch (verdict.action) {
    case DiskAction::kNone:
      return;
    case DiskAction::kOfferStalled:
      if (HandOver(verdict.attempt, "the disk stalls")) ++metrics_.slow_disk_hand_overs;
      return;
    case DiskAction::kOfferFull:
      if (HandOver(verdict.attempt, "the disk is full")) ++metrics_.full_disk_hand_overs;
      return;
    case DiskAction::kStepDown:
      runtime_.log().Warn("stepping down: a flush takes longer than an election timeout",
                          {{"age-ms", age.ms()}});
      ++metrics_.slow_disk_step_downs;
      return core_->StepDown();
  }
  CHECK_UNREACHABLE();
}

// To the voter with most of the log whose answers still come; the next one at each further attempt.
// False: there is none.
bool Group::HandOver(size_t attempt, std::string_view why) {
  const raft::CoreStatus status = core_->GetStatus();
  std::vector<std::pair<LogIndex, NodeId>> others;
  for (const auto& [id, progress] : status.progress) {
    const bool votes = std::ranges::find(conf_.voters, id) != conf_.voters.end();
    if (id == options_.raft.id || !votes || !progress.recent_active()) continue;
    others.emplace_back(progress.match(), id);
  }
  if (others.empty()) return false;
  std::ranges::sort(others, std::greater());
  const NodeId to = others[attempt % others.size()].second;
  runtime_.log().Warn("handing over leadership",
                      {{"cause", why}, {"to", Concat(absl::Hex(to.value()))}});
  Status asked = core_->TransferLeader(to);
  if (!asked.ok()) runtime_.log().Warn("cannot hand over", {{"error", asked.ToString()}});
  return true;
}

}  // namespace metastore::server
