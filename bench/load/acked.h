// What was acknowledged: kept in memory while load runs (no disk I/O that would disturb the
// server's), written as text at the end, read again to check a server that was killed meanwhile.
//
// File: "loadgen-acked 1 SEED KEYS KEY_BYTES VALUE_BYTES", then a line a write: "TIME_US KEY_INDEX
// REVISION VALUE_ID" (decimal, value id in hex; time since the run began).
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/workload.h"

namespace metastore::bench {

struct AckedWrite {
  uint64_t time_ns = 0;
  int64_t revision = 0;
  uint64_t value_id = 0;
  uint32_t key = 0;
};

// Closes on destruction.
struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

class AckedLog final {
 public:
  // Keeps at least the writes of the last `keep_ns`; 0 keeps all, up to kChunksMax chunks.
  explicit AckedLog(uint64_t keep_ns) : keep_ns_(keep_ns) {}

  void Add(const AckedWrite& write) {
    if (chunks_.empty() || chunks_.back().size() == kChunkWrites) {
      const bool old = !chunks_.empty() && keep_ns_ != 0 &&
                       chunks_.front().back().time_ns + keep_ns_ < write.time_ns;
      if (old || chunks_.size() == kChunksMax) chunks_.pop_front();
      chunks_.emplace_back().reserve(kChunkWrites);
    }
    chunks_.back().push_back(write);
  }

  // Writes those of the last keep_ns before the last one. Gives how many, or -1 when the file
  // cannot be written.
  int64_t Save(const std::string& path, const KeySpace& space, uint64_t begin_ns) const {
    const File file(std::fopen(path.c_str(), "w"));
    if (!file) return -1;
    std::fprintf(file.get(), "loadgen-acked 1 %" PRIu64 " %u %u %u\n", space.seed, space.keys,
                 space.key_bytes, space.value_bytes);
    const uint64_t last = chunks_.empty() ? 0 : chunks_.back().back().time_ns;
    int64_t written = 0;
    for (const auto& chunk : chunks_) {
      for (const AckedWrite& write : chunk) {
        if (keep_ns_ != 0 && write.time_ns + keep_ns_ < last) continue;
        std::fprintf(file.get(), "%" PRIu64 " %u %" PRId64 " %016" PRIx64 "\n",
                     (write.time_ns - begin_ns) / 1000, write.key, write.revision, write.value_id);
        written++;
      }
    }
    return std::fflush(file.get()) == 0 ? written : -1;
  }

 private:
  static constexpr size_t kChunkWrites = 65536;
  static constexpr size_t kChunksMax = 1024;  // 2 GiB

  const uint64_t keep_ns_;
  std::deque<std::vector<AckedWrite>> chunks_;
};

// The newest acknowledged write of each key in a file.
struct AckedKeys {
  KeySpace space;
  std::vector<AckedWrite> newest;
  uint64_t writes = 0;
  int64_t revision_max = 0;
};

// False when the file is missing or not one of ours.
inline bool LoadAcked(const std::string& path, AckedKeys* acked) {
  const File file(std::fopen(path.c_str(), "r"));
  if (!file) return false;
  KeySpace& space = acked->space;
  if (std::fscanf(file.get(), "loadgen-acked 1 %" SCNu64 " %u %u %u", &space.seed, &space.keys,
                  &space.key_bytes, &space.value_bytes) != 4) {
    return false;
  }
  if (space.keys > kKeysMax || space.key_bytes < kKeyBytesMin || space.key_bytes > kKeyBytesMax ||
      space.value_bytes < kValueBytesMin || space.value_bytes > kValueBytesMax) {
    return false;
  }
  std::vector<AckedWrite> newest(space.keys);
  AckedWrite write;
  while (std::fscanf(file.get(), "%" SCNu64 " %u %" SCNd64 " %" SCNx64, &write.time_ns, &write.key,
                     &write.revision, &write.value_id) == 4) {
    if (write.key >= space.keys) return false;
    acked->writes++;
    acked->revision_max = std::max(acked->revision_max, write.revision);
    if (newest[write.key].revision < write.revision) newest[write.key] = write;
  }
  for (const AckedWrite& found : newest) {
    if (found.revision > 0) acked->newest.push_back(found);
  }
  return std::feof(file.get()) != 0;
}

// Tells whether a revision was seen before. Holds a bit a revision from the first one on.
class RevisionSet final {
 public:
  // False: seen before, or further below the first one than concurrent writes explain.
  bool Insert(int64_t revision) {
    if (bits_.empty()) base_ = std::max<int64_t>(0, revision - kReorderMax);
    if (revision < base_ || revision - base_ >= kRevisionsMax) return false;
    const auto index = static_cast<size_t>(revision - base_);
    if (index / 64 >= bits_.size()) bits_.resize(index / 64 * 2 + 1024);
    const uint64_t bit = uint64_t{1} << (index % 64);
    const bool fresh = (bits_[index / 64] & bit) == 0;
    bits_[index / 64] |= bit;
    return fresh;
  }

 private:
  static constexpr int64_t kReorderMax = 1 << 20;
  static constexpr int64_t kRevisionsMax = int64_t{1} << 33;
  int64_t base_ = 0;
  std::vector<uint64_t> bits_;
};

}  // namespace metastore::bench
