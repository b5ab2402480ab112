#include "io/uring/uring_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "io/base/check.h"
#include "io/base/limits.h"
#include "io/uring/errno_status.h"
#include "io/uring/reactor.h"

namespace metastore::io::uring {
namespace {

bool IsTransfer(FileOpKind kind) {
  return kind == FileOpKind::kRead || kind == FileOpKind::kWrite ||
         kind == FileOpKind::kDurableWrite;
}

std::string Describe(const FileOp& op) {
  switch (op.kind) {
    case FileOpKind::kRead:
      return Concat("read of ", op.size, " bytes at ", op.offset);
    case FileOpKind::kWrite:
      return Concat("write of ", op.size, " bytes at ", op.offset);
    case FileOpKind::kDurableWrite:
      return Concat("durable write of ", op.size, " bytes at ", op.offset);
    case FileOpKind::kSync:
      return "sync";
    case FileOpKind::kAllocate:
      return Concat("allocation of ", op.size, " bytes at 0");
    case FileOpKind::kTruncate:
      return Concat("truncation to ", op.size, " bytes at ", op.size);
  }
  CHECK_UNREACHABLE();
}

UringFile& FileOf(RingOp& self, FileRequest*& request) {
  request = static_cast<FileRequest::Step&>(self).request;
  return *request->file;
}

}  // namespace

FileRequest& FileRequestPool::Take() {
  if (free_ == nullptr) {
    all_.push_back(std::make_unique<FileRequest>());
    free_ = all_.back().get();
    free_->transfer.request = free_->sync.request = free_->job.request = free_;
    free_->transfer.urgent = free_->sync.urgent = true;
  }
  ++under_way_;
  FileRequest& request = *std::exchange(free_, free_->next_free);
  request.next_free = nullptr;
  return request;
}

void FileRequestPool::Put(FileRequest& request) {
  CHECK_GT(under_way_, 0u);
  --under_way_;
  request.file = nullptr;
  request.op = nullptr;
  request.next_free = std::exchange(free_, &request);
}

UringFile::UringFile(Reactor& reactor, std::string path, const OpenedFile& opened, uint64_t traced)
    : reactor_(reactor),
      path_(std::move(path)),
      fd_(opened.fd),
      traced_(traced),
      size_(opened.bytes) {}

UringFile::~UringFile() {
  CHECK_EQ(under_way_, 0u);
  reactor_.CloseDescriptor(fd_);
}

void UringFile::Submit(FileOp& op) {
  if (IsTransfer(op.kind)) {
    CHECK(op.data != nullptr);
    CHECK_EQ(op.offset % limits::kBlockBytes, 0u);
    CHECK_EQ(op.size % limits::kBlockBytes, 0u);
    CHECK(op.size > 0 && op.size <= limits::kIoBytesMax);
    CHECK_EQ(reinterpret_cast<uintptr_t>(op.data) % limits::kBlockBytes, 0u);
  }
  op.status = OkStatus();
  op.done_bytes = 0;
  ++under_way_;
  if (reactor_.stopping()) {
    op.status = CancelledError(path_, ": ", Describe(op), ": the runtime is stopping");
    Complete(op);
    return;
  }
  FileRequest& request = reactor_.file_requests().Take();
  request.file = this;
  request.op = &op;
  request.done = 0;
  request.transfer_error = 0;
  request.traced = reactor_.recorder() == nullptr ? 0 : TraceBegin(op);
  request.transfer.prepare = PrepareTransfer;
  request.transfer.complete = TransferDone;
  request.transfer.chained = nullptr;
  request.sync.prepare = PrepareSync;
  request.sync.complete = SyncDone;
  Start(request);
}

// 0: reads change nothing.
uint64_t UringFile::TraceBegin(const FileOp& op) {
  TraceRecord record{.file = traced_, .offset = op.offset, .size = op.size};
  switch (op.kind) {
    case FileOpKind::kRead:
      return 0;
    case FileOpKind::kWrite:
    case FileOpKind::kDurableWrite:
      record.op = op.kind == FileOpKind::kWrite ? TraceOp::kWrite : TraceOp::kDurableWrite;
      record.data = {op.data, op.size};
      break;
    case FileOpKind::kSync:
      record.op = TraceOp::kSync;
      break;
    case FileOpKind::kAllocate:
      record.op = TraceOp::kAllocate;
      break;
    case FileOpKind::kTruncate:
      record.op = TraceOp::kTruncate;
      break;
  }
  return reactor_.recorder()->Begin(record);
}

void UringFile::Start(FileRequest& request) {
  switch (request.op->kind) {
    case FileOpKind::kRead:
    case FileOpKind::kWrite:
    case FileOpKind::kAllocate:
      StartTransfer(request);
      return;
    case FileOpKind::kDurableWrite:
      StartTransfer(request);
      // The disk begins while this turn goes on with requests.
      if (!reactor_.ring().reaping()) reactor_.ring().SubmitNow();
      return;
    case FileOpKind::kSync:
      reactor_.ring().Start(request.sync);
      return;
    case FileOpKind::kTruncate:
      StartTruncate(request);
      return;
  }
}

void UringFile::StartTransfer(FileRequest& request) {
  const FileOp& op = *request.op;
  const bool linked = op.kind == FileOpKind::kDurableWrite && op.method == DurableMethod::kLinked;
  request.transfer.chained = linked ? &request.sync : nullptr;
  reactor_.ring().Start(request.transfer);
}

void UringFile::StartTruncate(FileRequest& request) {
  request.job.work = [](OffloadJob& self) {
    auto& job = static_cast<FileRequest::Job&>(self);
    const int result = ftruncate(job.request->file->fd_, static_cast<off_t>(job.request->op->size));
    job.error = result == 0 ? 0 : errno;
  };
  request.job.finished = [](OffloadJob& self) {
    auto& job = static_cast<FileRequest::Job&>(self);
    if (job.error == 0) job.request->file->size_ = job.request->op->size;
    job.request->file->Finish(*job.request, job.error);
  };
  reactor_.Enqueue(request.job);
}

void UringFile::PrepareTransfer(RingOp& self, io_uring_sqe& sqe) {
  FileRequest* request = nullptr;
  const UringFile& file = FileOf(self, request);
  const FileOp& op = *request->op;
  if (op.kind == FileOpKind::kAllocate) {
    // Mode 0, so that the size grows too: with KEEP_SIZE every later write would have to change it.
    io_uring_prep_fallocate(&sqe, file.fd_, 0, 0, static_cast<off_t>(op.size));
    return;
  }
  char* data = op.data + request->done;
  const auto bytes = static_cast<unsigned>(op.size - request->done);
  const uint64_t offset = op.offset + request->done;
  const bool fixed = op.registered_index >= 0;
  if (op.kind == FileOpKind::kRead) {
    if (fixed) {
      io_uring_prep_read_fixed(&sqe, file.fd_, data, bytes, offset, op.registered_index);
    } else {
      io_uring_prep_read(&sqe, file.fd_, data, bytes, offset);
    }
    return;
  }
  if (fixed) {
    io_uring_prep_write_fixed(&sqe, file.fd_, data, bytes, offset, op.registered_index);
  } else {
    io_uring_prep_write(&sqe, file.fd_, data, bytes, offset);
  }
  if (op.kind != FileOpKind::kDurableWrite) return;
  if (op.method == DurableMethod::kDsync) sqe.rw_flags = RWF_DSYNC;
  // Soft: a short or failed write cancels the flush, so a flush that succeeded always means the
  // write was whole.
  if (op.method == DurableMethod::kLinked) io_uring_sqe_set_flags(&sqe, IOSQE_IO_LINK);
}

void UringFile::PrepareSync(RingOp& self, io_uring_sqe& sqe) {
  FileRequest* request = nullptr;
  const UringFile& file = FileOf(self, request);
  const bool data_only = request->op->kind == FileOpKind::kDurableWrite;
  io_uring_prep_fsync(&sqe, file.fd_, data_only ? IORING_FSYNC_DATASYNC : 0);
}

void UringFile::TransferDone(RingOp& self, int32_t result, uint32_t /*flags*/) {
  FileRequest* request = nullptr;
  UringFile& file = FileOf(self, request);
  file.Transferred(*request, result);
}

void UringFile::SyncDone(RingOp& self, int32_t result, uint32_t /*flags*/) {
  FileRequest* request = nullptr;
  UringFile& file = FileOf(self, request);
  file.Flushed(*request, result);
}

void UringFile::GrewTo(uint64_t bytes) {
  if (bytes > size_) size_ = bytes;
}

void UringFile::Transferred(FileRequest& request, int32_t result) {
  FileOp& op = *request.op;
  const bool durable = op.kind == FileOpKind::kDurableWrite;
  if (durable && op.method == DurableMethod::kLinked) {
    // The flush completes right behind, cancelled if this was short: it ends the request.
    request.transfer_error = result < 0 ? -result : 0;
    if (result > 0) request.done = static_cast<size_t>(result);
    return;
  }
  if ((result == -EAGAIN || result == -EINTR) && !durable) return StartTransfer(request);
  if (result < 0) return Finish(request, -result);
  if (op.kind == FileOpKind::kAllocate) {
    GrewTo(op.size);
    return Finish(request, 0);
  }
  request.done += static_cast<size_t>(result);
  if (op.kind != FileOpKind::kRead) GrewTo(op.offset + request.done);
  if (request.done == op.size) {
    if (durable && op.method == DurableMethod::kFdatasync)
      return reactor_.ring().Start(request.sync);
    return Finish(request, 0);
  }
  const bool goes_on = !durable && result > 0 && request.done % limits::kBlockBytes == 0;
  if (goes_on) return StartTransfer(request);
  if (op.kind == FileOpKind::kRead) return Finish(request, 0);  // the end of the file
  FinishShort(request);
}

void UringFile::Flushed(FileRequest& request, int32_t result) {
  const FileOp& op = *request.op;
  if (op.kind == FileOpKind::kDurableWrite && op.method == DurableMethod::kLinked) {
    if (request.transfer_error != 0) return Finish(request, request.transfer_error);
    if (request.done != op.size) return FinishShort(request);
    GrewTo(op.offset + request.done);
  }
  Finish(request, result < 0 ? -result : 0);
}

void UringFile::FinishShort(FileRequest& request) {
  FileOp& op = *request.op;
  op.status = InternalError(path_, ": ", Describe(op), ": short, only ", request.done,
                            " bytes were written");
  op.done_bytes = request.done;
  Release(request);
  Complete(op);
}

void UringFile::Finish(FileRequest& request, int error) {
  FileOp& op = *request.op;
  if (error != 0) {
    op.status = FileStatus(error, Describe(op), path_);
  } else if (IsTransfer(op.kind)) {
    op.done_bytes = request.done;
  }
  Release(request);
  Complete(op);
}

void UringFile::Release(FileRequest& request) {
  if (request.traced != 0) {
    reactor_.recorder()->End(request.traced, request.op->status, request.op->done_bytes);
  }
  reactor_.file_requests().Put(request);
}

void UringFile::Complete(FileOp& op) {
  CHECK_GT(under_way_, 0u);
  --under_way_;
  reactor_.scheduler().Push(op);
}

}  // namespace metastore::io::uring
