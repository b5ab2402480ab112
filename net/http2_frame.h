// How HTTP/2 frames are written and read (RFC 9113 sections 4.1 and 6), and the client's preface.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace metastore::net {

inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline constexpr size_t kFrameHeaderBytes = 9;

enum class FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};

inline constexpr uint8_t kFlagAck = 0x1;         // SETTINGS, PING
inline constexpr uint8_t kFlagEndStream = 0x1;   // DATA, HEADERS
inline constexpr uint8_t kFlagEndHeaders = 0x4;  // HEADERS, CONTINUATION
inline constexpr uint8_t kFlagPadded = 0x8;      // DATA, HEADERS
inline constexpr uint8_t kFlagPriority = 0x20;   // HEADERS
// RFC 9113 6.5.2: the default, which we keep, and the least that the peer may set.
inline constexpr size_t kFramePayloadMax = 16'384;

struct FrameHeader {
  size_t length = 0;  // of the payload; 24 bits
  FrameType type = FrameType::kData;
  uint8_t flags = 0;
  uint32_t stream = 0;
};

inline void AppendBigEndian32(std::string& to, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    to.push_back(static_cast<char>(value >> shift & 0xff));
}

inline uint32_t BigEndian32(std::string_view from) {
  const auto byte = [from](size_t i) { return uint32_t{static_cast<uint8_t>(from[i])}; };
  return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}

// Writes a header's kFrameHeaderBytes to `to`; returns what follows them.
inline char* WriteFrameHeader(char* to, const FrameHeader& header) {
  *to++ = static_cast<char>(header.length >> 16 & 0xff);
  *to++ = static_cast<char>(header.length >> 8 & 0xff);
  *to++ = static_cast<char>(header.length & 0xff);
  *to++ = static_cast<char>(header.type);
  *to++ = static_cast<char>(header.flags);
  for (int shift = 24; shift >= 0; shift -= 8)
    *to++ = static_cast<char>((header.stream & 0x7fffffff) >> shift & 0xff);
  return to;
}

inline void AppendFrameHeader(std::string& to, const FrameHeader& header) {
  std::array<char, kFrameHeaderBytes> bytes;
  WriteFrameHeader(bytes.data(), header);
  to.append(bytes.data(), bytes.size());
}

// Of the kFrameHeaderBytes in `bytes`.
inline FrameHeader ReadFrameHeader(std::string_view bytes) {
  const uint32_t first = BigEndian32(bytes);
  return FrameHeader{.length = first >> 8,
                     .type = static_cast<FrameType>(first & 0xff),
                     .flags = static_cast<uint8_t>(bytes[4]),
                     .stream = BigEndian32(bytes.substr(5)) & 0x7fffffff};
}

// RFC 9113 6.8.
inline void AppendGoaway(std::string& to, uint32_t last_stream, uint32_t code,
                         std::string_view text) {
  AppendFrameHeader(to, FrameHeader{.length = 8 + text.size(), .type = FrameType::kGoaway});
  AppendBigEndian32(to, last_stream & 0x7fffffff);
  AppendBigEndian32(to, code);
  to.append(text);
}

}  // namespace metastore::net
