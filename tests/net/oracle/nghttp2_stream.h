// What Nghttp2Session keeps beside nghttp2's own state: one Stream a request, and the header block
// under way.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "io/signal.h"
#include "net/fifo.h"
#include "net/http2_session.h"
#include "net/http2_streams.h"

namespace metastore::net {

struct Nghttp2Stream final : Http2Stream, io::ListLink {
  Fifo<BodyChunk> chunks;
  size_t unsent = 0;
  std::string trailer_bytes;  // name and value, one after the other
  std::vector<std::pair<size_t, size_t>> trailer_sizes;
  bool deferred = false;  // nghttp2 waits for nghttp2_session_resume_data
  bool ending = false;    // trailers are set
  bool reset = false;     // by us: no further events but OnClosed

  void Clear() {
    id = 0;
    user = nullptr;
    chunks.Clear();
    unsent = 0;
    trailer_bytes.clear();
    trailer_sizes.clear();
    deferred = ending = reset = false;
  }
};

// Of the GOAWAY that nghttp2 sends.
inline Http2Fault FaultOf(uint32_t goaway_code) {
  switch (static_cast<Http2Code>(goaway_code)) {
    case Http2Code::kNoError:
      return Http2Fault::kNone;
    case Http2Code::kFlowControlError:
      return Http2Fault::kFlowControl;
    case Http2Code::kFrameSizeError:
      return Http2Fault::kFrameSize;
    case Http2Code::kCompressionError:
      return Http2Fault::kCompression;
    case Http2Code::kEnhanceYourCalm:
      return Http2Fault::kSettingsFlood;  // nghttp2's own limit: entries of a SETTINGS
    case Http2Code::kInternalError:
      return Http2Fault::kMemory;
    case Http2Code::kProtocolError:
    case Http2Code::kSettingsTimeout:
    case Http2Code::kStreamClosed:
    case Http2Code::kRefusedStream:
    case Http2Code::kCancel:
    case Http2Code::kConnectError:
      return Http2Fault::kProtocol;
  }
  return Http2Fault::kProtocol;
}

// The header block under way; a connection has at most one.
struct HeaderBlock {
  std::string bytes;  // names and values, one after the other
  std::vector<std::pair<size_t, size_t>> sizes;
  size_t list_bytes = 0;  // by RFC 9113 6.5.2, of all that came

  void Clear() {
    bytes.clear();
    sizes.clear();
    list_bytes = 0;
  }
};

}  // namespace metastore::net
