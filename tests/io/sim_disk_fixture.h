// A machine with one disk and one open file, for the tests of SimDisk.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "io/base/limits.h"
#include "io/gate.h"
#include "io/sim/sim_world.h"

namespace metastore::sim {

inline constexpr size_t kBlock = limits::kBlockBytes;

enum class How : uint8_t { kPlain, kDurable };

inline io::Task<Status> Put(io::Runtime& runtime, io::File& file, uint64_t offset,
                            std::string bytes, How how) {
  io::IoBuffer buffer = runtime.AllocateBuffer(bytes.size());
  std::copy(bytes.begin(), bytes.end(), buffer.data());
  const std::span<char> span(buffer.data(), bytes.size());
  if (how == How::kDurable) {
    const StatusOr<size_t> written =
        co_await file.DurableWrite(offset, span, io::DurableMethod::kDsync);
    co_return written.status();
  }
  const StatusOr<size_t> written = co_await file.Write(offset, span);
  co_return written.status();
}

inline io::Task<StatusOr<std::string>> Get(io::Runtime& runtime, io::File& file, uint64_t offset,
                                           size_t size) {
  io::IoBuffer buffer = runtime.AllocateBuffer(size);
  const StatusOr<size_t> read = co_await file.Read(offset, {buffer.data(), size});
  if (!read.ok()) co_return read.status();
  co_return std::string(buffer.data(), *read);
}

inline io::Task<Status> DoSync(io::File& file) {
  const StatusOr<size_t> synced = co_await file.Sync();
  co_return synced.status();
}

// Counts `done` up once a durable block of 'a' is acknowledged.
inline io::Task<void> PutInto(io::Runtime& runtime, io::File& file, int& done) {
  const Status status = co_await Put(runtime, file, 0, std::string(kBlock, 'a'), How::kDurable);
  done += status.ok() ? 1 : 0;
}

class SimDiskTest : public testing::Test {
 protected:
  explicit SimDiskTest(uint64_t seed = 11) : world_(seed) { Boot(); }
  ~SimDiskTest() override { Down(); }

  void Boot() {
    runtime_ = machine_.StartProcess()[0];
    const bool exists = !disk_.ListFiles().empty();
    StatusOr<std::unique_ptr<io::File>> file = world_.Await(
        *runtime_,
        runtime_->OpenFile("/f", exists ? io::OpenMode::kReadWrite : io::OpenMode::kCreate));
    CHECK(file.ok());
    file_ = *std::move(file);
    if (!exists) CHECK(world_.Await(*runtime_, runtime_->SyncDirectory("/")).ok());
  }
  void Down() {
    if (machine_.dead()) machine_.DrainDead();
    file_.reset();
    if (machine_.state() != SimProcessState::kNone) machine_.EndProcess();
  }
  Status Write(uint64_t block, const std::string& bytes, How how = How::kDurable) {
    return world_.Await(*runtime_, Put(*runtime_, *file_, block * kBlock, bytes, how));
  }
  StatusOr<std::string> Read(uint64_t block, size_t blocks = 1) {
    return world_.Await(*runtime_, Get(*runtime_, *file_, block * kBlock, blocks * kBlock));
  }
  Status Sync() { return world_.Await(*runtime_, DoSync(*file_)); }
  static std::string Blocks(size_t count, char fill) { return std::string(count * kBlock, fill); }
  // How many sectors of the durable file hold `fill`.
  size_t DurableSectors(char fill) const {
    const std::string bytes = disk_.ReadDurable("/f", 0, 1 << 20);
    size_t count = 0;
    for (size_t at = 0; at < bytes.size(); at += kSectorBytes) count += bytes[at] == fill ? 1 : 0;
    return count;
  }

  SimWorld world_;
  SimMachine& machine_ = world_.AddMachine("a");
  SimDisk& disk_ = machine_.disk();
  io::Runtime* runtime_ = nullptr;
  std::unique_ptr<io::File> file_;
};

}  // namespace metastore::sim
