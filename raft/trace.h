// State transitions of a core as they happen, for a model checker: each event with the node's state
// after it, in the event schema that etcd's TLA+ model of raft reads (trace validation).
//
// The core only fills a TraceEvent and calls the sink of its Config; TraceLine makes one line of
// NDJSON of it. The model has no pre-votes: runs that are to be checked have them off.
#pragma once

#include <string>
#include <string_view>

#include "raft/conf_change.h"
#include "raft/message.h"
#include "raft/types.h"

namespace metastore::raft {

// The schema's name of a role: StateFollower and so on.
std::string_view RoleName(Role role);

enum class TraceKind : uint8_t {
  kInitState,
  kBecomeCandidate,
  kBecomeFollower,
  kBecomeLeader,
  kCommit,           // a leader's commit index rose
  kReplicate,        // a leader appended a normal entry
  kChangeConf,       // a leader appended `change`
  kApplyConfChange,  // `conf` is in effect
  kReady,
  kSend,     // `message`; of the kinds below only
  kReceive,  // appends, heartbeats, snapshots, votes, and their answers
};

struct TraceEvent {
  TraceKind kind = TraceKind::kInitState;
  NodeId node;
  HardState state;
  Role role = Role::kFollower;
  LogIndex last;                       // of the log
  ConfState conf;                      // in effect
  const Message* message = nullptr;    // kSend, kReceive
  const ConfChange* change = nullptr;  // kChangeConf
  LogIndex match;                      // of a leader that sends an append: its own progress
  LogIndex next;                       //
};

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  // Called within the core, which must not be called in turn. What the event points to ends with
  // the call.
  virtual void OnEvent(const TraceEvent& event) = 0;
};

// One line with its newline; empty for messages that the schema does not know.
std::string TraceLine(const TraceEvent& event);

}  // namespace metastore::raft
