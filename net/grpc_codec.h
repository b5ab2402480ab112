// The byte formats of gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md) as pure
// functions: method paths, timeouts, percent-encoded status messages, binary metadata, and
// length-prefixed messages.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/status.h"
#include "io/base/time.h"

namespace metastore::net {

struct MethodPath {
  std::string_view service;  // package.Service
  std::string_view method;
};

// Splits "/package.Service/Method" at its last slash; the views are of `path`.
// Errors: kUnimplemented  "malformed method name: ..."
StatusOr<MethodPath> SplitMethodPath(std::string_view path);

// grpc-timeout: 1 to 8 digits and a unit of H M S m u n. Far deadlines are cut to kTimeoutMax.
// Errors: kInternal  "malformed grpc-timeout: ..." as grpc-go
StatusOr<Duration> ParseTimeout(std::string_view text);
inline constexpr Duration kTimeoutMax =
    Seconds(100'000'000);  // about three years: sums with Now() cannot overflow

// Appends `message` as grpc-message carries it: bytes outside 0x20..0x7e, and '%', become %XX. At
// most net_limits::kStatusMessageBytesMax are appended, never half an escape.
void AppendPercentEncoded(std::string& to, std::string_view message);
// The reverse; a malformed escape stays as it is.
std::string PercentDecoded(std::string_view text);

// Base64 of "-bin" metadata: standard alphabet; padding is optional when decoding and absent when
// encoding. Errors: kInvalidArgument  a character outside the alphabet or an impossible length
StatusOr<std::string> DecodeBase64(std::string_view text);
std::string EncodeBase64(std::string_view bytes);

inline constexpr size_t kMessagePrefixBytes = 5;
// The prefix of an uncompressed message of `bytes` bytes (at most 2^32-1).
std::array<char, kMessagePrefixBytes> MessagePrefix(size_t bytes);

// Cuts a stream of bytes into messages. Feed it any cut of the bytes; one message at a time.
class MessageAssembler final {
 public:
  void Reset() {
    prefix_bytes_ = 0;
    message_bytes_ = 0;
    message_.clear();
  }
  // Takes bytes from the front of `bytes` until a message is complete or nothing is left.
  // Errors: kInternal           the compressed flag is set, or is neither 0 nor 1
  //         kResourceExhausted  "grpc: received message larger than max (N vs. M)", where M is
  //                             `message_bytes_max`
  Status Take(std::string_view& bytes, size_t message_bytes_max);

  // A whole message is there: take it from message(), then Next().
  bool complete() const {
    return prefix_bytes_ == kMessagePrefixBytes && message_.size() == message_bytes_;
  }
  // Nothing of a message has arrived.
  bool empty() const { return prefix_bytes_ == 0; }
  std::string& message() { return message_; }
  // Bytes of the message under way, gathered so far.
  size_t gathered() const { return message_.size(); }
  // Forgets the complete message; the memory of message() is kept if it was not moved out.
  void Next() { Reset(); }

 private:
  Status ParsePrefix(size_t message_bytes_max);

  std::array<char, kMessagePrefixBytes> prefix_{};
  size_t prefix_bytes_ = 0;
  size_t message_bytes_ = 0;
  std::string message_;
};

}  // namespace metastore::net
