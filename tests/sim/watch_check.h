// What watchers must be told, and whether they were.
//
// For each watcher, from its creation to its end, whatever happened to the store meanwhile:
//  1. Its events are all changes of its range from its start on, once, in order, each as it was
//     made (value, versions, and the previous pair where it asked for that), up to some revision.
//  2. An answer has whole revisions, and its header none below them.
//  3. A progress answer names no revision of which an event was still to come.
//  4. It is cancelled as compacted only if what it needed next is below the compaction named.
//  5. One that goes on to the end gets everything.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "rpc.pb.h"
#include "tests/sim/history.h"

namespace metastore::sim_test {

// One change as the store has made it.
struct TrueChange {
  int64_t revision = 0;
  std::string key;
  std::string value;
  bool deleted = false;
  int64_t created = 0;  // of the key as it is then; 0: deleted
  int64_t version = 0;
  int64_t previous_revision = 0;  // 0: there was no such key
  std::string previous_value;
};

// In order.
std::vector<TrueChange> ChangesOf(const StoreHistory& store);

// One answer that is no creation; a fragmented one joined.
struct Told {
  enum class Kind : uint8_t { kEvents, kProgress, kCompacted };
  Kind kind = Kind::kEvents;
  int64_t revision = 0;  // of the header; kCompacted: compacted to
  std::vector<mvccpb::Event> events;
};

// One watcher of one stream.
struct WatchLife {
  etcdserverpb::WatchCreateRequest wish;
  std::string name;
  int64_t start = 0;   // the first revision it must get; 0: it was not created
  bool whole = false;  // it was there until the end
  std::vector<Told> told;

  // From where another goes on.
  int64_t next() const;
};

// Problems, at most one. `compactions`: to which revisions members may have compacted: a previous
// pair at one of them may be gone.
std::vector<std::string> CheckLife(const WatchLife& life, const std::vector<TrueChange>& changes,
                                   const std::set<int64_t>& compactions);

}  // namespace metastore::sim_test
