// Aim: clusters step exactly as in the recorded scripts: what each node has to do, the messages and
// their order, progress, logs and roles. Method: each script is run by InteractionEnv and its
// output compared text for text, log lines taken out on both sides.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "tests/raft/datadriven.h"
#include "tests/raft/interaction_env.h"

namespace metastore::raft {
namespace {

bool IsLogLine(const std::string& line) {
  const size_t start = line.find_first_not_of(' ');
  if (start == std::string::npos) return false;
  for (const std::string_view level : {"DEBUG ", "INFO ", "WARN ", "ERROR "}) {
    if (std::string_view(line).substr(start).starts_with(level)) return true;
  }
  return false;
}

std::string WithoutLogLines(const std::string& text) {
  std::string out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (!IsLogLine(line)) out += line + "\n";
  }
  return out.empty() ? "ok\n" : out;
}

class InteractionGolden : public testing::TestWithParam<std::string> {};

TEST_P(InteractionGolden, GivesTheRecordedOutput) {
  if (GetParam().empty()) GTEST_SKIP() << "no recorded scripts in " MS_SHARED_DIR;
  InteractionEnv env;
  RunScript(
      GetParam(), [&env](const Directive& directive) { return env.Run(directive); },
      WithoutLogLines);
}

std::vector<std::string> FilesOrNone() {
  std::vector<std::string> files = GoldenFiles("interaction");
  if (files.empty()) files.emplace_back();
  return files;
}

INSTANTIATE_TEST_SUITE_P(Scripts, InteractionGolden, testing::ValuesIn(FilesOrNone()),
                         [](const testing::TestParamInfo<std::string>& param) {
                           const std::string stem =
                               std::filesystem::path(param.param).stem().string();
                           return stem.empty() ? std::string("none") : stem;
                         });

}  // namespace
}  // namespace metastore::raft
