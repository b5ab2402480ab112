// Aim: the replicated part of leases behaves as etcd's (spec 2.8). Method: one fact a test, on both
// engines.
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

class LeaseTest : public EngineTest {
 protected:
  std::string KeysOf(int64_t lease, std::string_view after = {}, size_t count_max = 100) {
    const LeaseKeys keys = box_.Await(box_->KeysOfLease(LeaseId(lease), after, count_max));
    if (keys.outcome != Outcome::kOk) return "(no lease)";
    std::string joined;
    for (const io::SharedBytes& key : keys.keys) joined += std::string(key.view()) + " ";
    return joined;
  }
};
MS_ENGINE_SUITE(LeaseTest);

TEST_P(LeaseTest, GrantMakesNoRevision) {
  const ApplyResult result = box_.Grant(5, 30);
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_EQ(result.lease, LeaseId(5));
  EXPECT_EQ(result.ttl_seconds, 30);
  EXPECT_FALSE(result.changed);
  EXPECT_EQ(box_.revision(), 1);
  ASSERT_TRUE(box_->FindLease(LeaseId(5)).has_value());
  EXPECT_EQ(box_->FindLease(LeaseId(5))->ttl_seconds, 30);
  EXPECT_FALSE(box_->FindLease(LeaseId(6)).has_value());
}

TEST_P(LeaseTest, GrantErrors) {
  box_.Grant(5);
  EXPECT_EQ(box_.Grant(5).outcome, Outcome::kLeaseExists);
  EXPECT_EQ(box_.Grant(0).outcome, Outcome::kLeaseNotFound);
  EXPECT_EQ(box_.Grant(6, kLeaseTtlSecondsMax + 1).outcome, Outcome::kLeaseTtlTooLarge);
  EXPECT_EQ(box_.Grant(6, kLeaseTtlSecondsMax).outcome, Outcome::kOk);
  EXPECT_EQ(box_->stats().leases_count, 2);
}

TEST_P(LeaseTest, PutNeedsTheLease) {
  EXPECT_EQ(box_.Put("a", "1", LeaseId(5)).outcome, Outcome::kLeaseNotFound);
  EXPECT_EQ(box_.revision(), 1);
}

TEST_P(LeaseTest, KeyMovesBetweenLeasesAndDetaches) {
  box_.Grant(5);
  box_.Grant(6);
  box_.Put("a", "1", LeaseId(5));
  box_.Put("b", "1", LeaseId(5));
  EXPECT_EQ(KeysOf(5), "a b ");
  box_.Put("a", "1", LeaseId(6));
  EXPECT_EQ(KeysOf(5), "b ");
  EXPECT_EQ(KeysOf(6), "a ");
  box_.Put("a", "1");
  EXPECT_EQ(KeysOf(6), "");
  box_.Delete("b");
  EXPECT_EQ(KeysOf(5), "");
  EXPECT_EQ(KeysOf(7), "(no lease)");
}

TEST_P(LeaseTest, RevokeDeletesItsKeysSortedInOneRevision) {
  box_.Grant(5);
  for (const char* key : {"c", "a", "b"}) box_.Put(key, "1", LeaseId(5));
  box_.Put("d", "1");
  const ApplyResult result = box_.Revoke(5);
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_EQ(result.op.deleted, 3);
  EXPECT_EQ(result.revision, Revision(6));
  EXPECT_EQ(EngineBox::JoinEvents(box_.History(6)), "6-a 6-b 6-c");
  EXPECT_FALSE(box_->FindLease(LeaseId(5)).has_value());
  EXPECT_EQ(box_.Keys(kToEnd, kToEnd), "d");
}

TEST_P(LeaseTest, RevokeWithoutKeysMakesNoRevision) {
  box_.Grant(5);
  EXPECT_FALSE(box_.Revoke(5).changed);
  EXPECT_EQ(box_.revision(), 1);
  EXPECT_EQ(box_.Revoke(5).outcome, Outcome::kLeaseNotFound);
}

TEST_P(LeaseTest, LeaseNeverGetsMoreKeysThanOneEntryMayTouch) {
  box_.Grant(5);
  box_->SetEntryKeysMax(2);
  EXPECT_EQ(box_.Put("a", "", LeaseId(5)).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Apply(TxnOf({}, {PutOf("b", "", 5), PutOf("c", "", 5)})).outcome,
            Outcome::kTooManyKeys);
  EXPECT_EQ(box_.Put("b", "", LeaseId(5)).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Put("c", "", LeaseId(5)).outcome, Outcome::kTooManyKeys);
  EXPECT_EQ(box_.Revoke(5).op.deleted, 2);
}

TEST_P(LeaseTest, CheckpointsSetTheRemainingTimeOfManyAndMakeNoRevision) {
  box_.Grant(5, 600);
  box_.Grant(6, 600);
  const ApplyResult result = box_.Checkpoint({{LeaseId(5), 300}, {LeaseId(7), 300}});
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_FALSE(result.changed);
  EXPECT_EQ(result.kind, OpKind::kLeaseCheckpoint);
  EXPECT_EQ(box_->FindLease(LeaseId(5))->remaining_seconds, 300);
  EXPECT_EQ(box_->FindLease(LeaseId(6))->remaining_seconds, 0);
  EXPECT_FALSE(box_->FindLease(LeaseId(7)).has_value());
  box_.Checkpoint({{LeaseId(5), 0}, {LeaseId(6), 601}});
  EXPECT_EQ(box_->FindLease(LeaseId(5))->remaining_seconds, 0);
  EXPECT_EQ(box_->FindLease(LeaseId(6))->remaining_seconds, 600) << "never more than the TTL";
}

TEST_P(LeaseTest, WhatConcernsAnEarlierLeaseLeavesALaterOneOfItsIdAlone) {
  box_.Grant(5, 600);
  box_.Put("a", "1", LeaseId(5));
  const LogIndex before = box_->stats().applied_index;
  box_.Revoke(5);
  box_.Grant(5, 600);
  EXPECT_EQ(box_->FindLease(LeaseId(5))->granted_at, before + 2);
  box_.Put("a", "2", LeaseId(5));
  const int64_t revision = box_.revision();
  const ApplyResult revoked = box_.Apply(LeaseRevokeOp{.lease = LeaseId(5)}, before);
  EXPECT_EQ(revoked.outcome, Outcome::kLeaseNotFound);
  EXPECT_FALSE(revoked.changed);
  const LeaseCheckpointOp checkpoint{.checkpoints = {{LeaseId(5), 10}}};
  EXPECT_EQ(box_.Apply(checkpoint, before).outcome, Outcome::kOk);
  EXPECT_EQ(box_->FindLease(LeaseId(5))->remaining_seconds, 0);
  EXPECT_EQ(KeysOf(5), "a ");
  EXPECT_EQ(box_.revision(), revision);

  box_.Apply(checkpoint, before + 2);
  EXPECT_EQ(box_->FindLease(LeaseId(5))->remaining_seconds, 10);
  EXPECT_EQ(box_.Apply(LeaseRevokeOp{.lease = LeaseId(5)}, before + 2).outcome, Outcome::kOk);
  EXPECT_EQ(box_.Get("a"), "(none)");
}

TEST_P(LeaseTest, WhenALeaseWasGrantedIsInDigestsAndSnapshots) {
  EngineBox other(GetParam() == EngineKind::kSuspending, /*hash_seed=*/9);
  box_.Grant(5, 600);
  box_.Grant(6, 600);
  other.Grant(6, 600);
  other.Grant(5, 600);
  EXPECT_NE(box_.Digest(), other.Digest());
  ASSERT_TRUE(other.Restore(box_.Snapshot()).ok());
  EXPECT_EQ(other->FindLease(LeaseId(6))->granted_at, LogIndex(2));
  EXPECT_EQ(box_.Digest(), other.Digest());
}

TEST_P(LeaseTest, MalformedCheckpointChangesNothing) {
  box_.Grant(5, 600);
  Command command;
  command.op = LeaseCheckpointOp{.checkpoints = {{LeaseId(5), -1}}};
  EXPECT_EQ(box_.ApplyBytes(EncodeCommand(command)).outcome, Outcome::kMalformed);
  command.op = LeaseCheckpointOp{.checkpoints = {{LeaseId(5), 1}, {LeaseId(6), 1}}};
  const std::string whole = EncodeCommand(command);
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    if (bytes > 0) {
      EXPECT_EQ(box_.ApplyBytes(whole.substr(0, bytes)).outcome, Outcome::kMalformed) << bytes;
    }
  }
  EXPECT_EQ(box_.ApplyBytes(whole + "x").outcome, Outcome::kMalformed);
  EXPECT_EQ(box_->FindLease(LeaseId(5))->remaining_seconds, 0);
}

TEST_P(LeaseTest, CheckpointsAreInDigestsAndSnapshots) {
  EngineBox other(GetParam() == EngineKind::kSuspending, /*hash_seed=*/9);
  box_.Grant(5, 600);
  other.Grant(5, 600);
  box_.Checkpoint({{LeaseId(5), 300}});
  other.Checkpoint({{LeaseId(5), 299}});
  EXPECT_NE(box_.Digest(), other.Digest());
  ASSERT_TRUE(other.Restore(box_.Snapshot()).ok());
  EXPECT_EQ(other->FindLease(LeaseId(5))->remaining_seconds, 300);
  EXPECT_EQ(box_.Digest(), other.Digest());
}

TEST_P(LeaseTest, SnapshotHasTheRemainingTimeOfItsMoment) {
  for (int64_t id = 1; id <= 20; ++id) box_.Grant(id, 600);
  box_.Checkpoint({{LeaseId(20), 300}});
  const std::unique_ptr<SnapshotSource> source =
      box_->StartSnapshot({.term = Term(3), .server_state = "members"});
  std::string stream = *box_.Await(source->Next());  // the header: no lease has been visited
  box_.Checkpoint({{LeaseId(20), 100}, {LeaseId(19), 100}});
  stream += box_.ReadAll(*source);
  EngineBox other(GetParam() == EngineKind::kSuspending, /*hash_seed=*/9);
  ASSERT_TRUE(other.Restore(stream).ok());
  EXPECT_EQ(other->FindLease(LeaseId(20))->remaining_seconds, 300);
  EXPECT_EQ(other->FindLease(LeaseId(19))->remaining_seconds, 0);
}

TEST_P(LeaseTest, LeasesAndTheirKeysComeInPages) {
  for (const int64_t id : {9, -4, 7}) box_.Grant(id);
  const std::vector<LeaseInfo> first = box_->Leases(LeaseId(INT64_MIN), 2);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].id, LeaseId(-4));
  EXPECT_EQ(first[1].id, LeaseId(7));
  EXPECT_EQ(box_->Leases(LeaseId(7), 2).size(), 1u);
  for (const char* key : {"a", "b", "c"}) box_.Put(key, "", LeaseId(7));
  EXPECT_EQ(KeysOf(7, {}, 2), "a b ");
  EXPECT_EQ(KeysOf(7, "b", 2), "c ");
}

}  // namespace
}  // namespace metastore::engine
