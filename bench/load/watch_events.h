// What watch answers say (etcdserverpb.WatchResponse, mvccpb.Event), as far as the generators check
// it.
//
// The watchers of one prefix get the very same event bytes: an event is parsed once, and later ones
// with the same bytes get the same answer at the price of a memcmp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/wire.h"
#include "bench/load/workload.h"

namespace metastore::bench {

struct WatchEvent {
  bool parsed = false;
  bool deletion = false;
  int64_t mod_revision = 0;
  uint64_t value_id = 0;  // puts: out of the value; 0 when it is none of ours
  std::string key{};
};

class EventParser final {
 public:
  EventParser() : known_(kKnown) {}

  // Holds until the next call.
  const WatchEvent& Parse(std::string_view bytes) {
    Known& known = known_[SlotOf(bytes)];
    if (known.bytes == bytes) return known.event;
    known.bytes = std::string(bytes);
    known.event = Read(bytes);
    return known.event;
  }

 private:
  struct Known {
    std::string bytes;
    WatchEvent event;
  };
  static constexpr size_t kKnown = 4096;

  // By the bytes in the middle, where the value's id is, and the size.
  static size_t SlotOf(std::string_view bytes) {
    uint64_t hash = bytes.size();
    const size_t end = std::min<size_t>(bytes.size(), 96);
    for (size_t at = 0; at + 8 <= end; at += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at, 8);
      hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    }
    return static_cast<size_t>(hash >> 52);
  }

  static WatchEvent Read(std::string_view bytes) {
    WatchEvent event;
    FieldReader fields(bytes);
    std::string_view pair;
    while (fields.Next()) {
      if (fields.field() == 1) event.deletion = fields.number() != 0;
      if (fields.field() == 2) pair = fields.bytes();
    }
    FieldReader parts(pair);
    while (parts.Next()) {
      if (parts.field() == 1) event.key = std::string(parts.bytes());
      if (parts.field() == 3) event.mod_revision = parts.number();
      if (parts.field() == 5 && parts.bytes().size() >= kValueBytesMin &&
          !LoadHex(parts.bytes().substr(0, 16), &event.value_id)) {
        event.value_id = 0;
      }
    }
    event.parsed = fields.ok() && parts.ok() && event.mod_revision > 0;
    return event;
  }

  std::vector<Known> known_;
};

// One WatchResponse; `events` are views into the message.
struct WatchAnswer {
  bool parsed = false;
  int64_t revision = 0;
  int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  std::string_view reason{};
  std::vector<std::string_view> events{};
};

inline void ParseWatchAnswer(std::string_view message, WatchAnswer* answer) {
  answer->events.clear();
  answer->watch_id = 0;
  answer->revision = 0;
  answer->created = answer->canceled = false;
  answer->reason = {};
  FieldReader fields(message);
  while (fields.Next()) {
    switch (fields.field()) {
      case 1: {
        FieldReader header(fields.bytes());
        while (header.Next()) {
          if (header.field() == 3) answer->revision = header.number();
        }
        break;
      }
      case 2:
        answer->watch_id = fields.number();
        break;
      case 3:
        answer->created = fields.number() != 0;
        break;
      case 4:
        answer->canceled = fields.number() != 0;
        break;
      case 6:
        answer->reason = fields.bytes();
        break;
      case 11:
        answer->events.push_back(fields.bytes());
        break;
      default:
        break;
    }
  }
  answer->parsed = fields.ok();
}

inline void AppendNumberField(std::string* to, uint32_t field, uint64_t value) {
  if (value == 0) return;
  AppendVarint(to, uint64_t{field} << 3);
  AppendVarint(to, value);
}

// A WatchRequest that creates a watcher of [key, end), or of one key without an end.
inline std::string WatchCreate(std::string_view key, std::string_view end, int64_t start) {
  std::string create;
  AppendBytesField(&create, 1, key);
  if (!end.empty()) AppendBytesField(&create, 2, end);
  AppendNumberField(&create, 3, static_cast<uint64_t>(start));
  std::string request;
  AppendBytesField(&request, 1, create);
  return request;
}

}  // namespace metastore::bench
