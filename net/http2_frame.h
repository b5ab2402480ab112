// The few HTTP/2 frames we write ourselves (RFC 9113 section 4.1), and the client's preface.
#pragma once

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

inline void AppendFrameHeader(std::string& to, const FrameHeader& header) {
  to.push_back(static_cast<char>(header.length >> 16 & 0xff));
  to.push_back(static_cast<char>(header.length >> 8 & 0xff));
  to.push_back(static_cast<char>(header.length & 0xff));
  to.push_back(static_cast<char>(header.type));
  to.push_back(static_cast<char>(header.flags));
  AppendBigEndian32(to, header.stream & 0x7fffffff);
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
