// What of the client ports can be configured. Limits that nobody needs to change are in
// net/net_limits.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "io/base/limits.h"
#include "io/base/time.h"
#include "net/http2_session.h"
#include "net/net_limits.h"

namespace metastore::net {

struct ServerOptions {
  size_t connections_max = limits::kConnectionsMax;  // on this core
  uint32_t streams_max =
      net_limits::kStreamsMax;  // concurrent calls a connection; etcd's --max-concurrent-streams
  // One gRPC request; etcd's --max-request-bytes and its slack.
  size_t message_bytes_max = limits::kRequestBytesDefault + 512 * limits::kKiB;
  size_t http_body_bytes_max = limits::kRequestBytesDefault + 512 * limits::kKiB;
  Duration preface_timeout = Seconds(10);  // for the first bytes, and for HTTP/2's first SETTINGS
  Duration http_header_timeout =
      Seconds(300);                     // for one HTTP/1 request to arrive, and idle between two
  Duration send_timeout = Seconds(60);  // for one send to complete: the peer does not read
  KeepaliveOptions keepalive;
  size_t held_request_bytes_max =
      256 * limits::kMiB;  // unfinished and unread gRPC requests, all connections together
  size_t held_reply_bytes_max =
      512 * limits::kMiB;  // unsent gRPC replies, all connections together

  // Every problem, one line each; empty if there is none.
  std::vector<std::string> Validate() const;
};

// Which protocols a port speaks: etcd splits them where --listen-client-http-urls is set.
enum class PortUse : uint8_t { kGrpcAndHttp, kGrpcOnly, kHttpOnly };

}  // namespace metastore::net
