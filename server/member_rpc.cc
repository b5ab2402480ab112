#include "server/member_rpc.h"

#include <tuple>
#include <utility>

#include "io/base/coding.h"

namespace metastore::server {
namespace {

constexpr uint8_t kFormatVersion = 1;

bool IsMemberOp(uint8_t op) {
  return op >= static_cast<uint8_t>(MemberOp::kAdd) &&
         op <= static_cast<uint8_t>(MemberOp::kRemove);
}

}  // namespace

io::Task<StatusOr<std::string>> AskMember(net::PeerStream& stream, MemberRpc rpc,
                                          std::string request) {
  Status sent = co_await stream.Send(static_cast<uint16_t>(rpc), request);
  MS_CO_RETURN_IF_ERROR(sent);
  StatusOr<net::PeerFrame> answer = co_await stream.Receive();
  MS_CO_RETURN_IF_ERROR(answer.status());
  if (answer->type != static_cast<uint16_t>(rpc)) {
    co_return DataLossError("a peer answered another question");
  }
  co_return std::string(answer->body);
}

std::string EncodeMemberChangeRequest(const MemberChangeRequest& request) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutU8(bytes, static_cast<uint8_t>(request.op));
  PutBytes(bytes, EncodeMemberChange({request.request, request.member}));
  return bytes;
}

StatusOr<MemberChangeRequest> DecodeMemberChangeRequest(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  const uint8_t op = reader.U8();
  StatusOr<MemberChange> change = DecodeMemberChange(reader.LengthPrefixed());
  if (!reader.done() || version != kFormatVersion || !IsMemberOp(op)) {
    return DataLossError("malformed membership request");
  }
  if (!change.ok()) return change.status();
  return MemberChangeRequest{static_cast<MemberOp>(op), change->request, std::move(change->member)};
}

std::string EncodeMemberChangeReply(const MemberChangeReply& reply) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutU8(bytes, static_cast<uint8_t>(reply.result.code()));
  PutBytes(bytes, StdView(reply.result.message()));
  PutVarint(bytes, reply.term.value());
  PutVarint(bytes, reply.members.size());
  for (const Member& member : reply.members) PutBytes(bytes, EncodeMember(member));
  return bytes;
}

StatusOr<MemberChangeReply> DecodeMemberChangeReply(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  MemberChangeReply reply;
  const auto code = static_cast<StatusCode>(reader.U8());
  const std::string_view message = reader.LengthPrefixed();
  if (code != StatusCode::kOk) reply.result = Status(code, AbslView(message));
  reply.term = Term(reader.Varint());
  const uint64_t count = reader.Varint();
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    StatusOr<Member> member = DecodeMember(reader.LengthPrefixed());
    if (!member.ok()) return member.status();
    reply.members.push_back(*std::move(member));
  }
  if (!reader.done() || version != kFormatVersion || code > StatusCode::kUnauthenticated) {
    return DataLossError("malformed membership reply");
  }
  return reply;
}

std::string EncodeTermAnswer(const TermAnswer& answer) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutU8(bytes, answer.votes ? 1 : 0);
  PutVarint(bytes, answer.term.value());
  bytes += answer.members.Encode(answer.conf);
  return bytes;
}

StatusOr<TermAnswer> DecodeTermAnswer(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  const uint8_t votes = reader.U8();
  TermAnswer answer{.term = Term(reader.Varint()), .votes = votes == 1};
  if (!reader.ok() || version != kFormatVersion || votes > 1) {
    return DataLossError("malformed term answer");
  }
  auto decoded = Members::Decode(reader.rest());
  if (!decoded.ok()) return decoded.status();
  std::tie(answer.members, answer.conf) = *std::move(decoded);
  return answer;
}

std::string EncodeMemberList(ClusterId cluster, const Members& members,
                             const raft::ConfState& conf) {
  std::string bytes;
  PutU64(bytes, cluster.value());
  bytes += members.Encode(conf);
  return bytes;
}

StatusOr<MemberList> DecodeMemberList(std::string_view bytes) {
  Reader reader(bytes);
  const ClusterId cluster(reader.U64());
  if (!reader.ok()) return DataLossError("malformed member list");
  auto decoded = Members::Decode(reader.rest());
  if (!decoded.ok()) return decoded.status();
  return MemberList{cluster, std::move(decoded->first)};
}

}  // namespace metastore::server
