// Byte coding shared by every on-disk and on-wire format: little-endian fixed integers, LEB128
// varints, length-prefixed byte strings.
//
// Writers append to a std::string; Reader walks a view and fails softly: after the first malformed
// item every further read gives zero or empty and ok() is false, so a decoder checks once at its
// end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace metastore {

static_assert(std::endian::native == std::endian::little,
              "formats are little-endian and written by memcpy");

inline void StoreU16(char* to, uint16_t value) { std::memcpy(to, &value, sizeof value); }
inline void StoreU32(char* to, uint32_t value) { std::memcpy(to, &value, sizeof value); }
inline void StoreU64(char* to, uint64_t value) { std::memcpy(to, &value, sizeof value); }
inline uint16_t LoadU16(const char* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline uint32_t LoadU32(const char* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline uint64_t LoadU64(const char* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void PutU8(std::string& to, uint8_t value) { to.push_back(static_cast<char>(value)); }
inline void PutU16(std::string& to, uint16_t value) {
  char bytes[sizeof value];
  StoreU16(bytes, value);
  to.append(bytes, sizeof bytes);
}
inline void PutU32(std::string& to, uint32_t value) {
  char bytes[sizeof value];
  StoreU32(bytes, value);
  to.append(bytes, sizeof bytes);
}
inline void PutU64(std::string& to, uint64_t value) {
  char bytes[sizeof value];
  StoreU64(bytes, value);
  to.append(bytes, sizeof bytes);
}

inline constexpr size_t kVarintBytesMax = 10;

// Writes `value` at `to` (room for kVarintBytesMax) and returns the end.
inline char* StoreVarint(char* to, uint64_t value) {
  while (value >= 0x80) {
    *to++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<char>(value);
  return to;
}
inline void PutVarint(std::string& to, uint64_t value) {
  char bytes[kVarintBytesMax];
  const char* end = StoreVarint(bytes, value);
  to.append(bytes, static_cast<size_t>(end - bytes));
}
inline size_t VarintBytes(uint64_t value) {
  return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7;
}
// A varint length, then the bytes.
inline void PutBytes(std::string& to, std::string_view bytes) {
  PutVarint(to, bytes.size());
  to.append(bytes);
}

// Zigzag: small negative numbers stay small.
inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
inline int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  uint8_t U8() { return Take(1) ? static_cast<uint8_t>(taken_[0]) : uint8_t{0}; }
  uint16_t U16() { return Take(2) ? LoadU16(taken_) : uint16_t{0}; }
  uint32_t U32() { return Take(4) ? LoadU32(taken_) : 0; }
  uint64_t U64() { return Take(8) ? LoadU64(taken_) : 0; }

  // Fails on a truncated varint, on more than ten bytes, and on bits beyond 64.
  uint64_t Varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = U8();
      if (!ok_) return 0;
      if (shift == 63 && byte > 1) return Fail();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return Fail();
  }
  std::string_view Bytes(size_t size) {
    return Take(size) ? std::string_view(taken_, size) : std::string_view();
  }
  std::string_view LengthPrefixed() {
    const uint64_t size = Varint();
    if (size > rest_.size()) {
      Fail();
      return {};
    }
    return Bytes(static_cast<size_t>(size));
  }

  bool ok() const { return ok_; }
  // Everything was read and nothing was malformed.
  bool done() const { return ok_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  bool Take(size_t size) {
    if (!ok_ || rest_.size() < size) {
      Fail();
      return false;
    }
    taken_ = rest_.data();
    rest_.remove_prefix(size);
    return true;
  }
  uint64_t Fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  const char* taken_ = nullptr;
  bool ok_ = true;
};

}  // namespace metastore
