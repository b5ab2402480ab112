#include "io/uring/logger.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <ctime>

#include "io/base/check.h"

namespace metastore::io::uring {
namespace {

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  CHECK_UNREACHABLE();
}

std::string FormatTime(WallTime now) {
  const std::time_t seconds = now.ns / 1'000'000'000;
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  char text[64];
  std::snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<int>(now.ns / 1'000'000 % 1000));
  return text;
}

WallTime WallNow() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  return {now.tv_sec * 1'000'000'000 + now.tv_nsec};
}

class SpdlogLogger final : public Logger {
 public:
  SpdlogLogger(const LogOptions& options, const std::vector<spdlog::sink_ptr>& sinks)
      : level_(options.level), format_(options.format) {
    pool_ = std::make_shared<spdlog::details::thread_pool>(kLogQueueLines, 1);
    logger_ = std::make_shared<spdlog::async_logger>("node", sinks.begin(), sinks.end(), pool_,
                                                     spdlog::async_overflow_policy::overrun_oldest);
    logger_->set_pattern("%v");
    logger_->set_level(spdlog::level::trace);
    logger_->flush_on(spdlog::level::trace);
  }

  void Log(LogLevel level, std::string_view message,
           std::initializer_list<LogField> fields) override {
    if (level < level_) return;
    const std::string line = FormatLine(format_, level, WallNow(), message, fields);
    logger_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  const LogLevel level_;
  const LogFormat format_;
  std::shared_ptr<spdlog::async_logger> logger_;
  // Destroyed first: writes out what is queued, then joins its thread.
  std::shared_ptr<spdlog::details::thread_pool> pool_;
};

}  // namespace

std::string FormatLine(LogFormat format, LogLevel level, WallTime now, std::string_view message,
                       std::initializer_list<LogField> fields) {
  const std::string pairs = JsonFields(fields);
  if (format == LogFormat::kConsole) {
    return Concat(FormatTime(now), "\t", LevelName(level), "\t", message,
                  pairs.empty() ? "" : "\t{", pairs, pairs.empty() ? "" : "}");
  }
  return Concat("{\"level\":\"", LevelName(level), "\",\"ts\":\"", FormatTime(now),
                "\",\"msg\":", JsonString(message), pairs.empty() ? "" : ",", pairs, "}");
}

StatusOr<std::unique_ptr<Logger>> MakeLogger(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks;
  for (const std::string& output : options.outputs) {
    if (output == "stderr" || output == "default") {
      sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    } else if (output == "stdout") {
      sinks.push_back(std::make_shared<spdlog::sinks::stdout_sink_mt>());
    } else {
      try {
        sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(output));
      } catch (const spdlog::spdlog_ex& error) {
        return InvalidArgumentError("log output ", output, ": ", error.what());
      }
    }
  }
  return std::make_unique<SpdlogLogger>(options, sinks);
}

}  // namespace metastore::io::uring
