#include "engine/snapshot_reader.h"

#include <algorithm>
#include <span>
#include <utility>

#include "io/base/check.h"
#include "io/base/limits.h"

namespace metastore::engine {

SnapshotReader::SnapshotReader(io::Runtime& runtime, std::unique_ptr<io::File> file,
                               SnapshotFile facts)
    : runtime_(runtime), file_(std::move(file)), facts_(std::move(facts)) {}

io::Task<StatusOr<std::string_view>> SnapshotReader::Read(uint64_t offset, size_t bytes_max) {
  CHECK_LE(offset, facts_.stream_bytes);
  CHECK_GE(bytes_max, 1u);
  CHECK_LE(bytes_max, kReadBytesMax);
  const uint64_t wanted = std::min<uint64_t>(bytes_max, facts_.stream_bytes - offset);
  if (wanted == 0) co_return std::string_view();
  const uint64_t begin = offset / limits::kBlockBytes * limits::kBlockBytes;
  const auto bytes = static_cast<size_t>(BlocksUp(offset + wanted) - begin);
  if (buffer_.size() < bytes) {
    // Once: a block more than asked for, so that it serves every offset.
    buffer_ =
        runtime_.AllocateBuffer(static_cast<size_t>(BlocksUp(bytes_max)) + limits::kBlockBytes);
  }
  const std::span<char> into(buffer_.data(), bytes);
  const StatusOr<size_t> read = co_await file_->Read(begin, into, buffer_.registered_index());
  MS_CO_RETURN_IF_ERROR(read.status());
  if (*read < bytes) co_return DataLossError(facts_.path, ": ends at offset ", begin + *read);
  co_return std::string_view(buffer_.data() + (offset - begin), static_cast<size_t>(wanted));
}

}  // namespace metastore::engine
