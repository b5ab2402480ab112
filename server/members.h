// The membership as replicated state: who belongs to the cluster, under which addresses.
//
// Owner: the Group, on its state core; changed only by apply, so equal on every member at an equal
// applied index. Travels in snapshots and in the context of membership log entries.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/ids.h"
#include "io/base/status.h"
#include "raft/types.h"

namespace metastore::server {

struct Member {
  NodeId id;
  std::string name;  // empty until the member has started and published it
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;  // likewise empty until published
  bool is_learner = false;

  bool operator==(const Member&) const = default;
};

std::string EncodeMember(const Member& member);
// Errors: kDataLoss   not what EncodeMember makes
StatusOr<Member> DecodeMember(std::string_view bytes);

// A member's own name and client URLs, as it publishes them through the log when it starts.
struct MemberAttributes {
  NodeId id;
  std::string name;
  std::vector<std::string> client_urls;
};

std::string EncodeMemberAttributes(const MemberAttributes& attributes);
// Errors: kDataLoss   not what EncodeMemberAttributes makes
StatusOr<MemberAttributes> DecodeMemberAttributes(std::string_view bytes);

class Members final {
 public:
  // Adds or replaces; `raft_state` decides voters and learners (SetRoles).
  void Put(Member member) { members_[member.id] = std::move(member); }
  void Remove(NodeId id) { members_.erase(id); }
  // Unknown members are ignored: one removed before its publication was applied.
  void SetAttributes(const MemberAttributes& attributes);
  // Marks learners as `conf` has them and drops members it no longer has.
  void Follow(const raft::ConfState& conf);

  const Member* Find(NodeId id) const;
  // By id.
  const std::map<NodeId, Member>& all() const { return members_; }

  // The membership and `conf` for a snapshot.
  std::string Encode(const raft::ConfState& conf) const;
  // Errors: kDataLoss   not what Encode makes
  static StatusOr<std::pair<Members, raft::ConfState>> Decode(std::string_view bytes);

 private:
  std::map<NodeId, Member> members_;
};

}  // namespace metastore::server
