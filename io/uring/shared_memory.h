// io::SharedMemory as an anonymous memory file (memfd_create), of fixed size: it can neither shrink
// under its maker nor grow. Blocking calls, for the start of a node.
#pragma once

#include <memory>
#include <string>

#include "io/base/status.h"
#include "io/shared_memory.h"

namespace metastore::io::uring {

// Errors: as Runtime::MakeSharedMemory
StatusOr<std::unique_ptr<SharedMemory>> MakeMemoryFile(const std::string& name, size_t bytes);

}  // namespace metastore::io::uring
