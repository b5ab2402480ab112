// What a bench of a disk says: whether it is fit for a log, whether its flushes can be true, and
// which settings suit it. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools/walinspect/device_facts.h"
#include "tools/walinspect/disk_bench.h"
#include "tools/walinspect/fsync_profile.h"

namespace metastore::walinspect {

struct BenchReport {
  std::string directory;
  std::string file_system;  // its type
  DeviceFacts device;
  std::vector<CellResult> results;

  // Null if the cell was not measured.
  const CellResult* Find(const BenchCell& cell) const;
};

// The rule of FsyncProfile, judged by kBaseCell. A few writes suffice to call a disk slow.
DiskVerdict VerdictOf(const BenchReport& report);

// Reasons to doubt that a completed flush survives a power loss, each a sentence; none: no doubt.
std::vector<std::string> Doubts(const BenchReport& report);

// Of kBaseCell, the last third of the time against the first.
struct Drift {
  double p50 = 1;  // last by first; 1 when one has too few writes
  double p99 = 1;
  bool stable() const;
};
Drift DriftOf(const BenchReport& report);

struct Recommended {
  BenchMethod method = BenchMethod::kDsync;
  uint32_t depth = 1;
  std::string method_reason;
  std::string depth_reason;
};
Recommended Recommend(const BenchReport& report);

std::string BenchText(const BenchReport& report, bool all_cells);
std::string BenchJson(const BenchReport& report);  // walinspect.bench/1

}  // namespace metastore::walinspect
