#include "io/uring/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "io/base/check.h"
#include "io/uring/errno_status.h"

namespace metastore::io::uring {
namespace {

class MemoryFile final : public SharedMemory {
 public:
  MemoryFile(int fd, void* data, size_t bytes) : fd_(fd), data_(data), bytes_(bytes) {}
  ~MemoryFile() override {
    munmap(data_, bytes_);
    close(fd_);
  }
  std::span<uint64_t> words() override {
    return {static_cast<uint64_t*>(data_), bytes_ / sizeof(uint64_t)};
  }

 private:
  const int fd_;  // open for others to find
  void* const data_;
  const size_t bytes_;
};

}  // namespace

StatusOr<std::unique_ptr<SharedMemory>> MakeMemoryFile(const std::string& name, size_t bytes) {
  CHECK_GT(bytes, 0u);
  CHECK_EQ(bytes % sizeof(uint64_t), 0u);
  const int fd = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return FileStatus(errno, "memfd_create", name);
  const auto fail = [&](const char* operation) {
    Status failed = FileStatus(errno, operation, name);
    close(fd);
    return failed;
  };
  const auto size = static_cast<off_t>(bytes);
  if (ftruncate(fd, size) != 0) return fail("ftruncate");
  // All pages now: a page that cannot be had later would end the process.
  if (fallocate(fd, 0, 0, size) != 0) return fail("fallocate");
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return fail("fcntl");
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (data == MAP_FAILED) return fail("mmap");
  return std::make_unique<MemoryFile>(fd, data, bytes);
}

}  // namespace metastore::io::uring
