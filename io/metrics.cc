#include "io/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "io/base/check.h"
#include "io/base/status.h"

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
      AppendLine(out, sample, "", "",
                 sample.value != 0 ? Number(sample.value) : std::to_string(sample.count));
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
  CHECK(sum.bounds == other.bounds);
  sum.count += other.count;
  sum.value += other.value;
  for (size_t i = 0; i < sum.buckets.size(); ++i) sum.buckets[i] += other.buckets[i];
}

struct Placed {
  const MetricSample* sample;
  size_t list;
};

bool SameSeries(const Placed& a, const Placed& b) {
  return a.sample->name == b.sample->name && a.sample->labels == b.sample->labels;
}

// All samples, by name, labels and list.
std::vector<Placed> InOrder(std::span<const MetricList> lists) {
  std::vector<Placed> placed;
  for (size_t list = 0; list < lists.size(); ++list) {
    for (const MetricSample& sample : lists[list].samples()) placed.push_back({&sample, list});
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    if (a.sample->name != b.sample->name) return a.sample->name < b.sample->name;
    if (a.sample->labels != b.sample->labels) return a.sample->labels < b.sample->labels;
    return a.list < b.list;
  });
  return placed;
}

std::vector<int64_t> NanosecondsOf(std::span<const Duration> spans) {
  std::vector<int64_t> nanoseconds;
  for (const Duration span : spans) nanoseconds.push_back(span.ns);
  return nanoseconds;
}

// One core's visit: goes there, takes the numbers, comes back.
struct Visit : ReadyNode {
  Runtime* there = nullptr;
  const MetricsSource* source = nullptr;
  int home = 0;
  MetricList list;
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
  visit.run = ComeHome;
  if (visit.there->Post(visit.home, visit)) return;
  visit.run = GoHome;  // the ring is full: with the next turn
  visit.there->scheduler().Push(visit);
}

void TakeNumbers(ReadyNode& node) {
  auto& visit = static_cast<Visit&>(node);
  visit.source->CollectMetrics(visit.there->core(), visit.list);
  GoHome(node);
}

// Posts `visit` to its core; false when the ring there is full.
bool Depart(Runtime& here, Visit& visit) {
  visit.home = here.core();
  visit.name = "metrics";
  visit.ready_class = ReadyClass::kBackground;
  visit.run = TakeNumbers;
  return here.Post(visit.there->core(), visit);
}

}  // namespace

Histogram::Histogram(std::vector<int64_t> bounds, double divisor)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1), divisor_(divisor) {
  CHECK(!bounds_.empty());
  for (size_t i = 1; i < bounds_.size(); ++i) CHECK_LT(bounds_[i - 1], bounds_[i]);
}

Histogram::Histogram(std::span<const int64_t> bounds)
    : Histogram(std::vector<int64_t>(bounds.begin(), bounds.end()), 1) {}

Histogram::Histogram(std::span<const Duration> bounds, SpanUnit unit)
    : Histogram(NanosecondsOf(bounds), unit == SpanUnit::kSeconds ? 1e9 : 1e6) {}

void Histogram::Observe(int64_t value) {
  // Linear: there are few bounds, and most values fall under the first ones.
  size_t bucket = 0;
  while (bucket < bounds_.size() && value > bounds_[bucket]) ++bucket;
  ++counts_[bucket];
  sum_ += value;
}

uint64_t Histogram::count() const {
  uint64_t sum = 0;
  for (const uint64_t bucket : counts_) sum += bucket;
  return sum;
}

MetricSample& MetricList::Push(MetricType type, std::string_view name, std::string_view help,
                               MetricLabels labels) {
  CHECK(IsValidName(name, false));
  MetricSample& sample = samples_.emplace_back();
  sample.name = name;
  sample.help = help;
  sample.labels = RenderLabels(labels);
  sample.type = type;
  return sample;
}

void MetricList::Counter(std::string_view name, std::string_view help, uint64_t value,
                         MetricLabels labels) {
  Push(MetricType::kCounter, name, help, labels).count = value;
}

void MetricList::FractionalCounter(std::string_view name, std::string_view help, double value) {
  Push(MetricType::kCounter, name, help, {}).value = value;
}

void MetricList::Gauge(std::string_view name, std::string_view help, double value,
                       MetricLabels labels) {
  Push(MetricType::kGauge, name, help, labels).value = value;
}

void MetricList::Add(std::string_view name, std::string_view help, const Histogram& histogram,
                     MetricLabels labels) {
  MetricSample& sample = Push(MetricType::kHistogram, name, help, labels);
  sample.value = static_cast<double>(histogram.sum_) / histogram.divisor_;
  for (const int64_t bound : histogram.bounds_) {
    sample.bounds.push_back(static_cast<double>(bound) / histogram.divisor_);
  }
  sample.buckets = histogram.counts_;
}

std::string RenderMetrics(std::span<const MetricList> lists) {
  const std::vector<Placed> placed = InOrder(lists);
  std::string out;
  std::string_view family;
  MetricType type = MetricType::kCounter;
  for (size_t i = 0; i < placed.size();) {
    MetricSample sum = *placed[i].sample;
    if (sum.name != family) {
      family = sum.name;
      type = sum.type;
      out += Concat("# HELP ", family, " ");
      AppendEscaped(out, sum.help, false);
      out += Concat("\n# TYPE ", family, " ", TypeName(type), "\n");
    }
    CHECK(sum.type == type);
    for (++i; i < placed.size() && SameSeries(placed[i], placed[i - 1]); ++i) {
      CHECK(placed[i].sample->type == type);
      CHECK(placed[i].list != placed[i - 1].list);  // twice in one list
      AddTo(sum, *placed[i].sample);
    }
    AppendSample(out, sum);
  }
  return out;
}

Task<std::vector<MetricList>> GatherMetrics(Runtime& here, std::span<Runtime* const> cores,
                                            const MetricsSource& source) {
  std::vector<MetricList> lists;
  for (Runtime* const core : cores) {
    Visit visit;
    visit.there = core;
    visit.source = &source;
    while (!Depart(here, visit)) {
      co_await Yield();
    }
    co_await visit;
    lists.push_back(std::move(visit.list));
  }
  co_return lists;
}

}  // namespace metastore::io
