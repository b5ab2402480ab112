// SharedMemory: a stretch of memory that other processes of this machine may map and read while its
// maker writes it. For instruments: nothing in it is durable, it ends with the process, and the
// maker never reads it back.
//
// Made by Runtime::MakeSharedMemory. In production an anonymous memory file, which others find by
// its name among the process's descriptors (/proc/PID/fd); not a file on a disk, whose pages the
// kernel would write back beside the log and make a writer wait for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace metastore::io {

class SharedMemory {
 public:
  virtual ~SharedMemory() = default;  // unmaps; who has it mapped keeps it
  // Zeros at first. Page-aligned; all of it is there, so that no write to it can fail or wait.
  virtual std::span<uint64_t> words() = 0;
};

}  // namespace metastore::io
