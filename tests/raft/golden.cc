#include "tests/raft/golden.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/raft/interaction_env.h"

namespace metastore::raft {
namespace {

struct Line {
  int number = 0;
  std::string text;
};

bool IsLogLine(std::string_view line) {
  const size_t start = line.find_first_not_of(' ');
  if (start == std::string_view::npos) return false;
  for (const std::string_view level : {"DEBUG ", "INFO ", "WARN ", "ERROR ", "FATAL "}) {
    if (line.substr(start).starts_with(level)) return true;
  }
  return false;
}

std::vector<Line> WithoutLogLines(const std::vector<std::string>& text, int first) {
  std::vector<Line> out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsLogLine(text[i])) out.push_back({first + static_cast<int>(i), text[i]});
  }
  if (out.empty()) out.push_back({first, "ok"});
  return out;
}

std::vector<std::string> SplitLines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Empty when they are the same.
std::string Compare(const Directive& directive, const std::string& output) {
  const std::vector<Line> wanted = WithoutLogLines(directive.expected, directive.expected_line);
  const std::vector<Line> got = WithoutLogLines(SplitLines(output), 1);
  for (size_t i = 0; i < std::max(wanted.size(), got.size()); ++i) {
    const bool none_wanted = i >= wanted.size();
    const bool none_got = i >= got.size();
    if (!none_wanted && !none_got && wanted[i].text == got[i].text) continue;
    const int line = none_wanted ? wanted.back().number + 1 : wanted[i].number;
    return Concat(":", line, ": of ", directive.command, " in line ", directive.line,
                  "\n  wanted: ", none_wanted ? "<end of output>" : wanted[i].text,
                  "\n  got:    ", none_got ? "<end of output>" : got[i].text);
  }
  return "";
}

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool HasSeparator(const std::string& path) {
  const std::optional<std::string> text = ReadFile(path);
  if (!text) return true;  // Difference says what is wrong
  return text->find('\0') == std::string::npos &&
         (text->starts_with("----\n") || text->find("\n----\n") != std::string::npos ||
          text->find("\n----\r\n") != std::string::npos || text->ends_with("\n----"));
}

}  // namespace

std::unique_ptr<ScriptRunner> RunnerFor(const std::vector<Directive>& script) {
  for (const Directive& directive : script) {
    const std::string& command = directive.command;
    if (command == "committed" || command == "vote") return MakeQuorumScript();
    if (command == "simple" || command == "enter-joint" || command == "leave-joint") {
      return MakeConfChangerScript();
    }
    if (InteractionEnv::Knows(command)) return MakeInteractionScript();
  }
  return nullptr;
}

std::vector<std::string> FindScripts(const std::string& path) {
  namespace fs = std::filesystem;
  if (fs::is_regular_file(path)) return {path};
  std::vector<std::string> files;
  std::error_code error;
  constexpr auto kOptions = fs::directory_options::follow_directory_symlink |
                            fs::directory_options::skip_permission_denied;
  for (auto at = fs::recursive_directory_iterator(path, kOptions, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    const std::string extension = at->path().extension().string();
    if (!at->is_regular_file() || (extension != ".txt" && !extension.empty())) continue;
    if (HasSeparator(at->path().string())) files.push_back(at->path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> SharedScripts() {
  const std::string folder = std::string(MS_SHARED_DIR) + "/goldens/raft";
  if (!std::filesystem::is_directory(folder)) return {};
  return FindScripts(folder);
}

std::string Difference(const std::string& path) {
  const std::optional<std::string> text = ReadFile(path);
  if (!text) return path + ": cannot be read";
  const StatusOr<std::vector<Directive>> script = ParseScript(*text);
  if (!script.ok()) return Concat(path, ": ", StdView(script.status().message()));
  if (script->empty()) return path + ": no directive";
  const std::unique_ptr<ScriptRunner> runner = RunnerFor(*script);
  if (runner == nullptr) {
    return Concat(path, ":", script->front().line, ": unknown command ", script->front().command);
  }
  for (const Directive& directive : *script) {
    const StatusOr<std::string> output = runner->Run(directive);
    if (!output.ok()) {
      return Concat(path, ":", directive.line, ": ", directive.command, ": ",
                    StdView(output.status().message()));
    }
    const std::string difference = Compare(directive, *output);
    if (!difference.empty()) return path + difference;
  }
  return "";
}

StatusOr<std::string> Rewritten(const std::string& path) {
  const std::optional<std::string> text = ReadFile(path);
  if (!text) return NotFoundError("cannot be read");
  const StatusOr<std::vector<Directive>> script = ParseScript(*text);
  if (!script.ok()) return script.status();
  const std::unique_ptr<ScriptRunner> runner = RunnerFor(*script);
  if (runner == nullptr) return InvalidArgumentError("no known command");
  const std::vector<std::string> lines = SplitLines(*text);
  std::string out;
  size_t next = 0;
  for (const Directive& directive : *script) {
    const auto begin = static_cast<size_t>(directive.expected_line - 1);
    for (; next < begin; ++next) out += lines[next] + "\n";
    const StatusOr<std::string> output = runner->Run(directive);
    if (!output.ok()) return Annotate(output.status(), Concat("line ", directive.line));
    for (const Line& line : WithoutLogLines(SplitLines(*output), 1)) out += line.text + "\n";
    next += directive.expected.size();
  }
  for (; next < lines.size(); ++next) out += lines[next] + "\n";
  return out;
}

}  // namespace metastore::raft
