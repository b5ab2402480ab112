// History: what the client of a recording asked and was told, and by that what a node that starts
// from a crash may hold, must hold, and must not. Pure.
//
// Values are unlike each other, so a value names its call. Calls that were answered have their
// revision; one that never was may have happened at any, or not at all.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/io_trace.h"
#include "tools/walinspect/crashtest/recording.h"

namespace metastore::crashtest {

struct StoredValue {
  std::string value;
  uint64_t revision = 0;  // of its last change
};

// What a node holds: all keys, and the revision of the store.
struct StoreState {
  uint64_t revision = 0;
  std::map<std::string, StoredValue> keys;
};

class History final {
 public:
  // The calls of `records`; places are indexes into them.
  explicit History(const std::vector<io::TraceRecord>& records);

  // The last revision that was acknowledged before `place`; 0: none.
  uint64_t AcknowledgedBefore(size_t place) const;
  // What is wrong with a node that crashed at `place` and now holds `state`; empty: nothing.
  //   shown   the revision of a state that an earlier start from this crash has shown; 0: none
  std::string Check(const StoreState& state, size_t place, uint64_t shown = 0) const;
  size_t calls_count() const { return calls_.size(); }

 private:
  struct Call {
    size_t begun = 0;     // place
    size_t answered = 0;  // place; 0: never
    std::string_view key;
    std::string_view value;
    bool deletes = false;
    uint64_t revision = 0;  // 0: never answered
  };

  std::string CheckKey(const std::vector<const Call*>& calls, const StoreState& state,
                       size_t place) const;
  static std::string Describe(const Call& call);

  std::map<uint64_t, Call> calls_;  // by number, which is the order of their begins
  std::map<std::string, std::vector<const Call*>, std::less<>> by_key_;
};

}  // namespace metastore::crashtest
