// What Nghttp2Session keeps beside nghttp2's own state: one Stream a request, and the header block
// under way.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "io/signal.h"
#include "net/fifo.h"
#include "net/http2_session.h"

namespace metastore::net {

// Body bytes that wait for the peer's windows.
struct BodyChunk {
  std::array<char, Http2Session::kHeadBytesMax> head{};
  size_t head_bytes = 0;
  std::string body;
  size_t sent = 0;

  size_t left() const { return head_bytes + body.size() - sent; }
};

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
