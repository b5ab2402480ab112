// Aim: who is the odd one out follows from the voters' digests and nothing else; what is remembered
// is bounded; differences are told by revision. Method: tables of who says what.

#include "server/digest_book.h"

#include <gtest/gtest.h>

namespace metastore::server {
namespace {

constexpr NodeId kSelf{1};

MemberDigest DigestOf(uint64_t index, uint64_t content) {
  MemberDigest digest;
  digest.state.applied_index = LogIndex(index);
  digest.state.revision = Revision(3200);
  digest.state.compacted = Revision(-1);
  digest.state.ranges[3] = content;
  digest.membership = 77;
  return digest;
}

std::vector<NodeId> Ids(std::initializer_list<uint64_t> values) {
  std::vector<NodeId> ids;
  for (const uint64_t value : values) ids.emplace_back(value);
  return ids;
}

struct Case {
  const char* name;
  std::initializer_list<uint64_t> voters;
  std::initializer_list<uint64_t> outgoing;
  std::initializer_list<uint64_t> learners;
  // What members 2, 3, ... say; 0: nothing. This one says 5.
  std::vector<uint64_t> others;
  DigestVerdict verdict;
  bool confirmed;
};

TEST(DigestBook, TheOddOneIsWhoAMajorityContradicts) {
  using enum DigestVerdict;
  const Case cases[] = {
      {"alone", {1}, {}, {}, {}, kAlike, true},
      {"nobody answered", {1, 2, 3}, {}, {}, {0, 0}, kAlike, false},
      {"one agrees", {1, 2, 3}, {}, {}, {5, 0}, kAlike, true},
      {"one differs", {1, 2, 3}, {}, {}, {6, 0}, kInDoubt, false},
      {"both differ alike", {1, 2, 3}, {}, {}, {6, 6}, kOddOne, false},
      {"both differ, each in its way", {1, 2, 3}, {}, {}, {6, 7}, kInDoubt, false},
      {"another is odd", {1, 2, 3}, {}, {}, {5, 6}, kAlike, true},
      {"two members", {1, 2}, {}, {}, {6}, kInDoubt, false},
      {"two against two", {1, 2, 3, 4}, {}, {}, {5, 6, 6}, kInDoubt, false},
      {"one against three", {1, 2, 3, 4}, {}, {}, {6, 6, 6}, kOddOne, false},
      {"two of five differ", {1, 2, 3, 4, 5}, {}, {}, {6, 6, 0, 0}, kInDoubt, false},
      {"three of five differ", {1, 2, 3, 4, 5}, {}, {}, {6, 6, 6, 5}, kOddOne, false},
      {"a learner differs", {1, 2, 3}, {}, {4}, {5, 5, 6}, kAlike, true},
      {"learners do not count", {1, 2, 3}, {}, {4, 5}, {6, 0, 6, 6}, kInDoubt, false},
      {"a learner against its voters", {2, 3, 4}, {}, {1}, {6, 6, 0}, kOddOne, false},
      {"a learner with its voters", {2, 3, 4}, {}, {1}, {5, 5, 0}, kAlike, true},
      {"a learner and one voter", {2}, {}, {1}, {6}, kOddOne, false},
      {"strangers are not heard", {1, 2, 3}, {}, {}, {5, 5, 6, 6, 6}, kAlike, true},
      {"joint: both majorities", {1, 2, 3}, {1, 4, 5}, {}, {6, 6, 6, 6}, kOddOne, false},
      {"joint: one majority only", {1, 2, 3}, {1, 4, 5}, {}, {6, 6, 5, 5}, kInDoubt, false},
      {"joint: confirmed by both", {1, 2, 3}, {1, 4, 5}, {}, {5, 0, 0, 5}, kAlike, true},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    DigestBook book(kSelf);
    book.NoteOwn(DigestOf(9, 5), {.voters = Ids(one.voters),
                                  .voters_outgoing = Ids(one.outgoing),
                                  .learners = Ids(one.learners)});
    for (size_t i = 0; i < one.others.size(); ++i) {
      if (one.others[i] != 0) book.NoteOther(NodeId(2 + i), DigestOf(9, one.others[i]));
    }
    const DigestJudgement judgement = book.Judge(LogIndex(9));
    EXPECT_EQ(judgement.verdict, one.verdict);
    EXPECT_EQ(judgement.confirmed, one.confirmed);
    EXPECT_EQ(judgement.majority.has_value(), one.verdict == DigestVerdict::kOddOne);
  }
}

TEST(DigestBook, TellsWhoDiffersAndWhoIsMissing) {
  DigestBook book(kSelf);
  EXPECT_TRUE(book.Missing().empty());
  book.NoteOwn(DigestOf(9, 5),
               {.voters = Ids({1, 2, 3}), .voters_outgoing = Ids({1, 2}), .learners = Ids({4, 5})});
  EXPECT_EQ(book.Missing(), Ids({2, 3, 4, 5}));
  book.NoteOther(NodeId(3), DigestOf(9, 5));
  book.NoteOther(NodeId(4), DigestOf(9, 6));
  book.NoteOther(NodeId(2), DigestOf(8, 5));
  EXPECT_EQ(book.Missing(), Ids({2, 5}));
  const DigestJudgement judgement = book.Judge(LogIndex(9));
  EXPECT_EQ(judgement.alike, Ids({3}));
  EXPECT_EQ(judgement.differing, Ids({4}));
}

TEST(DigestBook, WhatCameBeforeItsOwnDigestCounts) {
  DigestBook book(kSelf);
  book.NoteOther(NodeId(2), DigestOf(9, 6));
  book.NoteOther(NodeId(3), DigestOf(9, 6));
  EXPECT_EQ(book.OwnAt(LogIndex(9)), nullptr);
  book.NoteOwn(DigestOf(9, 5), {.voters = Ids({1, 2, 3})});
  EXPECT_EQ(book.Judge(LogIndex(9)).verdict, DigestVerdict::kOddOne);
}

TEST(DigestBook, TheLastWordOfAMemberCounts) {
  DigestBook book(kSelf);
  book.NoteOwn(DigestOf(9, 5), {.voters = Ids({1, 2, 3})});
  book.NoteOther(NodeId(2), DigestOf(9, 6));
  book.NoteOther(NodeId(2), DigestOf(9, 5));
  EXPECT_TRUE(book.Judge(LogIndex(9)).confirmed);
}

TEST(DigestBook, RemembersTheNewestOnly) {
  DigestBook book(kSelf);
  const raft::ConfState conf{.voters = Ids({1, 2})};
  for (uint64_t index = 1; index <= 10; ++index) {
    book.NoteOwn(DigestOf(index, 5), conf);
    book.NoteOther(NodeId(2), DigestOf(index, 5));
  }
  for (uint64_t index = 1; index <= 10; ++index) {
    const bool remembered = index > 10 - DigestBook::kRemembered;
    EXPECT_EQ(book.OwnAt(LogIndex(index)) != nullptr, remembered) << index;
    EXPECT_EQ(book.Find(LogIndex(index), NodeId(2)) != nullptr, remembered) << index;
  }
  EXPECT_EQ(book.newest(), LogIndex(10));
  book.NoteOther(NodeId(2), DigestOf(1, 5));
  EXPECT_EQ(book.Find(LogIndex(1), NodeId(2)), nullptr) << "what is old takes no room";
}

TEST(DigestFormat, RoundTripsAndStaysAsItIs) {
  MemberDigest digest = DigestOf(0x0102030405060708, 0x1112131415161718);
  digest.state.compacted = Revision(-1);
  digest.state.unversioned = 9;
  const std::string bytes = EncodeMemberDigest(digest);
  ASSERT_EQ(bytes.size(), 1u + 8 * (3 + engine::kDigestRanges + 2));
  EXPECT_EQ(bytes.substr(0, 25), std::string("\x01\x08\x07\x06\x05\x04\x03\x02\x01\x80\x0c\0\0\0\0"
                                             "\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
                                             25));
  EXPECT_EQ(bytes.substr(25 + 3 * 8, 8), "\x18\x17\x16\x15\x14\x13\x12\x11");
  EXPECT_EQ(bytes.substr(25 + 32 * 8), std::string("\x09\0\0\0\0\0\0\0M\0\0\0\0\0\0\0", 16));
  const StatusOr<MemberDigest> decoded = DecodeMemberDigest(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, digest);
}

TEST(DigestFormat, DamageAndOtherVersionsAreRefused) {
  std::string bytes = EncodeMemberDigest(DigestOf(1, 2));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeMemberDigest(bytes.substr(0, size)).status().code(), StatusCode::kDataLoss);
  }
  EXPECT_EQ(DecodeMemberDigest(bytes + "x").status().code(), StatusCode::kDataLoss);
  bytes[0] = 2;
  EXPECT_EQ(DecodeMemberDigest(bytes).status().code(), StatusCode::kUnimplemented);
}

TEST(DigestText, NamesWhatDiffers) {
  const MemberDigest own = DigestOf(9, 5);
  MemberDigest other = own;
  other.state.ranges[0] = 1;
  EXPECT_EQ(DescribeDifference(own, other), "revisions 1 to 100");
  other.state.ranges[1] = 1;
  other.state.ranges[31] = 1;
  other.state.unversioned = 1;
  other.membership = 1;
  EXPECT_EQ(DescribeDifference(own, other), "revisions 1 to 200, 3101 to 3200, leases, membership");
  for (size_t i = 0; i < engine::kDigestRanges; i += 2) other.state.ranges[i] = 8;
  EXPECT_EQ(DescribeDifference(own, other),
            "revisions 1 to 300, 401 to 500, 601 to 700, 801 to 900, 11 more ranges up to 3200, "
            "leases, membership");
  other.state.revision = Revision(3201);
  other.state.compacted = Revision(7);
  EXPECT_EQ(DescribeDifference(own, other),
            "current revision 3200 here, 3201, compacted at -1 here, 7, leases, membership");
}

TEST(CorruptText, AFencedMemberOneInDoubtAndOneInTheRight) {
  const DigestDifference two{.member = NodeId(2), .index = LogIndex(9), .where = "leases"};
  const DigestStatus well{.confirmed = LogIndex(9)};
  EXPECT_EQ(CorruptReason(well), "");
  EXPECT_TRUE(CorruptAlarms(kSelf, well).empty());
  const DigestStatus right{.differing = {two}};
  EXPECT_EQ(CorruptReason(right), "") << "it serves on, and well";
  EXPECT_EQ(CorruptAlarms(kSelf, right),
            std::vector<std::string>{"memberID:2 alarm:CORRUPT its state differs from this "
                                     "member's at index 9: leases"});
  const DigestStatus doubt{.in_doubt = true, .differing = {two}};
  EXPECT_EQ(CorruptReason(doubt),
            "the states of members differ, and no majority agrees: at index 9 from member 2's: "
            "leases");
  EXPECT_TRUE(CorruptAlarms(kSelf, doubt).front().ends_with("; no majority agrees"));
  const DigestStatus fenced{.fenced = "why"};
  EXPECT_EQ(CorruptReason(fenced), "why");
  EXPECT_EQ(CorruptAlarms(kSelf, fenced), std::vector<std::string>{"memberID:1 alarm:CORRUPT why"});
}

}  // namespace
}  // namespace metastore::server
