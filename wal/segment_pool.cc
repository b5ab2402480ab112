#include "wal/segment_pool.h"

#include <algorithm>
#include <cstring>

#include "wal/mutation.h"

namespace metastore::wal {
namespace {

constexpr uint64_t kChunkBytes = limits::kMiB;
constexpr Duration kRetryAfter = Seconds(1);
// How often it is seen whether the surplus is still wanted, and the space.
constexpr Duration kLookAfter = Seconds(10);
// While this many segments are prepared, filling rests kRestFactor times as long as it worked, to
// leave the device to the log's own writes.
constexpr size_t kRestFrom = 3;
constexpr int64_t kRestFactor = 2;

}  // namespace

SegmentPool::SegmentPool(io::Runtime& runtime, SegmentPoolOptions options)
    : runtime_(runtime),
      options_(std::move(options)),
      gate_(runtime.scheduler()),
      in_use_(options_.in_use) {
  need_.since = runtime_.Now();
  NoteNeed();
}

void SegmentPool::Start() { gate_.Spawn("wal.prepare", io::ReadyClass::kBackground, Run()); }

io::Task<void> SegmentPool::Stop() {
  stop_.RequestStop();
  changed_.NotifyAll();
  co_await gate_.Close();
}

void SegmentPool::Add(SegmentFile file) {
  files_.push_back(std::move(file));
  changed_.NotifyAll();
}

void SegmentPool::GiveBack(SegmentFile file) {
  CHECK_GT(in_use_, 0u);
  --in_use_;
  Add(std::move(file));
}

SegmentFile SegmentPool::Take() {
  CHECK(!files_.empty());
  SegmentFile file = std::move(files_.back());
  files_.pop_back();
  ++in_use_;
  NoteNeed();
  changed_.NotifyAll();
  return file;
}

io::Task<Status> SegmentPool::WaitPrepared(size_t count) {
  const uint64_t failures_before = failures_;
  while (prepared() < count) {
    if (failures_ != failures_before) co_return failure_;
    const io::WaitLimit limit{.stop = stop_.token()};
    const io::WaitResult result = co_await changed_.Wait(limit);
    if (result == io::WaitResult::kStopped) co_return CancelledError("the log is stopping");
  }
  co_return OkStatus();
}

io::Task<void> SegmentPool::Run() {
  while (!stop_.stopped()) {
    NoteNeed();
    const size_t wanted_back = std::max(need_.now, need_.before) - in_use_;
    if (Surplus(std::max(kSurplusMax, wanted_back))) {
      co_await RemoveSurplus();
      continue;
    }
    if (Surplus(kSurplusMax)) {
      StatusOr<io::FileSystemFacts> facts = co_await runtime_.FactsOf(options_.directory);
      if (facts.ok() && SpaceShort(*facts) && Surplus(kSurplusMax)) {
        co_await RemoveSurplus();
        continue;
      }
    }
    if (prepared() >= options_.target) {
      co_await WaitForChange();
      continue;
    }
    StatusOr<SegmentFile> made = co_await Prepare();
    if (made.ok()) {
      failure_ = OkStatus();
      Add(*std::move(made));
      continue;
    }
    if (stop_.stopped() || absl::IsCancelled(made.status())) {
      failure_ = made.status();
      ++failures_;
      changed_.NotifyAll();
      co_return;
    }
    if (failure_.code() != made.status().code()) {
      runtime_.log().Warn("no log segment could be prepared",
                          {{"error", std::string(made.status().message())}});
    }
    failure_ = made.status();
    ++failures_;
    changed_.NotifyAll();
    co_await io::SleepUntil(runtime_, runtime_.Now() + kRetryAfter, stop_.token());
  }
}

void SegmentPool::NoteNeed() {
  if (runtime_.Now() >= need_.since + kNeedRemembered) {
    need_.before = need_.now;
    need_.now = 0;
    need_.since = runtime_.Now();
  }
  need_.now = std::max(need_.now, in_use_);
}

io::Task<void> SegmentPool::WaitForChange() {
  io::WaitLimit limit{.timers = &runtime_, .stop = stop_.token()};
  if (Surplus(kSurplusMax)) limit.deadline = runtime_.Now() + kLookAfter;
  co_await changed_.Wait(limit);
}

// A segment more would take from the reserve.
bool SegmentPool::SpaceShort(const io::FileSystemFacts& facts) const {
  return facts.free_bytes < options_.free_bytes_reserve + options_.segment_bytes;
}

std::string SegmentPool::PathOf(uint64_t number) const {
  return Concat(options_.directory, "/", SegmentFileName(number));
}

io::Task<StatusOr<SegmentFile>> SegmentPool::Prepare() {
  StatusOr<io::FileSystemFacts> facts = co_await runtime_.FactsOf(options_.directory);
  if (!facts.ok()) co_return facts.status();
  if (SpaceShort(*facts)) {
    co_return ResourceExhaustedError(options_.directory, ": ", facts->free_bytes,
                                     " bytes free, a segment needs ", options_.segment_bytes,
                                     " beside a reserve of ", options_.free_bytes_reserve);
  }
  const uint64_t number = options_.next_file_number++;
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(PathOf(number), io::OpenMode::kCreate);
  if (!file.ok()) co_return file.status();
  Status filled = co_await Fill(**file, number);
  if (filled.ok()) co_return SegmentFile{number, *std::move(file), false};
  file->reset();
  // What cannot be removed now is removed by the next open.
  const Status removed = co_await runtime_.RemoveFile(PathOf(number));
  static_cast<void>(removed.ok());
  co_return filled;
}

// Space first, then zeros, so that later writes change no metadata; the header last, so that it
// vouches for both.
io::Task<Status> SegmentPool::Fill(io::File& file, uint64_t number) {
  const StatusOr<size_t> allocated = co_await file.Allocate(options_.segment_bytes);
  if (!allocated.ok()) co_return allocated.status();
  Status zeroed = co_await FillZeros(file);
  if (!zeroed.ok()) co_return zeroed;
  io::IoBuffer block = runtime_.AllocateBuffer(kSegmentHeaderBytes);
  EncodeSegmentHeader({.state = SegmentState::kPrepared,
                       .cluster = options_.cluster,
                       .member = options_.member,
                       .file = number,
                       .segment_bytes = options_.segment_bytes,
                       .written = runtime_.WallNow()},
                      block.data());
  const StatusOr<size_t> written =
      co_await file.Write(0, {block.data(), kSegmentHeaderBytes}, block.registered_index());
  if (!written.ok()) co_return written.status();
  const StatusOr<size_t> synced = co_await file.Sync();
  if (!synced.ok()) co_return synced.status();
  if (Mutated(Mutation::kDirectoryNotSynced)) co_return OkStatus();
  Status named = co_await runtime_.SyncDirectory(options_.directory);
  co_return named;
}

io::Task<Status> SegmentPool::FillZeros(io::File& file) {
  const uint64_t chunk = std::min(kChunkBytes, options_.segment_bytes);
  io::IoBuffer zeros = runtime_.AllocateBuffer(chunk);
  std::memset(zeros.data(), 0, chunk);
  for (uint64_t offset = 0; offset < options_.segment_bytes; offset += chunk) {
    if (stop_.stopped()) co_return CancelledError("the log is stopping");
    const uint64_t bytes = std::min(chunk, options_.segment_bytes - offset);
    const MonoTime before = runtime_.Now();
    const StatusOr<size_t> written =
        co_await file.Write(offset, {zeros.data(), bytes}, zeros.registered_index());
    if (!written.ok()) co_return written.status();
    const MonoTime after = runtime_.Now();
    if (prepared() >= kRestFrom) {
      co_await io::SleepUntil(runtime_, after + (after - before) * kRestFactor, stop_.token());
    }
  }
  // Before the header is written: it must never be durable above blocks that are not.
  const StatusOr<size_t> synced = co_await file.Sync();
  co_return synced.status();
}

io::Task<void> SegmentPool::RemoveSurplus() {
  SegmentFile surplus = std::move(files_.back());
  files_.pop_back();
  const std::string path = PathOf(surplus.number);
  surplus.file.reset();
  const Status removed = co_await runtime_.RemoveFile(path);
  if (!removed.ok()) {
    runtime_.log().Warn("a spare log segment could not be removed",
                        {{"path", path}, {"error", std::string(removed.message())}});
  }
}

}  // namespace metastore::wal
