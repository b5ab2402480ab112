// DiskBench: durable writes of every kind to scratch files in a directory, timed. The runs go round
// three times, so that a disk that changes meanwhile is seen as that and not as a difference
// between kinds.
//
// Bounded: it ends about at its time, whatever the disk, and what it had no time for has no
// samples; 80 MiB of files, removed in the end, also after a stop.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "io/runtime.h"
#include "tools/walinspect/histogram.h"
#include "tools/walinspect/tick.h"

namespace metastore::walinspect {

enum class BenchMethod : uint8_t {
  kPlain,      // not durable: what the write alone costs
  kDsync,      // one request with RWF_DSYNC
  kLinked,     // write and fdatasync linked in one submission
  kFdatasync,  // fdatasync after the write
  kFsync,      // fsync after the write
};
inline constexpr BenchMethod kBenchMethods[] = {BenchMethod::kPlain, BenchMethod::kDsync,
                                                BenchMethod::kLinked, BenchMethod::kFdatasync,
                                                BenchMethod::kFsync};
std::string_view BenchMethodName(BenchMethod method);

// Of the blocks that are written to.
enum class ExtentState : uint8_t {
  kUnwritten,  // allocated only: the file system has to note that they now have content
  kZeroed,     // written with zeros, as the log prepares its segments
  kRecycled,   // overwritten, as the log reuses its segments
};
inline constexpr ExtentState kExtentStates[] = {ExtentState::kUnwritten, ExtentState::kZeroed,
                                                ExtentState::kRecycled};
std::string_view ExtentStateName(ExtentState state);

struct BenchCell {
  BenchMethod method = BenchMethod::kDsync;
  ExtentState extent = ExtentState::kRecycled;
  size_t bytes = limits::kBlockBytes;  // whole blocks, at most kBenchBytesMax
  uint32_t depth = 1;                  // writes under way, 1 to kBenchDepthMax
  bool operator==(const BenchCell&) const = default;
};
inline constexpr size_t kBenchBytesMax = limits::kMiB;
inline constexpr uint32_t kBenchDepthMax = 4;
inline constexpr size_t kBenchRounds = 3;

// What verdict and stability are judged by: it gets the most time.
inline constexpr BenchCell kBaseCell;

struct CellResult {
  BenchCell cell;
  std::array<Histogram, kBenchRounds> rounds;  // of latencies in ns
  Histogram all;
  TickFinder ticks;
  Duration took;  // time that writes were under way
  double WritesPerSecond() const;
};

struct BenchPlan {
  std::string directory;
  Duration time = Seconds(30);
  std::vector<BenchCell> cells;  // the most important first
  io::StopToken stop;
  std::function<void(double share)> progress;  // of the time; null: nobody watches
};

// Every kind: base first, then by what one wants to know first.
std::vector<BenchCell> AllCells();

// One result a cell, in the plan's order.
// Errors: kAlreadyExists       a scratch file is there: of a killed run, or of one that is going on
//         kFailedPrecondition  the file system has no direct I/O
//         kCancelled           stopped; else those of the disk
io::Task<StatusOr<std::vector<CellResult>>> RunBench(io::Runtime& runtime, BenchPlan plan);

}  // namespace metastore::walinspect
