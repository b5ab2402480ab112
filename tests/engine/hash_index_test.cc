// Aim: the point index finds exactly what is in it, through every stage of growing. Method: against
// std::map under random insertions and removals, with key counts that pass several doublings and
// with colliding hashes.
#include "engine/hash_index.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "io/base/prng.h"
#include "io/base/status.h"

namespace metastore::engine {
namespace {

TEST(HashIndexTest, AgreesWithAMapWhileGrowing) {
  HashIndex index(11);
  std::map<std::string, KeyRecord*> records;
  Prng prng(1);
  size_t buckets = index.buckets_count();
  for (int step = 0; step < 60'000; ++step) {
    const std::string key = Concat("key", prng.Below(40'000));
    const auto known = records.find(key);
    const uint32_t hash = index.HashOf(key);
    ASSERT_EQ(index.Find(key, hash), known == records.end() ? nullptr : known->second);
    if (known == records.end()) {
      KeyRecord* record = KeyRecord::New(key, hash);
      records[key] = record;
      index.Insert(record);
    } else if (prng.Chance(1, 4)) {
      index.Erase(known->second);
      KeyRecord::Delete(known->second);
      records.erase(known);
    }
    ASSERT_EQ(index.size(), records.size());
    // No pause: an insertion divides a few buckets, never all of them.
    ASSERT_LE(index.buckets_count() - buckets, 4u);
    buckets = index.buckets_count();
  }
  EXPECT_GT(buckets, 4096u);
  for (auto& [key, record] : records) {
    ASSERT_EQ(index.Find(key, index.HashOf(key)), record);
    index.PrefetchBucket(record->hash);
    index.PrefetchRecord(record->hash);
    KeyRecord::Delete(record);
  }
}

TEST(HashIndexTest, EqualHashesAreTakenApartByKey) {
  HashIndex index(1);
  std::vector<KeyRecord*> records;
  for (int i = 0; i < 100; ++i) {
    records.push_back(KeyRecord::New(Concat("k", i), 42));
    index.Insert(records.back());
  }
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(index.Find(Concat("k", i), 42), records[static_cast<size_t>(i)]);
  for (int i = 0; i < 100; i += 2) index.Erase(records[static_cast<size_t>(i)]);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(index.Find(Concat("k", i), 42),
              i % 2 == 0 ? nullptr : records[static_cast<size_t>(i)]);
  }
  for (KeyRecord* record : records) KeyRecord::Delete(record);
}

}  // namespace
}  // namespace metastore::engine
