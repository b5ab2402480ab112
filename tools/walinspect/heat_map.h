// HeatMap: how many values of which size fell into which stretch of time. Of fixed size: when a
// value is later than the last column, the columns become twice as wide. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace metastore::walinspect {

class HeatMap final {
 public:
  static constexpr size_t kColumns = 96;
  static constexpr size_t kRows = 24;  // row r has the values [2^(r+3), 2^(r+4)) us; the ends have
                                       // what is beyond

  // `at_ns` before the first value's counts as that.
  void Add(int64_t at_ns, uint64_t value_us);

  bool empty() const { return !begun_; }
  int64_t begin_ns() const { return begin_ns_; }
  int64_t column_ns() const { return column_ns_; }
  size_t columns_used() const { return used_; }
  uint32_t count(size_t row, size_t column) const { return cells_[row][column]; }
  static uint64_t RowFloorUs(size_t row) { return row == 0 ? 0 : uint64_t{8} << row; }

  // Rows from the slowest with a value to the quickest, a character a cell: of ". : - = + * # % @"
  // by its share of its column.
  std::string Text() const;
  // A drawing of the same, complete with axes, for a browser.
  std::string Svg(std::string_view title) const;

 private:
  void DoubleWidth();
  void Bounds(size_t& first_row, size_t& last_row) const;
  uint64_t ColumnCount(size_t column) const;

  std::array<std::array<uint32_t, kColumns>, kRows> cells_{};
  bool begun_ = false;
  int64_t begin_ns_ = 0;
  int64_t column_ns_ = 10'000'000;
  size_t used_ = 0;
};

}  // namespace metastore::walinspect
