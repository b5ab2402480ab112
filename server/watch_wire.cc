#include "server/watch_wire.h"

#include "server/proto_wire.h"
#include "server/watch_batch.h"

namespace metastore::server {
namespace {

using wire::HeaderBytes;
using wire::NestedBytes;
using wire::NumberBytes;
using wire::PutHeader;
using wire::PutNumber;
using wire::PutString;
using wire::StringBytes;

// WatchResponse's fields.
constexpr uint8_t kWatchId = 2;
constexpr uint8_t kCreated = 3;
constexpr uint8_t kCanceled = 4;
constexpr uint8_t kCompactRevision = 5;
constexpr uint8_t kCancelReason = 6;
constexpr uint8_t kFragment = 7;

}  // namespace

WatchMessages::WatchMessages(WireHeader header, const WatchDelivery& delivery,
                             size_t fragment_bytes)
    : delivery_(delivery),
      header_{header.cluster, header.member, delivery.revision, header.term},
      fragment_bytes_(fragment_bytes),
      head_bytes_(NestedBytes(HeaderBytes(header_)) + NumberBytes(delivery.id) +
                  3 * NumberBytes(1) + NumberBytes(delivery.compacted.value()) +
                  StringBytes(delivery.reason)),
      events_(delivery.events.view()) {}

std::string WatchMessages::Next() {
  const size_t together = Together();
  const bool last = together == events_.size();
  std::string message;
  message.reserve(head_bytes_ + together);
  PutHead(message);
  PutNumber(message, kFragment, last ? 0 : 1);
  message.append(events_.substr(0, together));
  events_.remove_prefix(together);
  done_ = last;
  return message;
}

void WatchMessages::PutHead(std::string& message) const {
  using Kind = WatchDelivery::Kind;
  const Kind kind = delivery_.kind;
  PutHeader(message, header_, HeaderBytes(header_));
  PutNumber(message, kWatchId, delivery_.id);
  PutNumber(message, kCreated, kind == Kind::kCreated || kind == Kind::kRefused ? 1 : 0);
  PutNumber(message, kCanceled, kind == Kind::kCanceled || kind == Kind::kRefused ? 1 : 0);
  PutNumber(message, kCompactRevision, delivery_.compacted.value());
  PutString(message, kCancelReason, delivery_.reason);
}

size_t WatchMessages::Together() const {
  if (!delivery_.fragment || head_bytes_ + events_.size() < fragment_bytes_) {
    return events_.size();
  }
  size_t together = 0;
  while (together < events_.size()) {
    const size_t more = FirstEventBytes(events_.substr(together));
    if (together > 0 && head_bytes_ + together + more >= fragment_bytes_) break;
    together += more;
  }
  return together;
}

}  // namespace metastore::server
