#include "server/lease_rpc.h"

#include <utility>

#include "io/base/coding.h"

namespace metastore::server {
namespace {

constexpr uint8_t kFormatVersion = 1;

void PutSigned(std::string& to, int64_t value) { PutVarint(to, ZigZag(value)); }
int64_t ReadSigned(Reader& in) { return UnZigZag(in.Varint()); }

}  // namespace

std::string EncodeLeaseQuestions(std::span<const LeaseQuestion> questions) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutVarint(bytes, questions.size());
  for (const LeaseQuestion& question : questions) {
    PutU8(bytes, question.renew ? 1 : 0);
    PutSigned(bytes, question.lease.value());
  }
  return bytes;
}

StatusOr<std::vector<LeaseQuestion>> DecodeLeaseQuestions(std::string_view bytes) {
  Reader in(bytes);
  const uint8_t version = in.U8();
  const uint64_t count = in.Varint();
  std::vector<LeaseQuestion> questions;
  bool valid = in.ok() && version == kFormatVersion && count <= kLeaseQuestionsMax;
  for (uint64_t i = 0; i < count && valid; ++i) {
    const uint8_t renew = in.U8();
    questions.push_back({LeaseId(ReadSigned(in)), renew == 1});
    valid = in.ok() && renew <= 1;
  }
  if (!valid || !in.done()) return DataLossError("malformed questions about leases");
  return questions;
}

std::string EncodeLeaseReply(const LeaseReply& reply) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutU8(bytes, static_cast<uint8_t>(reply.result.code()));
  PutBytes(bytes, StdView(reply.result.message()));
  PutVarint(bytes, reply.answers.size());
  for (const LeaseAnswer& answer : reply.answers) {
    PutU8(bytes, answer.found ? 1 : 0);
    PutSigned(bytes, answer.granted_seconds);
    PutSigned(bytes, answer.remaining_seconds);
  }
  return bytes;
}

StatusOr<LeaseReply> DecodeLeaseReply(std::string_view bytes) {
  Reader in(bytes);
  const uint8_t version = in.U8();
  const auto code = static_cast<StatusCode>(in.U8());
  const std::string_view message = in.LengthPrefixed();
  const uint64_t count = in.Varint();
  LeaseReply reply;
  if (code != StatusCode::kOk) reply.result = MakeStatus(code, message);
  bool valid = in.ok() && version == kFormatVersion && count <= kLeaseQuestionsMax &&
               code <= StatusCode::kUnauthenticated;
  for (uint64_t i = 0; i < count && valid; ++i) {
    const uint8_t found = in.U8();
    LeaseAnswer& answer = reply.answers.emplace_back();
    answer.found = found == 1;
    answer.granted_seconds = ReadSigned(in);
    answer.remaining_seconds = ReadSigned(in);
    valid = in.ok() && found <= 1;
  }
  if (!valid || !in.done()) return DataLossError("malformed answer about leases");
  return reply;
}

}  // namespace metastore::server
