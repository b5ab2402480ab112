// IoRecorder: writes the trace of a host's disk operations (io/io_trace.h) into a file, for
// `walinspect crashtest`. A host without one pays a null test an operation.
//
// Shared by the reactors of a host, under a mutex: the order in the file is the order in which
// they called. Each record is written before the call returns, so a process that is killed leaves
// all of them. For recording on purpose only: it blocks the reactor and writes every byte twice.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "io/base/status.h"
#include "io/io_trace.h"
#include "io/log.h"

namespace metastore::io::uring {

class IoRecorder final {
 public:
  // Makes the file. `log` outlives the recorder.
  // Errors: kAlreadyExists  a trace is never continued nor overwritten; else as io/file.h's
  static StatusOr<std::unique_ptr<IoRecorder>> Create(const std::string& path, Logger& log);
  ~IoRecorder();
  IoRecorder(const IoRecorder&) = delete;
  IoRecorder& operator=(const IoRecorder&) = delete;

  // Any reactor. Notes that `record` begins (kind, operation and time are set here; of kOpen also
  // `file`) and gives its number.
  uint64_t Begin(TraceRecord record);
  // The operation ended so; `bytes` transferred.
  void End(uint64_t operation, const Status& status, uint64_t bytes = 0);

 private:
  IoRecorder(int fd, Logger& log) : fd_(fd), log_(log) {}
  void Write(const TraceRecord& record);

  const int fd_;
  Logger& log_;
  std::mutex mutex_;
  std::string buffer_;       // under mutex_
  uint64_t place_ = 0;       // under mutex_: bytes written
  uint64_t operations_ = 0;  // under mutex_
  bool failed_ = false;      // under mutex_: nothing is written any more
};

}  // namespace metastore::io::uring
