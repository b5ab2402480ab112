// What can be said of a setting alone: its type, and whether this server has what it asks for.
#include "io/base/check.h"
#include "server/config_flags.h"
#include "server/config_values.h"

namespace metastore::server {
namespace {

// One spelling for all spellings of a value, so that values compare.
StatusOr<std::string> Canonical(FlagType type, const std::string& text) {
  switch (type) {
    case FlagType::kString:
      return text;
    case FlagType::kBool: {
      const StatusOr<bool> value = ParseBool(text);
      if (!value.ok()) return value.status();
      return std::string(*value ? "true" : "false");
    }
    case FlagType::kUint: {
      const StatusOr<uint64_t> value = ParseUint(text);
      if (!value.ok()) return value.status();
      return std::to_string(*value);
    }
    case FlagType::kInt: {
      const StatusOr<int64_t> value = ParseInt(text);
      if (!value.ok()) return value.status();
      return std::to_string(*value);
    }
    case FlagType::kDuration: {
      const StatusOr<Duration> value = ParseDuration(text);
      if (!value.ok()) return value.status();
      return std::to_string(value->ns);
    }
    case FlagType::kList: {
      std::string joined;
      for (const std::string& part : SplitList(text)) joined += part + ",";
      return joined;
    }
  }
  CHECK(false);
}

}  // namespace

void CheckSettings(const Settings& settings, std::vector<std::string>& problems,
                   std::vector<std::string>& warnings) {
  for (const auto& [name, setting] : settings) {
    const FlagSpec* flag = FindFlag(name);
    CHECK(flag != nullptr);
    const StatusOr<std::string> value = Canonical(flag->type, setting.value);
    if (!value.ok()) {
      problems.push_back(Concat(setting.origin, ": ", StdView(value.status().message())));
      continue;
    }
    const bool is_default = *value == *Canonical(flag->type, std::string(flag->default_text));
    if (is_default || flag->effect == FlagEffect::kUsed) continue;
    if (flag->effect == FlagEffect::kNone) {
      warnings.push_back(Concat(setting.origin, ": no effect: ", flag->note));
      continue;
    }
    problems.push_back(Concat(setting.origin, ": not offered: ", flag->note,
                              "; leave it at its default, \"", flag->default_text, "\""));
  }
}

}  // namespace metastore::server
