#include "server/answer_reads.h"

#include "io/base/check.h"

namespace metastore::server {
namespace {

using engine::OpResult;

class Collector {
 public:
  Collector(const engine::ReadPin& pin, std::vector<engine::RangeQuery>& queries)
      : pin_(pin), queries_(queries) {}

  void Visit(const engine::PutOp& put, const OpResult& result) {
    if (ReadsPrevious(put, result)) Add(engine::RangeOp{.key = put.key}, result);
  }
  void Visit(const engine::DeleteRangeOp& op, const OpResult& result) {
    if (ReadsPrevious(op, result)) {
      Add(engine::RangeOp{.key = op.key, .range_end = op.range_end}, result);
    }
  }
  void Visit(const engine::RangeOp& range, const OpResult& result) { Add(range, result); }
  void Visit(const engine::TxnOp& txn, const OpResult& result) {
    const std::vector<engine::Op>& branch = result.succeeded ? txn.success : txn.failure;
    CHECK_EQ(branch.size(), result.nested.size());
    for (size_t i = 0; i < branch.size(); ++i) {
      const OpResult& nested = result.nested[i];
      std::visit([&](const auto& op) { Visit(op, nested); }, branch[i].op);
    }
  }
  template <typename NoReads>
  void Visit(const NoReads& /*op*/, const OpResult& /*result*/) {}

 private:
  void Add(const engine::RangeOp& range, const OpResult& result) {
    queries_.push_back(engine::RangeQuery{.range = range, .pin = &pin_, .at = result.at});
  }

  const engine::ReadPin& pin_;
  std::vector<engine::RangeQuery>& queries_;
};

bool Needs(const engine::PutOp& put) { return put.prev_kv; }
bool Needs(const engine::DeleteRangeOp& op) { return op.prev_kv; }
bool Needs(const engine::RangeOp& /*range*/) { return true; }
bool Needs(const engine::TxnOp& txn) {
  const auto any = [](const std::vector<engine::Op>& ops) {
    for (const engine::Op& op : ops) {
      if (std::visit([](const auto& o) { return Needs(o); }, op.op)) return true;
    }
    return false;
  };
  return any(txn.success) || any(txn.failure);
}
template <typename Other>
bool Needs(const Other& /*op*/) {
  return false;
}

}  // namespace

bool NeedsAnswerReads(const engine::CommandOp& op) {
  return std::visit([](const auto& o) { return Needs(o); }, op);
}

std::vector<engine::RangeQuery> AnswerReadsOf(const engine::CommandOp& op,
                                              const engine::OpResult& result,
                                              const engine::ReadPin& pin) {
  std::vector<engine::RangeQuery> queries;
  Collector collector(pin, queries);
  std::visit([&](const auto& o) { collector.Visit(o, result); }, op);
  return queries;
}

}  // namespace metastore::server
