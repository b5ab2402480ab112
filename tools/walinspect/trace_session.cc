#include "tools/walinspect/trace_session.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace metastore::walinspect {
namespace {

constexpr char kTraceFs[] = "/sys/kernel/tracing";
constexpr char kTraceFsInDebug[] = "/sys/kernel/debug/tracing";
constexpr std::string_view kInstancePrefix = "metastore-live-";
// Of all processors together: some ten thousand events.
constexpr long kBufferKiB = 16384;
constexpr long kBufferKiBMin = 512;

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// In a mount namespace of its own: nobody else sees it, and it goes with this process.
Status MountHere() {
  if (unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tracefs", kTraceFs, "tracefs", 0, nullptr) != 0) {
    return PermissionDeniedError("cannot mount tracefs: ", std::strerror(errno));
  }
  return OkStatus();
}

StatusOr<std::string> FindTraceFs() {
  if (geteuid() != 0) return PermissionDeniedError("needs root");
  for (const char* path : {kTraceFs, kTraceFsInDebug}) {
    if (Exists(std::string(path) + "/instances")) return std::string(path);
  }
  if (!Exists(kTraceFs)) return FailedPreconditionError("this kernel has no tracefs");
  const Status mounted = MountHere();
  if (!mounted.ok()) return mounted;
  return std::string(kTraceFs);
}

// Instances of processes that are gone; one with this one's number is an earlier process's.
void RemoveLeftovers(const std::string& instances) {
  DIR* const directory = opendir(instances.c_str());
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(kInstancePrefix)) continue;
    const std::string pid(name.substr(kInstancePrefix.size()));
    if (!Exists("/proc/" + pid) || pid == std::to_string(getpid()))
      rmdir((instances + "/" + std::string(name)).c_str());
  }
  closedir(directory);
}

}  // namespace

StatusOr<std::unique_ptr<TraceSession>> TraceSession::Open(int thread) {
  StatusOr<std::string> root = FindTraceFs();
  if (!root.ok()) return root.status();
  const std::string instances = *root + "/instances";
  RemoveLeftovers(instances);
  const std::string directory = Concat(instances, "/", kInstancePrefix, getpid());
  if (mkdir(directory.c_str(), 0700) != 0) {
    return PermissionDeniedError("cannot make a trace instance: ", std::strerror(errno));
  }
  std::unique_ptr<TraceSession> session(new TraceSession(directory));
  Status arranged = session->Arrange(thread);
  if (!arranged.ok()) return arranged;
  return session;
}

TraceSession::~TraceSession() {
  if (pipe_ >= 0) close(pipe_);
  static_cast<void>(Set("tracing_on", "0"));
  static_cast<void>(Set("events/enable", "0"));
  rmdir(directory_.c_str());
}

Status TraceSession::Set(const std::string& file, const std::string& value) const {
  const int fd = open((directory_ + "/" + file).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return PermissionDeniedError("trace: ", file, ": ", std::strerror(errno));
  const bool written = write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
  const int error = errno;
  close(fd);
  if (written) return OkStatus();
  return FailedPreconditionError("trace: ", value, " into ", file, ": ", std::strerror(error));
}

bool TraceSession::Enable(const std::string& event, const std::string& filter) const {
  const std::string directory = "events/" + event;
  if (!Exists(directory_ + "/" + directory)) return false;
  if (!filter.empty() && !Set(directory + "/filter", filter).ok()) return false;
  return Set(directory + "/enable", "1").ok();
}

Status TraceSession::Arrange(int thread) {
  MS_RETURN_IF_ERROR(Set("tracing_on", "0"));
  MS_RETURN_IF_ERROR(Set("trace_clock", "mono"));
  // As trace_text.h reads it, whatever the global settings are.
  for (const char* option : {"irq-info", "norecord-tgid", "nolatency-format", "context-info"}) {
    static_cast<void>(Set("trace_options", option));
  }
  const long processors = std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
  const long buffer = std::max(kBufferKiB / processors, kBufferKiBMin);
  MS_RETURN_IF_ERROR(Set("buffer_size_kb", std::to_string(buffer)));
  const std::string by_node = "common_pid == " + std::to_string(thread);
  const std::string writes = R"(rwbs ~ "*W*" || rwbs ~ "*F*")";
  const bool submits = Enable("io_uring/io_uring_submit_req", by_node) ||
                       Enable("io_uring/io_uring_submit_sqe", by_node);
  bool blocks = true;
  for (const char* event : {"block_bio_queue", "block_rq_issue", "block_rq_complete"}) {
    blocks = Enable(std::string("block/") + event, writes) && blocks;
  }
  if (!submits || !blocks) {
    return FailedPreconditionError("the kernel lacks tracepoints of io_uring or the block layer");
  }
  // The rest sharpens the picture where it is there.
  Enable("block/block_bio_remap", writes);
  for (const char* event : {"ext4/ext4_sync_file_enter", "ext4/ext4_sync_file_exit",
                            "xfs/xfs_file_fsync", "iomap/iomap_dio_complete"}) {
    Enable(event, "");
  }
  pipe_ = open((directory_ + "/trace_pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (pipe_ < 0) return PermissionDeniedError("trace: trace_pipe: ", std::strerror(errno));
  return OkStatus();
}

Status TraceSession::Start() {
  MS_RETURN_IF_ERROR(Set("trace", ""));  // empties the buffers
  return Set("tracing_on", "1");
}

StatusOr<std::string> TraceSession::Stop() {
  MS_RETURN_IF_ERROR(Set("tracing_on", "0"));
  std::string text;
  char part[1 << 16];
  while (text.size() < kTextBytesMax) {
    const ssize_t got = read(pipe_, part, sizeof part);
    if (got > 0) {
      text.append(part, static_cast<size_t>(got));
    } else if (got == 0 || errno != EINTR) {
      break;  // empty
    }
  }
  return text;
}

}  // namespace metastore::walinspect
