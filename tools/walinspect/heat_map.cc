#include "tools/walinspect/heat_map.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "io/base/status.h"
#include "io/base/time.h"
#include "tools/walinspect/filter.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

constexpr std::string_view kShades = ".:-=+*#%@";
constexpr size_t kLabelWidth = 10;

// From 0 to 1, so that a single slow one among a thousand is still seen.
double Shade(uint64_t count, uint64_t of) {
  if (count == 0 || of == 0) return 0;
  return std::log1p(static_cast<double>(count)) / std::log1p(static_cast<double>(of));
}

std::string Label(size_t row) {
  std::string text = MicrosText(static_cast<double>(HeatMap::RowFloorUs(row)));
  return std::string(kLabelWidth - std::min(kLabelWidth, text.size()), ' ') + text;
}

}  // namespace

void HeatMap::DoubleWidth() {
  for (auto& row : cells_) {
    for (size_t i = 0; i < kColumns / 2; ++i) row[i] = row[2 * i] + row[2 * i + 1];
    std::fill(row.begin() + kColumns / 2, row.end(), 0u);
  }
  column_ns_ *= 2;
  used_ = (used_ + 1) / 2;
}

void HeatMap::Add(int64_t at_ns, uint64_t value_us) {
  if (!begun_) begin_ns_ = std::max<int64_t>(at_ns, 0);
  begun_ = true;
  const int64_t since = std::max<int64_t>(std::max<int64_t>(at_ns, 0) - begin_ns_, 0);
  while (since / column_ns_ >= static_cast<int64_t>(kColumns)) DoubleWidth();
  const auto column = static_cast<size_t>(since / column_ns_);
  const int power = static_cast<int>(std::bit_width(value_us)) - 1;
  const auto row = static_cast<size_t>(std::clamp(power - 3, 0, static_cast<int>(kRows) - 1));
  ++cells_[row][column];
  used_ = std::max(used_, column + 1);
}

void HeatMap::Bounds(size_t& first_row, size_t& last_row) const {
  first_row = kRows - 1;
  last_row = 0;
  for (size_t row = 0; row < kRows; ++row) {
    const bool any = std::ranges::any_of(cells_[row], [](uint32_t count) { return count > 0; });
    if (!any) continue;
    first_row = std::min(first_row, row);
    last_row = row;
  }
}

uint64_t HeatMap::ColumnCount(size_t column) const {
  uint64_t count = 0;
  for (const auto& row : cells_) count += row[column];
  return count;
}

std::string HeatMap::Text() const {
  if (!begun_) return "";
  size_t first_row = 0;
  size_t last_row = 0;
  Bounds(first_row, last_row);
  std::string text;
  for (size_t row = last_row + 1; row-- > first_row;) {
    text += Label(row) + " |";
    for (size_t column = 0; column < used_; ++column) {
      const double shade = Shade(cells_[row][column], ColumnCount(column));
      const auto place = static_cast<size_t>(shade * static_cast<double>(kShades.size() - 1));
      text += shade == 0 ? ' ' : kShades[place];
    }
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  text += std::string(kLabelWidth, ' ') + " +" + std::string(used_, '-') + "\n";
  return text + Concat(std::string(kLabelWidth + 2, ' '), FormatTime(WallTime{begin_ns_}),
                       ", a column is ", MicrosText(static_cast<double>(column_ns_) / 1e3), "\n");
}

std::string HeatMap::Svg(std::string_view title) const {
  constexpr size_t kCell = 9;
  constexpr size_t kLeft = 80;
  constexpr size_t kTop = 40;
  size_t first_row = 0;
  size_t last_row = 0;
  Bounds(first_row, last_row);
  const size_t rows = begun_ ? last_row - first_row + 1 : 0;
  const size_t height = kTop + rows * kCell * 2 + 40;
  std::string svg =
      Concat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", kLeft + kColumns * kCell + 20,
             "\" height=\"", height, "\" font-family=\"monospace\" font-size=\"12\">\n",
             "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"10\" "
             "y=\"20\">",
             title, "</text>\n");
  for (size_t i = 0; i < rows; ++i) {
    const size_t row = last_row - i;
    const size_t y = kTop + i * kCell * 2;
    svg += Concat("<text x=\"", kLeft - 6, "\" y=\"", y + 2 * kCell, "\" text-anchor=\"end\">",
                  MicrosText(static_cast<double>(RowFloorUs(row))), "</text>\n");
    for (size_t column = 0; column < used_; ++column) {
      const double shade = Shade(cells_[row][column], ColumnCount(column));
      if (shade == 0) continue;
      svg += Concat("<rect x=\"", kLeft + column * kCell, "\" y=\"", y, "\" width=\"", kCell,
                    "\" height=\"", 2 * kCell, "\" fill=\"#b00\" fill-opacity=\"",
                    RealText(0.08 + 0.92 * shade, 2), "\"><title>", cells_[row][column],
                    " flushes</title></rect>\n");
    }
  }
  return svg + Concat("<text x=\"", kLeft, "\" y=\"", height - 14, "\">",
                      begun_ ? FormatTime(WallTime{begin_ns_}) : "nothing", ", a column is ",
                      MicrosText(static_cast<double>(column_ns_) / 1e3), "</text>\n</svg>\n");
}

}  // namespace metastore::walinspect
