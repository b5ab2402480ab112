#include "io/sim/sim_file.h"

namespace metastore::sim {
namespace {

SimDiskOp DiskOpOf(io::FileOpKind kind) {
  switch (kind) {
    case io::FileOpKind::kRead:
      return SimDiskOp::kRead;
    case io::FileOpKind::kWrite:
      return SimDiskOp::kWrite;
    case io::FileOpKind::kDurableWrite:
      return SimDiskOp::kDurableWrite;
    case io::FileOpKind::kSync:
      return SimDiskOp::kSync;
    case io::FileOpKind::kAllocate:
      return SimDiskOp::kAllocate;
    case io::FileOpKind::kTruncate:
      return SimDiskOp::kTruncate;
  }
  CHECK_UNREACHABLE();
}

}  // namespace

SimFile::SimFile(SimRuntime& runtime, std::string path, InodeRef inode)
    : runtime_(runtime), path_(std::move(path)), inode_(std::move(inode)) {
  runtime_.AddObject();
}

SimFile::~SimFile() {
  CHECK_EQ(free_.size(), requests_.size());
  runtime_.RemoveObject();
}

SimFile::Request& SimFile::TakeRequest() {
  if (free_.empty()) {
    requests_.push_back(std::make_unique<Request>());
    Request& made = *requests_.back();
    made.file = this;
    made.path = path_;
    made.inode = inode_;
    made.process = runtime_.machine().process_id();
    made.done = &SimFile::Done;
    free_.push_back(&made);
  }
  Request& request = *free_.back();
  free_.pop_back();
  return request;
}

void SimFile::Submit(io::FileOp& op) {
  runtime_.CheckCaller();
  if (runtime_.dead()) {
    op.status = CancelledError(path_, ": the process was killed");
    op.done_bytes = 0;
    runtime_.scheduler().Push(op);
    return;
  }
  Request& request = TakeRequest();
  request.caller = &op;
  request.op = DiskOpOf(op.kind);
  request.offset = op.offset;
  request.data = op.data;
  request.size = op.size;
  request.method = op.method;
  runtime_.machine().disk().Submit(request);
}

void SimFile::Done(DiskRequest& base) {
  auto& request = static_cast<Request&>(base);
  io::FileOp& op = *request.caller;
  op.status = std::move(request.status);
  op.done_bytes = request.done_bytes;
  request.file->free_.push_back(&request);
  request.file->runtime_.scheduler().Push(op);
}

DiskCall::DiskCall(SimRuntime& runtime, SimDiskOp what, std::string where, io::OpenMode how)
    : runtime_(runtime) {
  op = what;
  path = NormalPath(where);
  mode = how;
  process = runtime.machine().process_id();
  done = [](DiskRequest& self) { static_cast<DiskCall&>(self).suspension_.Wake(); };
}

bool DiskCall::await_ready() {
  runtime_.CheckCaller();
  if (!runtime_.dead()) return false;
  status = CancelledError(path, ": the process was killed");
  return true;
}

}  // namespace metastore::sim
