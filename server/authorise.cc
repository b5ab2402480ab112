#include "server/authorise.h"

namespace metastore::server {
namespace {

Status AuthoriseOps(const Principal& principal, const std::vector<engine::Op>& ops);

struct OpAuthoriser {
  const Principal& principal;

  Status operator()(const engine::RangeOp& op) const {
    return Authorise(principal, Access{Permission::kRead, op.key, op.range_end});
  }
  Status operator()(const engine::PutOp& op) const { return Authorise(principal, op); }
  Status operator()(const engine::DeleteRangeOp& op) const { return Authorise(principal, op); }
  Status operator()(const engine::TxnOp& op) const { return Authorise(principal, op); }
};

Status AuthoriseOps(const Principal& principal, const std::vector<engine::Op>& ops) {
  for (const engine::Op& op : ops) MS_RETURN_IF_ERROR(std::visit(OpAuthoriser{principal}, op.op));
  return OkStatus();
}

}  // namespace

Principal PrincipalOf(const net::GrpcRequest& /*request*/) { return {}; }

Status Authorise(const Principal& /*principal*/, const Access& /*access*/) { return OkStatus(); }

Status Authorise(const Principal& principal, const engine::TxnOp& txn) {
  for (const engine::Compare& compare : txn.compares) {
    MS_RETURN_IF_ERROR(
        Authorise(principal, Access{Permission::kRead, compare.key, compare.range_end}));
  }
  MS_RETURN_IF_ERROR(AuthoriseOps(principal, txn.success));
  return AuthoriseOps(principal, txn.failure);
}

Status Authorise(const Principal& principal, const engine::PutOp& put) {
  MS_RETURN_IF_ERROR(Authorise(principal, Access{Permission::kWrite, put.key, {}}));
  if (!put.prev_kv) return OkStatus();
  return Authorise(principal, Access{Permission::kRead, put.key, {}});
}

Status Authorise(const Principal& principal, const engine::DeleteRangeOp& op) {
  MS_RETURN_IF_ERROR(Authorise(principal, Access{Permission::kWrite, op.key, op.range_end}));
  if (!op.prev_kv) return OkStatus();
  return Authorise(principal, Access{Permission::kRead, op.key, op.range_end});
}

}  // namespace metastore::server
