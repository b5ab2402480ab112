// What the load generator asks for: its keys and values, its options, and the answers it
// understands.
//
// Keys are distinct and look random: "k/", the 16 hex digits of a bijective mix of (seed, index),
// then filler. A value carries in its first 24 characters the value id (16 hex digits, unique in a
// run) and the key's index (8 hex digits), so that a read tells which write it saw and whether it
// belongs to this key.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "bench/load/wire.h"

namespace metastore::bench {

enum class Op : uint8_t { kPut = 0, kRange = 1 };
inline constexpr size_t kOps = 2;

inline constexpr uint32_t kKeyBytesMin = 18;
inline constexpr uint32_t kKeyBytesMax = 4096;
inline constexpr uint32_t kValueBytesMin = 24;
inline constexpr uint32_t kValueBytesMax = 512 * 1024;
inline constexpr uint32_t kKeysMax = 50'000'000;

// The shape of the key space. A file of acknowledged writes carries it, so that they can be read
// back.
struct KeySpace {
  uint64_t seed = 1;
  uint32_t keys = 100'000;
  uint32_t key_bytes = 32;
  uint32_t value_bytes = 256;
};

// One request in flight.
struct Request {
  uint64_t start_ns = 0;
  uint64_t value_id = 0;  // puts only
  int64_t floor =
      0;  // the answer's revision (Range: of the key) must be above (Range: at least) this
  uint32_t key = 0;  // index in the key space
  Op op = Op::kPut;
};

// What the answer's message said.
struct Answer {
  bool parsed = false;
  int64_t revision = 0;      // of the response header
  int64_t count = 0;         // Range: keys found
  int64_t mod_revision = 0;  // Range: of the first key
  uint64_t value_id = 0;     // Range: out of the value; 0 when the value is not one of ours
  uint32_t value_key = 0;    // Range: key index out of the value
  uint32_t value_bytes = 0;  // Range: size of the value
};

inline uint64_t Mix64(
    uint64_t value) {  // splitmix64's finaliser: a bijection, so distinct stays distinct
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

// A small generator for the order of keys (xorshift64*).
class Random final {
 public:
  explicit Random(uint64_t seed) : state_(Mix64(seed) | 1) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dU;
  }
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>((Next() >> 32) * limit >> 32); }

 private:
  uint64_t state_;
};

inline void StoreHex(char* to, uint64_t value, unsigned digits) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (unsigned i = digits; i > 0; i--) {
    to[i - 1] = kDigits[value & 15];
    value >>= 4;
  }
}

// The value of `digits`; false when it holds something else than hex digits.
inline bool LoadHex(std::string_view digits, uint64_t* value) {
  *value = 0;
  for (const char digit : digits) {
    const bool decimal = digit >= '0' && digit <= '9';
    if (!decimal && (digit < 'a' || digit > 'f')) return false;
    *value = *value << 4 | static_cast<uint64_t>(decimal ? digit - '0' : digit - 'a' + 10);
  }
  return true;
}

// All keys, one after the other in one block, and the message bodies to send.
class Workload final {
 public:
  explicit Workload(const KeySpace& space) : space_(space) {
    keys_.assign(size_t{space.keys} * space.key_bytes, 'x');
    for (uint32_t i = 0; i < space.keys; i++) {
      char* key = keys_.data() + size_t{i} * space.key_bytes;
      key[0] = 'k';
      key[1] = '/';
      StoreHex(key + 2, Mix64(Mix64(space.seed) + i), 16);
    }
    Random random(space.seed);
    filler_.resize(space.value_bytes);
    for (char& byte : filler_) byte = static_cast<char>('!' + random.Below(94));
  }

  const KeySpace& space() const { return space_; }
  std::string_view Key(uint32_t index) const {
    return {keys_.data() + size_t{index} * space_.key_bytes, space_.key_bytes};
  }

  // The body of `op` as a gRPC message with key 0; Patch() gives it its key and value.
  std::string Body(Op op) const {
    std::string message;
    AppendBytesField(&message, 1, Key(0));
    if (op == Op::kPut) AppendBytesField(&message, 2, filler_);
    return GrpcMessage(message);
  }

  // Writes the request's key and value head into `body`, made by Body(request.op).
  void Patch(const Request& request, char* body) const {
    const size_t key_at = kGrpcPrefixBytes + 1 + (space_.key_bytes < 128 ? 1 : 2);
    std::memcpy(body + key_at, Key(request.key).data(), space_.key_bytes);
    if (request.op != Op::kPut) return;
    char* value = body + key_at + space_.key_bytes + 1 + VarintBytes(space_.value_bytes);
    StoreHex(value, request.value_id, 16);
    StoreHex(value + 16, request.key, 8);
  }

  // Reads the message of an answer to `request`.
  Answer Parse(const Request& request, std::string_view message) const {
    Answer answer;
    FieldReader fields(message);
    while (fields.Next()) {
      if (fields.field() == 1) answer.revision = RevisionOf(fields.bytes());
      if (request.op != Op::kRange) continue;
      if (fields.field() == 4) answer.count = fields.number();
      if (fields.field() == 2 && answer.mod_revision == 0)
        ParseKeyValue(request, fields.bytes(), &answer);
    }
    answer.parsed = fields.ok() && answer.revision > 0;
    return answer;
  }

 private:
  static size_t VarintBytes(uint64_t value) {
    size_t bytes = 1;
    while ((value >>= 7) != 0) bytes++;
    return bytes;
  }

  static int64_t RevisionOf(std::string_view header) {
    FieldReader fields(header);
    while (fields.Next()) {
      if (fields.field() == 3) return fields.number();
    }
    return 0;
  }

  void ParseKeyValue(const Request& request, std::string_view message, Answer* answer) const {
    FieldReader fields(message);
    std::string_view key;
    std::string_view value;
    while (fields.Next()) {
      if (fields.field() == 1) key = fields.bytes();
      if (fields.field() == 3) answer->mod_revision = fields.number();
      if (fields.field() == 5) value = fields.bytes();
    }
    answer->value_bytes = static_cast<uint32_t>(value.size());
    uint64_t value_key = 0;
    if (key != Key(request.key) || value.size() != filler_.size()) return;
    if (!LoadHex(value.substr(0, 16), &answer->value_id)) answer->value_id = 0;
    if (!LoadHex(value.substr(16, 8), &value_key)) answer->value_id = 0;
    if (value.substr(kValueBytesMin) != std::string_view(filler_).substr(kValueBytesMin)) {
      answer->value_id = 0;
    }
    answer->value_key = static_cast<uint32_t>(value_key);
  }

  const KeySpace space_;
  std::string keys_;
  std::string filler_;
};

}  // namespace metastore::bench
