// Metrics: what the objects of a core count, and the text of a scrape (Prometheus exposition format
// 0.0.4).
//
// Counting costs an addition: objects keep plain words and Histograms of their own. A scrape visits
// each core in turn (GatherMetrics), where whoever lives there adds its numbers to a MetricList by
// value; RenderMetrics adds up what several cores have under one name and labels.
//
// Limits: label values come from a small fixed set, never from clients.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/time.h"
#include "io/runtime.h"

namespace metastore::io {

enum class SpanUnit : uint8_t { kSeconds, kMilliseconds };

// Counts values by size. One core's; Observe takes a few nanoseconds.
class Histogram final {
 public:
  // bounds   inclusive upper bounds, ascending, at least one; a last bucket without bound is
  // implied
  // unit     of spans, as rendered
  explicit Histogram(std::span<const Duration> bounds, SpanUnit unit = SpanUnit::kSeconds);
  explicit Histogram(std::span<const int64_t> bounds);  // of plain numbers

  void Observe(Duration span) { Observe(span.ns); }
  void Observe(int64_t value);

  uint64_t count() const;

 private:
  friend class MetricList;
  Histogram(std::vector<int64_t> bounds, double divisor);

  std::vector<int64_t> bounds_;
  std::vector<uint64_t> counts_;  // a bucket each, not cumulative; one more than bounds_
  double divisor_;                // from what is observed to what is rendered
  int64_t sum_ = 0;
};

struct MetricLabel {
  std::string_view name;
  std::string_view value;
};
using MetricLabels = std::initializer_list<MetricLabel>;

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram };

// One metric by value.
struct MetricSample {
  std::string_view name;  // a literal
  std::string_view help;  // likewise
  std::string labels;     // rendered and escaped: a="x",b="y"; empty without
  MetricType type = MetricType::kCounter;
  uint64_t count = 0;             // kCounter, unless it is no whole number: then `value`
  double value = 0;               // kGauge; kHistogram: the sum
  std::vector<double> bounds;     // kHistogram
  std::vector<uint64_t> buckets;  // kHistogram
};

// What one core tells a scrape. Names and helps are literals; names and label names are CHECKed to
// be valid, and one name and labels may come only once a list.
class MetricList final {
 public:
  void Counter(std::string_view name, std::string_view help, uint64_t value,
               MetricLabels labels = {});
  void FractionalCounter(std::string_view name, std::string_view help, double value);
  void Gauge(std::string_view name, std::string_view help, double value, MetricLabels labels = {});
  // Exact up to 2^53.
  void Gauge(std::string_view name, std::string_view help, uint64_t value,
             MetricLabels labels = {}) {
    Gauge(name, help, static_cast<double>(value), labels);
  }
  void Add(std::string_view name, std::string_view help, const Histogram& histogram,
           MetricLabels labels = {});

  const std::vector<MetricSample>& samples() const { return samples_; }

 private:
  MetricSample& Push(MetricType type, std::string_view name, std::string_view help,
                     MetricLabels labels);

  std::vector<MetricSample> samples_;
};

// Where metrics come from.
class MetricsSource {
 public:
  virtual ~MetricsSource() = default;
  // On `core`: adds the numbers of what lives there.
  virtual void CollectMetrics(int core, MetricList& list) const = 0;
};

// The machine below the runtimes, where it has something to tell.
class HostMetrics : public MetricsSource {
 public:
  // The process as a whole. Calls that may take milliseconds: for Runtime::Offload.
  virtual void CollectProcessMetrics(MetricList& list) const = 0;
};

// Has `source` fill one list a core, on that core, one after the other.
//   here   the caller's own runtime; it, `cores` and `source` outlive the task
Task<std::vector<MetricList>> GatherMetrics(Runtime& here, std::span<Runtime* const> cores,
                                            const MetricsSource& source);

// The text of all lists: grouped by name, sorted by name and labels, equal ones added up. CHECKs
// that a name has one type, and a histogram one set of bounds.
std::string RenderMetrics(std::span<const MetricList> lists);

}  // namespace metastore::io
