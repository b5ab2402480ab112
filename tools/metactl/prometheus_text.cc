#include "tools/metactl/prometheus_text.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace metastore::metactl {
namespace {

constexpr std::string_view kBlanks = " \t";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

bool ParseNumber(std::string_view text, double& value) {
  if (text == "+Inf") {
    value = std::numeric_limits<double>::infinity();
    return true;
  }
  const std::from_chars_result end = std::from_chars(text.data(), text.data() + text.size(), value);
  return end.ec == std::errc() && end.ptr == text.data() + text.size();
}

// A quoted label value at the front of `rest`, taken off with its quotes.
bool TakeQuoted(std::string_view& rest, std::string& value) {
  if (!rest.starts_with('"')) return false;
  for (size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      rest.remove_prefix(i + 1);
      return true;
    }
    if (rest[i] == '\\' && ++i == rest.size()) return false;
    value += rest[i - 1] == '\\' && rest[i] == 'n' ? '\n' : rest[i];
  }
  return false;
}

// name="value",... up to the closing brace, which is taken off too.
bool TakeLabels(std::string_view& rest, Labels& labels) {
  while (true) {
    rest = Trimmed(rest);
    if (rest.starts_with('}')) {
      rest.remove_prefix(1);
      return true;
    }
    const size_t equals = rest.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string name(Trimmed(rest.substr(0, equals)));
    rest = Trimmed(rest.substr(equals + 1));
    std::string value;
    if (!TakeQuoted(rest, value)) return false;
    labels[name] = std::move(value);
    rest = Trimmed(rest);
    if (rest.starts_with(',')) rest.remove_prefix(1);
  }
}

bool ParseSample(std::string_view line, Sample& sample) {
  const size_t name_end = line.find_first_of("{ \t");
  if (name_end == 0 || name_end == std::string_view::npos) return false;
  sample.name = line.substr(0, name_end);
  std::string_view rest = line.substr(name_end);
  if (rest.starts_with('{')) {
    rest.remove_prefix(1);
    if (!TakeLabels(rest, sample.labels)) return false;
  }
  rest = Trimmed(rest);
  return ParseNumber(rest.substr(0, rest.find_first_of(kBlanks)), sample.value);
}

// Calls `visit` with each line, without its end.
template <typename Visit>
void ForEachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    visit(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

// The metric that a line of the page is about.
std::string_view NameIn(std::string_view line) {
  for (const std::string_view comment : {"# HELP ", "# TYPE "}) {
    if (line.starts_with(comment)) line.remove_prefix(comment.size());
  }
  return line.substr(0, line.find_first_of("{ \t"));
}

}  // namespace

StatusOr<MetricsText> MetricsText::Parse(std::string_view text) {
  MetricsText parsed;
  std::string_view bad;
  ForEachLine(text, [&](std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!bad.empty() || Trimmed(line).empty() || line.starts_with('#')) return;
    Sample sample;
    if (ParseSample(line, sample)) {
      parsed.samples_.push_back(std::move(sample));
    } else {
      bad = line.substr(0, 80);
    }
  });
  if (!bad.empty()) return InvalidArgumentError("not a metrics page: ", bad);
  return parsed;
}

std::optional<double> MetricsText::Find(std::string_view name) const {
  for (const Sample& sample : samples_) {
    if (sample.name == name) return sample.value;
  }
  return std::nullopt;
}

std::optional<double> MetricsText::Sum(std::string_view name) const {
  std::optional<double> sum;
  for (const Sample& sample : samples_) {
    if (sample.name == name) sum = sum.value_or(0) + sample.value;
  }
  return sum;
}

std::string MetricsText::LabelOf(std::string_view name, std::string_view label) const {
  for (const Sample& sample : samples_) {
    if (sample.name != name) continue;
    const auto found = sample.labels.find(label);
    return found == sample.labels.end() ? "" : found->second;
  }
  return "";
}

std::optional<double> MetricsText::Quantile(std::string_view histogram, double quantile) const {
  const std::string name = Concat(histogram, "_bucket");
  std::map<double, double> cumulative;  // by upper bound
  for (const Sample& sample : samples_) {
    if (sample.name != name) continue;
    const auto bound = sample.labels.find("le");
    double upper = 0;
    if (bound == sample.labels.end() || !ParseNumber(bound->second, upper)) continue;
    cumulative[upper] += sample.value;
  }
  if (cumulative.empty() || cumulative.rbegin()->second <= 0) return std::nullopt;
  const double rank = quantile * cumulative.rbegin()->second;
  double lower = 0;
  double below = 0;
  for (const auto& [upper, count] : cumulative) {
    if (count >= rank && count > below) {
      if (std::isinf(upper)) return lower;
      return lower + (upper - lower) * (rank - below) / (count - below);
    }
    lower = upper;
    below = count;
  }
  return lower;
}

std::string LinesOf(std::string_view text, std::string_view prefix) {
  std::string lines;
  ForEachLine(text, [&](std::string_view line) {
    if (!line.empty() && NameIn(line).starts_with(prefix)) lines += Concat(line, "\n");
  });
  return lines;
}

}  // namespace metastore::metactl
