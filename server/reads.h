// Linearizable reads: gathered, confirmed by one read index for all, served once that is applied.
//
// Owned by the Group, on its state core. All reads that wait when a round starts share its token
// (Raft thesis 6.4), with one voter as with five. A refused round (the leader changed) fails its
// reads with etcd's "leader changed", which clients retry.
//
// Invariant: every call given to Add is handed out by Serve, or returned failed, exactly once.
#pragma once

#include <deque>
#include <vector>

#include "raft/raft_core.h"
#include "server/state_calls.h"

namespace metastore::server {

class Reads final {
 public:
  explicit Reads(io::Runtime& runtime) : runtime_(runtime) {}
  ~Reads();

  // Takes the call, or returns it refused (kTooManyRequests).
  void Add(ReadCall& call);
  // Starts a round for what waits, if anything does and the core takes it; else it waits on.
  void StartRound(raft::RaftCore& core);
  // A round's outcome.
  void Confirm(const raft::ReadState& state);
  // Moves calls whose index is applied to `ready`, at most `count`, in the order of their rounds.
  void Serve(LogIndex applied, size_t count, std::vector<ReadCall*>& ready);
  // Whether Serve would move any.
  bool Servable(LogIndex applied) const {
    return !rounds_.empty() && rounds_.front().confirmed && rounds_.front().index <= applied;
  }

  // Returns what waits past its deadline.
  void Expire(MonoTime now);
  void FailAll(const ClientError& error);
  size_t pending() const { return pending_; }

 private:
  struct Round {
    raft::ReadToken token;
    bool confirmed = false;
    LogIndex index;
    std::vector<ReadCall*> calls;  // latest first, so that Serve takes them off the end
  };
  void Fail(ReadCall& call, const ClientError& error);
  void ExpireIn(std::vector<ReadCall*>& calls, MonoTime now);

  io::Runtime& runtime_;
  std::vector<ReadCall*> waiting_;
  std::deque<Round> rounds_;
  raft::ReadToken last_token_;
  size_t pending_ = 0;
};

}  // namespace metastore::server
