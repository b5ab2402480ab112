// metactl config check: what metastore would run with, without running it.

#include <cstdio>

#include "server/config.h"
#include "tools/metactl/commands.h"

namespace metastore::metactl {
namespace {

// What an empty value stands for.
std::string Derived(const server::FlagInEffect& flag, const server::Config& config) {
  if (flag.name == "data-dir") return config.member.data_dir;
  if (flag.name == "wal-dir") return config.member.data_dir + "/member/wal";
  if (flag.name != "initial-cluster") return "";
  std::string members;
  for (const server::InitialMember& member : config.cluster.initial_cluster) {
    for (const std::string& url : member.peer_urls) {
      members += Concat(members.empty() ? "" : ",", member.name, "=", url);
    }
  }
  return members;
}

std::string LineOf(const server::FlagInEffect& flag, const server::Config& config) {
  std::string line = Concat("  --", flag.name, "=");
  line += flag.value.empty() ? Derived(flag, config) : flag.value;
  if (flag.origin.empty()) return line + "\n";
  line.resize(std::max<size_t>(line.size() + 2, 44), ' ');
  return Concat(line, "from ", flag.origin, "\n");
}

}  // namespace

int RunConfigCheck(const std::vector<std::string>& flags) {
  std::vector<const char*> arguments = {"metastore"};
  for (const std::string& flag : flags) arguments.push_back(flag.c_str());
  const StatusOr<server::ParsedConfig> parsed = server::ParseConfig(
      static_cast<int>(arguments.size()), arguments.data(), server::ProcessConfigSources());
  if (!parsed.ok()) {
    Complain(std::string(parsed.status().message()));
    return kExitBad;
  }
  std::string text = parsed->text;  // --help or --version among the flags
  if (parsed->action == server::ConfigAction::kRun) {
    text = "the configuration is valid\n";
    for (const std::string& warning : parsed->warnings) text += Concat("warning: ", warning, "\n");
    text += "in effect (an origin where it is not the default):\n";
    for (const server::FlagInEffect& flag : parsed->flags) text += LineOf(flag, parsed->config);
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitOk;
}

}  // namespace metastore::metactl
