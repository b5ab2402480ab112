#include "tests/raft/datadriven.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <sstream>

namespace metastore::raft {
namespace {

constexpr std::string_view kSeparator = "----";

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

bool Space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

bool Blank(const std::string& line) { return std::all_of(line.begin(), line.end(), Space); }

// Words of a directive; a parenthesised list belongs to its word, blanks and all.
StatusOr<std::vector<std::string>> Words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  int depth = 0;
  for (const char c : line) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (!Space(c)) {
      word += c;
    } else if (depth == 0 && !word.empty()) {
      words.push_back(std::exchange(word, ""));
    }
  }
  if (depth != 0) return InvalidArgumentError("a list does not close: ", line);
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
    if (!item.empty()) arg.values.push_back(std::exchange(item, ""));
  }
  return arg;
}

// Walks the lines of a script.
class Parser {
 public:
  explicit Parser(const std::string& text) : lines_(Lines(text)) {}

  StatusOr<std::vector<Directive>> Run() {
    std::vector<Directive> script;
    while (SkipToDirective()) {
      StatusOr<Directive> block = Block();
      if (!block.ok()) return block.status();
      script.push_back(*std::move(block));
    }
    return script;
  }

 private:
  bool SkipToDirective() {
    while (!AtEnd() && (Blank(lines_[at_]) || lines_[at_].front() == '#')) ++at_;
    return !AtEnd();
  }

  StatusOr<Directive> Block() {
    const int line = Here();
    std::string text = lines_[at_++];
    while (text.ends_with('\\') && !AtEnd()) {
      text.back() = ' ';
      text += lines_[at_++];
    }
    StatusOr<Directive> block = ParseDirective(text);
    if (!block.ok()) return Annotate(block.status(), Concat("line ", line));
    block->line = line;
    for (; !AtEnd() && lines_[at_] != kSeparator; ++at_) block->input.push_back(lines_[at_]);
    if (AtEnd()) return InvalidArgumentError("line ", line, ": no ---- after ", block->command);
    ++at_;
    const bool fenced = !AtEnd() && lines_[at_] == kSeparator;
    if (fenced) ++at_;
    block->expected_line = Here();
    while (!AtEnd() && !(fenced ? Fence() : Blank(lines_[at_]))) {
      block->expected.push_back(lines_[at_++]);
    }
    if (fenced && AtEnd()) return InvalidArgumentError("line ", line, ": no second ----");
    if (fenced) at_ += 2;
    return block;
  }

  bool AtEnd() const { return at_ >= lines_.size(); }
  bool Fence() const {
    return lines_[at_] == kSeparator && at_ + 1 < lines_.size() && lines_[at_ + 1] == kSeparator;
  }
  int Here() const { return static_cast<int>(at_ + 1); }

  std::vector<std::string> lines_;
  size_t at_ = 0;
};

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

bool Directive::Flag(std::string_view key) const {
  const std::string value = Value(key, "false");
  return value == "true" || value == "t" || value == "1";
}

uint64_t Directive::Number(std::string_view key, uint64_t otherwise) const {
  return ParseNumber(Value(key, "")).value_or(otherwise);
}

std::vector<uint64_t> Directive::Numbers() const {
  std::vector<uint64_t> numbers;
  for (const Arg& arg : args) {
    const std::optional<uint64_t> number = ParseNumber(arg.key);
    if (arg.values.empty() && number) numbers.push_back(*number);
  }
  return numbers;
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

StatusOr<Directive> ParseDirective(const std::string& line) {
  const StatusOr<std::vector<std::string>> words = Words(line);
  if (!words.ok()) return words.status();
  if (words->empty()) return InvalidArgumentError("no command");
  Directive directive;
  directive.command = words->front();
  for (size_t i = 1; i < words->size(); ++i) directive.args.push_back(ParseArg((*words)[i]));
  return directive;
}

StatusOr<std::vector<Directive>> ParseScript(const std::string& text) { return Parser(text).Run(); }

}  // namespace metastore::raft
