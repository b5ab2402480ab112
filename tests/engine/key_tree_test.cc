// Aim: the ordered tree finds, walks and counts right whatever the keys look like. Method: against
// std::set under random insertions, removals and changes of liveness, with key shapes that stress
// prefixes, heads and splits; every invariant is verified on the way.
#include "engine/key_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "io/base/prng.h"
#include "io/base/status.h"

namespace metastore::engine {
namespace {

class TreeAndSet {
 public:
  ~TreeAndSet() {
    for (auto& [key, record] : records_) KeyRecord::Delete(record);
  }

  void Insert(const std::string& key, bool live) {
    if (records_.contains(key)) return;
    KeyRecord* record = KeyRecord::New(key, 0);
    record->version = live ? 1 : 0;
    records_[key] = record;
    tree_.Insert(record, live);
  }
  // The lowest keys are gone from both; how many.
  size_t TakeFirst() {
    KeyRecord* taken[KeyTree::kTakenMax];
    const size_t count = tree_.TakeFirst(taken);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(records_.begin()->second, taken[i]);
      records_.erase(records_.begin());
      KeyRecord::Delete(taken[i]);
    }
    tree_.Verify();
    return count;
  }
  void SetLive(const std::string& key, bool live) {
    const auto found = records_.find(key);
    if (found == records_.end() || found->second->live() == live) return;
    found->second->version = live ? 1 : 0;
    tree_.SetLive(found->second, live);
  }
  void Remove(const std::string& key) {
    SetLive(key, false);
    const auto found = records_.find(key);
    if (found == records_.end()) return;
    tree_.Remove(found->second);
    KeyRecord::Delete(found->second);
    records_.erase(found);
  }
  void CheckSeek(const std::string& key) {
    KeyTree::Cursor cursor = tree_.Seek(key);
    auto expected = records_.lower_bound(key);
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(cursor.record(), expected == records_.end() ? nullptr : expected->second);
      if (expected == records_.end()) return;
      cursor.Next();
      ++expected;
    }
  }
  int64_t Count(const std::string& key, const std::string& end) const {
    int64_t count = 0;
    for (auto at = records_.lower_bound(key); at != records_.end(); ++at) {
      if (!BeforeRangeEnd(at->first, key, end)) break;
      count += at->second->live() ? 1 : 0;
    }
    return count;
  }
  void CheckCount(const std::string& key, const std::string& end) {
    ASSERT_EQ(tree_.LiveIn(key, end), Count(key, end)) << key << " " << end;
  }
  void Verify() {
    tree_.Verify();
    ASSERT_EQ(tree_.size(), records_.size());
  }
  KeyTree& tree() { return tree_; }

 private:
  std::map<std::string, KeyRecord*> records_;
  KeyTree tree_;
};

std::string RandomKey(Prng& prng, int shape) {
  const uint64_t number = prng.Below(4000);
  switch (shape) {
    case 0:
      return Concat("/registry/pods/", number);
    case 1:  // zero bytes and keys that are prefixes of each other
      return std::string(number % 40, '\0') + std::string(number / 400, 'a');
    case 2:  // longer common prefix than a node keeps
      return std::string(70, 'p') + std::to_string(number);
    case 3: {  // any bytes
      std::string key;
      for (uint64_t i = prng.Between(1, 6); i > 0; --i)
        key += static_cast<char>(prng.Below(3) * 127);
      return key;
    }
    default:
      return RandomKey(prng, static_cast<int>(prng.Below(4)));
  }
}

TEST(KeyTreeTest, AgreesWithASetForEveryShapeOfKey) {
  for (int shape = 0; shape < 5; ++shape) {
    SCOPED_TRACE(shape);
    Prng prng(static_cast<uint64_t>(shape) + 1);
    TreeAndSet both;
    for (int step = 0; step < 30'000; ++step) {
      const std::string key = RandomKey(prng, shape);
      // Phases that grow and phases that shrink, down to empty leaves.
      const bool growing = (step / 7000) % 2 == 0;
      const uint64_t action = prng.Below(10);
      if (action < (growing ? 6u : 2u)) {
        both.Insert(key, prng.Chance(3, 4));
      } else if (action < 8) {
        both.Remove(key);
      } else {
        both.SetLive(key, prng.Chance(1, 2));
      }
      if (step % 50 == 0) both.CheckSeek(RandomKey(prng, shape));
      if (step % 20 == 0) both.CheckCount(RandomKey(prng, shape), RandomKey(prng, shape));
      if (step % 500 == 0) both.Verify();
      if (testing::Test::HasFatalFailure()) return;
    }
    both.Verify();
  }
}

TEST(KeyTreeTest, AscendingAndDescendingInsertionsAndFullRemoval) {
  for (const bool ascending : {true, false}) {
    TreeAndSet both;
    for (int i = 0; i < 20'000; ++i) both.Insert(Concat("k", 100'000 + (ascending ? i : -i)), true);
    both.Verify();
    both.CheckCount("k", std::string("\0", 1));
    for (int i = 0; i < 20'000; ++i) both.Remove(Concat("k", 100'000 + (ascending ? i : -i)));
    both.Verify();
    EXPECT_EQ(both.tree().size(), 0u);
    EXPECT_EQ(both.tree().Seek("").record(), nullptr);
    both.Insert("again", true);
    both.Verify();
  }
}

TEST(KeyTreeTest, TakingTheFirstEmptiesItInOrder) {
  for (const size_t keys : {0u, 1u, 64u, 65u, 5000u}) {
    TreeAndSet both;
    Prng prng(keys);
    for (size_t i = 0; i < keys; ++i) both.Insert(Concat(prng.Next()), prng.Chance(2, 3));
    size_t taken = 0;
    for (size_t count = both.TakeFirst(); count > 0; count = both.TakeFirst()) taken += count;
    EXPECT_EQ(taken, keys);
    both.Insert("again", true);
    EXPECT_EQ(both.TakeFirst(), 1u);
  }
}

TEST(KeyTreeTest, CountsOfSpecialRanges) {
  TreeAndSet both;
  for (const char* key : {"a", "b", "c"}) both.Insert(key, true);
  both.SetLive("b", false);
  const std::string to_end("\0", 1);
  EXPECT_EQ(both.tree().LiveIn("a", ""), 1);
  EXPECT_EQ(both.tree().LiveIn("b", ""), 0);
  EXPECT_EQ(both.tree().LiveIn("x", ""), 0);
  EXPECT_EQ(both.tree().LiveIn("a", to_end), 2);
  EXPECT_EQ(both.tree().LiveIn("c", "a"), 0);
  EXPECT_EQ(both.tree().LiveIn("a", "c"), 1);
}

}  // namespace
}  // namespace metastore::engine
