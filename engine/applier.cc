#include "engine/applier.h"

#include <utility>
#include <variant>
#include <vector>

#include "engine/txn_check.h"
#include "io/base/check.h"

namespace metastore::engine {
namespace {

// The way a transaction will go, decided before any of its ops runs: which branch, and the same of
// each nested one.
struct TxnPath {
  bool success = false;
  std::vector<TxnPath> nested;  // of the chosen branch's transactions, in order
};

const std::vector<Op>& BranchOf(const TxnOp& txn, bool success) {
  return success ? txn.success : txn.failure;
}

bool Relates(CompareResult relation, std::strong_ordering order) {
  switch (relation) {
    case CompareResult::kEqual:
      return order == 0;
    case CompareResult::kGreater:
      return order > 0;
    case CompareResult::kLess:
      return order < 0;
    case CompareResult::kNotEqual:
      return order != 0;
  }
  CHECK_UNREACHABLE();
}

int64_t NumberOf(CompareTarget target, const KeyRecord& record) {
  switch (target) {
    case CompareTarget::kVersion:
      return record.version;
    case CompareTarget::kCreate:
      return record.create.value();
    case CompareTarget::kMod:
      return record.live() ? record.newest->main.value() : 0;
    case CompareTarget::kLease:
      return record.lease.value();
    case CompareTarget::kValue:
      break;
  }
  CHECK_UNREACHABLE();
}

bool HoldsFor(const Compare& compare, const KeyRecord& record) {
  if (compare.target == CompareTarget::kValue) {
    return Relates(compare.result, record.newest->value.view() <=> compare.value);
  }
  return Relates(compare.result, NumberOf(compare.target, record) <=> compare.number);
}

bool HoldsForAbsent(const Compare& compare) {
  if (compare.target == CompareTarget::kValue) return false;
  return Relates(compare.result, int64_t{0} <=> compare.number);
}

class Run {
 public:
  Run(Store& store, const CommandHeader& header, LogIndex index, uint64_t keys_max)
      : store_(store), header_(header), index_(index), keys_max_(keys_max) {}

  ApplyResult operator()(const PutOp& put) {
    ApplyResult result;
    result.outcome = CheckPut(put);
    if (result.outcome == Outcome::kOk) result.outcome = PlainPutAllowed(put);
    if (result.outcome == Outcome::kOk) result.op = Put(put);
    return result;
  }

  ApplyResult operator()(const DeleteRangeOp& op) {
    ApplyResult result;
    if (op.key.empty()) result.outcome = Outcome::kKeyEmpty;
    if (result.outcome == Outcome::kOk && !Touch(RangeKeys(op.key, op.range_end))) {
      result.outcome = Outcome::kTooManyKeys;
    }
    if (result.outcome == Outcome::kOk) result.op = DeleteRange(op);
    return result;
  }

  ApplyResult operator()(const TxnOp& txn) {
    ApplyResult result;
    result.outcome = CheckDuplicateKeys(txn);
    if (result.outcome != Outcome::kOk) return result;
    TxnPath path;
    if (!Decide(txn, path)) {
      result.outcome = Outcome::kTooManyKeys;
      return result;
    }
    // Puts first, over the whole tree, then ranges, then the size: the first error is the answer.
    result.outcome = PutsAllowed(txn, path);
    if (result.outcome == Outcome::kOk) result.outcome = RangesAllowed(txn, path);
    if (result.outcome == Outcome::kOk && !TouchBranch(txn, path))
      result.outcome = Outcome::kTooManyKeys;
    if (result.outcome == Outcome::kOk) result.op = Txn(txn, path);
    return result;
  }

  ApplyResult operator()(const CompactOp& op) {
    ApplyResult result;
    if (op.revision <= store_.compacted()) {
      result.outcome = Outcome::kCompacted;
    } else if (op.revision > store_.revision()) {
      result.outcome = Outcome::kFutureRevision;
    } else {
      store_.Compact(op.revision);
    }
    return result;
  }

  ApplyResult operator()(const LeaseGrantOp& op) {
    ApplyResult result;
    result.lease = op.lease;
    result.ttl_seconds = op.ttl_seconds;
    if (op.lease == LeaseId(0)) {
      result.outcome = Outcome::kLeaseNotFound;  // 0 means no lease: as etcd refuses it
    } else if (op.ttl_seconds > kLeaseTtlSecondsMax) {
      result.outcome = Outcome::kLeaseTtlTooLarge;
    } else if (store_.FindLease(op.lease) != nullptr) {
      result.outcome = Outcome::kLeaseExists;
    } else {
      store_.GrantLease({.id = op.lease,
                         .ttl_seconds = op.ttl_seconds,
                         .remaining_seconds = 0,
                         .granted_at = index_});
    }
    return result;
  }

  ApplyResult operator()(const LeaseRevokeOp& op) {
    ApplyResult result;
    result.lease = op.lease;
    const Lease* lease = store_.FindLease(op.lease);
    if (lease == nullptr || !Concerns(header_, lease->info)) {
      result.outcome = Outcome::kLeaseNotFound;
      return result;
    }
    // Never refused for its size: PutAllowed keeps a lease from having too many keys.
    result.op.at = store_.next();
    const std::vector<KeyRecord*> keys(lease->keys.begin(), lease->keys.end());
    for (KeyRecord* record : keys) store_.Delete(record);
    store_.DropLease(op.lease);
    result.op.deleted = static_cast<int64_t>(keys.size());
    return result;
  }

  ApplyResult operator()(const LeaseCheckpointOp& op) {
    for (const LeaseCheckpoint& checkpoint : op.checkpoints) {
      const Lease* lease = store_.FindLease(checkpoint.lease);
      if (lease == nullptr || !Concerns(header_, lease->info)) continue;
      store_.CheckpointLease(checkpoint.lease, checkpoint.remaining_seconds);
    }
    return {};
  }

 private:
  uint64_t RangeKeys(std::string_view key, std::string_view range_end) const {
    return static_cast<uint64_t>(store_.tree().LiveIn(key, range_end));
  }

  // Counts keys against the entry's limit: an upper bound of what execution will touch.
  bool Touch(uint64_t keys) {
    touched_ += keys;
    return touched_ <= keys_max_;
  }

  // --- deciding ----------------------------------------------------------------------------------
  bool Holds(const Compare& compare) const {
    if (compare.range_end.empty()) {
      const KeyRecord* record = store_.Find(compare.key);
      return record != nullptr && record->live() ? HoldsFor(compare, *record)
                                                 : HoldsForAbsent(compare);
    }
    bool any = false;
    for (KeyTree::Cursor at = store_.tree().Seek(compare.key); at.record() != nullptr; at.Next()) {
      const KeyRecord& record = *at.record();
      if (!BeforeRangeEnd(record.key(), compare.key, compare.range_end)) break;
      if (!record.live()) continue;
      any = true;
      if (!HoldsFor(compare, record)) return false;
    }
    return any || HoldsForAbsent(compare);
  }

  // False: the compares would touch too many keys.
  bool Decide(const TxnOp& txn, TxnPath& path) {
    path.success = true;
    for (const Compare& compare : txn.compares) {
      if (!Touch(compare.range_end.empty() ? 1 : RangeKeys(compare.key, compare.range_end)))
        return false;
      path.success = path.success && Holds(compare);
    }
    for (const Op& op : BranchOf(txn, path.success)) {
      const auto* nested = std::get_if<TxnOp>(&op.op);
      if (nested == nullptr) continue;
      path.nested.emplace_back();
      if (!Decide(*nested, path.nested.back())) return false;
    }
    return true;
  }

  // A put of its own: the lease is looked up before the key.
  Outcome PlainPutAllowed(const PutOp& put) {
    const Outcome lease = LeaseAllowed(put);
    if (lease != Outcome::kOk) return lease;
    return KeyAllowed(put);
  }
  // A put inside a transaction: the key before the lease.
  Outcome TxnPutAllowed(const PutOp& put) {
    const Outcome key = KeyAllowed(put);
    if (key != Outcome::kOk) return key;
    return LeaseAllowed(put);
  }
  Outcome KeyAllowed(const PutOp& put) const {
    if (!put.ignore_value && !put.ignore_lease) return Outcome::kOk;
    const KeyRecord* record = store_.Find(put.key);
    return record != nullptr && record->live() ? Outcome::kOk : Outcome::kKeyNotFound;
  }
  Outcome LeaseAllowed(const PutOp& put) {
    if (put.lease == LeaseId(0)) return Outcome::kOk;
    const Lease* lease = store_.FindLease(put.lease);
    if (lease == nullptr) return Outcome::kLeaseNotFound;
    return lease->keys.size() + ++attached_ > keys_max_ ? Outcome::kTooManyKeys : Outcome::kOk;
  }

  Outcome PutsAllowed(const TxnOp& txn, const TxnPath& path) {
    size_t nested = 0;
    for (const Op& op : BranchOf(txn, path.success)) {
      Outcome outcome = Outcome::kOk;
      if (const auto* put = std::get_if<PutOp>(&op.op)) {
        outcome = CheckPut(*put);
        if (outcome == Outcome::kOk) outcome = TxnPutAllowed(*put);
      } else if (const auto* inner = std::get_if<TxnOp>(&op.op)) {
        outcome = PutsAllowed(*inner, path.nested[nested++]);
      } else if (const auto* deletion = std::get_if<DeleteRangeOp>(&op.op)) {
        if (deletion->key.empty()) outcome = Outcome::kKeyEmpty;
      }
      if (outcome != Outcome::kOk) return outcome;
    }
    return Outcome::kOk;
  }

  Outcome RangesAllowed(const TxnOp& txn, const TxnPath& path) const {
    size_t nested = 0;
    for (const Op& op : BranchOf(txn, path.success)) {
      Outcome outcome = Outcome::kOk;
      if (const auto* range = std::get_if<RangeOp>(&op.op)) {
        outcome = RangeAllowed(*range);
      } else if (const auto* inner = std::get_if<TxnOp>(&op.op)) {
        outcome = RangesAllowed(*inner, path.nested[nested++]);
      }
      if (outcome != Outcome::kOk) return outcome;
    }
    return Outcome::kOk;
  }
  Outcome RangeAllowed(const RangeOp& range) const {
    if (range.key.empty()) return Outcome::kKeyEmpty;
    if (range.revision > store_.revision().value()) return Outcome::kFutureRevision;
    const bool below = range.revision > 0 && range.revision < store_.compacted().value();
    return below ? Outcome::kCompacted : Outcome::kOk;
  }

  // A delete may also reach what the transaction put before it.
  bool TouchBranch(const TxnOp& txn, const TxnPath& path) {
    size_t nested = 0;
    for (const Op& op : BranchOf(txn, path.success)) {
      bool within = true;
      if (std::holds_alternative<PutOp>(op.op)) {
        ++puts_;
        within = Touch(1);
      } else if (const auto* deletion = std::get_if<DeleteRangeOp>(&op.op)) {
        within = Touch(deletion->range_end.empty()
                           ? 1
                           : RangeKeys(deletion->key, deletion->range_end) + puts_);
      } else if (const auto* inner = std::get_if<TxnOp>(&op.op)) {
        within = TouchBranch(*inner, path.nested[nested++]);
      }
      if (!within) return false;
    }
    return true;
  }

  // --- executing ---------------------------------------------------------------------------------
  OpResult Put(const PutOp& put) {
    OpResult result;
    result.kind = OpResultKind::kPut;
    result.at = store_.next();
    if (!put.ignore_value && !put.ignore_lease) {
      result.existed = store_.Put(put.key, io::SharedBytes::Copy(put.value), put.lease);
    } else {
      result.existed = PutKeeping(put);
    }
    result.revision = result.at.main;
    return result;
  }
  // The key was there when the entry was checked; an op before this one in a transaction may have
  // deleted it (a range to the end of all keys is not caught by the duplicate check): then there is
  // nothing to keep.
  bool PutKeeping(const PutOp& put) {
    const KeyRecord* record = store_.Find(put.key);
    CHECK(record != nullptr);
    io::SharedBytes value;
    if (!put.ignore_value) {
      value = io::SharedBytes::Copy(put.value);
    } else if (record->live()) {
      value = record->newest->value;
    }
    const LeaseId lease = put.ignore_lease ? record->lease : put.lease;
    return store_.Put(put.key, std::move(value), lease);
  }

  OpResult DeleteRange(const DeleteRangeOp& op) {
    OpResult result;
    result.kind = OpResultKind::kDeleteRange;
    result.at = store_.next();
    if (op.range_end.empty()) {
      KeyRecord* record = store_.Find(op.key);
      if (record != nullptr && record->live()) {
        store_.Delete(record);
        result.deleted = 1;
      }
    } else {
      for (KeyTree::Cursor at = store_.tree().Seek(op.key); at.record() != nullptr; at.Next()) {
        if (!BeforeRangeEnd(at.record()->key(), op.key, op.range_end)) break;
        if (!at.record()->live()) continue;
        store_.Delete(at.record());
        ++result.deleted;
      }
    }
    result.revision = store_.next().sub > 0 ? result.at.main : store_.revision();
    return result;
  }

  OpResult Range(const RangeOp& range) const {
    OpResult result;
    result.kind = OpResultKind::kRange;
    result.at = range.revision > 0 ? Position::After(Revision(range.revision)) : store_.next();
    result.revision = store_.next().sub > 0 ? store_.next().main : store_.revision();
    return result;
  }

  OpResult Txn(const TxnOp& txn, const TxnPath& path) {
    OpResult result;
    result.kind = OpResultKind::kTxn;
    result.succeeded = path.success;
    result.at = store_.next();
    const std::vector<Op>& branch = BranchOf(txn, path.success);
    result.nested.reserve(branch.size());
    size_t nested = 0;
    for (const Op& op : branch) {
      if (const auto* range = std::get_if<RangeOp>(&op.op)) {
        result.nested.push_back(Range(*range));
      } else if (const auto* put = std::get_if<PutOp>(&op.op)) {
        result.nested.push_back(Put(*put));
      } else if (const auto* deletion = std::get_if<DeleteRangeOp>(&op.op)) {
        result.nested.push_back(DeleteRange(*deletion));
      } else if (const auto* inner = std::get_if<TxnOp>(&op.op)) {
        result.nested.push_back(Txn(*inner, path.nested[nested++]));
      }
    }
    result.revision = store_.next().sub > 0 ? result.at.main : store_.revision();
    return result;
  }

  Store& store_;
  const CommandHeader& header_;
  const LogIndex index_;
  const uint64_t keys_max_;
  uint64_t touched_ = 0;
  uint64_t attached_ = 0;  // puts of this entry that attach a lease
  uint64_t puts_ = 0;      // of this entry so far
};

}  // namespace

ApplyResult ApplyCommand(Store& store, const Command& command, LogIndex index, uint64_t keys_max) {
  ApplyResult result = std::visit(Run(store, command.header, index, keys_max), command.op);
  result.kind = command.kind();
  result.changed = store.Commit() > 0;
  result.revision = store.revision();
  return result;
}

}  // namespace metastore::engine
