// Aim: contenders' keys are those that etcd's clients make, and all of a name's lie in its range,
// with no other name's. Method: tables; the rest of a contest is tests/sim/lock_sim_test.cc.

#include <gtest/gtest.h>

#include "server/contest.h"

namespace metastore::server {
namespace {

TEST(Contest, AKeyIsTheNameAndTheLeaseInHexadecimal) {
  const struct {
    std::string_view name;
    int64_t lease;
    std::string_view key;
  } cases[] = {{"name", 0x1234, "name/1234"}, {"name", 10, "name/a"},
               {"a/b/", 1, "a/b//1"},         {"", INT64_MAX, "/7fffffffffffffff"},
               {"name", -5, "name/-5"},       {"name", INT64_MIN, "name/-8000000000000000"}};
  for (const auto& c : cases) {
    EXPECT_EQ(ContenderKey(ContestPrefix(c.name), LeaseId(c.lease)), c.key);
  }
}

TEST(Contest, ARangeHasAllKeysOfItsNameAndNoOthers) {
  for (const std::string_view name : {"", "name", "a/b", "\xff\xff"}) {
    const std::string prefix = ContestPrefix(name);
    const std::string end = ContestEnd(prefix);
    for (const int64_t lease : {int64_t{1}, INT64_MAX, int64_t{-1}, INT64_MIN}) {
      const std::string key = ContenderKey(prefix, LeaseId(lease));
      EXPECT_TRUE(prefix <= key && key < end) << key;
    }
    for (const std::string& other : {Concat(name, "0"), Concat(name, "x/1"), Concat(name, ".")}) {
      EXPECT_FALSE(prefix <= other && other < end) << other;
    }
  }
}

TEST(Contest, TheFirstIsTheOldest) {
  const engine::RangeOp now = FirstContender("a/", "a0", Revision());
  EXPECT_EQ(now.key, "a/");
  EXPECT_EQ(now.range_end, "a0");
  EXPECT_EQ(now.limit, 1);
  EXPECT_EQ(now.revision, 0);
  EXPECT_EQ(now.sort_order, engine::SortOrder::kAscend);
  EXPECT_EQ(now.sort_target, engine::SortTarget::kCreate);
  EXPECT_EQ(FirstContender("a/", "a0", Revision(7)).revision, 7);
}

}  // namespace
}  // namespace metastore::server
