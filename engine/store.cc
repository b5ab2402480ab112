#include "engine/store.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"

namespace metastore::engine {
namespace {

// As StoredBytes of a live record's newest version, which it spares to touch.
uint64_t LiveBytes(const KeyRecord& record) {
  return uint64_t{record.key_bytes} + record.value_bytes + kVersionOverheadBytes;
}

// Taking a key out of index and tree, in records looked at.
constexpr size_t kDeadRecords = 8;

}  // namespace

Store::Store(uint64_t hash_seed) : index_(hash_seed) {}

size_t Store::LogPosition(Position at) const {
  const auto found = std::lower_bound(
      log_.begin(), log_.end(), at,
      [](const Version* version, Position position) { return version->Before(position); });
  return static_cast<size_t>(found - log_.begin());
}

const Lease* Store::FindLease(LeaseId id) const {
  const auto found = leases_.find(id);
  return found == leases_.end() ? nullptr : &found->second;
}

KeyRecord* Store::NewRecord(std::string_view key, uint32_t hash) {
  KeyRecord* record = KeyRecord::New(key, hash);
  index_.Insert(record);
  return record;
}

// A new newest version of `record` at the next position; the caller fills the rest and accounts for
// it.
Version* Store::Append(KeyRecord* record) {
  Version* version = slab_.New();
  version->main = revision_ + 1;
  version->sub = sub_++;
  version->previous = record->newest;
  version->record = record;
  record->newest = version;
  log_.push_back(version);
  ++versions_count_;
  return version;
}

bool Store::Put(std::string_view key, io::SharedBytes value, LeaseId lease) {
  const uint32_t hash = index_.HashOf(key);
  KeyRecord* record = index_.Find(key, hash);
  const bool existed = record != nullptr && record->live();
  if (record == nullptr) {
    record = NewRecord(key, hash);
    tree_.Insert(record, true);
  } else if (!existed) {
    tree_.SetLive(record, true);
  } else {
    live_bytes_ -= LiveBytes(*record);
  }
  if (record->lease != lease) MoveLease(record, lease);
  Version* version = Append(record);
  record->create = existed ? record->create : version->main;
  ++record->version;
  version->create = record->create;
  version->version = record->version;
  version->lease = lease;
  version->value = std::move(value);
  record->value_bytes = static_cast<uint32_t>(version->value.size());
  stored_bytes_ += LiveBytes(*record);
  live_bytes_ += LiveBytes(*record);
  return existed;
}

void Store::Delete(KeyRecord* record) {
  CHECK(record->live());
  live_bytes_ -= LiveBytes(*record);
  if (record->lease != LeaseId(0)) MoveLease(record, LeaseId(0));
  tree_.SetLive(record, false);
  Version* version = Append(record);
  version->tombstone = true;
  record->create = Revision(0);
  record->version = 0;
  record->value_bytes = 0;
  stored_bytes_ += StoredBytes(*version);
}

void Store::MoveLease(KeyRecord* record, LeaseId to) {
  if (record->lease != LeaseId(0)) {
    const auto from = leases_.find(record->lease);
    CHECK(from != leases_.end());
    CHECK_EQ(from->second.keys.erase(record), 1u);
  }
  record->lease = to;
  if (to == LeaseId(0)) return;
  const auto found = leases_.find(to);
  CHECK(found != leases_.end());
  found->second.keys.insert(record);
}

int32_t Store::Commit() {
  const int32_t changes = std::exchange(sub_, 0);
  if (changes > 0) ++revision_;
  return changes;
}

std::shared_ptr<LeaseChanges> Store::TrackLeases() {
  auto changes = std::make_shared<LeaseChanges>();
  lease_trackers_.push_back(changes);
  return changes;
}

void Store::NoteLease(LeaseId id, const LeaseInfo* before) {
  std::erase_if(lease_trackers_, [](const auto& tracker) { return tracker.expired(); });
  for (const std::weak_ptr<LeaseChanges>& tracker : lease_trackers_) {
    tracker.lock()->Note(id, before);
  }
}

void Store::GrantLease(const LeaseInfo& lease) {
  NoteLease(lease.id, nullptr);
  const bool inserted = leases_.try_emplace(lease.id, Lease{lease, {}}).second;
  CHECK(inserted);
}

void Store::DropLease(LeaseId id) {
  const auto found = leases_.find(id);
  CHECK(found != leases_.end());
  CHECK(found->second.keys.empty());
  NoteLease(id, &found->second.info);
  leases_.erase(found);
}

void Store::CheckpointLease(LeaseId id, int64_t remaining_seconds) {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return;
  LeaseInfo& info = found->second.info;
  NoteLease(id, &info);
  info.remaining_seconds = std::min(remaining_seconds, std::max<int64_t>(info.ttl_seconds, 0));
}

void Store::Compact(Revision revision) {
  CHECK_GT(revision, compacted_);
  CHECK_LE(revision, revision_);
  compacted_ = revision;
}

void Store::FreeVersion(Version* version) {
  stored_bytes_ -= StoredBytes(*version);
  --versions_count_;
  slab_.Delete(version);
}

// Frees the one version behind `version`: those behind that went when the log passed it.
void Store::FreeOlder(Version* version, StepBudget& budget) {
  Version* older = std::exchange(version->previous, nullptr);
  if (older == nullptr) return;
  CHECK(older->previous == nullptr);
  budget.SpendBytes(older->value.size() / kFreedShare);
  FreeVersion(older);
}

// The key's newest version is a delete that every allowed read sees: nothing is left of it.
void Store::RemoveDead(Version* tombstone) {
  KeyRecord* record = tombstone->record;
  index_.Erase(record);
  tree_.Remove(record);
  FreeVersion(tombstone);
  KeyRecord::Delete(record);
}

bool Store::RemoveStep(Revision target, StepBudget& budget) {
  CHECK_LE(target, compacted_);
  if (target <= removed_) return true;
  if (removing_ != target) {
    removing_ = target;
    removing_at_ = 0;
  }
  while (!log_.empty() && log_.front()->main < target) {
    Version* version = log_.front();
    if (!budget.Spend(version->tombstone ? kDeadRecords : 1)) return false;
    log_.pop_front();
    FreeOlder(version, budget);
    // A delete below a newer version goes when the log reaches that one.
    if (version->tombstone && version->record->newest == version) RemoveDead(version);
  }
  // What was changed at the target itself stays, a delete too (a watch may begin there), but hides
  // what is older.
  while (removing_at_ < log_.size() && log_[removing_at_]->main == target) {
    if (!budget.Spend(1)) return false;
    Version* version = log_[removing_at_++];
    if (version->previous != nullptr && version->previous->main < target) {
      FreeOlder(version, budget);
    }
  }
  removed_ = target;
  return true;
}

}  // namespace metastore::engine
