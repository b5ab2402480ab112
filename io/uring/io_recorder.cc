#include "io/uring/io_recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "io/uring/errno_status.h"

namespace metastore::io::uring {
namespace {

MonoTime Monotonic() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000'000 + now.tv_nsec};
}

bool AllZero(std::string_view data) {
  return data.empty() ||
         (data[0] == 0 && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

}  // namespace

StatusOr<std::unique_ptr<IoRecorder>> IoRecorder::Create(const std::string& path, Logger& log) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return FileStatus(errno, "create trace", path);
  std::unique_ptr<IoRecorder> recorder(new IoRecorder(fd, log));
  const std::string head = IoTraceHead();
  if (write(fd, head.data(), head.size()) != static_cast<ssize_t>(head.size())) {
    return FileStatus(errno, "write trace", path);
  }
  recorder->place_ = head.size();
  return recorder;
}

IoRecorder::~IoRecorder() { close(fd_); }

uint64_t IoRecorder::Begin(TraceRecord record) {
  const std::lock_guard lock(mutex_);
  record.kind = TraceKind::kBegin;
  record.operation = ++operations_;
  if (record.op == TraceOp::kOpen) record.file = record.operation;
  if (AllZero(record.data)) record.data = {};
  Write(record);
  return record.operation;
}

void IoRecorder::End(uint64_t operation, const Status& status, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  Write({.kind = TraceKind::kEnd, .code = status.code(), .operation = operation, .size = bytes});
}

void IoRecorder::Write(const TraceRecord& record) {
  if (failed_) return;
  TraceRecord stamped = record;
  stamped.time = Monotonic();
  buffer_.clear();
  AppendTraceRecord(buffer_, stamped, place_);
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t wrote = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      // What was cut off counts as the end of the trace.
      failed_ = true;
      log_.Error("the trace of disk operations ends here", {{"error", ErrnoName(errno)}});
      return;
    }
    done += static_cast<size_t>(wrote);
  }
  place_ += buffer_.size();
}

}  // namespace metastore::io::uring
