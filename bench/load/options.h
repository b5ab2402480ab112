// The command line of the benchmark programs: "--name value" or "--name=value", switches without a
// value.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace metastore::bench {

// The parts between commas.
inline std::vector<std::string> SplitList(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return parts;
}

// Empty: not a list of ports.
inline std::vector<uint16_t> PortsOf(const std::string& list) {
  std::vector<uint16_t> ports;
  for (const std::string& part : SplitList(list)) {
    char* end = nullptr;
    const unsigned long port = std::strtoul(part.c_str(), &end, 10);
    if (part.empty() || *end != '\0' || port == 0 || port > 65535) return {};
    ports.push_back(static_cast<uint16_t>(port));
  }
  return ports;
}

class CommandLine final {
 public:
  // `usage` is printed for --help and after a mistake, both of which end the program.
  explicit CommandLine(std::string_view usage) : usage_(usage) {}

  void Text(std::string_view name, std::string* value) { options_[Key(name)].text = value; }
  void Number(std::string_view name, double* value) { options_[Key(name)].number = value; }
  void Count(std::string_view name, uint64_t* value) { options_[Key(name)].count = value; }
  void Switch(std::string_view name, bool* value) { options_[Key(name)].on = value; }

  void Parse(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
      std::string name = argv[i];
      if (name == "--help" || name == "-h") Stop(0, "");
      std::string value;
      const size_t equals = name.find('=');
      const bool joined = equals != std::string::npos;
      if (joined) value = name.substr(equals + 1);
      name = name.substr(0, equals);
      const auto found = options_.find(name);
      if (found == options_.end()) Stop(2, "unknown option " + name);
      if (found->second.on != nullptr) {
        *found->second.on = true;
        continue;
      }
      if (!joined) {
        if (i + 1 == argc) Stop(2, name + " needs a value");
        value = argv[++i];
      }
      Set(found->second, name, value);
    }
  }

  [[noreturn]] void Stop(int status, const std::string& why) const {
    if (!why.empty()) std::fprintf(stderr, "%s\n", why.c_str());
    std::fprintf(status == 0 ? stdout : stderr, "%s", usage_.c_str());
    std::exit(status);
  }

 private:
  struct Option {
    std::string* text = nullptr;
    double* number = nullptr;
    uint64_t* count = nullptr;
    bool* on = nullptr;
  };

  static std::string Key(std::string_view name) { return "--" + std::string(name); }

  void Set(const Option& option, const std::string& name, const std::string& value) const {
    char* end = nullptr;
    errno = 0;
    if (option.text != nullptr) *option.text = value;
    if (option.number != nullptr) *option.number = std::strtod(value.c_str(), &end);
    if (option.count != nullptr) *option.count = std::strtoull(value.c_str(), &end, 10);
    const bool negative = option.text == nullptr && value.find('-') != std::string::npos;
    if (end != nullptr && (value.empty() || *end != '\0' || errno != 0 || negative)) {
      Stop(2, name + ": not a number that fits: " + value);
    }
  }

  std::string usage_;
  std::map<std::string, Option> options_;
};

}  // namespace metastore::bench
