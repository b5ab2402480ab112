// Aim: messages between members and questions about the membership round-trip, and whatever a peer
// sends is refused or understood, never trusted. Method: random messages, golden bytes, every
// truncation, random damage.

#include "server/peer_codec.h"

#include <gtest/gtest.h>

#include "io/base/prng.h"
#include "server/member_rpc.h"

namespace metastore::server {
namespace {

raft::Message RandomMessage(Prng& prng) {
  raft::Message message;
  message.type = static_cast<raft::MessageType>(1 + prng.Below(14));
  message.reject = prng.Chance(1, 2);
  message.transfer = prng.Chance(1, 4);
  message.from = NodeId(prng.Next());
  message.to = NodeId(prng.Next());
  message.term = Term(prng.Below(1000));
  message.log = {Term(prng.Below(1000)), LogIndex(prng.Next())};
  message.commit = LogIndex(prng.Below(1'000'000));
  message.reject_hint = LogIndex(prng.Below(300));
  message.transferee = NodeId(prng.Below(5));
  message.read_round = prng.Next();
  for (uint64_t i = prng.Below(4); i > 0; --i) {
    message.entries.push_back({.term = Term(prng.Below(9)),
                               .index = LogIndex(prng.Below(1 << 20)),
                               .type = static_cast<raft::EntryType>(prng.Below(3)),
                               .payload = raft::Payload(std::string(prng.Below(300), 'p'))});
  }
  if (prng.Chance(1, 3)) {
    message.snapshot = std::make_shared<const raft::SnapshotMeta>(raft::SnapshotMeta{
        .last = {Term(7), LogIndex(8)},
        .conf = {.voters = {NodeId(1), NodeId(2)}, .learners = {NodeId(3)}, .auto_leave = true}});
  }
  return message;
}

bool SameMessage(const raft::Message& a, const raft::Message& b) {
  raft::Message left = a;
  raft::Message right = b;
  const bool same_snapshot = (a.snapshot == nullptr) == (b.snapshot == nullptr) &&
                             (a.snapshot == nullptr || *a.snapshot == *b.snapshot);
  left.snapshot = right.snapshot = nullptr;
  return same_snapshot && left == right;
}

TEST(PeerCodec, RandomMessagesRoundTrip) {
  Prng prng(1);
  for (int i = 0; i < 2000; ++i) {
    const raft::Message message = RandomMessage(prng);
    std::string bytes;
    EncodePeerMessage(GroupId(3), message, bytes);
    const StatusOr<PeerMessage> decoded = DecodePeerMessage(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->group, GroupId(3));
    EXPECT_TRUE(SameMessage(decoded->message, message));
  }
}

TEST(PeerCodec, EveryTruncationIsRefused) {
  Prng prng(2);
  for (int i = 0; i < 50; ++i) {
    std::string bytes;
    EncodePeerMessage(GroupId(1), RandomMessage(prng), bytes);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(DecodePeerMessage(std::string_view(bytes).substr(0, size)).ok()) << size;
    }
    EXPECT_FALSE(DecodePeerMessage(bytes + "x").ok());
  }
}

TEST(PeerCodec, DamageNeverCrashesNorTakesMuchMemory) {
  Prng prng(3);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes;
    EncodePeerMessage(GroupId(1), RandomMessage(prng), bytes);
    for (uint64_t flips = 1 + prng.Below(4); flips > 0; --flips) {
      bytes[prng.Below(bytes.size())] = static_cast<char>(prng.Next());
    }
    const StatusOr<PeerMessage> decoded = DecodePeerMessage(bytes);
    if (decoded.ok()) EXPECT_LE(decoded->message.entries.size(), bytes.size());
  }
}

TEST(PeerCodec, AMessageOfTheOwnDiskIsNoPeers) {
  raft::Message message;
  message.type = raft::MessageType::kStorageAppendResponse;
  std::string bytes;
  EncodePeerMessage(GroupId(1), message, bytes);
  EXPECT_EQ(DecodePeerMessage(bytes).status().code(), StatusCode::kDataLoss);
}

TEST(PeerCodec, ANewerVersionIsNamed) {
  std::string bytes;
  EncodePeerMessage(GroupId(1), {}, bytes);
  bytes[0] = 9;
  EXPECT_EQ(DecodePeerMessage(bytes).status().code(), StatusCode::kUnimplemented);
}

TEST(MemberRpcFormat, QuestionsAndAnswersRoundTrip) {
  const Member member{.id = NodeId(4), .name = "n", .peer_urls = {"http://127.0.0.1:1"}};
  const std::string request = EncodeMemberChangeRequest(
      {.op = MemberOp::kUpdate, .request = {.node = NodeId(1), .counter = 2}, .member = member});
  const StatusOr<MemberChangeRequest> asked = DecodeMemberChangeRequest(request);
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(asked->op, MemberOp::kUpdate);
  EXPECT_EQ(asked->member, member);

  const std::string reply = EncodeMemberChangeReply(
      {.result = ToStatus(errors::kUnhealthy), .term = Term(3), .members = {member}});
  const StatusOr<MemberChangeReply> answer = DecodeMemberChangeReply(reply);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->result, ToStatus(errors::kUnhealthy));
  EXPECT_EQ(answer->members, std::vector<Member>{member});

  Members members;
  members.Put(member);
  const std::string list = EncodeMemberList(ClusterId(6), members, {.voters = {NodeId(4)}});
  const StatusOr<MemberList> known = DecodeMemberList(list);
  ASSERT_TRUE(known.ok());
  EXPECT_EQ(known->cluster, ClusterId(6));
  EXPECT_EQ(known->members.all(), members.all());

  for (size_t size = 0; size < request.size(); ++size) {
    EXPECT_FALSE(DecodeMemberChangeRequest(request.substr(0, size)).ok()) << size;
  }
  for (size_t size = 0; size < reply.size(); ++size) {
    EXPECT_FALSE(DecodeMemberChangeReply(reply.substr(0, size)).ok()) << size;
  }
  std::string unknown = reply;
  unknown[1] = 17;  // a status code that there is not
  EXPECT_FALSE(DecodeMemberChangeReply(unknown).ok());
  for (size_t size = 0; size < list.size(); ++size) {
    EXPECT_FALSE(DecodeMemberList(list.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace metastore::server
