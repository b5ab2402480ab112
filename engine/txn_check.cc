#include "engine/txn_check.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace metastore::engine {
namespace {

// A union of key intervals [begin, end), kept apart and sorted; point and union operations cost the
// logarithm.
class Intervals {
 public:
  void Add(std::string_view begin, std::string_view end) {
    if (begin >= end) return;
    auto at = ends_.upper_bound(begin);
    if (at != ends_.begin() && std::prev(at)->second >= begin) --at;
    while (at != ends_.end() && at->first <= end) {
      begin = std::min(begin, at->first);
      end = std::max(end, at->second);
      at = ends_.erase(at);
    }
    ends_.emplace(begin, end);
  }
  void AddPoint(std::string_view key) { points_.insert(AbslView(key)); }
  void AddAll(const Intervals& other) {
    for (const auto& [begin, end] : other.ends_) Add(begin, end);
    points_.insert(other.points_.begin(), other.points_.end());
  }
  bool Contains(std::string_view key) const {
    if (points_.contains(AbslView(key))) return true;
    const auto after = ends_.upper_bound(key);
    return after != ends_.begin() && key < std::prev(after)->second;
  }

 private:
  std::map<std::string_view, std::string_view> ends_;
  absl::flat_hash_set<absl::string_view> points_;
};

using Keys = absl::flat_hash_set<absl::string_view>;

struct Touched {
  Keys puts;
  Intervals deletes;
};

// Merges what a nested transaction's two branches put into its level. False: a duplicate. The
// branches may put the same key, since only one runs.
bool MergePuts(const Touched& success, const Touched& failure, Touched& level) {
  for (const absl::string_view key : success.puts) {
    if (level.deletes.Contains(StdView(key))) return false;
    if (!level.puts.insert(key).second) return false;
  }
  for (const absl::string_view key : failure.puts) {
    if (level.deletes.Contains(StdView(key))) return false;
    if (!level.puts.insert(key).second && !success.puts.contains(key)) return false;
  }
  return true;
}

// Deletes of this level, then nested transactions in order, then puts of this level: etcd's order,
// which decides what is found. False: a duplicate.
bool CheckBranch(const std::vector<Op>& ops, Touched& level) {
  for (const Op& op : ops) {
    const auto* deletion = std::get_if<DeleteRangeOp>(&op.op);
    if (deletion == nullptr) continue;
    if (deletion->range_end.empty()) {
      level.deletes.AddPoint(deletion->key);
    } else {
      level.deletes.Add(deletion->key, deletion->range_end);
    }
  }
  for (const Op& op : ops) {
    const auto* txn = std::get_if<TxnOp>(&op.op);
    if (txn == nullptr) continue;
    Touched success;
    Touched failure;
    if (!CheckBranch(txn->success, success) || !CheckBranch(txn->failure, failure)) return false;
    if (!MergePuts(success, failure, level)) return false;
    level.deletes.AddAll(success.deletes);
    level.deletes.AddAll(failure.deletes);
  }
  for (const Op& op : ops) {
    const auto* put = std::get_if<PutOp>(&op.op);
    if (put == nullptr) continue;
    if (level.deletes.Contains(put->key)) return false;
    if (!level.puts.insert(AbslView(put->key)).second) return false;
  }
  return true;
}

Outcome CheckOps(const TxnOp& txn, uint64_t ops_max);

Outcome CheckOp(const Op& op, uint64_t ops_max) {
  if (const auto* range = std::get_if<RangeOp>(&op.op)) {
    return range->key.empty() ? Outcome::kKeyEmpty : Outcome::kOk;
  }
  if (const auto* put = std::get_if<PutOp>(&op.op)) return CheckPut(*put);
  if (const auto* deletion = std::get_if<DeleteRangeOp>(&op.op)) {
    return deletion->key.empty() ? Outcome::kKeyEmpty : Outcome::kOk;
  }
  return CheckOps(std::get<TxnOp>(op.op), ops_max);
}

Outcome CheckOps(const TxnOp& txn, uint64_t ops_max) {
  const uint64_t most = std::max({txn.compares.size(), txn.success.size(), txn.failure.size()});
  if (most > ops_max) return Outcome::kTooManyOps;
  for (const Compare& compare : txn.compares) {
    if (compare.key.empty()) return Outcome::kKeyEmpty;
  }
  for (const auto* branch : {&txn.success, &txn.failure}) {
    for (const Op& op : *branch) {
      const Outcome outcome = CheckOp(op, ops_max - most);
      if (outcome != Outcome::kOk) return outcome;
    }
  }
  return CheckDuplicateKeys(txn);
}

}  // namespace

Outcome CheckPut(const PutOp& put) {
  if (put.key.empty()) return Outcome::kKeyEmpty;
  if (put.ignore_value && !put.value.empty()) return Outcome::kValueProvided;
  if (put.ignore_lease && put.lease != LeaseId(0)) return Outcome::kLeaseProvided;
  return Outcome::kOk;
}

Outcome CheckDuplicateKeys(const TxnOp& txn) {
  for (const auto* branch : {&txn.success, &txn.failure}) {
    if (branch->size() < 2 &&
        (branch->empty() || !std::holds_alternative<TxnOp>(branch->front().op)))
      continue;
    Touched touched;
    if (!CheckBranch(*branch, touched)) return Outcome::kDuplicateKey;
  }
  return Outcome::kOk;
}

Outcome CheckTxn(const TxnOp& txn, uint64_t ops_max) { return CheckOps(txn, ops_max); }

}  // namespace metastore::engine
