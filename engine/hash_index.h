// HashIndex: from a key to its record, in about two cache misses, and never a pause for growing.
//
// The naive design, a flat hash table, moves all its entries when it grows: some 100 ms at a
// million keys, inside one apply. This one grows by linear hashing (Litwin 1980): the bucket
// `split_` is divided in two, then the next. Growing begins at kLoadMax entries a bucket and goes
// on, kSplitsPerInsert buckets with each insert, until the number of buckets has doubled. A bucket
// is one cache line: five records with 32 bits of their hash each, and the number of an overflow
// bucket. It does not shrink.
//
// Borrows the records; single core. Nothing is ever decided by its order.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/key_record.h"

namespace metastore::engine {

class HashIndex final {
 public:
  explicit HashIndex(uint64_t seed);

  uint32_t HashOf(std::string_view key) const;
  // The record of `key`, or null. `hash` is HashOf(key).
  KeyRecord* Find(std::string_view key, uint32_t hash) const;
  // Adds a record whose key is absent; record->hash is set.
  void Insert(KeyRecord* record);
  // Removes a record that is present (CHECKed).
  void Erase(const KeyRecord* record);
  // Begins to load what Find(key, hash) reads first.
  void PrefetchBucket(uint32_t hash) const { __builtin_prefetch(&BucketAt(BucketOf(hash))); }
  // Begins to load the records Find would look at; best some time after PrefetchBucket.
  void PrefetchRecord(uint32_t hash) const;
  // The same of those records' newest versions, and then of the values of these: each best some
  // time after the one before.
  void PrefetchNewest(uint32_t hash) const;
  void PrefetchValue(uint32_t hash) const;

  // Frees one segment (64 KiB), after which the index is of no use. True: none is left.
  bool FreeSegment();

  size_t size() const { return size_; }
  size_t buckets_count() const { return level_buckets_ + split_; }

 private:
  static constexpr size_t kSlots = 5;
  static constexpr size_t kSegmentBuckets = 1024;
  static constexpr size_t kLoadMax = 3;
  static constexpr int kSplitsPerInsert = 4;
  static constexpr uint32_t kNoOverflow = 0;  // overflow numbers count from 1

  struct alignas(64) Bucket {
    uint32_t hashes[kSlots] = {};
    uint32_t overflow = kNoOverflow;
    KeyRecord* records[kSlots] = {};  // null: free; no order
  };
  static_assert(sizeof(Bucket) == 64);
  using Segment = std::unique_ptr<Bucket[]>;
  struct Moving {
    KeyRecord* record;
    uint32_t hash;  // the record's, so that dividing a bucket touches no record
  };

  size_t BucketOf(uint32_t hash) const {
    const size_t bucket = hash & (level_buckets_ - 1);
    return bucket < split_ ? hash & (2 * level_buckets_ - 1) : bucket;
  }
  static Bucket& In(const std::vector<Segment>& segments, size_t bucket) {
    return segments[bucket / kSegmentBuckets][bucket % kSegmentBuckets];
  }
  Bucket& BucketAt(size_t bucket) const { return In(segments_, bucket); }
  Bucket& Overflow(uint32_t number) const { return In(overflow_segments_, number); }
  template <typename Visit>
  void Candidates(uint32_t hash, const Visit& visit) const;
  uint32_t NewOverflow();
  void Add(Bucket* bucket, Moving entry);
  void SplitOne();

  uint64_t seed_;
  size_t size_ = 0;
  size_t level_buckets_ = kSegmentBuckets;  // a power of two: buckets when this doubling began
  size_t split_ = 0;                        // buckets of this level already divided
  bool growing_ = false;
  std::vector<Segment> segments_;
  std::vector<Segment> overflow_segments_;
  uint32_t overflow_used_ = 1;  // numbers given out, the unused 0 included
  std::vector<uint32_t> overflow_free_;
  std::vector<Moving> moving_;  // SplitOne's
};

}  // namespace metastore::engine
