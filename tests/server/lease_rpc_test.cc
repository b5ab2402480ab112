// Aim: what members ask each other about leases round-trips, refuses damage, and stays as it is for
// ever. Method: golden bytes, truncation at every length, and counts that promise more than there
// is.

#include "server/lease_rpc.h"

#include <gtest/gtest.h>

namespace metastore::server {
namespace {

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes)
    hex += absl::StrCat(absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
  return hex;
}

const std::vector<LeaseQuestion> kQuestions = {{LeaseId(300), true}, {LeaseId(-1), false}};

TEST(LeaseRpc, QuestionsStayAsTheyAre) {
  const std::string bytes = EncodeLeaseQuestions(kQuestions);
  EXPECT_EQ(Hex(bytes), "010201d8040001");
  const StatusOr<std::vector<LeaseQuestion>> decoded = DecodeLeaseQuestions(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ASSERT_EQ(decoded->size(), 2u);
  EXPECT_EQ((*decoded)[0].lease, LeaseId(300));
  EXPECT_TRUE((*decoded)[0].renew);
  EXPECT_EQ((*decoded)[1].lease, LeaseId(-1));
  EXPECT_FALSE((*decoded)[1].renew);
}

TEST(LeaseRpc, AnswersStayAsTheyAre) {
  const std::string bytes =
      EncodeLeaseReply({.result = OkStatus(), .answers = {{true, 60, 30}, {false, 0, 0}}});
  EXPECT_EQ(Hex(bytes),
            "010000020178"
            "3c000000");
  const StatusOr<LeaseReply> decoded = DecodeLeaseReply(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_TRUE(decoded->result.ok());
  ASSERT_EQ(decoded->answers.size(), 2u);
  EXPECT_TRUE(decoded->answers[0].found);
  EXPECT_EQ(decoded->answers[0].granted_seconds, 60);
  EXPECT_EQ(decoded->answers[0].remaining_seconds, 30);
  EXPECT_FALSE(decoded->answers[1].found);
}

TEST(LeaseRpc, RefusalsKeepTheirWords) {
  const StatusOr<LeaseReply> decoded =
      DecodeLeaseReply(EncodeLeaseReply({.result = UnavailableError("not now"), .answers = {}}));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->result, UnavailableError("not now"));
}

TEST(LeaseRpc, DamageIsRefused) {
  const std::string questions = EncodeLeaseQuestions(kQuestions);
  for (size_t bytes = 0; bytes < questions.size(); ++bytes) {
    EXPECT_FALSE(DecodeLeaseQuestions(questions.substr(0, bytes)).ok()) << bytes;
  }
  EXPECT_FALSE(DecodeLeaseQuestions(questions + "x").ok());
  const std::string reply =
      EncodeLeaseReply({.result = UnavailableError("x"), .answers = {{true, 60, 30}}});
  for (size_t bytes = 0; bytes < reply.size(); ++bytes) {
    EXPECT_FALSE(DecodeLeaseReply(reply.substr(0, bytes)).ok()) << bytes;
  }
  EXPECT_FALSE(DecodeLeaseReply(reply + "x").ok());
  // Of another version; more questions than a frame may have; neither yes nor no.
  EXPECT_FALSE(DecodeLeaseQuestions(std::string("\x02\x00", 2)).ok());
  EXPECT_FALSE(DecodeLeaseQuestions("\x01\xff\xff\xff\xff\x7f").ok());
  EXPECT_FALSE(DecodeLeaseQuestions("\x01\x01\x02\x02").ok());
  // A status code that there is not.
  EXPECT_TRUE(DecodeLeaseReply(std::string("\x01\x10\x00\x00", 4)).ok());
  EXPECT_FALSE(DecodeLeaseReply(std::string("\x01\x11\x00\x00", 4)).ok());
}

}  // namespace
}  // namespace metastore::server
