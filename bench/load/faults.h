// What can go wrong in a run, counted, with the first few spelt out on standard error.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace metastore::bench {

class Faults final {
 public:
  void Add(const std::string& what) {
    count_++;
    if (count_ <= kShownMax) std::fprintf(stderr, "fault: %s\n", what.c_str());
    if (first_.empty()) first_ = what;
  }
  uint64_t count() const { return count_; }
  const std::string& first() const { return first_; }

 private:
  static constexpr uint64_t kShownMax = 10;
  uint64_t count_ = 0;
  std::string first_;
};

}  // namespace metastore::bench
