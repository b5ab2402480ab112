// Latencies in logarithmic buckets, as an HDR histogram has them: 64 buckets a power of two, so a
// percentile is at most 1.6 percent above the true one. Fixed size, nothing allocated while
// recording.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace metastore::bench {

class LatencyHistogram final {
 public:
  void Record(uint64_t nanoseconds) {
    buckets_[BucketOf(nanoseconds)]++;
    count_++;
    sum_ns_ += nanoseconds;
    max_ns_ = std::max(max_ns_, nanoseconds);
  }

  uint64_t count() const { return count_; }
  double mean_us() const {
    return count_ == 0 ? 0.0 : static_cast<double>(sum_ns_) / static_cast<double>(count_) / 1e3;
  }
  double max_us() const { return static_cast<double>(max_ns_) / 1e3; }

  // The latency in microseconds that `percent` (0 < percent <= 100) of the samples do not exceed; 0
  // without samples.
  double PercentileUs(double percent) const {
    if (count_ == 0) return 0.0;
    const auto rank =
        static_cast<uint64_t>(std::ceil(static_cast<double>(count_) * percent / 100.0));
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < buckets_.size(); bucket++) {
      seen += buckets_[bucket];
      if (seen >= rank) return static_cast<double>(std::min(UpperBound(bucket), max_ns_)) / 1e3;
    }
    return max_us();
  }

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr size_t kSubBuckets = size_t{1} << kSubBits;
  static constexpr size_t kBuckets = (64 - kSubBits + 1) * kSubBuckets;

  static size_t BucketOf(uint64_t value) {
    if (value < kSubBuckets) return static_cast<size_t>(value);
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
    return (shift + 1) * kSubBuckets + static_cast<size_t>(value >> shift) - kSubBuckets;
  }

  static uint64_t UpperBound(size_t bucket) {
    if (bucket < kSubBuckets) return bucket;
    const size_t shift = bucket / kSubBuckets - 1;
    const uint64_t mantissa = bucket % kSubBuckets + kSubBuckets;
    return ((mantissa + 1) << shift) - 1;
  }

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ns_ = 0;
  uint64_t max_ns_ = 0;
};

}  // namespace metastore::bench
