#include "tools/walinspect/rate_limit.h"

namespace metastore::walinspect {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr double kSecondUs = 1e6;

}  // namespace

void RateLimitFinder::EndSecond() {
  if (static_cast<double>(busy_us_) >= kBusyMin * kSecondUs) {
    ++busy_seconds_;
    if (seconds_by_count_.size() < kCountsMax) ++seconds_by_count_[count_];
  }
  count_ = busy_us_ = 0;
}

void RateLimitFinder::Add(int64_t end_ns, uint64_t flush_us) {
  const int64_t second = end_ns / kSecondNs;
  if (second != second_) EndSecond();
  second_ = second;
  ++count_;
  busy_us_ += flush_us;
}

std::optional<RateLimit> RateLimitFinder::Find(const Histogram& flush_us) const {
  if (busy_seconds_ < kSecondsMin) return std::nullopt;
  RateLimit best;
  for (auto from = seconds_by_count_.begin(); from != seconds_by_count_.end(); ++from) {
    RateLimit limit{.busy_seconds = busy_seconds_};
    uint64_t flushes = 0;
    for (auto to = from; to != seconds_by_count_.end() && to->first * 10 <= from->first * 11;
         ++to) {
      limit.seconds += to->second;
      flushes += to->first * to->second;
    }
    limit.per_second = flushes / limit.seconds;
    if (limit.seconds > best.seconds) best = limit;
  }
  uint64_t above = 0;
  for (const auto& [count, seconds] : seconds_by_count_) {
    if (count * 10 > best.per_second * 11) above += seconds;
  }
  const auto busy = static_cast<double>(busy_seconds_);
  if (best.per_second == 0 || static_cast<double>(best.seconds) < kShareMin * busy ||
      static_cast<double>(above) > kAboveMax * busy) {
    return std::nullopt;
  }
  const double share_us = kSecondUs / static_cast<double>(best.per_second);
  if (static_cast<double>(flush_us.Percentile(0.1)) > kQuickMax * share_us) return std::nullopt;
  return best;
}

}  // namespace metastore::walinspect
