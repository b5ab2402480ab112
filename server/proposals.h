// Admission of client writes, and who waits for which of them.
//
// Owned by the Group, on its state core. A write is admitted (bounded by count and bytes), waits
// for its turn, is proposed, and is resolved by its request id out of the apply stream: never by
// (term, index), since a proposal may have been forwarded to another leader and its position
// overwritten.
//
// Invariants
//  1. Every admitted call is returned exactly once: by Resolve, Expire or FailAll.
//  2. Neither the calls nor the commands that wait ever exceed the limits of count and bytes.
//  3. What its client was told has failed while it waited is not proposed any more.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "io/base/limits.h"
#include "server/state_calls.h"

namespace metastore::server {

struct ProposalStats {
  uint64_t admitted_total = 0;
  uint64_t refused_total = 0;  // too many waited
  uint64_t expired_total = 0;
  uint64_t failed_total = 0;
  uint64_t lost_total = 0;  // with the leader they were proposed to
};

class Proposals final {
 public:
  explicit Proposals(io::Runtime& runtime) : runtime_(runtime) {}
  ~Proposals();

  // Takes the call, or returns it refused (kTooManyRequests).
  void Admit(ProposeCall& call);
  // Calls admitted and not yet proposed, oldest first.
  size_t waiting() const { return waiting_.size(); }
  // Moves the commands of the oldest `count` waiting calls into `payloads`, to be proposed in
  // `term`. Fewer where calls have ended meanwhile, maybe none.
  void Take(size_t count, Term term, std::vector<raft::Payload>& payloads);
  // Puts back commands that were not proposed after all, in the order of Take; those whose calls
  // have ended are dropped.
  void PutBack(std::span<raft::Payload> payloads);

  // The call that waits for `command` and whose answer needs reads (ProposeCall::op), if any.
  ProposeCall* FindReader(std::string_view command) const;
  // Lets go of `call` without returning it: its answer is made elsewhere.
  void Detach(ProposeCall& call);
  // The same for the call that waits for `id`; null if there is none: another member's, or its
  // client gave up.
  ProposeCall* Detach(const engine::RequestId& id);
  // Returns the call that waits for what `applied` is the result of, if there is one.
  void Resolve(engine::ApplyResult&& applied, Term term);
  // Returns what waits past its deadline: its outcome is unknown.
  void Expire(MonoTime now);
  // The first entry of `term` has been applied: what was proposed in an earlier term and is not
  // resolved by now was lost with its leader. Should a copy of it still be under way, it may happen
  // yet: the outcome is unknown, as after a timeout, only sooner.
  void FailOfTermsBefore(Term term);
  // Returns every call with `error`.
  void FailAll(const ClientError& error);

  // When entries came to be durable, for calls that are measured.
  StageLog& stages() { return stages_; }
  // `call`, if it is measured: the entry `index` that answers it has been applied now.
  void StampApplied(ProposeCall& call, LogIndex index) const;

  size_t pending() const { return pending_.size(); }
  const ProposalStats& stats() const { return stats_; }

 private:
  using PendingMap = absl::flat_hash_map<engine::RequestId, ProposeCall*>;

  bool HasRoom(size_t bytes) const;
  ProposeCall* FindCall(std::string_view command) const;
  void Remove(PendingMap::iterator at);
  void Fail(const engine::RequestId& id, const ClientError& error);
  template <typename Predicate>
  size_t FailWhere(Predicate&& which, const ClientError& error);

  io::Runtime& runtime_;
  PendingMap pending_;  // all admitted
  struct Waiting {
    raft::Payload command;        // empty: its call has ended
    ProposeCall* call = nullptr;  // which is then no more
  };
  std::deque<Waiting> waiting_;
  size_t waiting_bytes_ = 0;
  std::vector<engine::RequestId> ended_;  // scratch of FailWhere
  size_t bytes_ = 0;
  size_t readers_ = 0;  // of pending_, those whose answer needs reads
  ProposalStats stats_;
  StageLog stages_;
};

}  // namespace metastore::server
