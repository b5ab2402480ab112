// Aim: whatever a peer sends, malformed, misplaced or of the wrong kind, is refused and changes
// nothing. Method: a table of messages into a follower and a leader.
#include <gtest/gtest.h>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

Message Make(MessageType type, uint64_t from, uint64_t term) {
  Message message;
  message.type = type;
  message.from = NodeId(from);
  message.to = NodeId(1);
  message.term = Term(term);
  return message;
}

Entry At(uint64_t term, uint64_t index) { return {Term(term), LogIndex(index), {}, {}}; }

TEST(Step, RefusesWhatNoPeerMaySend) {
  Cluster cluster({});
  for (const uint64_t from : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
    EXPECT_EQ(cluster.core(1).Step(Make(MessageType::kHeartbeat, from, 2)).code(),
              StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(cluster.core(1).Step(Make(MessageType::kStorageAppendResponse, 2, 1)).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(cluster.core(1).term(), Term(1));
}

TEST(Step, RefusesTermsThatDoNotBelong) {
  Cluster cluster({});
  EXPECT_EQ(cluster.core(1).Step(Make(MessageType::kAppend, 2, 0)).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(cluster.core(1).Step(Make(MessageType::kPropose, 2, 3)).code(),
            StatusCode::kInvalidArgument);
}

TEST(Step, RefusesAnswersOfStrangers) {
  Cluster cluster({});
  cluster.Elect(1);
  const uint64_t term = cluster.core(1).term().value();
  EXPECT_EQ(cluster.core(1).Step(Make(MessageType::kAppendResponse, 9, term)).code(),
            StatusCode::kNotFound);
  // Not even by their term.
  EXPECT_EQ(cluster.core(1).Step(Make(MessageType::kHeartbeatResponse, 9, term + 5)).code(),
            StatusCode::kNotFound);
  EXPECT_TRUE(cluster.core(1).is_leader());
}

TEST(Step, RefusesASnapshotWithoutOne) {
  Cluster cluster({});
  EXPECT_EQ(cluster.core(1).Step(Make(MessageType::kSnapshot, 2, 2)).code(),
            StatusCode::kInvalidArgument);
}

TEST(Step, RefusesASnapshotWhoseMembershipContradictsItself) {
  Cluster cluster({});
  Message message = Make(MessageType::kSnapshot, 2, 2);
  SnapshotMeta meta;
  meta.last = {Term(2), LogIndex(9)};
  meta.conf.voters = {NodeId(1), NodeId(2)};
  meta.conf.learners = {NodeId(2)};
  message.snapshot = std::make_shared<const SnapshotMeta>(meta);
  EXPECT_EQ(cluster.core(1).Step(message).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(1));
}

TEST(Step, RefusesEntriesThatDoNotFollowOneAnother) {
  const std::vector<Entry> lists[] = {
      {At(2, 3)},            // a gap after 1
      {At(2, 2), At(2, 4)},  // a gap inside
      {At(2, 2), At(1, 3)},  // a term that falls
      {At(3, 2)},            // of a later term than the sender's
      {At(0, 2)},            // of an earlier term than the entry before
  };
  for (const std::vector<Entry>& entries : lists) {
    Cluster cluster({});
    Message message = Make(MessageType::kAppend, 2, 2);
    message.log = {Term(1), LogIndex(1)};
    message.entries = entries;
    EXPECT_EQ(cluster.core(1).Step(message).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(cluster.core(1).last_index(), LogIndex(1));
  }
}

TEST(Step, AForwardedConfChangeThatCannotBeDecodedBecomesAnEmptyEntry) {
  Cluster cluster({});
  cluster.Elect(1);
  cluster.Settle();
  const LogIndex before = cluster.core(1).last_index();
  Message message = Make(MessageType::kPropose, 2, 0);
  message.entries = {{{}, {}, EntryType::kConfChangeV2, Payload("nonsense")}};
  ASSERT_TRUE(cluster.core(1).Step(message).ok());
  EXPECT_EQ(cluster.core(1).last_index(), before + 1);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).conf().voters.size(), 3u);
}

TEST(Step, OldTermsAreIgnoredOrAnsweredWithTheNewOne) {
  Cluster cluster({});
  cluster.Elect(1);
  cluster.Settle();
  ASSERT_TRUE(cluster.core(2).Step(Make(MessageType::kVote, 3, 1)).ok());
  cluster.Pump(2);
  EXPECT_TRUE(cluster.node(2).appends.empty());
  ASSERT_TRUE(cluster.core(2).Step(Make(MessageType::kHeartbeat, 3, 1)).ok());
  cluster.Pump(2);
  cluster.Flush(2);
  ASSERT_EQ(cluster.network().size(), 1u);
  EXPECT_EQ(cluster.network().front().term, cluster.core(2).term());
}

TEST(Step, OwnMessagesMustBeOwn) {
  Cluster cluster({});
  EXPECT_DEATH(cluster.core(1).StepOwn(Make(MessageType::kAppendResponse, 2, 1)).IgnoreError(),
               "CHECK failed");
}

TEST(Step, EveryTypeHasAName) {
  for (int type = 1; type <= static_cast<int>(MessageType::kStorageAppendResponse); ++type) {
    EXPECT_TRUE(Name(static_cast<MessageType>(type)).starts_with("Msg"));
  }
}

}  // namespace
}  // namespace metastore::raft
