#include "tools/walinspect/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace metastore::walinspect {

// Values below kSub have a bucket each; above, an octave has kSub of them.
size_t Histogram::BucketOf(uint64_t value) {
  if (value < kSub) return value;
  if (value >= uint64_t{1} << kPowerMax) return kBuckets - 1;
  const int power = static_cast<int>(std::bit_width(value)) - 1;
  const uint64_t sub = (value >> (power - kSubBits)) & (kSub - 1);
  return kSub * static_cast<size_t>(power - kSubBits + 1) + sub;
}

uint64_t Histogram::LastOf(size_t bucket) {
  if (bucket < kSub) return bucket;
  const int power = static_cast<int>(bucket / kSub) + kSubBits - 1;
  const uint64_t width = uint64_t{1} << (power - kSubBits);
  return (kSub + bucket % kSub + 1) * width - 1;
}

void Histogram::Add(uint64_t value) {
  ++buckets_[BucketOf(value)];
  ++count_;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

uint64_t Histogram::Percentile(double fraction) const {
  if (count_ == 0) return 0;
  const double exact = std::ceil(fraction * static_cast<double>(count_));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(exact), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i + 1 < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::clamp(LastOf(i), min_, max_);
  }
  return max_;
}

uint64_t Histogram::CountUpTo(uint64_t value) const {
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets && LastOf(i) <= value; ++i) seen += buckets_[i];
  return value >= max_ ? count_ : seen;
}

uint64_t Histogram::OctaveCount(int power) const {
  uint64_t seen = 0;
  const uint64_t first = power == 0 ? 0 : uint64_t{1} << power;
  const uint64_t last = (uint64_t{1} << (power + 1)) - 1;
  for (size_t i = BucketOf(first); i + 1 < kBuckets && LastOf(i) <= last; ++i) {
    seen += buckets_[i];
  }
  return seen;
}

}  // namespace metastore::walinspect
