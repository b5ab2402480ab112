// What raft nodes say to each other, and what a node's own disk answers.
//
// One struct for all kinds: a field a kind does not use has its default. The server encodes
// messages for peers; the numbers of MessageType are part of that format.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "raft/types.h"

namespace metastore::raft {

enum class MessageType : uint8_t {
  kPropose = 1,                 // to the leader: entries (type and payload only) to append
  kAppend = 2,                  // AppendEntries: `log` = the entry before `entries`; commit
  kAppendResponse = 3,          // log.index = last matched; rejected: see reject_hint
  kVote = 4,                    // RequestVote: `log` = the candidate's last entry
  kVoteResponse = 5,            // rejected: `log` = the last entry the voter knows is committed
  kPreVote = 6,                 // thesis 9.6; term = the one the candidate would take
  kPreVoteResponse = 7,         // likewise
  kHeartbeat = 8,               // commit = at most what the follower has; read_round
  kHeartbeatResponse = 9,       // read_round as received
  kSnapshot = 10,               // InstallSnapshot: `snapshot`; the data travels outside raft
  kReadIndex = 11,              // to the leader: read_round = the sender's batch
  kReadIndexResponse = 12,      // log.index = the read index; rejected: not the leader
  kTransferLeader = 13,         // to the leader: hand over to `transferee`
  kTimeoutNow = 14,             // leader to transferee: campaign at once (thesis 3.10)
  kStorageAppendResponse = 15,  // own disk only: all up to `log`, and `snapshot`, is durable
};

// `from` of kStorageAppendResponse.
inline constexpr NodeId kLocalStorage{UINT64_MAX};

struct Message {
  MessageType type = MessageType::kHeartbeat;
  bool reject = false;
  // kVote, kPreVote: part of a leadership transfer, which the old leader's lease does not stop.
  bool transfer = false;
  NodeId from;
  NodeId to;
  // The sender's; 0 in kPropose, kReadIndex and kTransferLeader, which any term's leader may serve.
  Term term;
  EntryId log;
  LogIndex commit;
  // Rejected kAppendResponse: the logs may agree up to here, where the follower's entry has
  // log.term (0: unknown); log.index is the one that was refused (trap 46).
  LogIndex reject_hint;
  NodeId transferee;
  // Numbered by who asks, growing; comes back with the answer (trap 4). 0: none.
  uint64_t read_round = 0;
  std::vector<Entry> entries;
  std::shared_ptr<const SnapshotMeta> snapshot;

  bool operator==(const Message&) const = default;
};

// True for what must not leave before the AppendTask of the same Ready is durable although it is in
// `send_now`: vote requests advertise this node's term, its own vote and its log tail (trap 28b;
// thesis 3.8). Pre-votes promise nothing.
inline bool NeedsDurableTerm(const Message& message) { return message.type == MessageType::kVote; }

std::string_view Name(MessageType type);

}  // namespace metastore::raft
