// KeyRecord and Version: what the memory engine stores, and the slab its versions live in.
//
// A KeyRecord is one key, from its first put until a compaction has passed its last delete: a
// header with the key's bytes behind it, in one allocation, so that finding a key costs one cache
// miss beside the index's. It repeats what a put needs of the newest version, so that an update
// does not touch the old one.
//
// Versions of a key are chained newest first; all versions are also in revision order in Store's
// log.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include "engine/types.h"
#include "io/base/check.h"

namespace metastore::engine {

struct KeyRecord;

struct Version {
  Revision main;
  int32_t sub = 0;
  bool tombstone = false;
  Revision create;  // 0 for a tombstone, as the next two
  int64_t version = 0;
  LeaseId lease;
  io::SharedBytes value;
  Version* previous = nullptr;  // of the same key; older
  KeyRecord* record = nullptr;

  bool Before(Position at) const { return main < at.main || (main == at.main && sub < at.sub); }
};

struct KeyRecord {
  Version* newest = nullptr;
  // Of the newest version; all zero while the key is deleted.
  Revision create;
  int64_t version = 0;
  LeaseId lease;
  uint32_t hash = 0;
  uint32_t key_bytes = 0;
  uint32_t value_bytes = 0;

  bool live() const { return version != 0; }
  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }

  static KeyRecord* New(std::string_view key, uint32_t hash) {
    void* memory = ::operator new(sizeof(KeyRecord) + key.size());
    auto* record = new (memory) KeyRecord;
    record->hash = hash;
    record->key_bytes = static_cast<uint32_t>(key.size());
    std::char_traits<char>::copy(reinterpret_cast<char*>(record + 1), key.data(), key.size());
    return record;
  }
  static void Delete(KeyRecord* record) { ::operator delete(record); }
};

// What a version counts for in Stats::stored_bytes.
inline uint64_t StoredBytes(const Version& version) {
  return version.record->key_bytes + version.value.size() + kVersionOverheadBytes;
}

// The newest version that a read at `at` sees; null if there is none or the key is deleted there.
// Walks the chain: as long as the number of the key's versions after `at`.
inline const Version* VisibleAt(const KeyRecord& record, Position at) {
  const Version* version = record.newest;
  while (version != nullptr && !version->Before(at)) version = version->previous;
  return version == nullptr || version->tombstone ? nullptr : version;
}

// Allocates versions from large blocks and keeps freed ones for reuse: in revision order on fresh
// memory, which is the order compaction reads them in. Memory goes back to the system with the slab
// only.
class VersionSlab final {
 public:
  VersionSlab() = default;
  ~VersionSlab() { CHECK_EQ(used_, 0u); }
  VersionSlab(const VersionSlab&) = delete;
  VersionSlab& operator=(const VersionSlab&) = delete;

  Version* New() {
    ++used_;
    void* memory = free_;
    if (free_ != nullptr) {
      free_ = free_->next;
    } else {
      if (fresh_ == kBlockVersions) {
        blocks_.push_back(std::make_unique_for_overwrite<Block>());
        fresh_ = 0;
      }
      memory = blocks_.back()->bytes + fresh_++ * sizeof(Version);
    }
    return new (memory) Version;
  }
  void Delete(Version* version) {
    version->~Version();
    free_ = new (version) Free{free_};
    --used_;
  }
  // Once nothing is used any more (CHECKed), and never used again: frees one block. True: none is
  // left.
  bool FreeBlock() {
    CHECK_EQ(used_, 0u);
    free_ = nullptr;
    fresh_ = kBlockVersions;
    if (!blocks_.empty()) blocks_.pop_back();
    return blocks_.empty();
  }

 private:
  static constexpr size_t kBlockVersions = 1024;
  struct Free {
    Free* next;
  };
  struct Block {
    alignas(Version) char bytes[kBlockVersions * sizeof(Version)];
  };

  std::vector<std::unique_ptr<Block>> blocks_;
  size_t fresh_ = kBlockVersions;  // next unused slot of the last block
  Free* free_ = nullptr;
  size_t used_ = 0;
};

}  // namespace metastore::engine
