// Http2Streams: the streams of one server session, found by id, and the objects that are free for
// the next ones. Pure; owned by one session.
//
// The table is addressed by a seeded hash. The id itself would do for streams that end in about the
// order in which they began; but those that stay (watches) then form a run, which every later
// stream whose place is within it has to pass, and a client could choose ids of one place.
//
// A stream is in the table while its protocol state is open or half-closed. Taken out of it
// (Close), it is gone for the peer, and waits for its OnClosed; Free ends it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/base/hash.h"
#include "io/signal.h"
#include "net/fifo.h"
#include "net/http2_header_rules.h"
#include "net/http2_session.h"
#include "net/http2_window.h"

namespace metastore::net {

// Body bytes that wait for the peer's windows.
struct BodyChunk {
  std::array<char, Http2Session::kHeadBytesMax> head{};
  size_t head_bytes = 0;
  std::string body;
  size_t sent = 0;

  size_t left() const { return head_bytes + body.size() - sent; }
  // The next bytes, at most `most` and of head or body only, counted as sent.
  std::string_view Take(size_t most) {
    const std::string_view part = sent < head_bytes
                                      ? std::string_view(head.data(), head_bytes).substr(sent)
                                      : std::string_view(body).substr(sent - head_bytes);
    const std::string_view taken = part.substr(0, most);
    sent += taken.size();
    return taken;
  }
};

// What of an answer has not been framed.
struct QueuedAnswer {
  bool headers_wait = false;
  bool ends_with_headers = false;
  bool trailers_wait = false;
  // Either fixed lists, encoded when they are framed, or blocks of literals.
  const Http2FixedHeaders* fixed_headers = nullptr;
  const Http2FixedHeaders* fixed_trailers = nullptr;
  std::string headers;
  std::string trailers;
  Fifo<BodyChunk> chunks;
  size_t unsent = 0;  // bytes of the chunks
};

struct ServerStream final : Http2Stream, io::ListLink {
  SendWindow send_window{0};
  ReceiveWindow receive_window{0};
  RequestFacts facts;
  int64_t received = 0;  // bytes of the body
  bool remote_ended = false;
  bool answering = false;  // headers have been submitted
  bool ending = false;     // and trailers
  bool gone = false;       // closed for the peer; nothing but OnClosed follows
  bool reset_due = false;  // a RST_STREAM with close_code has to go first
  Http2Code close_code = Http2Code::kNoError;
  std::unique_ptr<QueuedAnswer> queue;  // null until something had to wait

  bool has_unsent() const { return queue != nullptr && queue->unsent > 0; }
  QueuedAnswer& Queue();
};

class Http2Streams final {
 public:
  // `seed` is not known to the peer.
  explicit Http2Streams(uint64_t seed) : seed_(seed) {}
  ~Http2Streams();  // CHECKs that all streams were freed
  Http2Streams(const Http2Streams&) = delete;
  Http2Streams& operator=(const Http2Streams&) = delete;

  // A new stream, as a constructor would leave it but for what it holds for reuse.
  ServerStream& Open(int32_t id);
  // Null: no such stream, or gone.
  ServerStream* Find(int32_t id);
  void Close(ServerStream& stream);
  // After Close; `stream` is invalid.
  void Free(ServerStream& stream);

  size_t size() const { return count_; }  // of those that are not gone
  // Those that are not gone, in no order.
  std::vector<ServerStream*> All() const;
  // Slots that a search for `id` looks at; at least one stream is there.
  size_t SearchLength(int32_t id) const;

 private:
  size_t Home(int32_t id) const {
    return MixSeed(seed_, static_cast<uint64_t>(id)) & (slots_.size() - 1);
  }
  void Insert(ServerStream& stream);
  void Grow();

  const uint64_t seed_;
  std::vector<ServerStream*> slots_;  // a power of two, at most half full; linear probing
  size_t count_ = 0;
  size_t made_ = 0;               // objects not in free_
  ServerStream* last_ = nullptr;  // found or opened last: DATA follows HEADERS
  std::vector<ServerStream*> free_;
};

}  // namespace metastore::net
