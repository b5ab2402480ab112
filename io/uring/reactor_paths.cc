// The Reactor's files, directories, network and offload: coroutines over the blocking calls of
// filesystem.h.
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/base/check.h"
#include "io/uring/addresses.h"
#include "io/uring/filesystem.h"
#include "io/uring/reactor.h"
#include "io/uring/shared_memory.h"
#include "io/uring/uring_socket.h"

namespace metastore::io::uring {
namespace {

constexpr size_t kRandomWords = 512;
constexpr int kLockAttempts =
    5;  // 50 ms apart: after kill -9 the kernel keeps the lock until in-flight I/O ends
constexpr Duration kLockWait = Milliseconds(50);

struct OffloadWait : OffloadJob {
  explicit OffloadWait(std::function<void()> function) : call(std::move(function)) {
    work = [](OffloadJob& self) { static_cast<OffloadWait&>(self).call(); };
    finished = [](OffloadJob& self) { static_cast<OffloadWait&>(self).done.Wake(); };
  }
  std::function<void()> call;
  Wait done;
};

class HeldLock final : public DirectoryLock {
 public:
  explicit HeldLock(int fd) : fd_(fd) {}
  ~HeldLock() override {
    close(fd_);
  }  // at once, so that the next holder need not wait for the ring

 private:
  const int fd_;
};

Status Stopping() { return CancelledError("the runtime is stopping"); }

}  // namespace

uint64_t Reactor::TraceBegin(TraceOp op, std::string_view path, OpenMode mode) {
  if (recorder() == nullptr) return 0;
  return recorder()->Begin({.op = op, .mode = static_cast<uint8_t>(mode), .name = path});
}

void Reactor::TraceEnd(uint64_t traced, const Status& status) {
  if (traced != 0) recorder()->End(traced, status);
}

Task<void> Reactor::Offload(const char* /*name*/, std::function<void()> work) {
  OffloadWait wait(std::move(work));
  Enqueue(wait);
  co_await wait.done;
}

Task<StatusOr<std::unique_ptr<File>>> Reactor::OpenFile(std::string path, OpenMode mode) {
  if (stopping()) co_return Stopping();
  StatusOr<OpenedFile> opened = Stopping();
  const uint64_t traced = TraceBegin(TraceOp::kOpen, path, mode);
  co_await Offload("open", [&] { opened = OpenDirect(path, mode); });
  TraceEnd(traced, opened.status());
  if (!opened.ok()) co_return opened.status();
  co_return std::make_unique<UringFile>(*this, std::move(path), *opened, traced);
}

Task<Status> Reactor::RemoveFile(std::string path) {
  if (stopping()) co_return Stopping();
  Status status;
  const uint64_t traced = TraceBegin(TraceOp::kRemove, path);
  co_await Offload("remove", [&] { status = RemoveAt(path); });
  TraceEnd(traced, status);
  co_return status;
}

Task<StatusOr<std::vector<DirectoryEntry>>> Reactor::ListDirectory(std::string path) {
  if (stopping()) co_return Stopping();
  StatusOr<std::vector<DirectoryEntry>> entries = Stopping();
  co_await Offload("list", [&] { entries = ListAt(path); });
  co_return entries;
}

Task<Status> Reactor::MakeDirectories(std::string path) {
  if (stopping()) co_return Stopping();
  Status status;
  const uint64_t traced = TraceBegin(TraceOp::kMakeDirectories, path);
  co_await Offload("mkdir", [&] { status = MakeDirectoriesAt(path); });
  TraceEnd(traced, status);
  co_return status;
}

// Not in the trace: no test of crashes records a node that repairs itself.
Task<Status> Reactor::RenameDirectory(std::string from, std::string to) {
  if (stopping()) co_return Stopping();
  Status status;
  co_await Offload("rename", [&] { status = RenameDirectoryAt(from, to); });
  co_return status;
}

Task<Status> Reactor::SyncDirectory(std::string path) {
  if (stopping()) co_return Stopping();
  Status status;
  const uint64_t traced = TraceBegin(TraceOp::kSyncDirectory, path);
  co_await Offload("syncdir", [&] { status = SyncDirectoryAt(path); });
  TraceEnd(traced, status);
  co_return status;
}

Task<StatusOr<FileSystemFacts>> Reactor::FactsOf(std::string path) {
  if (stopping()) co_return Stopping();
  StatusOr<FileSystemFacts> facts = Stopping();
  co_await Offload("facts", [&] { facts = FactsAt(path); });
  co_return facts;
}

Task<StatusOr<std::unique_ptr<DirectoryLock>>> Reactor::LockDirectory(std::string path) {
  StatusOr<int> fd = Stopping();
  for (int attempt = 1; attempt <= kLockAttempts; ++attempt) {
    if (stopping()) co_return Stopping();
    co_await Offload("lock", [&] { fd = LockAt(path); });
    if (fd.ok()) co_return std::make_unique<HeldLock>(*fd);
    if (fd.status().code() != StatusCode::kAlreadyExists) break;
    if (attempt < kLockAttempts) {
      co_await SleepUntil(*this, Now() + kLockWait, stop_token());
    }
  }
  co_return fd.status();
}

StatusOr<std::unique_ptr<SharedMemory>> Reactor::MakeSharedMemory(const std::string& name,
                                                                  size_t bytes) {
  if (stopping()) return Stopping();
  return MakeMemoryFile(name, bytes);
}

StatusOr<std::unique_ptr<Listener>> Reactor::Listen(const Address& address) {
  if (stopping()) return Stopping();
  const std::lock_guard lock(shared_.listening_mutex);
  std::vector<Address>& listening = shared_.listening;
  const bool ours = std::find(listening.begin(), listening.end(), address) != listening.end();
  const bool spread = cores_count() > 1;
  if (spread && !ours && address.port != 0) {
    // With SO_REUSEPORT a second process would share the address unnoticed: first see that nobody
    // has it.
    StatusOr<int> probe = OpenListener(address, false);
    if (!probe.ok()) return probe.status();
    close(*probe);
  }
  StatusOr<int> fd = OpenListener(address, spread);
  if (!fd.ok()) return fd.status();
  StatusOr<Address> local = LocalAddress(*fd);
  if (!local.ok()) {
    close(*fd);
    return local.status();
  }
  listening.push_back(*local);
  return std::make_unique<UringListener>(*this, *fd, std::move(*local));
}

Task<StatusOr<std::unique_ptr<Socket>>> Reactor::Connect(Address address, MonoTime deadline) {
  if (stopping()) co_return Stopping();
  StatusOr<int> fd = OpenStream(address);
  if (!fd.ok()) co_return fd.status();
  const Status connected = co_await ConnectTo(*this, *fd, address, deadline);
  if (!connected.ok()) {
    CloseDescriptor(*fd);
    co_return connected;
  }
  co_return std::make_unique<UringSocket>(*this, *fd, std::move(address));
}

Task<StatusOr<std::vector<Address>>> Reactor::Resolve(std::string host, uint16_t port) {
  if (stopping()) co_return Stopping();
  if (ToSystem(Address{host, port}).ok()) {
    std::vector<Address> literal;
    literal.push_back(Address{std::move(host), port});
    co_return literal;
  }
  StatusOr<std::vector<Address>> addresses = Stopping();
  co_await Offload("resolve", [&] { addresses = ResolveName(host, port); });
  co_return addresses;
}

uint64_t Reactor::Random() {
  if (random_.empty()) {
    random_.resize(kRandomWords);
    const size_t bytes = random_.size() * sizeof(uint64_t);
    auto* at = reinterpret_cast<char*>(random_.data());
    for (size_t got = 0; got < bytes;) {
      const ssize_t result = getrandom(at + got, bytes - got, 0);
      CHECK(result > 0 || errno == EINTR);
      if (result > 0) got += static_cast<size_t>(result);
    }
  }
  const uint64_t word = random_.back();
  random_.pop_back();
  return word;
}

}  // namespace metastore::io::uring
