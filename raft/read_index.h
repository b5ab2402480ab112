// Linearizable reads under way (thesis 6.4): which wait, which share the present round, who has
// answered it.
//
// A leader numbers its rounds itself (trap 4): an answer counts only for the round it names. One
// round is under way at a time; everything that arrives meanwhile shares the next one. A follower
// sends its waiting tokens to the leader as one batch, one at a time too, and repeats one that got
// lost; the batch's number is a round number like the leader's own.
//
// Owner: RaftCore. Bounds: Config::reads_max of this node's own reads; one waiting batch a
// follower.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "raft/quorum.h"
#include "raft/ready.h"
#include "raft/types.h"

namespace metastore::raft {

// A follower's batch as the leader keeps it.
struct RemoteRead {
  NodeId from;
  uint64_t batch = 0;
};

class ReadQueue {
 public:
  // Rounds are numbered from `first_round` on: random, so that an answer to this node's previous
  // incarnation never fits one of this one's rounds (trap 36).
  ReadQueue(size_t reads_max, uint64_t first_round)
      : reads_max_(reads_max), last_round_(first_round) {}

  // False when full.
  bool Add(ReadToken token);
  // Replaces an earlier batch of the same follower that still waits.
  void AddRemote(RemoteRead read);
  bool waiting() const { return !waiting_.empty() || !remote_waiting_.empty(); }

  // The round under way; 0 = none.
  uint64_t round() const { return round_; }
  LogIndex round_index() const { return round_index_; }
  const NodeSet& acked() const { return acked_; }
  // Everything that waits goes into a new round at read index `index` (a follower does not know it
  // yet). None is under way. Returns its number, never 0.
  uint64_t StartRound(LogIndex index);
  // Everything that waits is served at `index` without a round, as FinishRound does; the round
  // under way goes on.
  std::vector<RemoteRead> ServeWaiting(LogIndex index);
  // `from` answered `round`. Returns who answered the present round so far; null for an old answer.
  const NodeSet* Acknowledge(NodeId from, uint64_t round);
  // The round is confirmed at `index`: own reads become read states; the followers' are returned.
  std::vector<RemoteRead> FinishRound(LogIndex index);
  // The round cannot be confirmed: own reads are refused, the followers' forgotten (they repeat).
  void RefuseRound();
  // Leadership ended or moved: the same for all there is.
  void RefuseAll();
  // Counts ticks of a round under way; true every `ticks_max` of them: repeat it.
  bool TickBatch(int ticks_max);

  // Read states for the next Ready.
  bool has_states() const { return !states_.empty(); }
  std::vector<ReadState> TakeStates() { return std::exchange(states_, {}); }

 private:
  size_t reads_max_;
  uint64_t last_round_;
  uint64_t round_ = 0;
  LogIndex round_index_;
  int ticks_ = 0;
  NodeSet acked_;
  std::vector<ReadToken> waiting_;
  std::vector<ReadToken> in_round_;
  std::vector<RemoteRead> remote_waiting_;
  std::vector<RemoteRead> remote_in_round_;
  std::vector<ReadState> states_;
};

}  // namespace metastore::raft
