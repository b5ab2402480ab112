// RateLimitFinder: whether something lets only so many flushes a second through, however quick each
// could be: a control group's io.max, a volume's IOPS. Such a limit lets some pass at once and then
// holds the next ones back, so that the times scatter while the seconds' counts do not. (A disk
// that is slow by itself is slow each time.) Pure, of fixed size.
//
// The rule: of the seconds with a flush under way most of the time, at least kSecondsMin, at least
// half have counts within a tenth, few have more, and a tenth of all flushes took less than a third
// of the time that this rate leaves to each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "tools/walinspect/histogram.h"

namespace metastore::walinspect {

struct RateLimit {
  uint64_t per_second = 0;
  uint64_t seconds = 0;       // with about that many
  uint64_t busy_seconds = 0;  // in which a flush was under way most of the time
};

class RateLimitFinder final {
 public:
  static constexpr uint64_t kSecondsMin = 8;
  static constexpr double kBusyMin = 0.75;  // of a second
  static constexpr double kShareMin = 0.5;  // of the busy seconds within the width
  static constexpr double kAboveMax = 0.1;  // of them above it
  static constexpr double kQuickMax = 1.0 / 3;
  static constexpr size_t kCountsMax = 4096;  // different counts that are kept

  // In order of completion; a time that goes back begins anew, with another boot's clock.
  void Add(int64_t end_ns, uint64_t flush_us);
  // `flush_us`: of the same flushes.
  std::optional<RateLimit> Find(const Histogram& flush_us) const;

 private:
  void EndSecond();

  std::map<uint64_t, uint64_t> seconds_by_count_;
  uint64_t busy_seconds_ = 0;
  int64_t second_ = INT64_MIN;
  uint64_t count_ = 0;
  uint64_t busy_us_ = 0;
};

}  // namespace metastore::walinspect
