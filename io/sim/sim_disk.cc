#include "io/sim/sim_disk.h"

#include <algorithm>
#include <utility>

#include "io/base/hash.h"
#include "io/base/limits.h"

namespace metastore::sim {
namespace {

bool IsTransfer(SimDiskOp op) {
  return op == SimDiskOp::kRead || op == SimDiskOp::kWrite || op == SimDiskOp::kDurableWrite;
}

bool IsWrite(SimDiskOp op) { return op == SimDiskOp::kWrite || op == SimDiskOp::kDurableWrite; }

bool IsResize(SimDiskOp op) { return op == SimDiskOp::kAllocate || op == SimDiskOp::kTruncate; }

bool Changes(const DiskRequest& request) {
  const bool creates = request.op == SimDiskOp::kOpen && request.mode == io::OpenMode::kCreate;
  return creates || IsWrite(request.op) || IsResize(request.op) ||
         request.op == SimDiskOp::kRemove || request.op == SimDiskOp::kRename ||
         request.op == SimDiskOp::kMakeDirectories;
}

bool CanBefall(SimFault fault, const DiskRequest& request) {
  switch (fault) {
    case SimFault::kNone:
      return false;
    case SimFault::kLostWrite:
    case SimFault::kMisdirectedWrite:
    case SimFault::kWriteError:
    case SimFault::kShortWrite:
      return IsWrite(request.op);
    case SimFault::kMisdirectedRead:
    case SimFault::kBitRot:
    case SimFault::kUnreadable:
    case SimFault::kReadError:
      return request.op == SimDiskOp::kRead;
    case SimFault::kSyncError:
      return request.op == SimDiskOp::kSync || request.op == SimDiskOp::kDurableWrite ||
             request.op == SimDiskOp::kSyncDirectory;
    case SimFault::kNoSpace:
      return Changes(request) && request.op != SimDiskOp::kRemove &&
             request.op != SimDiskOp::kTruncate;
    case SimFault::kSpike:
      return true;
  }
  CHECK_UNREACHABLE();
}

}  // namespace

std::string_view FaultName(SimFault fault) {
  switch (fault) {
    case SimFault::kNone:
      return "none";
    case SimFault::kLostWrite:
      return "lost write";
    case SimFault::kMisdirectedWrite:
      return "misdirected write";
    case SimFault::kMisdirectedRead:
      return "misdirected read";
    case SimFault::kBitRot:
      return "bit rot";
    case SimFault::kUnreadable:
      return "unreadable sector";
    case SimFault::kReadError:
      return "read error";
    case SimFault::kWriteError:
      return "write error";
    case SimFault::kShortWrite:
      return "short write";
    case SimFault::kSyncError:
      return "sync error";
    case SimFault::kNoSpace:
      return "no space";
    case SimFault::kSpike:
      return "latency spike";
  }
  CHECK_UNREACHABLE();
}

void SimFaults::Set(SimFault fault, uint32_t per_million, uint64_t budget) {
  CHECK_LE(per_million, 1'000'000u);
  chances_[static_cast<size_t>(fault)] = Chance{per_million, budget};
}

SimDisk::SimDisk(std::string name, SimClock& clock, Prng prng, SimDiskOptions options)
    : name_(std::move(name)), clock_(clock), prng_(prng), options_(options) {}

SimDisk::~SimDisk() { CHECK_EQ(in_flight(), 0u); }

// --- faults ------------------------------------------------------------------------------------

void SimDisk::FailNext(SimFault fault, std::string path_part, uint64_t skip) {
  CHECK(fault != SimFault::kNone);
  scripted_.push_back(Scripted{fault, std::move(path_part), skip});
}

bool SimDisk::TakeScripted(SimFault fault, const DiskRequest& request) {
  for (size_t i = 0; i < scripted_.size(); ++i) {
    Scripted& next = scripted_[i];
    if (next.fault != fault || request.path.find(next.path_part) == std::string::npos) continue;
    if (next.skip > 0) {
      --next.skip;
      continue;
    }
    scripted_.erase(scripted_.begin() + static_cast<ptrdiff_t>(i));
    return true;
  }
  return false;
}

bool SimDisk::TakeChance(SimFault fault) {
  SimFaults::Chance& chance = faults_.chances_[static_cast<size_t>(fault)];
  if (chance.per_million == 0 || chance.budget == 0) return false;
  if (!prng_.Chance(chance.per_million, 1'000'000)) return false;
  if (chance.budget != SimFaults::kUnlimited) --chance.budget;
  return true;
}

SimFault SimDisk::ChooseFault(const DiskRequest& request) {
  for (size_t i = 1; i < kSimFaults; ++i) {
    const auto fault = static_cast<SimFault>(i);
    if (!CanBefall(fault, request)) continue;
    if (TakeScripted(fault, request) || TakeChance(fault)) return fault;
  }
  return SimFault::kNone;
}

void SimDisk::FlipBit(std::string_view path, uint64_t offset, unsigned bit) {
  const InodeRef file = image_.FindFile(NormalPath(path));
  CHECK(file != nullptr);
  SimImage::FlipBit(*file, offset, bit);
}

void SimDisk::MarkUnreadable(std::string_view path, uint64_t offset) {
  const InodeRef file = image_.FindFile(NormalPath(path));
  CHECK(file != nullptr);
  file->bad_sectors.insert(offset / kSectorBytes);
}

void SimDisk::Stall() { stalled_ = true; }

void SimDisk::Release() {
  stalled_ = false;
  for (DiskRequest* request : std::exchange(held_, {})) Start(*request);
}

void SimDisk::CrashAt(uint64_t number, SimCrash crash, SimCrashKind kind) {
  crash_number_ = number == 0 ? 0 : io_count_ + number;
  crash_verdict_ = SimIoVerdict{.crash = crash, .kind = kind};
}

// --- operations --------------------------------------------------------------------------------

void SimDisk::Submit(DiskRequest& request) {
  CHECK(request.done != nullptr);
  if (IsTransfer(request.op)) {
    // What a kernel would refuse with EINVAL is a bug of the caller.
    CHECK_EQ(request.offset % limits::kBlockBytes, 0u);
    CHECK_EQ(request.size % limits::kBlockBytes, 0u);
    CHECK_EQ(reinterpret_cast<uintptr_t>(request.data) % limits::kBlockBytes, 0u);
    CHECK_GT(request.size, 0u);
    CHECK_LE(request.size, limits::kIoBytesMax);
  }
  if (IsResize(request.op)) CHECK_EQ(request.size % limits::kBlockBytes, 0u);
  request.disk = this;
  request.number = ++io_count_;
  request.order = image_.order();
  request.status = OkStatus();
  request.done_bytes = 0;
  request.fault = SimFault::kNone;
  if (IsWrite(request.op)) request.source_hash = Hash64({request.data, request.size}, 0);
  request.run = [](SimEvent& event) {
    auto& self = static_cast<DiskRequest&>(event);
    self.disk->Complete(self);
  };
  request.settled = false;
  under_way_.push_back(&request);
  const SimIoVerdict verdict = Judge(request);
  if (verdict.crash != SimCrash::kNone) {
    CrashNow(request, verdict);
    return;
  }
  request.fault = verdict.fault != SimFault::kNone ? verdict.fault : ChooseFault(request);
  if (stalled_) {
    held_.push_back(&request);
  } else {
    Start(request);
  }
}

SimIoVerdict SimDisk::Judge(const DiskRequest& request) {
  SimIoVerdict verdict;
  if (hook_ != nullptr) {
    verdict = hook_(SimIo{request.number, request.op, request.path, request.offset, request.size});
  }
  if (crash_number_ != 0 && request.number == crash_number_) {
    crash_number_ = 0;
    verdict = crash_verdict_;
  }
  return verdict;
}

void SimDisk::CrashNow(DiskRequest& request, const SimIoVerdict& verdict) {
  const bool happens =
      verdict.crash == SimCrash::kAfter || (verdict.crash == SimCrash::kTorn && prng_.Chance(1, 2));
  if (verdict.crash == SimCrash::kTorn && IsWrite(request.op)) {
    Tear(request);
  } else if (happens) {
    Perform(request);
  }
  request.settled = true;
  CHECK(crash_ != nullptr);
  crash_(request.process, verdict.kind);
}

// The product of three uniform factors is close enough to lognormal: a median below the base, a
// long tail above. A spike is as long as it is, however slow the disk.
Duration SimDisk::Latency(const DiskRequest& request) {
  const bool reads = request.op == SimDiskOp::kRead || request.op == SimDiskOp::kList;
  int64_t ns = reads ? options_.read_latency.ns : options_.latency.ns;
  for (int i = 0; i < 3; ++i) ns = ns * static_cast<int64_t>(prng_.Between(60, 150)) / 100;
  const bool two_steps =
      request.op == SimDiskOp::kDurableWrite && request.method != io::DurableMethod::kDsync;
  if (two_steps) ns = ns * 3 / 2;
  if (IsTransfer(request.op)) {
    ns += static_cast<int64_t>(request.size) * 1000 / options_.bytes_per_us;
  }
  if (request.fault == SimFault::kSpike) {
    ++hits_[static_cast<size_t>(SimFault::kSpike)];
    return Nanoseconds(
        static_cast<int64_t>(prng_.Between(static_cast<uint64_t>(options_.spike_min.ns),
                                           static_cast<uint64_t>(options_.spike_max.ns))));
  }
  return Nanoseconds(ns * slow_factor_);
}

void SimDisk::Start(DiskRequest& request) {
  clock_.Schedule(request, clock_.Now() + Latency(request));
}

void SimDisk::Complete(DiskRequest& request) {
  if (stalled_) {
    held_.push_back(&request);
    return;
  }
  Perform(request);
  Finish(request);
}

void SimDisk::Finish(DiskRequest& request) {
  clock_.Trace(request.number,
               (request.done_bytes << 8) + static_cast<uint64_t>(request.status.code()));
  std::erase(under_way_, &request);
  request.done(request);
}

// --- the end of processes ----------------------------------------------------------------------

void SimDisk::StopProcess(uint64_t process) {
  std::erase_if(locks_, [process](const auto& lock) { return lock.second == process; });
  EndRequests(process, SimCrashKind::kKill);
}

void SimDisk::LosePower() {
  locks_.clear();
  EndRequests(kEveryProcess, SimCrashKind::kPowerLoss);
  stalled_ = false;
  const PowerLossMode mode =
      options_.power_loss.value_or(static_cast<PowerLossMode>(prng_.Below(kPowerLossModes)));
  image_.LosePower(mode, prng_);
  ++counters_.power_losses;
}

void SimDisk::EndRequests(uint64_t process, SimCrashKind kind) {
  std::vector<DiskRequest*> ended = under_way_;
  std::erase_if(ended, [process](const DiskRequest* request) {
    return process != kEveryProcess && request->process != process;
  });
  for (DiskRequest* request : ended) {
    clock_.Cancel(*request);
    std::erase(held_, request);
    if (!request->settled) Abandon(*request, kind);
    request->status = CancelledError(request->path, ": the process was killed");
    request->done_bytes = 0;
    Finish(*request);
  }
}

SimImage SimDisk::CloneAfterPowerLoss(uint64_t seed) const {
  Prng prng(seed);
  SimImage clone = image_.Clone();
  for (const DiskRequest* request : under_way_) {
    if (!IsWrite(request->op)) continue;
    const InodeRef file = clone.FindById(request->inode->id);
    if (file != nullptr) clone.Write(*file, request->offset, request->data, request->size);
  }
  const PowerLossMode mode =
      options_.power_loss.value_or(static_cast<PowerLossMode>(prng.Below(kPowerLossModes)));
  clone.LosePower(mode, prng);
  return clone;
}

void SimDisk::Restore(SimImage image) {
  CHECK_EQ(in_flight(), 0u);
  image_ = std::move(image);
}

// --- locks -------------------------------------------------------------------------------------

bool SimDisk::TryLock(const std::string& path, uint64_t holder) {
  return locks_.emplace(path, holder).second;
}

void SimDisk::Unlock(const std::string& path, uint64_t holder) {
  const auto found = locks_.find(path);
  if (found != locks_.end() && found->second == holder) locks_.erase(found);
}

Status SimDisk::CheckDirectory(std::string_view path) const {
  return image_.FindDirectory(path).status();
}

// --- content -----------------------------------------------------------------------------------

std::string SimDisk::ReadDurable(std::string_view path, uint64_t offset, size_t size) const {
  const InodeRef file = image_.FindFile(NormalPath(path));
  CHECK(file != nullptr);
  const uint64_t there = offset < file->durable_size ? file->durable_size - offset : 0;
  std::string bytes(static_cast<size_t>(std::min<uint64_t>(size, there)), '\0');
  file->durable.Read(offset, bytes.data(), bytes.size());
  return bytes;
}

std::string SimDisk::ReadCached(std::string_view path, uint64_t offset, size_t size) const {
  const InodeRef file = image_.FindFile(NormalPath(path));
  CHECK(file != nullptr);
  const uint64_t there = offset < file->cached_size ? file->cached_size - offset : 0;
  std::string bytes(static_cast<size_t>(std::min<uint64_t>(size, there)), '\0');
  SimImage::Read(*file, offset, bytes.data(), bytes.size());
  return bytes;
}

void SimDisk::WriteRaw(std::string_view path, uint64_t offset, std::string_view bytes) {
  const std::string normal = NormalPath(path);
  InodeRef file = image_.FindFile(normal);
  if (file == nullptr) {
    const std::string parent = NormalPath(std::string_view(normal).substr(0, normal.rfind('/')));
    CHECK(image_.MakeDirectories(parent).ok());
    StatusOr<InodeRef> made = image_.Open(normal, io::OpenMode::kCreate);
    CHECK(made.ok());
    file = *made;
    SimImage::SyncNames(**image_.FindDirectory(parent), image_.order());
  }
  file->cached.Write(offset, bytes.data(), bytes.size());
  file->durable.Write(offset, bytes.data(), bytes.size());
  file->cached_size = std::max(file->cached_size, offset + bytes.size());
  file->durable_size = std::max(file->durable_size, offset + bytes.size());
  file->allocated = std::max(file->allocated, file->cached_size);
}

uint64_t SimDisk::FileSize(std::string_view path) const {
  const InodeRef file = image_.FindFile(NormalPath(path));
  CHECK(file != nullptr);
  return file->cached_size;
}

}  // namespace metastore::sim
