#include "tools/walinspect/crashtest/real_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace metastore::crashtest {
namespace {

namespace fs = std::filesystem;

// In a directory whose content is ours to remove.
constexpr const char* kWorkMark = "crashtest-work";

Status Failed(const std::string& path, std::string_view call, int error) {
  return InternalError(path, ": ", call, ": ", std::string(std::strerror(error)));
}

class Descriptor final {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

Status WriteAt(int fd, const std::string& path, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return Failed(path, "write", errno);
    bytes.remove_prefix(static_cast<size_t>(wrote));
    offset += static_cast<uint64_t>(wrote);
  }
  return OkStatus();
}

Status WriteImageFile(const std::string& path, const ImageFile& file) {
  const Descriptor to(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (to.fd() < 0) return Failed(path, "create", errno);
  if (ftruncate(to.fd(), static_cast<off_t>(file.bytes)) != 0) {
    return Failed(path, "truncate", errno);
  }
  for (const auto& [offset, bytes] : file.runs) {
    MS_RETURN_IF_ERROR(WriteAt(to.fd(), path, bytes, offset));
  }
  return OkStatus();
}

// Puts the file's bytes on `disk`.
Status TakeFile(const std::string& path, const std::string& inside, sim::SimImage& disk) {
  StatusOr<std::string> bytes = ReadWholeFile(path);
  MS_RETURN_IF_ERROR(bytes.status());
  if (bytes->size() % sim::kSectorBytes != 0) {
    return FailedPreconditionError(path, ": not made of whole sectors");
  }
  StatusOr<sim::InodeRef> file = disk.Open(inside, io::OpenMode::kCreate);
  MS_RETURN_IF_ERROR(file.status());
  disk.Write(**file, 0, bytes->data(), bytes->size());
  return OkStatus();
}

}  // namespace

Status WriteImage(const std::string& directory, const CrashImage& image) {
  MS_RETURN_IF_ERROR(RemoveTree(directory));
  MS_RETURN_IF_ERROR(MakeDirectory(directory));
  for (const std::string& each : image.directories) {
    MS_RETURN_IF_ERROR(MakeDirectory(directory + each));
  }
  for (const ImageFile& file : image.files) {
    MS_RETURN_IF_ERROR(WriteImageFile(directory + file.path, file));
  }
  return OkStatus();
}

StatusOr<CrashImage> ReadImage(const std::string& directory) {
  sim::SimImage disk;
  std::error_code error;
  fs::recursive_directory_iterator at(directory, error);
  while (!error && at != fs::recursive_directory_iterator()) {
    const std::string path = at->path().string();
    const std::string inside = path.substr(directory.size());
    if (at->is_directory(error)) {
      MS_RETURN_IF_ERROR(disk.MakeDirectories(inside));
    } else if (!IsBesideTheTrace(inside)) {
      MS_RETURN_IF_ERROR(TakeFile(path, inside, disk));
    }
    at.increment(error);
  }
  if (error) return Failed(directory, "list", error.value());
  return ImageOf(disk);
}

Status ClaimWorkDirectory(const std::string& path) {
  const std::string mark = path + "/" + kWorkMark;
  std::error_code error;
  const bool fresh = !fs::exists(path, error) || fs::is_empty(path, error);
  if (error) return Failed(path, "look", error.value());
  if (!fresh && !fs::exists(mark, error)) {
    return FailedPreconditionError(path,
                                   ": is not empty, and no directory of crashtest: give another");
  }
  MS_RETURN_IF_ERROR(RemoveTree(path));
  MS_RETURN_IF_ERROR(MakeDirectory(path));
  return WriteWholeFile(mark, "");
}

Status MakeDirectory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return error ? Failed(path, "make directory", error.value()) : OkStatus();
}

Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? Failed(path, "remove", error.value()) : OkStatus();
}

StatusOr<std::string> ReadWholeFile(const std::string& path) {
  const Descriptor from(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (from.fd() < 0) return Failed(path, "open", errno);
  std::string bytes;
  char piece[64 * 1024];
  while (true) {
    const ssize_t got = read(from.fd(), piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed(path, "read", errno);
    if (got == 0) return bytes;
    bytes.append(piece, static_cast<size_t>(got));
  }
}

Status WriteWholeFile(const std::string& path, std::string_view bytes) {
  const Descriptor to(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (to.fd() < 0) return Failed(path, "create", errno);
  return WriteAt(to.fd(), path, bytes, 0);
}

}  // namespace metastore::crashtest
