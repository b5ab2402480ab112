// Deliveries in their wire form: etcdserverpb.WatchResponse, without protobuf's message objects,
// around the events that are encoded already.
#pragma once

#include <string>

#include "server/kv_wire.h"
#include "server/watch_delivery.h"

namespace metastore::server {

// The messages of one delivery: one, or several where its watcher asked for fragments.
class WatchMessages final {
 public:
  // `delivery` outlives it. `header.revision` is ignored in favour of the delivery's.
  //   fragment_bytes  a fragment is below it, unless it is a single event
  WatchMessages(WireHeader header, const WatchDelivery& delivery, size_t fragment_bytes);

  bool done() const { return done_; }
  std::string Next();

 private:
  // The bytes of the next events that go together.
  size_t Together() const;
  void PutHead(std::string& message) const;

  const WatchDelivery& delivery_;
  const WireHeader header_;
  const size_t fragment_bytes_;
  const size_t head_bytes_;  // of what stands before the events, at most
  std::string_view events_;  // not yet encoded
  bool done_ = false;
};

}  // namespace metastore::server
