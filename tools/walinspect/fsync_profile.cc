#include "tools/walinspect/fsync_profile.h"

#include <algorithm>

namespace metastore::walinspect {

void FsyncProfile::OnFlush(const Flush& flush) {
  FollowTime(flush);
  gather_us.Add(flush.gather_us);
  flush_us.Add(flush.flush_us);
  heat.Add(flush.submitted.ns, flush.flush_us);
  sizes.Add(flush.bytes, flush.flush_us);
  ticks.Add(flush.flush_us);
  rate.Add(flush.end_ns(), flush.flush_us);
  if (flush.switches_segment()) {
    switch_us.Add(flush.flush_us);
    switch_bytes_.Add(flush.bytes);
  }
  if (median_us_ == 0 || flush_us.count() % kMedianEvery == 0) {
    median_us_ = flush_us.Percentile(0.5);
  }
  ripples.Add(flush.submitted.ns, flush.flush_us, flush.bytes, median_us_);
  KeepIfSlow(flush);
  std::ranges::rotate(recent_, recent_.begin() + 1);
  recent_.back() = flush;
  if (!first) first = flush;
  last = flush;
}

// Monotonic times are comparable within a boot only.
void FsyncProfile::FollowTime(const Flush& flush) {
  if (flush.epoch != epoch_) {
    span_ns_ += busy_until_ns_ - boot_begin_ns_;
    epoch_ = flush.epoch;
    boot_begin_ns_ = busy_until_ns_ = flush.submitted_mono.ns;
  }
  const bool overlaps = flush.submitted_mono.ns < busy_until_ns_;
  (overlaps ? overlapped_us : alone_us).Add(flush.flush_us);
  const int64_t from = std::max(flush.submitted_mono.ns, busy_until_ns_);
  busy_ns_ += std::max<int64_t>(flush.end_ns() - from, 0);
  busy_until_ns_ = std::max(busy_until_ns_, flush.end_ns());
}

void FsyncProfile::KeepIfSlow(const Flush& flush) {
  for (Outlier& outlier : slowest_) {
    if (outlier.after.size() < kNeighbours) outlier.after.push_back(flush);
  }
  const auto quickest = std::ranges::min_element(
      slowest_, {}, [](const Outlier& outlier) { return outlier.flush.flush_us; });
  if (slowest_.size() == kOutliers) {
    if (quickest->flush.flush_us >= flush.flush_us) return;
    slowest_.erase(quickest);
  }
  Outlier outlier{.flush = flush, .before = {}, .after = {}};
  for (const Flush& before : recent_) {
    if (before.lsn != Lsn()) outlier.before.push_back(before);
  }
  slowest_.push_back(std::move(outlier));
}

std::vector<Outlier> FsyncProfile::Outliers() const {
  std::vector<Outlier> outliers = slowest_;
  const uint64_t from = flush_us.Percentile(0.5) * 4;
  std::erase_if(outliers, [&](const Outlier& outlier) { return outlier.flush.flush_us < from; });
  std::ranges::sort(outliers, std::greater<>(),
                    [](const Outlier& outlier) { return outlier.flush.flush_us; });
  return outliers;
}

DiskVerdict FsyncProfile::Verdict() const {
  if (flush_us.count() < kFlushesMin) return DiskVerdict::kTooFew;
  if (flush_us.Percentile(0.99) > kRuleUs) return DiskVerdict::kSlow;
  if (flush_us.Percentile(0.5) < kTooQuickUs) return DiskVerdict::kTooQuick;
  return DiskVerdict::kGood;
}

double FsyncProfile::FlushesPerSecond() const {
  const int64_t span = span_ns_ + busy_until_ns_ - boot_begin_ns_;
  return span <= 0 ? 0 : static_cast<double>(flush_us.count()) * 1e9 / static_cast<double>(span);
}

double FsyncProfile::BusyFraction() const {
  const int64_t span = span_ns_ + busy_until_ns_ - boot_begin_ns_;
  return span <= 0 ? 0 : static_cast<double>(busy_ns_) / static_cast<double>(span);
}

double FsyncProfile::SwitchExcessUs() const {
  if (switch_us.count() == 0) return 0;
  const double usual = sizes.Line().At(static_cast<uint64_t>(switch_bytes_.mean()));
  return static_cast<double>(switch_us.Percentile(0.5)) - usual;
}

}  // namespace metastore::walinspect
