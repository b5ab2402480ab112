// Ids of members and clusters by etcd's rule, and the membership a cluster starts with. Pure
// functions on values.
//
// Every member computes the same ids from the same flags, so a cluster agrees on them before it has
// ever talked. The rule is etcd's (server/etcdserver/api/membership), so that tools and
// documentation match.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/ids.h"
#include "io/base/status.h"
#include "server/config.h"

namespace metastore::server {

// A member's id: the first 8 bytes, big-endian, of SHA1(its sorted peer URLs joined + cluster token
// + time).
//   peer_urls        in any order
//   unix_seconds     when the member was added to a running cluster; absent for the members it
//   started with
NodeId MemberIdOf(std::vector<std::string> peer_urls, std::string_view cluster_token,
                  std::optional<int64_t> unix_seconds = std::nullopt);

// A cluster's id: the first 8 bytes, big-endian, of SHA1(the sorted member ids, 8 bytes big-endian
// each).
ClusterId ClusterIdOf(std::vector<NodeId> members);

struct BootstrapMember {
  NodeId id;
  std::string name;
  std::vector<std::string> peer_urls;  // sorted
  bool operator==(const BootstrapMember&) const = default;
};

// The membership of a new cluster, for one member and for many alike.
struct Bootstrap {
  ClusterId cluster_id;
  NodeId self;
  std::vector<BootstrapMember> members;  // by id
};

// Computes the membership of `cluster`, in which this member is called `self_name`.
// Errors: kInvalidArgument  no member of that name; two members with one id (the same peer URLs)
StatusOr<Bootstrap> MakeBootstrap(const ClusterConfig& cluster, std::string_view self_name);

}  // namespace metastore::server
