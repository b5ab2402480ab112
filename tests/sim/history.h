// History: what clients did and were told, and the checks that hold whatever crashes in between.
//
// Revisions are the store's own claim of a total order; the checks hold it to that:
//  1. Every acknowledged write is in the store at its revision, with all its values and nothing
//     besides, and what it was conditional on was so just before.
//  2. No two acknowledged writes have one revision.
//  3. Real time: a call that began after another had returned sees no lower revision, and a write a
//     higher one. Serializable reads are exempt.
//  4. A read returns the newest version at or below its header's revision, as the final store has
//     it; all keys of one read at the same revision.
//  5. What is in the store was asked for by somebody, and done once.
// Together they make histories of registers, compare-and-swap and multi-key transactions
// linearizable.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "io/base/time.h"

namespace metastore::sim_test {

struct Written {
  std::string key;
  std::string value;  // empty: a delete
};

struct WriteEvent {
  std::vector<Written> keys;
  int64_t revision = 0;  // 0: a delete of nothing
  MonoTime began;
  MonoTime returned;
  // Made only because keys[0]'s mod revision was this.
  std::optional<int64_t> expected = std::nullopt;
};

struct ReadEvent {
  std::string key;
  bool found = false;
  std::string value;
  int64_t mod_revision = 0;
  int64_t header_revision = 0;
  MonoTime began;
  MonoTime returned;
  bool serializable = false;
};

// All versions a store has had, by key and revision.
class StoreHistory final {
 public:
  struct Version {
    int64_t revision = 0;
    std::string value;  // of a delete: empty
    bool deleted = false;
  };
  // In the order of revisions.
  void Add(const std::string& key, Version version);
  // The newest version of `key` at or below `revision`; null if there is none, or it is a delete.
  const Version* At(const std::string& key, int64_t revision) const;
  // Changes made at `revision`, by key.
  std::vector<std::pair<std::string, Version>> ChangesAt(int64_t revision) const;
  uint64_t revisions() const { return by_revision_.size(); }
  // Those that changed something, ascending.
  std::vector<int64_t> Revisions() const;
  const std::map<std::string, std::vector<Version>>& keys() const { return keys_; }

 private:
  std::map<std::string, std::vector<Version>> keys_;
  std::map<int64_t, std::vector<std::string>> by_revision_;
};

class History final {
 public:
  // Before it is sent: a value, no other write's, that may come to be in the store.
  void Asked(const std::string& value) { asked_.insert(value); }
  void Acknowledged(WriteEvent write) { writes_.push_back(std::move(write)); }
  void Read(ReadEvent read) { reads_.push_back(std::move(read)); }
  void Unknown() { ++unknown_; }

  const std::vector<WriteEvent>& writes() const { return writes_; }
  const std::vector<ReadEvent>& reads() const { return reads_; }
  uint64_t unknown() const { return unknown_; }

  // Problems of order alone (2 and 3), one line each.
  std::vector<std::string> CheckOrder() const;
  // And of what is in the store (1, 4, 5).
  std::vector<std::string> Check(const StoreHistory& store) const;

 private:
  void CheckWrite(const StoreHistory& store, const WriteEvent& write,
                  std::vector<std::string>& problems) const;

  std::vector<WriteEvent> writes_;
  std::vector<ReadEvent> reads_;
  std::set<std::string> asked_;
  uint64_t unknown_ = 0;  // writes without an answer: they may have happened
};

}  // namespace metastore::sim_test
