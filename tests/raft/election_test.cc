// Aim: elections of the thesis (3.4, 3.6.1, 9.6, 6.2) and their traps. Method: clusters stepped by
// hand, with disks and messages held back where it matters.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

Cluster::Options Nodes(size_t voters, bool safe_elections = true) {
  Cluster::Options options;
  options.nodes = options.voters = voters;
  options.configure = [safe_elections](Config& config) {
    config.pre_vote = safe_elections;
    config.check_quorum = safe_elections;
  };
  return options;
}

size_t Count(Cluster& cluster, MessageType type) {
  return static_cast<size_t>(
      std::count_if(cluster.network().begin(), cluster.network().end(),
                    [type](const Message& message) { return message.type == type; }));
}

Message VoteRequest(MessageType type, uint64_t from, uint64_t to, Term term, EntryId last) {
  Message message;
  message.type = type;
  message.from = NodeId(from);
  message.to = NodeId(to);
  message.term = term;
  message.log = last;
  return message;
}

// The answer node 1 gives when everything is durable.
Message Answer(Cluster& cluster, Message request) {
  cluster.network().clear();
  EXPECT_TRUE(cluster.core(1).Step(std::move(request)).ok());
  cluster.Pump(1);
  while (cluster.Flush(1)) {
  }
  EXPECT_EQ(cluster.network().size(), 1u);
  return cluster.network().empty() ? Message() : cluster.network().front();
}

TEST(Election, OneVoterLeadsWhenItsVoteIsDurableAndNotBefore) {
  Cluster cluster(Nodes(1));
  cluster.core(1).Campaign();
  cluster.Pump(1);
  EXPECT_FALSE(cluster.core(1).is_leader());
  while (!cluster.core(1).is_leader()) ASSERT_TRUE(cluster.Flush(1));
  EXPECT_EQ(cluster.node(1).hard.vote, NodeId(1));
  EXPECT_EQ(cluster.node(1).hard.term, cluster.core(1).term());
}

TEST(Election, ThreeVotersElectOneLeaderWhoseTermBeginsWithAnEmptyEntry) {
  Cluster cluster(Nodes(3));
  cluster.Elect(2);
  EXPECT_EQ(cluster.core(1).leader(), NodeId(2));
  EXPECT_EQ(cluster.core(3).leader(), NodeId(2));
  EXPECT_TRUE(cluster.Converged());
  EXPECT_EQ(cluster.node(1).values, std::vector<std::string>{""});
}

TEST(Election, VoteRequestsAreHeldUntilTermAndOwnVoteAreDurable) {
  // Trap 28b.
  Cluster cluster(Nodes(3, false));
  cluster.core(1).Campaign();
  cluster.Pump(1);
  EXPECT_EQ(Count(cluster, MessageType::kVote), 0u);
  ASSERT_EQ(cluster.node(1).appends.size(), 1u);
  EXPECT_EQ(cluster.node(1).appends.front().held.size(), 2u);
  EXPECT_TRUE(cluster.node(1).appends.front().task.must_sync);
  cluster.Flush(1);
  EXPECT_EQ(Count(cluster, MessageType::kVote), 2u);
}

TEST(Election, OnlyVoteRequestsNeedADurableTerm) {
  for (int type = 1; type <= static_cast<int>(MessageType::kStorageAppendResponse); ++type) {
    Message message;
    message.type = static_cast<MessageType>(type);
    EXPECT_EQ(NeedsDurableTerm(message), message.type == MessageType::kVote);
  }
}

TEST(Election, VoteAnswersWaitForTheDisk) {
  // Trap 28.
  Cluster cluster(Nodes(3, false));
  ASSERT_TRUE(cluster.core(1)
                  .Step(VoteRequest(MessageType::kVote, 2, 1, Term(2), {Term(1), LogIndex(1)}))
                  .ok());
  cluster.Pump(1);
  EXPECT_TRUE(cluster.network().empty());
  ASSERT_EQ(cluster.node(1).appends.size(), 1u);
  const AppendTask& task = cluster.node(1).appends.front().task;
  EXPECT_TRUE(task.must_sync);
  EXPECT_EQ(*task.hard_state, (HardState{Term(2), NodeId(2), LogIndex(1)}));
  cluster.Flush(1);
  ASSERT_EQ(Count(cluster, MessageType::kVoteResponse), 1u);
  EXPECT_FALSE(cluster.network().front().reject);
}

TEST(Election, VotesForOneCandidateATermAndAgainForTheSame) {
  Cluster cluster(Nodes(3, false));
  const EntryId last{Term(1), LogIndex(1)};
  EXPECT_FALSE(Answer(cluster, VoteRequest(MessageType::kVote, 2, 1, Term(2), last)).reject);
  EXPECT_TRUE(Answer(cluster, VoteRequest(MessageType::kVote, 3, 1, Term(2), last)).reject);
  EXPECT_FALSE(Answer(cluster, VoteRequest(MessageType::kVote, 2, 1, Term(2), last)).reject);
  EXPECT_FALSE(Answer(cluster, VoteRequest(MessageType::kVote, 3, 1, Term(3), last)).reject);
}

TEST(Election, ARestartedVoterRemembersItsVote) {
  Cluster cluster(Nodes(3, false));
  const EntryId last{Term(1), LogIndex(1)};
  EXPECT_FALSE(Answer(cluster, VoteRequest(MessageType::kVote, 2, 1, Term(2), last)).reject);
  cluster.Crash(1);
  cluster.Restart(1);
  EXPECT_TRUE(Answer(cluster, VoteRequest(MessageType::kVote, 3, 1, Term(2), last)).reject);
}

TEST(Election, AnOlderLogGetsNoVote) {
  Cluster cluster(Nodes(3, false));
  cluster.Elect(1);
  cluster.Propose(1, "a");
  cluster.Settle();
  const EntryId last{cluster.core(1).term(), cluster.core(1).last_index()};
  struct Case {
    EntryId candidate;
    bool granted;
  };
  const Case cases[] = {
      {{last.term, last.index - 1}, false},
      {{last.term - 1, last.index + 5}, false},
      {{last.term, last.index}, true},
      {{last.term + 1, LogIndex(2)}, true},
  };
  Term term = last.term;
  for (const Case& c : cases) {
    term += 1;
    const Message answer =
        Answer(cluster, VoteRequest(MessageType::kVote, 3, 1, term, c.candidate));
    EXPECT_EQ(answer.reject, !c.granted)
        << c.candidate.term.value() << "/" << c.candidate.index.value();
  }
}

TEST(Election, APreVoteMovesNobodysTerm) {
  Cluster cluster(Nodes(3));
  cluster.core(1).Campaign();
  cluster.Pump(1);
  EXPECT_EQ(cluster.core(1).role(), Role::kPreCandidate);
  EXPECT_EQ(cluster.core(1).term(), Term(1));
  // Nothing new to write: it needs no sync and may be sent at once.
  EXPECT_EQ(Count(cluster, MessageType::kPreVote), 2u);
  EXPECT_FALSE(cluster.node(1).appends.front().task.must_sync);
  cluster.Deliver(0);
  EXPECT_EQ(cluster.core(2).term(), Term(1));
}

TEST(Election, ANodeThatWasCutOffDoesNotDisturbTheLeader) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  const Term term = cluster.core(1).term();
  cluster.lost = [](const Message& m) { return m.from == NodeId(3) || m.to == NodeId(3); };
  for (int i = 0; i < 50; ++i) {
    for (uint64_t id = 1; id <= 3; ++id) cluster.Tick(id);
    cluster.Settle();
  }
  EXPECT_EQ(cluster.core(3).term(), term);
  cluster.lost = [](const Message&) { return false; };
  for (int i = 0; i < 50; ++i) {
    for (uint64_t id = 1; id <= 3; ++id) cluster.Tick(id);
    cluster.Settle();
  }
  EXPECT_TRUE(cluster.core(1).is_leader());
  EXPECT_EQ(cluster.core(1).term(), term);
  EXPECT_EQ(cluster.core(3).leader(), NodeId(1));
}

TEST(Election, ARefusedPreVoteOfALowerTermTellsTheTerm) {
  // Trap 9.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.core(1).StepDown();
  const Message answer =
      Answer(cluster, VoteRequest(MessageType::kPreVote, 3, 1, Term(1), {Term(1), LogIndex(1)}));
  EXPECT_TRUE(answer.reject);
  EXPECT_EQ(answer.term, cluster.core(1).term());
}

TEST(Election, WhoHearsALeaderIgnoresCandidatesUnlessTheLeaderSentThem) {
  Cluster cluster(Nodes(3));
  cluster.Elect(2);
  const Term term = cluster.core(1).term();
  const EntryId last{term, cluster.core(1).last_index()};
  Message request = VoteRequest(MessageType::kVote, 3, 1, term + 1, last);
  ASSERT_TRUE(cluster.core(1).Step(request).ok());
  cluster.Pump(1);
  EXPECT_EQ(cluster.core(1).term(), term);
  EXPECT_TRUE(cluster.node(1).appends.empty());
  request.transfer = true;
  EXPECT_FALSE(Answer(cluster, request).reject);
}

TEST(Election, ALeaderWithoutAMajorityStepsDown) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message&) { return true; };
  for (int i = 0; i < 20; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
  EXPECT_EQ(cluster.core(1).leader(), kNobody);
}

TEST(Election, ALoneVoterNeverStepsDownForWantOfAnswers) {
  Cluster cluster(Nodes(1));
  cluster.Elect(1);
  cluster.Tick(1, 100);
  EXPECT_TRUE(cluster.core(1).is_leader());
}

TEST(Election, AnOldLeaderThatComesBackLearnsTheNewTerm) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.from == NodeId(1) || m.to == NodeId(1); };
  for (int i = 0; i < 60 && !cluster.core(2).is_leader(); ++i) {
    cluster.Tick(2);
    cluster.Tick(3);
    cluster.Settle();
    if (cluster.core(3).is_leader()) break;
  }
  cluster.lost = [](const Message&) { return false; };
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_FALSE(cluster.core(1).is_leader());
  EXPECT_GE(cluster.core(1).term(), Term(3));
}

TEST(Election, ALearnerVotesWhenAskedButDoesNotCampaign) {
  // Trap 14.
  Cluster::Options options = Nodes(3);
  options.voters = 1;
  Cluster cluster(options);
  cluster.Elect(1);
  cluster.core(1).ProposeConfChange(
      {ConfTransition::kAuto, {{ConfChangeKind::kAddLearner, NodeId(2)}}, ""});
  cluster.Pump(1);
  for (int i = 0; i < 5; ++i) {
    cluster.Tick(1);
    cluster.Settle();
  }
  ASSERT_EQ(cluster.core(2).conf().learners, std::vector<NodeId>{NodeId(2)});
  ASSERT_TRUE(cluster.core(2).ForgetLeader().ok());
  cluster.core(2).Campaign();
  EXPECT_EQ(cluster.core(2).role(), Role::kFollower);
  const Term term = cluster.core(2).term();
  ASSERT_TRUE(cluster.core(2)
                  .Step(VoteRequest(MessageType::kVote, 3, 2, term + 1,
                                    {term, cluster.core(2).last_index()}))
                  .ok());
  cluster.network().clear();
  cluster.Pump(2);
  while (cluster.Flush(2)) {
  }
  ASSERT_EQ(Count(cluster, MessageType::kVoteResponse), 1u);
  EXPECT_FALSE(cluster.network().front().reject);
}

TEST(Election, NobodyCampaignsWithACommittedButUnappliedConfChange) {
  // Trap 19.
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.core(1).ProposeConfChange(
      {ConfTransition::kAuto, {{ConfChangeKind::kAddLearner, NodeId(3)}}, ""});
  cluster.Pump(1);
  while (cluster.core(2).commit() < cluster.core(2).last_index() ||
         cluster.core(2).commit() < cluster.core(1).last_index()) {
    ASSERT_TRUE(cluster.Deliver(0) | cluster.Flush(1) | cluster.Flush(2) | cluster.Flush(3));
    if (cluster.network().empty()) cluster.Tick(1);
  }
  ASSERT_TRUE(cluster.core(2).ForgetLeader().ok());
  cluster.core(2).Campaign();
  EXPECT_EQ(cluster.core(2).role(), Role::kFollower);
  while (cluster.Flush(2) || cluster.Apply(2)) {
  }
  cluster.core(2).Campaign();
  EXPECT_EQ(cluster.core(2).role(), Role::kPreCandidate);
}

TEST(Election, ARefusedVoteTellsTheCandidateWhatIsCommitted) {
  // Trap 19: without it a removed member's longer log could keep the remaining one from ever
  // leading.
  Cluster cluster(Nodes(3, false));
  cluster.Elect(1);
  cluster.Propose(1, "committed");
  // Everybody stores it, nobody but the leader hears that it is committed, which then gets a longer
  // log.
  cluster.lost = [&](const Message& m) {
    return m.type == MessageType::kAppend && m.entries.empty();
  };
  cluster.Settle();
  cluster.lost = [](const Message&) { return true; };
  cluster.Propose(1, "tail");
  cluster.Settle();
  const LogIndex committed = cluster.core(1).commit();
  ASSERT_LT(cluster.core(3).commit(), committed);
  cluster.lost = [](const Message& m) { return m.to == NodeId(2) || m.from == NodeId(2); };
  cluster.core(3).Campaign();
  cluster.Pump(3);
  cluster.Settle();
  EXPECT_FALSE(cluster.core(3).is_leader());
  EXPECT_EQ(cluster.core(3).commit(), committed);
}

TEST(Election, ARefusalOfAnEarlierTermTellsItToo) {
  Cluster cluster(Nodes(3, false));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.from == NodeId(3); };
  cluster.Propose(1, "x");
  while (cluster.core(3).last_index() < cluster.core(1).last_index()) {
    ASSERT_TRUE(cluster.Deliver(0) | cluster.Flush(3));
  }
  const EntryId last{cluster.core(3).term(), cluster.core(3).last_index()};
  ASSERT_LT(cluster.core(3).commit(), last.index);
  Message refusal;
  refusal.type = MessageType::kPreVoteResponse;
  refusal.from = NodeId(2);
  refusal.term = Term(1);
  refusal.reject = true;
  refusal.log = {last.term + 1, last.index};  // another entry than ours: proves nothing
  ASSERT_TRUE(cluster.core(3).Step(refusal).ok());
  EXPECT_LT(cluster.core(3).commit(), last.index);
  refusal.log = last;
  ASSERT_TRUE(cluster.core(3).Step(refusal).ok());
  EXPECT_EQ(cluster.core(3).commit(), last.index);
}

TEST(Election, ANodeThatMayNotCampaignStillVotes) {
  // Trap 51.
  Cluster cluster(Nodes(3, false));
  cluster.core(1).SetCampaignAllowed(false);
  cluster.Tick(1, 100);
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
  Message timeout_now;
  timeout_now.type = MessageType::kTimeoutNow;
  timeout_now.from = NodeId(2);
  timeout_now.term = Term(1);
  ASSERT_TRUE(cluster.core(1).Step(timeout_now).ok());
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
  EXPECT_FALSE(
      Answer(cluster, VoteRequest(MessageType::kVote, 2, 1, Term(2), {Term(1), LogIndex(1)}))
          .reject);
  cluster.core(1).SetCampaignAllowed(true);
  cluster.Tick(1, 100);
  EXPECT_NE(cluster.core(1).role(), Role::kFollower);
}

TEST(Election, ANodeThatMayNotCampaignDoesNotProtectALeaderThatIsGone) {
  // Else a candidate that needs its vote might meet it within a lease that nobody renews each time.
  Cluster cluster(Nodes(3));
  cluster.Elect(2);
  cluster.core(1).SetCampaignAllowed(false);
  cluster.core(1).SetRandomizedElectionTimeoutForTest(10);
  const Term next = cluster.core(1).term() + 1;
  const EntryId last{cluster.core(1).term(), cluster.core(1).last_index()};
  const auto granted = [&] {
    cluster.network().clear();
    EXPECT_TRUE(cluster.core(1).Step(VoteRequest(MessageType::kPreVote, 3, 1, next, last)).ok());
    cluster.Pump(1);
    while (cluster.Flush(1)) {
    }
    return Count(cluster, MessageType::kPreVoteResponse) == 1 && !cluster.network().front().reject;
  };
  cluster.Tick(1, 9);
  EXPECT_FALSE(granted());
  for (int ticks = 10; ticks < 40; ++ticks) {
    cluster.Tick(1, 1);
    EXPECT_TRUE(granted()) << ticks;
  }
}

TEST(Election, ForbiddingCampaignsEndsTheOneUnderWay) {
  Cluster cluster(Nodes(3, false));
  cluster.core(1).Campaign();
  EXPECT_EQ(cluster.core(1).role(), Role::kCandidate);
  cluster.core(1).SetCampaignAllowed(false);
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
}

TEST(Election, TimeoutsAreRandomWithinOneAndTwoElectionTimeouts) {
  std::set<int> timeouts;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Cluster::Options options = Nodes(3);
    options.seed = seed;
    Cluster cluster(options);
    int ticks = 0;
    while (cluster.core(1).role() == Role::kFollower) {
      cluster.core(1).Tick();
      ++ticks;
    }
    EXPECT_GE(ticks, 10);
    EXPECT_LT(ticks, 20);
    timeouts.insert(ticks);
  }
  EXPECT_GT(timeouts.size(), 5u);
}

TEST(Election, SilencesOfTheLeaderAndElectionTimeoutsAreCounted) {
  Cluster cluster(Nodes(3));
  cluster.Elect(2);
  RaftCore& follower = cluster.core(1);
  const uint64_t before = follower.counts().election_timeouts;
  EXPECT_EQ(follower.counts().heartbeat_timeouts, 0u);
  // Two silences of three ticks, heard of in between; a short one does not count.
  for (const int ticks : {2, 3, 4}) {
    cluster.Tick(1, ticks);
    cluster.Tick(2);
    cluster.Settle();
  }
  EXPECT_EQ(follower.counts().heartbeat_timeouts, 2u);
  EXPECT_EQ(follower.counts().election_timeouts, before);
  // The leader is gone: one more, and then only elections.
  cluster.Tick(1, 60);
  EXPECT_EQ(follower.counts().heartbeat_timeouts, 3u);
  EXPECT_GE(follower.counts().election_timeouts, before + 3);
  EXPECT_LE(follower.counts().election_timeouts, before + 6);
}

TEST(Election, EqualSeedsGiveEqualRuns) {
  const auto run = [](uint64_t seed) {
    Cluster::Options options = Nodes(3);
    options.seed = seed;
    Cluster cluster(options);
    for (int i = 0; i < 100; ++i) {
      for (uint64_t id = 1; id <= 3; ++id) cluster.Tick(id);
      cluster.Settle();
    }
    return cluster.Describe();
  };
  EXPECT_EQ(run(7), run(7));
}

TEST(Transfer, GoesToACaughtUpFollowerAtOnce) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(2)).ok());
  cluster.Pump(1);
  EXPECT_EQ(cluster.Propose(1, "x").code, ProposeCode::kTransferInProgress);
  cluster.Settle();
  EXPECT_TRUE(cluster.core(2).is_leader());
  EXPECT_EQ(cluster.core(1).leader(), NodeId(2));
}

TEST(Transfer, WaitsForALaggingFollowerToCatchUp) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.to == NodeId(2); };
  cluster.Propose(1, "x");
  cluster.Settle();
  cluster.lost = [](const Message&) { return false; };
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(2)).ok());
  cluster.Tick(1);
  cluster.Settle();
  EXPECT_TRUE(cluster.core(2).is_leader());
  EXPECT_TRUE(cluster.Converged());
}

TEST(Transfer, ThatDoesNotSucceedEndsAfterAnElectionTimeout) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  cluster.lost = [](const Message& m) { return m.type == MessageType::kTimeoutNow; };
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(2)).ok());
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(cluster.Propose(1, "x").code, ProposeCode::kTransferInProgress);
    cluster.Tick(1);
    cluster.Settle();
  }
  EXPECT_EQ(cluster.Propose(1, "x").code, ProposeCode::kAccepted);
}

TEST(Transfer, IsForwardedToTheLeaderAndRefusedWithoutOne) {
  Cluster cluster(Nodes(3));
  EXPECT_EQ(cluster.core(3).TransferLeader(NodeId(2)).code(), StatusCode::kFailedPrecondition);
  cluster.Elect(1);
  EXPECT_EQ(cluster.core(1).TransferLeader(NodeId(9)).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(cluster.core(3).TransferLeader(NodeId(3)).ok());
  cluster.Pump(3);
  cluster.Settle();
  EXPECT_TRUE(cluster.core(3).is_leader());
}

TEST(Transfer, ToItselfChangesNothing) {
  Cluster cluster(Nodes(3));
  cluster.Elect(1);
  ASSERT_TRUE(cluster.core(1).TransferLeader(NodeId(1)).ok());
  EXPECT_EQ(cluster.Propose(1, "x").code, ProposeCode::kAccepted);
}

TEST(ForgetLeader, IsRefusedWhereLeasesMayServeReads) {
  // Trap 8.
  Cluster::Options options = Nodes(3);
  options.configure = [](Config& config) { config.read_mode = ReadMode::kLease; };
  Cluster cluster(options);
  EXPECT_EQ(cluster.core(1).ForgetLeader().code(), StatusCode::kFailedPrecondition);
}

struct ClosedCase {
  std::string_view name;
  MessageType type;
  bool transfer = false;
};

// Whatever it is asked, though each would be granted otherwise.
TEST(Election, WhoseElectionsAreClosedGrantsNothingAndNeverCampaigns) {
  constexpr ClosedCase kCases[] = {
      {"a pre-vote", MessageType::kPreVote},
      {"a vote", MessageType::kVote},
      {"a vote after a transfer", MessageType::kVote, true},
  };
  for (const ClosedCase& one : kCases) {
    for (const bool open : {false, true}) {
      SCOPED_TRACE(std::string(one.name) + (open ? ", open" : ", closed"));
      Cluster cluster(Nodes(3));
      cluster.core(1).SetElectionsOpen(open);
      Message request =
          VoteRequest(one.type, 2, 1, cluster.core(1).term() + 1, {Term(9), LogIndex(9)});
      request.transfer = one.transfer;
      const Message answer = Answer(cluster, request);
      EXPECT_EQ(answer.reject, !open);
      EXPECT_EQ(cluster.node(1).hard.vote == NodeId(2), open && one.type == MessageType::kVote);
    }
  }
  Cluster cluster(Nodes(3));
  cluster.core(1).SetElectionsOpen(false);
  for (int i = 0; i < 100; ++i) cluster.core(1).Tick();
  cluster.core(1).Campaign();
  Message offer = VoteRequest(MessageType::kTimeoutNow, 2, 1, cluster.core(1).term(), {});
  EXPECT_TRUE(cluster.core(1).Step(std::move(offer)).ok());
  cluster.Pump(1);
  EXPECT_EQ(cluster.core(1).role(), Role::kFollower);
  EXPECT_EQ(Count(cluster, MessageType::kPreVote) + Count(cluster, MessageType::kVote), 0u);
  cluster.core(1).SetElectionsOpen(true);
  cluster.core(1).Campaign();
  EXPECT_EQ(cluster.core(1).role(), Role::kPreCandidate);
}

TEST(Election, WhoseElectionsAreClosedStillAcknowledges) {
  Cluster cluster(Nodes(3));
  cluster.core(3).SetElectionsOpen(false);
  cluster.core(1).Campaign();
  cluster.Settle();
  ASSERT_TRUE(cluster.core(1).is_leader());
  cluster.lost = [](const Message& message) { return message.to == NodeId(2); };
  const LogIndex before = cluster.core(1).commit();
  cluster.Propose(1, "x");
  cluster.Settle();
  EXPECT_GT(cluster.core(1).commit(), before);  // by the copy of node 3
  cluster.core(1).SetElectionsOpen(false);
  EXPECT_FALSE(cluster.core(1).is_leader());
}

}  // namespace
}  // namespace metastore::raft
