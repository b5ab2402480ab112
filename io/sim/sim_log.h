// SimLog: the log lines of one simulated machine, kept for tests to search and for failures to
// print.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "io/base/time.h"
#include "io/log.h"

namespace metastore::sim {

class SimLog final : public io::Logger {
 public:
  struct Line {
    MonoTime when;  // world time
    io::LogLevel level;
    std::string message;
    std::string fields;  // JSON pairs, as io::JsonFields gives them
  };

  // `now` gives the world's time; `name` heads each printed line.
  SimLog(std::string name, std::function<MonoTime()> now);

  void Log(io::LogLevel level, std::string_view message,
           std::initializer_list<io::LogField> fields) override;

  const std::deque<Line>& lines() const { return lines_; }
  // Lines whose message or fields contain `text`.
  size_t Count(std::string_view text) const;
  bool Contains(std::string_view text) const { return Count(text) > 0; }
  void Clear() { lines_.clear(); }
  // The last `lines_max` lines, as a person reads them.
  std::string Print(size_t lines_max = 200) const;

  static constexpr size_t kLinesMax = 20'000;  // kept; the oldest go first

 private:
  std::string name_;
  std::function<MonoTime()> now_;
  std::deque<Line> lines_;
};

}  // namespace metastore::sim
