// Aim: no configuration file, however malformed, makes the parser crash, hang or throw. Method: the
// input is the file's text, or, after a first byte of 'A', the command line's arguments one a line.
#include <string>
#include <string_view>
#include <vector>

#include "io/base/check.h"
#include "server/config.h"
#include "server/config_flags.h"
#include "server/membership.h"

namespace {

namespace server = metastore::server;

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < 64) {
    const size_t end = text.find('\n');
    std::string line(text.substr(0, end));
    lines.push_back(line.substr(0, line.find('\0')));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

// What was accepted holds what config.h promises.
void CheckConfig(const server::Config& config) {
  CHECK(!config.member.name.empty() && !config.member.data_dir.empty());
  CHECK(!config.member.listen_client_urls.empty());
  CHECK(config.raft.election_ticks() >= 5);
  CHECK(server::MakeBootstrap(config.cluster, config.member.name).ok());
}

// Without the command line, which is slow to set up.
void FuzzFile(std::string_view text) {
  server::Gathered file = server::ReadYaml(text, "c.yml");
  server::CheckSettings(file.settings, file.problems, file.warnings);
  const server::Config config = server::BuildConfig(file.settings, file.problems, file.warnings);
  if (file.problems.empty()) CheckConfig(config);
}

void FuzzArguments(std::string_view text) {
  std::vector<std::string> arguments = Lines(text);
  arguments.insert(arguments.begin(), "metastore");
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  server::ConfigSources sources;
  sources.read_file = [](const std::string&) -> metastore::StatusOr<std::string> {
    return metastore::NotFoundError("no files here");
  };
  const auto parsed = server::ParseConfig(static_cast<int>(argv.size()), argv.data(), sources);
  if (parsed.ok() && parsed->action == server::ConfigAction::kRun) CheckConfig(parsed->config);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with('A')) {
    FuzzArguments(input.substr(1));
  } else {
    FuzzFile(input);
  }
  return 0;
}
