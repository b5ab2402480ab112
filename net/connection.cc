#include "net/connection.h"

#include <cctype>
#include <utility>

#include "net/close_timer.h"
#include "net/http2_frame.h"

namespace metastore::net {
namespace {

constexpr size_t kSniffBytes = 3;

// The first bytes, enough to tell the protocol; fewer if the connection ended before.
io::Task<std::string> ReceiveFirst(ConnectionHost& host, ByteStream& stream) {
  std::string first;
  CloseTimer timeout(host.runtime, stream);
  timeout.Set(host.options.preface_timeout);
  while (SniffProtocol(first) == Protocol::kUndecided) {
    StatusOr<io::ReceivedBytes> received = co_await stream.Receive();
    if (!received.ok() || received->end_of_stream()) break;
    first.append(received->view());
  }
  if (timeout.expired()) ++host.stats.timeouts;
  host.stats.received_bytes += first.size();
  co_return first;
}

}  // namespace

Protocol SniffProtocol(std::string_view first) {
  const std::string_view start = first.substr(0, kSniffBytes);
  // Methods are tokens (RFC 9110, 5.6.2), and every one in use begins with a letter: what does not
  // (zeros, a TLS hello) is refused at once.
  const bool letter = first.empty() || std::isalpha(static_cast<unsigned char>(first[0])) != 0;
  if (!letter) return Protocol::kNeither;
  if (!kHttp2Preface.starts_with(start)) return Protocol::kHttp1;
  return start.size() == kSniffBytes ? Protocol::kHttp2 : Protocol::kUndecided;
}

io::Task<void> ServeConnection(ConnectionHost& host, ByteStream& stream, PortUse use) {
  CloseOnStop close_on_stop(stream, host.stopped);
  std::string first = co_await ReceiveFirst(host, stream);
  const Protocol protocol = SniffProtocol(first);
  if (protocol == Protocol::kHttp2 && use != PortUse::kHttpOnly) {
    ++host.stats.connections_http2;
    co_await ServeHttp2(host, stream, std::move(first));
  } else if (protocol == Protocol::kHttp1 && use != PortUse::kGrpcOnly) {
    ++host.stats.connections_http1;
    co_await ServeHttp1(host, stream, std::move(first));
  } else if (!first.empty()) {
    ++host.stats.bad_prefaces;
  }
  stream.Close();
}

}  // namespace metastore::net
