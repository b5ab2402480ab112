// FsyncProfile: what the durable writes of a log say about the disk under it. Pure, of fixed size.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "tools/walinspect/flush_feed.h"
#include "tools/walinspect/heat_map.h"
#include "tools/walinspect/histogram.h"
#include "tools/walinspect/rate_limit.h"
#include "tools/walinspect/ripple.h"
#include "tools/walinspect/size_fit.h"
#include "tools/walinspect/tick.h"

namespace metastore::walinspect {

// A slow flush and its neighbours in order of completion, nearest last and first.
struct Outlier {
  Flush flush;
  std::vector<Flush> before;
  std::vector<Flush> after;
};

// What the rule "99 of 100 durable writes within 10 ms" says.
enum class DiskVerdict : uint8_t { kTooFew, kGood, kSlow, kTooQuick };

class FsyncProfile final : public FlushSink {
 public:
  static constexpr uint64_t kRuleUs = 10'000;
  static constexpr uint64_t kFlushesMin = 100;  // for a verdict
  static constexpr uint64_t kTooQuickUs = 15;   // no medium is that quick: something acknowledged
                                                // from memory
  static constexpr size_t kOutliers = 8;
  static constexpr size_t kNeighbours = 2;

  void OnFlush(const Flush& flush) override;

  DiskVerdict Verdict() const;
  // Flushes a second while a boot had any, from its first to its last.
  double FlushesPerSecond() const;
  // Share of that time with a flush under way.
  double BusyFraction() const;
  std::vector<Outlier> Outliers() const;  // slowest first, only those beyond 4 times the median
  // How much longer flushes that begin or end a segment take than the line says for their size.
  double SwitchExcessUs() const;

  Histogram gather_us;
  Histogram flush_us;
  Histogram switch_us;      // flushes that begin or end a segment
  Histogram alone_us;       // flushes that were the only one under way when submitted
  Histogram overlapped_us;  // the others
  HeatMap heat;
  SizeFit sizes;
  RippleFinder ripples;
  TickFinder ticks;
  RateLimitFinder rate;
  std::optional<Flush> first;
  std::optional<Flush> last;

 private:
  void FollowTime(const Flush& flush);
  void KeepIfSlow(const Flush& flush);

  static constexpr uint64_t kMedianEvery = 512;

  Histogram switch_bytes_;
  uint64_t median_us_ = 0;
  std::vector<Outlier> slowest_;
  std::array<Flush, kNeighbours> recent_;
  Epoch epoch_;
  int64_t boot_begin_ns_ = 0;
  int64_t busy_until_ns_ = 0;
  int64_t busy_ns_ = 0;
  int64_t span_ns_ = 0;  // of the boots before this one
};

}  // namespace metastore::walinspect
