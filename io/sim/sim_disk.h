// SimDisk: one disk of the simulation. It survives its machine's processes and power losses,
// and knows of every byte whether it is durable. With no faults it gives exactly the contract
// of io/file.h and not a bit more.
//
// Operations take virtual time, complete in any order and are numbered from 1; a hook sees each
// and may crash the machine before, within or after it. All chance comes from the disk's own
// stream of the world's seed.
//
// How a test uses it:
//   disk.faults().Set(SimFault::kLostWrite, 1000, 1);      // one in a thousand, at most once
//   disk.FailNext(SimFault::kSyncError, "segment");        // the next sync of such a path
//   disk.CrashAt(k, SimCrash::kTorn);                      // power goes within the k-th operation
//   SimImage image = disk.CloneAfterPowerLoss(seed);       // and the original goes on
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/prng.h"
#include "io/file.h"
#include "io/sim/sim_clock.h"
#include "io/sim/sim_image.h"
#include "io/sim/sim_log.h"

namespace metastore::sim {

enum class SimFault : uint8_t {
  kNone,
  kLostWrite,         // acknowledged, never applied
  kMisdirectedWrite,  // acknowledged, applied to other blocks of this or another file
  kMisdirectedRead,   // gives other blocks of the file, once
  kBitRot,            // one bit of what is read has flipped for good
  kUnreadable,        // kDataLoss: one sector cannot be read until it is written again
  kReadError,         // kDataLoss, once
  kWriteError,        // kDataLoss: some sectors are written, some are not
  kShortWrite,        // kInternal: only the first sectors are written
  kSyncError,         // kDataLoss; what was pending counts as clean, half of it is lost
  kNoSpace,           // kResourceExhausted from anything that changes the disk
  kSpike,             // completes late: SimDiskOptions::spike_min..spike_max
};
inline constexpr size_t kSimFaults = 12;
std::string_view FaultName(SimFault fault);

// Which faults happen by chance, and how often at most.
class SimFaults final {
 public:
  static constexpr uint64_t kUnlimited = UINT64_MAX;

  // `per_million` of the operations the fault can befall; at most `budget` more of them.
  void Set(SimFault fault, uint32_t per_million, uint64_t budget = kUnlimited);
  void Clear() { *this = SimFaults(); }

 private:
  friend class SimDisk;
  struct Chance {
    uint32_t per_million = 0;
    uint64_t budget = 0;
  };
  std::array<Chance, kSimFaults> chances_;
};

enum class SimDiskOp : uint8_t {
  kRead,
  kWrite,
  kDurableWrite,
  kSync,
  kAllocate,
  kTruncate,
  kOpen,  // also creates
  kRemove,
  kRename,  // of a directory
  kList,
  kMakeDirectories,
  kSyncDirectory,
};

// One operation as the hook sees it, at its submission.
struct SimIo {
  uint64_t number = 0;  // from 1
  SimDiskOp op = SimDiskOp::kRead;
  std::string_view path;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// When the machine stops, relative to an operation that is being submitted.
enum class SimCrash : uint8_t {
  kNone,
  kBefore,  // it has no effect
  kTorn,    // any subset of its sectors is written; an operation on names happens or not
  kAfter,   // it has its full effect, but nobody learns of it
};
enum class SimCrashKind : uint8_t { kPowerLoss, kKill };

struct SimIoVerdict {
  SimFault fault = SimFault::kNone;  // kNone leaves it to chance
  SimCrash crash = SimCrash::kNone;
  SimCrashKind kind = SimCrashKind::kPowerLoss;
};

struct SimDiskOptions {
  Duration latency = Microseconds(100);  // of a write; about lognormal around it
  Duration read_latency = Microseconds(60);
  int64_t bytes_per_us = 1000;  // added for the size
  Duration spike_min = Milliseconds(10);
  Duration spike_max = Seconds(60);
  uint64_t capacity_bytes = uint64_t{64} << 30;
  std::optional<PowerLossMode> power_loss;  // unset: chosen anew at each power loss
  bool shorn_sectors = false;               // a torn write may mix old and new within one sector
};

// Completed operations since the disk was made.
struct SimDiskCounters {
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t writes = 0;
  uint64_t write_bytes = 0;
  uint64_t durable_writes = 0;
  uint64_t durable_bytes = 0;
  uint64_t syncs = 0;
  uint64_t directory_syncs = 0;
  uint64_t name_changes = 0;  // files created and removed
  uint64_t power_losses = 0;

  // Every request that makes something durable.
  uint64_t flushes() const { return durable_writes + syncs; }
};

// One operation under way. Owned by the submitter, kept in place with its buffer until done()
// was called.
struct DiskRequest : SimEvent {
  SimDiskOp op = SimDiskOp::kRead;
  uint64_t process = 0;  // whose death ends it
  std::string path;
  std::string new_path;  // kRename
  io::OpenMode mode = io::OpenMode::kRead;
  InodeRef inode;  // kOpen: the result
  uint64_t offset = 0;
  char* data = nullptr;
  size_t size = 0;
  io::DurableMethod method = io::DurableMethod::kDsync;
  void (*done)(DiskRequest& self) = nullptr;

  Status status;
  size_t done_bytes = 0;
  std::vector<io::DirectoryEntry> entries;

  // The disk's own.
  class SimDisk* disk = nullptr;
  SimFault fault = SimFault::kNone;
  uint64_t number = 0;
  uint64_t order = 0;        // of the image when it was submitted
  uint64_t source_hash = 0;  // of the bytes to be written, when submitted
  bool settled = false;      // its effect on the image is decided
};

class SimDisk final {
 public:
  SimDisk(std::string name, SimClock& clock, Prng prng, SimDiskOptions options);
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  const std::string& name() const { return name_; }
  SimDiskOptions& options() { return options_; }

  // --- faults ----------------------------------------------------------------------------------
  SimFaults& faults() { return faults_; }
  // The next operation that `fault` can befall, and whose path contains `path_part`, meets it;
  // `skip` such are let by.
  void FailNext(SimFault fault, std::string path_part = "", uint64_t skip = 0);
  // What FailNext has asked for, and has not come to pass, will not.
  void FailNoMore() { scripted_.clear(); }
  // How often it has happened.
  uint64_t fault_hits(SimFault fault) const { return hits_[static_cast<size_t>(fault)]; }
  // One bit flips at rest, now.
  void FlipBit(std::string_view path, uint64_t offset, unsigned bit);
  // Reading this sector gives kDataLoss until it is written.
  void MarkUnreadable(std::string_view path, uint64_t offset);
  // Every change is refused with kPermissionDenied, or no longer.
  void SetReadOnly(bool read_only) { read_only_ = read_only; }
  // Nothing completes until Release; then everything held does, in random order.
  void Stall();
  void Release();
  bool stalled() const { return stalled_; }
  // All later operations take `factor` times as long; 1 is the normal speed.
  void SetSlowFactor(int64_t factor) { slow_factor_ = factor; }

  // --- crashes at an exact operation -----------------------------------------------------------
  using IoHook = std::function<SimIoVerdict(const SimIo&)>;
  // Called at every submission. It must not call the disk; null removes it.
  void OnIo(IoHook hook) { hook_ = std::move(hook); }
  // The machine stops at the `number`-th operation from now, 1 being the next. One at a time; 0
  // removes it.
  void CrashAt(uint64_t number, SimCrash crash, SimCrashKind kind = SimCrashKind::kPowerLoss);
  uint64_t io_count() const { return io_count_; }  // operations submitted
  size_t in_flight() const { return under_way_.size(); }

  // --- content ---------------------------------------------------------------------------------
  const SimDiskCounters& counters() const { return counters_; }
  // What is there now, as a read sees it, and what is pending; operations under way are not in
  // it.
  SimImage Clone() const { return image_.Clone(); }
  // What a power loss now could leave, as `seed` decides; the disk itself goes on.
  SimImage CloneAfterPowerLoss(uint64_t seed) const;
  // Replaces the content. No file may be open and nothing under way.
  void Restore(SimImage image);
  // Paths of all files, sorted.
  std::vector<std::string> ListFiles() const { return image_.Files(); }
  // Bytes as durable now, fewer at the end of the file; CHECKs that the file exists.
  std::string ReadDurable(std::string_view path, uint64_t offset, size_t size) const;
  // The same as a read sees them.
  std::string ReadCached(std::string_view path, uint64_t offset, size_t size) const;
  // Overwrites both, any offset and size; a file that does not exist is made, with its
  // directories, durably.
  void WriteRaw(std::string_view path, uint64_t offset, std::string_view bytes);
  // Bytes; CHECKs that the file exists.
  uint64_t FileSize(std::string_view path) const;
  uint64_t used_bytes() const { return image_.AllocatedBytes(); }

  // --- for the runtime and the machine ---------------------------------------------------------
  // done() is called in a later event, or within StopProcess.
  void Submit(DiskRequest& request);
  // The process ended, by kill -9: what it had under way happens, happens partly or not; done()
  // is called for each with kCancelled.
  void StopProcess(uint64_t process);
  // The power goes: as StopProcess for everybody, and then what is not durable is lost.
  void LosePower();
  // Called for a crash that hook or CrashAt asks for, with the process whose operation it is;
  // it must stop that process.
  using CrashHandler = std::function<void(uint64_t process, SimCrashKind kind)>;
  void OnCrash(CrashHandler crash) { crash_ = std::move(crash); }
  // Lock table, by directory: false if another holder has it.
  bool TryLock(const std::string& path, uint64_t holder);
  void Unlock(const std::string& path, uint64_t holder);
  // kNotFound unless it is a directory.
  Status CheckDirectory(std::string_view path) const;

 private:
  struct Scripted {
    SimFault fault;
    std::string path_part;
    uint64_t skip;
  };

  struct Placement {
    Inode* file = nullptr;
    uint64_t offset = 0;  // of the request's first byte
    size_t first = 0;     // the part of its bytes
    size_t size = 0;
    bool durable = false;
  };
  static constexpr uint64_t kEveryProcess = UINT64_MAX;

  SimIoVerdict Judge(const DiskRequest& request);
  SimFault ChooseFault(const DiskRequest& request);
  bool TakeScripted(SimFault fault, const DiskRequest& request);
  bool TakeChance(SimFault fault);
  void CrashNow(DiskRequest& request, const SimIoVerdict& verdict);
  Duration Latency(const DiskRequest& request);
  void Start(DiskRequest& request);
  void Complete(DiskRequest& request);
  void Finish(DiskRequest& request);
  void EndRequests(uint64_t process, SimCrashKind kind);
  void Perform(DiskRequest& request);
  void PerformRead(DiskRequest& request);
  void PerformWrite(DiskRequest& request);
  void PerformFileChange(DiskRequest& request);
  void PerformNames(DiskRequest& request);
  void Abandon(DiskRequest& request, SimCrashKind kind);
  void Tear(const DiskRequest& request);
  void Apply(const DiskRequest& request, Placement at);
  void ApplyWhole(const DiskRequest& request, bool durable);
  void ApplySomeSectors(const DiskRequest& request, bool durable);
  void ApplyShorn(const DiskRequest& request);
  void Misdirect(const DiskRequest& request);
  Status SpaceFor(const DiskRequest& request, uint64_t end);

  std::string name_;
  SimClock& clock_;
  Prng prng_;
  SimDiskOptions options_;
  SimImage image_;
  SimFaults faults_;
  std::vector<Scripted> scripted_;
  std::array<uint64_t, kSimFaults> hits_{};
  IoHook hook_;
  uint64_t crash_number_ = 0;
  SimIoVerdict crash_verdict_;
  CrashHandler crash_;
  std::vector<DiskRequest*> under_way_;  // in the order of submission
  std::vector<DiskRequest*> held_;       // while stalled
  uint64_t io_count_ = 0;
  int64_t slow_factor_ = 1;
  bool stalled_ = false;
  bool read_only_ = false;
  SimDiskCounters counters_;
  std::map<std::string, uint64_t> locks_;
};

}  // namespace metastore::sim
