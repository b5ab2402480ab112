#include "tests/raft/datadriven.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace metastore::raft {
namespace {

std::vector<std::string> ReadLines(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in.is_open()) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool Blank(const std::string& line) {
  return std::all_of(line.begin(), line.end(), [](unsigned char c) { return std::isspace(c); });
}

// Words of a directive; a parenthesised list belongs to its word, blanks and all.
std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  int depth = 0;
  for (const char c : line) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c == ' ' && depth == 0) {
      if (!word.empty()) words.push_back(word);
      word.clear();
    } else if (c != ' ') {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

Directive::Arg ParseArg(const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return {word, {}};
  Directive::Arg arg{word.substr(0, equals), {}};
  std::string value = word.substr(equals + 1);
  if (value.empty() || value.front() != '(') {
    arg.values.push_back(value);
    return arg;
  }
  std::string item;
  for (const char c : value.substr(1)) {
    if (c != ',' && c != ')') {
      item += c;
      continue;
    }
    if (!item.empty()) arg.values.push_back(item);
    item.clear();
  }
  return arg;
}

void ParseCommand(const std::string& line, Directive& directive) {
  const std::vector<std::string> words = Words(line);
  directive.command = words.front();
  for (size_t i = 1; i < words.size(); ++i) directive.args.push_back(ParseArg(words[i]));
}

}  // namespace

const Directive::Arg* Directive::Find(std::string_view key) const {
  const auto at =
      std::find_if(args.begin(), args.end(), [key](const Arg& arg) { return arg.key == key; });
  return at == args.end() ? nullptr : &*at;
}

std::string Directive::Value(std::string_view key, std::string_view otherwise) const {
  const Arg* arg = Find(key);
  if (arg == nullptr || arg->values.empty()) return std::string(otherwise);
  return arg->values.front();
}

std::vector<uint64_t> Directive::Numbers() const {
  std::vector<uint64_t> numbers;
  for (const Arg& arg : args) {
    const bool digits = std::all_of(arg.key.begin(), arg.key.end(),
                                    [](unsigned char c) { return std::isdigit(c); });
    if (arg.values.empty() && digits) numbers.push_back(std::stoull(arg.key));
  }
  return numbers;
}

std::string GoldenFolder(std::string_view name) {
  const char* chosen = std::getenv("MS_GOLDENS");  // tools/dev goldens DIR
  const std::string root =
      chosen != nullptr ? chosen : std::string(MS_SHARED_DIR) + "/goldens/raft";
  const std::string folder = root + "/" + std::string(name);
  return std::filesystem::is_directory(folder) ? folder : "";
}

std::vector<std::string> GoldenFiles(std::string_view folder) {
  std::vector<std::string> files;
  const std::string path = GoldenFolder(folder);
  if (path.empty()) return files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<Directive> ParseScript(const std::string& path) {
  const std::vector<std::string> lines = ReadLines(path);
  std::vector<Directive> script;
  size_t i = 0;
  while (i < lines.size()) {
    if (Blank(lines[i]) || lines[i].front() == '#') {
      ++i;
      continue;
    }
    Directive directive;
    directive.file = path;
    directive.line = static_cast<int>(i + 1);
    std::string line = lines[i++];
    while (line.back() == '\\' && i < lines.size()) {
      line.back() = ' ';
      line += lines[i++];
    }
    ParseCommand(line, directive);
    for (; i < lines.size() && lines[i] != "----"; ++i) directive.input += lines[i] + "\n";
    for (++i; i < lines.size() && !Blank(lines[i]); ++i) directive.expected += lines[i] + "\n";
    script.push_back(std::move(directive));
  }
  return script;
}

void RunScript(const std::string& path, const std::function<std::string(const Directive&)>& run,
               const std::function<std::string(const std::string&)>& normalize) {
  const std::vector<Directive> script = ParseScript(path);
  ASSERT_FALSE(script.empty()) << path;
  for (const Directive& directive : script) {
    std::string actual = run(directive);
    if (!actual.empty() && actual.back() != '\n') actual += '\n';
    ASSERT_EQ(normalize(directive.expected), normalize(actual))
        << path << ":" << directive.line << ": " << directive.command;
  }
}

}  // namespace metastore::raft
