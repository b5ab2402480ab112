// Aim: the server's own formats (members, hard state, publication) round-trip, refuse damage, and
// stay as they are for ever. Method: tables, golden bytes, and truncation at every length.

#include <gtest/gtest.h>

#include "server/flight.h"
#include "server/member_rpc.h"
#include "server/members.h"
#include "server/server_command.h"

namespace metastore::server {
namespace {

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    hex += kDigits[static_cast<uint8_t>(c) >> 4];
    hex += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return hex;
}

Member Example() {
  return {.id = NodeId(0x0102030405060708),
          .name = "a",
          .peer_urls = {"http://p:1"},
          .client_urls = {"http://c:2", "http://c:3"},
          .is_learner = true};
}

TEST(MembersFormat, MemberRoundTrips) {
  const StatusOr<Member> decoded = DecodeMember(EncodeMember(Example()));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, Example());
}

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

TEST(MembersFormat, MemberBytesStayAsTheyAre) {
  const Member member{.id = NodeId(0x0102030405060708),
                      .name = "ab",
                      .peer_urls = {"x"},
                      .incarnation = 0x1112131415161718};
  EXPECT_EQ(Hex(EncodeMember(member)), "02080706050403020100026162010178001817161514131211");
}

TEST(MembersFormat, FirstVersionIsReadForEver) {
  const StatusOr<Member> member = DecodeMember(FromHex("0108070605040302010002616201017800"));
  ASSERT_TRUE(member.ok());
  EXPECT_EQ(*member, (Member{.id = NodeId(0x0102030405060708), .name = "ab", .peer_urls = {"x"}}));
  // One voter 9, nobody else; one member 9 without names; nothing about removed ones.
  const auto members =
      Members::Decode(FromHex("01"
                              "01"
                              "0900000000000000"
                              "00"
                              "00"
                              "00"
                              "00"
                              "01"
                              "0d"
                              "01"
                              "0900000000000000"
                              "00"
                              "00"
                              "00"
                              "00"));
  ASSERT_TRUE(members.ok()) << members.status();
  EXPECT_EQ(members->second.voters, std::vector<NodeId>{NodeId(9)});
  EXPECT_EQ(members->first.all().size(), 1u);
}

TEST(MembersFormat, ChangesRoundTripAndPlainMembersCountAsSuch) {
  const MemberChange change{.request = {.node = NodeId(5), .boot = 6, .counter = 7},
                            .member = Example()};
  const std::string bytes = EncodeMemberChange(change);
  const StatusOr<MemberChange> decoded = DecodeMemberChange(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->request, change.request);
  EXPECT_EQ(decoded->member, change.member);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeMemberChange(bytes.substr(0, size)).ok()) << size;
  }
  const StatusOr<MemberChange> plain = DecodeMemberChange(EncodeMember(Example()));
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->request, engine::RequestId());
  EXPECT_EQ(plain->member, Example());
}

TEST(MembersFormat, EveryTruncationIsRefused) {
  const std::string bytes = EncodeMember(Example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeMember(bytes.substr(0, size)).status().code(), StatusCode::kDataLoss) << size;
  }
  EXPECT_FALSE(DecodeMember(bytes + "x").ok());
}

TEST(MembersFormat, AnUnknownVersionIsRefused) {
  std::string bytes = EncodeMember(Example());
  bytes[0] = 3;
  EXPECT_EQ(DecodeMember(bytes).status().code(), StatusCode::kDataLoss);
}

TEST(MembersFormat, MembershipRoundTripsWithItsConfiguration) {
  Members members;
  members.Put(Example());
  members.Put(Member{.id = NodeId(9)});
  const raft::ConfState conf{.voters = {NodeId(9)},
                             .voters_outgoing = {NodeId(1)},
                             .learners = {NodeId(2)},
                             .learners_next = {NodeId(3)},
                             .auto_leave = true};
  const std::string bytes = members.Encode(conf);
  const auto decoded = Members::Decode(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->first.all(), members.all());
  EXPECT_EQ(decoded->second, conf);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Members::Decode(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
}

TEST(Members, FollowDropsWhoLeftAndMarksLearners) {
  Members members;
  for (const uint64_t id : {1u, 2u, 3u}) members.Put(Member{.id = NodeId(id)});
  members.Follow({.voters = {NodeId(1)}, .learners = {NodeId(3)}});
  EXPECT_EQ(members.all().size(), 2u);
  EXPECT_FALSE(members.Find(NodeId(1))->is_learner);
  EXPECT_EQ(members.Find(NodeId(2)), nullptr);
  EXPECT_TRUE(members.Find(NodeId(3))->is_learner);
}

TEST(Members, AttributesOfAStrangerAreIgnored) {
  Members members;
  members.Put(Member{.id = NodeId(1)});
  members.SetAttributes({.id = NodeId(2), .name = "stranger"});
  members.SetAttributes({.id = NodeId(1), .name = "one", .client_urls = {"u"}});
  EXPECT_EQ(members.all().size(), 1u);
  EXPECT_EQ(members.Find(NodeId(1))->name, "one");
  EXPECT_EQ(members.Find(NodeId(1))->client_urls, std::vector<std::string>{"u"});
}

TEST(Members, ChangesKeepWhatMembersSayOfThemselves) {
  Members members;
  members.Put(Member{.id = NodeId(1), .name = "one", .peer_urls = {"a"}, .incarnation = 4});
  const raft::ConfState conf{.voters = {NodeId(1)}};
  raft::ConfChange update{.steps = {{raft::ConfChangeKind::kUpdate, NodeId(1)}}};
  members.Apply(update, Member{.id = NodeId(1), .peer_urls = {"b"}}, conf);
  EXPECT_EQ(members.Find(NodeId(1))->name, "one");
  EXPECT_EQ(members.Find(NodeId(1))->peer_urls, std::vector<std::string>{"b"});
  raft::ConfChange promote{.steps = {{raft::ConfChangeKind::kAddVoter, NodeId(1)}}};
  members.Apply(promote, Member{.id = NodeId(1)}, conf);
  EXPECT_EQ(members.Find(NodeId(1))->name, "one");
  EXPECT_EQ(members.Find(NodeId(1))->incarnation, 4u);
}

TEST(Members, RemovedOnesAreRememberedInSnapshotsToo) {
  Members members;
  for (const uint64_t id : {1u, 2u}) members.Put(Member{.id = NodeId(id)});
  const raft::ConfState left{.voters = {NodeId(1)}};
  members.Apply({.steps = {{raft::ConfChangeKind::kRemove, NodeId(2)}}}, Member{.id = NodeId(2)},
                left);
  EXPECT_EQ(members.Find(NodeId(2)), nullptr);
  EXPECT_TRUE(members.Removed(NodeId(2)));
  const auto decoded = Members::Decode(members.Encode(left));
  ASSERT_TRUE(decoded.ok());
  EXPECT_TRUE(decoded->first.Removed(NodeId(2)));
  EXPECT_FALSE(decoded->first.Removed(NodeId(1)));
}

TEST(HardStateFormat, RoundTripsAndStaysAsItIs) {
  const DurableState state{.raft = {.term = Term(3), .vote = NodeId(7), .commit = LogIndex(260)},
                           .incarnation = 9};
  const std::string bytes = EncodeHardState(state);
  EXPECT_EQ(Hex(bytes),
            "02"
            "0300000000000000"
            "0700000000000000"
            "0401000000000000"
            "0900000000000000");
  const StatusOr<DurableState> decoded = DecodeHardState(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, state);
  EXPECT_EQ(DecodeHardState(bytes.substr(1)).status().code(), StatusCode::kDataLoss);
}

TEST(HardStateFormat, OnlyARepairWritesTheThirdVersion) {
  const DurableState state{.raft = {.term = Term(3)}, .incarnation = 9, .repair_term = Term(258)};
  const std::string bytes = EncodeHardState(state);
  EXPECT_EQ(Hex(bytes),
            "03"
            "0300000000000000"
            "0000000000000000"
            "0000000000000000"
            "0900000000000000"
            "0201000000000000");
  const StatusOr<DurableState> decoded = DecodeHardState(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, state);
  EXPECT_FALSE(DecodeHardState(bytes.substr(0, bytes.size() - 1)).ok());
}

TEST(TermAnswer, RoundTripsAndRefusesWhatIsNone) {
  TermAnswer answer{.term = Term(300), .votes = false, .conf = {.voters = {NodeId(1)}}};
  answer.members.Put({.id = NodeId(1), .name = "n1"});
  const std::string bytes = EncodeTermAnswer(answer);
  const StatusOr<TermAnswer> decoded = DecodeTermAnswer(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->term, Term(300));
  EXPECT_FALSE(decoded->votes);
  EXPECT_EQ(decoded->conf, answer.conf);
  EXPECT_EQ(decoded->members.Find(NodeId(1))->name, "n1");
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeTermAnswer(bytes.substr(0, size)).ok()) << size;
  }
}

TEST(HardStateFormat, FirstVersionIsReadForEver) {
  const StatusOr<DurableState> decoded =
      DecodeHardState(FromHex("01"
                              "0300000000000000"
                              "0700000000000000"
                              "0401000000000000"));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->raft.commit, LogIndex(260));
  EXPECT_EQ(decoded->incarnation, 0u);
}

TEST(ServerCommand, PublicationRoundTrips) {
  const engine::RequestId id{.node = NodeId(5), .boot = 6, .counter = 7};
  const std::string bytes = EncodePublishMember(id, {.id = NodeId(5), .name = "n"});
  EXPECT_TRUE(IsServerCommand(bytes));
  const StatusOr<ServerCommand> decoded = DecodeServerCommand(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->request, id);
  EXPECT_EQ(decoded->attributes.name, "n");
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeServerCommand(bytes.substr(0, size)).ok()) << size;
  }
}

TEST(ServerCommand, ComparisonRoundTripsAndStaysAsItIs) {
  const engine::RequestId id{.node = NodeId(5), .boot = 6, .counter = 7};
  std::string bytes = EncodeCompare(id);
  EXPECT_EQ(Hex(bytes),
            "011100"
            "0500000000000000"
            "06000000"
            "0700000000000000"
            "01");
  EXPECT_TRUE(IsServerCommand(bytes));
  const StatusOr<ServerCommand> decoded = DecodeServerCommand(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->kind, ServerOpKind::kCompare);
  EXPECT_EQ(decoded->request, id);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeServerCommand(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeServerCommand(bytes + "x").ok());
  bytes.back() = 2;
  EXPECT_EQ(DecodeServerCommand(bytes).status().code(), StatusCode::kUnimplemented);
}

TEST(ServerCommand, AnEngineCommandIsNotTheServers) {
  EXPECT_FALSE(IsServerCommand(engine::EncodePut({}, {.key = "k"})));
  EXPECT_FALSE(IsServerCommand(""));
}

TEST(ServerCommand, AnUnknownKindIsNamed) {
  std::string bytes = EncodePublishMember({}, {});
  bytes[1] = 99;
  EXPECT_TRUE(IsServerCommand(bytes));
  EXPECT_EQ(DecodeServerCommand(bytes).status().code(), StatusCode::kUnimplemented);
}

TEST(Flight, RecordsAreHardStateThenEntries) {
  Flight flight;
  EXPECT_FALSE(flight.HasRecords());
  flight.task.hard_state = raft::HardState{.term = Term(2)};
  flight.task.entries.push_back({.term = Term(2),
                                 .index = LogIndex(5),
                                 .type = raft::EntryType::kConfChangeV2,
                                 .payload = raft::Payload("body")});
  EXPECT_TRUE(flight.HasRecords());
  std::vector<wal::Record> records;
  RecordsOf(flight, {.incarnation = 3}, SIZE_MAX, records);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].kind, wal::RecordKind::kHardState);
  EXPECT_EQ(records[1].kind, wal::RecordKind::kEntry);
  EXPECT_EQ(records[1].index, LogIndex(5));
  EXPECT_EQ(records[1].tag, static_cast<uint8_t>(raft::EntryType::kConfChangeV2));
  EXPECT_EQ(records[1].bytes, "body");
}

TEST(Flight, LargeTasksComeInPartsInOrder) {
  Flight flight;
  flight.task.hard_state = raft::HardState{.term = Term(2)};
  for (uint64_t i = 1; i <= 5; ++i) {
    flight.task.entries.push_back(
        {.term = Term(2), .index = LogIndex(i), .payload = raft::Payload(std::string(1000, 'x'))});
  }
  std::vector<wal::Record> records;
  EXPECT_EQ(RecordsOf(flight, {.incarnation = 3}, 2000, records), 2u);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].kind, wal::RecordKind::kHardState);
  flight.appended = 2;
  EXPECT_EQ(RecordsOf(flight, {.incarnation = 3}, 1, records), 3u);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].index, LogIndex(3));
  flight.appended = 3;
  EXPECT_EQ(RecordsOf(flight, {.incarnation = 3}, SIZE_MAX, records), 5u);
  EXPECT_EQ(records.size(), 2u);
}

TEST(Flight, ASnapshotComesAfterTheHardStateInOneAppend) {
  Flight flight;
  flight.task.hard_state = raft::HardState{.term = Term(4)};
  flight.task.snapshot = std::make_shared<const raft::SnapshotMeta>(
      raft::SnapshotMeta{.last = {Term(3), LogIndex(50)}});
  EXPECT_TRUE(flight.HasRecords());
  std::vector<wal::Record> records;
  RecordsOf(flight, {.incarnation = 3}, SIZE_MAX, records);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(DecodeHardState(records[0].bytes)->incarnation, 3u);
  EXPECT_EQ(records[1].kind, wal::RecordKind::kSnapshotMeta);
  EXPECT_EQ(records[1].index, LogIndex(50));
  EXPECT_EQ(records[1].term, Term(3));
}

}  // namespace
}  // namespace metastore::server
