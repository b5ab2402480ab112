// Runtime: the seam. Everything the outside world is to a core: clock, timers, files, sockets,
// randomness, other cores, blocking work. Production passes io/uring's, tests io/sim's; nothing
// else may call the system, read a clock, start a thread or draw a random number.
//
// One Runtime a core (reactor); all its functions are called on that core, and every object it
// makes stays there. A node's runtimes know each other: Post is the one way between cores.
//
// Lifetime: the runtime outlives everything made from it. Its host runs it until stopped; a stop
// completes every pending operation with kCancelled.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/base/time.h"
#include "io/buffer.h"
#include "io/file.h"
#include "io/log.h"
#include "io/scheduler.h"
#include "io/shared_memory.h"
#include "io/signal.h"
#include "io/socket.h"

namespace metastore::io {

enum class OpenMode : uint8_t {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreate,     // must not exist
};

struct DirectoryEntry {
  std::string name;
  uint64_t bytes = 0;
  bool is_directory = false;
};

struct FileSystemFacts {
  std::string type;         // "ext4", "xfs", ...
  uint64_t free_bytes = 0;  // for this user
  uint64_t total_bytes = 0;
  uint32_t direct_block =
      0;  // bytes: the unit and alignment direct I/O needs; 0 = no direct I/O here
};

// A held lock on a directory; released when destroyed.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
};

class Runtime : public TimerService {
 public:
  // --- this core
  // -----------------------------------------------------------------------------------------------
  virtual Scheduler& scheduler() = 0;
  virtual int core() const = 0;         // 0-based
  virtual int cores_count() const = 0;  // of the node
  virtual Logger& log() = 0;

  // --- time and chance (Now, Arm, Cancel: TimerService)
  // -----------------------------------------------------------
  virtual WallTime WallNow() const = 0;
  virtual uint64_t
  Random() = 0;  // uniform 64 bits; unpredictable in production, seeded in simulation

  // --- other cores
  // -----------------------------------------------------------------------------------------------
  // Pushes `node` on `core`'s scheduler (its own core too), in order with earlier posts from here.
  // The node belongs to the other core from then on. False, and the node untouched, when the ring
  // to that core is full (limits::kPostRingSlots). After the other core has stopped the node never
  // runs.
  [[nodiscard]] virtual bool Post(int core, ReadyNode& node) = 0;

  // --- files (paths are absolute or relative to the working directory)
  // ---------------------------------------------- Opens for direct I/O. Further errors:
  // kFailedPrecondition  the file system has no direct I/O (names path and type)
  virtual Task<StatusOr<std::unique_ptr<File>>> OpenFile(std::string path, OpenMode mode) = 0;
  virtual Task<Status> RemoveFile(std::string path) = 0;
  virtual Task<StatusOr<std::vector<DirectoryEntry>>> ListDirectory(
      std::string path) = 0;  // by name
  // Makes the directory and its missing parents, each durable in its parent. OK if it exists.
  virtual Task<Status> MakeDirectories(std::string path) = 0;
  // Gives a directory another name in its parent, with all that is in it. Atomic, and durable when
  // it completes. kNotFound: there is none; kAlreadyExists: something is called `to`.
  virtual Task<Status> RenameDirectory(std::string from, std::string to) = 0;
  // Creations and removals in the directory become durable.
  virtual Task<Status> SyncDirectory(std::string path) = 0;
  virtual Task<StatusOr<FileSystemFacts>> FactsOf(std::string path) = 0;
  // Keeps every other process (and runtime) off the directory. kAlreadyExists: another holds it,
  // after retries for the time a killed process may need to let go.
  virtual Task<StatusOr<std::unique_ptr<DirectoryLock>>> LockDirectory(std::string path) = 0;
  // At least `bytes` (a multiple of limits::kBlockBytes, at most limits::kIoBytesMax), content
  // undefined.
  virtual IoBuffer AllocateBuffer(size_t bytes) = 0;
  // `bytes` (whole words) that other processes may look at, under a name of letters and dashes.
  // Blocks for about a millisecond: for the start. kResourceExhausted: no memory; else as a file's.
  virtual StatusOr<std::unique_ptr<SharedMemory>> MakeSharedMemory(const std::string& name,
                                                                   size_t bytes) = 0;

  // --- network
  // -----------------------------------------------------------------------------------------------
  // Several cores of a node may listen on one address: connections are spread over them.
  virtual StatusOr<std::unique_ptr<Listener>> Listen(const Address& address) = 0;
  virtual Task<StatusOr<std::unique_ptr<Socket>>> Connect(Address address, MonoTime deadline) = 0;
  // IP literals give themselves. kNotFound: no such name.
  virtual Task<StatusOr<std::vector<Address>>> Resolve(std::string host, uint16_t port) = 0;

  // --- elsewhere
  // -----------------------------------------------------------------------------------------------
  // Runs `work` on a small thread pool (a delayed call in simulation): pure computing and calls
  // that block. It must touch only what it owns; completes after it returned.
  virtual Task<void> Offload(const char* name, std::function<void()> work) = 0;
};

}  // namespace metastore::io
