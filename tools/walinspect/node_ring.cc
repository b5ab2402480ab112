#include "tools/walinspect/node_ring.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace metastore::walinspect {
namespace {

using FileId = std::pair<uint64_t, uint64_t>;  // device, inode

// Names in a directory, without those that begin with a dot; nothing where it cannot be read.
std::optional<std::vector<std::string>> Names(const std::string& path) {
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) return std::nullopt;
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(directory);
  return names;
}

std::optional<FileId> IdOf(const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0) return std::nullopt;
  return FileId(found.st_dev, found.st_ino);
}

std::string LinkText(const std::string& path) {
  char text[512];
  const ssize_t length = readlink(path.c_str(), text, sizeof text);
  return length <= 0 ? std::string() : std::string(text, static_cast<size_t>(length));
}

bool IsRing(const std::string& link) {
  return LinkText(link).starts_with(std::string("/memfd:") + wal::FlushRing::kName);
}

StatusOr<std::set<FileId>> LogFiles(const std::string& directory) {
  const std::optional<std::vector<std::string>> names = Names(directory);
  if (!names) {
    const std::string reason = std::strerror(errno);
    return errno == EACCES ? PermissionDeniedError(directory, ": ", reason)
                           : InvalidArgumentError(directory, ": ", reason);
  }
  std::set<FileId> files;
  for (const std::string& name : *names) {
    const std::optional<FileId> id = IdOf(directory + "/" + name);
    if (id) files.insert(*id);
  }
  return files;
}

struct ProcessRing {
  std::string link;     // empty: it has none
  bool on_log = false;  // it has one of the files open
};

ProcessRing RingOf(const std::string& descriptors, const std::vector<std::string>& names,
                   const std::set<FileId>& files) {
  ProcessRing found;
  for (const std::string& name : names) {
    const std::string link = descriptors + "/" + name;
    if (found.link.empty() && IsRing(link)) found.link = link;
  }
  if (found.link.empty()) return found;
  found.on_log = std::ranges::any_of(names, [&](const std::string& name) {
    const std::optional<FileId> id = IdOf(descriptors + "/" + name);
    return id && files.contains(*id);
  });
  return found;
}

}  // namespace

StatusOr<std::set<uint64_t>> LogInodes(const std::string& directory) {
  StatusOr<std::set<FileId>> files = LogFiles(directory);
  if (!files.ok()) return files.status();
  std::set<uint64_t> inodes;
  for (const FileId& file : *files) inodes.insert(file.second);
  return inodes;
}

StatusOr<std::unique_ptr<NodeRing>> NodeRing::Find(const std::string& directory) {
  StatusOr<std::set<FileId>> files = LogFiles(directory);
  if (!files.ok()) return files.status();
  bool hidden = false;
  for (const std::string& process : Names("/proc").value_or(std::vector<std::string>())) {
    if (std::isdigit(static_cast<unsigned char>(process[0])) == 0) continue;
    const std::string descriptors = "/proc/" + process + "/fd";
    const std::optional<std::vector<std::string>> names = Names(descriptors);
    if (!names) hidden = hidden || errno == EACCES;
    if (!names) continue;
    const ProcessRing found = RingOf(descriptors, *names, *files);
    if (!found.on_log) continue;
    StatusOr<std::unique_ptr<NodeRing>> ring = Map(found.link);
    if (!ring.ok()) return Annotate(ring.status(), "process " + process);
    (*ring)->process_ = std::stoi(process);
    return ring;
  }
  if (hidden) {
    return PermissionDeniedError("no node to be seen on the log in ", directory,
                                 "; some processes are hidden: try as the node's user or as root");
  }
  return NotFoundError("no node runs on the log in ", directory);
}

StatusOr<std::unique_ptr<NodeRing>> NodeRing::Map(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const std::string reason = std::strerror(errno);
    return errno == ENOENT ? NotFoundError(path, ": ", reason)
                           : PermissionDeniedError(path, ": ", reason);
  }
  struct stat found = {};
  const bool known = fstat(fd, &found) == 0;
  // Larger than that is something else; also, no more than that is mapped.
  const auto bytes = static_cast<size_t>(known ? std::max<off_t>(found.st_size, 0) : 0);
  const bool sized = bytes >= sizeof(uint64_t) && bytes <= 2 * wal::FlushRing::kBytes;
  void* data = sized ? mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  close(fd);
  if (data == MAP_FAILED) {
    return FailedPreconditionError(path, " is no flush ring of this version: it has ", bytes,
                                   " bytes, expected are ", wal::FlushRing::kBytes);
  }
  std::unique_ptr<NodeRing> ring(new NodeRing(data, bytes));
  ring->link_ = path;
  StatusOr<wal::FlushRingReader> reader =
      wal::FlushRingReader::Open({static_cast<uint64_t*>(data), bytes / sizeof(uint64_t)});
  if (!reader.ok()) {
    return Annotate(reader.status(), path + " is no flush ring of this version");
  }
  ring->ring_ = *reader;
  return ring;
}

NodeRing::~NodeRing() { munmap(data_, bytes_); }

bool NodeRing::Alive() const { return IsRing(link_); }

}  // namespace metastore::walinspect
