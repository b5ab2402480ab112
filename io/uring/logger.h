// The production Logger: lines formatted here, written by a thread of spdlog's, so that a full pipe
// or a slow disk behind a log file never holds up a reactor. When that thread falls kLogQueueLines
// behind, the oldest lines are dropped.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/base/status.h"
#include "io/base/time.h"
#include "io/log.h"

namespace metastore::io::uring {

enum class LogFormat : uint8_t { kJson, kConsole };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kJson;
  std::vector<std::string> outputs = {
      "stderr"};  // "stderr", "stdout", "default" (stderr), or a file to append to
};

inline constexpr size_t kLogQueueLines = 8192;

// Errors: kInvalidArgument  an output file cannot be opened
StatusOr<std::unique_ptr<Logger>> MakeLogger(const LogOptions& options);

// One line, without the newline. JSON:
// {"level":"info","ts":"2026-01-02T03:04:05.678Z","msg":"...",fields}; console: the same separated
// by tabs, fields as a JSON object.
std::string FormatLine(LogFormat format, LogLevel level, WallTime now, std::string_view message,
                       std::initializer_list<LogField> fields);

}  // namespace metastore::io::uring
