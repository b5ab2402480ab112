#include "tools/walinspect/json.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "io/log.h"

namespace metastore::walinspect {

void JsonWriter::Lead(std::string_view key) {
  if (!first_) text_ += ',';
  first_ = false;
  if (key.empty()) return;
  text_ += io::JsonString(key);
  text_ += ':';
}

void JsonWriter::Begin(std::string_view key, char bracket) {
  Lead(key);
  text_ += bracket;
  first_ = true;
}

void JsonWriter::End(char bracket) {
  text_ += bracket;
  first_ = false;
}

void JsonWriter::Put(std::string_view key, std::string_view value) {
  Lead(key);
  text_ += value;
}

void JsonWriter::Text(std::string_view key, std::string_view value) {
  Put(key, io::JsonString(value));
}

void JsonWriter::Real(std::string_view key, double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  Put(key, std::isfinite(value) ? text : "null");
}

std::string JsonWriter::Take() {
  first_ = true;
  return std::exchange(text_, std::string()) + "\n";
}

}  // namespace metastore::walinspect
