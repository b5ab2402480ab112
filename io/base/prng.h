// A small seeded generator (xoshiro256**, seeded by splitmix64; Blackman and Vigna 2018).
// Deterministic across machines and compilers, unlike the distributions of <random>. Not for
// secrets.
#pragma once

#include <cstdint>

#include "io/base/check.h"

namespace metastore {

class Prng {
 public:
  explicit Prng(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15ULL;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
      word = z ^ (z >> 31);
    }
  }

  uint64_t Next() {
    const uint64_t result = Rotate(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = Rotate(state_[3], 45);
    return result;
  }

  // Uniform in [0, bound); bound at least 1. The modulo's bias is below 2^-32 for the bounds used
  // here.
  uint64_t Below(uint64_t bound) {
    CHECK_GT(bound, 0u);
    return Next() % bound;
  }
  // Uniform in [low, high], both included.
  uint64_t Between(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }
  // True `numerator` times in `denominator`.
  bool Chance(uint64_t numerator, uint64_t denominator) { return Below(denominator) < numerator; }
  // A new generator whose stream is independent of this one's further numbers.
  Prng Fork() { return Prng(Next()); }

 private:
  static uint64_t Rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

  uint64_t state_[4] = {};
};

}  // namespace metastore
