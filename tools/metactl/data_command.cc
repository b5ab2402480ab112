// metactl data: runs the look at a data directory on a reactor of its own.

#include <cstdio>

#include "io/uring/uring_runtime.h"
#include "tools/metactl/commands.h"
#include "tools/metactl/data_look.h"

namespace metastore::metactl {
namespace {

io::Task<void> Look(io::uring::UringHost& host, const DataRequest& request) {
  std::string log =
      request.log_directory.empty() ? request.directory + "/member/wal" : request.log_directory;
  StatusOr<DataFacts> facts =
      co_await LookAtData(host.runtime(0), std::move(log), request.directory + "/member/snap");
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
  const StatusOr<int> code =
      io::uring::RunOneTask(std::move(options), "metactl.data",
                            [&](io::uring::UringHost& host) { return Look(host, request); });
  if (code.ok()) return *code;
  Complain(std::string(code.status().message()));
  return kExitFailed;
}

}  // namespace metastore::metactl
