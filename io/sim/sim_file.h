// Files of SimRuntime, and DiskCall, one awaited operation on names.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/file.h"
#include "io/sim/sim_disk.h"
#include "io/sim/sim_runtime.h"

namespace metastore::sim {

class SimFile final : public io::File {
 public:
  SimFile(SimRuntime& runtime, std::string path, InodeRef inode);
  ~SimFile() override;

  void Submit(io::FileOp& op) override;
  const std::string& path() const override { return path_; }
  uint64_t size() const override { return inode_->cached_size; }

 private:
  struct Request : DiskRequest {
    SimFile* file = nullptr;
    io::FileOp* caller = nullptr;
  };

  static void Done(DiskRequest& request);
  Request& TakeRequest();

  SimRuntime& runtime_;
  std::string path_;
  InodeRef inode_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<Request*> free_;
};

// DiskCall call(runtime, op, path, mode); const Status status = co_await call; then its results.
class DiskCall final : public DiskRequest {
 public:
  DiskCall(SimRuntime& runtime, SimDiskOp what, std::string where,
           io::OpenMode how = io::OpenMode::kRead);

  bool await_ready();
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    suspension_.Suspend(handle);
    runtime_.machine().disk().Submit(*this);
  }
  Status await_resume() { return status; }

 private:
  SimRuntime& runtime_;
  io::Suspension suspension_;
};

}  // namespace metastore::sim
