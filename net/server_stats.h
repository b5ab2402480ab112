// Counters of the client ports of one core since start, and gauges. Read at scrape; written by net/
// only.
#pragma once

#include <array>
#include <cstdint>

#include "io/metrics.h"
#include "net/http2_session.h"
#include "net/rate_window.h"

namespace metastore::net {

inline constexpr Duration kCallBounds[] = {
    Microseconds(20), Microseconds(50),  Microseconds(100), Microseconds(200), Microseconds(500),
    Milliseconds(1),  Milliseconds(2),   Milliseconds(5),   Milliseconds(10),  Milliseconds(20),
    Milliseconds(50), Milliseconds(100), Milliseconds(200), Milliseconds(500), Seconds(1),
    Seconds(2),       Seconds(5),        Seconds(10)};

struct ServerStats {
  uint64_t connections_open = 0;  // gauge
  uint64_t connections_total = 0;
  uint64_t connections_refused = 0;  // over the cap
  uint64_t connections_http2 = 0;
  uint64_t connections_http1 = 0;
  uint64_t accepts_paused = 0;  // out of descriptors
  uint64_t calls_open = 0;      // gauge: gRPC calls whose handler runs
  uint64_t calls_total = 0;     // whose handler was started
  uint64_t calls_refused = 0;   // answered or reset by the transport before a handler ran
  // Of gRPC calls that were answered: from the receipt of their head until the answer is with the
  // HTTP/2 session and its writer has run; how long the client takes to receive it is not in it.
  io::Histogram call_duration{kCallBounds, io::SpanUnit::kMilliseconds};
  RateWindow calls_answered;
  RateWindow calls_failed;  // of these, with another status than OK
  uint64_t http_requests_total = 0;
  uint64_t http_errors = 0;  // answered 4xx or 5xx by the HTTP/1 transport itself
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
  uint64_t timeouts = 0;      // preface, header or send
  uint64_t bad_prefaces = 0;  // neither protocol, or one the port does not speak
  std::array<uint64_t, kHttp2FaultsCount> faults{};  // ended HTTP/2 connections, by Http2Fault
};

}  // namespace metastore::net
