// DigestBook: what members say their state comes to at one applied index, and who is the odd one
// out. Pure; owned by the Group.
//
// Each member judges for itself, by the voters of the configuration at that index: where a majority
// of them agree on something else, this member's state is wrong. Without such a majority nobody
// knows whose is. A joint configuration asks for both majorities. Learners judge and are judged,
// but do not count.
//
// Bounds: the kRemembered highest indexes, of its own and of others; the owner takes no digest but
// of members.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/state_digest.h"
#include "io/base/status.h"
#include "raft/types.h"

namespace metastore::server {

// All of a member's replicated state at one index.
struct MemberDigest {
  engine::StateDigest state;
  uint64_t membership = 0;  // of Members::Encode
  bool operator==(const MemberDigest&) const = default;
};

// Between members. Layout: u8 version (1) | u64 applied index | u64 revision | u64 compacted | u64
// of each range | u64 unversioned | u64 membership.
std::string EncodeMemberDigest(const MemberDigest& digest);
// Errors: kDataLoss       not what EncodeMemberDigest makes
//         kUnimplemented  a version this build does not know
StatusOr<MemberDigest> DecodeMemberDigest(std::string_view bytes);

// Where the digests of one index differ, for people: "revisions 1 to 40, 81 to 90, leases".
std::string DescribeDifference(const MemberDigest& own, const MemberDigest& other);

enum class DigestVerdict : uint8_t {
  kAlike,    // nothing contradicts this member's digest, or a majority agrees with it
  kOddOne,   // a majority agrees on another
  kInDoubt,  // digests differ, and no majority agrees
};

struct DigestJudgement {
  DigestVerdict verdict = DigestVerdict::kAlike;
  bool confirmed = false;                // kAlike: by a majority, this member's own voice included
  std::optional<MemberDigest> majority;  // kOddOne
  std::vector<NodeId> alike;             // others whose digest is this member's
  std::vector<NodeId> differing;         // and whose is not
};

// Another member whose digest differed from this one's when both were last known.
struct DigestDifference {
  NodeId member;
  LogIndex index;
  std::string where;
};

// What a member has found out, for /health, Status and the metrics.
struct DigestStatus {
  std::string fenced;                       // why; empty: it is not
  bool in_doubt = false;                    // digests differ, and no majority agrees
  std::vector<DigestDifference> differing;  // members there are, by id
  LogIndex confirmed;                       // where a majority last agreed with this member
};

// One line for each member that is not like the others, as etcd writes its alarms, and why.
std::vector<std::string> CorruptAlarms(NodeId self, const DigestStatus& status);
// Why this member is not healthy; empty: it is, for all that digests tell. One that knows of others
// which differ from it and from the majority is.
std::string CorruptReason(const DigestStatus& status);

class DigestBook final {
 public:
  static constexpr size_t kRemembered = 4;

  explicit DigestBook(NodeId self) : self_(self) {}

  // This member's own, above all before it (CHECKed), and who belonged to the cluster there.
  void NoteOwn(const MemberDigest& digest, const raft::ConfState& conf);
  // What `from`, another, says; the last word counts.
  void NoteOther(NodeId from, const MemberDigest& digest);
  // What `member` says of `index`; null: nothing, or it is forgotten.
  const MemberDigest* Find(LogIndex index, NodeId member) const;
  const MemberDigest* OwnAt(LogIndex index) const;
  // Index of the newest own digest; 0: none.
  LogIndex newest() const { return own_.empty() ? LogIndex() : own_.rbegin()->first; }
  // Members at newest() whose digest of it is not known.
  std::vector<NodeId> Missing() const;
  // Of the digests at `index`, where this member has one (CHECKed).
  DigestJudgement Judge(LogIndex index) const;

 private:
  struct Own {
    MemberDigest digest;
    raft::ConfState conf;
  };
  using Others = std::map<NodeId, MemberDigest>;

  bool MajorityOf(const std::vector<NodeId>& voters, LogIndex index,
                  const MemberDigest& digest) const;

  const NodeId self_;
  std::map<LogIndex, Own> own_;
  std::map<LogIndex, Others> others_;
};

}  // namespace metastore::server
