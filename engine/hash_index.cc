#include "engine/hash_index.h"

#include "io/base/check.h"
#include "io/base/hash.h"

namespace metastore::engine {

HashIndex::HashIndex(uint64_t seed) : seed_(seed) {
  segments_.push_back(std::make_unique<Bucket[]>(kSegmentBuckets));
}

uint32_t HashIndex::HashOf(std::string_view key) const {
  return static_cast<uint32_t>(Hash64(key, seed_));
}

KeyRecord* HashIndex::Find(std::string_view key, uint32_t hash) const {
  const Bucket* bucket = &BucketAt(BucketOf(hash));
  while (true) {
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (bucket->hashes[slot] != hash || bucket->records[slot] == nullptr) continue;
      if (bucket->records[slot]->key() == key) return bucket->records[slot];
    }
    if (bucket->overflow == kNoOverflow) return nullptr;
    bucket = &Overflow(bucket->overflow);
  }
}

// The records of the bucket, its overflow left out, that Find would compare the key with.
template <typename Visit>
void HashIndex::Candidates(uint32_t hash, const Visit& visit) const {
  const Bucket& bucket = BucketAt(BucketOf(hash));
  for (size_t slot = 0; slot < kSlots; ++slot) {
    if (bucket.hashes[slot] == hash && bucket.records[slot] != nullptr) {
      visit(*bucket.records[slot]);
    }
  }
}

void HashIndex::PrefetchRecord(uint32_t hash) const {
  Candidates(hash, [](KeyRecord& record) {
    __builtin_prefetch(&record, 1);
    __builtin_prefetch(&record + 1);
  });
}

void HashIndex::PrefetchNewest(uint32_t hash) const {
  Candidates(hash, [](const KeyRecord& record) {
    __builtin_prefetch(record.newest);
    __builtin_prefetch(reinterpret_cast<const char*>(record.newest + 1) - 1);
  });
}

void HashIndex::PrefetchValue(uint32_t hash) const {
  // The count of references is just before the bytes.
  Candidates(hash, [](const KeyRecord& record) {
    __builtin_prefetch(record.newest->value.view().data(), 1);
  });
}

bool HashIndex::FreeSegment() {
  std::vector<Segment>& segments = segments_.empty() ? overflow_segments_ : segments_;
  if (!segments.empty()) segments.pop_back();
  return segments_.empty() && overflow_segments_.empty();
}

uint32_t HashIndex::NewOverflow() {
  if (!overflow_free_.empty()) {
    const uint32_t number = overflow_free_.back();
    overflow_free_.pop_back();
    return number;
  }
  if (overflow_used_ / kSegmentBuckets == overflow_segments_.size()) {
    overflow_segments_.push_back(std::make_unique<Bucket[]>(kSegmentBuckets));
  }
  return overflow_used_++;
}

void HashIndex::Add(Bucket* bucket, Moving entry) {
  while (true) {
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (bucket->records[slot] != nullptr) continue;
      bucket->records[slot] = entry.record;
      bucket->hashes[slot] = entry.hash;
      return;
    }
    if (bucket->overflow == kNoOverflow) bucket->overflow = NewOverflow();
    bucket = &Overflow(bucket->overflow);
  }
}

void HashIndex::Insert(KeyRecord* record) {
  Add(&BucketAt(BucketOf(record->hash)), {record, record->hash});
  ++size_;
  if (size_ > kLoadMax * buckets_count()) growing_ = true;
  for (int i = 0; growing_ && i < kSplitsPerInsert; ++i) SplitOne();
}

void HashIndex::Erase(const KeyRecord* record) {
  Bucket* bucket = &BucketAt(BucketOf(record->hash));
  while (true) {
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (bucket->records[slot] != record) continue;
      bucket->records[slot] = nullptr;
      bucket->hashes[slot] = 0;
      --size_;
      return;
    }
    CHECK_NE(bucket->overflow, kNoOverflow);
    bucket = &Overflow(bucket->overflow);
  }
}

void HashIndex::SplitOne() {
  const size_t low = split_;
  const size_t high = split_ + level_buckets_;
  if (high / kSegmentBuckets == segments_.size()) {
    segments_.push_back(std::make_unique<Bucket[]>(kSegmentBuckets));
  }
  moving_.clear();
  Bucket* bucket = &BucketAt(low);
  while (true) {
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (bucket->records[slot] != nullptr)
        moving_.push_back({bucket->records[slot], bucket->hashes[slot]});
    }
    const uint32_t next = bucket->overflow;
    *bucket = Bucket();
    if (next == kNoOverflow) break;
    bucket = &Overflow(next);
    overflow_free_.push_back(next);
  }
  ++split_;
  for (const Moving entry : moving_) {
    Add(&BucketAt((entry.hash & level_buckets_) == 0 ? low : high), entry);
  }
  if (split_ < level_buckets_) return;
  level_buckets_ *= 2;
  split_ = 0;
  growing_ = false;
}

}  // namespace metastore::engine
