// JSON as walinspect prints it: one compact document, keys in the order they are written. Pure.
//
// Every document is an object whose first key, "schema", names its shape and version
// ("walinspect.stats/1"); README.md lists them. A version grows when a key changes or goes; new
// keys do not change it.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace metastore::walinspect {

class JsonWriter final {
 public:
  // Keys are empty within arrays and at the top.
  void BeginObject(std::string_view key = {}) { Begin(key, '{'); }
  void EndObject() { End('}'); }
  void BeginArray(std::string_view key = {}) { Begin(key, '['); }
  void EndArray() { End(']'); }

  void Text(std::string_view key, std::string_view value);
  void Flag(std::string_view key, bool value) { Put(key, value ? "true" : "false"); }
  // Six significant digits; null where it is no number.
  void Real(std::string_view key, double value);
  template <std::integral T>
  void Number(std::string_view key, T value) {
    Put(key, std::to_string(value));
  }

  // The document and a line's end.
  std::string Take();

 private:
  void Begin(std::string_view key, char bracket);
  void End(char bracket);
  void Put(std::string_view key, std::string_view value);
  void Lead(std::string_view key);

  std::string text_;
  bool first_ = true;  // nothing yet in the innermost object or array
};

}  // namespace metastore::walinspect
