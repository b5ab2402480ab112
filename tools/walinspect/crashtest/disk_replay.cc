#include "tools/walinspect/crashtest/disk_replay.h"

#include <algorithm>
#include <utility>

namespace metastore::crashtest {
namespace {

using io::TraceOp;
using io::TraceRecord;

const char* DataOf(const TraceRecord& write) {
  return write.data.empty() ? nullptr : write.data.data();
}

bool IsWrite(TraceOp op) { return op == TraceOp::kWrite || op == TraceOp::kDurableWrite; }

bool Creates(const TraceRecord& record) {
  return record.op == TraceOp::kOpen && record.mode == static_cast<uint8_t>(io::OpenMode::kCreate);
}

// A write of whole sectors, so that the disk takes it.
bool IsWellFormed(const TraceRecord& record) {
  if (!IsWrite(record.op)) return true;
  return (record.offset | record.size) % sim::kSectorBytes == 0 &&
         (record.data.empty() || record.data.size() == record.size);
}

std::string ReadAll(const sim::Inode& file) {
  std::string bytes(static_cast<size_t>(file.cached_size), '\0');
  sim::SimImage::Read(file, 0, bytes.data(), bytes.size());
  return bytes;
}

}  // namespace

bool IsBesideTheTrace(std::string_view path) { return path.ends_with("/LOCK"); }

bool DiskReplay::Below(std::string_view path, std::string* inside) const {
  if (root_.empty() || !path.starts_with(root_)) return false;
  const std::string_view rest = path.substr(root_.size());
  if (!rest.empty() && rest[0] != '/') return false;
  *inside = sim::NormalPath(rest);
  return true;
}

Status DiskReplay::Apply(const TraceRecord& record) {
  switch (record.kind) {
    case io::TraceKind::kBegin:
      return Begin(record);
    case io::TraceKind::kEnd:
      return End(record);
    case io::TraceKind::kNote:
      return ApplyNote(record);
  }
  return DataLossError("a record of no kind");
}

Status DiskReplay::Begin(const TraceRecord& record) {
  if (!IsWellFormed(record)) {
    return DataLossError("operation ", record.operation, " writes no whole sectors");
  }
  under_way_[record.operation] = {.begun = record, .order = disk_.order()};
  return OkStatus();
}

Status DiskReplay::End(const TraceRecord& record) {
  const auto found = under_way_.find(record.operation);
  if (found == under_way_.end()) {
    return DataLossError("operation ", record.operation, " ends and never began");
  }
  const Operation operation = found->second;
  under_way_.erase(found);
  if (record.code == StatusCode::kOk) return Perform(operation);
  const TraceOp op = operation.begun.op;
  const bool harmless = op == TraceOp::kOpen || op == TraceOp::kRemove;
  if (harmless) return OkStatus();
  return FailedPreconditionError("operation ", record.operation,
                                 " failed: what is on the disk since then is not known");
}

Status DiskReplay::Perform(const Operation& operation) {
  const TraceRecord& begun = operation.begun;
  std::string path;
  if (begun.op == TraceOp::kOpen) {
    if (!Below(begun.name, &path)) return OkStatus();
    StatusOr<sim::InodeRef> opened = disk_.Open(path, static_cast<io::OpenMode>(begun.mode));
    if (!opened.ok()) return DataLossError("trace: ", StdView(opened.status().message()));
    files_[begun.file] = *std::move(opened);
    return OkStatus();
  }
  if (begun.op == TraceOp::kSyncDirectory) {
    if (!Below(begun.name, &path)) return OkStatus();
    StatusOr<sim::InodeRef> directory = disk_.FindDirectory(path);
    if (!directory.ok()) return DataLossError("trace: ", StdView(directory.status().message()));
    sim::SimImage::SyncNames(**directory, operation.order);
    return OkStatus();
  }
  if (begun.op == TraceOp::kRemove || begun.op == TraceOp::kMakeDirectories) {
    if (!Below(begun.name, &path)) return OkStatus();
    return begun.op == TraceOp::kRemove ? disk_.Remove(path) : disk_.MakeDirectories(path);
  }
  const auto file = files_.find(begun.file);
  return file == files_.end() ? OkStatus() : PerformOnFile(operation, *file->second);
}

Status DiskReplay::PerformOnFile(const Operation& operation, sim::Inode& file) {
  const TraceRecord& begun = operation.begun;
  const auto size = static_cast<size_t>(begun.size);
  switch (begun.op) {
    case TraceOp::kWrite:
      disk_.Write(file, begun.offset, DataOf(begun), size);
      return OkStatus();
    case TraceOp::kDurableWrite:
      disk_.WriteDurably(file, begun.offset, DataOf(begun), size);
      return OkStatus();
    case TraceOp::kSync:
      sim::SimImage::Sync(file, operation.order);
      return OkStatus();
    case TraceOp::kAllocate:
      if (begun.size > file.cached_size) disk_.Resize(file, begun.size);
      return OkStatus();
    case TraceOp::kTruncate:
      disk_.Resize(file, begun.size);
      return OkStatus();
    case TraceOp::kNone:
    case TraceOp::kOpen:
    case TraceOp::kRemove:
    case TraceOp::kMakeDirectories:
    case TraceOp::kSyncDirectory:
      break;
  }
  return DataLossError("operation ", begun.operation, " is of no kind");
}

// What `operation`, under way at a crash, has done to `disk`: nothing that is durable.
void DiskReplay::Happen(sim::SimImage& disk, const Operation& operation, bool changes_names) const {
  const TraceRecord& begun = operation.begun;
  std::string path;
  const bool on_name =
      begun.op == TraceOp::kRemove || begun.op == TraceOp::kMakeDirectories || Creates(begun);
  if (on_name) {
    if (!changes_names || !Below(begun.name, &path)) return;
    // What cannot be done, such as creating what is there, was going to fail.
    if (begun.op == TraceOp::kRemove) disk.Remove(path).IgnoreError();
    if (begun.op == TraceOp::kMakeDirectories) disk.MakeDirectories(path).IgnoreError();
    if (Creates(begun)) disk.Open(path, io::OpenMode::kCreate).status().IgnoreError();
    return;
  }
  const auto file = files_.find(begun.file);
  if (file == files_.end()) return;
  const sim::InodeRef inode = disk.FindById(file->second->id);
  if (inode == nullptr) return;  // it has no name left
  if (IsWrite(begun.op)) {
    disk.Write(*inode, begun.offset, DataOf(begun), static_cast<size_t>(begun.size));
  } else if (changes_names && begun.op == TraceOp::kTruncate) {
    disk.Resize(*inode, begun.size);
  } else if (changes_names && begun.op == TraceOp::kAllocate && begun.size > inode->cached_size) {
    disk.Resize(*inode, begun.size);
  }
}

sim::SimImage DiskReplay::DiskAtCrash(UnderWay under_way, Prng& prng) const {
  sim::SimImage disk = disk_.Clone();
  if (under_way == UnderWay::kNone) return disk;
  for (const auto& [number, operation] : under_way_) {
    Happen(disk, operation, under_way == UnderWay::kAll || prng.Chance(1, 2));
  }
  return disk;
}

// --- between two lives

Status DiskReplay::ApplyNote(const TraceRecord& record) {
  switch (NoteOf(record)) {
    case Note::kBoot:
      root_ = record.name;
      return OkStatus();
    case Note::kEnded:
      found_.clear();
      return OkStatus();
    case Note::kFile:
      telling_ = &found_[sim::NormalPath(record.name)];
      telling_->bytes = record.size;
      return OkStatus();
    case Note::kBytes:
      if (telling_ == nullptr) return DataLossError("bytes of no file");
      telling_->content.Write(record.offset, record.data.data(), record.data.size());
      return OkStatus();
    case Note::kListed:
      return Settle();
    case Note::kPut:
    case Note::kDelete:
    case Note::kAnswered:
      return OkStatus();
  }
  return DataLossError("a note of no kind");
}

Status DiskReplay::Settle() {
  telling_ = nullptr;
  for (const auto& [number, operation] : under_way_) {
    const TraceRecord& begun = operation.begun;
    std::string path;
    const bool named = Below(begun.name, &path);
    const bool there = found_.contains(path);
    if (Creates(begun)) {
      if (named && there) disk_.Open(path, io::OpenMode::kCreate).status().IgnoreError();
    } else if (begun.op == TraceOp::kRemove) {
      if (named && !there) disk_.Remove(path).IgnoreError();
    } else if (begun.op == TraceOp::kMakeDirectories) {
      if (named) disk_.MakeDirectories(path).IgnoreError();
    } else if (const auto file = files_.find(begun.file); file != files_.end()) {
      for (const auto& [name, content] : found_) {
        if (disk_.FindFile(name) == file->second) SettleWrite(operation, *file->second, content);
      }
    }
  }
  under_way_.clear();
  files_.clear();
  return Compare();
}

// Takes over those sectors that hold what was being written.
void DiskReplay::SettleWrite(const Operation& operation, sim::Inode& file, const Content& content) {
  const TraceRecord& begun = operation.begun;
  if (begun.op == TraceOp::kAllocate || begun.op == TraceOp::kTruncate) {
    if (content.bytes == begun.size) disk_.Resize(file, begun.size);
    return;
  }
  if (!IsWrite(begun.op)) return;
  constexpr size_t kSector = sim::kSectorBytes;
  const std::string zeros(kSector, '\0');
  for (uint64_t at = 0; at < begun.size; at += kSector) {
    const uint64_t offset = begun.offset + at;
    if (offset + kSector > content.bytes) return;
    const char* written = begun.data.empty() ? zeros.data() : begun.data.data() + at;
    char now[kSector];
    content.content.Read(offset, now, kSector);
    if (std::equal(now, now + kSector, written)) disk_.Write(file, offset, written, kSector);
  }
}

Status DiskReplay::Compare() const {
  for (const std::string& path : disk_.Files()) {
    if (!found_.contains(path)) return DataLossError("the trace has ", path, ", the disk has not");
  }
  for (const auto& [path, content] : found_) {
    if (IsBesideTheTrace(path)) continue;
    const sim::InodeRef file = disk_.FindFile(path);
    if (file == nullptr) return DataLossError("the trace does not explain the file ", path);
    const std::string expected = ReadAll(*file);
    if (expected.size() != content.bytes) {
      return DataLossError("the trace does not explain the size of ", path, ": ", content.bytes,
                           " bytes, not ", expected.size());
    }
    std::string bytes(expected.size(), '\0');
    content.content.Read(0, bytes.data(), bytes.size());
    const auto differ = std::mismatch(bytes.begin(), bytes.end(), expected.begin());
    if (differ.first != bytes.end()) {
      return DataLossError("the trace does not explain ", path, " at offset ",
                           differ.first - bytes.begin());
    }
  }
  return OkStatus();
}

}  // namespace metastore::crashtest
