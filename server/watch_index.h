// WatchIndex: which ranges are watched, so that a change finds its watchers at once.
//
// Watchers of equal ranges share a WatchRange. Single keys are found by a hash; the others by an
// interval tree over the distinct ranges: ordered by begin, each node knowing the greatest end
// below it, balanced as a treap. A change costs O(1 + matching ranges * log ranges).
//
// One an edge core, owned by its WatchTable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "engine/types.h"

namespace metastore::server {

class WatchSession;
struct WatchRange;

// Where a watcher stands.
enum class WatcherState : uint8_t {
  kSynced,   // it gets what comes live
  kWaiting,  // behind, and not yet in a pass
  kPassing,  // behind, and what the catch-up reads goes to it
  kParked,   // behind, until its session has taken what is queued
};

// One watcher; 48 bytes, of which there may be hundreds of thousands.
struct Watcher {
  WatchSession* session = nullptr;
  WatchRange* range = nullptr;
  int64_t id = 0;
  Revision next;           // it needs nothing older: its start, then behind what it was given last
  uint32_t place = 0;      // in its range's list, or its session's of the parked
  uint32_t lag_place = 0;  // in the table's list of those waiting or passing
  uint32_t queued_bytes = 0;
  WatcherState state = WatcherState::kParked;
  bool prev_kv : 1 = false;
  bool no_puts : 1 = false;
  bool no_deletes : 1 = false;
  bool progress_notify : 1 = false;
  bool fragment : 1 = false;
  bool active : 1 = false;  // it got events since its last progress notification was due
};

using Watchers = absl::InlinedVector<Watcher*, 1>;

// A distinct range that somebody watches.
struct WatchRange {
  std::string_view key() const { return std::string_view(bounds).substr(0, key_bytes); }
  std::string_view range_end() const { return std::string_view(bounds).substr(key_bytes); }

  std::string bounds;  // key and range_end
  uint32_t key_bytes = 0;
  uint32_t watchers_count = 0;
  uint32_t synced_slot = 0;   // scratch of who goes through `synced`,
  uint32_t passing_slot = 0;  // and `passing`
  Watchers synced;
  Watchers passing;
};

class WatchIndex final {
 public:
  // `seed` balances the tree against chosen keys.
  explicit WatchIndex(uint64_t seed);
  ~WatchIndex();  // every range was given back (CHECKed)
  WatchIndex(const WatchIndex&) = delete;
  WatchIndex& operator=(const WatchIndex&) = delete;

  // The range [key, range_end), as etcd has ranges; not empty (CHECKed). Counts one watcher.
  WatchRange& Take(std::string_view key, std::string_view range_end);
  // Ends one watcher's use; the last one's frees `range`.
  void Give(WatchRange& range);

  size_t ranges_count() const { return singles_.size() + spans_count_; }

  // Calls visit(WatchRange&) for each range that `key` lies in; visit must not change the index.
  template <typename Visit>
  void Match(std::string_view key, const Visit& visit) const {
    const auto single = singles_.find(key);
    if (single != singles_.end()) visit(*single->second);
    if (root_ != nullptr) MatchBelow(*root_, key, visit);
  }

 private:
  struct Node {
    WatchRange range;
    uint64_t priority = 0;       // not above its parent's
    const Node* last = nullptr;  // at or below this one: with the greatest end
    std::unique_ptr<Node> left;
    std::unique_ptr<Node> right;
  };
  using Link = std::unique_ptr<Node>;

  // Whether `key` is before the end of `range`.
  static bool BeforeEnd(std::string_view key, const WatchRange& range) {
    const std::string_view end = range.range_end();
    return IsOpen(end) || key < end;
  }
  static bool IsOpen(std::string_view end) { return end.size() == 1 && end[0] == '\0'; }
  static bool EndsLater(const WatchRange& a, const WatchRange& b);
  static int Order(std::string_view key, std::string_view range_end, const WatchRange& range);
  static void Update(Node& node);
  static void RotateRight(Link& link);
  static void RotateLeft(Link& link);
  static void Insert(Link& link, Link node);
  static void Erase(Link& link, const WatchRange& range);
  static void Sink(Link& link);

  template <typename Visit>
  static void MatchBelow(Node& node, std::string_view key, const Visit& visit) {
    if (!BeforeEnd(key, node.last->range)) return;
    if (node.left != nullptr) MatchBelow(*node.left, key, visit);
    if (key < node.range.key()) return;
    if (BeforeEnd(key, node.range)) visit(node.range);
    if (node.right != nullptr) MatchBelow(*node.right, key, visit);
  }

  const uint64_t seed_;
  absl::flat_hash_map<std::string_view, std::unique_ptr<WatchRange>> singles_;  // by key
  Link root_;
  size_t spans_count_ = 0;
};

}  // namespace metastore::server
