// Http2Client: the client's side of one HTTP/2 connection as a pure machine, for tests: nghttp2's
// client session (written apart from ours in net/, so the two check each other's bytes). Bytes in
// by Feed, bytes out by Output.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/status.h"

struct nghttp2_session;

namespace metastore::net_test {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// One request and what came back.
struct ClientStream {
  int32_t id = 0;
  HeaderList headers;   // of the response
  HeaderList trailers;  // of the response
  std::string body;     // received; the owner may take bytes off its front
  bool ended = false;   // the server has ended its half
  bool closed = false;
  uint32_t reset_code = 0;  // of the close

  std::string unsent;       // request body
  bool end_wanted = false;  // END_STREAM after `unsent`
  bool deferred = false;

  std::optional<std::string> Find(const HeaderList& list, std::string_view name) const;
  // A header, else a trailer.
  std::optional<std::string> Find(std::string_view name) const;
};

struct Http2ClientOptions {
  uint32_t stream_window = 1 << 20;  // for what we receive, a stream
  int32_t connection_window = 1 << 20;
  bool open_windows = true;  // as data is received; else by Consume
};

class Http2Client final {
 public:
  explicit Http2Client(Http2ClientOptions options = {});
  ~Http2Client();
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  // Begins a request; `end`: nothing but `body` will be sent. The stream lives until Forget.
  ClientStream& Open(const HeaderList& headers, std::string body, bool end);
  void Send(ClientStream& stream, std::string_view bytes, bool end);
  void Cancel(ClientStream& stream, uint32_t code = 8);
  void Consume(ClientStream& stream, size_t bytes);
  void Forget(ClientStream& stream) { streams_.erase(stream.id); }
  void Ping();
  void SubmitSettings(uint16_t id, uint32_t value);
  // More streams than the server's limit are queued by nghttp2 itself.

  // False once the connection is over: the server sent what is no HTTP/2, or closed by GOAWAY.
  bool Feed(std::string_view bytes);
  // Frames what can be sent.
  std::string& Output();

  bool goaway() const { return goaway_; }
  uint32_t goaway_code() const { return goaway_code_; }
  int32_t goaway_last_stream() const { return goaway_last_stream_; }
  const std::string& goaway_text() const { return goaway_text_; }
  size_t pings_received() const { return pings_received_; }
  size_t ping_acks() const { return ping_acks_; }
  bool settings_received() const { return settings_received_; }
  size_t streams_open() const;
  // Called after every event of a stream.
  void OnChange(std::function<void(ClientStream&)> changed) { changed_ = std::move(changed); }

 private:
  struct Callbacks;

  const Http2ClientOptions options_;
  nghttp2_session* session_ = nullptr;
  std::string output_;
  std::map<int32_t, std::unique_ptr<ClientStream>> streams_;
  std::function<void(ClientStream&)> changed_;
  bool broken_ = false;
  bool goaway_ = false;
  uint32_t goaway_code_ = 0;
  int32_t goaway_last_stream_ = 0;
  std::string goaway_text_;
  size_t pings_received_ = 0;
  size_t ping_acks_ = 0;
  bool settings_received_ = false;
};

// Headers of a gRPC request for `path`.
HeaderList GrpcHeaders(std::string_view path);
// `message` with its length prefix.
std::string GrpcFrame(std::string_view message);
// The first whole message of `body`, taken off it; nothing if none is whole.
std::optional<std::string> TakeGrpcMessage(std::string& body);
// grpc-status and grpc-message of an answered stream. kUnavailable for a stream that was reset,
// with the code.
Status GrpcStatusOf(const ClientStream& stream);

}  // namespace metastore::net_test
