// Aim: the index finds exactly the ranges that a key lies in, whatever was taken and given back.
// Method: random ranges over a small alphabet, nested, overlapping, equal and open ones among them,
// against a list that is searched from end to end.

#include "server/watch_index.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "io/base/prng.h"

namespace metastore::server {
namespace {

constexpr std::string_view kOpenEnd("\0", 1);

struct Taken {
  std::string key;
  std::string range_end;
  WatchRange* range = nullptr;

  bool Has(std::string_view other) const {
    if (range_end.empty()) return other == key;
    return other >= key && (range_end == kOpenEnd || other < range_end);
  }
};

std::string RandomKey(Prng& prng) {
  std::string key(1 + prng.Below(3), 'a');
  for (char& byte : key) byte = static_cast<char>('a' + prng.Below(4));
  return key;
}

class WatchIndexTest : public testing::Test {
 protected:
  ~WatchIndexTest() override {
    for (const Taken& one : taken_) index_.Give(*one.range);
  }

  void Take(std::string key, std::string range_end) {
    WatchRange& range = index_.Take(key, range_end);
    EXPECT_EQ(range.key(), key);
    EXPECT_EQ(range.range_end(), range_end);
    taken_.push_back({std::move(key), std::move(range_end), &range});
  }
  void TakeRandom(Prng& prng) {
    std::string key = RandomKey(prng);
    switch (prng.Below(4)) {
      case 0:
        return Take(std::move(key), "");
      case 1:
        return Take(std::move(key), std::string(kOpenEnd));
      default: {
        std::string end = RandomKey(prng);
        if (end < key) std::swap(end, key);
        if (end == key) end.push_back('a');
        return Take(std::move(key), std::move(end));
      }
    }
  }
  void GiveRandom(Prng& prng) {
    if (taken_.empty()) return;
    const size_t place = prng.Below(taken_.size());
    index_.Give(*taken_[place].range);
    taken_.erase(taken_.begin() + static_cast<std::ptrdiff_t>(place));
  }

  std::set<const WatchRange*> Matches(std::string_view key) const {
    std::set<const WatchRange*> found;
    index_.Match(
        key, [&found](WatchRange& range) { EXPECT_TRUE(found.insert(&range).second) << "twice"; });
    return found;
  }
  std::set<const WatchRange*> Expected(std::string_view key) const {
    std::set<const WatchRange*> found;
    for (const Taken& one : taken_) {
      if (one.Has(key)) found.insert(one.range);
    }
    return found;
  }

  WatchIndex index_{11};
  std::vector<Taken> taken_;
};

TEST_F(WatchIndexTest, FindsWhatASearchOfAllFinds) {
  Prng prng(3);
  for (int round = 0; round < 4000; ++round) {
    // Grows to some hundred ranges, and shrinks again.
    const bool grows = (round / 1000) % 2 == 0;
    if (prng.Chance(grows ? 4 : 1, 5)) {
      TakeRandom(prng);
    } else {
      GiveRandom(prng);
    }
    const std::string key = RandomKey(prng);
    ASSERT_EQ(Matches(key), Expected(key)) << "round " << round << " key " << key;
  }
}

TEST_F(WatchIndexTest, EqualRangesAreOne) {
  Take("a", "b");
  Take("a", "b");
  Take("a", "");
  Take("a", "");
  Take("a", "c");
  EXPECT_EQ(taken_[0].range, taken_[1].range);
  EXPECT_EQ(taken_[2].range, taken_[3].range);
  EXPECT_EQ(index_.ranges_count(), 3u);
  index_.Give(*taken_[0].range);
  EXPECT_EQ(index_.ranges_count(), 3u);
  index_.Give(*taken_[1].range);
  EXPECT_EQ(index_.ranges_count(), 2u);
  taken_.erase(taken_.begin(), taken_.begin() + 2);
}

// A range whose key and end have the bytes of another's, cut elsewhere.
TEST_F(WatchIndexTest, BoundsAreNotConfused) {
  Take("a", "bc");
  Take("ab", "c");
  EXPECT_EQ(index_.ranges_count(), 2u);
  EXPECT_EQ(Matches("aa").size(), 1u);
  EXPECT_EQ(Matches("b").size(), 2u);
}

}  // namespace
}  // namespace metastore::server
