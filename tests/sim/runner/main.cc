// The whole-cluster simulation over many seeds: `./tools/dev sim` runs it.
//
//   cluster_sim [--seeds N] [--from S] [--nodes 1|3|5] [--reactors 1|2] [--seconds T] [--leases]
//               [--trace]
//   cluster_sim --mutations | --mutation NAME  [--seeds N] ...
//
// A failing seed prints its problems, the machines' last log lines and the command that replays it.
// The last line is `N seeds, M failed`; the exit status is 1 if M is not 0.
//
// --mutation plants a bug of server/mutation.h and stops at the first seed that fails; --mutations
// does so for each, in a process of its own, and says what found it. Its last line is
// `N mutations, M not found`. Builds with MS_MUTATIONS only.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <string_view>

#include "server/mutation.h"
#include "tests/sim/cluster_run.h"

namespace metastore::sim_test {
namespace {

struct RunnerOptions {
  uint64_t seeds = 100;
  uint64_t from = 1;
  int nodes = 3;
  int reactors = 0;
  int64_t seconds = 20;
  bool leases = false;
  bool trace = false;
  std::string mutation;
  bool mutations = false;
};

[[noreturn]] void Usage() {
  std::fputs(
      "usage: cluster_sim [--seeds N] [--from S] [--nodes 1|3|5] [--reactors 1|2]\n"
      "                   [--seconds T] [--leases] [--trace]\n"
      "  --seeds N      how many (100)\n"
      "  --from S       the first (1)\n"
      "  --nodes N      members that found the cluster (3)\n"
      "  --reactors N   cores of each (as the seed has it)\n"
      "  --seconds T    virtual seconds with faults (20)\n"
      "  --leases       lease reads in all; else every fourth seed has them\n"
      "  --trace        faults and what comes of them, as they happen\n"
      "  --mutation M   plants a bug of server/mutation.h; stops when it is found\n"
      "  --mutations    each of them in turn\n",
      stderr);
  std::exit(2);
}

RunnerOptions Parse(int argc, char** argv) {
  RunnerOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--trace" || flag == "--mutations" || flag == "--leases") {
      bool& chosen = flag == "--trace"    ? options.trace
                     : flag == "--leases" ? options.leases
                                          : options.mutations;
      chosen = true;
      continue;
    }
    if (i + 1 == argc) Usage();
    if (flag == "--mutation") {
      options.mutation = argv[++i];
      continue;
    }
    char* end = nullptr;
    const uint64_t value = std::strtoull(argv[++i], &end, 10);
    if (*end != '\0') Usage();
    if (flag == "--seeds") {
      options.seeds = value;
    } else if (flag == "--from") {
      options.from = value;
    } else if (flag == "--nodes" && (value == 1 || value == 3 || value == 5)) {
      options.nodes = static_cast<int>(value);
    } else if (flag == "--reactors" && (value == 1 || value == 2)) {
      options.reactors = static_cast<int>(value);
    } else if (flag == "--seconds" && value >= 1 && value <= 3600) {
      options.seconds = static_cast<int64_t>(value);
    } else {
      Usage();
    }
  }
  return options;
}

std::string ReplayCommand(const RunnerOptions& options, uint64_t seed) {
  std::string command =
      Concat("./tools/dev sim --seeds 1 --from ", seed, " --nodes ", options.nodes);
  if (options.reactors != 0) command += Concat(" --reactors ", options.reactors);
  if (options.seconds != RunnerOptions().seconds) command += Concat(" --seconds ", options.seconds);
  if (options.leases) command += " --leases";
  return command + " --trace";
}

// The seed under way, for a failed CHECK: the handler may only write what is there.
std::string replay_of_abort;

void SayReplay(int /*signal*/) {
  static_cast<void>(write(STDOUT_FILENO, replay_of_abort.data(), replay_of_abort.size()));
}

#ifdef MS_MUTATIONS

bool PlantNamed(std::string_view name) {
  for (const MutationName<server::Mutation>& known : server::Mutations()) {
    if (known.name != name) continue;
    Plant(known.mutation);
    return true;
  }
  return false;
}

// The first line that says what is wrong, of a process with the bug; empty: nothing does.
std::string WhatFinds(const RunnerOptions& options, std::string_view name) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command =
      Concat("'", program, "' --mutation ", name, " --nodes ", options.nodes, " --seeds ",
             options.seeds, " --from ", options.from, " --seconds ", options.seconds,
             options.leases || name.starts_with("lease-") ? " --leases" : "", " 2>&1");
  FILE* const output = popen(command.c_str(), "r");
  if (output == nullptr) return "";
  std::string found;
  uint64_t begun = 0;
  char line[1024];
  while (std::fgets(line, sizeof line, output) != nullptr) {
    const std::string_view text(line);
    if (text.starts_with("begin ")) ++begun;
    const bool says = text.starts_with("  at ") || text.find("CHECK") != std::string_view::npos;
    if (found.empty() && says) found = text.substr(0, text.find('\n'));
  }
  const int status = pclose(output);
  if (status == 0) return "";
  if (found.empty()) found = "the process ends";
  return Concat(begun, begun == 1 ? " seed: " : " seeds: ", found);
}

int RunMutations(const RunnerOptions& options) {
  uint64_t missed = 0;
  for (const MutationName<server::Mutation>& mutation : server::Mutations()) {
    const std::string found = WhatFinds(options, mutation.name);
    if (found.empty()) ++missed;
    std::printf("| `%s` | %s |\n", std::string(mutation.name).c_str(),
                found.empty() ? "NOT FOUND" : found.c_str());
    std::fflush(stdout);
  }
  std::printf("%zu mutations, %llu not found\n", server::Mutations().size(),
              static_cast<unsigned long long>(missed));
  return missed == 0 ? 0 : 1;
}

#else

bool PlantNamed(std::string_view /*name*/) { return false; }
int RunMutations(const RunnerOptions& /*options*/) { Usage(); }

#endif

int Run(int argc, char** argv) {
  const RunnerOptions options = Parse(argc, argv);
  if (options.mutations) return RunMutations(options);
  if (!options.mutation.empty() && !PlantNamed(options.mutation)) Usage();
  std::signal(SIGABRT, SayReplay);
  ClusterRunTotals totals;
  uint64_t failed = 0;
  for (uint64_t seed = options.from; seed < options.from + options.seeds; ++seed) {
    if (!options.mutation.empty()) {
      std::printf("begin %llu\n", static_cast<unsigned long long>(seed));
      std::fflush(stdout);
    }
    replay_of_abort = Concat("replay: ", ReplayCommand(options, seed), "\n");
    const ClusterRunReport report = RunCluster({.seed = seed,
                                                .nodes = options.nodes,
                                                .reactors = options.reactors,
                                                .leases = options.leases,
                                                .faults_for = Seconds(options.seconds),
                                                .trace = options.trace});
    totals.Add(report);
    if (options.trace) std::fputs(report.logs.c_str(), stdout);
    if (report.problems.empty()) continue;
    ++failed;
    std::printf("seed %llu failed:\n", static_cast<unsigned long long>(seed));
    for (const std::string& problem : report.problems) std::printf("  %s\n", problem.c_str());
    if (!options.trace) std::fputs(report.logs.c_str(), stdout);
    std::printf("replay: %s\n", ReplayCommand(options, seed).c_str());
    std::fflush(stdout);
    if (!options.mutation.empty()) return 1;
  }
  const double seconds = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  std::fputs(totals.Print().c_str(), stdout);
  std::printf("%.1f s of processor time, %.2f s a seed\n", seconds,
              seconds / static_cast<double>(options.seeds));
  std::printf("%llu seeds, %llu failed\n", static_cast<unsigned long long>(options.seeds),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace metastore::sim_test

int main(int argc, char** argv) { return metastore::sim_test::Run(argc, argv); }
