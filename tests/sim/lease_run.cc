#include "tests/sim/lease_run.h"

#include <algorithm>
#include <utility>

#include "tests/sim/leaseholders.h"
#include "tests/sim/nemesis.h"

namespace metastore::sim_test {
namespace {

constexpr Duration kSettleLimit = Seconds(60);
constexpr Duration kBootLeaderLimit = Seconds(20);
// Until a leader's revokes are committed, where nothing is wrong; and its view of the clock.
constexpr Duration kCommitMax = Milliseconds(500);
// A checkpoint has whole seconds, rounded up.
constexpr Duration kRounding = Seconds(1);
constexpr Duration kEqualLimit = Seconds(2);
constexpr Duration kLeaderDown = Milliseconds(300);
constexpr int64_t kDriftPerMillion = 200'000;  // the nemesis's at most
constexpr size_t kProblemsMax = 10;
constexpr size_t kLogLines = 40;
constexpr int64_t kLongest = 10;
constexpr size_t kLeasesMax = 10'000;

ClusterOptions MakeOptions(const LeaseRunOptions& run, Prng& prng) {
  ClusterOptions options{.seed = run.seed, .nodes = run.nodes, .trace = run.trace};
  options.spares = run.nodes == 1 ? 0 : 1;
  options.reactors = 1 + static_cast<int>(prng.Below(3));
  if (prng.Chance(2, 3)) {
    options.heartbeat = Milliseconds(20);
    options.election = Milliseconds(200);
  }
  options.snapshot_count = prng.Between(20, 200);
  options.snapshot_catchup_entries = prng.Between(0, 30);
  options.wal_depth = 1 + static_cast<int>(prng.Below(2));
  // The nemesis then puts leaders to sleep.
  options.lease_reads = prng.Chance(1, 2);
  const Duration interval = Seconds(prng.Chance(2, 3) ? 1 : 300);
  options.adjust = [interval](const std::string& /*name*/, server::Config& config) {
    config.raft.lease_checkpoint_interval = interval;
  };
  return options;
}

LeaseholderOptions MakeHolders(Prng& prng) {
  LeaseholderOptions options{.holders = static_cast<int>(prng.Between(2, 5))};
  const uint64_t draw = prng.Below(6);
  options.ttl_seconds_max = draw == 0 ? 20 : draw < 3 ? 3 : 6;
  options.pause_max = Milliseconds(static_cast<int64_t>(prng.Between(10, 120)));
  return options;
}

WorkloadOptions MakeWorkload(Prng& prng) {
  return {.writers = 2,
          .keys = static_cast<int>(prng.Between(2, 10)),
          .pause_max = Milliseconds(static_cast<int64_t>(prng.Between(20, 60))),
          .call_timeout = Milliseconds(1500),
          .transactions = true};
}

// All that is done to the cluster beside its leaseholders.
class Run {
 public:
  explicit Run(const LeaseRunOptions& options)
      : prng_(options.seed * 0x9e3779b97f4a7c15ULL + static_cast<uint64_t>(options.nodes)),
        cluster_(MakeOptions(options, prng_)),
        nemesis_(cluster_, prng_.Fork()),
        watch_(cluster_, [this](const CommittedEntry& entry) { truth_.Take(entry); }),
        holder_options_(MakeHolders(prng_)),
        holders_(cluster_, prng_.Fork(), holder_options_) {
    cluster_.OnStep([this] {
      nemesis_.Tick();
      watch_.Look();
    });
  }

  LeaseRunReport Go(const LeaseRunOptions& options) {
    Status booted = cluster_.Boot();
    if (!booted.ok()) return {.problems = {booted.ToString()}};
    cluster_.workload().Start(MakeWorkload(prng_));
    holders_.Start();
    cluster_.RunFor(Milliseconds(200));
    nemesis_.Begin();
    cluster_.RunUntil([] { return false; }, options.faults_for);
    nemesis_.End();
    cluster_.RunUntil([&] { return nemesis_.reshaped(); }, kSettleLimit);
    cluster_.workload().Stop();
    cluster_.Settle(kSettleLimit);
    if (cluster_.ok()) EndWhatNobodyKeeps();
    holders_.Stop();
    if (cluster_.ok()) cluster_.Settle(kSettleLimit);
    if (cluster_.ok()) CompareMembers();
    return Judge();
  }

 private:
  struct Doomed {
    const LeaseLife* life = nullptr;
    MonoTime until;
  };

  void EndWhatNobodyKeeps() {
    holders_.Calm();
    cluster_.RunUntil([&] { return holders_.calm(); }, kSettleLimit);
    cluster_.RunFor(kCommitMax);
    const MonoTime calm = cluster_.world().Now();
    std::vector<Doomed> doomed;
    for (const auto& [lease, life] : truth_.living()) {
      if (holders_.kept().contains(lease)) continue;
      // The leader may have come to lead just now.
      const Duration full = Seconds(life->ttl_seconds) + cluster_.options().election;
      doomed.push_back({life, calm + full + server::Lessor::kPause + kCommitMax});
    }
    // Late enough that a whole time anew would be too late for some.
    const int64_t longest = LongestTtl(doomed);
    const MonoTime change = calm + Milliseconds(static_cast<int64_t>(prng_.Between(0, 3000))) +
                            Seconds(std::max<int64_t>(std::min(longest, kLongest) - 4, 0));
    cluster_.RunUntil([&] { return cluster_.world().Now() >= change; }, kSettleLimit);
    const Duration more = ChangeLeader();
    MonoTime last = cluster_.world().Now();
    for (Doomed& one : doomed) {
      if (one.life->gone_by <= change) continue;
      one.until = one.until + more;
      last = std::max(last, one.until);
    }
    const auto all_gone = [&] {
      return std::ranges::none_of(doomed, [](const Doomed& one) { return one.life->lives(); });
    };
    cluster_.RunUntil(all_gone, last - cluster_.world().Now());
    for (const Doomed& one : doomed) CheckGone(one);
  }

  static int64_t LongestTtl(const std::vector<Doomed>& doomed) {
    int64_t longest = 0;
    for (const Doomed& one : doomed) longest = std::max(longest, one.life->ttl_seconds);
    return longest;
  }

  // How much later leases may end for it: as long as nobody led, an election timeout, and the time
  // since the last checkpoint, which there is none of where the interval is longer than they live.
  Duration ChangeLeader() {
    ClusterMember* const leader = cluster_.Leader();
    if (leader == nullptr) {
      cluster_.Problem("nobody leads though nothing is wrong");
      return {};
    }
    const MonoTime killed = cluster_.world().Now();
    leader->node.machine().KillProcess();
    leader->restart_at = killed + kLeaderDown;
    const Term before = leader->term;
    const auto another = [&] {
      ClusterMember* const next = cluster_.Leader();
      return next != nullptr && next->node.state().group().leading_term() > before;
    };
    if (!cluster_.RunUntil(another, kBootLeaderLimit)) cluster_.Problem("no other comes to lead");
    const Duration interval = CheckpointInterval();
    const Duration since = std::min(interval * 2 + kRounding,
                                    Seconds(std::max(kLongest, holder_options_.ttl_seconds_max)));
    return cluster_.world().Now() - killed + cluster_.options().election + since;
  }

  Duration CheckpointInterval() {
    server::Config config;
    cluster_.options().adjust("", config);
    return config.raft.lease_checkpoint_interval;
  }

  void CheckGone(const Doomed& one) {
    if (one.life->gone_by <= one.until) return;
    cluster_.Problem(Concat(
        "lease ", one.life->lease, " of ", one.life->ttl_seconds,
        " s, which nobody keeps alive, should have ended by ", one.until.ns / 1000, " us, and has ",
        one.life->lives() ? "not" : Concat("at ", one.life->gone_by.ns / 1000)));
  }

  // Leases that were kept alive end meanwhile, on one member a little after the other.
  void CompareMembers() {
    const auto equal = [&](const auto& member) {
      return !member->node.running() || LeasesOf(*member) == TrueLeases();
    };
    const auto all_equal = [&] { return std::ranges::all_of(cluster_.members(), equal); };
    if (cluster_.RunUntil(all_equal, kEqualLimit)) return;
    for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
      if (equal(member)) continue;
      cluster_.Problem(
          Concat(member->name, " has the leases", LeasesOf(*member), ", not", TrueLeases()));
    }
  }

  static std::string LeasesOf(ClusterMember& member) {
    const engine::Engine& engine = member.node.state().group().engine();
    std::string text;
    for (const engine::LeaseInfo& lease : engine.Leases(LeaseId(INT64_MIN), kLeasesMax)) {
      text += Concat(" ", lease.id.value(), ":", lease.ttl_seconds, ":", lease.remaining_seconds);
    }
    return text;
  }

  std::string TrueLeases() const {
    std::string text;
    for (const auto& [lease, life] : truth_.living()) {
      text += Concat(" ", lease, ":", life->ttl_seconds, ":", life->remaining_seconds);
    }
    return text;
  }

  LeaseRunReport Judge() {
    LeaseRunReport report{.problems = cluster_.problems(),
                          .lives = truth_.lives().size(),
                          .expired = truth_.expired(),
                          .kept = truth_.living().size(),
                          .unanswered = holders_.unanswered(),
                          .checkpoints = truth_.checkpoints(),
                          .elections = cluster_.counts().elections,
                          .faults = nemesis_.hits_all()};
    for (const LeaseTold& told : holders_.told()) {
      report.renewed += told.kind == LeaseTold::Kind::kRenewed ? 1 : 0;
      report.gone += told.kind == LeaseTold::Kind::kGone ? 1 : 0;
    }
    const bool drifted = nemesis_.hits()[static_cast<size_t>(FaultKind::kClockDrift)] > 0;
    const int64_t drift = drifted ? kDriftPerMillion : 0;
    std::ranges::move(truth_.CheckTold(holders_.told(), drift, cluster_.options().election),
                      std::back_inserter(report.problems));
    if (cluster_.ok()) {
      std::ranges::move(truth_.CheckKeys(cluster_.store()), std::back_inserter(report.problems));
    }
    if (!watch_.complete()) report.problems.push_back("an entry of the log was never seen");
    if (report.problems.size() > kProblemsMax) report.problems.resize(kProblemsMax);
    if (!report.problems.empty()) report.logs = cluster_.world().PrintLogs(kLogLines);
    return report;
  }

  Prng prng_;
  ClusterHarness cluster_;
  Nemesis nemesis_;
  LeaseTruth truth_;
  LogWatch watch_;
  const LeaseholderOptions holder_options_;
  Leaseholders holders_;
};

}  // namespace

LeaseRunReport RunLeases(const LeaseRunOptions& options) { return Run(options).Go(options); }

}  // namespace metastore::sim_test
