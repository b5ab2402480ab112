// Store: the memory engine's state and the few ways to change it: keys with version chains, the log
// of all versions in revision order, leases, the compaction floor.
//
// Owned by MemoryEngine; single core, synchronous. Everything here is deterministic.
//
// Invariants
//  1. Each record is in the index and in the tree; the tree counts it as live exactly when its
//  newest version is a put.
//  2. The log has every stored version of revision >= removed() and those of lower ones that
//  removal has not reached, in
//     (main, sub) order.
//  3. Below removed() at most one version of a key is stored: the newest.
//  4. A live record is in its lease's keys, and in no other's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "engine/hash_index.h"
#include "engine/key_record.h"
#include "engine/key_tree.h"
#include "engine/lease_walk.h"
#include "engine/load_sort.h"
#include "engine/step_budget.h"
#include "engine/types.h"

namespace metastore::engine {

struct RecordOrder {
  using is_transparent = void;
  bool operator()(const KeyRecord* a, const KeyRecord* b) const { return a->key() < b->key(); }
  bool operator()(const KeyRecord* a, std::string_view b) const { return a->key() < b; }
  bool operator()(std::string_view a, const KeyRecord* b) const { return a < b->key(); }
};

struct Lease {
  LeaseInfo info;
  absl::btree_set<KeyRecord*, RecordOrder> keys;
};

class Store final {
 public:
  using Log = std::deque<Version*>;

  explicit Store(uint64_t hash_seed);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // --- reading ---------------------------------------------------------------------------------
  KeyRecord* Find(std::string_view key) const { return index_.Find(key, index_.HashOf(key)); }
  const HashIndex& index() const { return index_; }
  const KeyTree& tree() const { return tree_; }
  const Log& log() const { return log_; }
  // The first log position whose version is not below `at`.
  size_t LogPosition(Position at) const;
  Revision revision() const { return revision_; }
  Revision compacted() const { return compacted_; }
  Revision removed() const { return removed_; }
  const absl::btree_map<LeaseId, Lease>& leases() const { return leases_; }
  const Lease* FindLease(LeaseId id) const;
  uint64_t stored_bytes() const { return stored_bytes_; }
  uint64_t live_bytes() const { return live_bytes_; }
  int64_t versions_count() const { return versions_count_; }

  // --- changing: one entry at a time -----------------------------------------------------------
  // The next change's position: reads at it see what the entry has done so far.
  Position next() const { return {revision_ + 1, sub_}; }
  // The lease is 0 or present (CHECKed). Whether the key existed.
  bool Put(std::string_view key, io::SharedBytes value, LeaseId lease);
  // The record is live (CHECKed).
  void Delete(KeyRecord* record);
  // Ends the entry: if it changed anything, its revision is now the store's. How many changes.
  int32_t Commit();
  // No lease of this id (CHECKed).
  void GrantLease(const LeaseInfo& lease);
  // Present and without keys (CHECKed).
  void DropLease(LeaseId id);
  // No effect without that lease. Never more than its TTL.
  void CheckpointLease(LeaseId id, int64_t remaining_seconds);
  // Above compacted(), not above revision() (CHECKed).
  void Compact(Revision revision);

  // Removes what no read at or after `target` (<= compacted) needs, one step of it. True once all
  // is done: removed() == target.
  bool RemoveStep(Revision target, StepBudget& budget);
  // What leases were is noted from now on, before they change, while the caller keeps the result.
  std::shared_ptr<LeaseChanges> TrackLeases();

  // --- loading a snapshot into an empty store: store_load.cc -----------------------------------
  // A key with its newest version, links unset. Leases are granted before. False if the key was
  // there, or its lease is not.
  bool LoadKey(std::string_view key, Version newest);
  // The next older version of the key loaded last.
  void LoadOlder(Version version);
  // After the last key.
  void BeginFinishLoad(Revision revision, Revision compacted);
  // One step of putting the log in order. kDamaged: a revision is out of bounds or used twice, or a
  // version is one that removal would not have left.
  enum class Loading : uint8_t { kGoesOn, kDone, kDamaged };
  Loading FinishLoadStep(StepBudget& budget);

  // --- the end: store_free.cc ------------------------------------------------------------------
  // Frees one step's worth of everything; once begun the store is of no other use. True: all is
  // freed, and destroying it is cheap. The destructor does what is left.
  bool FreeStep(StepBudget& budget);

 private:
  KeyRecord* NewRecord(std::string_view key, uint32_t hash);
  Version* Append(KeyRecord* record);
  void MoveLease(KeyRecord* record, LeaseId to);
  void FreeVersion(Version* version);
  void FreeOlder(Version* version, StepBudget& budget);
  void NoteLease(LeaseId id, const LeaseInfo* before);
  Version* AddLoaded(KeyRecord* record, Version version);
  bool FreeLeases(StepBudget& budget);
  bool FreeRecords(StepBudget& budget);
  bool FreeRecord(KeyRecord* record, StepBudget& budget);
  void RemoveDead(Version* tombstone);

  VersionSlab slab_;
  HashIndex index_;
  KeyTree tree_;
  Log log_;
  absl::btree_map<LeaseId, Lease> leases_;
  Revision revision_{1};
  Revision compacted_{-1};
  Revision removed_{-1};
  Revision removing_{-1};   // the target the last step worked towards
  size_t removing_at_ = 0;  // log position among the versions of that revision
  int32_t sub_ = 0;         // changes of the entry under way
  int64_t versions_count_ = 0;
  uint64_t stored_bytes_ = 0;
  uint64_t live_bytes_ = 0;
  std::vector<std::weak_ptr<LeaseChanges>> lease_trackers_;

  struct Load {  // of a snapshot
    Version* last = nullptr;
    LoadSort sort;
  };
  std::unique_ptr<Load> load_;
  std::vector<KeyRecord*> freeing_;  // out of index and tree already
};

}  // namespace metastore::engine
