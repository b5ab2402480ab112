// How a look at a running node reads: as a screen of text and as JSON. Pure.
#pragma once

#include <string>
#include <string_view>

#include "tools/walinspect/flush_split.h"
#include "tools/walinspect/fsync_profile.h"

namespace metastore::walinspect {

// What the ring said at one time.
struct LiveSnapshot {
  WallTime at;
  int process = 0;       // the node's
  bool running = true;   // false: it has ended, and this is what it left
  uint64_t written = 0;  // flushes since the node began, of which the last are here
  uint64_t missed = 0;   // overwritten while they were read
  uint64_t failed = 0;   // that ended with an error
  Epoch boot;            // 0: it has no flush yet
  FsyncProfile profile;
  // Those since the refresh before.
  Duration recent_span;
  Histogram recent_us;
  uint64_t recent_requests = 0;
  uint64_t recent_bytes = 0;

  // The next flush, in order of completion; recent: since the refresh before.
  void Add(const wal::FlushRecord& flush, bool recent);
};

struct LiveReport {
  const LiveSnapshot& snapshot;
  std::string_view directory;
  const SplitProfile* split = nullptr;  // null: no trace
  std::string_view split_absent;        // and why
};

// At most `rows` lines, the most telling parts; 0: all of them.
std::string LiveText(const LiveReport& report, size_t rows);
std::string LiveJson(const LiveReport& report);
// While there is no node.
std::string WaitingText(std::string_view directory, std::string_view reason);
std::string WaitingJson(WallTime at, std::string_view reason);

std::string SplitText(const SplitProfile& split);

}  // namespace metastore::walinspect
