#include "io/sim/sim_log.h"

#include <utility>

#include "io/base/check.h"
#include "io/base/status.h"

namespace metastore::sim {
namespace {

std::string_view LevelName(io::LogLevel level) {
  switch (level) {
    case io::LogLevel::kDebug:
      return "debug";
    case io::LogLevel::kInfo:
      return "info";
    case io::LogLevel::kWarn:
      return "warn";
    case io::LogLevel::kError:
      return "error";
  }
  CHECK_UNREACHABLE();
}

// As pairs in the manner of io::JsonFields, without its escapes: tests search these.
std::string FieldsText(std::initializer_list<io::LogField> fields) {
  std::string text;
  for (const io::LogField& field : fields) {
    if (!text.empty()) text += ',';
    const std::string_view quote = field.quoted ? "\"" : "";
    text += Concat("\"", field.key, "\":", quote, field.value, quote);
  }
  return text;
}

}  // namespace

SimLog::SimLog(std::string name, std::function<MonoTime()> now)
    : name_(std::move(name)), now_(std::move(now)) {}

void SimLog::Log(io::LogLevel level, std::string_view message,
                 std::initializer_list<io::LogField> fields) {
  if (lines_.size() == kLinesMax) lines_.pop_front();
  lines_.push_back(Line{now_(), level, std::string(message), FieldsText(fields)});
}

size_t SimLog::Count(std::string_view text) const {
  size_t count = 0;
  for (const Line& line : lines_) {
    const bool found =
        line.message.find(text) != std::string::npos || line.fields.find(text) != std::string::npos;
    count += found ? 1 : 0;
  }
  return count;
}

std::string SimLog::Print(size_t lines_max) const {
  std::string text;
  const size_t first = lines_.size() > lines_max ? lines_.size() - lines_max : 0;
  for (size_t i = first; i < lines_.size(); ++i) {
    const Line& line = lines_[i];
    text += Concat("[", line.when.ns / 1000, " us] ", name_, " ", LevelName(line.level), " ",
                   line.message, " ", line.fields, "\n");
  }
  return text;
}

}  // namespace metastore::sim
