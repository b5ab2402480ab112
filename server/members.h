// The membership as replicated state: who belongs to the cluster, under which addresses.
//
// Owner: the Group, on its state core; changed only by apply, so equal on every member at an equal
// applied index. Travels in snapshots and in the context of membership log entries.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/command.h"
#include "io/base/coding.h"
#include "io/base/ids.h"
#include "io/base/status.h"
#include "raft/conf_change.h"
#include "raft/types.h"

namespace metastore::server {

struct Member {
  NodeId id;
  std::string name;  // empty until the member has started and published it
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;  // likewise empty until published
  bool is_learner = false;
  // Of the data directory that the member published itself from; 0: not yet.
  uint64_t incarnation = 0;

  bool operator==(const Member&) const = default;
};

std::string EncodeMember(const Member& member);
// Errors: kDataLoss   not what EncodeMember makes
StatusOr<Member> DecodeMember(std::string_view bytes);

// The context of a membership entry: who asked for it, and the member it adds or changes; of a
// removed one only the id counts.
struct MemberChange {
  engine::RequestId request;  // zero for the members that a cluster begins with
  Member member;
};

std::string EncodeMemberChange(const MemberChange& change);
// Errors: kDataLoss   not what EncodeMemberChange or EncodeMember makes
StatusOr<MemberChange> DecodeMemberChange(std::string_view bytes);

// A membership of raft's, as part of other formats.
void PutConfState(std::string& to, const raft::ConfState& conf);
// Check from.ok() afterwards.
raft::ConfState TakeConfState(Reader& from);

// What a member says of itself, published through the log when it starts.
struct MemberAttributes {
  NodeId id;
  std::string name;
  std::vector<std::string> client_urls;
  uint64_t incarnation = 0;
};

std::string EncodeMemberAttributes(const MemberAttributes& attributes);
// Errors: kDataLoss   not what EncodeMemberAttributes makes
StatusOr<MemberAttributes> DecodeMemberAttributes(std::string_view bytes);

class Members final {
 public:
  // Adds or replaces.
  void Put(Member member) { members_[member.id] = std::move(member); }
  // Carries out a committed change of `member`, whose outcome for raft is `conf`. What a member has
  // published of itself stays, whatever the change says.
  void Apply(const raft::ConfChange& change, const Member& member, const raft::ConfState& conf);
  // Unknown members are ignored: one removed before its publication was applied; and one that had
  // published itself from another data directory.
  void SetAttributes(const MemberAttributes& attributes);
  // Marks learners as `conf` has them and drops members it no longer has.
  void Follow(const raft::ConfState& conf);
  // Whether a member of that id has left: it never comes back under it.
  bool Removed(NodeId id) const { return removed_.contains(id); }

  const Member* Find(NodeId id) const;
  // By id.
  const std::map<NodeId, Member>& all() const { return members_; }
  const std::set<NodeId>& removed() const { return removed_; }

  // The membership and `conf` for a snapshot.
  std::string Encode(const raft::ConfState& conf) const;
  // Errors: kDataLoss   not what Encode makes
  static StatusOr<std::pair<Members, raft::ConfState>> Decode(std::string_view bytes);

 private:
  std::map<NodeId, Member> members_;
  std::set<NodeId> removed_;
};

}  // namespace metastore::server
