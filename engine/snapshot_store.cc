#include "engine/snapshot_store.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "io/base/hash.h"
#include "io/base/limits.h"

namespace metastore::engine {
namespace {

bool Newer(const SnapshotFile& a, const SnapshotFile& b) {
  return a.applied_index > b.applied_index;
}

// Where the error is, for a file: a stream's message already names the offset.
Status InFile(const Status& status, const std::string& path) { return Annotate(status, path); }

}  // namespace

SnapshotStore::SnapshotStore(io::Runtime& runtime, std::string directory)
    : runtime_(runtime), directory_(std::move(directory)) {
  CHECK(!directory_.empty());
}

SnapshotStore::~SnapshotStore() { CHECK(!receiving_.has_value()); }

std::string SnapshotStore::PathOf(LogIndex index) const {
  return Concat(directory_, "/", SnapshotFileName(index));
}

const SnapshotFile* SnapshotStore::Find(LogIndex index) const {
  const auto found = std::ranges::find(files_, index, &SnapshotFile::applied_index);
  return found == files_.end() ? nullptr : &*found;
}

// The newest file that is not pending.
const SnapshotFile* SnapshotStore::NewestSettled() const {
  const auto found =
      std::ranges::find_if(files_, [this](const SnapshotFile& file) { return !IsPending(file); });
  return found == files_.end() ? nullptr : &*found;
}

void SnapshotStore::AddFile(SnapshotFile file) {
  files_.push_back(std::move(file));
  std::sort(files_.begin(), files_.end(), Newer);
}

void SnapshotStore::AddUnfinished(std::string path, Status damage) {
  unfinished_.push_back({std::move(path), std::move(damage)});
  std::ranges::sort(unfinished_, {}, &Unfinished::path);
}

// The file cannot be read: it is none of those to keep, and goes as an unfinished one does.
void SnapshotStore::SetAside(LogIndex index, Status damage) {
  const auto found = std::ranges::find(files_, index, &SnapshotFile::applied_index);
  if (found == files_.end()) return;
  AddUnfinished(found->path, std::move(damage));
  files_.erase(found);
}

io::Task<Status> SnapshotStore::Open() {
  const Status made = co_await runtime_.MakeDirectories(directory_);
  MS_CO_RETURN_IF_ERROR(made);
  const StatusOr<std::vector<io::DirectoryEntry>> entries =
      co_await runtime_.ListDirectory(directory_);
  MS_CO_RETURN_IF_ERROR(entries.status());
  for (const io::DirectoryEntry& entry : *entries) {
    if (entry.is_directory || !IsSnapshotFileName(entry.name)) continue;
    const std::string path = Concat(directory_, "/", entry.name);
    StatusOr<SnapshotFile> file = co_await ReadTrailer(path);
    if (file.ok()) {
      AddFile(*std::move(file));
    } else if (file.status().code() == StatusCode::kDataLoss) {
      AddUnfinished(path, file.status());
    } else {
      co_return file.status();
    }
  }
  // Whether a received file is pending is known once the log is: none is removed here.
  const Status removed = co_await RemoveOld(LogIndex(0));
  co_return removed;
}

// kDataLoss: there is no valid trailer, so the file was never finished, or its end is damaged.
io::Task<StatusOr<SnapshotFile>> SnapshotStore::ReadTrailer(std::string path) {
  StatusOr<std::unique_ptr<io::File>> file = co_await runtime_.OpenFile(path, io::OpenMode::kRead);
  MS_CO_RETURN_IF_ERROR(file.status());
  const uint64_t file_bytes = (*file)->size();
  const Status no_trailer =
      DataLossError(path, ": no valid trailer at offset ", file_bytes - limits::kBlockBytes);
  if (file_bytes < 2 * limits::kBlockBytes || file_bytes % limits::kBlockBytes != 0) {
    co_return DataLossError(path, ": an unfinished snapshot of ", file_bytes, " bytes");
  }
  io::IoBuffer block = runtime_.AllocateBuffer(limits::kBlockBytes);
  const std::span<char> into(block.data(), limits::kBlockBytes);
  const StatusOr<size_t> read =
      co_await (*file)->Read(file_bytes - limits::kBlockBytes, into, block.registered_index());
  MS_CO_RETURN_IF_ERROR(read.status());
  std::optional<SnapshotFile> result = DecodeSnapshotTrailer({block.data(), *read});
  if (!result.has_value()) co_return no_trailer;
  result->path = path;
  const bool whole = SnapshotFileBytes(result->stream_bytes) == file_bytes;
  if (!whole || path != PathOf(result->applied_index)) co_return no_trailer;
  co_return *std::move(result);
}

// An unfinished file of the same index, left by a crash, is in the way. Nobody else may remove it
// later, when its name is the new file's.
io::Task<StatusOr<std::unique_ptr<io::File>>> SnapshotStore::CreateFile(std::string path) {
  std::erase_if(unfinished_, [&](const Unfinished& file) { return file.path == path; });
  while (removing_ > 0) co_await removed_.Wait();  // ends with the disk's operations
  const Status cleared = co_await runtime_.RemoveFile(path);
  if (!cleared.ok() && cleared.code() != StatusCode::kNotFound) co_return cleared;
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(path, io::OpenMode::kCreate);
  co_return file;
}

io::Task<StatusOr<SnapshotFile>> SnapshotStore::Write(SnapshotSource& source) {
  CHECK(!writing_.has_value());
  SnapshotFile into;
  into.applied_index = source.meta().applied_index;
  into.term = source.meta().term;
  into.path = PathOf(into.applied_index);
  if (Find(into.applied_index) != nullptr) {
    co_return AlreadyExistsError(into.path, ": is a valid snapshot");
  }
  if (receiving_ == into.applied_index) {
    co_return UnavailableError(into.path, ": is being received");
  }
  writing_ = into.applied_index;
  const Status written = co_await WriteFile(source, into);
  if (!written.ok()) {
    // Its space may be what is lacking. Should this fail too, it is an unfinished file, and goes
    // with the next Open.
    const Status removed = co_await runtime_.RemoveFile(into.path);
    writing_.reset();
    co_return removed.ok() ? written : Annotate(written, "and the unfinished file was not removed");
  }
  AddFile(into);
  // What it covers is applied: an older pending file will not be installed.
  const Status removed = co_await RemoveOld(into.applied_index);
  writing_.reset();
  MS_CO_RETURN_IF_ERROR(removed);
  co_return into;
}

io::Task<Status> SnapshotStore::WriteFile(SnapshotSource& source, SnapshotFile& into) {
  StatusOr<std::unique_ptr<io::File>> file = co_await CreateFile(into.path);
  MS_CO_RETURN_IF_ERROR(file.status());
  SnapshotFileWriter writer(runtime_, *std::move(file));
  bool more = true;
  while (more) {
    const StatusOr<std::string> bytes = co_await source.Next();
    MS_CO_RETURN_IF_ERROR(bytes.status());
    more = !bytes->empty();
    const Status added = co_await writer.Add(*bytes);
    MS_CO_RETURN_IF_ERROR(added);
  }
  const Status ended = co_await writer.EndStream();
  MS_CO_RETURN_IF_ERROR(ended);
  into.stream_bytes = writer.stream_bytes();
  into.stream_hash = writer.stream_hash();
  const Status valid = co_await writer.WriteTrailer(into);
  MS_CO_RETURN_IF_ERROR(valid);
  const Status named = co_await runtime_.SyncDirectory(directory_);
  co_return named;
}

// What need not be kept (see the header), pending files below `pending_end`, and every unfinished
// file older than the newest that is not pending.
io::Task<Status> SnapshotStore::RemoveOld(LogIndex pending_end) {
  std::vector<std::string> old;
  std::vector<SnapshotFile> kept;
  size_t settled = 0;
  for (SnapshotFile& file : files_) {
    const bool pending = IsPending(file);
    const bool goes = pending ? file.applied_index < pending_end : settled >= kKept;
    if (!pending) settled = file.received ? kKept : settled + 1;
    if (goes) {
      old.push_back(std::move(file.path));
    } else {
      kept.push_back(std::move(file));
    }
  }
  files_ = std::move(kept);
  if (const SnapshotFile* newest = NewestSettled()) TakeUnfinished(newest->applied_index, old);
  const Status removed = co_await RemoveFiles(std::move(old));
  co_return removed;
}

// Those below `end`: their paths are added to `paths`.
void SnapshotStore::TakeUnfinished(LogIndex end, std::vector<std::string>& paths) {
  const std::string end_path = PathOf(end);
  while (!unfinished_.empty() && unfinished_.front().path < end_path) {
    paths.push_back(std::move(unfinished_.front().path));
    unfinished_.erase(unfinished_.begin());
  }
}

io::Task<Status> SnapshotStore::RemoveFiles(std::vector<std::string> paths) {
  if (paths.empty()) co_return OkStatus();
  ++removing_;
  Status removed;
  for (const std::string& path : paths) {
    removed = co_await runtime_.RemoveFile(path);
    if (!removed.ok() && removed.code() != StatusCode::kNotFound) break;
    removed = OkStatus();
  }
  if (removed.ok()) removed = co_await runtime_.SyncDirectory(directory_);
  --removing_;
  removed_.NotifyAll();
  co_return removed;
}

// Names the damage of the newest file there is, if there is any.
Status SnapshotStore::NothingToLoad(LogIndex log_first) const {
  const std::string first =
      Concat("no snapshot reaches the log, which begins at index ", log_first.value());
  if (unfinished_.empty()) return DataLossError(directory_, ": ", first);
  return DataLossError(StdView(unfinished_.back().damage.message()), "; ", first);
}

io::Task<StatusOr<std::optional<SnapshotMeta>>> SnapshotStore::Load(Engine& engine,
                                                                    LogIndex log_first) {
  CHECK_GE(log_first, LogIndex(1));
  // An installed file's log begins right after it, and later ones only further on.
  installed_ = log_first - 1;
  std::optional<SnapshotMeta> loaded;
  while (!loaded.has_value()) {
    const SnapshotFile* newest = NewestSettled();
    if (newest == nullptr || newest->applied_index < installed_) break;
    const LogIndex index = newest->applied_index;
    StatusOr<SnapshotMeta> meta = co_await LoadFile(engine, *newest);
    if (meta.ok()) {
      loaded = *std::move(meta);
    } else if (meta.status().code() == StatusCode::kDataLoss) {
      runtime_.log().Error("snapshot is damaged", {{"error", StdView(meta.status().message())}});
      SetAside(index, meta.status());
    } else {
      co_return meta.status();
    }
  }
  if (!loaded.has_value() && log_first > LogIndex(1)) co_return NothingToLoad(log_first);
  const Status removed = co_await RemoveOld(LogIndex(UINT64_MAX));
  MS_CO_RETURN_IF_ERROR(removed);
  co_return loaded;
}

io::Task<StatusOr<SnapshotMeta>> SnapshotStore::LoadFile(Engine& engine, SnapshotFile from) {
  const std::unique_ptr<SnapshotSink> sink = engine.StartRestore();
  const Status read = co_await ReadWhole(from, sink.get(), io::StopToken());
  MS_CO_RETURN_IF_ERROR(read);
  StatusOr<SnapshotMeta> meta = co_await sink->Finish();
  if (!meta.ok()) co_return InFile(meta.status(), from.path);
  co_return meta;
}

// Checks the file against its trailer; `sink`, if there is one, gets the stream.
io::Task<Status> SnapshotStore::ReadWhole(SnapshotFile from, SnapshotSink* sink,
                                          io::StopToken stop) {
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(from.path, io::OpenMode::kRead);
  MS_CO_RETURN_IF_ERROR(file.status());
  io::IoBuffer buffer = runtime_.AllocateBuffer(kSnapshotWriteBytes);
  uint64_t hash = kSnapshotHashSeed;
  for (uint64_t offset = 0; offset < from.stream_bytes; offset += kSnapshotWriteBytes) {
    if (stop.stopped()) co_return CancelledError(from.path, ": stopping");
    const uint64_t wanted = std::min<uint64_t>(kSnapshotWriteBytes, from.stream_bytes - offset);
    const std::span<char> into(buffer.data(), static_cast<size_t>(BlocksUp(wanted)));
    const StatusOr<size_t> read = co_await (*file)->Read(offset, into, buffer.registered_index());
    MS_CO_RETURN_IF_ERROR(read.status());
    if (*read < into.size())
      co_return DataLossError(from.path, ": ends at offset ", offset + *read);
    hash = Hash64(std::string_view(into.data(), into.size()), hash);
    const std::string_view bytes(buffer.data(), static_cast<size_t>(wanted));
    if (offset == 0) {
      const Status head = CheckSnapshotHead(bytes, from);
      if (!head.ok()) co_return InFile(head, from.path);
    }
    if (sink == nullptr) continue;
    const Status added = co_await sink->Add(bytes);
    if (!added.ok()) co_return InFile(added, from.path);
  }
  if (hash == from.stream_hash) co_return OkStatus();
  co_return DataLossError(from.path, ": the stream is not the one the trailer at offset ",
                          BlocksUp(from.stream_bytes), " was written for");
}

io::Task<StatusOr<std::unique_ptr<SnapshotReader>>> SnapshotStore::OpenReader(LogIndex index) {
  const SnapshotFile* found = Find(index);
  if (found == nullptr) co_return NotFoundError(PathOf(index), ": no such snapshot");
  SnapshotFile facts = *found;
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(facts.path, io::OpenMode::kRead);
  MS_CO_RETURN_IF_ERROR(file.status());
  co_return std::make_unique<SnapshotReader>(runtime_, *std::move(file), std::move(facts));
}

io::Task<Status> SnapshotStore::Verify(LogIndex index, io::StopToken stop) {
  const SnapshotFile* found = Find(index);
  if (found == nullptr) co_return NotFoundError(PathOf(index), ": no such snapshot");
  const Status read = co_await ReadWhole(*found, nullptr, stop);
  if (read.code() == StatusCode::kDataLoss) {
    runtime_.log().Error("snapshot is damaged", {{"error", StdView(read.message())}});
    SetAside(index, read);
  }
  co_return read;
}

Status SnapshotStore::JudgeOffer(const SnapshotFile& facts) const {
  if (facts.applied_index == LogIndex(0) || facts.stream_bytes == 0 ||
      facts.stream_bytes > kSnapshotStreamBytesMax) {
    return InvalidArgumentError("no snapshot of index ", facts.applied_index.value(), " has ",
                                facts.stream_bytes, " bytes");
  }
  const SnapshotFile* settled = NewestSettled();
  if (settled != nullptr && settled->applied_index >= facts.applied_index) {
    return AlreadyExistsError(settled->path, ": is here, and covers what is offered");
  }
  const auto pending =
      std::ranges::find_if(files_, [this](const SnapshotFile& file) { return IsPending(file); });
  if (pending != files_.end()) {
    return UnavailableError(pending->path, ": has come and is yet to be installed");
  }
  if (writing_ == facts.applied_index) return UnavailableError(facts.path, ": is being written");
  return OkStatus();
}

io::Task<StatusOr<std::unique_ptr<SnapshotReceiver>>> SnapshotStore::StartReceive(
    SnapshotFile facts) {
  CHECK(!receiving_.has_value());
  facts.path = PathOf(facts.applied_index);
  facts.received = true;
  const Status judged = JudgeOffer(facts);
  MS_CO_RETURN_IF_ERROR(judged);
  receiving_ = facts.applied_index;
  StatusOr<std::unique_ptr<io::File>> file = co_await CreateReceived(facts);
  if (file.ok()) {
    co_return std::make_unique<SnapshotReceiver>(runtime_, *this, *std::move(file),
                                                 std::move(facts));
  }
  const Status removed = co_await runtime_.RemoveFile(facts.path);
  receiving_.reset();
  if (!removed.ok() && removed.code() != StatusCode::kNotFound) AddUnfinished(facts.path, removed);
  co_return file.status();
}

// With all its space, so that it is refused now, and not after most of it came, if there is none.
io::Task<StatusOr<std::unique_ptr<io::File>>> SnapshotStore::CreateReceived(
    const SnapshotFile& facts) {
  const Status room = co_await RemoveOld(LogIndex(0));
  MS_CO_RETURN_IF_ERROR(room);
  std::vector<std::string> unfinished;
  TakeUnfinished(facts.applied_index, unfinished);
  const Status removed = co_await RemoveFiles(std::move(unfinished));
  MS_CO_RETURN_IF_ERROR(removed);
  StatusOr<std::unique_ptr<io::File>> file = co_await CreateFile(facts.path);
  MS_CO_RETURN_IF_ERROR(file.status());
  const StatusOr<size_t> allocated =
      co_await (*file)->Allocate(SnapshotFileBytes(facts.stream_bytes));
  MS_CO_RETURN_IF_ERROR(allocated.status());
  co_return file;
}

io::Task<StatusOr<SnapshotMeta>> SnapshotStore::LoadReceived(Engine& engine, LogIndex index) {
  const SnapshotFile* found = Find(index);
  if (found == nullptr || !found->received) {
    co_return NotFoundError(PathOf(index), ": no such received snapshot");
  }
  StatusOr<SnapshotMeta> meta = co_await LoadFile(engine, *found);
  co_return meta;
}

void SnapshotStore::NoteInstalled(LogIndex index) { installed_ = std::max(installed_, index); }

void SnapshotStore::Discard(LogIndex index) {
  const SnapshotFile* found = Find(index);
  if (found == nullptr || !IsPending(*found)) return;
  SetAside(index, FailedPreconditionError(found->path, ": was received and not needed"));
}

}  // namespace metastore::engine
