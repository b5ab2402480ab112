// Damage at rest below a promise of a member's log: bits of frames that later frames, or a clean
// end, promise.
#pragma once

#include <string>

#include "io/base/prng.h"
#include "io/sim/sim_disk.h"

namespace metastore::sim_test {

// Flips a bit of each of up to four promised frames of the log in `directory`, more often late than
// early ones. No file of it may be open. Returns how many there are; 0: none is promised.
size_t DamageLog(sim::SimDisk& disk, const std::string& directory, Prng& prng);

// How many logs the member has set aside.
size_t LogsSetAside(const sim::SimDisk& disk, const std::string& directory);

}  // namespace metastore::sim_test
