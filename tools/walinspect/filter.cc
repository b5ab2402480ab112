#include "tools/walinspect/filter.h"

#include <charconv>
#include <cstdio>
#include <ctime>

namespace metastore::walinspect {
namespace {

bool ParseNumber(std::string_view text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

constexpr int64_t kSecond = 1'000'000'000;

}  // namespace

StatusOr<Range> ParseRange(std::string_view text) {
  Range range;
  const size_t dots = text.find("..");
  if (dots == std::string_view::npos) {
    if (!ParseNumber(text, range.first)) return InvalidArgumentError("not a range: ", text);
    range.last = range.first;
    return range;
  }
  const std::string_view first = text.substr(0, dots);
  const std::string_view last = text.substr(dots + 2);
  const bool good = (first.empty() || ParseNumber(first, range.first)) &&
                    (last.empty() || ParseNumber(last, range.last)) && range.first <= range.last;
  if (!good) return InvalidArgumentError("not a range: ", text);
  return range;
}

StatusOr<WallTime> ParseTime(const std::string& text) {
  uint64_t seconds = 0;
  if (ParseNumber(text, seconds)) return WallTime{static_cast<int64_t>(seconds) * kSecond};
  std::tm parts{};
  double second = 0;
  char zone = 0;
  char rest = 0;
  const int read =
      std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%lf%c%c", &parts.tm_year, &parts.tm_mon,
                  &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &second, &zone, &rest);
  if (read != 7 || zone != 'Z' || second < 0 || second >= 61) {
    return InvalidArgumentError("not a time (2026-01-02T03:04:05Z or seconds): ", text);
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  const int64_t whole = timegm(&parts);
  return WallTime{whole * kSecond + static_cast<int64_t>(second * static_cast<double>(kSecond))};
}

std::string FormatTime(WallTime time) {
  int64_t seconds = time.ns / kSecond;
  int64_t rest = time.ns % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --seconds;
  }
  const std::time_t clock = seconds;
  std::tm parts{};
  gmtime_r(&clock, &parts);
  char text[64];
  const size_t used = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + used, sizeof text - used, ".%06dZ", static_cast<int>(rest / 1000));
  return text;
}

}  // namespace metastore::walinspect
