#include "net/grpc_codec.h"

#include <algorithm>

#include "io/base/check.h"
#include "net/net_limits.h"

namespace metastore::net {
namespace {

constexpr std::string_view kHexDigits = "0123456789ABCDEF";
constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr size_t kTimeoutDigitsMax = 8;
// Memory is given to a message as its bytes arrive, so that an announced length alone costs
// nothing.
constexpr size_t kMessageReserveMax = 64 * limits::kKiB;

// Nanoseconds of a grpc-timeout unit; 0 for an unknown one.
int64_t UnitNanoseconds(char unit) {
  switch (unit) {
    case 'H':
      return 3600 * 1'000'000'000LL;
    case 'M':
      return 60 * 1'000'000'000LL;
    case 'S':
      return 1'000'000'000LL;
    case 'm':
      return 1'000'000LL;
    case 'u':
      return 1000LL;
    case 'n':
      return 1LL;
    default:
      return 0;
  }
}

Status BadTimeout(std::string_view why, std::string_view text) {
  return InternalError("malformed grpc-timeout: transport: timeout ", why, ": \"", text, "\"");
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Digit values by character, 255 for the others.
constexpr std::array<uint8_t, 256> MakeBase64Values() {
  std::array<uint8_t, 256> values{};
  values.fill(255);
  for (size_t i = 0; i < kBase64Digits.size(); ++i) {
    values[static_cast<uint8_t>(kBase64Digits[i])] = static_cast<uint8_t>(i);
  }
  return values;
}
constexpr std::array<uint8_t, 256> kBase64Values = MakeBase64Values();

}  // namespace

StatusOr<MethodPath> SplitMethodPath(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (path.empty() || path.front() != '/' || slash == 0) {
    return UnimplementedError("malformed method name: \"", path, "\"");
  }
  return MethodPath{.service = path.substr(1, slash - 1), .method = path.substr(slash + 1)};
}

StatusOr<Duration> ParseTimeout(std::string_view text) {
  if (text.size() < 2) return BadTimeout("string is too short", text);
  if (text.size() > kTimeoutDigitsMax + 1) return BadTimeout("string is too long", text);
  const int64_t unit = UnitNanoseconds(text.back());
  if (unit == 0) return BadTimeout("unit is not recognized", text);
  int64_t amount = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return BadTimeout("is not a number", text);
    amount = amount * 10 + (c - '0');
  }
  if (amount > kTimeoutMax.ns / unit) return kTimeoutMax;
  return Nanoseconds(amount * unit);
}

void AppendPercentEncoded(std::string& to, std::string_view message) {
  const size_t end = to.size() + net_limits::kStatusMessageBytesMax;
  for (const char c : message) {
    const auto byte = static_cast<uint8_t>(c);
    const bool plain = byte >= 0x20 && byte <= 0x7e && c != '%';
    if (to.size() + (plain ? 1 : 3) > end) return;
    if (plain) {
      to.push_back(c);
      continue;
    }
    to.push_back('%');
    to.push_back(kHexDigits[byte >> 4]);
    to.push_back(kHexDigits[byte & 0xf]);
  }
}

std::string PercentDecoded(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = high >= 0 ? HexValue(text[i + 2]) : -1;
    if (low < 0) {
      decoded.push_back(text[i]);
      continue;
    }
    decoded.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return decoded;
}

StatusOr<std::string> DecodeBase64(std::string_view text) {
  if (text.size() % 4 == 0) {
    for (int padding = 0; padding < 2 && !text.empty() && text.back() == '='; ++padding)
      text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return InvalidArgumentError("base64 of an impossible length");
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  unsigned bits_count = 0;
  for (const char c : text) {
    const uint8_t value = kBase64Values[static_cast<uint8_t>(c)];
    if (value == 255) return InvalidArgumentError("a character outside the base64 alphabet");
    bits = (bits << 6 | value) & 0xffff;
    bits_count += 6;
    if (bits_count < 8) continue;
    bits_count -= 8;
    bytes.push_back(static_cast<char>(bits >> bits_count & 0xff));
  }
  return bytes;
}

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 4 / 3 + 2);
  uint32_t bits = 0;
  unsigned bits_count = 0;
  for (const char c : bytes) {
    bits = (bits << 8 | static_cast<uint8_t>(c)) & 0xffff;
    bits_count += 8;
    while (bits_count >= 6) {
      bits_count -= 6;
      text.push_back(kBase64Digits[bits >> bits_count & 0x3f]);
    }
  }
  if (bits_count > 0) text.push_back(kBase64Digits[bits << (6 - bits_count) & 0x3f]);
  return text;
}

std::array<char, kMessagePrefixBytes> MessagePrefix(size_t bytes) {
  CHECK_LE(bytes, size_t{UINT32_MAX});
  return {0, static_cast<char>(bytes >> 24 & 0xff), static_cast<char>(bytes >> 16 & 0xff),
          static_cast<char>(bytes >> 8 & 0xff), static_cast<char>(bytes & 0xff)};
}

Status MessageAssembler::ParsePrefix(size_t message_bytes_max) {
  if (prefix_[0] == 1)
    return InternalError("grpc: compressed flag set with identity or empty encoding");
  if (prefix_[0] != 0) {
    return InternalError("grpc: received unexpected payload format ",
                         int{static_cast<uint8_t>(prefix_[0])});
  }
  size_t bytes = 0;
  for (size_t i = 1; i < kMessagePrefixBytes; ++i)
    bytes = bytes << 8 | static_cast<uint8_t>(prefix_[i]);
  if (bytes > message_bytes_max) {
    return ResourceExhaustedError("grpc: received message larger than max (", bytes, " vs. ",
                                  message_bytes_max, ")");
  }
  message_bytes_ = bytes;
  message_.clear();
  message_.reserve(std::min(bytes, kMessageReserveMax));
  return OkStatus();
}

Status MessageAssembler::Take(std::string_view& bytes, size_t message_bytes_max) {
  CHECK(!complete());
  if (prefix_bytes_ < kMessagePrefixBytes) {
    const size_t taken = std::min(bytes.size(), kMessagePrefixBytes - prefix_bytes_);
    std::copy_n(bytes.begin(), taken, prefix_.begin() + prefix_bytes_);
    prefix_bytes_ += taken;
    bytes.remove_prefix(taken);
    if (prefix_bytes_ < kMessagePrefixBytes) return OkStatus();
    MS_RETURN_IF_ERROR(ParsePrefix(message_bytes_max));
  }
  const size_t taken = std::min(bytes.size(), message_bytes_ - message_.size());
  message_.append(bytes.substr(0, taken));
  bytes.remove_prefix(taken);
  return OkStatus();
}

}  // namespace metastore::net
