// The bench command.
#include "tools/walinspect/bench_report.h"
#include "tools/walinspect/commands.h"

namespace metastore::walinspect {

io::Task<StatusOr<int>> BenchDisk(io::Runtime& runtime, const Request& request) {
  const StatusOr<io::FileSystemFacts> facts = co_await runtime.FactsOf(request.directory);
  if (!facts.ok()) co_return facts.status();
  BenchReport report{.directory = request.directory,
                     .file_system = facts->type,
                     .device = request.bench.device,
                     .results = {}};
  BenchPlan plan{.directory = request.directory,
                 .time = request.bench.time,
                 .cells = request.bench.cells,
                 .stop = request.bench.stop,
                 .progress = request.bench.progress};
  StatusOr<std::vector<CellResult>> results = co_await RunBench(runtime, std::move(plan));
  if (!results.ok()) co_return results.status();
  report.results = *std::move(results);
  request.print(request.json() ? BenchJson(report) : BenchText(report, request.bench.print_all));
  co_return VerdictOf(report) == DiskVerdict::kGood ? kExitClean : kExitSlow;
}

}  // namespace metastore::walinspect
