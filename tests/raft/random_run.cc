#include "tests/raft/random_run.h"

#include <algorithm>

namespace metastore::raft {
namespace {

constexpr int kElectionTicks = 5;
constexpr int kLeaseMarginTicks = 2;
// What Config says of the margin.
constexpr uint64_t kFastestTick = 1000;
constexpr uint64_t kSlowestTick =
    kFastestTick + kFastestTick * (kLeaseMarginTicks - 1) / (kElectionTicks - kLeaseMarginTicks);

}  // namespace

Cluster::Options RandomRun::MakeOptions() {
  const uint64_t seed = record_.options.seed;
  Cluster::Options options;
  options.nodes = 3 + 2 * (seed / 4 % 3);
  options.voters = 3 - (seed % 5 == 0 ? 2 : 0);
  options.seed = seed;
  options.forged = false;
  if (seed % 3 == 1) options.tail_bytes = 100;
  options.configure = [elections = record_.options.elections, seed](Config& config) {
    config.election_ticks = kElectionTicks;
    config.lease_margin_ticks = kLeaseMarginTicks;
    config.pre_vote = config.check_quorum = elections != Elections::kPlain;
    if (elections == Elections::kLeases) config.read_mode = ReadMode::kLease;
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
      cluster_(MakeOptions()) {
  cluster_.lost = [this](const Message& message) { return Cut(message); };
  if (options.elections == Elections::kLeases) SetClocks();
}

void RandomRun::SetClocks() {
  for (uint64_t id = 1; id <= cluster_.size(); ++id) {
    const bool extreme = prng_.Chance(4, 5);
    const uint64_t drift = prng_.Below(kSlowestTick - kFastestTick);
    const uint64_t period =
        extreme ? (drift % 2 == 0 ? kFastestTick : kSlowestTick) : kFastestTick + drift;
    clocks_.push_back({period, 1 + prng_.Below(period)});
  }
}

void RandomRun::PassTime(uint64_t duration, uint64_t paused) {
  if (clocks_.empty()) return;
  const uint64_t end = now_ + duration;
  if (paused != 0) clocks_.at(paused - 1).next += duration;
  while (true) {
    const auto first =
        std::min_element(clocks_.begin(), clocks_.end(),
                         [](const Clock& a, const Clock& b) { return a.next < b.next; });
    if (first->next > end) break;
    first->next += first->period;
    cluster_.Tick(1 + static_cast<uint64_t>(first - clocks_.begin()));
  }
  now_ = end;
  if (paused == 0 || !cluster_.up(paused)) return;
  cluster_.core(paused).DropLease();
  cluster_.Pump(paused);
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
    case StepKind::kFetch:
      cluster_.Fetch(step.a);
      return;
    case StepKind::kTick:
      cluster_.Tick(step.a);
      return;
    case StepKind::kTime:
      PassTime(step.a, 0);
      return;
    case StepKind::kPause:
      PassTime(step.b, step.a);
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
    case StepKind::kSettle:
      SettleAmong(step.a);
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

void RandomRun::SettleAmong(uint64_t mask) {
  constexpr int kDeliveriesMax = 1000;
  const auto among = [mask](NodeId id) { return (mask >> (id.value() - 1) & 1) != 0; };
  const auto near = [&among](const Message& m) { return among(m.from) && among(m.to); };
  for (int i = 0; i < kDeliveriesMax && record_.broken.empty(); ++i) {
    for (uint64_t id = 1; id <= cluster_.size(); ++id) {
      while (among(NodeId(id)) &&
             (cluster_.Flush(id) || cluster_.Apply(id) || cluster_.Fetch(id))) {
      }
    }
    const std::vector<Message>& network = cluster_.network();
    const auto at = std::find_if(network.begin(), network.end(), near);
    if (at == network.end()) return;
    cluster_.Deliver(static_cast<size_t>(at - network.begin()));
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
