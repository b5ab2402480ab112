// What a member asks the leader about leases, on a stream of kind kMembers (member_rpc.h, kLeases):
// one frame with many questions, answered by one frame. Pure functions; bytes from peers are never
// CHECKed.
//
//   question   u8 version (1), varint count, count times: u8 whether to renew, signed id
//   answer     u8 version, u8 status code, length-prefixed message, varint count, count times: u8
//              whether it was found, signed granted, signed remaining (signed: zigzag varint)
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/lease_call.h"

namespace metastore::server {

// Questions of one frame, at most.
inline constexpr size_t kLeaseQuestionsMax = 65536;

struct LeaseReply {
  Status result;
  std::vector<LeaseAnswer> answers;  // of an OK result: one a question
};

std::string EncodeLeaseQuestions(std::span<const LeaseQuestion> questions);
// Errors: kDataLoss   not what EncodeLeaseQuestions makes
StatusOr<std::vector<LeaseQuestion>> DecodeLeaseQuestions(std::string_view bytes);

std::string EncodeLeaseReply(const LeaseReply& reply);
// Errors: kDataLoss   not what EncodeLeaseReply makes
StatusOr<LeaseReply> DecodeLeaseReply(std::string_view bytes);

}  // namespace metastore::server
