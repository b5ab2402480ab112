// Store: loading a snapshot.
#include <utility>

#include "engine/store.h"
#include "io/base/check.h"

namespace metastore::engine {

bool Store::LoadKey(std::string_view key, Version newest) {
  const uint32_t hash = index_.HashOf(key);
  if (key.empty() || index_.Find(key, hash) != nullptr) return false;
  const bool live = !newest.tombstone;
  if (live && newest.lease != LeaseId(0) && FindLease(newest.lease) == nullptr) return false;
  if (load_ == nullptr) load_ = std::make_unique<Load>();
  KeyRecord* record = NewRecord(key, hash);
  record->create = newest.create;
  record->version = newest.version;
  tree_.Insert(record, live);
  if (live) MoveLease(record, newest.lease);
  record->newest = AddLoaded(record, std::move(newest));
  if (!live) return true;
  record->value_bytes = static_cast<uint32_t>(record->newest->value.size());
  live_bytes_ += StoredBytes(*record->newest);
  return true;
}

void Store::LoadOlder(Version version) {
  CHECK(load_ != nullptr && load_->last != nullptr);
  Version* newer = load_->last;
  CHECK(version.Before({newer->main, newer->sub}));
  newer->previous = AddLoaded(newer->record, std::move(version));
}

Version* Store::AddLoaded(KeyRecord* record, Version version) {
  Version* loaded = slab_.New();
  *loaded = std::move(version);
  loaded->record = record;
  loaded->previous = nullptr;
  load_->sort.Add(loaded);
  load_->last = loaded;
  ++versions_count_;
  stored_bytes_ += StoredBytes(*loaded);
  return loaded;
}

void Store::BeginFinishLoad(Revision revision, Revision compacted) {
  if (load_ == nullptr) load_ = std::make_unique<Load>();
  load_->sort.Begin();
  load_->last = nullptr;
  revision_ = revision;
  compacted_ = removed_ = removing_ = compacted;
}

Store::Loading Store::FinishLoadStep(StepBudget& budget) {
  if (revision_ < Revision(1) || compacted_ > revision_ || compacted_ < Revision(-1)) {
    return Loading::kDamaged;
  }
  while (budget.Spend(1)) {
    Version* version = load_->sort.Take();
    if (version == nullptr) {
      load_.reset();
      return Loading::kDone;
    }
    const Version* before = std::exchange(load_->last, version);
    const bool ordered = before == nullptr || before->Before({version->main, version->sub});
    if (!ordered || version->main > revision_ || version->main < Revision(2)) {
      return Loading::kDamaged;
    }
    // Below the floor only the newest version of a key is stored: the log is already past them.
    if (version->main >= compacted_) {
      log_.push_back(version);
    } else if (version->tombstone || version->previous != nullptr) {
      return Loading::kDamaged;
    }
  }
  return Loading::kGoesOn;
}

}  // namespace metastore::engine
