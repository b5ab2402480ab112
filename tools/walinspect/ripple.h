// RippleFinder: whether slow flushes come at regular intervals, as those do that wait for a file
// system's journal commit. Pure, of fixed size.
//
// A flush is slow when it takes a multiple of the median so far; the search runs for several
// multiples, since a ripple may be small or hidden among larger stalls. Slow flushes within
// kEpisodeNs of each other are one episode. The intervals between episodes are compared with each
// period from kLagMin to kLagMax (the autocorrelation of the episodes; unlike a spectrum it bears a
// period that starts anew now and then, as journal commits do). What follows an episode within a
// quarter of the period counts as the same one: a burst of stalls is one cause.
//
// The rule: a period is reported when the intervals within 4 % of it are so many that episodes
// without rhythm, as frequent as the neighbouring intervals (0.6 to 0.9 and 1.1 to 1.4 of it) are,
// would give as many with a probability below 0.001 in the whole search: the Poisson tail times the
// number of periods and multiples tried; and there are at least kIntervalsMin of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tools/walinspect/histogram.h"

namespace metastore::walinspect {

struct Ripple {
  double period_s = 0;
  int multiple = 0;         // of the median, from which a flush is slow
  uint64_t slow_count = 0;  // flushes that slow, of all times kept
  uint64_t episodes = 0;
  uint64_t intervals = 0;  // within 4 % of the period
  double expected = 0;     // of them without a rhythm
  double probability = 0;  // that chance alone shows so many, anywhere in the search
  double slow_us = 0;      // median of the slow flushes
  double slow_bytes = 0;   // mean size of the slow flushes
  double other_bytes = 0;  // and of the others: much smaller means that size is the cause
};

class RippleFinder final {
 public:
  static constexpr std::array<int, 4> kMultiples = {2, 4, 8, 16};
  static constexpr int64_t kEpisodeNs = 100'000'000;
  static constexpr int64_t kLagMax = 43'000'000'000;
  static constexpr int64_t kLagMin = 400'000'000;
  static constexpr uint64_t kIntervalsMin = 5;
  static constexpr double kProbabilityMax = 0.001;
  static constexpr size_t kEpisodesMax = 4096;  // the latest ones count

  // at_ns: when it was submitted, not before the one before by much
  //   median_us  of those so far
  void Add(int64_t at_ns, uint32_t flush_us, uint64_t bytes, uint64_t median_us);
  // The most significant period of all multiples.
  std::optional<Ripple> Find() const;

 private:
  struct Level {
    std::vector<int64_t> episodes;  // when each began; a ring once full
    size_t next = 0;
    int64_t last_slow_ns = INT64_MIN / 2;
    uint64_t slow_count = 0;
    uint64_t count = 0;
    double slow_bytes = 0;
    double all_bytes = 0;
    Histogram slow_us;
  };

  static std::vector<int64_t> InOrder(const Level& level);
  static std::optional<Ripple> FindIn(const Level& level, int multiple);

  std::array<Level, kMultiples.size()> levels_;
};

}  // namespace metastore::walinspect
