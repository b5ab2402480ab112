// Random schedules of a cluster: drawn from a seed, recorded step by step, replayed from text, and
// shrunk to the few steps that matter.
//
// A seed decides how many nodes there are (3, 5 or 7, at first at most three of them voters), how
// small the limits, how many the faults, and every step: ticks, deliveries in any order, losses,
// repeats, partitions, flushes and applies one at a time, crashes with a random part of the waiting
// writes durable, restarts, compactions, membership changes, transfers, reads. Steps come in moods
// of some hundred (random_draw.cc): each has its own mix, and nodes whose disk, state machine or
// links are slow, so that what goes wrong only together meets. A recorded step names nodes and
// places, so that it can be carried out, or do nothing, wherever others were left out.
//
// A run with leases has clocks: time passes for all nodes, whose ticks are as much longer or
// shorter than each other's as the margin of the leases allows, and no more.
//
// As text a run is one block in the format of the recorded scripts:
//   cluster seed=17 elections=safe
//   tick 1
//   deliver 0
//   ----
//   term 3 has leaders 1 and 2
#pragma once

#include <functional>
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
  kFetch,
  kTick,
  kTime,     // `a` thousandths of the fastest clock's tick pass
  kPause,    // likewise `b`, which node `a` does not see: it drops its lease
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
  kSettle,   // the nodes of bit mask `a`, among themselves, until nothing is left
  kRecover,  // no more faults: all nodes run, all messages arrive, time passes, a value is applied
};

struct RandomStep {
  StepKind kind = StepKind::kTick;
  uint64_t a = 0;
  uint64_t b = 0;
  std::vector<ConfChangeStep> changes;
  ConfTransition transition = ConfTransition::kAuto;
};

enum class Elections : uint8_t {
  kSafe,    // pre-vote and check-quorum
  kPlain,   // neither
  kLeases,  // both, and lease reads
};

struct RunOptions {
  uint64_t seed = 1;
  Elections elections = Elections::kSafe;
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
  struct Clock {
    uint64_t period = 0;  // of a tick, in thousandths of the fastest clock's
    uint64_t next = 0;    // tick
  };
  // Bit masks: bit 0 is node 1.
  struct Mood {
    size_t mix = 0;
    uint64_t steps_left = 0;
    uint64_t slow_disks = 0;
    uint64_t slow_applies = 0;
    uint64_t far = 0;  // messages between these and the others take long
  };

  Cluster::Options MakeOptions();
  void SetClocks();
  void Do(RandomStep step);
  void Execute(const RandomStep& step);
  void ExecuteOnNode(const RandomStep& step);
  void ExecuteOnNetwork(const RandomStep& step);
  bool Cut(const Message& message) const;
  void PassTime(uint64_t duration, uint64_t paused);
  void SettleAmong(uint64_t mask);

  // --- random_draw.cc
  void DrawMood();
  RandomStep DrawStep();
  RandomStep DrawTime();
  RandomStep DrawSettle();
  RandomStep DrawNetworkStep();
  size_t DrawMessage();
  RandomStep DrawChange();
  RandomStep DrawReport();
  RandomStep DrawPartition();
  uint64_t AnyNode() { return 1 + prng_.Below(cluster_.size()); }
  // The first from a random one on that is `like`; if none is, any.
  uint64_t AnyLike(const std::function<bool(uint64_t)>& like);
  uint64_t AnyUp();
  uint64_t LeaderOrAny();

  void Recover();
  bool MembersHave(uint64_t leader, LogIndex index);

  RecordedRun record_;
  Prng prng_;
  uint64_t wildness_;  // 0: hardly a fault, 3: many
  Cluster cluster_;
  std::vector<Clock> clocks_;  // of a run with leases
  uint64_t now_ = 0;
  Mood mood_;
  uint64_t partition_ = 0;
  uint64_t values_ = 0;
  uint64_t reads_ = 0;
};

std::string_view Name(Elections elections);
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
