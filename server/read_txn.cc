#include "server/read_txn.h"

#include <algorithm>
#include <utility>

#include "server/kv_codec.h"

namespace metastore::server {
namespace {

// A compaction may overtake the revision a transaction reads at; then it starts anew, so often.
constexpr int kAttemptsMax = 5;

template <typename T>
bool InRelation(engine::CompareResult relation, const T& stored, const T& given) {
  switch (relation) {
    case engine::CompareResult::kEqual:
      return stored == given;
    case engine::CompareResult::kGreater:
      return stored > given;
    case engine::CompareResult::kLess:
      return stored < given;
    case engine::CompareResult::kNotEqual:
      return stored != given;
  }
  CHECK_UNREACHABLE();
}

bool HoldsFor(const engine::Compare& compare, const engine::KeyValue& kv) {
  switch (compare.target) {
    case engine::CompareTarget::kVersion:
      return InRelation(compare.result, kv.version, compare.number);
    case engine::CompareTarget::kCreate:
      return InRelation(compare.result, kv.create_revision.value(), compare.number);
    case engine::CompareTarget::kMod:
      return InRelation(compare.result, kv.mod_revision.value(), compare.number);
    case engine::CompareTarget::kLease:
      return InRelation(compare.result, kv.lease.value(), compare.number);
    case engine::CompareTarget::kValue:
      return InRelation(compare.result, kv.value.view(), compare.value);
  }
  CHECK_UNREACHABLE();
}

struct Reader {
  Edge& edge;
  CallTerms terms;
};

io::Task<StatusOr<ReadAnswer>> Read(Reader reader, engine::RangeOp range, bool serializable) {
  ReadCall call(reader.edge.runtime(), reader.edge.state().core(), reader.edge.group());
  call.terms = reader.terms;
  call.serializable = serializable;
  call.query.range = range;
  const bool arrived = co_await call;
  if (!arrived) co_return ToStatus(errors::kTooManyRequests);
  co_return std::move(call.result);
}

// The current revision, as new as the read mode demands.
io::Task<StatusOr<ReadAnswer>> ReadRevision(Reader reader, bool serializable) {
  static constexpr std::string_view kFirstKey("\0", 1);
  engine::RangeOp nothing{.key = kFirstKey, .count_only = true};
  StatusOr<ReadAnswer> answer = co_await Read(reader, nothing, serializable);
  co_return answer;
}

io::Task<Status> EvaluateCompares(Reader reader, const engine::TxnOp& txn, Revision at,
                                  bool& holds) {
  holds = true;
  for (const engine::Compare& compare : txn.compares) {
    engine::RangeOp range{
        .key = compare.key, .range_end = compare.range_end, .revision = at.value()};
    StatusOr<ReadAnswer> answer = co_await Read(reader, range, true);
    if (!answer.ok()) co_return answer.status();
    if (answer->range.outcome != engine::Outcome::kOk) {
      co_return ToStatus(ErrorOf(answer->range.outcome));
    }
    if (Holds(compare, answer->range.kvs)) continue;
    holds = false;
    break;
  }
  co_return OkStatus();
}

io::Task<StatusOr<ReadTxnAnswer>> Attempt(Reader reader, const engine::TxnOp& txn,
                                          bool serializable) {
  StatusOr<ReadAnswer> now = co_await ReadRevision(reader, serializable);
  if (!now.ok()) co_return now.status();
  ReadTxnAnswer answer{.revision = now->range.revision, .term = now->term};
  answer.result.kind = engine::OpResultKind::kTxn;
  Status compared =
      co_await EvaluateCompares(reader, txn, answer.revision, answer.result.succeeded);
  if (!compared.ok()) co_return compared;
  for (const engine::Op& op : answer.result.succeeded ? txn.success : txn.failure) {
    engine::RangeOp range = std::get<engine::RangeOp>(op.op);
    if (range.revision <= 0) range.revision = answer.revision.value();
    StatusOr<ReadAnswer> read = co_await Read(reader, range, true);
    if (!read.ok()) co_return read.status();
    if (read->range.outcome != engine::Outcome::kOk) {
      co_return ToStatus(ErrorOf(read->range.outcome));
    }
    answer.result.nested.push_back(
        {.kind = engine::OpResultKind::kRange, .revision = answer.revision});
    answer.ranges.push_back(std::move(read->range));
  }
  co_return answer;
}

}  // namespace

bool IsReadOnly(const engine::TxnOp& txn) {
  const auto is_range = [](const engine::Op& op) {
    return std::holds_alternative<engine::RangeOp>(op.op);
  };
  return std::ranges::all_of(txn.success, is_range) && std::ranges::all_of(txn.failure, is_range);
}

bool Holds(const engine::Compare& compare, std::span<const engine::KeyValue> pairs) {
  if (pairs.empty()) {
    return compare.target != engine::CompareTarget::kValue && HoldsFor(compare, {});
  }
  return std::ranges::all_of(pairs,
                             [&](const engine::KeyValue& kv) { return HoldsFor(compare, kv); });
}

io::Task<StatusOr<ReadTxnAnswer>> RunReadTxn(Edge& edge, CallTerms terms, const engine::TxnOp& txn,
                                             bool serializable) {
  const bool names_revision = [&] {
    const auto names = [](const engine::Op& op) {
      return std::get<engine::RangeOp>(op.op).revision > 0;
    };
    return std::ranges::any_of(txn.success, names) || std::ranges::any_of(txn.failure, names);
  }();
  const Reader reader{edge, terms};
  for (int attempt = 1;; ++attempt) {
    StatusOr<ReadTxnAnswer> answer = co_await Attempt(reader, txn, serializable);
    // A range of the client's own revision may be compacted for good; ours only was overtaken.
    const bool overtaken = answer.status() == ToStatus(errors::kCompacted) && !names_revision;
    if (!overtaken || attempt == kAttemptsMax) co_return answer;
  }
}

}  // namespace metastore::server
