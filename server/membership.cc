#include "server/membership.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

namespace metastore::server {
namespace {

// The first 8 bytes of SHA1(bytes), big-endian. SHA1 is etcd's choice of a hash, not a protection.
uint64_t HashToId(std::string_view bytes) {
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  std::vector<unsigned char> input(bytes.begin(), bytes.end());
  SHA1(input.data(), input.size(), digest.data());
  uint64_t id = 0;
  for (size_t i = 0; i < sizeof(id); ++i) id = id << 8 | digest[i];
  return id;
}

}  // namespace

NodeId MemberIdOf(std::vector<std::string> peer_urls, std::string_view cluster_token,
                  std::optional<int64_t> unix_seconds) {
  std::ranges::sort(peer_urls);
  std::string bytes;
  for (const std::string& url : peer_urls) bytes += url;
  bytes += cluster_token;
  if (unix_seconds.has_value()) bytes += std::to_string(*unix_seconds);
  return NodeId(HashToId(bytes));
}

ClusterId ClusterIdOf(std::vector<NodeId> members) {
  std::ranges::sort(members);
  std::string bytes;
  for (NodeId member : members) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      bytes += static_cast<char>(member.value() >> shift & 0xff);
    }
  }
  return ClusterId(HashToId(bytes));
}

StatusOr<Bootstrap> MakeBootstrap(const ClusterConfig& cluster, std::string_view self_name) {
  Bootstrap bootstrap;
  std::vector<NodeId> ids;
  for (const InitialMember& member : cluster.initial_cluster) {
    std::vector<std::string> urls = member.peer_urls;
    std::ranges::sort(urls);
    const NodeId id = MemberIdOf(urls, cluster.token);
    if (std::ranges::find(ids, id) != ids.end()) {
      return InvalidArgumentError("--initial-cluster: ", member.name,
                                  " has the same peer URLs as another member");
    }
    ids.push_back(id);
    if (member.name == self_name) bootstrap.self = id;
    bootstrap.members.push_back({.id = id, .name = member.name, .peer_urls = std::move(urls)});
  }
  if (bootstrap.self == NodeId()) {
    return InvalidArgumentError("--initial-cluster: no member is called ", self_name);
  }
  std::ranges::sort(bootstrap.members, {}, &BootstrapMember::id);
  bootstrap.cluster_id = ClusterIdOf(std::move(ids));
  return bootstrap;
}

}  // namespace metastore::server
