// What is asked of a WatchSession (server/watch_session.h) and what comes out of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/types.h"
#include "io/buffer.h"

namespace metastore::server {

// A watcher to be made. Ranges are etcd's: no `range_end`: one key; "\0": every key from `key` on.
struct WatchSpec {
  static constexpr int64_t kAnyId = 0;

  std::string key;  // not empty
  std::string range_end;
  Revision start;  // the first one wanted, past or future; 0: the one after the store's current
  int64_t id = kAnyId;  // kAnyId: the lowest one from 0 on that was not given yet
  bool prev_kv = false;
  bool no_puts = false;
  bool no_deletes = false;
  bool progress_notify = false;
  bool fragment = false;  // noted in its deliveries, for who encodes them
};

// One delivery. `revision` is the header's, except where said.
struct WatchDelivery {
  enum class Kind : uint8_t {
    kCreated,   // the watcher exists; `revision`: the store's
    kRefused,   // it was not made: `reason`; the id is kNoId
    kEvents,    // `events`, at least one
    kProgress,  // everything up to `revision` was delivered; kNoId: to every watcher
    kCanceled,  // by Cancel, or `compacted`: what it needs is gone, and `revision` is 0
  };
  static constexpr int64_t kNoId = -1;

  Kind kind = Kind::kEvents;
  bool fragment = false;
  uint32_t events_count = 0;
  int64_t id = kNoId;  // of the watcher
  Revision revision;
  Revision compacted;       // not 0: the watcher was cancelled, for it is below this revision
  std::string_view reason;  // of kRefused; a literal
  io::SharedBytes events;   // fields 11 of a WatchResponse, encoded; shared by many watchers
};

// The events of a kEvents delivery. `previous` is set where the watcher asked for it and it exists.
std::vector<engine::Event> EventsOf(const WatchDelivery& delivery);

}  // namespace metastore::server
