#include "server/op_counts.h"

#include "io/base/check.h"

namespace metastore::server {

void OpCounts::Count(const engine::OpResult& op) {
  switch (op.kind) {
    case engine::OpResultKind::kNone:
      return;
    case engine::OpResultKind::kRange:
      ++ranges;
      return;
    case engine::OpResultKind::kPut:
      ++puts;
      return;
    case engine::OpResultKind::kDeleteRange:
      ++deletes;
      return;
    case engine::OpResultKind::kTxn: {
      // A nested transaction is part of the outermost one.
      const uint64_t txns_before = txns;
      const uint64_t before = puts + deletes + ranges;
      for (const engine::OpResult& nested : op.nested) Count(nested);
      txns = txns_before + (puts + deletes + ranges - before > 1 ? 1 : 0);
      return;
    }
  }
  CHECK_UNREACHABLE();
}

}  // namespace metastore::server
