// walinspect: shows, verifies, profiles, compares and repairs the log of a node. Only `repair
// --apply` writes into one.

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "io/gate.h"
#include "io/uring/uring_runtime.h"
#include "tools/walinspect/commands.h"
#include "tools/walinspect/crashtest/command.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

struct Arguments {
  std::string directory;
  std::string format = "text";
  std::string index;
  std::string lsn;
  std::string since;
  std::string until;
  uint64_t group = 0;
  std::string cluster;  // hex
  std::string member;
  bool json = false;
  FsyncOptions fsync;
  std::string export_format = "json";
  std::string other_directory;
  RepairOptions repair;
  LiveOptions live;
  double live_interval_s = 2;
  bool live_once = false;
  bool live_no_trace = false;
  BenchOptions bench;
  double bench_seconds = 30;
};

constexpr const char* kFooter =
    "DIR is the log's directory: DATA-DIR/member/wal, or --wal-dir.\n"
    "Exit code: 0 CLEAN, 1 TORN-TAIL (never acknowledged, cut at the next start), 2 CORRUPT,\n"
    "3 FOREIGN, 4 could not look.";

void DeclareCommon(CLI::App& command, Arguments& arguments) {
  command.add_option("dir", arguments.directory, "the log's directory")->required();
  command.add_flag("--json", arguments.json, "one JSON document, its schema named in it");
}

// Those that had it before --json, which means the same.
void DeclareFormat(CLI::App& command, Arguments& arguments, bool hex) {
  std::vector<std::string> formats{"text", "json"};
  if (hex) formats.push_back("hex");
  command.add_option("--format", arguments.format, "text (default) or json lines")
      ->check(CLI::IsMember(formats));
}

void DeclareFilters(CLI::App& dump, Arguments& arguments) {
  dump.add_option("--group", arguments.group, "only this group's records");
  dump.add_option("--index", arguments.index, "only records of these indexes: A..B, A.., ..B, A");
  dump.add_option("--lsn", arguments.lsn, "only these frames: A..B");
  dump.add_option("--since", arguments.since, "only frames from this time on (RFC 3339, UTC)");
  dump.add_option("--until", arguments.until, "only frames up to this time");
}

StatusOr<uint64_t> ParseHex(const std::string& text) {
  uint64_t value = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lx%c", &value, &rest) == 1) return value;
  return InvalidArgumentError("not a hexadecimal id: ", text);
}

Status FillFilter(const Arguments& arguments, Filter& filter) {
  if (arguments.group != 0) filter.group = GroupId(arguments.group);
  for (const auto& [text, range] :
       {std::pair(&arguments.index, &filter.index), std::pair(&arguments.lsn, &filter.lsn)}) {
    if (text->empty()) continue;
    const StatusOr<Range> parsed = ParseRange(*text);
    if (!parsed.ok()) return parsed.status();
    *range = *parsed;
  }
  for (const auto& [text, time] :
       {std::pair(&arguments.since, &filter.since), std::pair(&arguments.until, &filter.until)}) {
    if (text->empty()) continue;
    const StatusOr<WallTime> parsed = ParseTime(*text);
    if (!parsed.ok()) return parsed.status();
    *time = *parsed;
  }
  return OkStatus();
}

Status WriteFile(const std::string& path, std::string_view bytes) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return PermissionDeniedError("cannot write ", path);
  const bool whole = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const bool closed = std::fclose(file) == 0;
  return whole && closed ? OkStatus() : ResourceExhaustedError("cannot write all of ", path);
}

void ShowProgress(uint64_t done, uint64_t total) {
  if (done >= total) {
    std::fputs("\r\033[K", stderr);
    return;
  }
  std::fprintf(stderr, "\r%s of %s (%u %%)\033[K", BytesText(done).c_str(),
               BytesText(total).c_str(), static_cast<unsigned>(done * 100 / total));
}

size_t TerminalRows() {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_row > 1 ? size.ws_row - 1u : 0u;
}

LiveOptions LiveOptionsOf(const Arguments& arguments) {
  LiveOptions options = arguments.live;
  options.interval = Microseconds(static_cast<int64_t>(arguments.live_interval_s * 1e6));
  options.trace = !arguments.live_no_trace;
  if (arguments.live_once) options.count = 1;
  options.terminal = !arguments.json && options.count == 0 && isatty(STDOUT_FILENO) != 0;
  options.rows = TerminalRows;
  return options;
}

void ShowBenchProgress(double share) {
  if (share >= 1) {
    std::fputs("\r\033[K", stderr);
  } else {
    std::fprintf(stderr, "\r%.0f %%\033[K", share * 100);
  }
}

BenchOptions BenchOptionsOf(const Arguments& arguments) {
  BenchOptions options = arguments.bench;
  options.time = Microseconds(static_cast<int64_t>(arguments.bench_seconds * 1e6));
  options.device = DeviceOf(arguments.directory.empty() ? "." : arguments.directory);
  if (isatty(STDERR_FILENO) != 0) options.progress = ShowBenchProgress;
  return options;
}

StatusOr<Request> RequestOf(const Arguments& arguments) {
  Request request{.directory = arguments.directory.empty() ? "." : arguments.directory};
  if (arguments.json || arguments.format == "json") request.format = DumpFormat::kJson;
  if (arguments.format == "hex") request.format = DumpFormat::kHex;
  request.fsync = arguments.fsync;
  request.export_format = arguments.export_format;
  request.other_directory = arguments.other_directory;
  request.repair = arguments.repair;
  request.live = LiveOptionsOf(arguments);
  request.bench = BenchOptionsOf(arguments);
  Status filled = FillFilter(arguments, request.filter);
  if (!filled.ok()) return filled;
  if (!arguments.cluster.empty() || !arguments.member.empty()) {
    const StatusOr<uint64_t> cluster = ParseHex(arguments.cluster);
    if (!cluster.ok()) return cluster.status();
    const StatusOr<uint64_t> member = ParseHex(arguments.member);
    if (!member.ok()) return member.status();
    request.identity = wal::LogIdentity{ClusterId(*cluster), NodeId(*member)};
  }
  request.print = [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); };
  request.write_file = WriteFile;
  if (isatty(STDERR_FILENO) != 0) request.progress = ShowProgress;
  return request;
}

using Command = io::Task<StatusOr<int>> (*)(io::Runtime&, const Request&);
using Chosen = std::vector<std::pair<CLI::App*, Command>>;

io::Task<void> StopOnSignal(io::uring::UringHost& host, io::StopSource& stop) {
  co_await host.WaitForSignal();
  stop.RequestStop();
}

io::Task<void> RunCommand(io::uring::UringHost& host, Command command, Request request) {
  io::StopSource stop;
  request.live.stop = request.bench.stop = stop.token();
  if (command == Live) {
    // Somebody watches, or a program reads line by line, until it has gone.
    request.print = [&stop](std::string_view text) {
      const bool whole = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
      if (!whole || std::fflush(stdout) != 0) stop.RequestStop();
    };
  }
  io::Gate gate(host.runtime(0).scheduler());
  gate.Spawn("walinspect.signal", io::ReadyClass::kClient, StopOnSignal(host, stop));
  const StatusOr<int> code = co_await command(host.runtime(0), request);
  if (!code.ok()) {
    std::fprintf(stderr, "walinspect: %s\n", std::string(code.status().message()).c_str());
  }
  host.RequestExit(code.ok() ? *code : kExitFailed);
  co_await gate.Close();
}

int Run(Command command, const Request& request) {
  io::uring::UringOptions options;
  options.arena_bytes = 0;  // plain buffers serve: no locked memory for a tool
  options.log.level = io::LogLevel::kError;
  options.handle_signals = command == Live || command == BenchDisk;  // the others just end
  // A closed terminal, too, must not leave the kernel's trace on.
  if (command == Live) std::signal(SIGHUP, [](int) { kill(getpid(), SIGINT); });
  const StatusOr<int> code = io::uring::RunOneTask(
      std::move(options), "walinspect",
      [&](io::uring::UringHost& host) { return RunCommand(host, command, request); });
  if (code.ok()) return *code;
  std::fprintf(stderr, "walinspect: %s\n", std::string(code.status().message()).c_str());
  return kExitFailed;
}

// The commands, each with its own help and examples.

void DeclareLooking(CLI::App& app, Arguments& arguments, Chosen& chosen) {
  CLI::App* list = app.add_subcommand("ls", "the segment files and what is in them");
  DeclareCommon(*list, arguments);
  DeclareFormat(*list, arguments, false);
  CLI::App* dump = app.add_subcommand("dump", "frames and records, commands decoded");
  DeclareCommon(*dump, arguments);
  DeclareFormat(*dump, arguments, true);
  DeclareFilters(*dump, arguments);
  dump->footer(
      "Examples:\n"
      "  walinspect dump /var/lib/metastore/member/wal --group 1 --index 100..120\n"
      "  walinspect dump DIR --since 2026-01-02T03:04:05Z --json");
  CLI::App* verify = app.add_subcommand("verify", "checks every byte that counts");
  DeclareCommon(*verify, arguments);
  DeclareFormat(*verify, arguments, false);
  verify->add_option("--cluster", arguments.cluster, "cluster id (hex) it must belong to");
  verify->add_option("--member", arguments.member, "member id (hex) it must belong to");
  chosen.insert(chosen.end(), {{list, List}, {dump, Dump}, {verify, Verify}});
}

void DeclareProfiling(CLI::App& app, Arguments& arguments, Chosen& chosen) {
  CLI::App* stats = app.add_subcommand(
      "stats", "sizes, batches, records by group and kind, what keeps each segment, boots");
  DeclareCommon(*stats, arguments);
  stats->footer(
      "Examples:\n"
      "  walinspect stats /var/lib/metastore/member/wal\n"
      "  walinspect stats DIR --json | jq .padding_bytes");
  CLI::App* fsync = app.add_subcommand(
      "fsync", "how long durable writes took, from the log alone, and why some took long");
  DeclareCommon(*fsync, arguments);
  fsync->add_option("--svg", arguments.fsync.svg, "also draw the heat map into this file");
  fsync->add_option("--what-if", arguments.fsync.what_if,
                    "replay the requests with other settings:\n"
                    "policy=natural|off|adaptive,depth=1|2,max-batch=N");
  fsync->add_flag("--check", arguments.fsync.check,
                  "exit code 5 unless 99 of 100 durable writes took at most 10 ms");
  fsync->footer(
      "Examples:\n"
      "  walinspect fsync /var/lib/metastore/member/wal\n"
      "  walinspect fsync DIR --svg heat.svg\n"
      "  walinspect fsync DIR --what-if policy=adaptive,depth=1\n"
      "  walinspect fsync DIR --check && echo fit for a log\n"
      "docs/PROFILING.md says what each part means and what to change.");
  chosen.insert(chosen.end(), {{stats, Stats}, {fsync, Fsync}});
}

void DeclareLive(CLI::App& app, Arguments& arguments, Chosen& chosen) {
  CLI::App* live = app.add_subcommand(
      "live",
      "the last 65,536 durable writes of the running node, refreshed until Ctrl-C;\n"
      "as root also where their time went in the kernel");
  DeclareCommon(*live, arguments);
  live->add_flag("--once", arguments.live_once, "one report and no more; 4 if no node runs");
  live->add_option("--interval", arguments.live_interval_s, "seconds between reports (2)")
      ->check(CLI::Range(0.1, 3600.0));
  live->add_option("--count", arguments.live.count, "so many reports; 0: until Ctrl-C");
  live->add_flag("--no-trace", arguments.live_no_trace, "leave the kernel's tracepoints alone");
  live->footer(
      "The report is fsync's. The kernel is traced for a quarter of a second an interval.\n"
      "Examples:\n"
      "  walinspect live /var/lib/metastore/member/wal\n"
      "  sudo walinspect live DIR --once --interval 10\n"
      "  walinspect live DIR --json | jq -c '[.time, .recent.p99_us]'");
  chosen.emplace_back(live, Live);
}

void DeclareBench(CLI::App& app, Arguments& arguments, Chosen& chosen) {
  CLI::App* command = app.add_subcommand(
      "bench", "what a durable write costs on this disk, and the settings that suit it");
  command->add_option("dir", arguments.directory, "a directory on the disk (.); needs no log")
      ->default_str(".");
  command->add_flag("--json", arguments.json, "one JSON document, its schema named in it");
  command->add_option("--seconds", arguments.bench_seconds, "about so long in all (30)")
      ->check(CLI::Range(1.0, 3600.0));
  command->add_flag("--all", arguments.bench.print_all, "every method, state, size and depth");
  command->footer(
      "Writes 80 MiB of files walinspect-bench-*.tmp there and removes them, also at Ctrl-C. A\n"
      "node that runs on the same disk is slowed down meanwhile, and slows the measurement.\n"
      "Exit code: 0 fit for a log, 5 not known to be (slow, too quick, too few), 4 could not.\n"
      "Examples:\n"
      "  walinspect bench /var/lib/metastore\n"
      "  walinspect bench DIR --json | jq .recommended");
  chosen.emplace_back(command, BenchDisk);
}

void DeclareExport(CLI::App& app, Arguments& arguments, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("export", "every flush, for other programs");
  command->add_option("dir", arguments.directory, "the log's directory")->required();
  command
      ->add_option(
          "--format", arguments.export_format,
          "json (lines, default), prometheus, or chrome-trace (chrome://tracing, Perfetto)")
      ->check(CLI::IsMember({"json", "prometheus", "chrome-trace"}));
  command->footer(
      "Examples:\n"
      "  walinspect export DIR --format chrome-trace > trace.json\n"
      "  walinspect export DIR --format prometheus > /var/lib/node_exporter/wal.prom");
  chosen.emplace_back(command, Export);
}

void DeclareDiff(CLI::App& app, Arguments& arguments, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("diff", "the logs of two members, group by group");
  DeclareCommon(*command, arguments);
  command->add_option("other", arguments.other_directory, "the other log's directory")->required();
  command->footer(
      "Exit code: 0 the same entries, 1 one has fewer, 2 they differ, 3 of different clusters,\n"
      "4 could not compare.\n"
      "Examples:\n"
      "  walinspect diff n1/member/wal n2/member/wal\n"
      "  walinspect diff A B --json | jq '.groups[] | select(.verdict == \"different\")'");
  chosen.emplace_back(command, Diff);
}

void DeclareRepair(CLI::App& app, Arguments& arguments, Chosen& chosen) {
  CLI::App* command = app.add_subcommand(
      "repair", "prints what would have to be cut, and what is lost; changes nothing by itself");
  DeclareCommon(*command, arguments);
  command->add_flag("--apply", arguments.repair.apply, "does what the plan says");
  command->add_option("--backup", arguments.other_directory,
                      "an empty or new directory for whole copies of the files that change");
  command->add_flag("--accept-loss", arguments.repair.accept_loss,
                    "also where acknowledged writes, perhaps a vote, are lost");
  command->add_option("--data-dir", arguments.repair.data_directory,
                      "of the node, for its lock; needed unless DIR is DATA-DIR/member/wal");
  command->footer(
      "Exit code: the log's verdict, with --apply that of the repaired log; 4 refused.\n"
      "Examples:\n"
      "  walinspect repair DIR\n"
      "  walinspect repair DIR --apply --backup /var/tmp/wal-before\n"
      "  walinspect repair DIR --apply --backup COPY --accept-loss");
  chosen.emplace_back(command, Repair);
}

int Main(int argc, char** argv) {
  Arguments arguments;
  Chosen chosen;
  CLI::App app{"Shows, verifies, profiles, compares and repairs a MetaStore node's log."};
  app.footer(kFooter);
  app.require_subcommand(1);
  DeclareLooking(app, arguments, chosen);
  DeclareProfiling(app, arguments, chosen);
  DeclareLive(app, arguments, chosen);
  DeclareBench(app, arguments, chosen);
  DeclareExport(app, arguments, chosen);
  DeclareDiff(app, arguments, chosen);
  DeclareRepair(app, arguments, chosen);
  crashtest::Command crashtest(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitClean : kExitFailed;
  }
  if (crashtest.chosen()) return crashtest.Run();
  const StatusOr<Request> request = RequestOf(arguments);
  if (!request.ok()) {
    std::fprintf(stderr, "walinspect: %s\n", std::string(request.status().message()).c_str());
    return kExitFailed;
  }
  for (const auto& [command, function] : chosen) {
    if (*command) return Run(function, *request);
  }
  return kExitFailed;
}

}  // namespace
}  // namespace metastore::walinspect

int main(int argc, char** argv) { return metastore::walinspect::Main(argc, argv); }
