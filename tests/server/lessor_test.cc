// Aim: the lessor's rules (server/lessor.h): when leases end, in which order they are found, what a
// new leader makes of them, and what may renew them. Method: a lessor over a real engine that tells
// it of grants and revokes, and a clock moved by hand.

#include "server/lessor.h"

#include <gtest/gtest.h>

#include "engine/memory_engine.h"

namespace metastore::server {
namespace {

using Renewal = Lessor::Renewal;

// One that a test moves; it arms nothing.
class HandClock final : public io::TimerService {
 public:
  MonoTime Now() const override { return now; }
  void Arm(io::Timer& /*timer*/, MonoTime /*when*/) override { CHECK_UNREACHABLE(); }
  void Cancel(io::Timer& /*timer*/) override { CHECK_UNREACHABLE(); }

  MonoTime now{Seconds(100).ns};
};

constexpr Duration kElection = Seconds(1);

class LessorTest : public testing::Test {
 protected:
  LessorTest()
      : engine_(engine::MakeMemoryEngine({})),
        lessor_(clock_, *engine_,
                {.election_timeout = kElection, .checkpoint_interval = Seconds(300)}) {
    engine_->SetListener(&lessor_);
  }
  ~LessorTest() override { engine_->SetListener(nullptr); }

  engine::Outcome Try(engine::CommandOp op, LogIndex leases_until) {
    engine::Command command;
    command.header.leases_until = leases_until;
    command.op = std::move(op);
    const std::string bytes = engine::EncodeCommand(command);
    return engine_->Apply({.index = engine_->stats().applied_index + 1, .command = bytes}).outcome;
  }
  void Apply(engine::CommandOp op) {
    ASSERT_EQ(Try(std::move(op), LogIndex()), engine::Outcome::kOk);
  }
  void Grant(int64_t lease, int64_t ttl_seconds) {
    Apply(engine::LeaseGrantOp{.lease = LeaseId(lease), .ttl_seconds = ttl_seconds});
  }
  void Revoke(int64_t lease) { Apply(engine::LeaseRevokeOp{.lease = LeaseId(lease)}); }
  void Checkpoint(std::vector<engine::LeaseCheckpoint> checkpoints) {
    Apply(engine::LeaseCheckpointOp{.checkpoints = std::move(checkpoints)});
  }

  // In steps that are no pause.
  void Pass(Duration span) {
    const MonoTime end = clock_.now + span;
    while (clock_.now < end) {
      clock_.now = std::min(end, clock_.now + Milliseconds(500));
      std::vector<LeaseId> none;
      if (lessor_.leads()) lessor_.TakeExpired(0, none);
    }
  }
  void Lead() {
    lessor_.Lead();
    while (lessor_.LoadStep(100)) {
    }
  }
  // The ids of those whose time is over, in the order they were found.
  std::string Expired(size_t count = 1000) {
    std::vector<LeaseId> expired;
    lessor_.TakeExpired(count, expired);
    std::string ids;
    for (const LeaseId lease : expired) ids += Concat(lease.value(), " ");
    return ids;
  }
  Renewal Renew(int64_t lease) {
    int64_t ttl_seconds = 0;
    return lessor_.Renew(LeaseId(lease), ttl_seconds);
  }
  int64_t Remaining(int64_t lease) {
    const std::optional<Lessor::Standing> standing = lessor_.Look(LeaseId(lease));
    return standing.has_value() ? standing->remaining_seconds : -1;
  }
  // "id=remaining" of what a pass over all leases finds worth a checkpoint.
  std::string CheckpointsOfPass() {
    std::vector<engine::LeaseCheckpoint> found;
    while (lessor_.CheckpointStep(2, found)) {
    }
    std::string text;
    for (const engine::LeaseCheckpoint& checkpoint : found) {
      text += Concat(checkpoint.lease.value(), "=", checkpoint.remaining_seconds, " ");
    }
    return text;
  }
  std::string Clears() {
    std::vector<engine::LeaseCheckpoint> clears;
    lessor_.TakeClears(clears);
    std::string text;
    for (const engine::LeaseCheckpoint& clear : clears) {
      text += Concat(clear.lease.value(), "=", clear.remaining_seconds, " ");
    }
    return text;
  }

  HandClock clock_;
  std::unique_ptr<engine::Engine> engine_;
  Lessor lessor_;
};

TEST_F(LessorTest, LeasesAreFoundInTheOrderTheyEndAndNoneEarly) {
  Lead();
  Grant(1, 30);
  Grant(2, 10);
  Grant(3, 20);
  Pass(Milliseconds(9'999));
  EXPECT_EQ(Expired(), "");
  Pass(Milliseconds(1));
  EXPECT_EQ(Expired(), "2 ");
  EXPECT_EQ(Expired(), "") << "it is being revoked";
  EXPECT_EQ(lessor_.revoking(), 1u);
  Pass(Seconds(30));
  EXPECT_EQ(Expired(), "3 1 ");
}

TEST_F(LessorTest, OneLookIsBounded) {
  Lead();
  for (int64_t id = 1; id <= 5; ++id) Grant(id, 10);
  Pass(Seconds(10));
  EXPECT_EQ(Expired(2), "1 2 ");
  EXPECT_EQ(Expired(2), "3 4 ");
  EXPECT_EQ(Expired(2), "5 ");
}

TEST_F(LessorTest, RenewalMovesTheEndAndLeavesTheQueueAlone) {
  Lead();
  Grant(1, 10);
  const MonoTime queued = lessor_.next_look();
  Pass(Seconds(6));
  int64_t ttl_seconds = 0;
  EXPECT_EQ(lessor_.Renew(LeaseId(1), ttl_seconds), Renewal::kRenewed);
  EXPECT_EQ(ttl_seconds, 10);
  EXPECT_EQ(lessor_.next_look(), queued) << "it is looked at when its old time has come";
  Pass(Seconds(4));
  EXPECT_EQ(Expired(), "");
  EXPECT_EQ(lessor_.next_look(), queued + Seconds(6));
  Pass(Seconds(6));
  EXPECT_EQ(Expired(), "1 ");
  EXPECT_EQ(lessor_.stats().renewed_total, 1u);
}

TEST_F(LessorTest, WhatIsKeptAliveNeverEnds) {
  Lead();
  Grant(1, 3);
  for (int i = 0; i < 100; ++i) {
    Pass(Seconds(2));
    EXPECT_EQ(Expired(), "");
    EXPECT_EQ(Renew(1), Renewal::kRenewed);
  }
}

TEST_F(LessorTest, ARevokedLeaseIsGone) {
  Lead();
  Grant(1, 10);
  Grant(2, 10);
  Revoke(1);
  EXPECT_EQ(Renew(1), Renewal::kGone);
  EXPECT_EQ(Remaining(1), -1);
  Pass(Seconds(10));
  EXPECT_EQ(Expired(), "2 ");
  EXPECT_EQ(lessor_.size(), 1u);
  EXPECT_EQ(lessor_.stats().expired_total, 0u);
}

TEST_F(LessorTest, NoKeepaliveSavesWhatIsBeingRevoked) {
  Lead();
  Grant(1, 10);
  Pass(Seconds(10));
  EXPECT_EQ(Expired(), "1 ");
  EXPECT_EQ(Renew(1), Renewal::kRevoking);
  lessor_.Hold(LeaseId(1));
  EXPECT_EQ(Remaining(1), 0);
  Revoke(1);
  EXPECT_EQ(Renew(1), Renewal::kGone);
  EXPECT_EQ(lessor_.revoking(), 0u);
  EXPECT_EQ(lessor_.stats().expired_total, 1u);
}

TEST_F(LessorTest, ALeaseGrantedAgainBeforeItsFormerRevokeIsAppliedIsAFreshOne) {
  Lead();
  Grant(1, 10);
  Pass(Seconds(10));
  EXPECT_EQ(Expired(), "1 ");
  const LogIndex proposed = engine_->stats().applied_index;
  Revoke(1);  // a client's, and its grant, were before that in the log
  Grant(1, 10);
  EXPECT_EQ(Try(engine::LeaseRevokeOp{.lease = LeaseId(1)}, proposed),
            engine::Outcome::kLeaseNotFound);
  EXPECT_EQ(lessor_.revoking(), 0u);
  EXPECT_EQ(Renew(1), Renewal::kRenewed);
  EXPECT_EQ(Remaining(1), 10);
  Pass(Seconds(10));
  EXPECT_EQ(Expired(), "1 ");
}

TEST_F(LessorTest, ACheckpointOfTheFormerLeaseIsNoneOfTheNewOne) {
  Lead();
  Grant(1, 1000);
  Pass(Seconds(300));
  EXPECT_EQ(CheckpointsOfPass(), "1=700 ");
  const LogIndex proposed = engine_->stats().applied_index;
  Revoke(1);
  Grant(1, 1000);
  Try(engine::LeaseCheckpointOp{.checkpoints = {{LeaseId(1), 700}}}, proposed);
  EXPECT_EQ(Renew(1), Renewal::kRenewed) << "nothing is to be cleared";
  lessor_.Follow();
  Lead();
  EXPECT_EQ(Remaining(1), 1001);
}

TEST_F(LessorTest, WhatWasNotProposedAfterAllEndsLaterAndMayBeRenewed) {
  Lead();
  Grant(1, 10);
  Grant(2, 10);
  Pass(Seconds(10));
  std::vector<LeaseId> expired;
  lessor_.TakeExpired(10, expired);
  Revoke(2);  // by a client meanwhile
  lessor_.PutBack(expired);
  EXPECT_EQ(lessor_.revoking(), 0u);
  EXPECT_EQ(Expired(), "1 ");
  lessor_.PutBack(std::vector<LeaseId>{LeaseId(1)});
  EXPECT_EQ(Renew(1), Renewal::kRenewed);
  EXPECT_EQ(Expired(), "");
}

TEST_F(LessorTest, AHeldLeaseDoesNotEndBeforeItsKeepaliveIsAnswered) {
  Lead();
  Grant(1, 10);
  Pass(Milliseconds(9'900));
  lessor_.Hold(LeaseId(1));
  Pass(Seconds(1));
  EXPECT_EQ(Expired(), "");
  EXPECT_EQ(Renew(1), Renewal::kRenewed);
}

TEST_F(LessorTest, ANewLeaderGivesEveryLeaseItsTimeAndAnElectionTimeoutAnew) {
  Grant(1, 10);
  Grant(2, 1000);
  Checkpoint({{LeaseId(2), 400}});
  Pass(Seconds(3600));
  Lead();
  EXPECT_EQ(Remaining(1), 11);
  EXPECT_EQ(Remaining(2), 401);
  Pass(Milliseconds(10'999));
  EXPECT_EQ(Expired(), "");
  Pass(Milliseconds(1));
  EXPECT_EQ(Expired(), "1 ");
  lessor_.Follow();
  EXPECT_EQ(lessor_.size(), 0u);
  Lead();
  EXPECT_EQ(Remaining(1), 11) << "its revoke was lost with the term";
  EXPECT_EQ(lessor_.revoking(), 0u);
}

TEST_F(LessorTest, LeasesAreKnownBeforeTheyAreLoadedAndLoadedOnce) {
  for (int64_t id = 1; id <= 9; ++id) Grant(id, 10);
  lessor_.Lead();
  EXPECT_TRUE(lessor_.LoadStep(2));
  EXPECT_EQ(Renew(7), Renewal::kRenewed);
  EXPECT_EQ(Renew(10), Renewal::kGone);
  Revoke(8);
  Grant(10, 10);
  EXPECT_EQ(lessor_.size(), 4u);
  while (lessor_.LoadStep(2)) {
  }
  EXPECT_EQ(lessor_.size(), 9u);
  Pass(Seconds(10));
  EXPECT_EQ(Expired(), "10 ") << "the others have an election timeout more";
  Pass(kElection);
  EXPECT_EQ(Expired(), "1 2 3 4 5 6 7 9 ");
}

TEST_F(LessorTest, WhatWouldEndAllAtOnceAfterAChangeOfLeadersIsSpread) {
  const int64_t leases = int64_t{Lessor::kLoadedPerSecond} * 5 / 2;
  for (int64_t id = 1; id <= leases; ++id) Grant(id, 10);
  Lead();
  Pass(Seconds(11));
  std::vector<LeaseId> expired;
  for (const size_t in_second : {size_t{Lessor::kLoadedPerSecond}, size_t{Lessor::kLoadedPerSecond},
                                 size_t{Lessor::kLoadedPerSecond} / 2}) {
    expired.clear();
    lessor_.TakeExpired(SIZE_MAX, expired);
    EXPECT_EQ(expired.size(), in_second);
    Pass(Seconds(1));
  }
}

TEST_F(LessorTest, APauseIsNoTime) {
  Lead();
  Grant(1, 10);
  Pass(Seconds(4));
  clock_.now = clock_.now + Seconds(3600);  // nothing ran
  EXPECT_EQ(Expired(), "");
  EXPECT_EQ(Remaining(1), 6);
  EXPECT_EQ(lessor_.next_look(), clock_.now + Seconds(6));
  Pass(Seconds(6));
  EXPECT_EQ(Expired(), "1 ");
}

TEST_F(LessorTest, CheckpointsAreOfWhatHasLostAnIntervalAndHasMoreThanOneLeft) {
  Lead();
  Grant(1, 300);
  Grant(2, 599);
  Grant(3, 1000);
  Grant(4, 5000);
  Pass(Seconds(299));
  EXPECT_EQ(CheckpointsOfPass(), "");
  Pass(Seconds(1));
  EXPECT_EQ(CheckpointsOfPass(), "3=700 4=4700 ");
  Checkpoint({{LeaseId(3), 700}, {LeaseId(4), 4700}});
  Pass(Seconds(299));
  EXPECT_EQ(CheckpointsOfPass(), "");
  Pass(Seconds(1));
  EXPECT_EQ(CheckpointsOfPass(), "3=400 4=4400 ");
  Checkpoint({{LeaseId(3), 400}, {LeaseId(4), 4400}});
  Pass(Seconds(300));
  EXPECT_EQ(CheckpointsOfPass(), "4=4100 ") << "the other ends within an interval";
}

TEST_F(LessorTest, AKeepaliveAfterACheckpointIsForWhenThatIsCleared) {
  Lead();
  Grant(1, 1000);
  Pass(Seconds(300));
  EXPECT_EQ(CheckpointsOfPass(), "1=700 ");
  EXPECT_EQ(Renew(1), Renewal::kCheckpointed) << "though it is not applied yet";
  EXPECT_EQ(Renew(1), Renewal::kCheckpointed);
  EXPECT_EQ(Clears(), "1=0 ");
  EXPECT_EQ(Clears(), "") << "one is enough";
  Pass(Seconds(600));
  EXPECT_EQ(CheckpointsOfPass(), "") << "none comes between";
  Checkpoint({{LeaseId(1), 700}});
  EXPECT_EQ(Renew(1), Renewal::kCheckpointed);
  Checkpoint({{LeaseId(1), 0}});
  EXPECT_EQ(Renew(1), Renewal::kRenewed);
  EXPECT_EQ(Remaining(1), 1000);
}

TEST_F(LessorTest, AClearThatWasNotProposedIsWantedAgain) {
  Lead();
  Grant(1, 1000);
  Checkpoint({{LeaseId(1), 700}});
  EXPECT_EQ(Renew(1), Renewal::kCheckpointed);
  std::vector<engine::LeaseCheckpoint> clears;
  lessor_.TakeClears(clears);
  lessor_.PutBackClears(clears);
  EXPECT_EQ(Renew(1), Renewal::kCheckpointed);
  EXPECT_EQ(Clears(), "1=0 ");
}

TEST_F(LessorTest, ANewLeaderClearsTheCheckpointsOfTheLast) {
  Grant(1, 1000);
  Checkpoint({{LeaseId(1), 700}});
  Lead();
  EXPECT_EQ(Renew(1), Renewal::kCheckpointed);
  EXPECT_EQ(Clears(), "1=0 ");
}

TEST_F(LessorTest, TheLongestTtlEndsNotBeforeTheClockDoes) {
  clock_.now = MonoTime{Seconds(2'000'000'000).ns};
  Lead();
  Grant(1, engine::kLeaseTtlSecondsMax);
  EXPECT_EQ(lessor_.next_look(), MonoTime::Max());
  EXPECT_EQ(Renew(1), Renewal::kRenewed);
  Pass(Seconds(600));
  EXPECT_EQ(Expired(), "");
  EXPECT_EQ(CheckpointsOfPass(), "1=7223371437 ");
}

TEST_F(LessorTest, CountsComeAndGoWithTheLeasesWhoeverLeads) {
  Grant(1, 10);
  Grant(2, 10);
  Revoke(1);
  EXPECT_EQ(lessor_.stats().granted_total, 2u);
  EXPECT_EQ(lessor_.stats().revoked_total, 1u);
  EXPECT_EQ(lessor_.ttls().count(), 2u);
  EXPECT_EQ(lessor_.size(), 0u) << "it keeps nothing while another leads";
  EXPECT_FALSE(lessor_.EndOf(LeaseId(2)).has_value());
}

}  // namespace
}  // namespace metastore::server
