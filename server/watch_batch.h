// WatchBatch: the changes of a span of revisions, encoded once for all who watch them; WatchBlock:
// what of it one range's watchers get.
//
// Made on the state core, immutable afterwards; a copy for each edge core shares the bytes.
//
// Format: a change is an mvccpb.Event without prev_kv, directly followed by its field prev_kv where
// that was asked for. A block has events as they are in a WatchResponse: its fields 11.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/types.h"
#include "io/buffer.h"

namespace metastore::server {

struct WatchChange {
  Revision revision;
  size_t offset = 0;         // in the batch's bytes, of its Event
  uint32_t plain_bytes = 0;  // of that
  uint32_t full_bytes = 0;   // with prev_kv
  uint32_t key_offset = 0;   // from `offset`
  uint32_t key_bytes = 0;
  bool deletion = false;
};

struct WatchBatch {
  // It has every change of these revisions, or of those that a filter asked for; `last` below
  // `first`: none.
  Revision first;
  Revision last;
  io::SharedBytes bytes;
  std::vector<WatchChange> changes;  // in order

  std::string_view KeyOf(const WatchChange& change) const {
    return bytes.view().substr(change.offset + change.key_offset, change.key_bytes);
  }
};

class WatchBatchBuilder final {
 public:
  void Add(const engine::Event& event);
  bool empty() const { return changes_.empty(); }
  size_t bytes() const { return bytes_.size() + changes_.size() * sizeof(WatchChange); }
  size_t changes_count() const { return changes_.size(); }
  // What was added, and begins anew.
  WatchBatch Take(Revision first, Revision last);

 private:
  std::string bytes_;
  std::vector<WatchChange> changes_;
};

// What a watcher leaves out.
struct WatchFilter {
  bool prev_kv = false;  // false: without it
  bool no_puts = false;
  bool no_deletes = false;
  Revision from;  // nothing older

  static constexpr size_t kKinds = 8;
  size_t kind() const { return (prev_kv ? 4u : 0u) + (no_puts ? 2u : 0u) + (no_deletes ? 1u : 0u); }
};

struct WatchBlock {
  io::SharedBytes events;
  size_t count = 0;  // of events; 0: nothing passes
  Revision first;    // of the events
  Revision last;
};

// `picked`: places in batch.changes, ascending.
WatchBlock MakeBlock(const WatchBatch& batch, std::span<const uint32_t> picked,
                     const WatchFilter& filter);

// The length of the first event's field of a block's bytes.
size_t FirstEventBytes(std::string_view events);
// A block's events, as values.
std::vector<engine::Event> DecodeBlock(std::string_view events);

}  // namespace metastore::server
