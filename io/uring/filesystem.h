// The blocking calls on paths; run on the offload pool, never on a reactor. Errors as in io/file.h
// and io/runtime.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/base/status.h"
#include "io/runtime.h"

namespace metastore::io::uring {

struct OpenedFile {
  int fd = -1;
  uint64_t bytes = 0;
};

// Opens with O_DIRECT. kFailedPrecondition: the file system has no direct I/O, or is memory.
StatusOr<OpenedFile> OpenDirect(const std::string& path, OpenMode mode);
Status RemoveAt(const std::string& path);
StatusOr<std::vector<DirectoryEntry>> ListAt(const std::string& path);
Status MakeDirectoriesAt(const std::string& path);
Status RenameDirectoryAt(const std::string& from, const std::string& to);
Status SyncDirectoryAt(const std::string& path);
StatusOr<FileSystemFacts> FactsAt(const std::string& path);
// One attempt. The descriptor holds the lock; kAlreadyExists: another holds it.
StatusOr<int> LockAt(const std::string& directory);
// IP literals and names alike, in the resolver's order, without duplicates. kNotFound: no such
// name; kUnavailable: the resolver cannot tell now.
StatusOr<std::vector<Address>> ResolveName(const std::string& host, uint16_t port);

}  // namespace metastore::io::uring
