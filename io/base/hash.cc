#include "io/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace metastore {

namespace {

// The state is plain memory to the library, too: its own allocator makes it of malloc's bytes.
XXH3_state_t* StateOf(std::byte* bytes) { return reinterpret_cast<XXH3_state_t*>(bytes); }
const XXH3_state_t* StateOf(const std::byte* bytes) {
  return reinterpret_cast<const XXH3_state_t*>(bytes);
}

}  // namespace

uint64_t Hash64(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

void Hash64Stream::Begin(uint64_t seed) {
  static_assert(sizeof state_ == sizeof(XXH3_state_t));
  static_assert(alignof(Hash64Stream) >= alignof(XXH3_state_t));
  XXH3_INITSTATE(StateOf(state_));
  XXH3_64bits_reset_withSeed(StateOf(state_), seed);
}

void Hash64Stream::Add(std::string_view bytes) {
  XXH3_64bits_update(StateOf(state_), bytes.data(), bytes.size());
}

uint64_t Hash64Stream::Value() const { return XXH3_64bits_digest(StateOf(state_)); }

}  // namespace metastore
