// UringFile: a file over the ring, by requests of a pool, so that an operation allocates nothing.
//
// A request is one FileOp on its way: one or two ring operations, or a job of the offload pool
// (truncate). Durable writes are one of three sequences (io/file.h, DurableMethod); a short durable
// write is an error and never retried. Plain reads and writes go on where a short one stopped, so
// that the true cause is seen.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file.h"
#include "io/uring/filesystem.h"
#include "io/uring/offload_pool.h"
#include "io/uring/ring.h"

namespace metastore::io::uring {

class Reactor;
class UringFile;

struct FileRequest {
  struct Step : RingOp {
    FileRequest* request = nullptr;
  };
  struct Job : OffloadJob {
    FileRequest* request = nullptr;
    int error = 0;
  };

  UringFile* file = nullptr;
  FileOp* op = nullptr;
  size_t done = 0;         // bytes transferred by earlier steps
  int transfer_error = 0;  // kLinked: the write's, kept until the sync's completion
  uint64_t traced = 0;     // its number in the trace, if there is one
  Step transfer;           // the read, write or allocation
  Step sync;               // the flush
  Job job;
  FileRequest* next_free = nullptr;
};

class FileRequestPool final {
 public:
  FileRequest& Take();
  void Put(FileRequest& request);
  size_t under_way() const { return under_way_; }

 private:
  FileRequest* free_ = nullptr;
  size_t under_way_ = 0;
  std::vector<std::unique_ptr<FileRequest>> all_;
};

class UringFile final : public File {
 public:
  // `traced`: the file's number in the trace, if there is one.
  UringFile(Reactor& reactor, std::string path, const OpenedFile& opened, uint64_t traced);
  ~UringFile() override;

  void Submit(FileOp& op) override;
  const std::string& path() const override { return path_; }
  uint64_t size() const override { return size_; }

 private:
  void Start(FileRequest& request);
  void StartTransfer(FileRequest& request);
  void StartTruncate(FileRequest& request);
  static void PrepareTransfer(RingOp& self, io_uring_sqe& sqe);
  static void PrepareSync(RingOp& self, io_uring_sqe& sqe);
  static void TransferDone(RingOp& self, int32_t result, uint32_t flags);
  static void SyncDone(RingOp& self, int32_t result, uint32_t flags);
  void Transferred(FileRequest& request, int32_t result);
  void Flushed(FileRequest& request, int32_t result);
  void GrewTo(uint64_t bytes);
  // Ends the request: with `error` (a positive errno, 0 = fine), or as a short transfer.
  void Finish(FileRequest& request, int error);
  void FinishShort(FileRequest& request);
  void Release(FileRequest& request);
  void Complete(FileOp& op);
  uint64_t TraceBegin(const FileOp& op);

  Reactor& reactor_;
  const std::string path_;
  const int fd_;
  const uint64_t traced_;
  uint64_t size_;
  size_t under_way_ = 0;
};

}  // namespace metastore::io::uring
