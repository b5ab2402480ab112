// A scratch file of zeros that were really written, so that no measured write has to allocate or
// convert an extent; removed in the end. An error of the disk ends the program.
#pragma once

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "bench/load/clock.h"
#include "bench/load/histogram.h"

namespace metastore::bench {

enum class WriteMode : uint8_t { kDsync, kFdatasync, kNotDurable };

class ScratchFile final {
 public:
  static constexpr uint64_t kBytes = 64 * 1024 * 1024;
  static constexpr uint64_t kBlockBytes = 4096;

  explicit ScratchFile(std::string path) : path_(std::move(path)) {
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
    if (fd_ < 0) Die();
    constexpr uint64_t kChunk = 1024 * 1024;
    const Block zeros = MakeBlock(kChunk, 0);
    for (uint64_t at = 0; at < kBytes; at += kChunk) {
      if (pwrite(fd_, zeros.get(), kChunk, static_cast<off_t>(at)) < 0) Die();
    }
    if (fsync(fd_) != 0) Die();
  }
  ~ScratchFile() {
    close(fd_);
    unlink(path_.c_str());
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::string& path() const { return path_; }
  // Writes of `bytes` (whole blocks, at most half the file), one after the other, for `seconds`.
  // Several threads may write at once.
  LatencyHistogram Write(uint64_t bytes, WriteMode mode, double seconds) {
    const Block block = MakeBlock(bytes, 0x5a);
    LatencyHistogram latency;
    uint64_t before = NowNs();
    const uint64_t end = before + static_cast<uint64_t>(seconds * 1e9);
    while (before < end) {
      WriteOne(block.get(), bytes, mode);
      const uint64_t after = NowNs();
      latency.Record(after - before);
      before = after;
    }
    return latency;
  }

 private:
  struct Freer {
    void operator()(void* memory) const { std::free(memory); }
  };
  using Block = std::unique_ptr<void, Freer>;

  static Block MakeBlock(uint64_t bytes, int fill) {
    Block block(std::aligned_alloc(kBlockBytes, bytes));
    std::memset(block.get(), fill, bytes);
    return block;
  }

  void WriteOne(void* block, uint64_t bytes, WriteMode mode) {
    const uint64_t at = next_.fetch_add(1) % (kBytes / bytes) * bytes;
    const iovec piece{.iov_base = block, .iov_len = bytes};
    const int flags = mode == WriteMode::kDsync ? RWF_DSYNC : 0;
    const ssize_t written = pwritev2(fd_, &piece, 1, static_cast<off_t>(at), flags);
    if (written != static_cast<ssize_t>(bytes)) Die();
    if (mode == WriteMode::kFdatasync && fdatasync(fd_) != 0) Die();
  }

  [[noreturn]] void Die() const {
    std::fprintf(stderr, "%s: %s\n", path_.c_str(), std::strerror(errno));
    std::exit(1);
  }

  const std::string path_;
  int fd_ = -1;
  std::atomic<uint64_t> next_ = 0;
};

}  // namespace metastore::bench
