// What a group needs of the way to the other members; Peers is the implementation. On the state
// core.
#pragma once

#include <string>

#include "io/base/status.h"
#include "io/base/time.h"
#include "io/task.h"
#include "raft/message.h"
#include "server/members.h"

namespace metastore::server {

class MemberCall;

class PeerTransport {
 public:
  virtual ~PeerTransport() = default;
  // Queues `message` for `message.to`. False: it is lost already, the link is down or full.
  virtual bool Send(GroupId group, const raft::Message& message) = 0;
  // Sends a kSnapshot with the file that it names; Group::OnSnapshotSent tells how that went.
  virtual void SendSnapshot(GroupId group, raft::Message message) = 0;
  // The membership is now `members`.
  virtual void Follow(const Members& members) = 0;
  // A member's words about itself are in this member's log, applied or not: from now on it is known
  // by that data directory.
  virtual void NotePublished(const MemberAttributes& attributes) = 0;
  // Since when the link to `peer` is up; Max while it is not.
  virtual MonoTime UpSince(NodeId peer) const = 0;
  // Gives `peer` this member's digest and hears its own: Group::OnDigest. Lost where it cannot.
  virtual void ExchangeDigest(NodeId peer, std::string digest) = 0;
  // Has the leader, another member, carry out `call`, and returns it.
  virtual void Forward(NodeId leader, MemberCall& call) = 0;
  // Asks the leader, another member, about leases, and returns its answer (server/lease_rpc.h). One
  // at a time (CHECKed), over a stream that is kept.
  // Errors: kUnavailable, kCancelled   no answer: it may not be reached, or EndAskLeases
  virtual io::Task<StatusOr<std::string>> AskLeases(NodeId leader, std::string questions) = 0;
  // Ends the question under way, if there is one.
  virtual void EndAskLeases() = 0;
};

}  // namespace metastore::server
