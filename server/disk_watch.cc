#include "server/disk_watch.h"

#include <algorithm>

namespace metastore::server {

void DiskWatch::Trouble::Note(bool there, MonoTime now) {
  if (there && !on) *this = {.on = true, .since = now};
  if (there) seen = now;
  if (on && now - seen >= kCalm) on = false;
}

DiskVerdict DiskWatch::Look(const DiskLook& look) {
  const bool stalled = look.flush_age >= timeout_ / 2;
  stall_.Note(stalled, look.now);
  full_.Note(look.full, look.now);
  DiskVerdict verdict{.may_lead = MayLead(look)};
  if (!look.leads || look.alone) return verdict;
  if (look.flush_age >= timeout_) {
    verdict.action = DiskAction::kStepDown;
  } else if (stalled && stall_.offers == 0) {
    verdict.action = DiskAction::kOfferStalled;
    ++stall_.offers;
  } else if (look.full && look.now - full_.since >= timeout_ / 2 && look.now >= next_offer_) {
    // Not at once: a purge that is under way may free what is missing.
    verdict.action = DiskAction::kOfferFull;
    verdict.attempt = full_.offers++;
    const int64_t factor = int64_t{1} << std::min(verdict.attempt, kRetryDoublings);
    next_offer_ = look.now + timeout_ * kRetryTimeouts * factor;
  }
  return verdict;
}

bool DiskWatch::MayLead(const DiskLook& look) {
  if (look.leader_known) leaderless_since_.reset();
  if (!look.leader_known && !leaderless_since_) leaderless_since_ = look.now;
  if (look.alone) return true;
  if (stall_.on) return false;
  const bool leaderless =
      leaderless_since_ && look.now - *leaderless_since_ >= timeout_ * kLeaderless;
  return !full_.on || leaderless;
}

}  // namespace metastore::server
