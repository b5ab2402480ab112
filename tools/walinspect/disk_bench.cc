#include "tools/walinspect/disk_bench.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "io/base/check.h"
#include "io/gate.h"

namespace metastore::walinspect {
namespace {

constexpr uint64_t kRecycledBytes = 64 * limits::kMiB;
constexpr uint64_t kRecycledBytesMin = 8 * limits::kMiB;
constexpr uint64_t kFreshBytesMax = 16 * limits::kMiB;
constexpr uint64_t kVisitWritesMin = 4;  // each, however slow the disk
constexpr double kBaseWeight = 30;
constexpr const char* kRecycledName = "walinspect-bench-1.tmp";
constexpr const char* kFreshName = "walinspect-bench-2.tmp";

double WeightOf(const BenchCell& cell) { return cell == kBaseCell ? kBaseWeight : 1; }

// In how many ways the cell is not the base.
int WaysFromBase(const BenchCell& cell) {
  return int{cell.method != kBaseCell.method} + int{cell.extent != kBaseCell.extent} +
         int{cell.bytes != kBaseCell.bytes} + int{cell.depth != kBaseCell.depth};
}

io::DurableMethod DurableMethodOf(BenchMethod method) {
  switch (method) {
    case BenchMethod::kPlain:
    case BenchMethod::kDsync:
    case BenchMethod::kFsync:
      return io::DurableMethod::kDsync;
    case BenchMethod::kLinked:
      return io::DurableMethod::kLinked;
    case BenchMethod::kFdatasync:
      return io::DurableMethod::kFdatasync;
  }
  CHECK_UNREACHABLE();
}

// Writes of one cell for a while, into blocks from the file's first on.
struct Visit {
  io::Runtime& runtime;
  io::File& file;
  std::span<char> bytes;
  BenchCell cell;
  Histogram& latency;
  TickFinder& ticks;
  MonoTime end;
  uint64_t begun = 0;
  uint64_t writes_max = 0;  // as many as there are blocks in the right state
  io::StopToken stop = {};
  Status status = {};

  bool Goes() const {
    if (!status.ok() || stop.stopped() || begun >= writes_max) return false;
    return begun < kVisitWritesMin || runtime.Now() < end;
  }
};

io::Task<Status> WriteOnce(Visit& visit, uint64_t offset) {
  if (visit.cell.method == BenchMethod::kPlain || visit.cell.method == BenchMethod::kFsync) {
    const StatusOr<size_t> written = co_await visit.file.Write(offset, visit.bytes);
    if (!written.ok() || visit.cell.method == BenchMethod::kPlain) co_return written.status();
    const StatusOr<size_t> synced = co_await visit.file.Sync();
    co_return synced.status();
  }
  const StatusOr<size_t> written =
      co_await visit.file.DurableWrite(offset, visit.bytes, DurableMethodOf(visit.cell.method));
  co_return written.status();
}

// One of `depth` that write at once.
io::Task<void> WriteOn(Visit& visit) {
  const uint64_t places = visit.file.size() / visit.bytes.size();
  while (visit.Goes()) {
    const uint64_t offset = visit.begun++ % places * visit.bytes.size();
    const MonoTime before = visit.runtime.Now();
    const Status written = co_await WriteOnce(visit, offset);
    if (!written.ok()) {
      visit.status = written;
      co_return;
    }
    const Duration took = visit.runtime.Now() - before;
    visit.latency.Add(static_cast<uint64_t>(took.ns));
    visit.ticks.Add(static_cast<uint32_t>(std::min<int64_t>(took.us(), UINT32_MAX)));
  }
}

// The scratch files and what is written to them.
class Bench final {
 public:
  Bench(io::Runtime& runtime, BenchPlan& plan) : runtime_(runtime), plan_(plan) {
    for (const BenchCell& cell : plan.cells) results.push_back({.cell = cell});
  }

  io::Task<Status> Run() {
    began_ = runtime_.Now();
    Status opened = co_await Open();
    if (!opened.ok()) co_return opened;
    const MonoTime measured_from = runtime_.Now();
    const Duration left = began_ + plan_.time - measured_from;
    for (size_t round = 0; round < kBenchRounds; ++round) {
      const double share = static_cast<double>(round + 1) / static_cast<double>(kBenchRounds);
      const auto until = static_cast<int64_t>(static_cast<double>(left.ns) * share);
      Status visited = co_await Round(round, measured_from + Nanoseconds(until));
      if (!visited.ok()) co_return visited;
    }
    co_return OkStatus();
  }

  // Also after a failure: what was made goes.
  io::Task<Status> Remove() {
    Status removed;
    for (const auto& [file, name] :
         {std::pair(&recycled_, kRecycledName), std::pair(&fresh_, kFreshName)}) {
      if (*file == nullptr) continue;
      file->reset();
      Status gone = co_await runtime_.RemoveFile(Concat(plan_.directory, "/", name));
      if (!gone.ok()) removed = gone;
    }
    co_return removed;
  }

  std::vector<CellResult> results;

 private:
  io::Task<StatusOr<std::unique_ptr<io::File>>> Create(const char* name) {
    StatusOr<std::unique_ptr<io::File>> file =
        co_await runtime_.OpenFile(Concat(plan_.directory, "/", name), io::OpenMode::kCreate);
    if (absl::IsAlreadyExists(file.status())) {
      co_return AlreadyExistsError(plan_.directory, "/", name,
                                   " is there: another bench runs here, or one was killed; then "
                                   "remove the file");
    }
    co_return file;
  }

  io::Task<Status> Open() {
    buffer_ = runtime_.AllocateBuffer(kBenchBytesMax);
    for (size_t i = 0; i < kBenchBytesMax; i += sizeof(uint64_t)) {
      const uint64_t word = runtime_.Random();  // nothing that a device could compress
      std::memcpy(buffer_.data() + i, &word, sizeof word);
    }
    zeros_ = runtime_.AllocateBuffer(kBenchBytesMax);
    std::memset(zeros_.data(), 0, kBenchBytesMax);
    StatusOr<std::unique_ptr<io::File>> recycled = co_await Create(kRecycledName);
    if (!recycled.ok()) co_return recycled.status();
    recycled_ = *std::move(recycled);
    StatusOr<std::unique_ptr<io::File>> fresh = co_await Create(kFreshName);
    if (!fresh.ok()) co_return fresh.status();
    fresh_ = *std::move(fresh);
    // A slow disk gets a smaller file: this may take a quarter of the time.
    const MonoTime until = began_ + Nanoseconds(plan_.time.ns / 4);
    Status filled = co_await Fill(*recycled_, kRecycledBytes, buffer_, until);
    co_return filled;
  }

  io::Task<Status> Fill(io::File& file, uint64_t bytes, io::IoBuffer& from, MonoTime until) {
    for (uint64_t at = 0; at < bytes; at += from.size()) {
      if (at >= kRecycledBytesMin && runtime_.Now() >= until) break;
      if (plan_.stop.stopped()) co_return CancelledError("stopped");
      const StatusOr<size_t> written =
          co_await file.Write(at, {from.data(), std::min<uint64_t>(from.size(), bytes - at)});
      if (!written.ok()) co_return written.status();
    }
    const StatusOr<size_t> synced = co_await file.Sync();
    co_return synced.status();
  }

  io::Task<Status> Round(size_t round, MonoTime end) {
    double weights = 0;
    for (const BenchCell& cell : plan_.cells) weights += WeightOf(cell);
    for (CellResult& result : results) {
      const MonoTime now = runtime_.Now();
      if (now >= end && result.cell != kBaseCell) co_return OkStatus();
      if (plan_.stop.stopped()) co_return CancelledError("stopped");
      const double share = WeightOf(result.cell) / weights;
      weights -= WeightOf(result.cell);
      const auto slot = static_cast<int64_t>(static_cast<double>((end - now).ns) * share);
      Status visited = co_await VisitCell(result, round, now + Nanoseconds(slot));
      if (!visited.ok()) co_return visited;
      Tell();
    }
    co_return OkStatus();
  }

  void Tell() const {
    if (!plan_.progress) return;
    const auto done = static_cast<double>((runtime_.Now() - began_).ns);
    plan_.progress(std::min(1.0, done / static_cast<double>(plan_.time.ns)));
  }

  io::Task<Status> VisitCell(CellResult& result, size_t round, MonoTime end) {
    const BenchCell& cell = result.cell;
    const bool fresh = cell.extent != ExtentState::kRecycled;
    if (fresh) {
      Status made = co_await MakeFresh(cell, end);
      if (!made.ok()) co_return made;
    }
    io::File& file = fresh ? *fresh_ : *recycled_;
    Visit visit{.runtime = runtime_,
                .file = file,
                .bytes = {buffer_.data(), cell.bytes},
                .cell = cell,
                .latency = result.rounds[round],
                .ticks = result.ticks,
                .end = end,
                .writes_max = fresh ? file.size() / cell.bytes : UINT64_MAX,
                .stop = plan_.stop};
    const MonoTime began = runtime_.Now();
    {
      io::Gate gate(runtime_.scheduler());
      for (uint32_t i = 0; i < cell.depth; ++i) {
        gate.Spawn("bench.write", io::ReadyClass::kCritical, WriteOn(visit));
      }
      co_await gate.Close();
    }
    result.took = result.took + (runtime_.Now() - began);
    result.all.Merge(result.rounds[round]);
    pace_ = (runtime_.Now() - began).ns / static_cast<int64_t>(std::max<uint64_t>(1, visit.begun));
    co_return visit.status;
  }

  // As many blocks in the cell's state as can be written until `end`, going by the last visit.
  io::Task<Status> MakeFresh(const BenchCell& cell, MonoTime end) {
    const int64_t time = std::max<int64_t>((end - runtime_.Now()).ns, 0);
    const auto expected = static_cast<uint64_t>(time / std::max<int64_t>(pace_, 1'000));
    const uint64_t writes = std::max(kVisitWritesMin, 2 * expected);
    const uint64_t most = std::max<uint64_t>(kFreshBytesMax / cell.bytes, kVisitWritesMin);
    const uint64_t bytes = cell.bytes * std::min(writes, most);
    StatusOr<size_t> changed = co_await fresh_->Truncate(0);
    if (!changed.ok()) co_return changed.status();
    changed = co_await fresh_->Allocate(bytes);
    if (!changed.ok()) co_return changed.status();
    if (cell.extent == ExtentState::kUnwritten) {
      changed = co_await fresh_->Sync();
      co_return changed.status();
    }
    Status filled = co_await Fill(*fresh_, bytes, zeros_, MonoTime::Max());
    co_return filled;
  }

  io::Runtime& runtime_;
  BenchPlan& plan_;
  MonoTime began_;
  io::IoBuffer buffer_;
  io::IoBuffer zeros_;
  std::unique_ptr<io::File> recycled_;
  std::unique_ptr<io::File> fresh_;
  int64_t pace_ = 100'000;  // ns a write took lately
};

}  // namespace

std::string_view BenchMethodName(BenchMethod method) {
  constexpr std::string_view kNames[] = {"plain", "dsync", "linked", "fdatasync", "fsync"};
  return kNames[static_cast<size_t>(method)];
}

std::string_view ExtentStateName(ExtentState state) {
  constexpr std::string_view kNames[] = {"unwritten", "zeroed", "recycled"};
  return kNames[static_cast<size_t>(state)];
}

double CellResult::WritesPerSecond() const {
  return took.ns == 0 ? 0 : static_cast<double>(all.count()) * 1e9 / static_cast<double>(took.ns);
}

std::vector<BenchCell> AllCells() {
  constexpr size_t kSizes[] = {4096, 32768, 262144, 1048576};
  constexpr uint32_t kDepths[] = {1, 2, 4};
  std::vector<BenchCell> cells;
  for (int ways = 0; ways <= 4; ++ways) {
    for (const BenchMethod method : kBenchMethods) {
      for (const ExtentState extent : kExtentStates) {
        for (const size_t bytes : kSizes) {
          for (const uint32_t depth : kDepths) {
            const BenchCell cell{method, extent, bytes, depth};
            if (WaysFromBase(cell) == ways) cells.push_back(cell);
          }
        }
      }
    }
  }
  return cells;
}

io::Task<StatusOr<std::vector<CellResult>>> RunBench(io::Runtime& runtime, BenchPlan plan) {
  Bench bench(runtime, plan);
  Status ran = co_await bench.Run();
  const Status removed = co_await bench.Remove();
  if (ran.ok()) ran = removed;
  if (!ran.ok()) co_return ran;
  co_return std::move(bench.results);
}

}  // namespace metastore::walinspect
