#include "tests/raft/random_run.h"

#include <algorithm>

namespace metastore::raft {

Cluster::Options RandomRun::MakeOptions() {
  const uint64_t seed = record_.options.seed;
  Cluster::Options options;
  options.nodes = 3 + 2 * (seed / 4 % 3);
  options.voters = 3 - (seed % 5 == 0 ? 2 : 0);
  options.seed = seed;
  options.configure = [safe = record_.options.safe_elections, seed](Config& config) {
    config.election_ticks = 5;
    config.pre_vote = safe;
    config.check_quorum = safe;
    // Small limits, so that every window fills.
    config.inflight_messages_max = 2 + seed % 3;
    config.message_bytes_max = 100 + 50 * (seed % 4);
    config.inflight_bytes_max = 2 * config.message_bytes_max;
    config.apply_bytes_max = 150;
    config.uncommitted_bytes_max = 60 + 100 * (seed % 4);
  };
  options.broken = [this](const std::string& what) {
    if (record_.broken.empty()) record_.broken = what;
  };
  return options;
}

RandomRun::RandomRun(RunOptions options)
    : record_{options, {}, ""},
      prng_(options.seed),
      wildness_(options.seed % 4),
      churn_(options.seed % 6 == 5),
      cluster_(MakeOptions()) {
  cluster_.lost = [this](const Message& message) { return Cut(message); };
}

bool RandomRun::Cut(const Message& message) const {
  const auto side = [this](NodeId id) { return partition_ >> (id.value() - 1) & 1; };
  return side(message.from) != side(message.to);
}

void RandomRun::Draw(int steps) {
  for (int i = 0; i < steps && record_.broken.empty(); ++i) Do(DrawStep());
  if (record_.broken.empty()) Do({.kind = StepKind::kRecover});
}

void RandomRun::Replay(const std::vector<RandomStep>& steps) {
  for (size_t i = 0; i < steps.size() && record_.broken.empty(); ++i) Do(steps[i]);
}

void RandomRun::Do(RandomStep step) {
  // Recorded before it is done: it may be the one that ends the process.
  record_.steps.push_back(std::move(step));
  Execute(record_.steps.back());
}

uint64_t RandomRun::AnyUp() {
  const uint64_t from = AnyNode();
  for (uint64_t i = 0; i < cluster_.size(); ++i) {
    const uint64_t id = 1 + (from + i) % cluster_.size();
    if (cluster_.up(id)) return id;
  }
  return from;
}

uint64_t RandomRun::LeaderOrAny() {
  const uint64_t leader = cluster_.Leader();
  return leader != 0 && prng_.Chance(9, 10) ? leader : AnyUp();
}

RandomStep RandomRun::DrawStep() {
  if (churn_ && prng_.Chance(1, 12)) return DrawChurnStep();
  if (prng_.Chance(1, 400)) {
    const bool heal = partition_ != 0;
    return {.kind = StepKind::kPartition, .a = heal ? 0 : prng_.Below(1 << cluster_.size())};
  }
  const uint64_t kind = prng_.Below(1000);
  if (kind < 540) return DrawNetworkStep();
  if (kind < 700) return {.kind = StepKind::kFlush, .a = AnyNode()};
  if (kind < 800) return {.kind = StepKind::kApply, .a = AnyNode()};
  if (kind < 880) return {.kind = StepKind::kTick, .a = AnyNode()};
  if (kind < 950) return {.kind = StepKind::kPropose, .a = LeaderOrAny(), .b = ++values_};
  if (kind < 975) return {.kind = StepKind::kRead, .a = AnyUp(), .b = ++reads_};
  if (prng_.Chance(1, 4 - wildness_)) return DrawRareStep();
  return DrawNetworkStep();
}

RandomStep RandomRun::DrawNetworkStep() {
  const size_t size = cluster_.network().size();
  if (size > 300) return {.kind = StepKind::kTrim};
  // Mostly the oldest, so that something happens; sometimes any.
  const size_t at = prng_.Chance(3, 4) || size == 0 ? 0 : prng_.Below(size);
  const uint64_t fate = prng_.Below(100);
  if (fate < 2 * wildness_) return {.kind = StepKind::kDrop, .a = at};
  if (fate < 3 * wildness_) return {.kind = StepKind::kRepeat, .a = at};
  return {.kind = StepKind::kDeliver, .a = at};
}

RandomStep RandomRun::DrawRareStep() {
  const uint64_t kind = prng_.Below(40);
  if (kind < 4) return {.kind = StepKind::kCrash, .a = AnyNode(), .b = prng_.Below(4)};
  if (kind < 18) return {.kind = StepKind::kRestart, .a = AnyNode()};
  if (kind < 22) return {.kind = StepKind::kSnapshot, .a = AnyUp()};
  if (kind < 28) return DrawChange();
  if (kind < 31) return {.kind = StepKind::kTransfer, .a = LeaderOrAny(), .b = AnyNode()};
  if (kind < 34) {
    constexpr StepKind kReports[] = {StepKind::kReportUnreachable, StepKind::kReportSnapshotDone,
                                     StepKind::kReportSnapshotFailed};
    return {.kind = kReports[prng_.Below(3)], .a = LeaderOrAny(), .b = AnyNode()};
  }
  if (kind < 36) return {.kind = StepKind::kStepDown, .a = AnyUp()};
  if (kind < 38) return {.kind = StepKind::kForgetLeader, .a = AnyUp()};
  return {.kind = StepKind::kCampaign, .a = AnyUp()};
}

RandomStep RandomRun::DrawChurnStep() {
  const uint64_t id = AnyNode();
  if (!cluster_.up(id)) return {.kind = StepKind::kRestart, .a = id};
  const uint64_t kind = prng_.Below(8);
  if (kind < 3) return {.kind = StepKind::kCrash, .a = id, .b = prng_.Below(2)};
  if (kind < 6) return {.kind = StepKind::kCampaign, .a = id};
  return {.kind = StepKind::kPropose, .a = LeaderOrAny(), .b = ++values_};
}

RandomStep RandomRun::DrawChange() {
  RandomStep step{.kind = StepKind::kChange, .a = LeaderOrAny()};
  const uint64_t count = prng_.Below(3);  // none: leave a joint membership
  for (uint64_t i = 0; i < count; ++i) {
    step.changes.push_back({static_cast<ConfChangeKind>(prng_.Below(4)), NodeId(AnyNode())});
  }
  if (count > 0) step.transition = static_cast<ConfTransition>(prng_.Below(3));
  return step;
}

void RandomRun::Execute(const RandomStep& step) {
  switch (step.kind) {
    case StepKind::kDeliver:
    case StepKind::kDrop:
    case StepKind::kRepeat:
    case StepKind::kTrim:
      ExecuteOnNetwork(step);
      return;
    case StepKind::kPartition:
      partition_ = step.a;
      return;
    case StepKind::kFlush:
      cluster_.Flush(step.a);
      return;
    case StepKind::kApply:
      cluster_.Apply(step.a);
      return;
    case StepKind::kTick:
      cluster_.Tick(step.a);
      return;
    case StepKind::kCrash:
      cluster_.Crash(step.a, step.b);
      return;
    case StepKind::kRestart:
      cluster_.Restart(step.a);
      return;
    case StepKind::kSnapshot:
      cluster_.Snapshot(step.a);
      return;
    case StepKind::kRecover:
      Recover();
      return;
    case StepKind::kPropose:
    case StepKind::kRead:
    case StepKind::kChange:
    case StepKind::kTransfer:
    case StepKind::kReportUnreachable:
    case StepKind::kReportSnapshotDone:
    case StepKind::kReportSnapshotFailed:
    case StepKind::kStepDown:
    case StepKind::kForgetLeader:
    case StepKind::kCampaign:
      if (cluster_.up(step.a)) ExecuteOnNode(step);
      return;
  }
}

void RandomRun::ExecuteOnNetwork(const RandomStep& step) {
  std::vector<Message>& network = cluster_.network();
  const auto at = network.begin() + static_cast<std::ptrdiff_t>(std::min(step.a, network.size()));
  if (step.kind == StepKind::kTrim) {
    network.erase(network.begin(),
                  network.begin() + std::min<std::ptrdiff_t>(100, network.end() - network.begin()));
  } else if (at == network.end()) {
    return;
  } else if (step.kind == StepKind::kDrop) {
    network.erase(at);
  } else if (step.kind == StepKind::kRepeat) {
    network.push_back(Message(*at));
  } else {
    cluster_.Deliver(step.a);
  }
}

void RandomRun::ExecuteOnNode(const RandomStep& step) {
  RaftCore& core = cluster_.core(step.a);
  const NodeId other(step.b);
  if (step.kind == StepKind::kPropose) {
    cluster_.Propose(step.a, "v" + std::to_string(step.b));
  } else if (step.kind == StepKind::kRead) {
    cluster_.Read(step.a, ReadToken(step.b));
  } else if (step.kind == StepKind::kChange) {
    core.ProposeConfChange({step.transition, step.changes, ""});
  } else if (step.kind == StepKind::kTransfer) {
    core.TransferLeader(other).IgnoreError();
  } else if (step.kind == StepKind::kReportUnreachable) {
    core.ReportUnreachable(other);
  } else if (step.kind == StepKind::kReportSnapshotDone) {
    core.ReportSnapshot(other, /*ok=*/true);
  } else if (step.kind == StepKind::kReportSnapshotFailed) {
    core.ReportSnapshot(other, /*ok=*/false);
  } else if (step.kind == StepKind::kStepDown) {
    core.StepDown();
  } else if (step.kind == StepKind::kForgetLeader) {
    core.ForgetLeader().IgnoreError();
  } else if (step.kind == StepKind::kCampaign) {
    core.Campaign();
  }
  cluster_.Pump(step.a);
}

void RandomRun::Recover() {
  constexpr int kRoundsMax = 400;
  partition_ = 0;
  for (uint64_t id = 1; id <= cluster_.size(); ++id) cluster_.Restart(id);
  cluster_.Settle();
  for (int round = 0; round < kRoundsMax && record_.broken.empty(); ++round) {
    for (uint64_t id = 1; id <= cluster_.size(); ++id) cluster_.Tick(id);
    cluster_.Settle();
    const uint64_t leader = cluster_.Leader();
    if (leader == 0) continue;
    // What the peer links do when a snapshot did not arrive.
    for (uint64_t id = 1; id <= cluster_.size(); ++id) {
      cluster_.core(leader).ReportSnapshot(NodeId(id), /*ok=*/false);
    }
    const ProposeResult result = cluster_.Propose(leader, "last");
    cluster_.Settle();
    if (result.code == ProposeCode::kAccepted && MembersHave(leader, result.first.index)) return;
  }
  if (record_.broken.empty()) record_.broken = "no progress after the faults";
}

bool RandomRun::MembersHave(uint64_t leader, LogIndex index) {
  const ConfState conf = cluster_.core(leader).conf();
  return std::all_of(conf.voters.begin(), conf.voters.end(),
                     [&](NodeId id) { return cluster_.core(id.value()).applied() >= index; });
}

}  // namespace metastore::raft
