// Metrics: what a core counts, and their text for a scrape (Prometheus exposition format 0.0.4).
//
// Each core owns one MetricsRegistry; its counters are plain words, so counting costs an addition.
// Objects of the core register once and keep the reference. A scrape visits each core in turn
// (GatherMetrics), takes the numbers by value and adds up what several cores have under one name
// and labels.
//
// Limits: a registry never shrinks, so label values must come from a small fixed set, never from
// clients.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/time.h"
#include "io/runtime.h"

namespace metastore::io {

class Counter {
 public:
  void Add(uint64_t n = 1) { value_ += n; }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

class Gauge {
 public:
  void Set(double value) { value_ = value; }
  void Add(double delta) { value_ += delta; }
  double value() const { return value_; }

 private:
  double value_ = 0;
};

class Histogram {
 public:
  // bounds   inclusive upper bounds, ascending, at least one; a last bucket without bound is
  // implied
  explicit Histogram(std::span<const double> bounds);

  void Observe(double value);
  void Observe(Duration span) { Observe(static_cast<double>(span.ns) / 1e9); }  // as seconds

  const std::vector<double>& bounds() const { return bounds_; }
  const std::vector<uint64_t>& counts() const {
    return counts_;
  }  // a bucket each, not cumulative; one more than bounds
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

// `count` bounds from `first` on, each `factor` times the one before.
std::vector<double> ExponentialBounds(double first, double factor, size_t count);

struct MetricLabel {
  std::string_view name;
  std::string_view value;
};
using MetricLabels = std::initializer_list<MetricLabel>;

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram };

// One metric by value.
struct MetricSample {
  std::string name;
  std::string help;
  std::string labels;  // rendered and escaped: a="x",b="y"; empty without
  MetricType type = MetricType::kCounter;
  uint64_t count = 0;             // kCounter
  double value = 0;               // kGauge; kHistogram: the sum
  std::vector<double> bounds;     // kHistogram
  std::vector<uint64_t> buckets;  // kHistogram
};

class MetricsRegistry final {
 public:
  MetricsRegistry() = default;
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  // The reference lives as long as the registry. CHECKed: names are valid, and one name and labels
  // are added only once.
  Counter& AddCounter(std::string_view name, std::string_view help, MetricLabels labels = {});
  Gauge& AddGauge(std::string_view name, std::string_view help, MetricLabels labels = {});
  Histogram& AddHistogram(std::string_view name, std::string_view help,
                          std::span<const double> bounds, MetricLabels labels = {});
  // Evaluated on this core at each scrape. For numbers somebody else already keeps.
  void AddGaugeFunction(std::string_view name, std::string_view help,
                        std::function<double()> function, MetricLabels labels = {});
  void AddCounterFunction(std::string_view name, std::string_view help,
                          std::function<uint64_t()> function, MetricLabels labels = {});

  std::vector<MetricSample> Snapshot() const;

 private:
  struct Entry {
    MetricSample description;  // without numbers
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
    std::function<double()> gauge_function;
    std::function<uint64_t()> counter_function;
  };
  Entry& Add(MetricType type, std::string_view name, std::string_view help, MetricLabels labels);

  std::vector<std::unique_ptr<Entry>> entries_;
};

// The samples of several cores as one text: grouped by name, sorted by name and labels, equal ones
// added up.
std::string RenderMetrics(std::span<const std::vector<MetricSample>> cores);

struct CoreMetrics {
  Runtime* runtime = nullptr;
  const MetricsRegistry* registry = nullptr;
};

// Snapshots every core's registry on that core, one after the other, and gives their text.
// `runtime` is the caller's own; `cores` and what it names must outlive the call.
Task<std::string> GatherMetrics(Runtime& runtime, std::span<const CoreMetrics> cores);

}  // namespace metastore::io
