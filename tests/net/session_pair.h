// A server session and a client joined in memory, for tests of Http2Session without sockets or
// time; and raw frames for peers that break the rules.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/http2_frame.h"
#include "net/http2_server_session.h"
#include "net/http2_session.h"
#include "tests/net/http2_client.h"
#include "tests/net/oracle/nghttp2_session.h"

namespace metastore::net_test {

// Records what a session says. Answers nothing by itself.
class RecordingListener final : public net::Http2Listener {
 public:
  struct Request {
    net::Http2Stream* stream = nullptr;  // null once closed
    HeaderList headers;
    std::string body;
    bool ended = false;
    size_t sent = 0;
    net::Http2Code close_code = net::Http2Code::kNoError;
  };

  void OnRequest(net::Http2Stream& stream, std::span<const net::Http2Header> headers,
                 bool end) override;
  void OnData(net::Http2Stream& stream, std::string_view bytes) override;
  void OnEnd(net::Http2Stream& stream) override;
  void OnSent(net::Http2Stream& stream, size_t bytes) override;
  void OnClosed(net::Http2Stream& stream, net::Http2Code code) override;

  Request& at(int32_t id) { return requests.at(id); }

  std::map<int32_t, Request> requests;
  size_t closed = 0;
  size_t open_max = 0;  // most streams at once
};

// The two that a test can be run with: ours and the oracle.
using MakeSession = std::unique_ptr<net::Http2Session> (*)(net::Http2Listener& listener,
                                                           const net::Http2Options& options,
                                                           MonoTime now);
struct Implementation {
  const char* name;
  MakeSession make;
};
inline constexpr Implementation kOurs{"Ours", net::MakeHttp2Session};
inline constexpr Implementation kOracle{"Oracle", net::MakeNghttp2Session};

class SessionPair final {
 public:
  explicit SessionPair(Implementation implementation = kOurs, net::Http2Options options = {},
                       Http2ClientOptions client_options = {});

  // Moves bytes both ways until none is left. False once the server reports a fault.
  bool Exchange();
  // Only from the client to the server, or back.
  bool ToServer();
  void ToClient();
  // Headers, one message, trailers.
  void Answer(int32_t id, std::string body);

  MonoTime now{1'000'000'000};
  RecordingListener listener;
  std::unique_ptr<net::Http2Session> server;
  Http2Client client;
};

// A server session that is fed bytes by hand.
class RawPeer final {
 public:
  explicit RawPeer(Implementation implementation = kOurs, net::Http2Options options = {},
                   bool greet = true);

  Status Feed(std::string_view bytes);
  // Feeds `frame` until the session reports a fault, at most `limit` times; how often it was fed.
  size_t FeedUntilFault(std::string_view frame, size_t limit);
  // What the session says: the code of its GOAWAY, or nothing.
  std::optional<uint32_t> GoawayCode();
  std::string GoawayText();

  MonoTime now{1'000'000'000};
  RecordingListener listener;
  std::unique_ptr<net::Http2Session> server;
};

// --- raw frames --------------------------------------------------------------
struct RawFrame {
  net::FrameType type = net::FrameType::kData;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};
inline constexpr uint8_t kEndStream = 0x1;
inline constexpr uint8_t kAck = 0x1;
inline constexpr uint8_t kEndHeaders = 0x4;

std::string Raw(net::FrameType type, uint8_t flags, uint32_t stream, std::string_view payload);
// Preface and empty SETTINGS.
std::string RawGreeting();
// A POST of content type application/grpc to `path`, HPACK without any indexing; whole in one
// frame.
std::string RawRequest(uint32_t stream, std::string_view path, bool end);
std::string RawHeaderBlock(std::string_view path);
std::string RawReset(uint32_t stream);
// The frames in `bytes`; what is no whole frame is dropped.
std::vector<RawFrame> ParseFrames(std::string_view bytes);

}  // namespace metastore::net_test
