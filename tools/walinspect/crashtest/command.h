// `walinspect crashtest record` and `run`: their arguments, and what they print.
#pragma once

#include <memory>
#include <string>

#include "tools/walinspect/crashtest/record.h"
#include "tools/walinspect/crashtest/run.h"

namespace CLI {
class App;
}

namespace metastore::crashtest {

inline constexpr int kExitPassed = 0;
inline constexpr int kExitFound = 2;   // an image failed: something acknowledged is lost, or more
inline constexpr int kExitFailed = 4;  // could not record or run

class Command final {
 public:
  // Adds the subcommand to `app`, which this outlives.
  explicit Command(CLI::App& app);

  // The command line asked for it.
  bool chosen() const;
  // Does what was asked; gives the exit code.
  int Run();

 private:
  int RunRecord();
  int RunImages();

  CLI::App* command_ = nullptr;
  CLI::App* record_ = nullptr;
  CLI::App* run_ = nullptr;
  NodeSettings node_;
  std::string trace_;  // the recording's path
  std::string work_;
  uint64_t seed_ = 1;
  bool json_ = false;
  RecordOptions record_options_;
  RunOptions run_options_;
};

// A run as text, with the command that makes each failed image again, and as JSON
// (walinspect.crashtest/1).
std::string ReportText(const RunReport& report, const std::string& again);
std::string ReportJson(const RunReport& report, const std::string& again);

}  // namespace metastore::crashtest
