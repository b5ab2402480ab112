// The vocabulary of raft/: what is in the log, what must be durable, who votes. Plain values, no
// behaviour.
//
// Terms are the Raft thesis's (Ongaro 2014). `NodeId(0)` means nobody, `LogIndex(0)` the place
// before the first entry.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/base/ids.h"
#include "raft/payload.h"

namespace metastore::raft {

inline constexpr NodeId kNobody{0};

// A log position together with the term of the entry there: equal ids on two nodes mean equal logs
// up to there (Log Matching, thesis 3.5).
struct EntryId {
  Term term;
  LogIndex index;

  // By term, then index: the order of "up to date" (thesis 3.6.1).
  auto operator<=>(const EntryId&) const = default;
};

// Values are part of the log format.
enum class EntryType : uint8_t {
  kNormal = 0,        // a command; empty payload: the entry a new leader begins its term with
  kConfChange = 1,    // one membership change (conf_change.h), applied without joint consensus
  kConfChangeV2 = 2,  // any membership change; empty payload: leave the joint configuration
};

struct Entry {
  Term term;
  LogIndex index;
  EntryType type = EntryType::kNormal;
  Payload payload;

  EntryId id() const { return {term, index}; }
  bool operator==(const Entry&) const = default;
};

// What one entry counts against every byte limit of raft/: its payload and this much for the rest.
inline constexpr size_t kEntryOverheadBytes = 32;
inline size_t EntryBytes(const Entry& entry) { return entry.payload.size() + kEntryOverheadBytes; }

// What must be durable before this node answers anybody (thesis figure 3.1). Term and vote are one
// record (trap 27).
struct HardState {
  Term term;
  NodeId vote;      // whom this node voted for in `term`
  LogIndex commit;  // may lag behind: it only saves work after a restart

  bool operator==(const HardState&) const = default;
  bool empty() const { return *this == HardState{}; }
};

// A membership as stored with snapshots and reported by apply. Every list ascends and has no
// duplicates.
struct ConfState {
  std::vector<NodeId> voters;           // of the incoming (or only) configuration
  std::vector<NodeId> voters_outgoing;  // not empty: joint consensus (thesis 4.3)
  std::vector<NodeId> learners;
  std::vector<NodeId> learners_next;  // outgoing voters that become learners when it is left
  bool auto_leave = false;            // the leader leaves the joint configuration by itself

  bool operator==(const ConfState&) const = default;
  bool empty() const { return voters.empty() && voters_outgoing.empty() && learners.empty(); }
  bool Includes(NodeId id) const {
    const auto in = [id](const std::vector<NodeId>& ids) {
      return std::find(ids.begin(), ids.end(), id) != ids.end();
    };
    return in(voters) || in(voters_outgoing) || in(learners);
  }
};

// What a snapshot of the state machine replaces: the log up to `last`, and the membership as of
// `last`.
struct SnapshotMeta {
  EntryId last;
  ConfState conf;

  bool operator==(const SnapshotMeta&) const = default;
};

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

// Who leads and what this node is; never durable.
struct SoftState {
  NodeId leader;
  Role role = Role::kFollower;

  bool operator==(const SoftState&) const = default;
};

// The caller's name for one linearizable read; comes back with its read index. Never reused while
// outstanding.
using ReadToken = StrongId<struct ReadTokenTag>;
// Number of an append task within one RaftCore, dense from 1.
using AppendSeq = StrongId<struct AppendSeqTag>;

}  // namespace metastore::raft
