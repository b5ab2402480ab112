#include "wal/segment.h"

namespace metastore::wal {
namespace {

constexpr size_t kNumberDigits = 20;
constexpr std::string_view kSuffix = ".wal";

}  // namespace

std::string SegmentFileName(uint64_t number) {
  const std::string digits = std::to_string(number);
  std::string name(kNumberDigits - digits.size(), '0');
  name += digits;
  name += kSuffix;
  return name;
}

std::optional<uint64_t> SegmentFileNumber(std::string_view name) {
  if (name.size() != kNumberDigits + kSuffix.size() || name.substr(kNumberDigits) != kSuffix) {
    return std::nullopt;
  }
  uint64_t number = 0;
  for (char digit : name.substr(0, kNumberDigits)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(digit - '0');
  }
  return number;
}

}  // namespace metastore::wal
