// Reads recorded scripts: blocks of a directive, optional input, "----" and the expected output.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace metastore::raft {

struct Directive {
  struct Arg {
    std::string key;
    std::vector<std::string> values;
  };

  std::string file;
  int line = 0;
  std::string command;
  std::vector<Arg> args;
  std::string input;
  std::string expected;

  const Arg* Find(std::string_view key) const;
  // The first value of `key`, or `otherwise`.
  std::string Value(std::string_view key, std::string_view otherwise) const;
  bool Flag(std::string_view key) const { return Value(key, "false") == "true"; }
  // Arguments without a value that are numbers, in order.
  std::vector<uint64_t> Numbers() const;
};

// Path of a folder of recorded scripts, empty when it is not there (the test is then skipped).
std::string GoldenFolder(std::string_view name);
std::vector<std::string> GoldenFiles(std::string_view folder);

std::vector<Directive> ParseScript(const std::string& path);
// Runs every block of a script and expects its output to be the same, text for text. `normalize` is
// done to both sides first.
void RunScript(const std::string& path, const std::function<std::string(const Directive&)>& run,
               const std::function<std::string(const std::string&)>& normalize);

}  // namespace metastore::raft
