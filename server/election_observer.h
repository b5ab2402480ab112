// ElectionObserver: one Observe call: who leads an election, and what they proclaim, in order.
//
// It holds one position, a revision up to which it has told everything:
//   somebody leads as of it   their key is watched from behind it: each put is told; a delete at
//                             revision D moves the position there
//   nobody leads              all keys of the election are watched, and the first put moves it
// Who leads as of the new position is read at that revision. So no leader and no proclamation
// between is left out, but for what is compacted before it is told: then it goes on from now. Only
// a watcher's queue is held, however many contend.
#pragma once

#include <string>

#include "server/edge.h"
#include "server/kv_wire.h"
#include "server/read_txn.h"
#include "server/watch_session.h"

namespace metastore::server {

// A LeaderResponse.
std::string EncodeLeader(const WireHeader& header, const engine::KeyValue& kv);

class ElectionObserver final {
 public:
  // Both outlive it. `prefix` is that of the contest.
  ElectionObserver(Edge& edge, net::GrpcStream& stream, std::string prefix);

  // Tells until something ends the call. Headers have the revision as of which somebody leads.
  // Errors, always one: those of the stream, of WatchSession, and of reads that do not pass
  io::Task<Status> Run();

 private:
  io::Task<StatusOr<ReadTxnAnswer>> ReadLeader();
  io::Task<StatusOr<WatchDelivery>> NextOf(WatchSession& session);
  io::Task<Status> Follow(std::string key);
  io::Task<Status> AwaitCandidate();
  io::Task<Status> Tell(const engine::KeyValue& kv);

  Edge& edge_;
  net::GrpcStream& stream_;
  const std::string prefix_;
  const std::string end_;
  Revision position_;  // 0: now
  Term term_;          // as of the last read
  std::string told_key_;
  Revision told_;  // the newest put, of told_key_
};

}  // namespace metastore::server
