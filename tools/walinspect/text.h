// Figures and tables for people. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace metastore::walinspect {

std::string MicrosText(double us);         // "87 us", "3.21 ms", "1.20 s"
std::string BytesText(uint64_t bytes);     // "512 B", "4.0 KiB", "1.2 GiB"
std::string PercentText(double fraction);  // "12.3 %"
std::string RealText(double value, int digits);

// Rows of equal length, the first one the heads: columns two blanks apart, the first to the left
// and the others to the right, each line indented by two.
std::string TableText(const std::vector<std::vector<std::string>>& rows);

// `fraction` of `width` characters.
std::string BarText(double fraction, size_t width);

}  // namespace metastore::walinspect
