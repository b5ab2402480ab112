#include "engine/snapshot_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"
#include "io/base/limits.h"

namespace metastore::engine {
namespace {

// The trailer block, at the last block of the file:
//   u64 magic | u32 version | u32 zero | u64 stream bytes | u64 applied index | u64 term |
//   u64 stream hash | u64 checksum
// The stream hash chains the hashes of the file's write buffers, zero padding included. The rest of
// the block is zero.
constexpr uint64_t kTrailerMagic = 0x6c69617254534d0a;
constexpr uint32_t kTrailerVersion = 1;
constexpr size_t kTrailerChecksumAt = 48;
constexpr uint64_t kTrailerSeed = 0x747261696c6572;
constexpr uint64_t kStreamSeed = 0x73747265616d;
constexpr size_t kWriteBytes = size_t{1} << 20;
constexpr std::string_view kSuffix = ".snap";
constexpr size_t kNameDigits = 16;

struct Trailer {
  uint64_t stream_bytes = 0;
  uint64_t applied_index = 0;
  uint64_t term = 0;
  uint64_t stream_hash = 0;
};

void EncodeTrailer(const Trailer& trailer, char* block) {
  std::memset(block, 0, limits::kBlockBytes);
  StoreU64(block, kTrailerMagic);
  StoreU32(block + 8, kTrailerVersion);
  StoreU64(block + 16, trailer.stream_bytes);
  StoreU64(block + 24, trailer.applied_index);
  StoreU64(block + 32, trailer.term);
  StoreU64(block + 40, trailer.stream_hash);
  StoreU64(block + kTrailerChecksumAt,
           Hash64(std::string_view(block, kTrailerChecksumAt), kTrailerSeed));
}

bool DecodeTrailer(const char* block, Trailer& trailer) {
  if (LoadU64(block) != kTrailerMagic || LoadU32(block + 8) != kTrailerVersion) return false;
  if (LoadU64(block + kTrailerChecksumAt) !=
      Hash64(std::string_view(block, kTrailerChecksumAt), kTrailerSeed)) {
    return false;
  }
  trailer.stream_bytes = LoadU64(block + 16);
  trailer.applied_index = LoadU64(block + 24);
  trailer.term = LoadU64(block + 32);
  trailer.stream_hash = LoadU64(block + 40);
  return true;
}

uint64_t BlocksUp(uint64_t bytes) {
  return (bytes + limits::kBlockBytes - 1) / limits::kBlockBytes * limits::kBlockBytes;
}

std::string NameOf(LogIndex index) {
  return Concat(absl::Hex(index.value(), absl::kZeroPad16), kSuffix);
}

// Whether `name` is one NameOf gives.
bool IsSnapshotName(std::string_view name) {
  if (name.size() != kNameDigits + kSuffix.size() || name.substr(kNameDigits) != kSuffix)
    return false;
  return name.substr(0, kNameDigits).find_first_not_of("0123456789abcdef") ==
         std::string_view::npos;
}

bool Newer(const SnapshotFile& a, const SnapshotFile& b) {
  return a.applied_index > b.applied_index;
}

// Where the error is, for a file: a stream's message already names the offset.
Status InFile(const Status& status, const std::string& path) { return Annotate(status, path); }

}  // namespace

std::optional<SnapshotFile> DecodeSnapshotTrailer(std::string_view block) {
  Trailer trailer;
  if (block.size() != limits::kBlockBytes || !DecodeTrailer(block.data(), trailer)) {
    return std::nullopt;
  }
  return SnapshotFile{.path = {},
                      .applied_index = LogIndex(trailer.applied_index),
                      .term = Term(trailer.term),
                      .stream_bytes = trailer.stream_bytes,
                      .stream_hash = trailer.stream_hash};
}

SnapshotStore::SnapshotStore(io::Runtime& runtime, std::string directory)
    : runtime_(runtime), directory_(std::move(directory)) {
  CHECK(!directory_.empty());
}

io::Task<Status> SnapshotStore::Open() {
  const Status made = co_await runtime_.MakeDirectories(directory_);
  MS_CO_RETURN_IF_ERROR(made);
  const StatusOr<std::vector<io::DirectoryEntry>> entries =
      co_await runtime_.ListDirectory(directory_);
  MS_CO_RETURN_IF_ERROR(entries.status());
  for (const io::DirectoryEntry& entry : *entries) {
    if (entry.is_directory || !IsSnapshotName(entry.name)) continue;
    const std::string path = Concat(directory_, "/", entry.name);
    StatusOr<SnapshotFile> file = co_await ReadTrailer(path);
    if (file.ok()) {
      files_.push_back(*std::move(file));
    } else if (file.status().code() == StatusCode::kDataLoss) {
      unfinished_.push_back({path, file.status()});
    } else {
      co_return file.status();
    }
  }
  std::sort(files_.begin(), files_.end(), Newer);
  const Status removed = co_await RemoveOld();
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
  const bool whole = BlocksUp(result->stream_bytes) + limits::kBlockBytes == file_bytes;
  if (!whole || path != Concat(directory_, "/", NameOf(result->applied_index))) {
    co_return no_trailer;
  }
  co_return *std::move(result);
}

io::Task<StatusOr<SnapshotFile>> SnapshotStore::Write(SnapshotSource& source) {
  CHECK(!writing_);
  SnapshotFile into;
  into.applied_index = source.meta().applied_index;
  into.term = source.meta().term;
  into.path = Concat(directory_, "/", NameOf(into.applied_index));
  for (const SnapshotFile& file : files_) {
    if (file.applied_index == into.applied_index)
      co_return AlreadyExistsError(file.path, ": is a valid snapshot");
  }
  writing_ = true;
  const Status written = co_await WriteFile(source, into);
  if (!written.ok()) {
    // Its space may be what is lacking. Should this fail too, it is an unfinished file, and goes
    // with the next Open.
    const Status removed = co_await runtime_.RemoveFile(into.path);
    writing_ = false;
    co_return removed.ok() ? written : Annotate(written, "and the unfinished file was not removed");
  }
  files_.push_back(into);
  std::sort(files_.begin(), files_.end(), Newer);
  const Status removed = co_await RemoveOld();
  writing_ = false;
  MS_CO_RETURN_IF_ERROR(removed);
  co_return into;
}

io::Task<Status> SnapshotStore::WriteFile(SnapshotSource& source, SnapshotFile& into) {
  // An unfinished file of the same index, left by a crash, is in the way.
  const Status cleared = co_await runtime_.RemoveFile(into.path);
  if (!cleared.ok() && cleared.code() != StatusCode::kNotFound) co_return cleared;
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(into.path, io::OpenMode::kCreate);
  MS_CO_RETURN_IF_ERROR(file.status());
  const Status streamed = co_await WriteStream(**file, source, into);
  MS_CO_RETURN_IF_ERROR(streamed);
  const Status named = co_await runtime_.SyncDirectory(directory_);
  co_return named;
}

io::Task<Status> SnapshotStore::WriteStream(io::File& file, SnapshotSource& source,
                                            SnapshotFile& into) {
  io::IoBuffer buffer = runtime_.AllocateBuffer(kWriteBytes);
  const int registered = buffer.registered_index();
  Trailer trailer{.stream_bytes = 0,
                  .applied_index = into.applied_index.value(),
                  .term = into.term.value(),
                  .stream_hash = kStreamSeed};
  uint64_t offset = 0;
  size_t filled = 0;
  bool more = true;
  while (more) {
    const StatusOr<std::string> bytes = co_await source.Next();
    MS_CO_RETURN_IF_ERROR(bytes.status());
    more = !bytes->empty();
    trailer.stream_bytes += bytes->size();
    std::string_view rest = *bytes;
    while (!rest.empty() || (!more && filled > 0)) {
      const std::string_view piece = rest.substr(0, kWriteBytes - filled);
      std::memcpy(buffer.data() + filled, piece.data(), piece.size());
      rest.remove_prefix(piece.size());
      filled += piece.size();
      if (more && filled < kWriteBytes) break;
      const size_t blocks = static_cast<size_t>(BlocksUp(filled));
      std::memset(buffer.data() + filled, 0, blocks - filled);
      const std::span<char> from(buffer.data(), blocks);
      trailer.stream_hash = Hash64(std::string_view(from.data(), blocks), trailer.stream_hash);
      const StatusOr<size_t> written = co_await file.Write(offset, from, registered);
      MS_CO_RETURN_IF_ERROR(written.status());
      offset += blocks;
      filled = 0;
    }
  }
  const StatusOr<size_t> synced = co_await file.Sync();
  MS_CO_RETURN_IF_ERROR(synced.status());
  EncodeTrailer(trailer, buffer.data());
  const std::span<char> block(buffer.data(), limits::kBlockBytes);
  const StatusOr<size_t> finished = co_await file.Write(offset, block, registered);
  MS_CO_RETURN_IF_ERROR(finished.status());
  const StatusOr<size_t> durable = co_await file.Sync();
  into.stream_bytes = trailer.stream_bytes;
  into.stream_hash = trailer.stream_hash;
  co_return durable.status();
}

// Everything older than the kKept newest valid files, and every unfinished file older than the
// newest.
io::Task<Status> SnapshotStore::RemoveOld() {
  std::vector<std::string> old;
  while (files_.size() > kKept) {
    old.push_back(files_.back().path);
    files_.pop_back();
  }
  while (!unfinished_.empty() && !files_.empty() &&
         unfinished_.front().path <= files_.front().path) {
    old.push_back(unfinished_.front().path);
    unfinished_.erase(unfinished_.begin());
  }
  if (old.empty()) co_return OkStatus();
  for (const std::string& path : old) {
    const Status removed = co_await runtime_.RemoveFile(path);
    if (!removed.ok() && removed.code() != StatusCode::kNotFound) co_return removed;
  }
  const Status synced = co_await runtime_.SyncDirectory(directory_);
  co_return synced;
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
  while (!files_.empty() && files_.front().applied_index + 1 >= log_first) {
    StatusOr<SnapshotMeta> meta = co_await LoadFile(engine, files_.front());
    if (meta.ok()) co_return std::optional<SnapshotMeta>(*std::move(meta));
    if (meta.status().code() != StatusCode::kDataLoss) co_return meta.status();
    runtime_.log().Error("snapshot is damaged", {{"error", StdView(meta.status().message())}});
    SetAside(meta.status());
  }
  if (log_first == LogIndex(1)) co_return std::optional<SnapshotMeta>();
  co_return NothingToLoad(log_first);
}

// The newest file cannot be read: it is none of those to keep, and goes as an unfinished one does.
void SnapshotStore::SetAside(Status damage) {
  unfinished_.push_back({files_.front().path, std::move(damage)});
  std::sort(unfinished_.begin(), unfinished_.end(),
            [](const Unfinished& a, const Unfinished& b) { return a.path < b.path; });
  files_.erase(files_.begin());
}

io::Task<StatusOr<SnapshotMeta>> SnapshotStore::LoadFile(Engine& engine, SnapshotFile from) {
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(from.path, io::OpenMode::kRead);
  MS_CO_RETURN_IF_ERROR(file.status());
  const std::unique_ptr<SnapshotSink> sink = engine.StartRestore();
  io::IoBuffer buffer = runtime_.AllocateBuffer(kWriteBytes);
  uint64_t hash = kStreamSeed;
  for (uint64_t offset = 0; offset < from.stream_bytes; offset += kWriteBytes) {
    const uint64_t wanted = std::min<uint64_t>(kWriteBytes, from.stream_bytes - offset);
    const std::span<char> into(buffer.data(), static_cast<size_t>(BlocksUp(wanted)));
    const StatusOr<size_t> read = co_await (*file)->Read(offset, into, buffer.registered_index());
    MS_CO_RETURN_IF_ERROR(read.status());
    if (*read < into.size())
      co_return DataLossError(from.path, ": ends at offset ", offset + *read);
    hash = Hash64(std::string_view(into.data(), into.size()), hash);
    const Status added =
        co_await sink->Add(std::string_view(buffer.data(), static_cast<size_t>(wanted)));
    if (!added.ok()) co_return InFile(added, from.path);
  }
  if (hash != from.stream_hash) {
    co_return DataLossError(from.path, ": the stream is not the one the trailer at offset ",
                            BlocksUp(from.stream_bytes), " was written for");
  }
  StatusOr<SnapshotMeta> meta = co_await sink->Finish();
  if (!meta.ok()) co_return InFile(meta.status(), from.path);
  if (meta->applied_index != from.applied_index || meta->term != from.term) {
    co_return InternalError(from.path, ": the trailer at offset ", BlocksUp(from.stream_bytes),
                            " names another snapshot");
  }
  co_return meta;
}

}  // namespace metastore::engine
