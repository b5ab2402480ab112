// What members ask each other about the membership, on streams of kind kMembers: frames and their
// contents. Pure functions; bytes from peers are never CHECKed.
//
//   list     empty | answered by: u64 cluster id, Members::Encode
//   change   u8 version (1), u8 MemberOp, request id, length-prefixed Member | answered by: u8
//            version, u8 status code, length-prefixed message, varint term, varint count,
//            length-prefixed Members
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/state_calls.h"

namespace metastore::server {

enum class MemberRpc : uint16_t { kList = 1, kChange = 2 };

struct MemberChangeRequest {
  MemberOp op = MemberOp::kAdd;
  engine::RequestId request;
  Member member;
};
std::string EncodeMemberChangeRequest(const MemberChangeRequest& request);
// Errors: kDataLoss   not what EncodeMemberChangeRequest makes
StatusOr<MemberChangeRequest> DecodeMemberChangeRequest(std::string_view bytes);

struct MemberChangeReply {
  Status result;
  Term term;
  std::vector<Member> members;
};
std::string EncodeMemberChangeReply(const MemberChangeReply& reply);
// Errors: kDataLoss   not what EncodeMemberChangeReply makes
StatusOr<MemberChangeReply> DecodeMemberChangeReply(std::string_view bytes);

struct MemberList {
  ClusterId cluster;
  Members members;
};
std::string EncodeMemberList(ClusterId cluster, const Members& members,
                             const raft::ConfState& conf);
// Errors: kDataLoss   not what EncodeMemberList makes
StatusOr<MemberList> DecodeMemberList(std::string_view bytes);

}  // namespace metastore::server
