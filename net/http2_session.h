// Http2Session: the server's side of one HTTP/2 connection as a pure machine (RFC 9113): bytes and
// time in, events and bytes out. No I/O, no clock, no coroutine. Implemented by Http2ServerSession
// (net/http2_server_session.h).
//
// Owned by one connection on one core. The listener outlives it. Single-threaded and not
// re-entrant: from inside an event the Submit*, Send*, Reset and Consumed functions may be called;
// Feed, Pump and Tick may not.
//
// Use: Feed what was received; Pump; send Output() and clear what was sent; Pump again. Tick when
// next_tick() has come.
//
// Invariants
//  1. A stream's events come in the order OnRequest, OnData*, OnEnd?, OnClosed; OnClosed exactly
//     once, and after it the Http2Stream is gone. A stream that is answered whole or reset gets
//     none but OnClosed any more. Destroying the session closes the remaining streams (OnClosed
//     with CANCEL).
//  2. Output() never grows past net_limits::kOutputBytesHigh by more than one frame of data and its
//     headers: beyond, nothing is framed and the caller stops feeding (reading) until it has sent.
//     Waiting for the peer's windows never stops the reading, since window updates come that way.
//  3. The peer can send unread bytes only within the windows (and one frame); they open by
//     Consumed.
//  4. After a fault nothing more is fed: Output() holds the GOAWAY, the connection sends it and
//     closes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/base/status.h"
#include "io/base/time.h"
#include "net/net_limits.h"

namespace metastore::net {

// RFC 9113 section 7.
enum class Http2Code : uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kFlowControlError = 3,
  kSettingsTimeout = 4,
  kStreamClosed = 5,
  kFrameSizeError = 6,
  kRefusedStream = 7,
  kCancel = 8,
  kCompressionError = 9,
  kConnectError = 10,
  kEnhanceYourCalm = 11,
};

// Why a session ended a connection.
enum class Http2Fault : uint8_t {
  kNone,
  kPreface,   // not HTTP/2 after all
  kProtocol,  // any rule of RFC 9113 without an entry of its own
  kFrameSize,
  kFlowControl,
  kCompression,
  kHeaderFlood,  // CONTINUATION frames or header bytes without end
  kResetFlood,   // rapid reset (CVE-2023-44487)
  kSettingsFlood,
  kPingFlood,  // too_many_pings
  kEmptyFrameFlood,
  kBadStreamFlood,    // streams that had to be refused or reset, over and over
  kKeepaliveTimeout,  // our ping was not answered
  kMemory,
};
inline constexpr size_t kHttp2FaultsCount = 14;
std::string_view FaultName(Http2Fault fault);  // "protocol", "reset_flood", ...: label of a metric

struct Http2Header {
  std::string_view name;  // lower case
  std::string_view value;
};

// Headers that are sent over and over: an object of static storage. A session knows it by its
// address, and so may keep how it encoded it.
struct Http2FixedHeaders {
  explicit constexpr Http2FixedHeaders(std::span<const Http2Header> headers) : list(headers) {}
  Http2FixedHeaders(const Http2FixedHeaders&) = delete;
  Http2FixedHeaders& operator=(const Http2FixedHeaders&) = delete;

  const std::span<const Http2Header> list;  // of static storage too
};

// A whole answer of one message.
struct Http2Answer {
  const Http2FixedHeaders& headers;
  std::string_view head;  // of the body; at most kHeadBytesMax, copied
  std::string body;
  const Http2FixedHeaders& trailers;
};

// One request under way; made and owned by the session.
struct Http2Stream {
  int32_t id = 0;        // RFC 9113 5.1.1: odd, at most 2^31-1
  void* user = nullptr;  // the listener's
  // Equal numbers, other than 0, on one session mean equal request headers: what was read of them
  // once may serve again.
  uint64_t headers_number = 0;
};

class Http2Listener {
 public:
  virtual ~Http2Listener() = default;

  // A request's headers. The views live during the call. `end`: no DATA follows (OnEnd is still
  // called).
  virtual void OnRequest(Http2Stream& stream, std::span<const Http2Header> headers, bool end) = 0;
  // The next bytes of its body, lent during the call. To be answered by Consumed, at once or later.
  virtual void OnData(Http2Stream& stream, std::string_view bytes) = 0;
  // The client has ended its half.
  virtual void OnEnd(Http2Stream& stream) = 0;
  // `bytes` given to SendData (head and body) have gone to Output().
  virtual void OnSent(Http2Stream& stream, size_t bytes) = 0;
  // The stream is over: both halves ended (kNoError), or reset by either side with `code`.
  virtual void OnClosed(Http2Stream& stream, Http2Code code) = 0;
};

struct KeepaliveOptions {
  Duration interval =
      Seconds(7200);  // silence of the peer before we ping; etcd's --grpc-keepalive-interval
  Duration timeout = Seconds(20);  // for the answer; --grpc-keepalive-timeout
  Duration min_time = Seconds(5);  // between a client's pings; --grpc-keepalive-min-time
};

struct Http2Options {
  uint32_t streams_max = net_limits::kStreamsMax;
  KeepaliveOptions keepalive;
  uint64_t hash_seed = 0;  // not known to the peer, which could choose colliding stream ids
};

class Http2Session {
 public:
  virtual ~Http2Session() = default;

  // Takes received bytes, any cut of them, and raises events. `now` is the runtime's monotonic
  // time. Errors: kInvalidArgument    a fault of the peer: fault() says which; Pump and send what
  // is left, then close
  //         kFailedPrecondition called after a fault
  virtual Status Feed(MonoTime now, std::string_view bytes) = 0;

  static constexpr size_t kHeadersMax = 16;  // of one block that we send

  // Response headers (":status" first), at most kHeadersMax; copied. `end`: nothing follows.
  virtual void SubmitHeaders(Http2Stream& stream, std::span<const Http2Header> headers,
                             bool end) = 0;
  // Queues body bytes after SubmitHeaders(end = false): `head` (at most kHeadBytesMax, copied),
  // then `body` (kept until sent). Goes out as the peer's windows allow; OnSent tells.
  virtual void SendData(Http2Stream& stream, std::string_view head, std::string body) = 0;
  static constexpr size_t kHeadBytesMax = 8;
  // SubmitHeaders, SendData and SubmitTrailers in one, of a stream that has nothing of them yet.
  // Framed at once where the windows and Output() allow. Returns the body bytes, `head` included,
  // that are still queued: those OnSent will tell of; the others have gone, or their stream has.
  virtual size_t Respond(Http2Stream& stream, Http2Answer answer) = 0;
  // Ends the response after the queued data; at most kHeadersMax, copied.
  virtual void SubmitTrailers(Http2Stream& stream, std::span<const Http2Header> trailers) = 0;
  // Ends the stream in both directions; queued data is dropped. OnClosed follows from a later Pump,
  // as it does when an answer is complete.
  virtual void Reset(Http2Stream& stream, Http2Code code) = 0;
  // `bytes` of OnData are dealt with: the stream's window opens by as many. (The connection's opens
  // as bytes are fed.)
  virtual void Consumed(Http2Stream& stream, size_t bytes) = 0;

  // Frames what is queued into Output(), as windows and invariant 2 allow.
  virtual void Pump(MonoTime now) = 0;
  // Framed bytes for the peer, appended at the end; the caller may swap or clear it between calls.
  virtual std::string& Output() = 0;
  // Something could be framed, if Output() were empty, or closed.
  virtual bool wants_pump() const = 0;

  // Graceful end: announces GOAWAY, lets calls under way finish, and calls that crossed it on the
  // wire; finished() then.
  virtual void Shutdown() = 0;
  // Nothing is left to receive or to frame: close once Output() is sent.
  virtual bool finished() const = 0;

  // Keepalive: pings a silent peer. kUnavailable: it did not answer in time (fault
  // kKeepaliveTimeout).
  virtual Status Tick(MonoTime now) = 0;
  virtual MonoTime next_tick() const = 0;

  virtual Http2Fault fault() const = 0;
  // The peer's first SETTINGS has come: it does speak HTTP/2.
  virtual bool settings_received() const = 0;
  virtual size_t streams_open() const = 0;
};

}  // namespace metastore::net
