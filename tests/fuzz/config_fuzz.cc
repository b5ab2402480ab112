// Aim: no configuration file, however malformed, makes the parser crash, hang or throw. Method: the
// input is the file's text, or, after a first byte of 'A', the command line's arguments one a line.
#include <string>
#include <string_view>
#include <vector>

#include "io/base/check.h"
#include "server/config.h"
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> arguments{"metastore", "--config-file=c.yml"};
  if (input.starts_with('A')) {
    arguments = Lines(input.substr(1));
    arguments.insert(arguments.begin(), "metastore");
  }
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  server::ConfigSources sources;
  sources.read_file = [&](const std::string&) -> metastore::StatusOr<std::string> {
    return std::string(input);
  };
  const auto parsed = server::ParseConfig(static_cast<int>(argv.size()), argv.data(), sources);
  if (!parsed.ok() || parsed->action != server::ConfigAction::kRun) return 0;

  // What was accepted holds what config.h promises.
  const server::Config& config = parsed->config;
  CHECK(!config.member.name.empty() && !config.member.data_dir.empty());
  CHECK(!config.member.listen_client_urls.empty());
  CHECK(config.raft.election_ticks() >= 5);
  CHECK(server::MakeBootstrap(config.cluster, config.member.name).ok());
  return 0;
}
