// metactl: the operator's tool: how nodes are, whether a configuration is right, what is in a data
// directory.

#include <curl/curl.h>

#include <CLI/CLI.hpp>
#include <string>

#include "server/config.h"
#include "tools/metactl/commands.h"
#include "tools/metactl/http_client.h"

namespace metastore::metactl {
namespace {

constexpr const char* kExitCodes =
    "Exit code: 0 all is well, 1 looked and found something wrong (unhealthy, damaged, an invalid\n"
    "configuration), 2 wrong command line, 3 could not look (no connection, no answer in time, "
    "not\n"
    "a MetaStore server, no such directory). Of several endpoints: the highest.";

struct Arguments {
  std::string endpoints = "http://127.0.0.1:2379";
  double timeout_s = 5;
  NodesRequest nodes;
  DataRequest data;
};

// `footer`: examples.
CLI::App& AddCommand(CLI::App& parent, const char* name, const char* what, const char* footer) {
  CLI::App& command = *parent.add_subcommand(name, what);
  command.footer(footer);
  return command;
}

CLI::App& AddNodeCommand(CLI::App& app, Arguments& arguments, const char* name, const char* what,
                         const char* footer) {
  CLI::App& command = AddCommand(app, name, what, footer);
  command.add_option("--endpoints", arguments.endpoints, "client URLs, separated by commas")
      ->capture_default_str();
  command.add_option("--timeout", arguments.timeout_s, "seconds to wait for one page")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  return command;
}

int RunOnNodes(int (*run)(const NodesRequest&), Arguments& arguments) {
  StatusOr<std::vector<std::string>> endpoints = ParseEndpoints(arguments.endpoints);
  if (!endpoints.ok()) {
    Complain(std::string(endpoints.status().message()));
    return kExitUsage;
  }
  arguments.nodes.endpoints = *std::move(endpoints);
  arguments.nodes.timeout_ms = static_cast<long>(arguments.timeout_s * 1000);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const int code = run(arguments.nodes);
  curl_global_cleanup();
  return code;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"The operator's tool of MetaStore. 'metactl COMMAND --help' has examples."};
  app.name("metactl");
  app.set_version_flag("--version", std::string(server::kMetaStoreVersion));
  app.footer(kExitCodes);
  app.require_subcommand(1);

  CLI::App& status = AddNodeCommand(
      app, arguments, "status", "what nodes say of themselves: health, revision, log, latency",
      "Examples:\n  metactl status\n"
      "  metactl status --endpoints 10.0.0.1:2379,10.0.0.2:2379 --json");
  status.add_flag("--json", arguments.nodes.json, "one JSON object a node, a line each");
  CLI::App& health =
      AddNodeCommand(app, arguments, "health", "whether nodes serve: a linearizable read each",
                     "Examples:\n  metactl health\n  metactl health --timeout 1 && echo serving");
  health.add_flag("--json", arguments.nodes.json, "one JSON object a node, a line each");
  CLI::App& metrics = AddNodeCommand(
      app, arguments, "metrics", "the text of /metrics (docs/METRICS.md says what each means)",
      "Examples:\n  metactl metrics --match metastore_wal_\n"
      "  metactl metrics --match etcd_disk_wal_fsync_duration_seconds");
  metrics.add_option("--match", arguments.nodes.match, "only names that begin with this");

  CLI::App& config = AddCommand(app, "config", "the server's configuration", "");
  config.require_subcommand(1);
  CLI::App& check = AddCommand(
      config, "check", "lists every problem at once, else what is in effect; starts nothing",
      "Takes the flags of metastore, and ETCD_* variables as it does.\n"
      "Examples:\n  metactl config check --config-file /etc/metastore/metastore.yml\n"
      "  metactl config check --name a --data-dir /var/lib/a --snapshot-count 5000");
  check.prefix_command();

  CLI::App& data =
      AddCommand(app, "data", "read-only look at a data directory, also of a running node",
                 "Examples:\n  metactl data /var/lib/metastore\n"
                 "  metactl data default.etcd --wal-dir /fast/wal --json");
  data.add_option("dir", arguments.data.directory, "the node's --data-dir")->required();
  data.add_option("--wal-dir", arguments.data.log_directory, "the node's --wal-dir, if it has one");
  data.add_flag("--json", arguments.data.json, "one JSON object");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (status) return RunOnNodes(RunStatus, arguments);
  if (health) return RunOnNodes(RunHealth, arguments);
  if (metrics) return RunOnNodes(RunMetrics, arguments);
  if (check) return RunConfigCheck(check.remaining());
  return RunData(arguments.data);
}

}  // namespace
}  // namespace metastore::metactl

int main(int argc, char** argv) { return metastore::metactl::Main(argc, argv); }
