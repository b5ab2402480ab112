#include "engine/store.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"

namespace metastore::engine {
namespace {

uint64_t StoredBytes(const Version& version) {
  return version.record->key_bytes + version.value.size() + kVersionOverheadBytes;
}

// As StoredBytes of a live record's newest version, which it spares to touch.
uint64_t LiveBytes(const KeyRecord& record) {
  return uint64_t{record.key_bytes} + record.value_bytes + kVersionOverheadBytes;
}

}  // namespace

Store::Store(uint64_t hash_seed) : index_(hash_seed) {}

Store::~Store() {
  std::vector<KeyRecord*> records;
  records.reserve(tree_.size());
  for (KeyTree::Cursor at = tree_.Seek({}); at.record() != nullptr; at.Next())
    records.push_back(at.record());
  for (KeyRecord* record : records) FreeRecord(record);
}

void Store::FreeRecord(KeyRecord* record) {
  Version* version = record->newest;
  while (version != nullptr) {
    Version* previous = version->previous;
    FreeVersion(version);
    version = previous;
  }
  KeyRecord::Delete(record);
}

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

void Store::GrantLease(const LeaseInfo& lease) {
  const bool inserted = leases_.try_emplace(lease.id, Lease{lease, {}}).second;
  CHECK(inserted);
}

void Store::DropLease(LeaseId id) {
  const auto found = leases_.find(id);
  CHECK(found != leases_.end());
  CHECK(found->second.keys.empty());
  leases_.erase(found);
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
void Store::FreeOlder(Version* version) {
  Version* older = std::exchange(version->previous, nullptr);
  if (older == nullptr) return;
  CHECK(older->previous == nullptr);
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

bool Store::RemoveStep(Revision target, size_t versions_max) {
  CHECK_LE(target, compacted_);
  if (target <= removed_) return true;
  if (removing_ != target) {
    removing_ = target;
    removing_at_ = 0;
  }
  size_t left = versions_max;
  for (; left > 0 && !log_.empty() && log_.front()->main < target; --left) {
    Version* version = log_.front();
    log_.pop_front();
    FreeOlder(version);
    // A delete below a newer version goes when the log reaches that one.
    if (version->tombstone && version->record->newest == version) RemoveDead(version);
  }
  // What was changed at the target itself stays, a delete too (a watch may begin there), but hides
  // what is older.
  for (; left > 0 && removing_at_ < log_.size() && log_[removing_at_]->main == target; --left) {
    Version* version = log_[removing_at_++];
    if (version->previous != nullptr && version->previous->main < target) FreeOlder(version);
  }
  if (left == 0) return false;
  removed_ = target;
  return true;
}

bool Store::LoadKey(std::string_view key, std::vector<Version>& versions) {
  const uint32_t hash = index_.HashOf(key);
  if (key.empty() || versions.empty() || index_.Find(key, hash) != nullptr) return false;
  const Version& newest = versions.front();
  if (!newest.tombstone && newest.lease != LeaseId(0) && FindLease(newest.lease) == nullptr)
    return false;
  KeyRecord* record = NewRecord(key, hash);
  record->create = newest.create;
  record->version = newest.version;
  tree_.Insert(record, !newest.tombstone);
  if (!newest.tombstone) MoveLease(record, newest.lease);
  Version** link = &record->newest;
  for (Version& loaded : versions) {
    Version* version = slab_.New();
    *version = std::move(loaded);
    version->record = record;
    version->previous = nullptr;
    *link = version;
    link = &version->previous;
    log_.push_back(version);
    ++versions_count_;
    stored_bytes_ += StoredBytes(*version);
  }
  if (!record->live()) return true;
  record->value_bytes = static_cast<uint32_t>(record->newest->value.size());
  live_bytes_ += LiveBytes(*record);
  return true;
}

bool Store::FinishLoad(Revision revision, Revision compacted) {
  if (revision < Revision(1) || compacted > revision || compacted < Revision(-1)) return false;
  const auto order = [](const Version* a, const Version* b) {
    return a->Before({b->main, b->sub});
  };
  std::sort(log_.begin(), log_.end(), order);
  for (size_t i = 1; i < log_.size(); ++i) {
    if (!order(log_[i - 1], log_[i])) return false;
  }
  if (!log_.empty() && (log_.back()->main > revision || log_.front()->main < Revision(2)))
    return false;
  revision_ = revision;
  compacted_ = removed_ = removing_ = compacted;
  // Below the floor only the newest version of a key is stored: the log is already past them.
  while (!log_.empty() && log_.front()->main < compacted) {
    if (log_.front()->tombstone || log_.front()->previous != nullptr) return false;
    log_.pop_front();
  }
  return true;
}

}  // namespace metastore::engine
