#include "tools/walinspect/text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "io/base/status.h"

namespace metastore::walinspect {

std::string RealText(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string MicrosText(double us) {
  if (us < 1000) return RealText(us, 0) + " us";
  if (us < 1e6) return RealText(us / 1e3, 2) + " ms";
  return RealText(us / 1e6, 2) + " s";
}

std::string BytesText(uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return Concat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return RealText(value, 1) + " " + kUnits[unit];
}

std::string PercentText(double fraction) { return RealText(fraction * 100, 1) + " %"; }

std::string TableText(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      line += i == 0 ? Concat("  ", row[i], blanks) : Concat("  ", blanks, row[i]);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string BarText(double fraction, size_t width) {
  const double filled = std::clamp(fraction, 0.0, 1.0) * static_cast<double>(width);
  return std::string(static_cast<size_t>(std::ceil(filled)), '#');
}

}  // namespace metastore::walinspect
