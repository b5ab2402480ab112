#include "tools/walinspect/size_fit.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "wal/format.h"

namespace metastore::walinspect {

size_t SizeFit::ClassOf(uint64_t bytes) {
  const uint64_t blocks = std::max<uint64_t>(bytes / wal::kBlockBytes, 1);
  const auto power = static_cast<size_t>(std::bit_width(blocks) - 1);
  const size_t upper = power > 0 && ((blocks >> (power - 1)) & 1) != 0 ? 1 : 0;
  return std::min(power * 2 + upper, kClasses - 1);
}

void SizeFit::Add(uint64_t bytes, uint32_t flush_us) {
  SizeClass& size = classes_[ClassOf(bytes)];
  size.flush_us.Add(flush_us);
  size.bytes_mean +=
      (static_cast<double>(bytes) - size.bytes_mean) / static_cast<double>(size.flush_us.count());
}

std::vector<const SizeFit::SizeClass*> SizeFit::classes() const {
  std::vector<const SizeClass*> used;
  for (const SizeClass& size : classes_) {
    if (size.flush_us.count() > 0) used.push_back(&size);
  }
  return used;
}

CostLine SizeFit::Line() const {
  double weight = 0;
  double x_mean = 0;
  double y_mean = 0;
  const auto used = classes();
  for (const SizeClass* size : used) {
    const auto count = static_cast<double>(size->flush_us.count());
    weight += count;
    x_mean += count * size->bytes_mean;
    y_mean += count * static_cast<double>(size->flush_us.Percentile(0.5));
  }
  if (weight == 0) return {};
  x_mean /= weight;
  y_mean /= weight;
  double xx = 0;
  double xy = 0;
  for (const SizeClass* size : used) {
    const auto count = static_cast<double>(size->flush_us.count());
    const double x = size->bytes_mean - x_mean;
    xx += count * x * x;
    xy += count * x * (static_cast<double>(size->flush_us.Percentile(0.5)) - y_mean);
  }
  // Below a block of spread there is one size, and a slope would be noise.
  if (std::sqrt(xx / weight) < wal::kBlockBytes / 4.0) return {.fixed_us = y_mean};
  const double slope = std::max(xy / xx, 0.0);
  const double fixed = std::max(y_mean - slope * x_mean, 0.0);
  return {.fixed_us = fixed, .us_per_mib = slope * (1 << 20), .has_slope = true};
}

}  // namespace metastore::walinspect
