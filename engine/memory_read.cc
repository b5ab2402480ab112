// The memory engine's reads: coroutine shells around synchronous steps.
#include <algorithm>
#include <utility>

#include "engine/memory_engine_impl.h"
#include "engine/range_scan.h"
#include "engine/walk.h"
#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"

namespace metastore::engine {
namespace {

// One History call, step by step.
class HistoryScan final {
 public:
  explicit HistoryScan(const HistoryQuery& query) : query_(query), next_{query.from, 0} {}

  // True when the batch is full or the log has ended; `current` is the store's revision.
  bool Step(const Store& store, HistoryResult& result) {
    const Store::Log& log = store.log();
    size_t at = store.LogPosition(next_);
    for (size_t i = 0; i < kStepRecords; ++i, ++at) {
      if (at == log.size()) {
        result.next = store.revision() + 1;
        return true;
      }
      const Version& version = *log[at];
      if (version.main != revision_ && Full(result)) {
        result.next = version.main;
        return true;
      }
      revision_ = version.main;
      next_ = {version.main, version.sub + 1};
      if (Wanted(version)) Add(version, store.compacted(), result);
    }
    return false;
  }
  Position next() const { return next_; }

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
    HistoryEvent& event = result.events.emplace_back();
    event.event.kind = version.tombstone ? EventKind::kDelete : EventKind::kPut;
    event.event.kv = MakeKeyValue(*version.record, version);
    bytes_ += version.record->key_bytes + version.value.size();
    if (!query_.prev_kv || version.main - 1 < compacted) return;
    // As of the revision before, not of the change before in the same transaction.
    const Version* before = version.previous;
    while (before != nullptr && before->main == version.main) before = before->previous;
    if (before == nullptr || before->tombstone) return;
    event.prev = MakeKeyValue(*version.record, *before);
    bytes_ += event.prev->value.size();
  }

  const HistoryQuery& query_;
  Position next_;
  Revision revision_;  // of the last version seen
  uint64_t bytes_ = 0;
};

uint64_t HashVersion(const Version& version, uint64_t seed) {
  char fields[37];
  StoreU64(fields, static_cast<uint64_t>(version.main.value()));
  StoreU32(fields + 8, static_cast<uint32_t>(version.sub));
  fields[12] = version.tombstone ? 1 : 0;
  StoreU64(fields + 13, static_cast<uint64_t>(version.create.value()));
  StoreU64(fields + 21, static_cast<uint64_t>(version.version));
  StoreU64(fields + 29, static_cast<uint64_t>(version.lease.value()));
  return Hash64(version.value.view(), Hash64(std::string_view(fields, sizeof fields), seed));
}

uint64_t HashRecord(const KeyRecord& record, Position upto, Revision floor, uint64_t seed) {
  const Version* version = NextKept(record, nullptr, upto, floor);
  if (version == nullptr) return seed;
  uint64_t hash = Hash64(record.key(), seed);
  for (; version != nullptr; version = NextKept(record, version, upto, floor))
    hash = HashVersion(*version, hash);
  return hash;
}

constexpr std::string_view kEveryKey("\0", 1);

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

void MemoryEngine::ReadOne(const RangeQuery& query, Position at, RangeResult& result) const {
  const KeyRecord* record = store_->Find(query.range.key);
  const Version* version = record == nullptr ? nullptr : VisibleAt(*record, at);
  if (version == nullptr) return;
  result.count = query.want_count ? 1 : 0;
  if (query.range.count_only || !PassesFilters(query.range, *version)) return;
  result.kvs.push_back(MakeKeyValue(*record, *version));
  if (query.range.keys_only) result.kvs.back().value = {};
}

io::Task<RangeResult> MemoryEngine::Range(RangeQuery query) {
  RangeResult result;
  result.revision = store_->revision();
  Position at;
  result.outcome = ResolveRange(query, at);
  if (result.outcome != Outcome::kOk) co_return result;
  if (query.range.range_end.empty()) {
    ReadOne(query, at, result);
    co_return result;
  }
  const Use use(*this);
  const uint64_t generation = generation_;
  const ReadPin pin = Pin();
  RangeScan scan(query, at, *store_);
  while (!scan.Step(*store_)) {
    co_await io::Yield();
    if (generation_ == generation) continue;
    result.outcome = Outcome::kStateReplaced;
    co_return result;
  }
  scan.Finish(result);
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
  while (!scan.Step(*store_, result)) {
    co_await io::Yield();
    if (generation_ == generation) continue;
    result.outcome = Outcome::kStateReplaced;
    co_return result;
  }
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
  const Position upto = Position::After(result.hash_revision);
  KeyWalk walk(std::string_view(), kEveryKey);
  const auto visit = [&result, upto](const KeyRecord& record) {
    result.hash = HashRecord(record, upto, result.compacted, result.hash);
    return true;
  };
  while (!walk.Step(*store_, kStepRecords, visit)) {
    co_await io::Yield();
    if (generation_ == generation) continue;
    result.outcome = Outcome::kStateReplaced;
    co_return result;
  }
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
    PutU64(rest, lease.keys.size());
  }
  const HashResult keys = co_await HashKv(Revision(0));
  co_return Hash64(rest, keys.hash);
}

}  // namespace metastore::engine
