// etcdserverpb.Cluster: MemberList. Changing the membership needs peer links, which are not here
// yet.

#include <vector>

#include "rpc.pb.h"
#include "server/authorise.h"
#include "server/method_table.h"

namespace metastore::server {
namespace {

void EncodeMember(const Member& member, etcdserverpb::Member& to) {
  to.set_id(member.id.value());
  to.set_name(member.name);
  for (const std::string& url : member.peer_urls) to.add_peerurls(url);
  for (const std::string& url : member.client_urls) to.add_clienturls(url);
  to.set_islearner(member.is_learner);
}

io::Task<net::GrpcReply> MemberList(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::MemberListRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kStatus, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  if (message.linearizable()) {
    // A read of no key brings this member up to the leader's commit index.
    ReadCall barrier(edge.runtime(), edge.state().core(), edge.group());
    barrier.terms = edge.TermsOf(request);
    barrier.query.range = engine::RangeOp{.key = std::string_view("\0", 1), .count_only = true};
    const bool arrived = co_await barrier;
    if (!arrived) co_return ReplyError(errors::kTooManyRequests);
    if (!barrier.result.ok()) co_return net::GrpcReply{.status = barrier.result.status()};
  }
  std::vector<Member> members;
  Term term;
  LookCall look(edge.runtime(), edge.state(), [&] {
    for (const auto& [id, member] : edge.group().members().all()) members.push_back(member);
    term = edge.group().status().term;
  });
  const bool arrived = co_await look;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  etcdserverpb::MemberListResponse response;
  edge.FillHeader(Revision(0), term, *response.mutable_header());
  for (const Member& member : members) EncodeMember(member, *response.add_members());
  co_return ReplyWith(response);
}

constexpr UnaryMethod kMethods[] = {
    {"/etcdserverpb.Cluster/MemberList", MemberList},
};

}  // namespace

std::span<const UnaryMethod> ClusterMethods() { return kMethods; }

}  // namespace metastore::server
