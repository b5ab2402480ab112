// The one checksum of every format: xxh3, 64 bits, always with a seed that names where the bytes
// belong, so that bytes found in another place fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace metastore {

uint64_t Hash64(std::string_view bytes, uint64_t seed);

// Hash64 of bytes that come in pieces.
class Hash64Stream final {
 public:
  Hash64Stream() { Begin(0); }
  // Forgets what was added.
  void Begin(uint64_t seed);
  void Add(std::string_view bytes);
  // Of all that was added since Begin.
  uint64_t Value() const;

 private:
  alignas(64) std::byte state_[576];  // the library's, which stays out of this header
};

// Mixes two words into a seed (not a checksum of bytes).
constexpr uint64_t MixSeed(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15ULL ^ (b + 0xbf58476d1ce4e5b9ULL + (a << 6) + (a >> 2));
  x ^= x >> 31;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 29;
  return x;
}

}  // namespace metastore
