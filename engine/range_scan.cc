#include "engine/range_scan.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"

namespace metastore::engine {
namespace {

constexpr size_t kLongList = 4096;  // pairs: 256 KiB, which a step may well move

bool HasFilters(const RangeOp& range) {
  return range.min_mod_revision != 0 || range.max_mod_revision != 0 ||
         range.min_create_revision != 0 || range.max_create_revision != 0;
}

SortOrder EffectiveOrder(const RangeOp& range) {
  const bool by_default =
      range.sort_order == SortOrder::kNone && range.sort_target != SortTarget::kKey;
  return by_default ? SortOrder::kAscend : range.sort_order;
}

// Key order is what the walk gives.
bool InKeyOrder(const RangeOp& range) {
  return range.sort_target == SortTarget::kKey && range.sort_order != SortOrder::kDescend;
}

// How many pairs can matter: one more than the limit shows that there are more. etcd's quirk: with
// a sort target but no order and no filters, it cuts before it sorts.
uint64_t CollectMax(const RangeOp& range) {
  if (range.count_only) return 0;
  const bool quirk = range.sort_order == SortOrder::kNone && !HasFilters(range);
  if (range.limit <= 0 || (!InKeyOrder(range) && !quirk)) return UINT64_MAX;
  return static_cast<uint64_t>(range.limit) + 1;
}

std::strong_ordering CompareBy(SortTarget target, const KeyValue& a, const KeyValue& b) {
  switch (target) {
    case SortTarget::kKey:
      return a.key.view() <=> b.key.view();
    case SortTarget::kVersion:
      return a.version <=> b.version;
    case SortTarget::kCreate:
      return a.create_revision <=> b.create_revision;
    case SortTarget::kMod:
      return a.mod_revision <=> b.mod_revision;
    case SortTarget::kValue:
      return a.value.view() <=> b.value.view();
  }
  CHECK_UNREACHABLE();
}

}  // namespace

KeyValue MakeKeyValue(const KeyRecord& record, const Version& version) {
  KeyValue kv;
  kv.key = io::SharedBytes::Copy(record.key());
  kv.value = version.value;
  kv.create_revision = version.create;
  kv.mod_revision = version.main;
  kv.version = version.version;
  kv.lease = version.lease;
  return kv;
}

bool PassesFilters(const RangeOp& range, const Version& version) {
  const int64_t mod = version.main.value();
  const int64_t create = version.create.value();
  return (range.min_mod_revision == 0 || mod >= range.min_mod_revision) &&
         (range.max_mod_revision == 0 || mod <= range.max_mod_revision) &&
         (range.min_create_revision == 0 || create >= range.min_create_revision) &&
         (range.max_create_revision == 0 || create <= range.max_create_revision);
}

RangeScan::RangeScan(const RangeQuery& query, Position at, const Store& store)
    : range_(query.range),
      at_(at),
      bytes_max_(query.bytes_max != 0 && InKeyOrder(query.range) ? query.bytes_max : UINT64_MAX),
      order_(EffectiveOrder(query.range)),
      collect_max_(CollectMax(query.range)),
      walk_(query.range.key, query.range.range_end) {
  const bool latest = at == Position::After(store.revision());
  live_now_ = static_cast<uint64_t>(store.tree().LiveIn(range_.key, range_.range_end));
  if (query.want_count && latest) count_ = static_cast<int64_t>(live_now_);
  counting_ = query.want_count && !latest;
  collecting_ = collect_max_ > 0;
}

bool RangeScan::Small(size_t records_max) const {
  if (counting_) return live_now_ <= records_max;
  return !collecting_ || std::min(live_now_, collect_max_) <= records_max;
}

bool RangeScan::Step(const Store& store, StepBudget& budget) {
  if (!collecting_ && !counting_) return true;
  const bool end = walk_.Step(
      store, budget, [this, &budget](const KeyRecord& record) { return Visit(record, budget); });
  return end || (!collecting_ && !counting_);
}

// False: the step is over, or nothing further can matter.
bool RangeScan::Visit(const KeyRecord& record, StepBudget& budget) {
  if (!search_.Step(record, at_, budget)) return false;
  const Version* version = search_.found();
  if (version == nullptr) return true;
  if (counting_) ++count_;
  if (collecting_ && PassesFilters(range_, *version)) {
    Collect(record, *version);
    budget.SpendBytes(record.key_bytes);
  }
  return collecting_ || counting_;
}

void RangeScan::Collect(const KeyRecord& record, const Version& version) {
  if (bytes_ >= bytes_max_) {
    resume_key_ = io::SharedBytes::Copy(record.key());
    collecting_ = false;
    return;
  }
  // From here on room for all, so that no step moves a long list; an estimate for old revisions.
  if (kvs_.size() == kLongList && bytes_max_ == UINT64_MAX) {
    kvs_.reserve(std::min(live_now_, collect_max_));
  }
  kvs_.push_back(MakeKeyValue(record, version));
  const bool value_matters = !range_.keys_only || range_.sort_target == SortTarget::kValue;
  if (!value_matters) kvs_.back().value = {};
  bytes_ += record.key_bytes + kvs_.back().value.size();
  collecting_ = kvs_.size() < collect_max_;
}

// Ties are in key order; etcd leaves them open.
void RangeScan::Sort() {
  if (order_ == SortOrder::kNone || InKeyOrder(range_)) return;
  const SortTarget target = range_.sort_target;
  const bool descend = order_ == SortOrder::kDescend;
  std::sort(kvs_.begin(), kvs_.end(), [target, descend](const KeyValue& a, const KeyValue& b) {
    const std::strong_ordering order = descend ? CompareBy(target, b, a) : CompareBy(target, a, b);
    return order != 0 ? order < 0 : a.key.view() < b.key.view();
  });
}

void RangeScan::Finish(RangeResult& result) {
  Sort();
  if (range_.limit > 0 && kvs_.size() > static_cast<uint64_t>(range_.limit)) {
    kvs_.resize(static_cast<size_t>(range_.limit));
    result.more = true;
    resume_key_ = {};
  }
  if (range_.keys_only) {
    for (KeyValue& kv : kvs_) kv.value = {};
  }
  result.kvs = std::move(kvs_);
  result.count = count_;
  result.resume_key = std::move(resume_key_);
}

}  // namespace metastore::engine
