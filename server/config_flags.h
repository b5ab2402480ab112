// The table of every flag, and the raw settings gathered from arguments, environment and file
// before they are checked.
//
// Internal to the configuration (server/config.h is its surface). One entry a flag: command line,
// environment, file and --help are all driven by the table, so a new flag is one line there and one
// in config_build.cc.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"
#include "server/config.h"

namespace metastore::server {

// Bytes of a configuration file: bounds what one may cost before it is looked at.
inline constexpr size_t kConfigFileBytesMax = 1 << 20;

enum class FlagType : uint8_t { kString, kBool, kUint, kInt, kDuration, kList };

enum class FlagEffect : uint8_t {
  kUsed,        // becomes a field of Config
  kNone,        // its effect cannot exist in this server: accepted, with a warning
  kNotOffered,  // its feature is not here: only the default is accepted
};

struct FlagSpec {
  std::string_view name;
  FlagType type;
  std::string_view default_text;
  FlagEffect effect;
  // kUsed: what it sets. kNone: why there is nothing to set. kNotOffered: what is missing.
  std::string_view note;
};

// All flags, by section of --help.
struct FlagSection {
  std::string_view title;
  std::span<const FlagSpec> flags;
};
std::span<const FlagSection> FlagSections();

// nullptr: no such flag. Follows `old spellings` (--experimental-x) to their flag.
const FlagSpec* FindFlag(std::string_view name);

// An old spelling of a flag, as etcd 3.5 and 3.6 have them.
struct FlagAlias {
  std::string_view old_name;
  std::string_view name;
};
std::span<const FlagAlias> FlagAliases();

// --help.
std::string HelpText();

// ETCD_DATA_DIR for data-dir.
std::string EnvironmentName(std::string_view flag);

// One value as somebody wrote it.
struct Setting {
  std::string value;
  std::string origin;  // for messages: --name=a, ETCD_NAME=a, name: a in /etc/metastore.yml
};

// By the flag's present name.
using Settings = std::map<std::string, Setting, std::less<>>;

struct Gathered {
  Settings settings = {};
  std::vector<std::string> problems = {};
  std::vector<std::string> warnings = {};
  bool help = false;
  bool version = false;

  // Enters a value under its flag's present name. Both spellings of one flag are a problem.
  void Add(std::string_view flag_name, std::string value, std::string origin);
};

// Arguments, in Go's forms: -flag and --flag, =value or the next argument; the last of several
// counts.
Gathered ReadCommandLine(int argc, const char* const* argv);

// ETCD_* variables: empty ones count as unset, unknown ones give a warning.
Gathered ReadEnvironment(const std::map<std::string, std::string, std::less<>>& environment);

// A YAML (or JSON) file of flag names and etcd's maps (client-transport-security and so on).
// Durations are integer nanoseconds there, or spelled with units.
Gathered ReadYaml(std::string_view text, std::string_view path);

// Checks the settings' types and whether this server offers them; problems and warnings are
// appended.
void CheckSettings(const Settings& settings, std::vector<std::string>& problems,
                   std::vector<std::string>& warnings);

// Makes the typed configuration of settings that CheckSettings has seen; problems and warnings are
// appended.
Config BuildConfig(const Settings& settings, std::vector<std::string>& problems,
                   std::vector<std::string>& warnings);

}  // namespace metastore::server
