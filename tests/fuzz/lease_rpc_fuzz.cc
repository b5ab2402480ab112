// Aim: no bytes of a member crash the decoders of questions and answers about leases, or ask for
// memory out of proportion; what is accepted means the same once encoded again, and that is
// accepted, cut or longer never. Method: the input as it is, as a frame of the right version, and
// as a list of questions and answers to encode.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "server/lease_rpc.h"

namespace metastore::server {
namespace {

// At least so many bytes has each.
constexpr size_t kQuestionBytes = 2;
constexpr size_t kAnswerBytes = 3;

void DecodeAsQuestions(std::string_view bytes) {
  const StatusOr<std::vector<LeaseQuestion>> questions = DecodeLeaseQuestions(bytes);
  if (!questions.ok()) {
    CHECK(questions.status().code() == StatusCode::kDataLoss);
    return;
  }
  CHECK_LE(questions->size(), kLeaseQuestionsMax);
  CHECK_LE(questions->size() * kQuestionBytes, bytes.size());
  const std::string again = EncodeLeaseQuestions(*questions);
  const StatusOr<std::vector<LeaseQuestion>> second = DecodeLeaseQuestions(again);
  CHECK(second.ok());
  CHECK(EncodeLeaseQuestions(*second) == again);
}

void DecodeAsReply(std::string_view bytes) {
  const StatusOr<LeaseReply> reply = DecodeLeaseReply(bytes);
  if (!reply.ok()) {
    CHECK(reply.status().code() == StatusCode::kDataLoss);
    return;
  }
  CHECK_LE(reply->answers.size(), kLeaseQuestionsMax);
  CHECK_LE(reply->answers.size() * kAnswerBytes, bytes.size());
  const std::string again = EncodeLeaseReply(*reply);
  const StatusOr<LeaseReply> second = DecodeLeaseReply(again);
  CHECK(second.ok());
  CHECK(second->result == reply->result);
  CHECK(EncodeLeaseReply(*second) == again);
}

// Random bytes seldom begin with the version.
void DecodeWithVersion(std::string_view input) {
  std::string frame;
  PutU8(frame, 1);
  frame += input;
  DecodeAsQuestions(frame);
  DecodeAsReply(frame);
}

// `decode(bytes)`: whether they are accepted.
template <typename Decode>
void ExpectWholeOnly(std::string frame, size_t cut, const Decode& decode) {
  CHECK(decode(frame));
  CHECK(!decode(std::string_view(frame).substr(0, cut % frame.size())));
  CHECK(!decode(frame + '\0'));
}

void MakeAndCut(std::string_view input) {
  Reader in(input);
  const size_t cut = in.U16();
  std::vector<LeaseQuestion> questions;
  LeaseReply reply;
  while (in.ok() && in.rest().size() >= 9) {
    const uint8_t flags = in.U8();
    const auto value = static_cast<int64_t>(in.U64());
    questions.push_back({LeaseId(value), (flags & 1) != 0});
    reply.answers.push_back({(flags & 2) != 0, value, ~value});
  }
  const std::string_view message = in.rest();
  if (!message.empty()) reply.result = MakeStatus(StatusCode::kUnavailable, message);
  ExpectWholeOnly(EncodeLeaseQuestions(questions), cut,
                  [](std::string_view bytes) { return DecodeLeaseQuestions(bytes).ok(); });
  ExpectWholeOnly(EncodeLeaseReply(reply), cut,
                  [](std::string_view bytes) { return DecodeLeaseReply(bytes).ok(); });
  const StatusOr<LeaseReply> back = DecodeLeaseReply(EncodeLeaseReply(reply));
  CHECK(back.ok() && back->result == reply.result);
  CHECK(std::ranges::equal(back->answers, reply.answers, [](const auto& a, const auto& b) {
    return a.found == b.found && a.granted_seconds == b.granted_seconds &&
           a.remaining_seconds == b.remaining_seconds;
  }));
}

}  // namespace
}  // namespace metastore::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  metastore::server::DecodeAsQuestions(input);
  metastore::server::DecodeAsReply(input);
  metastore::server::DecodeWithVersion(input);
  metastore::server::MakeAndCut(input);
  return 0;
}
