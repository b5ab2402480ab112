// What a random run does next.
#include <algorithm>
#include <array>
#include <numeric>

#include "tests/raft/random_run.h"

namespace metastore::raft {
namespace {

enum Action : size_t {
  kNetwork,
  kFlushDisk,
  kApplyOne,
  kClock,
  kProposeValue,
  kReadIndex,
  kCrashNode,
  kRestartNode,
  kCompact,
  kMembership,
  kHandOver,
  kReport,
  kGiveUp,
  kForget,
  kElect,
  kSplit,
  kSettleSome,
  kActions,
};

using Mix = std::array<uint32_t, kActions>;

// Weights, in the order of Action.
constexpr auto kMixes = std::to_array<Mix>({
    // Calm: mostly work, hardly a fault.
    {540, 160, 100, 80, 70, 25, 1, 6, 3, 3, 2, 3, 1, 1, 1, 2, 0},
    // Churn: leaders come and go, nodes crash and restart.
    {420, 130, 60, 50, 80, 20, 30, 60, 4, 2, 8, 2, 4, 4, 50, 6, 0},
    // Tails: leaders are cut off with what they have not committed, others take over.
    {480, 160, 50, 60, 120, 20, 8, 20, 2, 1, 2, 2, 3, 2, 30, 14, 0},
    // Members: changes, snapshots, crashes.
    {500, 170, 110, 60, 40, 10, 12, 40, 20, 40, 6, 10, 2, 1, 10, 4, 0},
    // Reads while leaders change.
    {520, 150, 90, 60, 50, 90, 3, 10, 2, 4, 8, 1, 4, 3, 20, 8, 0},
    // Overlap: a leader hears little of the others, who elect another in no time; it goes on to
    // serve
    // reads.
    {60, 10, 5, 200, 20, 250, 20, 80, 1, 2, 12, 1, 1, 30, 150, 1, 250},
});
constexpr size_t kTails = 2;
constexpr size_t kOverlap = kMixes.size() - 1;

constexpr size_t kNetworkMax = 300;

}  // namespace

void RandomRun::DrawMood() {
  const uint64_t nodes = uint64_t{1} << cluster_.size();
  const auto sometimes = [this, nodes] { return prng_.Chance(1, 2) ? prng_.Below(nodes) : 0; };
  mood_.mix = prng_.Below(4) < wildness_ + 1 ? prng_.Below(kMixes.size()) : 0;
  if (prng_.Chance(1, clocks_.empty() ? 5 : 2)) mood_.mix = kOverlap;
  mood_.steps_left = 50 + prng_.Below(300);
  mood_.slow_disks = mood_.mix == kTails ? prng_.Below(nodes) : sometimes();
  mood_.slow_applies = sometimes();
  mood_.far = mood_.mix == kOverlap ? uint64_t{1} << (LeaderOrAny() - 1) : sometimes();
}

uint64_t RandomRun::AnyLike(const std::function<bool(uint64_t)>& like) {
  const uint64_t from = AnyNode();
  for (uint64_t i = 0; i < cluster_.size(); ++i) {
    const uint64_t id = 1 + (from + i) % cluster_.size();
    if (like(id)) return id;
  }
  return from;
}

uint64_t RandomRun::AnyUp() {
  return AnyLike([this](uint64_t id) { return cluster_.up(id); });
}

// Also one that leads no more and does not know it.
uint64_t RandomRun::LeaderOrAny() {
  if (prng_.Chance(1, 10)) return AnyUp();
  return AnyLike([this](uint64_t id) { return cluster_.up(id) && cluster_.core(id).is_leader(); });
}

RandomStep RandomRun::DrawStep() {
  if (mood_.steps_left-- == 0) DrawMood();
  const Mix& mix = kMixes[mood_.mix];
  uint64_t at = prng_.Below(std::accumulate(mix.begin(), mix.end(), uint64_t{0}));
  size_t action = 0;
  while (at >= mix[action]) at -= mix[action++];
  const auto slow = [this](uint64_t mask, uint64_t id) {
    return (mask >> (id - 1) & 1) != 0 && !prng_.Chance(1, 32);
  };
  switch (static_cast<Action>(action)) {
    case kNetwork:
      return DrawNetworkStep();
    case kFlushDisk:
      if (prng_.Chance(1, 5)) {
        return {.kind = StepKind::kFetch, .a = AnyLike([&](uint64_t id) {
                                            return cluster_.node(id).wanted.has_value() &&
                                                   !slow(mood_.slow_disks, id);
                                          })};
      }
      return {.kind = StepKind::kFlush, .a = AnyLike([&](uint64_t id) {
                                          return !cluster_.node(id).appends.empty() &&
                                                 !slow(mood_.slow_disks, id);
                                        })};
    case kApplyOne:
      return {.kind = StepKind::kApply, .a = AnyLike([&](uint64_t id) {
                                          return !cluster_.node(id).applies.empty() &&
                                                 !slow(mood_.slow_applies, id);
                                        })};
    case kClock:
      return DrawTime();
    case kProposeValue:
      return {.kind = StepKind::kPropose, .a = LeaderOrAny(), .b = ++values_};
    case kReadIndex: {
      const uint64_t id = prng_.Chance(3, 4) ? LeaderOrAny() : AnyUp();
      return {.kind = StepKind::kRead, .a = id, .b = ++reads_};
    }
    case kCrashNode:
      return {.kind = StepKind::kCrash, .a = AnyUp(), .b = prng_.Chance(1, 2) ? 0 : prng_.Below(4)};
    case kRestartNode:
      return {.kind = StepKind::kRestart,
              .a = AnyLike([this](uint64_t id) { return !cluster_.up(id); })};
    case kCompact:
      return {.kind = StepKind::kSnapshot, .a = AnyUp()};
    case kMembership:
      return DrawChange();
    case kHandOver:
      return {.kind = StepKind::kTransfer, .a = LeaderOrAny(), .b = AnyNode()};
    case kReport:
      return DrawReport();
    case kGiveUp:
      return {.kind = StepKind::kStepDown, .a = LeaderOrAny()};
    case kForget:
      return {.kind = StepKind::kForgetLeader, .a = AnyUp()};
    case kElect:
      return {.kind = StepKind::kCampaign, .a = AnyUp()};
    case kSplit:
      return DrawPartition();
    case kSettleSome:
      return DrawSettle();
    case kActions:
      break;
  }
  CHECK_UNREACHABLE();
}

RandomStep RandomRun::DrawTime() {
  if (clocks_.empty()) return {.kind = StepKind::kTick, .a = AnyNode()};
  if (prng_.Chance(1, 50)) {
    return {.kind = StepKind::kPause, .a = AnyUp(), .b = 1 + prng_.Below(6000)};
  }
  return {.kind = StepKind::kTime, .a = 1 + prng_.Below(mood_.mix == kOverlap ? 1500 : 500)};
}

RandomStep RandomRun::DrawSettle() {
  const uint64_t all = (uint64_t{1} << cluster_.size()) - 1;
  const uint64_t kind = prng_.Below(16);
  uint64_t mask = all;
  if (kind < 12) mask = all & ~mood_.far;
  if (kind < 2) mask = mood_.far | uint64_t{1} << (AnyNode() - 1);
  if (kind == 15) mask = prng_.Below(all);
  return {.kind = StepKind::kSettle, .a = mask};
}

RandomStep RandomRun::DrawNetworkStep() {
  if (cluster_.network().size() > kNetworkMax) return {.kind = StepKind::kTrim};
  const size_t at = DrawMessage();
  const uint64_t fate = prng_.Below(100);
  if (fate < wildness_) return {.kind = StepKind::kDrop, .a = at};
  if (fate < 2 * wildness_) return {.kind = StepKind::kRepeat, .a = at};
  return {.kind = StepKind::kDeliver, .a = at};
}

// Mostly the oldest, so that something happens, but of those that come from far later ones first.
size_t RandomRun::DrawMessage() {
  const std::vector<Message>& network = cluster_.network();
  if (network.empty()) return 0;
  if (prng_.Chance(1, 6)) return prng_.Below(network.size());
  const auto far = [this](NodeId id) { return mood_.far >> (id.value() - 1) & 1; };
  const auto near = [&far](const Message& m) {
    return far(m.from) == far(m.to) || m.type == MessageType::kTimeoutNow;
  };
  if (mood_.far == 0 || prng_.Chance(1, mood_.mix == kOverlap ? 100 : 20)) return 0;
  const auto at = std::find_if(network.begin(), network.end(), near);
  return at == network.end() ? prng_.Below(network.size())
                             : static_cast<size_t>(at - network.begin());
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

RandomStep RandomRun::DrawReport() {
  constexpr StepKind kReports[] = {StepKind::kReportUnreachable, StepKind::kReportSnapshotDone,
                                   StepKind::kReportSnapshotFailed};
  return {.kind = kReports[prng_.Below(3)], .a = LeaderOrAny(), .b = AnyNode()};
}

RandomStep RandomRun::DrawPartition() {
  if (partition_ != 0 && prng_.Chance(1, 2)) return {.kind = StepKind::kPartition};
  if (prng_.Chance(1, 3)) {
    return {.kind = StepKind::kPartition, .a = prng_.Below(uint64_t{1} << cluster_.size())};
  }
  // A leader, alone or with one more.
  uint64_t mask = uint64_t{1} << (LeaderOrAny() - 1);
  if (prng_.Chance(1, 2)) mask |= uint64_t{1} << (AnyNode() - 1);
  return {.kind = StepKind::kPartition, .a = mask};
}

}  // namespace metastore::raft
