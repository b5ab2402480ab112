#include "server/config.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "server/config_flags.h"

extern char** environ;

namespace metastore::server {
namespace {

std::string VersionText() {
  return Concat("metastore Version: ", kMetaStoreVersion, "\netcd API Version: ", kEtcdVersion,
                "\n");
}

// Reads at most one byte more than a configuration may have (config_yaml.cc refuses such a text).
StatusOr<std::string> ReadWholeFile(const std::string& path) {
  std::string content(kConfigFileBytesMax + 1, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFoundError("cannot open it: ", std::strerror(errno));
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (file.bad()) return UnavailableError("cannot read it: ", std::strerror(errno));
  content.resize(static_cast<size_t>(file.gcount()));
  return content;
}

// The file to read, from the flag or the variable; empty: none.
std::string ConfigFilePath(const Gathered& flags, const Gathered& environment) {
  for (const Gathered* gathered : {&flags, &environment}) {
    const auto found = gathered->settings.find("config-file");
    if (found != gathered->settings.end()) return found->second.value;
  }
  return "";
}

// etcd: a flag and its variable together are fatal, whatever they say.
void CheckConflicts(const Gathered& flags, const Gathered& environment,
                    std::vector<std::string>& problems) {
  for (const auto& [name, setting] : environment.settings) {
    if (flags.settings.find(name) == flags.settings.end()) continue;
    problems.push_back(Concat("conflicting environment variable \"", EnvironmentName(name),
                              "\" is shadowed by corresponding command-line flag (either unset "
                              "environment variable or disable flag)"));
  }
}

void Append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// The settings that count when a file is named: the file's alone.
Gathered FromFile(const std::string& path, const ConfigSources& sources) {
  StatusOr<std::string> text = sources.read_file(path);
  if (text.ok()) return ReadYaml(*text, path);
  Gathered failed;
  failed.problems.push_back(Concat(path, ": ", StdView(text.status().message())));
  return failed;
}

void WarnOfIgnored(const Gathered& ignored, std::string_view path,
                   std::vector<std::string>& warnings) {
  for (const auto& [name, setting] : ignored.settings) {
    if (name == "config-file") continue;
    warnings.push_back(Concat(setting.origin, ": ignored, since the configuration is ", path));
  }
}

std::vector<FlagInEffect> FlagsInEffect(const Settings& settings) {
  std::vector<FlagInEffect> flags;
  for (const FlagSection& section : FlagSections()) {
    for (const FlagSpec& flag : section.flags) {
      if (flag.effect != FlagEffect::kUsed) continue;
      FlagInEffect& used = flags.emplace_back();
      used.name = flag.name;
      used.value = flag.default_text;
      const auto found = settings.find(flag.name);
      if (found == settings.end()) continue;
      used.value = found->second.value;
      used.origin = found->second.origin;
    }
  }
  return flags;
}

Status Problems(const std::vector<std::string>& problems) {
  std::string text = Concat("the configuration has ", problems.size(),
                            problems.size() == 1 ? " problem:" : " problems:");
  for (const std::string& problem : problems) text += Concat("\n  ", problem);
  return InvalidArgumentError(text);
}

}  // namespace

ConfigSources ProcessConfigSources() {
  ConfigSources sources;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view pair = *entry;
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    sources.environment.emplace(pair.substr(0, equals), pair.substr(equals + 1));
  }
  sources.read_file = ReadWholeFile;
  return sources;
}

Gathered ReadEnvironment(const std::map<std::string, std::string, std::less<>>& environment) {
  static constexpr std::string_view kPrefix = "ETCD_";
  std::map<std::string, std::string_view> flag_by_variable;
  for (const FlagSection& section : FlagSections()) {
    for (const FlagSpec& flag : section.flags) {
      flag_by_variable.emplace(EnvironmentName(flag.name), flag.name);
    }
  }
  for (const FlagAlias& alias : FlagAliases()) {
    flag_by_variable.emplace(EnvironmentName(alias.old_name), alias.old_name);
  }
  Gathered gathered;
  for (const auto& [name, value] : environment) {
    if (!name.starts_with(kPrefix) || value.empty() || name == "ETCD_UNSUPPORTED_ARCH") continue;
    const auto flag = flag_by_variable.find(name);
    if (flag == flag_by_variable.end()) {
      gathered.warnings.push_back(Concat(name, ": unrecognized environment variable"));
      continue;
    }
    gathered.Add(flag->second, value, Concat(name, "=", value));
  }
  return gathered;
}

StatusOr<ParsedConfig> ParseConfig(int argc, const char* const* argv,
                                   const ConfigSources& sources) {
  ParsedConfig parsed;
  Gathered flags = ReadCommandLine(argc, argv);
  if (flags.help || flags.version) {
    parsed.action = ConfigAction::kPrint;
    parsed.text = flags.help ? HelpText() : VersionText();
    return parsed;
  }
  Gathered environment = ReadEnvironment(sources.environment);
  std::vector<std::string> problems = flags.problems;
  CheckConflicts(flags, environment, problems);
  Append(problems, environment.problems);
  Append(parsed.warnings, flags.warnings);
  Append(parsed.warnings, environment.warnings);

  const std::string path = ConfigFilePath(flags, environment);
  Settings settings = flags.settings;
  if (path.empty()) {
    settings.merge(environment.settings);
  } else {
    const Gathered file = FromFile(path, sources);
    Append(problems, file.problems);
    Append(parsed.warnings, file.warnings);
    WarnOfIgnored(flags, path, parsed.warnings);
    WarnOfIgnored(environment, path, parsed.warnings);
    settings = file.settings;
  }
  CheckSettings(settings, problems, parsed.warnings);
  parsed.config = BuildConfig(settings, problems, parsed.warnings);
  if (!problems.empty()) return Problems(problems);
  parsed.flags = FlagsInEffect(settings);
  return parsed;
}

}  // namespace metastore::server
