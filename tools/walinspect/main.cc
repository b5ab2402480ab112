// walinspect: shows and verifies the log of a node, running or not. Reads only.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "io/gate.h"
#include "io/uring/uring_runtime.h"
#include "tools/walinspect/commands.h"

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
};

constexpr const char* kFooter =
    "DIR is the log's directory: DATA-DIR/member/wal, or --wal-dir.\n"
    "Exit code: 0 CLEAN, 1 TORN-TAIL (never acknowledged, cut at the next start), 2 CORRUPT,\n"
    "3 FOREIGN, 4 could not look.";

void DeclareCommon(CLI::App& command, Arguments& arguments, bool hex) {
  command.add_option("dir", arguments.directory, "the log's directory")->required();
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

StatusOr<Request> RequestOf(const Arguments& arguments) {
  Request request{.directory = arguments.directory};
  if (arguments.format == "json") request.format = DumpFormat::kJson;
  if (arguments.format == "hex") request.format = DumpFormat::kHex;
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
  return request;
}

using Command = io::Task<StatusOr<int>> (*)(io::Runtime&, const Request&);

io::Task<void> RunCommand(io::uring::UringHost& host, io::Runtime& runtime, Command command,
                          const Request& request) {
  const StatusOr<int> code = co_await command(runtime, request);
  if (!code.ok()) {
    std::fprintf(stderr, "walinspect: %s\n", std::string(code.status().message()).c_str());
  }
  host.RequestExit(code.ok() ? *code : kExitFailed);
}

int Run(Command command, const Request& request) {
  io::uring::UringOptions options;
  options.arena_bytes = 0;  // plain buffers serve: no locked memory for a tool
  options.log.level = io::LogLevel::kError;
  StatusOr<std::unique_ptr<io::uring::UringHost>> host =
      io::uring::UringHost::Create(std::move(options));
  if (!host.ok()) {
    std::fprintf(stderr, "walinspect: %s\n", std::string(host.status().message()).c_str());
    return kExitFailed;
  }
  std::unique_ptr<io::Gate> gate;
  return (*host)->Run([&](std::span<io::Runtime* const> runtimes) {
    gate = std::make_unique<io::Gate>(runtimes.front()->scheduler());
    gate->Spawn("walinspect", io::ReadyClass::kClient,
                RunCommand(**host, *runtimes.front(), command, request));
  });
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Shows and verifies a MetaStore node's log."};
  app.footer(kFooter);
  app.require_subcommand(1);
  CLI::App* list = app.add_subcommand("ls", "the segment files and what is in them");
  DeclareCommon(*list, arguments, false);
  CLI::App* dump = app.add_subcommand("dump", "frames and records, commands decoded");
  DeclareCommon(*dump, arguments, true);
  DeclareFilters(*dump, arguments);
  CLI::App* verify = app.add_subcommand("verify", "checks every byte that counts");
  DeclareCommon(*verify, arguments, false);
  verify->add_option("--cluster", arguments.cluster, "cluster id (hex) it must belong to");
  verify->add_option("--member", arguments.member, "member id (hex) it must belong to");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitClean : kExitFailed;
  }
  const StatusOr<Request> request = RequestOf(arguments);
  if (!request.ok()) {
    std::fprintf(stderr, "walinspect: %s\n", std::string(request.status().message()).c_str());
    return kExitFailed;
  }
  return Run(*list ? List : *dump ? Dump : Verify, *request);
}

}  // namespace
}  // namespace metastore::walinspect

int main(int argc, char** argv) { return metastore::walinspect::Main(argc, argv); }
