// `crashtest record`: runs a real node through several lives with its trace on, drives it over its
// client port, and joins all that into a recording.
//
// The script: puts of one client, then of eight at once with values up to 12 KB, over enough bytes
// that segments are switched, snapshots taken, the log purged and segments recycled; kill -9 with
// calls under way; a restart, more of the same, a clean stop; a restart, a pause in which the last
// frame is promised, kill -9; a restart, a clean stop.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "io/base/status.h"
#include "tools/walinspect/crashtest/node_process.h"

namespace metastore::crashtest {

struct RecordOptions {
  NodeSettings node;
  std::string work;       // a directory for the node's data alone: ClaimWorkDirectory
  uint64_t writes = 400;  // calls of the client, all lives together
  uint64_t seed = 1;
};

struct RecordSummary {
  uint64_t lives = 0;
  uint64_t calls = 0;
  uint64_t answered = 0;
  uint64_t operations = 0;  // of the disk
  uint64_t durable_writes = 0;
  uint64_t segments_begun = 0;     // of the log
  uint64_t segments_recycled = 0;  // of those, in a file that had been one before
  uint64_t snapshots = 0;
  uint64_t files_removed = 0;
};

// Gives the recording as a file's bytes.
// Errors: those of NodeProcess, KvClient and the directory; kDataLoss: the trace does not explain
//         what the node left on its disk
StatusOr<std::string> Record(const RecordOptions& options,
                             const std::function<void(std::string_view)>& progress);

// Of a recording. Errors: kDataLoss  it is none
StatusOr<RecordSummary> Summarize(const std::string& recording);

}  // namespace metastore::crashtest
