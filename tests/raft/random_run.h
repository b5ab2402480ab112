// Random schedules of a cluster: drawn from a seed, recorded step by step, replayed from text, and
// shrunk to the few steps that matter.
//
// A seed decides how many nodes there are (3, 5 or 7, at first at most three of them voters), how
// small the limits, how many the faults, and every step: ticks, deliveries in any order, losses,
// repeats, partitions, flushes and applies one at a time, crashes with a random part of the waiting
// writes durable, restarts, compactions, membership changes, transfers, reads. A recorded step
// names nodes and places, so that it can be carried out, or do nothing, wherever others were left
// out.
//
// As text a run is one block in the format of the recorded scripts:
//   cluster seed=17 safe-elections=true
//   tick 1
//   deliver 0
//   ----
//   term 3 has leaders 1 and 2
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/base/prng.h"
#include "tests/raft/cluster.h"
#include "tests/raft/datadriven.h"

namespace metastore::raft {

enum class StepKind : uint8_t {
  kDeliver,    // the message at place `a`
  kDrop,       // likewise
  kRepeat,     // likewise: once more at the end
  kTrim,       // the 100 oldest messages are lost
  kPartition,  // the nodes of bit mask `a` (1: node 1) and the others lose what they send each
               // other
  kFlush,      // the oldest append task of node `a`
  kApply,
  kTick,
  kPropose,  // value `b` at `a`
  kRead,     // token `b` at `a`
  kCrash,    // `a`, after the first `b` waiting writes
  kRestart,
  kSnapshot,
  kChange,             // `change` at `a`
  kTransfer,           // at `a` to `b`
  kReportUnreachable,  // `b`, to `a`
  kReportSnapshotDone,
  kReportSnapshotFailed,
  kStepDown,
  kForgetLeader,
  kCampaign,
  kRecover,  // no more faults: all nodes run, all messages arrive, time passes, a value is applied
};

struct RandomStep {
  StepKind kind = StepKind::kTick;
  uint64_t a = 0;
  uint64_t b = 0;
  std::vector<ConfChangeStep> changes;
  ConfTransition transition = ConfTransition::kAuto;
};

struct RunOptions {
  uint64_t seed = 1;
  bool safe_elections = true;  // pre-vote and check-quorum
};

struct RecordedRun {
  RunOptions options;
  std::vector<RandomStep> steps;
  std::string broken;  // what did not hold after the last step; empty: nothing
};

class RandomRun {
 public:
  explicit RandomRun(RunOptions options);

  // Draws and carries out `steps` steps, then recovers; ends where something does not hold.
  void Draw(int steps);
  void Replay(const std::vector<RandomStep>& steps);
  const RecordedRun& record() const { return record_; }
  const Cluster& cluster() const { return cluster_; }

 private:
  Cluster::Options MakeOptions();
  void Do(RandomStep step);
  void Execute(const RandomStep& step);
  void ExecuteOnNode(const RandomStep& step);
  void ExecuteOnNetwork(const RandomStep& step);
  bool Cut(const Message& message) const;
  RandomStep DrawStep();
  RandomStep DrawNetworkStep();
  RandomStep DrawRareStep();
  RandomStep DrawChurnStep();
  RandomStep DrawChange();
  uint64_t AnyNode() { return 1 + prng_.Below(cluster_.size()); }
  uint64_t AnyUp();
  uint64_t LeaderOrAny();
  void Recover();
  bool MembersHave(uint64_t leader, LogIndex index);

  RecordedRun record_;
  Prng prng_;
  uint64_t wildness_;  // 0: hardly a fault, 3: many
  bool churn_;         // leaders come and go, nodes crash and restart all the time
  Cluster cluster_;
  uint64_t partition_ = 0;
  uint64_t values_ = 0;
  uint64_t reads_ = 0;
};

std::string ScriptText(const RecordedRun& run);
// Errors: kInvalidArgument   a line that is no step
StatusOr<RecordedRun> ParseRun(const Directive& directive);

// In processes of their own, so that a CHECK that fails is found like any other failure:
// A run as drawn; nothing when everything holds.
std::optional<RecordedRun> FindFailure(RunOptions options, int steps);
// The least of its steps that still fail, as far as found in `attempts_max` runs: delta debugging,
// at last one step at a time.
RecordedRun Shrink(const RecordedRun& run, int attempts_max);

}  // namespace metastore::raft
