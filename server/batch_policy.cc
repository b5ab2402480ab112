#include "server/batch_policy.h"

#include <algorithm>

#include "io/base/check.h"

namespace metastore::server {
namespace {

constexpr double kSampleWeight = 0.3;

}  // namespace

std::optional<BatchPolicyKind> BatchPolicyCalled(std::string_view name) {
  for (const BatchPolicyKind kind :
       {BatchPolicyKind::kNatural, BatchPolicyKind::kAdaptive, BatchPolicyKind::kOff}) {
    if (BatchPolicyName(kind) == name) return kind;
  }
  return std::nullopt;
}

std::unique_ptr<BatchPolicy> MakeBatchPolicy(BatchPolicyKind kind, const BatchOptions& options) {
  switch (kind) {
    case BatchPolicyKind::kNatural:
      return std::make_unique<NaturalBatchPolicy>();
    case BatchPolicyKind::kAdaptive:
      return std::make_unique<AdaptiveBatchPolicy>(options);
    case BatchPolicyKind::kOff:
      return std::make_unique<OffBatchPolicy>();
  }
  CHECK_UNREACHABLE();
}

AdaptiveBatchPolicy::AdaptiveBatchPolicy(const BatchOptions& options) : options_(options) {
  CHECK_GE(options_.size_min, 1u);
  CHECK_LE(options_.size_min, options_.size_max);
  CHECK(options_.wait_min <= options_.wait_max);
  CHECK(options_.load_threshold > 0 && options_.load_threshold < 1);
  state_.batch_size = options_.size_min;
  state_.wait = options_.wait_min;
}

BatchDecision AdaptiveBatchPolicy::Decide(const BatchInput& input) {
  if (!gathering_) since_ = input.now;
  gathering_ = true;
  const MonoTime late = since_ + state_.wait;
  if (input.waiting < state_.batch_size && input.now < late) return {.ask_again = late};
  Sample(input.waiting);
  const size_t take = std::min(input.waiting, state_.batch_size);
  gathering_ = take < input.waiting;  // the rest has waited as long
  return {.take = take};
}

void AdaptiveBatchPolicy::Sample(size_t waiting) {
  const double buffer = static_cast<double>(kBufferBatches * options_.size_max);
  const double use = std::min(1.0, static_cast<double>(waiting) / buffer);
  state_.load = kSampleWeight * use + (1 - kSampleWeight) * state_.load;
  state_.batch_size = static_cast<size_t>(
      Interpolate(static_cast<double>(options_.size_min), static_cast<double>(options_.size_max)));
  state_.wait = Duration{static_cast<int64_t>(Interpolate(
      static_cast<double>(options_.wait_min.ns), static_cast<double>(options_.wait_max.ns)))};
}

// From `low` at no load over half of `high` at the threshold to `high` at full load.
double AdaptiveBatchPolicy::Interpolate(double low, double high) const {
  const double middle = std::max(low, high / 2);
  const double threshold = options_.load_threshold;
  if (state_.load < threshold) return low + (middle - low) * state_.load / threshold;
  return middle + (high - middle) * (state_.load - threshold) / (1 - threshold);
}

}  // namespace metastore::server
