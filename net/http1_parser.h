// Http1Parser: HTTP/1.0 and 1.1 requests out of any cut of a byte stream (RFC 9112). Pure and
// incremental.
//
// Strict where leniency would let two parsers disagree (request smuggling): a request with both
// Content-Length and Transfer-Encoding, with unequal Content-Lengths, with folded lines, with a
// space before the colon or with control characters is malformed. Lines may end in LF alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/http1.h"

namespace metastore::net {

class Http1Parser final {
 public:
  enum class State : uint8_t {
    kNeedMore,
    kComplete,  // request() is whole; Next() before the next Take
    kFailed,    // answer with error_status() and close: what follows cannot be told apart
  };

  explicit Http1Parser(size_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}

  // Takes bytes off the front of `bytes`, none beyond the end of the request.
  State Take(std::string_view& bytes);

  HttpRequest& request() { return request_; }
  // 400 malformed, 413 body too large, 431 headers too large, 501 unknown transfer coding, 505
  // version.
  int error_status() const { return error_status_; }
  // Nothing of a request has arrived.
  bool idle() const { return phase_ == Phase::kRequestLine && header_bytes_ == 0; }
  // The client waits for "100 Continue" before it sends the body.
  bool awaits_continue() const;
  void Next();

 private:
  enum class Phase : uint8_t {
    kRequestLine,
    kHeaders,
    kBody,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailers,
    kComplete,
    kFailed
  };

  bool TakeLine(std::string_view& bytes);
  void TakeBody(std::string_view& bytes);
  void LineDone(std::string_view line);
  void RequestLine(std::string_view line);
  void HeaderLine(std::string_view line);
  void HeadersDone();
  void ChunkSizeLine(std::string_view line);
  void Fail(int status);

  const size_t body_bytes_max_;
  Phase phase_ = Phase::kRequestLine;
  int error_status_ = 0;
  std::string line_;         // the line under way
  size_t header_bytes_ = 0;  // of request line, headers and trailers
  size_t body_left_ = 0;     // of the body, or of the chunk under way
  HttpRequest request_;
};

}  // namespace metastore::net
