// Aim: every call given to Proposals and Reads comes back exactly once, with the right answer, and
// the bounds hold. Method: calls made by coroutines on a simulated core arrive at a receiver of the
// test's, which plays the pump's part; reads are confirmed by a real one-voter raft core.

#include <gtest/gtest.h>

#include <deque>

#include "io/gate.h"
#include "io/sim/sim_world.h"
#include "raft/raft_core.h"
#include "raft/tail_log.h"
#include "server/proposals.h"
#include "server/reads.h"

namespace metastore::server {
namespace {

engine::RequestId Id(uint64_t counter) {
  return {.node = NodeId(1), .boot = 1, .counter = counter};
}

struct WriteOutcome {
  int returns = 0;
  WriteResult result = ToStatus(errors::kStopped);
};
struct ReadOutcome {
  int returns = 0;
  StatusOr<ReadAnswer> result = ToStatus(errors::kStopped);
};

struct WriteInput {
  uint64_t counter = 0;
  std::string command = "command";
  MonoTime deadline = MonoTime::Max();
};

class CallsTest : public testing::Test, public CallReceiver {
 protected:
  CallsTest()
      : machine_(world_.AddMachine("n")),
        runtime_(*machine_.StartProcess()[0]),
        gate_(runtime_.scheduler()),
        proposals_(std::make_unique<Proposals>(runtime_)),
        reads_(std::make_unique<Reads>(runtime_)) {}

  ~CallsTest() override {
    proposals_->FailAll(errors::kStopped);
    reads_->FailAll(errors::kStopped);
    Run();
    EXPECT_EQ(gate_.running(), 0u);
    proposals_.reset();
    reads_.reset();
    machine_.EndProcess();
  }

  void Propose(ProposeCall& call) override { proposals_->Admit(call); }
  void Read(ReadCall& call) override { reads_->Add(call); }
  void ChangeMember(MemberCall& /*call*/) override { FAIL(); }
  void TransferLeader(TransferCall& /*call*/) override { FAIL(); }

  static std::string Encoded(uint64_t counter, std::string_view key) {
    return engine::EncodePut({.request = Id(counter)}, {.key = key});
  }

  void Run() { world_.RunFor(Milliseconds(10)); }
  // Outcomes outlive the test's body, whose end returns what still waits.
  WriteOutcome& StartWrite(WriteInput input) {
    WriteOutcome& outcome = writes_.emplace_back();
    gate_.Spawn("write", io::ReadyClass::kClient, Write(std::move(input), outcome));
    return outcome;
  }
  ReadOutcome& StartRead(MonoTime deadline) {
    ReadOutcome& outcome = read_outcomes_.emplace_back();
    gate_.Spawn("read", io::ReadyClass::kClient, ReadOnce(deadline, outcome));
    return outcome;
  }

  io::Task<void> Write(WriteInput input, WriteOutcome& outcome) {
    ProposeCall call(runtime_, 0, *this);
    call.id = Id(input.counter);
    call.command = raft::Payload(Encoded(input.counter, input.command));
    call.terms.deadline = input.deadline;
    const bool arrived = co_await call;
    CHECK(arrived);
    ++outcome.returns;
    outcome.result = std::move(call.result);
  }
  io::Task<void> ReadOnce(MonoTime deadline, ReadOutcome& outcome) {
    ReadCall call(runtime_, 0, *this);
    call.terms.deadline = deadline;
    const bool arrived = co_await call;
    CHECK(arrived);
    ++outcome.returns;
    outcome.result = std::move(call.result);
  }

  std::deque<WriteOutcome> writes_;
  std::deque<ReadOutcome> read_outcomes_;
  sim::SimWorld world_{1};
  sim::SimMachine& machine_;
  io::Runtime& runtime_;
  io::Gate gate_;
  std::unique_ptr<Proposals> proposals_;
  std::unique_ptr<Reads> reads_;
};

TEST_F(CallsTest, ResolveReturnsTheCallOfThatIdOnly) {
  WriteOutcome& first = StartWrite({.counter = 1});
  WriteOutcome& second = StartWrite({.counter = 2});
  Run();
  EXPECT_EQ(proposals_->pending(), 2u);
  proposals_->Resolve({.request = Id(2), .revision = Revision(42)}, Term(7));
  proposals_->Resolve({.request = Id(3)}, Term(7));  // nobody's: ignored
  Run();
  EXPECT_EQ(first.returns, 0);
  ASSERT_EQ(second.returns, 1);
  ASSERT_TRUE(second.result.ok());
  EXPECT_EQ(second.result->applied.revision, Revision(42));
  EXPECT_EQ(second.result->term, Term(7));
}

TEST_F(CallsTest, TakeAndPutBackKeepTheOrder) {
  StartWrite({.counter = 1, .command = "a"});
  StartWrite({.counter = 2, .command = "b"});
  StartWrite({.counter = 3, .command = "c"});
  Run();
  std::vector<raft::Payload> taken;
  proposals_->Take(2, Term(1), taken);
  ASSERT_EQ(taken.size(), 2u);
  proposals_->PutBack(taken);
  taken.clear();
  proposals_->Take(3, Term(1), taken);
  EXPECT_EQ(taken[0].view(), Encoded(1, "a"));
  EXPECT_EQ(taken[1].view(), Encoded(2, "b"));
  EXPECT_EQ(taken[2].view(), Encoded(3, "c"));
  EXPECT_EQ(proposals_->waiting(), 0u);
}

TEST_F(CallsTest, WhatWasProposedToAnEarlierLeaderFailsOnceALaterOnesEntryIsApplied) {
  for (uint64_t i = 1; i <= 4; ++i) StartWrite({.counter = i, .command = "c"});
  Run();
  std::vector<raft::Payload> taken;
  proposals_->Take(2, Term(3), taken);  // 1 and 2
  proposals_->Resolve({.request = Id(2)}, Term(3));
  proposals_->Take(1, Term(5), taken);  // 3; 4 waits
  proposals_->FailOfTermsBefore(Term(3));
  Run();
  EXPECT_EQ(writes_[0].returns, 0);
  proposals_->FailOfTermsBefore(Term(5));
  Run();
  ASSERT_EQ(writes_[0].returns, 1);
  EXPECT_EQ(writes_[0].result.status(), ToStatus(errors::kTimeoutLeaderFailed));
  EXPECT_TRUE(writes_[1].result.ok());
  EXPECT_EQ(writes_[2].returns, 0);
  proposals_->FailOfTermsBefore(Term(6));
  Run();
  EXPECT_EQ(writes_[2].returns, 1);
  EXPECT_EQ(writes_[3].returns, 0) << "it was never proposed";
  EXPECT_EQ(proposals_->stats().lost_total, 2u);
}

TEST_F(CallsTest, AWriteExpiresAtItsDeadlineAndNotBefore) {
  const MonoTime deadline = runtime_.Now() + Seconds(7);
  WriteOutcome& outcome = StartWrite({.counter = 1, .deadline = deadline});
  Run();
  proposals_->Expire(deadline - Nanoseconds(1));
  Run();
  EXPECT_EQ(outcome.returns, 0);
  proposals_->Expire(deadline);
  Run();
  ASSERT_EQ(outcome.returns, 1);
  EXPECT_EQ(outcome.result.status(), ToStatus(errors::kTimeout));
  EXPECT_EQ(proposals_->stats().expired_total, 1u);
}

TEST_F(CallsTest, WritesBeyondTheCountAreRefused) {
  for (size_t i = 0; i <= limits::kProposalsMax; ++i) StartWrite({.counter = i + 1});
  Run();
  EXPECT_EQ(proposals_->pending(), limits::kProposalsMax);
  ASSERT_EQ(writes_.back().returns, 1);
  EXPECT_EQ(writes_.back().result.status(), ToStatus(errors::kTooManyRequests));
  EXPECT_EQ(writes_.front().returns, 0);
  proposals_->FailAll(errors::kStopped);
  Run();
  for (const WriteOutcome& outcome : writes_) EXPECT_EQ(outcome.returns, 1);
}

TEST_F(CallsTest, WritesBeyondTheBytesAreRefusedUntilSomeReturn) {
  const size_t big = limits::kProposalsBytesMax / 2 - 1000;
  for (uint64_t i = 0; i < 3; ++i) {
    StartWrite({.counter = i + 1, .command = std::string(big, 'x')});
  }
  Run();
  ASSERT_EQ(writes_[2].returns, 1);
  EXPECT_EQ(writes_[2].result.status(), ToStatus(errors::kTooManyRequests));
  std::vector<raft::Payload> taken;
  proposals_->Take(2, Term(1), taken);
  proposals_->Resolve({.request = Id(1)}, Term(1));
  const WriteOutcome& later = StartWrite({.counter = 4, .command = std::string(big, 'x')});
  Run();
  EXPECT_EQ(later.returns, 0);
  EXPECT_EQ(proposals_->pending(), 2u);
}

// As without a leader: nobody takes anything, and calls come and expire.
TEST_F(CallsTest, CommandsOfExpiredWritesAreForgotten) {
  const MonoTime deadline = runtime_.Now() + Seconds(7);
  const std::string big(limits::kProposalsBytesMax / 2 - 1000, 'x');
  StartWrite({.counter = 1, .command = big, .deadline = deadline});
  StartWrite({.counter = 2, .command = "kept", .deadline = MonoTime::Max()});
  StartWrite({.counter = 3, .command = "late", .deadline = deadline});
  Run();
  proposals_->Expire(deadline);
  EXPECT_EQ(proposals_->pending(), 1u);
  const WriteOutcome& admitted = StartWrite({.counter = 4, .command = big});
  Run();
  EXPECT_EQ(admitted.returns, 0) << "the expired one's bytes still count";
  std::vector<raft::Payload> taken;
  proposals_->Take(proposals_->waiting(), Term(1), taken);
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].view(), Encoded(2, "kept"));
  EXPECT_EQ(taken[1].view(), Encoded(4, big));
}

// One voter that leads: its read rounds come out of the next Ready.
class OneVoter {
 public:
  OneVoter() : tail_(kStart, limits::kMiB), core_(MakeConfig(), tail_, MakeState()) {}

  void Lead() {
    core_.Campaign();
    Settle();
    CHECK(core_.is_leader());
  }
  std::vector<raft::ReadState> Settle() {
    std::vector<raft::ReadState> reads;
    while (core_.HasReady()) {
      raft::Ready ready = core_.TakeReady();
      reads.insert(reads.end(), ready.reads.begin(), ready.reads.end());
      if (ready.append.has_value()) {
        tail_.Extend(*ready.append);
        core_.AppendDone(ready.append->seq);
        for (raft::Message& m : ready.append->after_durable) CHECK(core_.StepOwn(m).ok());
      }
      if (ready.apply.has_value()) core_.ApplyDone(ready.apply->entries.back().index);
    }
    return reads;
  }
  raft::RaftCore& core() { return core_; }

 private:
  static raft::Config MakeConfig() {
    raft::Config config;
    config.id = NodeId(1);
    return config;
  }
  // As a snapshot at entry 1 leaves it: a membership is of an applied index.
  static constexpr raft::EntryId kStart{Term(1), LogIndex(1)};
  static raft::InitialState MakeState() {
    return {.hard_state = {.term = Term(1), .commit = LogIndex(1)},
            .conf = {.voters = {NodeId(1)}},
            .applied = LogIndex(1)};
  }

  raft::TailLog tail_;
  raft::RaftCore core_;
};

TEST_F(CallsTest, ReadsThatWaitTogetherShareOneRound) {
  OneVoter voter;
  voter.Lead();
  for (int i = 0; i < 3; ++i) StartRead(MonoTime::Max());
  Run();
  reads_->StartRound(voter.core());
  const std::vector<raft::ReadState> states = voter.Settle();
  ASSERT_EQ(states.size(), 1u);
  std::vector<ReadCall*> ready;
  reads_->Serve(states[0].index, 2, ready);
  EXPECT_TRUE(ready.empty()) << "not confirmed yet";
  reads_->Confirm(states[0]);
  reads_->Serve(states[0].index - 1, 2, ready);
  EXPECT_TRUE(ready.empty()) << "not applied yet";
  reads_->Serve(states[0].index, 2, ready);
  ASSERT_EQ(ready.size(), 2u) << "no more than asked for";
  EXPECT_TRUE(reads_->Servable(states[0].index));
  reads_->Serve(states[0].index, 2, ready);
  ASSERT_EQ(ready.size(), 3u);
  EXPECT_FALSE(reads_->Servable(states[0].index));
  for (ReadCall* call : ready) {
    call->result = ReadAnswer{};
    call->Return(runtime_);
  }
  Run();
  for (const ReadOutcome& outcome : read_outcomes_) EXPECT_EQ(outcome.returns, 1);
}

TEST_F(CallsTest, AReadWaitsWithoutALeaderAndExpires) {
  OneVoter voter;  // has not campaigned
  const MonoTime deadline = runtime_.Now() + Seconds(1);
  ReadOutcome& outcome = StartRead(deadline);
  Run();
  reads_->StartRound(voter.core());
  Run();
  EXPECT_EQ(outcome.returns, 0);
  reads_->Expire(deadline);
  Run();
  ASSERT_EQ(outcome.returns, 1);
  EXPECT_EQ(outcome.result.status(), ToStatus(errors::kTimeout));
}

TEST_F(CallsTest, ARefusedRoundFailsItsReadsAsLeaderChanged) {
  OneVoter voter;
  voter.Lead();
  ReadOutcome& outcome = StartRead(MonoTime::Max());
  Run();
  reads_->StartRound(voter.core());
  std::vector<raft::ReadState> states = voter.Settle();
  ASSERT_EQ(states.size(), 1u);
  states[0].outcome = raft::ReadOutcome::kRefused;
  reads_->Confirm(states[0]);
  Run();
  ASSERT_EQ(outcome.returns, 1);
  EXPECT_EQ(outcome.result.status(), ToStatus(errors::kLeaderChanged));
}

TEST_F(CallsTest, ReadsBeyondTheCountAreRefused) {
  for (size_t i = 0; i <= limits::kReadsMax; ++i) StartRead(MonoTime::Max());
  Run();
  EXPECT_EQ(reads_->pending(), limits::kReadsMax);
  EXPECT_EQ(read_outcomes_.back().returns, 1);
  EXPECT_EQ(read_outcomes_.back().result.status(), ToStatus(errors::kTooManyRequests));
}

}  // namespace
}  // namespace metastore::server
