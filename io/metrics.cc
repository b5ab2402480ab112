#include "io/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "io/base/check.h"

namespace metastore::io {
namespace {

bool IsNameChar(char c, bool first, bool label) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_') return true;
  if (c == ':') return !label;
  return !first && c >= '0' && c <= '9';
}

bool IsValidName(std::string_view name, bool label) {
  if (name.empty()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    if (!IsNameChar(name[i], i == 0, label)) return false;
  }
  return true;
}

void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string RenderLabels(MetricLabels labels) {
  std::string out;
  for (const MetricLabel& label : labels) {
    CHECK(IsValidName(label.name, true));
    if (!out.empty()) out += ',';
    out += label.name;
    out += "=\"";
    AppendEscaped(out, label.value, true);
    out += '"';
  }
  return out;
}

std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[64];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

std::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  CHECK_UNREACHABLE();
}

// name_suffix{labels,extra} value
void AppendLine(std::string& out, const MetricSample& sample, std::string_view suffix,
                std::string_view extra, std::string_view value) {
  out += sample.name;
  out += suffix;
  if (!sample.labels.empty() || !extra.empty()) {
    out += '{';
    out += sample.labels;
    if (!sample.labels.empty() && !extra.empty()) out += ',';
    out += extra;
    out += '}';
  }
  out += ' ';
  out += value;
  out += '\n';
}

void AppendHistogram(std::string& out, const MetricSample& sample) {
  uint64_t cumulative = 0;
  for (size_t i = 0; i < sample.buckets.size(); ++i) {
    cumulative += sample.buckets[i];
    const std::string bound = i < sample.bounds.size() ? Number(sample.bounds[i]) : "+Inf";
    AppendLine(out, sample, "_bucket", Concat("le=\"", bound, "\""), std::to_string(cumulative));
  }
  AppendLine(out, sample, "_sum", "", Number(sample.value));
  AppendLine(out, sample, "_count", "", std::to_string(cumulative));
}

void AppendSample(std::string& out, const MetricSample& sample) {
  switch (sample.type) {
    case MetricType::kCounter:
      AppendLine(out, sample, "", "", std::to_string(sample.count));
      return;
    case MetricType::kGauge:
      AppendLine(out, sample, "", "", Number(sample.value));
      return;
    case MetricType::kHistogram:
      AppendHistogram(out, sample);
      return;
  }
}

void AddTo(MetricSample& sum, const MetricSample& other) {
  CHECK(sum.type == other.type);
  CHECK(sum.bounds == other.bounds);
  sum.count += other.count;
  sum.value += other.value;
  for (size_t i = 0; i < sum.buckets.size(); ++i) sum.buckets[i] += other.buckets[i];
}

bool SameSeries(const MetricSample& a, const MetricSample& b) {
  return a.name == b.name && a.labels == b.labels;
}

// One core's visit: goes there, takes the numbers, comes back.
struct Visit : ReadyNode {
  const CoreMetrics* core = nullptr;
  int home = 0;
  std::vector<MetricSample> samples;
  Suspension done;

  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    done.Suspend(handle);
  }
  void await_resume() const noexcept {}
};

void ComeHome(ReadyNode& node) { static_cast<Visit&>(node).done.Wake(); }

void GoHome(ReadyNode& node) {
  auto& visit = static_cast<Visit&>(node);
  Runtime& runtime = *visit.core->runtime;
  visit.run = ComeHome;
  if (runtime.Post(visit.home, visit)) return;
  visit.run = GoHome;  // the ring is full: with the next turn
  runtime.scheduler().Push(visit);
}

void TakeNumbers(ReadyNode& node) {
  auto& visit = static_cast<Visit&>(node);
  visit.samples = visit.core->registry->Snapshot();
  GoHome(node);
}

// Posts `visit` to its core; false when the ring there is full.
bool Depart(Runtime& runtime, Visit& visit) {
  visit.home = runtime.core();
  visit.name = "metrics";
  visit.ready_class = ReadyClass::kBackground;
  visit.run = TakeNumbers;
  return runtime.Post(visit.core->runtime->core(), visit);
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size() + 1) {
  CHECK(!bounds_.empty());
  for (size_t i = 1; i < bounds_.size(); ++i) CHECK_LT(bounds_[i - 1], bounds_[i]);
}

void Histogram::Observe(double value) {
  // Linear: there are few bounds, and most observations fall into the first ones.
  size_t bucket = 0;
  while (bucket < bounds_.size() && value > bounds_[bucket]) ++bucket;
  ++counts_[bucket];
  sum_ += value;
}

std::vector<double> ExponentialBounds(double first, double factor, size_t count) {
  std::vector<double> bounds;
  for (size_t i = 0; i < count; ++i) {
    bounds.push_back(first);
    first *= factor;
  }
  return bounds;
}

MetricsRegistry::Entry& MetricsRegistry::Add(MetricType type, std::string_view name,
                                             std::string_view help, MetricLabels labels) {
  CHECK(IsValidName(name, false));
  auto entry = std::make_unique<Entry>();
  entry->description.name = name;
  entry->description.help = help;
  entry->description.labels = RenderLabels(labels);
  entry->description.type = type;
  for (const std::unique_ptr<Entry>& other : entries_) {
    CHECK(!SameSeries(other->description, entry->description));
    CHECK(other->description.name != name || other->description.type == type);
  }
  entries_.push_back(std::move(entry));
  return *entries_.back();
}

Counter& MetricsRegistry::AddCounter(std::string_view name, std::string_view help,
                                     MetricLabels labels) {
  Entry& entry = Add(MetricType::kCounter, name, help, labels);
  entry.counter = std::make_unique<Counter>();
  return *entry.counter;
}

Gauge& MetricsRegistry::AddGauge(std::string_view name, std::string_view help,
                                 MetricLabels labels) {
  Entry& entry = Add(MetricType::kGauge, name, help, labels);
  entry.gauge = std::make_unique<Gauge>();
  return *entry.gauge;
}

Histogram& MetricsRegistry::AddHistogram(std::string_view name, std::string_view help,
                                         std::span<const double> bounds, MetricLabels labels) {
  Entry& entry = Add(MetricType::kHistogram, name, help, labels);
  entry.histogram = std::make_unique<Histogram>(bounds);
  return *entry.histogram;
}

void MetricsRegistry::AddGaugeFunction(std::string_view name, std::string_view help,
                                       std::function<double()> function, MetricLabels labels) {
  Add(MetricType::kGauge, name, help, labels).gauge_function = std::move(function);
}

void MetricsRegistry::AddCounterFunction(std::string_view name, std::string_view help,
                                         std::function<uint64_t()> function, MetricLabels labels) {
  Add(MetricType::kCounter, name, help, labels).counter_function = std::move(function);
}

std::vector<MetricSample> MetricsRegistry::Snapshot() const {
  std::vector<MetricSample> samples;
  samples.reserve(entries_.size());
  for (const std::unique_ptr<Entry>& entry : entries_) {
    MetricSample sample = entry->description;
    if (entry->counter != nullptr) sample.count = entry->counter->value();
    if (entry->counter_function) sample.count = entry->counter_function();
    if (entry->gauge != nullptr) sample.value = entry->gauge->value();
    if (entry->gauge_function) sample.value = entry->gauge_function();
    if (entry->histogram != nullptr) {
      sample.value = entry->histogram->sum();
      sample.bounds = entry->histogram->bounds();
      sample.buckets = entry->histogram->counts();
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::string RenderMetrics(std::span<const std::vector<MetricSample>> cores) {
  std::vector<const MetricSample*> samples;
  for (const std::vector<MetricSample>& core : cores) {
    for (const MetricSample& sample : core) samples.push_back(&sample);
  }
  std::sort(samples.begin(), samples.end(), [](const MetricSample* a, const MetricSample* b) {
    return a->name != b->name ? a->name < b->name : a->labels < b->labels;
  });
  std::string out;
  std::string_view family;
  for (size_t i = 0; i < samples.size();) {
    MetricSample sum = *samples[i];
    if (samples[i]->name != family) {
      family = samples[i]->name;
      out += Concat("# HELP ", family, " ");
      AppendEscaped(out, sum.help, false);
      out += Concat("\n# TYPE ", family, " ", TypeName(sum.type), "\n");
    }
    for (++i; i < samples.size() && SameSeries(*samples[i], sum); ++i) AddTo(sum, *samples[i]);
    AppendSample(out, sum);
  }
  return out;
}

Task<std::string> GatherMetrics(Runtime& runtime, std::span<const CoreMetrics> cores) {
  std::vector<std::vector<MetricSample>> all;
  for (const CoreMetrics& core : cores) {
    Visit visit;
    visit.core = &core;
    while (!Depart(runtime, visit)) {
      co_await Yield();
    }
    co_await visit;
    all.push_back(std::move(visit.samples));
  }
  co_return RenderMetrics(all);
}

}  // namespace metastore::io
