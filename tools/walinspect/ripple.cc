#include "tools/walinspect/ripple.h"

#include <algorithm>
#include <cmath>

namespace metastore::walinspect {
namespace {

constexpr double kWidth = 0.04;      // of a period, to either side
constexpr double kThinning = 0.25;   // of a period: what follows sooner is of the same cause
constexpr double kLagStep = 1.01;    // from one period tried to the next
constexpr double kBackground = 0.6;  // of a period: the stretches around it, together

// P(X >= count) for a Poisson variable of this mean.
double PoissonTail(uint64_t count, double mean) {
  if (count == 0 || mean <= 0) return count == 0 ? 1 : 0;
  const auto n = static_cast<double>(count);
  if (n <= mean) return 1;
  double term = std::exp(n * std::log(mean) - mean - std::lgamma(n + 1));
  double sum = 0;
  for (double k = n; term > 0 && term > sum * 1e-12; ++k) {
    sum += term;
    term *= mean / (k + 1);
  }
  return std::min(sum, 1.0);
}

struct Peak {
  double lag_ns = 0;
  uint64_t count = 0;
  double interval_ns = 0;  // mean of those counted
  double expected = 0;
  double tail = 1;
};

// Episodes at least `apart_ns` after the one kept before.
std::vector<int64_t> Thinned(const std::vector<int64_t>& episodes, double apart_ns) {
  std::vector<int64_t> kept;
  for (int64_t at_ns : episodes) {
    if (kept.empty() || static_cast<double>(at_ns - kept.back()) >= apart_ns) kept.push_back(at_ns);
  }
  return kept;
}

Peak Judge(const std::vector<int64_t>& all, double lag_ns) {
  const std::vector<int64_t> episodes = Thinned(all, lag_ns * kThinning);
  Peak peak{.lag_ns = lag_ns};
  // Where thinning keeps two a period or more, it makes a rhythm of its own.
  const auto span_ns = static_cast<double>(episodes.back() - episodes.front());
  if (static_cast<double>(episodes.size()) * lag_ns / 2 > span_ns) return peak;
  uint64_t around = 0;
  for (size_t i = 0; i < episodes.size(); ++i) {
    for (size_t k = i + 1; k < episodes.size(); ++k) {
      const double of_lag = static_cast<double>(episodes[k] - episodes[i]) / lag_ns;
      if (of_lag > 1.4) break;
      if (std::abs(of_lag - 1) <= kWidth) {
        ++peak.count;
        peak.interval_ns += of_lag * lag_ns;
      } else if (of_lag >= 1.1 || (of_lag >= 0.6 && of_lag <= 0.9)) {
        ++around;
      }
    }
  }
  if (peak.count > 0) peak.interval_ns /= static_cast<double>(peak.count);
  // One more than seen, since a background of none is not known to be none.
  peak.expected = static_cast<double>(around + 1) * 2 * kWidth / kBackground;
  peak.tail = PoissonTail(peak.count, peak.expected);
  return peak;
}

}  // namespace

void RippleFinder::Add(int64_t at_ns, uint32_t flush_us, uint64_t bytes, uint64_t median_us) {
  for (size_t i = 0; i < kMultiples.size(); ++i) {
    Level& level = levels_[i];
    ++level.count;
    level.all_bytes += static_cast<double>(bytes);
    if (flush_us < static_cast<uint64_t>(kMultiples[i]) * median_us) continue;
    ++level.slow_count;
    level.slow_bytes += static_cast<double>(bytes);
    level.slow_us.Add(flush_us);
    const bool begins = at_ns >= level.last_slow_ns + kEpisodeNs;
    level.last_slow_ns = std::max(level.last_slow_ns, at_ns);
    if (!begins) continue;
    if (level.episodes.size() < kEpisodesMax) {
      level.episodes.push_back(at_ns);
      continue;
    }
    level.episodes[level.next] = at_ns;
    level.next = (level.next + 1) % kEpisodesMax;
  }
}

std::vector<int64_t> RippleFinder::InOrder(const Level& level) {
  std::vector<int64_t> episodes = level.episodes;
  std::ranges::sort(episodes);
  return episodes;
}

std::optional<Ripple> RippleFinder::FindIn(const Level& level, int multiple) {
  const std::vector<int64_t> episodes = InOrder(level);
  if (episodes.size() <= kIntervalsMin) return std::nullopt;
  // Episodes nearly as frequent as they can be are evenly spaced by being kept apart.
  const int64_t span = episodes.back() - episodes.front();
  if (span / static_cast<int64_t>(episodes.size()) < kEpisodeNs * 3) return std::nullopt;
  const double tried =
      std::log(static_cast<double>(kLagMax) / kLagMin) / std::log(kLagStep) * kMultiples.size();
  std::optional<Peak> best;
  for (double lag_ns = kLagMin; lag_ns < kLagMax; lag_ns *= kLagStep) {
    const Peak peak = Judge(episodes, lag_ns);
    if (peak.count < kIntervalsMin || peak.tail * tried > kProbabilityMax) continue;
    // Twice a period is as regular as the period itself, which comes first: only the flank of the
    // same peak may give way to its top.
    const bool same = best && lag_ns <= best->lag_ns * 1.1;
    if (!best || (same && peak.count > best->count)) best = peak;
  }
  if (!best) return std::nullopt;
  const auto slow = static_cast<double>(level.slow_count);
  const double others = static_cast<double>(level.count) - slow;
  return Ripple{
      .period_s = best->interval_ns / 1e9,
      .multiple = multiple,
      .slow_count = level.slow_count,
      .episodes = episodes.size(),
      .intervals = best->count,
      .expected = best->expected,
      .probability = std::min(best->tail * tried, 1.0),
      .slow_us = static_cast<double>(level.slow_us.Percentile(0.5)),
      .slow_bytes = level.slow_bytes / slow,
      .other_bytes = others > 0 ? (level.all_bytes - level.slow_bytes) / others : 0,
  };
}

std::optional<Ripple> RippleFinder::Find() const {
  std::optional<Ripple> best;
  for (size_t i = 0; i < kMultiples.size(); ++i) {
    const std::optional<Ripple> found = FindIn(levels_[i], kMultiples[i]);
    if (found && (!best || found->probability < best->probability)) best = found;
  }
  return best;
}

}  // namespace metastore::walinspect
