// etcdserverpb.Cluster: the membership, and changes of it.

#include <algorithm>
#include <vector>

#include "rpc.pb.h"
#include "server/authorise.h"
#include "server/config_url.h"
#include "server/membership.h"
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
  bool fenced = false;
  LookCall look(edge.runtime(), edge.state(), [&] {
    fenced = edge.group().fenced();
    for (const auto& [id, member] : edge.group().members().all()) members.push_back(member);
    term = edge.group().status().term;
  });
  const bool arrived = co_await look;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  if (fenced) co_return ReplyError(errors::kCorrupt);
  etcdserverpb::MemberListResponse response;
  edge.FillHeader(Revision(0), term, *response.mutable_header());
  for (const Member& member : members) EncodeMember(member, *response.add_members());
  co_return ReplyWith(response);
}

// What a change's request asks for; `member` is filled but for the id of one to be added.
struct Asked {
  MemberOp op = MemberOp::kAdd;
  Member member;
};

// Sorted; nothing: not all of them are peer URLs, or there are none.
template <typename Strings>
std::optional<std::vector<std::string>> PeerUrlsOf(const Strings& urls) {
  std::vector<std::string> sorted;
  for (const std::string& text : urls) {
    StatusOr<Url> url = ParseUrl(text);
    if (!url.ok()) return std::nullopt;
    sorted.push_back(url->ToString());
  }
  std::ranges::sort(sorted);
  if (sorted.empty()) return std::nullopt;
  return sorted;
}

// Carries `asked` out and fills `response`, of any of the changes' types.
template <typename Response>
io::Task<net::GrpcReply> Change(Edge& edge, net::GrpcRequest& request, Asked asked) {
  Status permitted = Authorise(PrincipalOf(request), Access{Permission::kAdminister, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  MemberCall call(edge.runtime(), edge.state().core(), edge.group());
  call.terms = edge.TermsOf(request);
  call.id = edge.NextRequestId();
  call.op = asked.op;
  call.member = std::move(asked.member);
  const Member member = call.member;
  const bool arrived = co_await call;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  if (!call.result.ok()) co_return net::GrpcReply{.status = call.result};
  Response response;
  edge.FillHeader(Revision(0), call.term, *response.mutable_header());
  for (const Member& known : call.members) EncodeMember(known, *response.add_members());
  if constexpr (requires { response.mutable_member(); }) {
    EncodeMember(member, *response.mutable_member());
  }
  co_return ReplyWith(response);
}

io::Task<net::GrpcReply> MemberAdd(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::MemberAddRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  std::optional<std::vector<std::string>> urls = PeerUrlsOf(message.peerurls());
  if (!urls.has_value()) co_return ReplyError(errors::kMemberBadUrls);
  const int64_t now_s = edge.runtime().WallNow().ns / 1'000'000'000;
  Asked asked{.op = message.islearner() ? MemberOp::kAddLearner : MemberOp::kAdd};
  asked.member.id = MemberIdOf(*urls, edge.config().cluster.token, now_s);
  asked.member.peer_urls = *std::move(urls);
  asked.member.is_learner = message.islearner();
  net::GrpcReply reply =
      co_await Change<etcdserverpb::MemberAddResponse>(edge, request, std::move(asked));
  co_return reply;
}

io::Task<net::GrpcReply> MemberUpdate(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::MemberUpdateRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  std::optional<std::vector<std::string>> urls = PeerUrlsOf(message.peerurls());
  if (!urls.has_value()) co_return ReplyError(errors::kMemberBadUrls);
  Asked asked{.op = MemberOp::kUpdate};
  asked.member.id = NodeId(message.id());
  asked.member.peer_urls = *std::move(urls);
  net::GrpcReply reply =
      co_await Change<etcdserverpb::MemberUpdateResponse>(edge, request, std::move(asked));
  co_return reply;
}

// Removal and promotion name a member, no more.
template <typename Request, typename Response, MemberOp kOp>
io::Task<net::GrpcReply> ChangeById(Edge& edge, net::GrpcRequest& request) {
  Request message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Asked asked{.op = kOp};
  asked.member.id = NodeId(message.id());
  net::GrpcReply reply = co_await Change<Response>(edge, request, std::move(asked));
  co_return reply;
}

constexpr UnaryMethod kMethods[] = {
    {"/etcdserverpb.Cluster/MemberAdd", MemberAdd},
    {"/etcdserverpb.Cluster/MemberRemove",
     ChangeById<etcdserverpb::MemberRemoveRequest, etcdserverpb::MemberRemoveResponse,
                MemberOp::kRemove>},
    {"/etcdserverpb.Cluster/MemberUpdate", MemberUpdate},
    {"/etcdserverpb.Cluster/MemberPromote",
     ChangeById<etcdserverpb::MemberPromoteRequest, etcdserverpb::MemberPromoteResponse,
                MemberOp::kPromote>},
    {"/etcdserverpb.Cluster/MemberList", MemberList},
};

}  // namespace

std::span<const UnaryMethod> ClusterMethods() { return kMethods; }

}  // namespace metastore::server
