#include "tests/sim/watch_run.h"

#include <numeric>
#include <utility>

#include "tests/sim/nemesis.h"
#include "tests/sim/watchers.h"

namespace metastore::sim_test {
namespace {

constexpr Duration kSettleLimit = Seconds(60);
// Once nothing is written any more, everything has been told within this time.
constexpr Duration kToldLimit = Seconds(2);
constexpr int kStreams = 6;
constexpr size_t kProblemsMax = 10;
constexpr size_t kLogLines = 40;

ClusterOptions MakeOptions(const WatchRunOptions& run, Prng& prng) {
  ClusterOptions options{.seed = run.seed, .nodes = run.nodes, .trace = run.trace};
  options.reactors = 1 + static_cast<int>(prng.Below(3));
  options.heartbeat = Milliseconds(20);
  options.election = Milliseconds(200);
  options.snapshot_count = prng.Between(20, run.cut_off ? 40 : 200);
  options.snapshot_catchup_entries = prng.Between(0, run.cut_off ? 5 : 30);
  // As many watchers as there are in the simulation are no more than one step otherwise.
  const size_t step_watchers = run.seed % 2 == 1 ? 1 : engine::kStepRecords;
  options.adjust = [=](const std::string& /*name*/, server::Config& config) {
    config.request.watch_progress_interval = Milliseconds(100);
    config.request.watch_step_watchers = step_watchers;
  };
  return options;
}

WorkloadOptions MakeWorkload(Prng& prng) {
  return {.writers = 5,
          .keys = static_cast<int>(prng.Between(3, 20)),
          .value_bytes_max = prng.Chance(1, 3) ? 300 : 5'000,
          .pause_max = Milliseconds(static_cast<int64_t>(prng.Between(5, 30))),
          .call_timeout = Milliseconds(1500),
          .transactions = true};
}

// All that is done to the cluster beside its watchers.
class Run {
 public:
  explicit Run(const WatchRunOptions& options)
      : prng_(options.seed * 0x9e3779b97f4a7c15ULL + static_cast<uint64_t>(options.nodes)),
        cluster_(MakeOptions(options, prng_)),
        nemesis_(cluster_, prng_.Fork()) {
    cluster_.OnStep([this] { OnStep(); });
  }

  WatchRunReport Go(const WatchRunOptions& options) {
    Status booted = cluster_.Boot();
    if (!booted.ok()) return {.problems = {booted.ToString()}};
    const WorkloadOptions workload = MakeWorkload(prng_);
    Watchers watchers(cluster_, prng_.Fork(), workload.keys);
    cluster_.workload().Start(workload);
    cluster_.RunFor(Milliseconds(200));
    if (options.cut_off) watchers.Calm();
    watchers.Start(kStreams);
    if (options.cut_off) {
      CutOffAFollower(options.faults_for);
    } else {
      DoAnyFaults(options.faults_for);
    }
    cluster_.RunFor(Milliseconds(300));
    cluster_.workload().Stop();
    cluster_.Settle(kSettleLimit);
    watchers.Calm();
    cluster_.RunFor(Watchers::kStreamMax + kToldLimit);
    watchers.Stop();
    return Judge(watchers);
  }

 private:
  void DoAnyFaults(Duration span) {
    compacting_ = true;
    nemesis_.Begin();
    cluster_.RunUntil([] { return false; }, span);
    compacting_ = false;
    nemesis_.End();
    cluster_.RunUntil([&] { return nemesis_.reshaped(); }, kSettleLimit);
  }

  // From the others, not from its clients.
  void CutOffAFollower(Duration span) {
    cluster_.RunFor(Milliseconds(300));
    const ClusterMember* const leader = cluster_.Leader();
    auto& members = cluster_.members();
    ClusterMember& follower = *members[members.front().get() == leader ? 1 : 0];
    for (const auto& member : members) {
      if (member.get() == &follower) continue;
      cluster_.world().network().Cut(follower.node.machine(), member->node.machine());
    }
    cluster_.RunFor(span);
    cluster_.world().network().HealAll();
  }

  void OnStep() {
    nemesis_.Tick();
    if (compacting_ && prng_.Chance(1, 150)) cluster_.Compact();
  }

  WatchRunReport Judge(const Watchers& watchers) {
    WatchRunReport report{.problems = cluster_.problems(),
                          .holds = watchers.holds(),
                          .snapshots = cluster_.counts().snapshots_installed,
                          .faults = nemesis_.hits_all()};
    const std::vector<TrueChange> changes = ChangesOf(cluster_.store());
    report.changes = changes.size();
    for (const WatchLife& life : watchers.lives()) {
      ++report.lives;
      for (const Told& told : life.told) {
        report.events += told.events.size();
        report.progress += told.kind == Told::Kind::kProgress ? 1 : 0;
        report.compacted += told.kind == Told::Kind::kCompacted ? 1 : 0;
      }
      if (report.problems.size() >= kProblemsMax) continue;
      for (std::string& problem : CheckLife(life, changes, cluster_.compactions())) {
        report.problems.push_back(std::move(problem));
      }
    }
    if (report.problems.empty()) report.problems = watchers.problems();
    if (!report.problems.empty()) report.logs = cluster_.world().PrintLogs(kLogLines);
    return report;
  }

  Prng prng_;
  ClusterHarness cluster_;
  Nemesis nemesis_;
  bool compacting_ = false;
};

}  // namespace

WatchRunReport RunWatchers(const WatchRunOptions& options) { return Run(options).Go(options); }

}  // namespace metastore::sim_test
