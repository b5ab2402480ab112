// What the operations of a SimDisk do to its image, with and without faults.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "io/base/hash.h"
#include "io/base/limits.h"
#include "io/sim/sim_disk.h"

namespace metastore::sim {
namespace {

std::string_view OpName(SimDiskOp op) {
  switch (op) {
    case SimDiskOp::kRead:
      return "read";
    case SimDiskOp::kWrite:
      return "write";
    case SimDiskOp::kDurableWrite:
      return "durable write";
    case SimDiskOp::kSync:
      return "sync";
    case SimDiskOp::kAllocate:
      return "allocate";
    case SimDiskOp::kTruncate:
      return "truncate";
    case SimDiskOp::kOpen:
      return "open";
    case SimDiskOp::kRemove:
      return "remove";
    case SimDiskOp::kRename:
      return "rename";
    case SimDiskOp::kList:
      return "list";
    case SimDiskOp::kMakeDirectories:
      return "make directories";
    case SimDiskOp::kSyncDirectory:
      return "sync directory";
  }
  CHECK_UNREACHABLE();
}

bool ChangesDisk(const DiskRequest& request) {
  switch (request.op) {
    case SimDiskOp::kWrite:
    case SimDiskOp::kDurableWrite:
    case SimDiskOp::kAllocate:
    case SimDiskOp::kTruncate:
    case SimDiskOp::kRemove:
    case SimDiskOp::kRename:
    case SimDiskOp::kMakeDirectories:
      return true;
    case SimDiskOp::kOpen:
      return request.mode == io::OpenMode::kCreate;
    case SimDiskOp::kRead:
    case SimDiskOp::kSync:
    case SimDiskOp::kList:
    case SimDiskOp::kSyncDirectory:
      return false;
  }
  CHECK_UNREACHABLE();
}

Status Failure(StatusCode code, const DiskRequest& request, std::string_view what) {
  return MakeStatus(code, request.path, ": ", OpName(request.op), " at offset ", request.offset,
                    ": ", what);
}

bool IsPlainWrite(const DiskRequest& request) { return request.op == SimDiskOp::kWrite; }

}  // namespace

void SimDisk::Perform(DiskRequest& request) {
  if (request.fault != SimFault::kNone && request.fault != SimFault::kSpike) {
    ++hits_[static_cast<size_t>(request.fault)];
  }
  if (ChangesDisk(request) && read_only_) {
    request.status = Failure(StatusCode::kPermissionDenied, request, "EROFS");
    return;
  }
  if (request.fault == SimFault::kNoSpace) {
    request.status = Failure(StatusCode::kResourceExhausted, request, "ENOSPC");
    return;
  }
  switch (request.op) {
    case SimDiskOp::kRead:
      PerformRead(request);
      return;
    case SimDiskOp::kWrite:
    case SimDiskOp::kDurableWrite:
      PerformWrite(request);
      return;
    case SimDiskOp::kSync:
    case SimDiskOp::kAllocate:
    case SimDiskOp::kTruncate:
      PerformFileChange(request);
      return;
    case SimDiskOp::kOpen:
    case SimDiskOp::kRemove:
    case SimDiskOp::kRename:
    case SimDiskOp::kList:
    case SimDiskOp::kMakeDirectories:
    case SimDiskOp::kSyncDirectory:
      PerformNames(request);
      return;
  }
  CHECK_UNREACHABLE();
}

// --- reads -------------------------------------------------------------------------------------

void SimDisk::PerformRead(DiskRequest& request) {
  Inode& file = *request.inode;
  const uint64_t left = request.offset < file.cached_size ? file.cached_size - request.offset : 0;
  const auto there = static_cast<size_t>(std::min<uint64_t>(request.size, left));
  const uint64_t first_sector = request.offset / kSectorBytes;
  if (request.fault == SimFault::kUnreadable && there > 0) {
    file.bad_sectors.insert(first_sector + prng_.Below((there + kSectorBytes - 1) / kSectorBytes));
  }
  const auto bad = file.bad_sectors.lower_bound(first_sector);
  const bool unreadable =
      bad != file.bad_sectors.end() && *bad * kSectorBytes < request.offset + there;
  if (unreadable || request.fault == SimFault::kReadError) {
    request.status = Failure(StatusCode::kDataLoss, request, "EIO");
    return;
  }
  if (request.fault == SimFault::kBitRot && there > 0) {
    SimImage::FlipBit(file, request.offset + prng_.Below(there),
                      static_cast<unsigned>(prng_.Below(8)));
  }
  uint64_t from = request.offset;
  if (request.fault == SimFault::kMisdirectedRead && file.cached_size > there) {
    from = prng_.Below((file.cached_size - there) / limits::kBlockBytes + 1) * limits::kBlockBytes;
    if (from == request.offset) from = from == 0 ? limits::kBlockBytes : 0;
  }
  file.cached.Read(from, request.data, there);
  request.done_bytes = there;
  ++counters_.reads;
  counters_.read_bytes += there;
}

// --- writes ------------------------------------------------------------------------------------

Status SimDisk::SpaceFor(const DiskRequest& request, uint64_t end) {
  Inode& file = *request.inode;
  if (end <= file.allocated) return OkStatus();
  const uint64_t wanted =
      (end + limits::kBlockBytes - 1) / limits::kBlockBytes * limits::kBlockBytes;
  if (image_.AllocatedBytes() + (wanted - file.allocated) > options_.capacity_bytes) {
    return Failure(StatusCode::kResourceExhausted, request, "ENOSPC");
  }
  file.allocated = wanted;
  return OkStatus();
}

// Writes the part [first, first + size) of the request's bytes where it belongs, counted from
// `offset`.
void SimDisk::Apply(const DiskRequest& request, Placement at) {
  Inode& file = *at.file;
  const uint64_t offset = at.offset + at.first;
  const uint64_t first_sector = offset / kSectorBytes;
  if (!file.bad_sectors.empty()) {
    file.bad_sectors.erase(file.bad_sectors.lower_bound(first_sector),
                           file.bad_sectors.lower_bound(first_sector + at.size / kSectorBytes));
  }
  if (at.durable) {
    image_.WriteDurably(file, offset, request.data + at.first, at.size);
  } else {
    image_.Write(file, offset, request.data + at.first, at.size);
  }
}

void SimDisk::ApplyWhole(const DiskRequest& request, bool durable) {
  Apply(request, Placement{.file = request.inode.get(),
                           .offset = request.offset,
                           .first = 0,
                           .size = request.size,
                           .durable = durable});
}

// Each sector arrives or not; with two or more, at least one does and one does not.
void SimDisk::ApplySomeSectors(const DiskRequest& request, bool durable) {
  const uint64_t sectors = request.size / kSectorBytes;
  const uint64_t arrives = prng_.Below(sectors);
  const uint64_t missing = (arrives + 1 + prng_.Below(sectors - 1)) % sectors;
  for (uint64_t sector = 0; sector < sectors; ++sector) {
    const bool coin = prng_.Chance(1, 2);
    if (sector == missing || (!coin && sector != arrives)) continue;
    Apply(request, Placement{.file = request.inode.get(),
                             .offset = request.offset,
                             .first = static_cast<size_t>(sector * kSectorBytes),
                             .size = kSectorBytes,
                             .durable = durable});
  }
}

// The op lands whole on other blocks, of this or of another file; where there are none it is
// lost.
void SimDisk::Misdirect(const DiskRequest& request) {
  std::vector<Placement> targets;
  for (const std::string& path : image_.Files()) {
    const InodeRef file = image_.FindFile(path);
    if (file->cached_size < request.size) continue;
    const uint64_t places = (file->cached_size - request.size) / limits::kBlockBytes + 1;
    const uint64_t offset = prng_.Below(places) * limits::kBlockBytes;
    if (file == request.inode && offset == request.offset) continue;
    targets.push_back(Placement{.file = file.get(),
                                .offset = offset,
                                .first = 0,
                                .size = request.size,
                                .durable = !IsPlainWrite(request)});
  }
  if (!targets.empty()) Apply(request, targets[static_cast<size_t>(prng_.Below(targets.size()))]);
}

void SimDisk::PerformWrite(DiskRequest& request) {
  // A buffer that changes while the device reads it is a bug of the caller.
  CHECK_EQ(Hash64({request.data, request.size}, 0), request.source_hash);
  request.status = SpaceFor(request, request.offset + request.size);
  if (!request.status.ok()) return;
  const bool durable = request.op == SimDiskOp::kDurableWrite;
  request.done_bytes = request.size;
  if (request.fault == SimFault::kWriteError) {
    ApplySomeSectors(request, false);
    request.status = Failure(StatusCode::kDataLoss, request, "EIO");
  } else if (request.fault == SimFault::kSyncError) {
    ApplyWhole(request, false);
    SimImage::SyncFailed(*request.inode, image_.order(), prng_);
    request.status = Failure(StatusCode::kDataLoss, request, "EIO");
  } else if (request.fault == SimFault::kShortWrite) {
    const auto sectors = static_cast<size_t>(prng_.Below(request.size / kSectorBytes));
    request.done_bytes = sectors * kSectorBytes;
    Apply(request, Placement{.file = request.inode.get(),
                             .offset = request.offset,
                             .first = 0,
                             .size = request.done_bytes,
                             .durable = false});
    request.status = Failure(StatusCode::kInternal, request,
                             Concat("short: ", request.done_bytes, " of ", request.size, " bytes"));
  } else if (request.fault == SimFault::kMisdirectedWrite) {
    Misdirect(request);
  } else if (request.fault != SimFault::kLostWrite) {
    ApplyWhole(request, durable);
  }
  if (!request.status.ok()) return;
  ++(durable ? counters_.durable_writes : counters_.writes);
  (durable ? counters_.durable_bytes : counters_.write_bytes) += request.size;
}

void SimDisk::PerformFileChange(DiskRequest& request) {
  Inode& file = *request.inode;
  if (request.op == SimDiskOp::kSync) {
    if (request.fault == SimFault::kSyncError) {
      SimImage::SyncFailed(file, request.order, prng_);
      request.status = Failure(StatusCode::kDataLoss, request, "EIO");
      return;
    }
    SimImage::Sync(file, request.order);
    ++counters_.syncs;
    return;
  }
  if (request.op == SimDiskOp::kAllocate) {
    request.status = SpaceFor(request, request.size);
    if (request.status.ok() && request.size > file.cached_size) image_.Resize(file, request.size);
    return;
  }
  image_.Resize(file, request.size);
  file.allocated = std::min<uint64_t>(file.allocated, request.size);
}

void SimDisk::PerformNames(DiskRequest& request) {
  if (request.op == SimDiskOp::kOpen) {
    StatusOr<InodeRef> opened = image_.Open(request.path, request.mode);
    request.status = opened.status();
    if (opened.ok()) request.inode = *std::move(opened);
    counters_.name_changes += opened.ok() && request.mode == io::OpenMode::kCreate ? 1 : 0;
  } else if (request.op == SimDiskOp::kRemove) {
    request.status = image_.Remove(request.path);
    counters_.name_changes += request.status.ok() ? 1 : 0;
  } else if (request.op == SimDiskOp::kRename) {
    request.status = image_.RenameDirectory(request.path, request.new_path);
    counters_.name_changes += request.status.ok() ? 1 : 0;
  } else if (request.op == SimDiskOp::kList) {
    StatusOr<std::vector<io::DirectoryEntry>> entries = image_.List(request.path);
    request.status = entries.status();
    if (entries.ok()) request.entries = *std::move(entries);
  } else if (request.op == SimDiskOp::kMakeDirectories) {
    request.status = image_.MakeDirectories(request.path);
  } else {
    StatusOr<InodeRef> directory = image_.FindDirectory(request.path);
    request.status = directory.status();
    if (!directory.ok()) return;
    if (request.fault == SimFault::kSyncError) {
      request.status = Failure(StatusCode::kDataLoss, request, "EIO");
      return;
    }
    SimImage::SyncNames(**directory, request.order);
    ++counters_.directory_syncs;
  }
}

// --- what a crash leaves of an operation under way ---------------------------------------------

void SimDisk::Tear(const DiskRequest& request) {
  if (SpaceFor(request, request.offset + request.size).ok()) {
    ApplySomeSectors(request, request.op == SimDiskOp::kDurableWrite);
  }
}

void SimDisk::Abandon(DiskRequest& request, SimCrashKind kind) {
  const bool is_write = request.op == SimDiskOp::kWrite || request.op == SimDiskOp::kDurableWrite;
  if (!is_write) {
    // A power loss decides by itself what becomes of pending changes; reads leave nothing.
    const bool harmless = request.op == SimDiskOp::kRead || request.op == SimDiskOp::kList;
    if (harmless || request.fault == SimFault::kNoSpace || prng_.Chance(1, 2)) return;
    Perform(request);
    return;
  }
  if (!SpaceFor(request, request.offset + request.size).ok() || read_only_) return;
  if (kind == SimCrashKind::kPowerLoss) {
    // As if completed but pending: the mode of the power loss tears it like everything else
    // that is not durable.
    if (options_.shorn_sectors && prng_.Chance(1, 2)) {
      ApplyShorn(request);
    } else {
      ApplyWhole(request, false);
    }
    return;
  }
  const uint64_t draw = prng_.Below(4);
  if (draw < 2) ApplyWhole(request, false);
  if (draw == 2) ApplySomeSectors(request, false);
}

// One sector of the write is a mixture: its first part is new, the rest old.
void SimDisk::ApplyShorn(const DiskRequest& request) {
  const uint64_t sector = prng_.Below(request.size / kSectorBytes);
  const auto new_bytes = static_cast<size_t>(prng_.Between(1, kSectorBytes - 1));
  const auto at = static_cast<size_t>(sector * kSectorBytes);
  auto mixed = std::make_unique<char[]>(request.size);
  std::memcpy(mixed.get(), request.data, request.size);
  request.inode->cached.Read(request.offset + at + new_bytes, mixed.get() + at + new_bytes,
                             kSectorBytes - new_bytes);
  image_.Write(*request.inode, request.offset, mixed.get(), request.size);
}

}  // namespace metastore::sim
