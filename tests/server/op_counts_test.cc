// Aim: operations are counted as etcd counts them. Method: results of entries by hand.

#include "server/op_counts.h"

#include <gtest/gtest.h>

namespace metastore::server {
namespace {

using engine::OpResult;
using engine::OpResultKind;

OpResult Op(OpResultKind kind, std::vector<OpResult> nested = {}) {
  OpResult op;
  op.kind = kind;
  op.nested = std::move(nested);
  return op;
}

TEST(OpCountsTest, SingleOperationsAreNoTransactions) {
  OpCounts counts;
  counts.Count(Op(OpResultKind::kNone));
  counts.Count(Op(OpResultKind::kPut));
  counts.Count(Op(OpResultKind::kDeleteRange));
  counts.Count(Op(OpResultKind::kTxn, {Op(OpResultKind::kPut)}));
  counts.Count(Op(OpResultKind::kTxn));
  EXPECT_EQ(counts.puts, 2u);
  EXPECT_EQ(counts.deletes, 1u);
  EXPECT_EQ(counts.ranges, 0u);
  EXPECT_EQ(counts.txns, 0u);
}

TEST(OpCountsTest, ATransactionCountsOnceWithAllOfItsOperations) {
  OpCounts counts;
  counts.Count(Op(OpResultKind::kTxn,
                  {Op(OpResultKind::kRange),
                   Op(OpResultKind::kTxn, {Op(OpResultKind::kPut), Op(OpResultKind::kPut)}),
                   Op(OpResultKind::kDeleteRange)}));
  EXPECT_EQ(counts.puts, 2u);
  EXPECT_EQ(counts.deletes, 1u);
  EXPECT_EQ(counts.ranges, 1u);
  EXPECT_EQ(counts.txns, 1u);
}

}  // namespace
}  // namespace metastore::server
