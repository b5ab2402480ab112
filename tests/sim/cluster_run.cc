#include "tests/sim/cluster_run.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace metastore::sim_test {
namespace {

constexpr Duration kSettleLimit = Seconds(60);
constexpr size_t kLogLines = 60;

constexpr server::BatchPolicyKind kPolicies[] = {
    server::BatchPolicyKind::kNatural, server::BatchPolicyKind::kNatural,
    server::BatchPolicyKind::kAdaptive, server::BatchPolicyKind::kOff};
constexpr net::PeerCompression kCompressions[] = {
    net::PeerCompression::kOff, net::PeerCompression::kFast, net::PeerCompression::kDense};

ClusterOptions MakeOptions(const ClusterRunOptions& run, Prng& prng) {
  ClusterOptions options{.seed = run.seed, .nodes = run.nodes, .trace = run.trace};
  options.spares = run.nodes == 1 ? 0 : 1 + static_cast<int>(prng.Below(2));
  options.reactors = run.reactors != 0 ? run.reactors : 1 + static_cast<int>(prng.Below(2));
  if (prng.Chance(1, 2)) {
    options.heartbeat = Milliseconds(20);
    options.election = Milliseconds(200);
  }
  options.snapshot_count = prng.Between(20, 200);
  options.snapshot_catchup_entries = prng.Between(0, 30);
  options.wal_depth = 1 + static_cast<int>(prng.Below(2));
  options.lease_reads = run.leases || run.seed % 4 == 0;
  options.batch_policy = kPolicies[prng.Below(std::size(kPolicies))];
  options.compression = kCompressions[prng.Below(std::size(kCompressions))];
  options.world.network.small_per_cent = static_cast<uint32_t>(prng.Below(15));
  options.compare_every = Milliseconds(static_cast<int64_t>(300 + run.seed * 71 % 1700));
  return options;
}

WorkloadOptions MakeWorkload(Prng& prng) {
  return {.writers = static_cast<int>(prng.Between(3, 10)),
          .keys = static_cast<int>(prng.Between(2, 30)),
          .value_bytes_max = prng.Chance(1, 3) ? 1'500 : 7'000,
          .pause_max = Milliseconds(static_cast<int64_t>(prng.Between(5, 36))),
          .call_timeout = Milliseconds(static_cast<int64_t>(prng.Between(500, 4000))),
          .transactions = true,
          .serializable_percent = 25};
}

void RunFaults(const ClusterRunOptions& options, ClusterHarness& cluster, Nemesis& nemesis,
               Prng& prng) {
  cluster.workload().Start(MakeWorkload(prng));
  cluster.RunFor(Milliseconds(300));
  nemesis.Begin();
  cluster.RunUntil([] { return false; }, options.faults_for);
  nemesis.End();
  if (!cluster.ok()) return;
  // Some work without faults, over what they have left behind.
  cluster.RunFor(Milliseconds(500));
  const bool reshaped = cluster.RunUntil([&] { return nemesis.reshaped(); }, kSettleLimit);
  if (!reshaped && cluster.ok()) cluster.Problem("a membership change does not come to its end");
  cluster.workload().Stop();
  cluster.Settle(kSettleLimit);
  if (!cluster.ok() || !prng.Chance(1, 3)) return;
  cluster.Trace("and all of it once more from disk");
  for (const std::unique_ptr<ClusterMember>& member : cluster.members()) {
    if (member->node.exists()) member->node.machine().PowerLoss();
  }
  cluster.RunFor(Milliseconds(10));
  cluster.Settle(kSettleLimit);
}

}  // namespace

ClusterRunReport RunCluster(const ClusterRunOptions& options) {
  Prng prng(options.seed * 0x9e3779b97f4a7c15ULL + static_cast<uint64_t>(options.nodes));
  ClusterHarness cluster(MakeOptions(options, prng));
  Nemesis nemesis(cluster, prng.Fork());
  cluster.OnStep([&] { nemesis.Tick(); });
  Status booted = cluster.Boot();
  if (booted.ok()) {
    RunFaults(options, cluster, nemesis, prng);
  } else {
    cluster.Problem(booted.ToString());
  }
  ClusterRunReport report{.problems = cluster.problems(),
                          .trace_hash = cluster.world().TraceHash(),
                          .events = cluster.world().events_run(),
                          .virtual_time = cluster.world().Now() - MonoTime{},
                          .operations = cluster.workload().counts(),
                          .cluster = cluster.counts(),
                          .reshaping = nemesis.reshaping(),
                          .faults = nemesis.hits()};
  if (!cluster.ok() || options.trace) report.logs = cluster.world().PrintLogs(kLogLines);
  nemesis.End();
  for (const std::unique_ptr<ClusterMember>& member : cluster.members()) {
    if (member->node.exists()) member->node.Kill();
  }
  cluster.workload().Stop();
  return report;
}

void ClusterRunTotals::Add(const ClusterRunReport& report) {
  ++runs_;
  events_ += report.events;
  operations_.acknowledged += report.operations.acknowledged;
  operations_.unknown += report.operations.unknown;
  operations_.reads += report.operations.reads;
  operations_.reads_failed += report.operations.reads_failed;
  cluster_.elections += report.cluster.elections;
  cluster_.starts += report.cluster.starts;
  cluster_.digests += report.cluster.digests;
  cluster_.memberships += report.cluster.memberships;
  cluster_.comparisons += report.cluster.comparisons;
  cluster_.entries += report.cluster.entries;
  cluster_.logs_damaged += report.cluster.logs_damaged;
  cluster_.logs_repaired += report.cluster.logs_repaired;
  cluster_.snapshots_sent += report.cluster.snapshots_sent;
  cluster_.snapshots_installed += report.cluster.snapshots_installed;
  cluster_.snapshots_taken += report.cluster.snapshots_taken;
  for (const auto& [path, count] : report.cluster.recoveries) cluster_.recoveries[path] += count;
  cluster_.settled_in = std::max(cluster_.settled_in, report.cluster.settled_in);
  reshaping_.joined += report.reshaping.joined;
  reshaping_.left += report.reshaping.left;
  reshaping_.calls += report.reshaping.calls;
  reshaping_.refused += report.reshaping.refused;
  reshaping_.updated += report.reshaping.updated;
  for (size_t i = 0; i < kFaultKinds; ++i) faults_[i] += report.faults[i];
}

uint64_t ClusterRunTotals::faults() const {
  return std::accumulate(faults_.begin(), faults_.end(), uint64_t{0});
}

std::string ClusterRunTotals::Print() const {
  std::string text = Concat(
      "operations: ", operations_.operations(), " (", operations_.acknowledged,
      " writes acknowledged, ", operations_.unknown, " unknown, ", operations_.reads, " reads)\n",
      "checked: ", cluster_.entries, " committed entries, ", cluster_.digests, " digests and ",
      cluster_.memberships, " memberships at equal indexes, ", cluster_.comparisons,
      " comparisons by members confirmed; settled within ", cluster_.settled_in.ms(), " ms\n",
      "elections ", cluster_.elections, ", starts ", cluster_.starts, ", snapshots taken ",
      cluster_.snapshots_taken, ", sent ", cluster_.snapshots_sent, ", installed ",
      cluster_.snapshots_installed, "; logs damaged ", cluster_.logs_damaged, ", repaired ",
      cluster_.logs_repaired, "; members joined ", reshaping_.joined, ", left ", reshaping_.left,
      ", updated ", reshaping_.updated, ", ", reshaping_.calls, " calls, ", reshaping_.refused,
      " refused\n", "faults ", faults(), ":");
  for (size_t i = 0; i < kFaultKinds; ++i) {
    text += Concat(i == 0 ? " " : ", ", FaultKindName(static_cast<FaultKind>(i)), " ", faults_[i]);
  }
  text += Concat("\n", cluster_.recoveries.size(), " recovery paths:\n");
  for (const auto& [path, count] : cluster_.recoveries) {
    text += Concat("  ", count, "  ", path, "\n");
  }
  text += Concat(runs_ == 0 ? 0 : operations_.operations() / runs_, " operations and ",
                 runs_ == 0 ? 0 : faults() / runs_, " faults a seed, ",
                 runs_ == 0 ? 0 : events_ / runs_, " events\n");
  return text;
}

}  // namespace metastore::sim_test
