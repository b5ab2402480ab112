#include "server/edge.h"

#include <algorithm>

#include "rpc.pb.h"

namespace metastore::server {

CallTerms Edge::TermsOf(const net::GrpcRequest& request) const {
  const std::optional<std::string_view> has_leader = request.metadata.Find("hasleader");
  return {.deadline = std::min(request.deadline, runtime_.Now() + request_timeout()),
          .require_leader = has_leader.has_value() && *has_leader == "true"};
}

void Edge::FillHeader(Revision revision, Term term, etcdserverpb::ResponseHeader& header) const {
  header.set_cluster_id(identity_.cluster.value());
  header.set_member_id(identity_.member.value());
  header.set_revision(revision.value());
  header.set_raft_term(term.value());
}

Status ParseRequest(const net::GrpcRequest& request, google::protobuf::MessageLite& message) {
  if (message.ParseFromString(request.message)) return OkStatus();
  return InternalError("grpc: error unmarshalling request: malformed ", message.GetTypeName());
}

net::GrpcReply ReplyWith(const google::protobuf::MessageLite& message) {
  net::GrpcReply reply;
  message.SerializeToString(&reply.message);
  return reply;
}

}  // namespace metastore::server
