// Contest: contenders for a name, of which the one that came first has it: what the Lock and
// Election services share (etcd v3 API; semantics as etcd's).
//
// A contender is the key "<name>/<its lease, in hexadecimal>", attached to that lease; the one with
// the lowest create revision has the name, for as long as its key exists. The keys are ordinary
// ones: clients that contend by KV and Watch alone stand in the same queue.
//
// Why at most one has a name at any revision, and nobody waits in vain
//  1. Who enters gets the highest create revision there is, and keeps it: nobody ever comes before
//     a contender, and who is the first stays it until its key is gone.
//  2. Win says OK only after one look at the queue, all of one revision that this member has
//     applied, in which the own key was there with its own create revision and none before it. The
//     look is the transaction that made the key, or a linearizable read.
//  3. Who is not the first waits until the key next before it, or its own, is deleted, and looks
//     again: a deletion wakes one contender, not all.
//  4. It watches from the revision behind the look's, so nothing is missed in between. A watcher
//     that a compaction overtook, or a look that failed while there was no leader, makes it look
//     again.
//  5. A contender that gives up takes its key away, if it can; else the key goes with its lease. It
//     does so only while another key is before its own: of the first key, another call with the
//     same lease may have been told that it has the name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/edge.h"
#include "server/propose.h"
#include "server/read_txn.h"

namespace metastore::server {

// --- the queue of a name; pure

// What the keys of all contenders begin with, and where that range ends.
std::string ContestPrefix(std::string_view name);
std::string ContestEnd(std::string_view prefix);
// As etcd's clients make it: a negative id has a minus before its absolute value.
std::string ContenderKey(std::string_view prefix, LeaseId lease);
// The one that has the name, as of `revision` (0: now). Borrows from both.
engine::RangeOp FirstContender(std::string_view prefix, std::string_view end, Revision revision);

// --- asking for the store

// Proposes `txn` as the client of `request`.
//   terms  nothing: the request's
// Errors: those of Propose, of Authorise, and of a transaction that etcd refuses
io::Task<WriteResult> ProposeTxn(Edge& edge, const net::GrpcRequest& request,
                                 const engine::TxnOp& txn, std::optional<CallTerms> terms = {});
// RunReadTxn, again and again while it fails for a reason that passes: no leader, too much to do.
// Errors: those of RunReadTxn that do not pass; kCancelled: the request was
io::Task<StatusOr<ReadTxnAnswer>> ReadPatiently(Edge& edge, const net::GrpcRequest& request,
                                                const engine::TxnOp& txn, bool serializable);
// What a client of these services gets to see of an error: etcd's are clients of their own store,
// so what that refuses comes with its text, and code kUnknown. Others stay as they are, a member
// that stops among them, and "no leader" where the request demands one.
Status ServiceError(const Edge& edge, const net::GrpcRequest& request, const Status& error);

// --- contending

struct Claim {
  std::string_view name;  // outlives the contender, as the value
  LeaseId lease;          // 0: one of kContestLeaseSeconds is granted, which nobody renews
  // Of the key. A key of that lease which is there gets it; nothing (a lock): it is left alone, and
  // a new one is empty.
  std::optional<std::string_view> value;
};
inline constexpr int64_t kContestLeaseSeconds = 60;  // as etcd's

// One call's part in a contest.
class Contender final {
 public:
  // Both outlive it.
  Contender(Edge& edge, const net::GrpcRequest& request, const Claim& claim);

  // Enters, or finds the entry that an earlier call with this lease made, and waits for its turn;
  // once. On an error the key is withdrawn (5).
  // Errors: `lost`      the own key was deleted meanwhile, by whomever, or its lease has ended
  //         kCancelled  the request was
  //         those of Propose, WatchSession and RunReadTxn that do not pass
  io::Task<Status> Win(ClientError lost);

  // After Win.
  const std::string& key() const { return key_; }
  LeaseId lease() const { return claim_.lease; }
  Revision created() const { return created_; }
  // A look at the queue: when it was made, and what it saw.
  struct Look {
    Revision revision;
    Term term;
    bool there = false;       // the own key
    std::string predecessor;  // the key next before it; empty: there is none
    Revision predecessor_created;
  };
  const Look& entered() const { return entered_; }  // the first look
  const Look& won() const { return look_; }         // the last one

 private:
  io::Task<Status> Enter();
  engine::TxnOp MakeEntry() const;
  Status NoteEntry(const WriteAnswer& answer);
  io::Task<Status> AwaitTurn(ClientError lost);
  io::Task<Status> AwaitChange();
  io::Task<Status> LookAgain();
  engine::TxnOp MakeLook() const;
  void NoteLook(const ReadTxnAnswer& answer);
  io::Task<void> Withdraw();
  io::Task<Status> RevokeLease(CallTerms terms);
  io::Task<Status> TakeKeyAway(CallTerms terms);

  Edge& edge_;
  const net::GrpcRequest& request_;
  Claim claim_;
  const std::string prefix_;
  const std::string end_;
  std::string key_;
  bool granted_ = false;  // the lease is of this call's making
  Revision created_;      // the key's; 0: not known to be there
  Look entered_;
  Look look_;
};

}  // namespace metastore::server
