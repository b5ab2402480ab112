// Aim: replication, commitment and durability (thesis 3.5, 3.6, 10.2.1) and their traps. Method:
// clusters whose disks and messages are moved by hand; logs of former terms are made by electing
// and cutting off.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

Cluster::Options Nodes(size_t voters) {
  Cluster::Options options;
  options.nodes = options.voters = voters;
  // Plain elections, so that tests can make terms at will.
  options.configure = [](Config& config) { config.pre_vote = config.check_quorum = false; };
  return options;
}

Entry MakeEntry(uint64_t term, uint64_t index, std::string_view value = "") {
  return {Term(term), LogIndex(index), EntryType::kNormal, Payload(value)};
}

Message MakeAppend(uint64_t from, uint64_t to, uint64_t term, EntryId log,
                   std::vector<Entry> entries, uint64_t commit) {
  Message message;
  message.type = MessageType::kAppend;
  message.from = NodeId(from);
  message.to = NodeId(to);
  message.term = Term(term);
  message.log = log;
  message.entries = std::move(entries);
  message.commit = LogIndex(commit);
  return message;
}

// Steps an append into node 1, makes everything durable, returns the answer.
Message Answer(Cluster& cluster, Message append) {
  cluster.network().clear();
  EXPECT_TRUE(cluster.core(1).Step(std::move(append)).ok());
  cluster.Pump(1);
  while (cluster.Flush(1)) {
  }
  EXPECT_EQ(cluster.network().size(), 1u);
  return cluster.network().empty() ? Message() : cluster.network().back();
}

constexpr EntryId kStart{Term(1), LogIndex(1)};

TEST(Replication, AProposalIsAppliedByAll) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  EXPECT_EQ(cluster.Propose(1, "a").code, ProposeCode::kAccepted);
  cluster.Settle();
  EXPECT_TRUE(cluster.Converged());
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_EQ(cluster.node(id).values.back(), "a");
}

TEST(Replication, ABatchGetsConsecutivePlacesFromTheOneReturned) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  std::vector<Payload> batch;
  for (const char* value : {"a", "b", "c"}) batch.emplace_back(std::string_view(value));
  const LogIndex before = cluster.core(1).last_index();
  const ProposeResult result = cluster.core(1).Propose(batch);
  EXPECT_EQ(result.code, ProposeCode::kAccepted);
  EXPECT_EQ(result.first, (EntryId{cluster.core(1).term(), before + 1}));
  EXPECT_EQ(cluster.core(1).last_index(), before + 3);
  EXPECT_TRUE(batch[0].empty());
  cluster.Pump(1);
  EXPECT_EQ(cluster.node(1).appends.size(), 1u);
  cluster.Settle();
  EXPECT_EQ(cluster.node(1).values, (std::vector<std::string>{"", "a", "b", "c"}));
}

TEST(Replication, AnybodyButALeaderRefusesOrForwards) {
  Cluster::Options options = Nodes(3);
  Cluster cluster(options);
  Payload payload(std::string_view("x"));
  EXPECT_EQ(cluster.core(2).Propose({&payload, 1}).code, ProposeCode::kNotLeader);
  EXPECT_EQ(payload.view(), "x");
  cluster.Elect(1);
  const ProposeResult result = cluster.Propose(2, "forwarded");
  EXPECT_EQ(result.code, ProposeCode::kForwarded);
  EXPECT_EQ(result.leader, NodeId(1));
  cluster.Settle();
  EXPECT_EQ(cluster.node(3).values.back(), "forwarded");
}

TEST(Replication, WithoutForwardingAFollowerNamesTheLeader) {
  Cluster::Options options = Nodes(3);
  options.configure = [](Config& config) { config.forward_proposals = false; };
  Cluster cluster(options);
  cluster.Elect(1);
  const ProposeResult result = cluster.Propose(2, "x");
  EXPECT_EQ(result.code, ProposeCode::kNotLeader);
  EXPECT_EQ(result.leader, NodeId(1));
}

TEST(Replication, OneVoterCommitsWhatIsDurableAndNothingElse) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  cluster.Settle();
  const LogIndex before = cluster.core(1).commit();
  cluster.Propose(1, "a");
  EXPECT_EQ(cluster.core(1).commit(), before);
  EXPECT_TRUE(cluster.node(1).applies.empty());
  cluster.Flush(1);
  EXPECT_EQ(cluster.core(1).commit(), before + 1);
  EXPECT_EQ(cluster.node(1).applies.size(), 1u);
}

TEST(Replication, EveryLoneProposalIsExactlyOneDurableWrite) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  cluster.Settle();
  const size_t before = cluster.node(1).synced_writes;
  for (int i = 0; i < 20; ++i) {
    cluster.Propose(1, "v");
    cluster.Settle();
  }
  EXPECT_EQ(cluster.node(1).synced_writes, before + 20);
}

TEST(Replication, ProposalsThatArriveDuringAWriteShareTheNextOne) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  cluster.Settle();
  Payload first(std::string_view("first"));
  ASSERT_EQ(cluster.core(1).Propose({&first, 1}).code, ProposeCode::kAccepted);
  cluster.Pump(1);
  for (int i = 0; i < 5; ++i) {
    Payload next(std::string_view("next"));
    ASSERT_EQ(cluster.core(1).Propose({&next, 1}).code, ProposeCode::kAccepted);
  }
  cluster.Pump(1);
  ASSERT_EQ(cluster.node(1).appends.size(), 2u);
  EXPECT_EQ(cluster.node(1).appends.back().task.entries.size(), 5u);
}

TEST(Replication, AnIdleNodeWritesNothing) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  cluster.Settle();
  cluster.Tick(1, 100);
  EXPECT_TRUE(cluster.node(1).appends.empty());
}

TEST(Replication, TwoFollowersCommitWithoutTheLeadersDiskButItAppliesOnlyWhatIsDurableThere) {
  // Thesis 10.2.1.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Settle();
  cluster.Propose(1, "a");
  const LogIndex index = cluster.core(1).last_index();
  while (!cluster.network().empty()) {
    cluster.Deliver(0);
    while (cluster.Flush(2) || cluster.Flush(3)) {
    }
  }
  EXPECT_EQ(cluster.core(1).commit(), index);
  EXPECT_TRUE(cluster.node(1).applies.empty());
  while (cluster.Flush(1)) {
  }
  EXPECT_EQ(cluster.node(1).applies.size(), 1u);
}

TEST(Replication, FollowersAcknowledgeWhenDurable) {
  // Trap 28.
  Cluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.core(1).Step(MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2)}, 1)).ok());
  cluster.Pump(1);
  EXPECT_TRUE(cluster.network().empty());
  cluster.Flush(1);
  ASSERT_EQ(cluster.network().size(), 1u);
  EXPECT_EQ(cluster.network().front().type, MessageType::kAppendResponse);
  EXPECT_EQ(cluster.network().front().log.index, LogIndex(2));
}

TEST(Replication, RefusalsWaitForTheDiskToo) {
  Cluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.core(1)
                  .Step(MakeAppend(2, 1, 2, {Term(2), LogIndex(9)}, {MakeEntry(2, 10)}, 1))
                  .ok());
  cluster.Pump(1);
  EXPECT_TRUE(cluster.network().empty());
  cluster.Flush(1);
  EXPECT_TRUE(cluster.network().front().reject);
}

TEST(Replication, OnlyEntriesOfTheOwnTermCommitByCounting) {
  // Trap 2, figure 3.7 of the thesis: an entry of an earlier term on a majority is not yet safe.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message&) { return true; };
  cluster.Propose(1, "old");
  cluster.Settle();
  const LogIndex old = cluster.core(1).last_index();
  cluster.Crash(1);
  cluster.Restart(1);
  // Node 1 leads again; its entry reaches node 2, but the empty one of the new term does not.
  cluster.lost = [](const Message& m) {
    return m.type == MessageType::kAppend || m.type == MessageType::kAppendResponse;
  };
  cluster.Elect(1);
  const Term term = cluster.core(1).term();
  const LogIndex commit = cluster.core(1).commit();
  Message ack;
  ack.type = MessageType::kAppendResponse;
  ack.from = NodeId(2);
  ack.term = term;
  ack.log.index = old;
  ASSERT_TRUE(cluster.core(1).Step(ack).ok());
  EXPECT_EQ(cluster.core(1).commit(), commit);
  ack.log.index = old + 1;
  ASSERT_TRUE(cluster.core(1).Step(ack).ok());
  EXPECT_EQ(cluster.core(1).commit(), old + 1);
}

TEST(Replication, AFollowerCommitsAtMostTheLastNewEntryOfTheMessage) {
  // Trap 33.
  Cluster cluster(Nodes(3));
  Answer(cluster, MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2), MakeEntry(2, 3)}, 1));
  Answer(cluster, MakeAppend(3, 1, 3, kStart, {MakeEntry(2, 2)}, 9));
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(2));
  EXPECT_EQ(cluster.core(1).last_index(), LogIndex(3));
}

TEST(Replication, AConflictingSuffixIsReplaced) {
  Cluster cluster(Nodes(3));
  Answer(cluster, MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2), MakeEntry(2, 3, "old")}, 1));
  const Message answer =
      Answer(cluster, MakeAppend(3, 1, 3, {Term(2), LogIndex(2)}, {MakeEntry(3, 3, "new")}, 2));
  EXPECT_FALSE(answer.reject);
  ASSERT_EQ(cluster.node(1).entries.size(), 2u);
  EXPECT_EQ(cluster.node(1).entries.back().payload.view(), "new");
}

TEST(Replication, DuplicatesAndOldAppendsTruncateNothing) {
  // Trap 35.
  Cluster cluster(Nodes(3));
  const std::vector<Entry> entries = {MakeEntry(2, 2), MakeEntry(2, 3), MakeEntry(2, 4)};
  Answer(cluster, MakeAppend(2, 1, 2, kStart, entries, 2));
  Answer(cluster, MakeAppend(2, 1, 2, kStart, {entries[0], entries[1]}, 2));
  EXPECT_EQ(cluster.core(1).last_index(), LogIndex(4));
  const Message old = Answer(cluster, MakeAppend(2, 1, 2, kStart, {entries[0]}, 2));
  EXPECT_EQ(old.log.index, LogIndex(2));
  EXPECT_EQ(cluster.core(1).last_index(), LogIndex(4));
}

TEST(Replication, AnAppendFromBelowTheCommitIndexOnlyTellsTheSender) {
  Cluster cluster(Nodes(3));
  Answer(cluster, MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2), MakeEntry(2, 3)}, 3));
  // Even one that contradicts what is committed, which no leader would send.
  const Message answer = Answer(
      cluster, MakeAppend(3, 1, 3, kStart, {MakeEntry(3, 2), MakeEntry(3, 3), MakeEntry(3, 4)}, 4));
  EXPECT_FALSE(answer.reject);
  EXPECT_EQ(answer.log.index, LogIndex(3));
  EXPECT_EQ(cluster.core(1).last_index(), LogIndex(3));
  EXPECT_EQ(cluster.node(1).entries.front().term, Term(2));
}

TEST(Replication, AHeartbeatBeyondTheLogIsDataLossAndChangesNothing) {
  // Trap 34.
  Cluster cluster(Nodes(3));
  Message heartbeat;
  heartbeat.type = MessageType::kHeartbeat;
  heartbeat.from = NodeId(2);
  heartbeat.to = NodeId(1);
  heartbeat.term = Term(1);
  heartbeat.commit = LogIndex(5);
  EXPECT_EQ(cluster.core(1).Step(heartbeat).code(), StatusCode::kDataLoss);
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(1));
}

TEST(Replication, TwoLeadersOfOneTermAreDataLoss) {
  Cluster cluster(Nodes(3));
  Answer(cluster, MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2)}, 1));
  EXPECT_EQ(cluster.core(1).Step(MakeAppend(3, 1, 2, kStart, {}, 1)).code(), StatusCode::kDataLoss);
  cluster.Elect(1);
  const uint64_t term = cluster.core(1).term().value();
  EXPECT_EQ(cluster.core(1).Step(MakeAppend(3, 1, term, kStart, {}, 1)).code(),
            StatusCode::kDataLoss);
}

TEST(Replication, AnAcknowledgementBeyondTheLeadersLogIsDataLoss) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  Message ack;
  ack.type = MessageType::kAppendResponse;
  ack.from = NodeId(2);
  ack.term = cluster.core(1).term();
  ack.log.index = cluster.core(1).last_index() + 7;
  EXPECT_EQ(cluster.core(1).Step(ack).code(), StatusCode::kDataLoss);
}

TEST(Replication, AcknowledgementsOfAnEarlierTermDoNotCount) {
  // Trap 36.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.to != NodeId(1); };
  cluster.Propose(1, "x");
  while (cluster.Flush(1)) {
  }
  const LogIndex commit = cluster.core(1).commit();
  Message ack;
  ack.type = MessageType::kAppendResponse;
  ack.from = NodeId(2);
  ack.term = cluster.core(1).term() - 1;
  ack.log.index = cluster.core(1).last_index();
  ASSERT_TRUE(cluster.core(1).Step(ack).ok());
  EXPECT_EQ(cluster.core(1).commit(), commit);
}

TEST(Replication, LongDivergentTailsAreSkippedByWholeTerms) {
  // Trap 46: node 1's tail of many entries of an old term costs a few round trips, not one each.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.from == NodeId(1) || m.to == NodeId(1); };
  for (int i = 0; i < 200; ++i) cluster.Propose(1, "lost");
  cluster.Settle();
  cluster.Elect(2);
  for (int i = 0; i < 300; ++i) cluster.Propose(2, "kept");
  cluster.Settle();
  cluster.Elect(3);
  size_t refusals = 0;
  cluster.lost = [&refusals](const Message& m) {
    refusals += m.type == MessageType::kAppendResponse && m.reject ? 1 : 0;
    return false;
  };
  cluster.Tick(3);
  cluster.Settle();
  EXPECT_TRUE(cluster.Converged());
  EXPECT_GE(refusals, 1u);
  EXPECT_LE(refusals, 3u);
}

TEST(Replication, ARestartedNodeHasItsLogAndCommitsWithTheOthers) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.Propose(1, "a");
  cluster.Settle();
  const Term term = cluster.core(1).term();
  for (uint64_t id = 1; id <= 3; ++id) cluster.Crash(id);
  for (uint64_t id = 1; id <= 3; ++id) cluster.Restart(id);
  EXPECT_EQ(cluster.core(1).term(), term);
  // The commit index was not written for its own sake, but what is applied is committed (trap 6).
  EXPECT_EQ(cluster.core(1).commit(), cluster.core(1).applied());
  cluster.Elect(3);
  cluster.Propose(3, "b");
  cluster.Settle();
  EXPECT_TRUE(cluster.Converged());
  EXPECT_EQ(cluster.node(2).values.back(), "b");
}

TEST(Replication, WhatWasNotDurableIsGoneAfterACrash) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  cluster.Settle();
  cluster.Propose(1, "acknowledged");
  cluster.Settle();
  cluster.Propose(1, "lost");
  cluster.Crash(1);
  cluster.Restart(1);
  cluster.Elect(1);
  cluster.Settle();
  EXPECT_EQ(std::count(cluster.node(1).values.begin(), cluster.node(1).values.end(), "lost"), 0);
  EXPECT_EQ(
      std::count(cluster.node(1).values.begin(), cluster.node(1).values.end(), "acknowledged"), 1);
}

TEST(Replication, AWriteThatWasOverwrittenMeanwhileProvesNothing) {
  // Trap 30: entry 2 of term 2 is being written, replaced by term 3's, and again by term 4's copy
  // of term 2's entry is not: the first write's end must not mark the later entry durable.
  Cluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.core(1).Step(MakeAppend(2, 1, 2, kStart, {MakeEntry(2, 2, "x")}, 1)).ok());
  cluster.Pump(1);
  ASSERT_TRUE(cluster.core(1).Step(MakeAppend(3, 1, 3, kStart, {MakeEntry(3, 2, "y")}, 2)).ok());
  cluster.Pump(1);
  ASSERT_EQ(cluster.node(1).appends.size(), 2u);
  cluster.Flush(1);
  // Committed by the second message, but durable is only "x".
  EXPECT_EQ(cluster.core(1).commit(), LogIndex(2));
  EXPECT_TRUE(cluster.node(1).applies.empty());
  cluster.Flush(1);
  ASSERT_EQ(cluster.node(1).applies.size(), 1u);
  EXPECT_EQ(cluster.node(1).applies.front().entries.front().payload.view(), "y");
}

TEST(Replication, TheWindowBoundsWhatIsUnansweredAndAFullOneIsProbedByHeartbeats) {
  // Trap 47.
  Cluster::Options options = Nodes(3);
  options.configure = [](Config& config) { config.inflight_messages_max = 3; };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Settle();
  cluster.lost = [](const Message& m) { return m.to == NodeId(2); };
  const auto appends_to_2 = [&cluster] {
    return std::count_if(cluster.network().begin(), cluster.network().end(), [](const Message& m) {
      return m.to == NodeId(2) && m.type == MessageType::kAppend;
    });
  };
  for (int i = 0; i < 10; ++i) cluster.Propose(1, "x");
  EXPECT_EQ(appends_to_2(), 3);
  cluster.Settle();
  cluster.lost = [](const Message&) { return false; };
  for (int i = 0; i < 5; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  EXPECT_TRUE(cluster.Converged());
}

TEST(Replication, TheWindowIsBoundedInBytesToo) {
  Cluster::Options options = Nodes(3);
  options.configure = [](Config& config) {
    config.message_bytes_max = 1000;
    config.inflight_bytes_max = 2000;
  };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Settle();
  cluster.network().clear();
  for (int i = 0; i < 10; ++i) cluster.Propose(1, std::string(1000, 'x'));
  EXPECT_EQ(cluster.network().size(), 4u);  // two to each follower
  cluster.Settle();
  EXPECT_TRUE(cluster.Converged());
}

TEST(Replication, MessagesAreBoundedInBytes) {
  Cluster::Options options = Nodes(3);
  options.configure = [](Config& config) { config.message_bytes_max = 300; };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Settle();
  cluster.lost = [](const Message& m) {
    EXPECT_LE(m.entries.size(), 2u);
    return false;
  };
  std::vector<Payload> batch;
  for (int i = 0; i < 9; ++i) batch.emplace_back(std::string(100, 'x'));
  ASSERT_EQ(cluster.core(1).Propose(batch).code, ProposeCode::kAccepted);
  cluster.Pump(1);
  cluster.Settle();
  EXPECT_TRUE(cluster.Converged());
}

TEST(Quota, RefusesWhatIsTooMuchAndAcceptsAgainAfterApply) {
  // Trap 45.
  Cluster::Options options = Nodes(1);
  options.configure = [](Config& config) { config.uncommitted_bytes_max = 100; };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Settle();
  EXPECT_EQ(cluster.Propose(1, std::string(150, 'x')).code, ProposeCode::kAccepted);
  Payload refused(std::string_view("y"));
  EXPECT_EQ(cluster.core(1).Propose({&refused, 1}).code, ProposeCode::kQuotaFull);
  EXPECT_EQ(refused.view(), "y");
  // An empty one costs nothing.
  Payload empty;
  EXPECT_EQ(cluster.core(1).Propose({&empty, 1}).code, ProposeCode::kAccepted);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().uncommitted_bytes, 0u);
  EXPECT_EQ(cluster.Propose(1, "y").code, ProposeCode::kAccepted);
}

TEST(Quota, CountsWhatTheFormerLeaderLeft) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.type == MessageType::kAppendResponse; };
  cluster.Propose(1, std::string(500, 'x'));
  cluster.Settle();
  cluster.Elect(2);
  EXPECT_EQ(cluster.core(2).GetStatus().uncommitted_bytes, 500u);
  cluster.lost = [](const Message&) { return false; };
  cluster.Tick(2);
  cluster.Settle();
  EXPECT_EQ(cluster.core(2).GetStatus().uncommitted_bytes, 0u);
}

TEST(ApplyWindow, IsBoundedInBytesAndPaged) {
  Cluster::Options options = Nodes(1);
  options.configure = [](Config& config) { config.apply_bytes_max = 300; };
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.Settle();
  std::vector<Payload> batch;
  for (int i = 0; i < 10; ++i) batch.emplace_back(std::string(100, 'x'));
  ASSERT_EQ(cluster.core(1).Propose(batch).code, ProposeCode::kAccepted);
  cluster.Pump(1);
  while (cluster.Flush(1)) {
  }
  ASSERT_EQ(cluster.node(1).applies.size(), 1u);
  EXPECT_EQ(cluster.node(1).applies.front().entries.size(), 2u);
  cluster.Settle();
  EXPECT_TRUE(cluster.Converged());
}

TEST(Progress, AnUnreachableFollowerIsProbedAndThenPipelinedAgain) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.core(1).ReportUnreachable(NodeId(2));
  EXPECT_EQ(cluster.core(1).GetStatus().progress.Find(NodeId(2))->state(), ProgressState::kProbe);
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_EQ(cluster.core(1).GetStatus().progress.Find(NodeId(2))->state(),
            ProgressState::kReplicate);
}

TEST(Tasks, AreDoneInOrder) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  EXPECT_DEATH(cluster.core(1).AppendDone(AppendSeq(1)), "CHECK failed");
  EXPECT_DEATH(cluster.core(1).ApplyDone(LogIndex(99)), "CHECK failed");
}

}  // namespace
}  // namespace metastore::raft
