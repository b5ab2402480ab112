// Reads recorded scripts: blocks of a directive, optional input, "----" and the expected output.
//
// Blank lines and lines that begin with '#' separate blocks; a directive ends with its line unless
// that ends in '\'. The output ends at the first blank line; one that has blank lines stands
// between two pairs of "----".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"

namespace metastore::raft {

struct Directive {
  struct Arg {
    std::string key;
    std::vector<std::string> values;
  };

  int line = 0;
  std::string command;
  std::vector<Arg> args;
  std::vector<std::string> input;
  std::vector<std::string> expected;
  int expected_line = 0;  // of its first line

  const Arg* Find(std::string_view key) const;
  // The first value of `key`, or `otherwise`.
  std::string Value(std::string_view key, std::string_view otherwise) const;
  bool Flag(std::string_view key) const;
  uint64_t Number(std::string_view key, uint64_t otherwise) const;
  // Arguments without a value that are numbers, in order.
  std::vector<uint64_t> Numbers() const;
};

// Nothing unless all of `text` is a decimal number.
std::optional<uint64_t> ParseNumber(std::string_view text);

// The directive on a line of its own, without input and output.
// Errors: kInvalidArgument   no command, or a list that does not close
StatusOr<Directive> ParseDirective(const std::string& line);

// The blocks of a script's text, in order.
// Errors: kInvalidArgument   with the line: a directive that does not parse or has no "----"
StatusOr<std::vector<Directive>> ParseScript(const std::string& text);

}  // namespace metastore::raft
