// Files: direct I/O only, in whole blocks, by caller-owned operations or as coroutines over them.
//
// Contract about durability, the only one code may rely on (docs/ARCHITECTURE.md, "Durability"):
//  - a completed durable write, and a write completed before a successful Sync was submitted,
//  survive power loss;
//  - 512-byte sectors are written atomically; nothing else is ordered or atomic;
//  - after a failed durable write or Sync nothing is known about its bytes: never retry in place.
//
// Errors, from every operation:
//   kResourceExhausted  no space or quota                   kNotFound         no such file or
//   directory kDataLoss           the device reported an I/O error    kPermissionDenied refused by
//   the system kAlreadyExists      created, but it was there           kCancelled        the
//   runtime is stopping or was killed kInternal           anything else, with errno's name
// Each message names path, operation and offset.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "io/base/status.h"
#include "io/task.h"

namespace metastore::io {

// How one durable write reaches the medium. All stay selectable so that they can be profiled
// (wal/README.md).
enum class DurableMethod : uint8_t {
  kDsync,      // one O_DIRECT write with RWF_DSYNC: no worker thread, a single FUA write on good
               // devices
  kFdatasync,  // a write, then, after its completion, an fdatasync
  kLinked,     // a write soft-linked to an fdatasync in one submission
};

enum class FileOpKind : uint8_t { kRead, kWrite, kDurableWrite, kSync, kAllocate, kTruncate };

// One operation on a file, owned by the caller, who keeps it and its bytes alive and in place until
// it runs. The base is its completion: the caller sets run, ready_class and name; once completed
// the runtime pushes it on its scheduler. It never runs inside Submit.
struct FileOp : ReadyNode {
  FileOpKind kind = FileOpKind::kRead;
  DurableMethod method = DurableMethod::kDsync;  // kDurableWrite only
  uint64_t offset = 0;                           // bytes, block-aligned
  char* data = nullptr;                          // kRead: filled; writes: source; block-aligned
  size_t size = 0;            // bytes, block-aligned; kAllocate, kTruncate: the file's new size
  int registered_index = -1;  // IoBuffer::registered_index of `data`

  // Results. A read past the end of the file completes with fewer bytes; a write that could not be
  // whole is an error.
  Status status;
  size_t done_bytes = 0;

  uint64_t runtime_word = 0;  // the runtime's own while the operation is under way
};

class FileAwaiter;

class File {
 public:
  virtual ~File() = default;  // closes; CHECKs that no operation is under way

  virtual void Submit(FileOp& op) = 0;
  virtual const std::string& path() const = 0;
  // Bytes, as of the open and the completed operations since.
  virtual uint64_t size() const = 0;

  // Coroutine forms: co_await file->Read(...). The status is in the result; reads give the bytes
  // read.
  FileAwaiter Read(uint64_t offset, std::span<char> into, int registered_index = -1);
  FileAwaiter Write(uint64_t offset, std::span<char> from, int registered_index = -1);
  FileAwaiter DurableWrite(uint64_t offset, std::span<char> from, DurableMethod method);
  // All completed writes become durable, and the file's size.
  FileAwaiter Sync();
  // Extends the file to `bytes`, space reserved (so that later writes cannot lack space), content
  // zero.
  FileAwaiter Allocate(uint64_t bytes);
  FileAwaiter Truncate(uint64_t bytes);
};

// Awaits one FileOp, which lives in the awaiting coroutine's frame.
class FileAwaiter {
 public:
  FileAwaiter(File& file, FileOpKind kind) : file_(file) { op_.kind = kind; }

  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    const PromiseBase& promise = handle.promise();
    op_.name = promise.node.name;
    op_.ready_class = promise.node.ready_class;
    op_.handle = handle;
    op_.run = [](ReadyNode& node) { static_cast<Operation&>(node).handle.resume(); };
    file_.Submit(op_);
  }
  // The bytes read or written (0 for the other kinds).
  StatusOr<size_t> await_resume() {
    if (!op_.status.ok()) return std::move(op_.status);
    return op_.done_bytes;
  }

  FileOp& op() { return op_; }

 private:
  struct Operation : FileOp {
    std::coroutine_handle<> handle;
  };

  File& file_;
  Operation op_;
};

}  // namespace metastore::io
