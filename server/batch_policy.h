// When waiting proposals go to raft: the one decision group commit leaves open.
//
// A policy sees how many proposals wait and says how many to take now, or when to be asked again.
// Owned by the Group, on its state core. Pure: time comes in as a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "io/base/time.h"

namespace metastore::server {

enum class BatchPolicyKind : uint8_t { kNatural, kAdaptive, kOff };

// As flags and tools spell it.
constexpr std::string_view BatchPolicyName(BatchPolicyKind kind) {
  constexpr std::string_view kNames[] = {"natural", "adaptive", "off"};
  return kNames[static_cast<size_t>(kind)];
}
// Nothing: no policy is called that.
std::optional<BatchPolicyKind> BatchPolicyCalled(std::string_view name);

// Of the adaptive policy: 1 <= size_min <= size_max, wait_min <= wait_max, 0 < load_threshold < 1
// (CHECKed; the configuration has told the user by then).
struct BatchOptions {
  size_t size_min = 1;
  size_t size_max = 256;
  Duration wait_min = Milliseconds(5);
  Duration wait_max = Milliseconds(20);
  double load_threshold = 0.7;
};

struct BatchInput {
  size_t waiting = 0;     // proposals admitted and not yet proposed, at least 1
  bool flushing = false;  // earlier proposals are not durable yet
  MonoTime now;
};

struct BatchDecision {
  size_t take = 0;                       // proposals to propose now, at most those waiting
  MonoTime ask_again = MonoTime::Max();  // when none are taken: at the latest then
};

// What a policy works with at present, for people and metrics.
struct BatchState {
  double load = 0;        // 0 to 1
  size_t batch_size = 0;  // that is waited for; 0: no size is
  Duration wait;          // for that size, at most
};

class BatchPolicy {
 public:
  virtual ~BatchPolicy() = default;
  // Asked whenever something may have changed: a proposal came, a flush ended, ask_again passed.
  virtual BatchDecision Decide(const BatchInput& input) = 0;
  virtual BatchState state() const = 0;
};

std::unique_ptr<BatchPolicy> MakeBatchPolicy(BatchPolicyKind kind, const BatchOptions& options);

// Takes whatever waits, at once. What arrives while a flush is under way gathers in the log's next
// frame, so a lone client pays one flush and a thousand share one, without any timer: every delay
// tried on top of a 100 us flush cost more than it saved (docs/PROFILING.md).
class NaturalBatchPolicy final : public BatchPolicy {
 public:
  BatchDecision Decide(const BatchInput& input) override { return {.take = input.waiting}; }
  BatchState state() const override { return {}; }
};

// Waits for a batch whose size, and the longest wait for it, follow the load: for disks whose flush
// takes milliseconds, where fewer and larger flushes are worth a wait.
//
// The load is a moving average, 0.3 of what the buffer holds now and 0.7 of what it was, sampled
// once a batch and before the batch is taken out of the buffer. Below load_threshold size and wait
// lie between their minimum and half their maximum, above it between that and the maximum.
class AdaptiveBatchPolicy final : public BatchPolicy {
 public:
  explicit AdaptiveBatchPolicy(const BatchOptions& options);
  BatchDecision Decide(const BatchInput& input) override;
  BatchState state() const override { return state_; }

  // The load is 1 when the buffer holds so many batches of size_max.
  static constexpr size_t kBufferBatches = 4;

 private:
  void Sample(size_t waiting);
  double Interpolate(double low, double high) const;

  const BatchOptions options_;
  BatchState state_;
  bool gathering_ = false;
  MonoTime since_;  // gathering_: when the oldest waiting proposal was first seen
};

// One proposal, one flush: what a write costs when nothing is shared. For measuring the others.
class OffBatchPolicy final : public BatchPolicy {
 public:
  BatchDecision Decide(const BatchInput& input) override {
    return {.take = input.flushing ? size_t{0} : size_t{1}};
  }
  BatchState state() const override { return {.batch_size = 1}; }
};

}  // namespace metastore::server
