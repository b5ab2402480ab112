// A member's log as it lies on its disk: what is in it, and
// damage at rest below a promise of a member's log, in frames that later frames, or a clean end,
// promise: what is promised can be missed.
#pragma once

#include <string>
#include <vector>

#include "io/base/prng.h"
#include "io/sim/sim_disk.h"
#include "raft/types.h"

namespace metastore::sim_test {

inline constexpr char kLogDirectory[] = "/data/member/wal";  // of each member of a cluster

enum class LogDamage : uint8_t {
  kBits,         // a bit of each has flipped
  kLost,         // what was there before each was written is there
  kMisdirected,  // and each is in the place of another one
};

// Damages up to four promised frames of the log in `directory`, more often late than early ones. No
// file of it may be open. Returns how many are promised; 0: none was damaged.
size_t DamageLog(sim::SimDisk& disk, const std::string& directory, Prng& prng,
                 LogDamage how = LogDamage::kBits);

// All entries in intact frames of the log in `directory`, those included that were overwritten.
std::vector<raft::Entry> LoggedEntries(const sim::SimDisk& disk, const std::string& directory);

// How many logs the member has set aside.
size_t LogsSetAside(const sim::SimDisk& disk, const std::string& directory);

}  // namespace metastore::sim_test
