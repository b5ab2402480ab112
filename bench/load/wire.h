// The bytes the load generator writes and reads: HTTP/2 frame headers (RFC 9113), protobuf varints
// and fields. Only what its few requests and answers need; the product has its own and shares
// nothing with this, so that a mistake cannot hide on both sides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace metastore::bench {

// RFC 9113, section 6.
enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
inline constexpr uint8_t kFlagEndStream = 0x1;
inline constexpr uint8_t kFlagAck = 0x1;
inline constexpr uint8_t kFlagEndHeaders = 0x4;
inline constexpr uint8_t kFlagPadded = 0x8;
inline constexpr uint8_t kFlagPriority = 0x20;
inline constexpr size_t kFrameHeaderBytes = 9;
inline constexpr size_t kGrpcPrefixBytes = 5;
inline constexpr size_t kMaxFrameBytes = 16384;
inline constexpr int64_t kDefaultWindowBytes = 65535;
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct FrameHeader {
  uint32_t length = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream_id = 0;
};

inline uint32_t Load32(const uint8_t* from) {
  return static_cast<uint32_t>(from[0]) << 24 | static_cast<uint32_t>(from[1]) << 16 |
         static_cast<uint32_t>(from[2]) << 8 | static_cast<uint32_t>(from[3]);
}

inline void Store32(char* to, uint32_t value) {
  to[0] = static_cast<char>(value >> 24);
  to[1] = static_cast<char>(value >> 16 & 0xff);
  to[2] = static_cast<char>(value >> 8 & 0xff);
  to[3] = static_cast<char>(value & 0xff);
}

// `from` holds at least kFrameHeaderBytes.
inline FrameHeader LoadFrameHeader(const uint8_t* from) {
  FrameHeader frame;
  frame.length = Load32(from) >> 8;
  frame.type = from[3];
  frame.flags = from[4];
  frame.stream_id = Load32(from + 5) & 0x7fffffffU;
  return frame;
}

inline void AppendFrameHeader(std::string* to, const FrameHeader& frame) {
  char bytes[kFrameHeaderBytes];
  Store32(bytes, frame.length << 8);
  bytes[3] = static_cast<char>(frame.type);
  bytes[4] = static_cast<char>(frame.flags);
  Store32(bytes + 5, frame.stream_id);
  to->append(bytes, sizeof bytes);
}

inline void AppendUint32(std::string* to, uint32_t value) {
  char bytes[4];
  Store32(bytes, value);
  to->append(bytes, sizeof bytes);
}

inline void AppendVarint(std::string* to, uint64_t value) {
  while (value >= 0x80) {
    to->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  to->push_back(static_cast<char>(value));
}

inline void AppendBytesField(std::string* to, uint32_t field, std::string_view bytes) {
  AppendVarint(to, uint64_t{field} << 3 | 2);
  AppendVarint(to, bytes.size());
  to->append(bytes);
}

// A gRPC message: no compression, length, bytes.
inline std::string GrpcMessage(std::string_view message) {
  std::string out(1, '\0');
  AppendUint32(&out, static_cast<uint32_t>(message.size()));
  out.append(message);
  return out;
}

// Reads the fields of one protobuf message in order. After Next() gave true, field() and either
// number() or bytes() hold. ok() is false once the message was found malformed.
class FieldReader final {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  bool Next() {
    if (rest_.empty() || !ok_) return false;
    const uint64_t tag = Varint();
    field_ = static_cast<uint32_t>(tag >> 3);
    number_ = 0;
    bytes_ = {};
    switch (tag & 7) {
      case 0:
        number_ = Varint();
        break;
      case 1:
        bytes_ = Take(8);
        break;
      case 2:
        bytes_ = Take(Varint());
        break;
      case 5:
        bytes_ = Take(4);
        break;
      default:
        ok_ = false;
    }
    return ok_;
  }

  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  int64_t number() const { return static_cast<int64_t>(number_); }
  std::string_view bytes() const { return bytes_; }

 private:
  uint64_t Varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }

  std::string_view Take(uint64_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, static_cast<size_t>(size));
    rest_.remove_prefix(static_cast<size_t>(size));
    return taken;
  }

  std::string_view rest_;
  std::string_view bytes_;
  uint64_t number_ = 0;
  uint32_t field_ = 0;
  bool ok_ = true;
};

}  // namespace metastore::bench
