// metactl data: runs the look at a data directory on a reactor of its own.

#include <cstdio>
#include <memory>

#include "io/gate.h"
#include "io/uring/uring_runtime.h"
#include "tools/metactl/commands.h"
#include "tools/metactl/data_look.h"

namespace metastore::metactl {
namespace {

io::Task<void> Look(io::uring::UringHost& host, io::Runtime& runtime, const DataRequest& request) {
  std::string log =
      request.log_directory.empty() ? request.directory + "/member/wal" : request.log_directory;
  StatusOr<DataFacts> facts =
      co_await LookAtData(runtime, std::move(log), request.directory + "/member/snap");
  if (!facts.ok()) {
    Complain(std::string(facts.status().message()));
    host.RequestExit(kExitFailed);
    co_return;
  }
  const std::string text = request.json ? DataJson(*facts) : DataText(*facts);
  std::fwrite(text.data(), 1, text.size(), stdout);
  host.RequestExit(IsSound(*facts) ? kExitOk : kExitBad);
}

}  // namespace

int RunData(const DataRequest& request) {
  io::uring::UringOptions options;
  options.arena_bytes = 0;  // plain buffers serve: no locked memory for a tool
  options.log.level = io::LogLevel::kError;
  StatusOr<std::unique_ptr<io::uring::UringHost>> host =
      io::uring::UringHost::Create(std::move(options));
  if (!host.ok()) {
    Complain(std::string(host.status().message()));
    return kExitFailed;
  }
  std::unique_ptr<io::Gate> gate;
  return (*host)->Run([&](std::span<io::Runtime* const> cores) {
    gate = std::make_unique<io::Gate>(cores.front()->scheduler());
    gate->Spawn("metactl.data", io::ReadyClass::kClient, Look(**host, *cores.front(), request));
  });
}

}  // namespace metastore::metactl
