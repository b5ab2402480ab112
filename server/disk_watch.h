// DiskWatch: what the state of a member's disk means for its leadership. Pure: looks in, verdicts
// out, once a tick.
//
// Two troubles. A flush that stalls: followers commit without the leader, so its own progress shows
// nothing; the age of the oldest flush under way does. A full disk: the log takes no more writes,
// while those that come through other members go on. In either the leader offers leadership to
// another voter, and until its disk has been well for kCalm it neither campaigns nor accepts.
//
//  1. A member alone has nobody to hand over to: nothing changes.
//  2. A stalled leader steps down when the flush takes a whole election timeout; a full one never
//     does. Whom it offers leadership may be full too and does not take it: it asks the next, ever
//     more rarely, and leads on. So with all disks full leadership stays where it is.
//  3. With all disks full and no leader (after a restart of all) somebody must lead, or nothing
//     could be deleted: a full member campaigns once nobody has led for kLeaderless timeouts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "io/base/time.h"

namespace metastore::server {

struct DiskLook {
  MonoTime now;
  Duration flush_age;  // of the oldest flush under way; zero: none
  bool full = false;   // the log takes no writes, since it can make no segments
  bool leads = false;
  bool leader_known = false;
  bool alone = false;  // the only voter
};

enum class DiskAction : uint8_t {
  kNone,
  kOfferStalled,  // leadership to another, since a flush stalls
  kOfferFull,     // likewise, since the disk is full
  kStepDown,      // a flush takes too long
};

struct DiskVerdict {
  bool may_lead = true;  // campaign, or accept leadership
  DiskAction action = DiskAction::kNone;
  size_t attempt = 0;  // kOfferFull: how many there were before, for this trouble
};

class DiskWatch final {
 public:
  // How long a disk must be well again before its member may lead.
  static constexpr Duration kCalm = Seconds(10);
  static constexpr int64_t kLeaderless = 5;
  // A full leader waits so many timeouts after an offer, twice as many after each further one.
  static constexpr int64_t kRetryTimeouts = 2;
  static constexpr size_t kRetryDoublings = 5;

  explicit DiskWatch(Duration election_timeout) : timeout_(election_timeout) {}

  DiskVerdict Look(const DiskLook& look);

 private:
  bool MayLead(const DiskLook& look);

  const Duration timeout_;
  struct Trouble {
    bool on = false;    // it is there, or was less than kCalm ago
    MonoTime since;     // when it began
    MonoTime seen;      // when it was last there
    size_t offers = 0;  // of leadership, since then
    void Note(bool there, MonoTime now);
  };
  Trouble stall_;
  Trouble full_;
  MonoTime next_offer_;  // of a full leader
  std::optional<MonoTime> leaderless_since_;
};

}  // namespace metastore::server
