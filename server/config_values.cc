#include "server/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

namespace metastore::server {
namespace {

constexpr int kCpuMax = 1023;  // what a cpu_set_t holds

struct Unit {
  std::string_view name;
  int64_t ns;
};

// Longer names first: "ms" must not be read as minutes.
constexpr std::array<Unit, 8> kUnits{{{"ns", 1},
                                      {"us", 1000},
                                      {"\u00b5s", 1000},
                                      {"\u03bcs", 1000},
                                      {"ms", 1'000'000},
                                      {"s", 1'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"h", 3'600'000'000'000}}};

template <typename T>
StatusOr<T> ParseNumber(std::string_view text, std::string_view form) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc::result_out_of_range)
    return InvalidArgumentError("the number is too large");
  if (error != std::errc() || stop != end) return InvalidArgumentError("expected ", form);
  return value;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

Status DurationForm() {
  return InvalidArgumentError("expected a duration with its unit, as 100ms, 5s or 1h30m");
}

// Takes one number off the front of `rest`; false if there is none.
bool TakeNumber(std::string_view& rest, double& value) {
  size_t length = 0;
  while (length < rest.size() && (IsDigit(rest[length]) || rest[length] == '.')) ++length;
  const auto [stop, error] =
      std::from_chars(rest.data(), rest.data() + length, value, std::chars_format::fixed);
  if (error != std::errc() || stop != rest.data() + length) return false;
  rest.remove_prefix(length);
  return true;
}

// Takes one unit off the front of `rest`; 0 if there is none.
int64_t TakeUnit(std::string_view& rest) {
  for (const Unit& unit : kUnits) {
    if (!rest.starts_with(unit.name)) continue;
    rest.remove_prefix(unit.name.size());
    return unit.ns;
  }
  return 0;
}

}  // namespace

StatusOr<bool> ParseBool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "true", "True", "TRUE"}) {
    if (text == yes) return true;
  }
  for (std::string_view no : {"0", "f", "F", "false", "False", "FALSE"}) {
    if (text == no) return false;
  }
  return InvalidArgumentError("expected true or false");
}

StatusOr<uint64_t> ParseUint(std::string_view text) {
  return ParseNumber<uint64_t>(text, "a number that is not negative");
}

StatusOr<int64_t> ParseInt(std::string_view text) { return ParseNumber<int64_t>(text, "a number"); }

StatusOr<double> ParseDecimal(std::string_view text) {
  StatusOr<double> number = ParseNumber<double>(text, "a number");
  if (number.ok() && !std::isfinite(*number)) return InvalidArgumentError("expected a number");
  return number;
}

StatusOr<Duration> ParseDuration(std::string_view text) {
  if (text == "0") return Duration{};
  if (text.empty()) return DurationForm();
  std::string_view rest = text;
  double total_ns = 0;
  while (!rest.empty()) {
    double number = 0;
    if (!TakeNumber(rest, number)) return DurationForm();
    const int64_t unit_ns = TakeUnit(rest);
    if (unit_ns == 0) return DurationForm();
    total_ns += number * static_cast<double>(unit_ns);
  }
  if (total_ns >= static_cast<double>(std::numeric_limits<int64_t>::max())) {
    return InvalidArgumentError("the duration is too long");
  }
  return Nanoseconds(static_cast<int64_t>(total_ns + 0.5));
}

StatusOr<std::vector<int>> ParseCpuList(std::string_view text) {
  std::vector<int> cpus;
  for (const std::string& part : SplitList(text)) {
    const size_t dash = part.find('-');
    const std::string_view view = part;
    StatusOr<uint64_t> first = ParseUint(view.substr(0, dash));
    StatusOr<uint64_t> last = dash == std::string::npos ? first : ParseUint(view.substr(dash + 1));
    if (!first.ok() || !last.ok() || *first > *last || *last > kCpuMax) {
      return InvalidArgumentError("expected CPU numbers up to ", kCpuMax, " and ranges, as 0-3,6");
    }
    for (uint64_t cpu = *first; cpu <= *last; ++cpu) {
      if (std::ranges::find(cpus, static_cast<int>(cpu)) != cpus.end()) {
        return InvalidArgumentError("CPU ", cpu, " is named twice");
      }
      cpus.push_back(static_cast<int>(cpu));
    }
  }
  return cpus;
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = TrimBlanks(text.substr(0, comma));
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return parts;
}

std::string_view TrimBlanks(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace metastore::server
