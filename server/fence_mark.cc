#include "server/fence_mark.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "io/base/limits.h"

namespace metastore::server {
namespace {

constexpr std::string_view kHead = "MetaStore fence mark 1\n";

// The folder it is in, which is there before any state is.
std::string FolderOf(const std::string& data_dir) { return data_dir + "/member"; }

}  // namespace

std::string FenceMarkPath(const std::string& data_dir) { return FolderOf(data_dir) + "/fenced"; }

io::Task<StatusOr<std::string>> ReadFenceMark(io::Runtime& runtime, std::string data_dir) {
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime.OpenFile(FenceMarkPath(data_dir), io::OpenMode::kRead);
  if (file.status().code() == StatusCode::kNotFound) co_return std::string();
  MS_CO_RETURN_IF_ERROR(file.status());
  io::IoBuffer block = runtime.AllocateBuffer(limits::kBlockBytes);
  StatusOr<size_t> read =
      co_await (*file)->Read(0, {block.data(), limits::kBlockBytes}, block.registered_index());
  const std::string_view text = block.view().substr(0, read.value_or(0));
  std::string why;
  if (text.starts_with(kHead)) why = text.substr(kHead.size());
  why.erase(std::min(why.find('\n'), why.size()));
  if (why.empty()) why = "its fence mark cannot be read";
  co_return why;
}

io::Task<Status> WriteFenceMark(io::Runtime& runtime, std::string data_dir, std::string why) {
  const std::string path = FenceMarkPath(data_dir);
  StatusOr<std::unique_ptr<io::File>> file = co_await runtime.OpenFile(path, io::OpenMode::kCreate);
  if (file.status().code() == StatusCode::kAlreadyExists) {
    file = co_await runtime.OpenFile(path, io::OpenMode::kReadWrite);
  }
  MS_CO_RETURN_IF_ERROR(file.status());
  io::IoBuffer block = runtime.AllocateBuffer(limits::kBlockBytes);
  why.resize(std::min(why.size(), limits::kBlockBytes - kHead.size() - 1));
  std::memset(block.data(), '\n', limits::kBlockBytes);
  std::memcpy(block.data(), kHead.data(), kHead.size());
  std::memcpy(block.data() + kHead.size(), why.data(), why.size());
  StatusOr<size_t> written =
      co_await (*file)->Write(0, {block.data(), limits::kBlockBytes}, block.registered_index());
  MS_CO_RETURN_IF_ERROR(written.status());
  StatusOr<size_t> synced = co_await (*file)->Sync();
  MS_CO_RETURN_IF_ERROR(synced.status());
  Status named = co_await runtime.SyncDirectory(FolderOf(data_dir));
  co_return named;
}

}  // namespace metastore::server
