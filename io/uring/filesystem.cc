#include "io/uring/filesystem.h"

#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "io/uring/addresses.h"
#include "io/uring/errno_status.h"
#include "io/uring/uring_compat.h"

namespace metastore::io::uring {
namespace {

struct Descriptor {
  explicit Descriptor(int value) : fd(value) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

std::string TypeName(unsigned long magic) {
  struct Known {
    unsigned long magic;
    const char* name;
  };
  static constexpr Known kKnown[] = {
      {0xef53, "ext4"},       {0x58465342, "xfs"},       {0x9123683e, "btrfs"},
      {0xf2f52010, "f2fs"},   {0x2fc12fc1, "zfs"},       {0xca451a4e, "bcachefs"},
      {0x6969, "nfs"},        {0x794c7630, "overlayfs"}, {kTmpfsMagic, "tmpfs"},
      {kRamfsMagic, "ramfs"}, {0x65735546, "fuse"},      {0x01021997, "9p"},
      {0xff534d42, "cifs"},   {0xfe534d42, "smb2"},      {0x4d44, "vfat"},
      {0x2011bab0, "exfat"},  {0x73717368, "squashfs"},  {0x00c36400, "ceph"},
  };
  for (const Known& known : kKnown) {
    if (known.magic == magic) return known.name;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "type 0x%lx", magic);
  return text;
}

bool IsMemory(unsigned long magic) { return magic == kTmpfsMagic || magic == kRamfsMagic; }

Status NoDirectIo(const std::string& path, unsigned long magic) {
  return FailedPreconditionError(
      path, ": the file system (", TypeName(magic),
      ") has no direct I/O: put the data on a disk file system such as ext4 or xfs");
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// 0 where the system does not tell.
uint32_t DirectBlockOf(int fd) {
  struct statx facts = {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) != 0) return 0;
  if ((facts.stx_mask & STATX_DIOALIGN) == 0) return 0;
  return std::max(facts.stx_dio_mem_align, facts.stx_dio_offset_align);
}

// Of the file system that holds `path`: a file's own answer, or for a directory that of an unnamed
// file in it.
uint32_t ProbeDirectBlock(const std::string& path, bool is_directory) {
  constexpr uint32_t kUntold = 4096;  // what every file system with direct I/O accepts
  const int flags = O_DIRECT | O_CLOEXEC | (is_directory ? O_TMPFILE | O_RDWR : O_RDONLY);
  const Descriptor file(open(path.c_str(), flags, 0600));
  if (file.fd < 0) return errno == EINVAL ? 0 : kUntold;
  const uint32_t told = DirectBlockOf(file.fd);
  return told == 0 ? kUntold : told;
}

// Who else has a removed file open goes on reading it. A lease to write is given only where nobody
// has; a file closed just before is open for a moment yet.
bool OnlyOpenHere(int fd) {
  constexpr int kTries = 4;
  for (int i = 0; i < kTries; ++i) {
    if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) return true;
    if (errno != EAGAIN) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// A file system that discards what it frees (mounted so) holds the device's writes for as long: 11
// ms for 64 MiB were seen. So a file without a name is freed in steps, with as much rest between
// them.
void FreeInSteps(int fd) {
  constexpr off_t kStep = 4 * 1024 * 1024;
  struct stat facts = {};
  if (fstat(fd, &facts) != 0 || facts.st_nlink != 0) return;  // another name keeps it
  off_t left = facts.st_size;
  while (left > kStep) {
    left -= kStep;
    const auto before = std::chrono::steady_clock::now();
    if (ftruncate(fd, left) != 0) return;
    std::this_thread::sleep_for(std::chrono::steady_clock::now() - before);
  }
}

}  // namespace

StatusOr<OpenedFile> OpenDirect(const std::string& path, OpenMode mode) {
  int flags = O_DIRECT | O_CLOEXEC;
  switch (mode) {
    case OpenMode::kRead:
      flags |= O_RDONLY;
      break;
    case OpenMode::kReadWrite:
      flags |= O_RDWR;
      break;
    case OpenMode::kCreate:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      break;
  }
  const char* operation = mode == OpenMode::kCreate ? "create" : "open";
  const std::string directory = ParentOf(path);
  struct statfs system = {};
  if (statfs(directory.c_str(), &system) != 0) return FileStatus(errno, operation, path);
  const auto magic = static_cast<unsigned long>(system.f_type);
  if (IsMemory(magic)) return NoDirectIo(path, magic);
  Descriptor file(open(path.c_str(), flags, 0600));
  if (file.fd < 0) {
    const int error = errno;
    if (error != EINVAL) return FileStatus(error, operation, path);
    if (mode == OpenMode::kCreate)
      unlink(path.c_str());  // some file systems create it before they refuse the flag
    return NoDirectIo(path, magic);
  }
  struct stat facts = {};
  if (fstat(file.fd, &facts) != 0) return FileStatus(errno, "stat", path);
  if (!S_ISREG(facts.st_mode)) return InternalError(path, ": ", operation, ": not a regular file");
  return OpenedFile{.fd = std::exchange(file.fd, -1),
                    .bytes = static_cast<uint64_t>(facts.st_size)};
}

Status RemoveAt(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (unlink(path.c_str()) != 0) return FileStatus(errno, "remove", path);
  if (file.fd >= 0 && OnlyOpenHere(file.fd)) FreeInSteps(file.fd);
  return OkStatus();
}

StatusOr<std::vector<DirectoryEntry>> ListAt(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return FileStatus(errno, "list", path);
  std::vector<DirectoryEntry> entries;
  errno = 0;
  while (const dirent* found = readdir(directory)) {
    const std::string_view name = found->d_name;
    if (name == "." || name == "..") continue;
    struct stat facts = {};
    if (fstatat(dirfd(directory), found->d_name, &facts, AT_SYMLINK_NOFOLLOW) == 0) {
      entries.push_back(
          {std::string(name), static_cast<uint64_t>(facts.st_size), S_ISDIR(facts.st_mode)});
    }
    errno = 0;
  }
  const int error = errno;
  closedir(directory);
  if (error != 0) return FileStatus(error, "list", path);
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  return entries;
}

Status SyncDirectoryAt(const std::string& path) {
  const Descriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.fd < 0) return FileStatus(errno, "open directory", path);
  return fsync(directory.fd) == 0 ? OkStatus() : FileStatus(errno, "sync directory", path);
}

Status RenameDirectoryAt(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    return FileStatus(errno, Concat("rename to ", to), from);
  }
  return SyncDirectoryAt(ParentOf(to));
}

Status MakeDirectoriesAt(const std::string& path) {
  std::string whole = path;
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  for (size_t end = whole.find('/', 1);; end = whole.find('/', end + 1)) {
    const std::string part = whole.substr(0, end);
    if (mkdir(part.c_str(), 0700) == 0) {
      MS_RETURN_IF_ERROR(SyncDirectoryAt(ParentOf(part)));
    } else if (errno != EEXIST) {
      return FileStatus(errno, "make directory", part);
    }
    if (end == std::string::npos) break;
  }
  struct stat facts = {};
  if (stat(whole.c_str(), &facts) != 0) return FileStatus(errno, "make directory", whole);
  return S_ISDIR(facts.st_mode) ? OkStatus()
                                : FileStatus(EEXIST, "make directory: not a directory", whole);
}

StatusOr<FileSystemFacts> FactsAt(const std::string& path) {
  struct statfs system = {};
  struct stat facts = {};
  if (statfs(path.c_str(), &system) != 0 || stat(path.c_str(), &facts) != 0) {
    return FileStatus(errno, "stat file system", path);
  }
  const auto magic = static_cast<unsigned long>(system.f_type);
  const auto unit = static_cast<uint64_t>(system.f_frsize != 0 ? system.f_frsize : system.f_bsize);
  FileSystemFacts out;
  out.type = TypeName(magic);
  out.free_bytes = system.f_bavail * unit;
  out.total_bytes = system.f_blocks * unit;
  if (!IsMemory(magic)) out.direct_block = ProbeDirectBlock(path, S_ISDIR(facts.st_mode));
  return out;
}

StatusOr<int> LockAt(const std::string& directory) {
  const std::string path = directory + "/LOCK";
  Descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.fd < 0) return FileStatus(errno, "open lock", path);
  if (flock(file.fd, LOCK_EX | LOCK_NB) == 0) return std::exchange(file.fd, -1);
  if (errno == EWOULDBLOCK) {
    return AlreadyExistsError(path, ": lock: another process holds the directory");
  }
  return FileStatus(errno, "lock", path);
}

StatusOr<std::vector<Address>> ResolveName(const std::string& host, uint16_t port) {
  const Address literal{host, port};
  if (ToSystem(literal).ok()) return std::vector<Address>{literal};
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int result = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (result == EAI_AGAIN || result == EAI_MEMORY || result == EAI_SYSTEM) {
    return UnavailableError("resolve ", host, ": ", gai_strerror(result));
  }
  if (result != 0) return NotFoundError("resolve ", host, ": ", gai_strerror(result));
  std::vector<Address> addresses;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    SystemAddress system;
    system.bytes =
        static_cast<socklen_t>(std::min<size_t>(each->ai_addrlen, sizeof(system.storage)));
    std::copy_n(reinterpret_cast<const char*>(each->ai_addr), system.bytes,
                reinterpret_cast<char*>(&system.storage));
    Address address = FromSystem(system);
    address.port = port;
    if (address.ip.empty()) continue;
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  }
  freeaddrinfo(list);
  if (addresses.empty()) return NotFoundError("resolve ", host, ": no address");
  return addresses;
}

}  // namespace metastore::io::uring
