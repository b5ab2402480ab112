// The settings of one RaftCore. A tick is the caller's (100 ms by default); raft knows no other
// time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/base/ids.h"
#include "io/base/limits.h"
#include "io/base/status.h"

namespace metastore::raft {

class TraceSink;

enum class ReadMode : uint8_t {
  kQuorum,  // every read waits for a round of heartbeats (thesis 6.4)
  kLease,   // a leader that a quorum answered lately serves reads at once (lease.cc, thesis 6.4.1).
            // The same on all members, whose drivers keep the clock rules of raft_core.h
};

struct Config {
  NodeId id;
  // Of election timeouts and read rounds; different on every node and at every boot (trap 36).
  uint64_t seed = 0;

  // A follower campaigns after a silence of this many up to twice as many ticks, at random.
  int election_ticks = 10;
  int heartbeat_ticks = 1;

  // Thesis 9.6. With check_quorum the same on all members (trap 10).
  bool pre_vote = true;
  // A leader without contact to a majority steps down; who hears a leader ignores candidates.
  bool check_quorum = true;
  ReadMode read_mode = ReadMode::kQuorum;
  // A lease ends this much before an election timeout from the begin of its round: one tick for the
  // fractions of ticks at both ends, the rest for clocks that drift. Serves clocks of which none is
  // faster than another by (lease_margin_ticks - 1) / (election_ticks - lease_margin_ticks).
  int lease_margin_ticks = 2;
  // A learner becomes a voter only with this share of the leader's log, and while entries are
  // streamed to it (trap 15); else kLearnerNotReady. 0: whatever it has.
  uint64_t learner_ready_percent = 0;
  // A follower sends proposals on to the leader; false: it refuses them with kNotLeader.
  bool forward_proposals = true;
  // A leader that applies its own removal or demotion becomes a follower.
  bool step_down_on_removal = true;
  // One membership change at a time; off only for tests.
  bool validate_conf_changes = true;
  // Committed entries go to apply before they are durable here. Only for a driver that finishes the
  // AppendTask of a Ready before it begins its ApplyTask (the synchronous adapter of the tests).
  bool apply_before_durable = false;

  // Entries of one kAppend; a single entry always fits.
  size_t message_bytes_max = 4 * limits::kMiB;
  // Unanswered kAppends per follower, and their bytes (0: no bound).
  size_t inflight_messages_max = 512;
  size_t inflight_bytes_max = 64 * limits::kMiB;
  // Payloads of a leader's entries that are not applied yet; a single batch always fits (trap 45).
  size_t uncommitted_bytes_max = limits::kProposalsBytesMax;
  // Entries handed to apply and not yet done; a single entry always fits.
  size_t apply_bytes_max = 16 * limits::kMiB;
  // Reads of this node that wait for their index.
  size_t reads_max = limits::kReadsMax;

  // Is told of every transition (trace.h); outlives the core. Null: nobody is.
  TraceSink* trace = nullptr;

  // OK, or kInvalidArgument naming every problem, one a line.
  Status Validate() const;
};

}  // namespace metastore::raft
