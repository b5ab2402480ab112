// `crashtest run`: every crash of a recording, on the real node.
//
// At each place where the disk changes (the begin and the end of every operation) the images that
// a crash may leave are made (crash_image.h), each once, written as ordinary files, judged as
// `walinspect verify` does, and started. What the node then holds is checked against what its
// client had been told (history.h). Some nodes also go on: a put, a clean stop, a log that must be
// CLEAN, another start. Of some starts the trace is taken, and they crash again, everywhere or at
// places chosen by the seed; after that second crash nothing may be gone that the first start had
// shown.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"
#include "tools/walinspect/crashtest/crash_image.h"
#include "tools/walinspect/crashtest/node_process.h"
#include "tools/walinspect/crashtest/recording.h"

namespace metastore::crashtest {

struct RunOptions {
  NodeSettings node;
  std::string work;           // a directory for images alone: ClaimWorkDirectory
  uint64_t points = 0;        // places chosen by the seed; 0: all
  uint64_t images_max = 0;    // ends after so many images; 0: no end but the last
  uint64_t seconds_max = 0;   // begins no image after so long; 0: no limit
  uint64_t failures_max = 0;  // nor after so many failures; 0: no limit
  uint64_t seed = 1;
  unsigned jobs = 2;  // nodes at a time
  VariantLimits variants;
  uint64_t goes_on_every = 8;   // of the images
  uint64_t double_every = 0;    // of the images: those whose start crashes again; 0: none
  uint64_t double_points = 12;  // places of such a start; 0: all
  std::string only;             // "312/s5": this image alone
};

struct Failure {
  std::string image;  // "312/s5", and "+40/r1" for the second crash
  std::string what;
  std::string kept;  // directory with the image and the node's log
};

struct RunReport {
  uint64_t places = 0;   // of the recording
  uint64_t looked = 0;   // of those
  uint64_t images = 0;   // run; second crashes included
  uint64_t same = 0;     // not run, since an equal one was, with as much acknowledged
  uint64_t doubles = 0;  // of the images run: second crashes
  uint64_t went_on = 0;  // of the images run: those whose node also went on
  std::map<std::string, uint64_t> verdicts;     // of the images, by name
  std::map<std::string, uint64_t> start_paths;  // how the nodes started: their messages
  uint64_t failed = 0;
  std::vector<Failure> failures;  // the first kFailuresKept
  double seconds = 0;
  bool complete = false;  // nothing was left out by a limit
};
inline constexpr size_t kFailuresKept = 20;

// How far it is, from time to time: images run, failed, places looked at, of how many.
using ProgressFn =
    std::function<void(uint64_t images, uint64_t failed, uint64_t place, uint64_t places)>;

// Errors: kDataLoss            the recording is none, or does not explain itself
//         kFailedPrecondition  an operation in it failed
//         kInvalidArgument     `only` names no image of it
//         others               images cannot be written
StatusOr<RunReport> RunCrashes(const Recording& recording, const RunOptions& options,
                               const ProgressFn& progress);

}  // namespace metastore::crashtest
