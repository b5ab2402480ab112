// SizeFit: how the time of a durable write depends on its size: a fixed cost and a cost for each
// MiB. Pure, of fixed size.
//
// Writes are put into classes of similar size; the line is the least squares fit through the
// classes' medians, each weighing as many writes as it has, so that a few stalls do not bend it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tools/walinspect/histogram.h"

namespace metastore::walinspect {

struct CostLine {
  double fixed_us = 0;
  double us_per_mib = 0;   // at least 0
  bool has_slope = false;  // false: all writes had about one size, and fixed_us is their median

  double At(uint64_t bytes) const {
    return fixed_us + us_per_mib * static_cast<double>(bytes) / (1 << 20);
  }
};

class SizeFit final {
 public:
  // bytes: whole blocks
  void Add(uint64_t bytes, uint32_t flush_us);
  CostLine Line() const;

  struct SizeClass {
    double bytes_mean = 0;
    Histogram flush_us;
  };
  // Those that have writes, by size.
  std::vector<const SizeClass*> classes() const;

 private:
  // Two an octave, of 1 to 4,096 blocks.
  static constexpr size_t kClasses = 26;
  static size_t ClassOf(uint64_t bytes);
  std::array<SizeClass, kClasses> classes_;
};

}  // namespace metastore::walinspect
