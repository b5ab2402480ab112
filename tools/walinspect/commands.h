// The commands of walinspect over an io::Runtime. All only read, and may look at the log of a
// running node: a tail that is being written is never reported as damage.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "io/runtime.h"
#include "tools/walinspect/filter.h"
#include "tools/walinspect/record_text.h"
#include "wal/scan.h"

namespace metastore::walinspect {

// Exit codes: part of the interface.
inline constexpr int kExitClean = 0;
inline constexpr int kExitTornTail = 1;
inline constexpr int kExitCorrupt = 2;
inline constexpr int kExitForeign = 3;
inline constexpr int kExitFailed = 4;  // could not look: usage, no such directory, no permission

struct Request {
  std::string directory;
  std::optional<wal::LogIdentity> identity;  // verify: whose log it has to be
  Filter filter;
  DumpFormat format = DumpFormat::kText;
  std::function<void(std::string_view)> print;  // standard output
};

// Each gives the exit code; errors are those of reading the directory.
io::Task<StatusOr<int>> List(io::Runtime& runtime, const Request& request);
// Ends with the exit code of the log's verdict, and says on the last line (text) what it is.
io::Task<StatusOr<int>> Dump(io::Runtime& runtime, const Request& request);
io::Task<StatusOr<int>> Verify(io::Runtime& runtime, const Request& request);

}  // namespace metastore::walinspect
