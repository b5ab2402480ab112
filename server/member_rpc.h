// What members ask each other about the membership and their states, on streams of kind kMembers:
// frames and their contents. A question that a build does not know ends the stream. Pure functions;
// bytes from peers are never CHECKed.
//
//   list     empty | answered by: u64 cluster id, Members::Encode
//   change   u8 version (1), u8 MemberOp, request id, length-prefixed Member | answered by: u8
//            version, u8 status code, length-prefixed message, varint term, varint count,
//            length-prefixed Members
//   term     empty | answered by: u8 version (1), u8 whether it votes, varint term, Members::Encode
//   digest   EncodeMemberDigest of the asker | answered by that of the same index, or empty
//   leases   server/lease_rpc.h
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/peer_stream.h"
#include "server/state_calls.h"

namespace metastore::server {

enum class MemberRpc : uint16_t { kList = 1, kChange = 2, kDigest = 3, kTerm = 4, kLeases = 5 };

// Asks one question over a stream of kMembers. Errors: those of the stream; kDataLoss  the answer
// is another's
io::Task<StatusOr<std::string>> AskMember(net::PeerStream& stream, MemberRpc rpc,
                                          std::string request);

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

// What a member says to one that repairs itself (log_repair.h).
struct TermAnswer {
  Term term;
  bool votes = true;
  Members members;
  raft::ConfState conf;
};
std::string EncodeTermAnswer(const TermAnswer& answer);
// Errors: kDataLoss   not what EncodeTermAnswer makes
StatusOr<TermAnswer> DecodeTermAnswer(std::string_view bytes);

struct MemberList {
  ClusterId cluster;
  Members members;
};
std::string EncodeMemberList(ClusterId cluster, const Members& members,
                             const raft::ConfState& conf);
// Errors: kDataLoss   not what EncodeMemberList makes
StatusOr<MemberList> DecodeMemberList(std::string_view bytes);

}  // namespace metastore::server
