// Lease reads (thesis 6.4.1): while no other leader can have been elected, a leader knows what is
// committed without asking.
//
// Voter: who hears a leader elects nobody else for an election timeout, whatever becomes of term
// and role meanwhile; a restart forgets whom it heard and when, so it keeps still as long. Leader:
// of each round of heartbeats that a quorum answered it knows that these voters keep still for an
// election timeout from the moment at which the round BEGAN, by their clocks; any later quorum
// includes one of them. The lease ends lease_margin_ticks earlier, by the leader's clock.
//
// A promise does not hold against the leader's own wish (TimeoutNow), nor where the leader does not
// know who votes: handing over and changing the membership end the lease, and no round begun before
// or meanwhile brings it back. A TimeoutNow may arrive at any time after it was sent, so who sent
// one takes no lease any more in its term.
#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {

void RaftCore::Promise() {
  if (config_.read_mode == ReadMode::kLease) timers_.promised = config_.election_ticks;
}

bool RaftCore::Promised() const { return timers_.promised > 0; }

void RaftCore::DropLease() {
  leadership_.lease_until = 0;
  leadership_.lease_round_began.reset();
}

bool RaftCore::MayTakeLease() const {
  if (config_.read_mode != ReadMode::kLease || !is_leader()) return false;
  const bool hands_over = leadership_.transferee != kNobody || leadership_.handed_over;
  if (hands_over && !Mutated(Mutation::kLeaseOverTransfer)) return false;
  return leadership_.pending_conf <= log_.applied();
}

void RaftCore::NoteLeaseRoundBegan() {
  leadership_.lease_round_began.reset();
  if (MayTakeLease()) leadership_.lease_round_began = timers_.now;
}

void RaftCore::NoteLeaseRoundAnswered() {
  if (!leadership_.lease_round_began) return;
  const uint64_t from =
      Mutated(Mutation::kLeaseFromAnswer) ? timers_.now : *leadership_.lease_round_began;
  const int margin = Mutated(Mutation::kLeaseNoMargin) ? 0 : config_.lease_margin_ticks;
  leadership_.lease_until = from + static_cast<uint64_t>(config_.election_ticks - margin);
  leadership_.lease_round_began.reset();
}

bool RaftCore::HasLease() const { return timers_.now < leadership_.lease_until && MayTakeLease(); }

}  // namespace metastore::raft
