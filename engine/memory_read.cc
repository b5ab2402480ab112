// The memory engine's reads: coroutine shells around synchronous steps.
#include <algorithm>
#include <utility>

#include "engine/memory_engine_impl.h"
#include "engine/range_scan.h"
#include "engine/version_event.h"
#include "engine/version_hash.h"
#include "engine/walk.h"
#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"
#include "io/yield_as.h"

namespace metastore::engine {
namespace {

// One History call, step by step.
class HistoryScan final {
 public:
  explicit HistoryScan(const HistoryQuery& query) : query_(query), next_{query.from, 0} {}

  // True when the batch is full or the log has ended; `current` is the store's revision.
  bool Step(const Store& store, StepBudget& budget, HistoryResult& result) {
    const Store::Log& log = store.log();
    for (size_t at = store.LogPosition(next_); at < log.size(); ++at) {
      const Version& version = *log[at];
      if (version.main != revision_ && Full(result)) {
        result.next = version.main;
        return true;
      }
      if (!budget.Spend(1)) return false;
      revision_ = version.main;
      next_ = {version.main, version.sub + 1};
      if (!Wanted(version)) continue;
      Add(version, store.compacted(), result);
      budget.SpendBytes(version.record->key_bytes);
    }
    result.next = store.revision() + 1;
    return true;
  }

 private:
  bool Full(const HistoryResult& result) const {
    return result.events.size() >= std::max<size_t>(query_.events_max, 1) ||
           bytes_ >= query_.bytes_max;
  }
  bool Wanted(const Version& version) const {
    if (query_.key.empty()) return true;
    const std::string_view key = version.record->key();
    return key >= query_.key && BeforeRangeEnd(key, query_.key, query_.range_end);
  }
  void Add(const Version& version, Revision compacted, HistoryResult& result) {
    Event& event = result.events.emplace_back(EventOf(version));
    bytes_ += version.record->key_bytes + version.value.size();
    if (!query_.prev_kv || version.main - 1 < compacted) return;
    event.previous = PreviousOf(version);
    if (event.previous.has_value()) bytes_ += event.previous->value.size();
  }

  const HistoryQuery& query_;
  Position next_;
  Revision revision_;  // of the last version seen
  uint64_t bytes_ = 0;
};

constexpr std::string_view kEveryKey("\0", 1);

// One HashKv call, step by step.
class HashScan final {
 public:
  HashScan(Position upto, Revision floor) : walk_({}, kEveryKey), kept_(upto, floor) {}

  // True when every key was visited.
  bool Step(const Store& store, StepBudget& budget) {
    return walk_.Step(store, budget, [this, &budget](const KeyRecord& record) {
      return kept_.Step(record, budget, [&](const Version& version, bool first) {
        if (first) hash_ = Hash64(record.key(), hash_);
        hash_ = HashVersion(version, hash_);
        budget.SpendBytes((first ? record.key_bytes : 0) + version.value.size());
      });
    });
  }
  uint64_t hash() const { return hash_; }

 private:
  KeyWalk walk_;
  KeptWalk kept_;
  uint64_t hash_ = 0;
};

// What TryRange looks at, at most: some 30 us where the caches are cold.
constexpr size_t kTryRecords = 128;

}  // namespace

Outcome MemoryEngine::ResolveRange(const RangeQuery& query, Position& at) const {
  if (query.range.key.empty()) return Outcome::kKeyEmpty;
  if (query.pin != nullptr) {
    const auto pin = pins_.find(query.pin->token());
    CHECK(pin != pins_.end());
    if (pin->second.generation != generation_) return Outcome::kStateReplaced;
    CHECK_GT(query.at.main, pin->second.floor);
    at = query.at;
    return Outcome::kOk;
  }
  const Revision current = store_->revision();
  if (query.range.revision <= 0) {
    at = Position::After(current);
    return Outcome::kOk;
  }
  const Revision wanted(query.range.revision);
  if (wanted > current) return Outcome::kFutureRevision;
  if (wanted < store_->compacted()) return Outcome::kCompacted;
  at = Position::After(wanted);
  return Outcome::kOk;
}

// The one key of `query`; false when the budget ended first.
bool MemoryEngine::ReadOne(const RangeQuery& query, Position at, StepBudget& budget,
                           RangeResult& result) const {
  const KeyRecord* record = store_->Find(query.range.key);
  if (record == nullptr) return true;
  VersionSearch search;
  if (!search.Step(*record, at, budget)) return false;
  const Version* version = search.found();
  if (version == nullptr) return true;
  result.count = query.want_count ? 1 : 0;
  if (query.range.count_only || !PassesFilters(query.range, *version)) return true;
  result.kvs.push_back(MakeKeyValue(*record, *version));
  if (query.range.keys_only) result.kvs.back().value = {};
  return true;
}
// Each phase brings near what the next one looks at: bucket, record, version, value.
void MemoryEngine::PrefetchRanges(std::span<const RangeQuery* const> queries) {
  constexpr size_t kGroup = 16;
  const HashIndex& index = store_->index();
  for (size_t begin = 0; begin < queries.size(); begin += kGroup) {
    uint32_t hashes[kGroup];
    size_t count = 0;
    for (const RangeQuery* query :
         queries.subspan(begin, std::min(kGroup, queries.size() - begin))) {
      if (!query->range.range_end.empty()) continue;
      hashes[count] = index.HashOf(query->range.key);
      index.PrefetchBucket(hashes[count++]);
    }
    for (size_t i = 0; i < count; ++i) index.PrefetchRecord(hashes[i]);
    for (size_t i = 0; i < count; ++i) index.PrefetchNewest(hashes[i]);
    for (size_t i = 0; i < count; ++i) index.PrefetchValue(hashes[i]);
  }
}

bool MemoryEngine::TryRange(const RangeQuery& query, RangeResult& result) {
  result.revision = store_->revision();
  Position at;
  result.outcome = ResolveRange(query, at);
  if (result.outcome != Outcome::kOk) return true;
  const size_t records_max = std::min(kTryRecords, options_.step_records);
  StepBudget budget(nullptr, records_max);
  if (query.range.range_end.empty()) {
    if (ReadOne(query, at, budget, result)) return true;
  } else {
    RangeScan scan(query, at, *store_);
    if (scan.Small(records_max) && scan.Step(*store_, budget)) {
      scan.Finish(result);
      return true;
    }
  }
  result = RangeResult();
  return false;
}

// Runs step() until it returns true: at once, then in the background. False: the state was
// replaced since `generation`. `step` outlives the task.
template <typename Step>
io::Task<bool> MemoryEngine::InSteps(uint64_t generation, const Step& step) {
  while (generation_ == generation) {
    if (step()) co_return true;
    co_await io::YieldAs(io::ReadyClass::kBackground);
  }
  co_return false;
}

// What TryRange leaves is long: not even its first step belongs among the clients' tasks.
io::Task<RangeResult> MemoryEngine::Range(RangeQuery query) {
  RangeResult result;
  if (TryRange(query, result)) co_return result;
  result.revision = store_->revision();
  Position at;
  result.outcome = ResolveRange(query, at);
  CHECK(result.outcome == Outcome::kOk);
  const Use use(*this);
  const uint64_t generation = generation_;
  const ReadPin pin = Pin();
  RangeScan scan(query, at, *store_);
  const auto step = [&] {
    StepBudget budget = NewStep();
    return scan.Step(*store_, budget);
  };
  co_await io::YieldAs(io::ReadyClass::kBackground);
  const bool whole = co_await InSteps(generation, step);
  if (whole) {
    scan.Finish(result);
  } else {
    result.outcome = Outcome::kStateReplaced;
  }
  co_return result;
}

io::Task<HistoryResult> MemoryEngine::History(HistoryQuery query) {
  const Use use(*this);
  const uint64_t generation = generation_;
  const ReadPin pin = Pin();
  HistoryResult result;
  result.compacted = store_->compacted();
  result.current = store_->revision();
  result.next = query.from;
  if (query.from < store_->compacted()) {
    result.outcome = Outcome::kCompacted;
    co_return result;
  }
  if (query.from > store_->revision()) co_return result;
  HistoryScan scan(query);
  const auto step = [&] {
    StepBudget budget = NewStep();
    return scan.Step(*store_, budget, result);
  };
  const bool whole = co_await InSteps(generation, step);
  if (!whole) result.outcome = Outcome::kStateReplaced;
  result.current = store_->revision();
  co_return result;
}

io::Task<LeaseKeys> MemoryEngine::KeysOfLease(LeaseId lease, std::string_view after,
                                              size_t count_max) {
  LeaseKeys result;
  const Lease* found = store_->FindLease(lease);
  if (found == nullptr) {
    result.outcome = Outcome::kLeaseNotFound;
    co_return result;
  }
  for (auto at = found->keys.upper_bound(after); at != found->keys.end(); ++at) {
    if (result.keys.size() == count_max) break;
    result.keys.push_back(io::SharedBytes::Copy((*at)->key()));
  }
  co_return result;
}

io::Task<HashResult> MemoryEngine::HashKv(Revision revision) {
  const Use use(*this);
  const uint64_t generation = generation_;
  const ReadPin pin = Pin();
  HashResult result;
  result.compacted = store_->compacted();
  result.hash_revision = revision > Revision(0) ? revision : store_->revision();
  if (result.hash_revision > store_->revision()) result.outcome = Outcome::kFutureRevision;
  if (result.hash_revision < result.compacted) result.outcome = Outcome::kCompacted;
  if (result.outcome != Outcome::kOk) co_return result;
  HashScan scan(Position::After(result.hash_revision), result.compacted);
  const auto step = [&] {
    StepBudget budget = NewStep();
    return scan.Step(*store_, budget);
  };
  const bool whole = co_await InSteps(generation, step);
  if (!whole) result.outcome = Outcome::kStateReplaced;
  result.hash = scan.hash();
  co_return result;
}

io::Task<uint64_t> MemoryEngine::Digest() {
  std::string rest;
  PutU64(rest, applied_index_.value());
  PutU64(rest, static_cast<uint64_t>(store_->revision().value()));
  PutU64(rest, static_cast<uint64_t>(store_->compacted().value()));
  PutU64(rest, entry_keys_max_);
  for (const auto& [id, lease] : store_->leases()) {
    PutU64(rest, static_cast<uint64_t>(id.value()));
    PutU64(rest, static_cast<uint64_t>(lease.info.ttl_seconds));
    PutU64(rest, static_cast<uint64_t>(lease.info.remaining_seconds));
    PutU64(rest, lease.info.granted_at.value());
    PutU64(rest, lease.keys.size());
  }
  const HashResult keys = co_await HashKv(Revision(0));
  co_return Hash64(rest, keys.hash);
}

}  // namespace metastore::engine
