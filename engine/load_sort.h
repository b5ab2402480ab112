// LoadSort: puts the versions of a snapshot, which come by key, in revision order, in steps: runs
// are sorted as they fill, and merged by a heap as they are taken.
//
// Owned by the Store that is being loaded; borrows the versions.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/key_record.h"

namespace metastore::engine {

class LoadSort final {
 public:
  void Add(Version* version);

  // After the last Add: prepares taking.
  void Begin();
  // The next in order; null after the last.
  Version* Take();
  // Instead of taking: frees some memory. True: there is none left.
  bool DropRun();

 private:
  static constexpr size_t kRunVersions = 2048;  // sorted in about 100 us

  struct Item {
    Position at;
    Version* version = nullptr;
  };
  struct Run {
    std::vector<Item> items;
    size_t taken = 0;
    Position next() const { return items[taken].at; }
  };
  static bool Later(const Run& a, const Run& b) { return a.next() > b.next(); }
  static void Sort(Run& run);

  std::vector<Run> runs_;  // Begin: a heap, the one with the lowest next first
};

}  // namespace metastore::engine
