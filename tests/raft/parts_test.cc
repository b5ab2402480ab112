// Aim: the small parts: payloads, windows, progress, quorums, conf changes and their coding,
// settings. Method: tables, and random inputs beside a plain computation.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "io/base/prng.h"
#include "raft/conf_changer.h"
#include "raft/config.h"
#include "raft/message.h"

namespace metastore::raft {
namespace {

TEST(Payload, CopiesShareTheirBytes) {
  Payload first(std::string_view("hello"));
  const Payload second = first;
  EXPECT_EQ(first.view().data(), second.view().data());
  first = Payload();
  EXPECT_EQ(second.view(), "hello");
  Payload third = second;
  Payload& same = third;
  third = std::move(same);
  EXPECT_EQ(third, second);
}

TEST(Payload, TheEmptyOneHasNoBytes) {
  EXPECT_TRUE(Payload().empty());
  EXPECT_TRUE(Payload(std::string_view()).empty());
  EXPECT_EQ(Payload().view(), "");
  EXPECT_EQ(Payload().mutable_data(), nullptr);
}

TEST(Payload, IsFilledBeforeItIsShared) {
  Payload payload = Payload::Uninitialized(3);
  std::copy_n("abc", 3, payload.mutable_data());
  EXPECT_EQ(payload.view(), "abc");
  const Payload copy = payload;
  EXPECT_DEATH(payload.mutable_data(), "CHECK failed");
}

TEST(Inflights, IsBoundedInMessagesAndBytes) {
  Inflights window(3, 100);
  window.Add(LogIndex(1), 40);
  window.Add(LogIndex(2), 40);
  EXPECT_FALSE(window.full());
  window.Add(LogIndex(3), 10);
  EXPECT_TRUE(window.full());
  EXPECT_DEATH(window.Add(LogIndex(4), 1), "CHECK failed");
  window.FreeUpTo(LogIndex(2));
  EXPECT_EQ(window.count(), 1u);
  EXPECT_EQ(window.bytes(), 10u);
  window.Add(LogIndex(4), 95);
  EXPECT_TRUE(window.full());
}

TEST(Inflights, KeepsItsOrderWhileItGrowsAndWraps) {
  Inflights window(1000, 0);
  uint64_t added = 0;
  uint64_t freed = 0;
  Prng prng(1);
  for (int i = 0; i < 5000; ++i) {
    if (!window.full() && prng.Chance(3, 5)) window.Add(LogIndex(++added), 1);
    if (prng.Chance(1, 3)) {
      freed = std::min(added, freed + prng.Below(5));
      window.FreeUpTo(LogIndex(freed));
    }
    ASSERT_EQ(window.count(), added - freed);
    ASSERT_EQ(window.bytes(), added - freed);
  }
}

TEST(Progress, StaleAnswersChangeNothing) {
  Progress progress(LogIndex(10), Inflights(10, 0), false);
  EXPECT_TRUE(progress.MaybeUpdate(LogIndex(5)));
  EXPECT_FALSE(progress.MaybeUpdate(LogIndex(4)));
  EXPECT_FALSE(progress.MaybeDecrease(LogIndex(3), LogIndex(1)));
  EXPECT_EQ(progress.next(), LogIndex(10));
  progress.BecomeReplicate();
  EXPECT_FALSE(progress.MaybeDecrease(LogIndex(5), LogIndex(1)));
  EXPECT_TRUE(progress.MaybeDecrease(LogIndex(8), LogIndex(1)));
  EXPECT_EQ(progress.next(), LogIndex(6));
}

TEST(Progress, AProbeGoesBackToTheHintButNotBelowTheMatch) {
  Progress progress(LogIndex(10), Inflights(10, 0), false);
  progress.MaybeUpdate(LogIndex(3));
  EXPECT_TRUE(progress.MaybeDecrease(LogIndex(9), LogIndex(6)));
  EXPECT_EQ(progress.next(), LogIndex(7));
  EXPECT_TRUE(progress.MaybeDecrease(LogIndex(6), LogIndex(1)));
  EXPECT_EQ(progress.next(), LogIndex(4));
}

TEST(Progress, ProbesOneAtATimeAndPipelinesWhenReplicating) {
  Progress progress(LogIndex(10), Inflights(2, 0), false);
  progress.SentEntries(3, 30);
  EXPECT_TRUE(progress.paused());
  EXPECT_EQ(progress.next(), LogIndex(10));
  progress.MaybeUpdate(LogIndex(9));
  progress.BecomeReplicate();
  progress.SentEntries(3, 30);
  EXPECT_EQ(progress.next(), LogIndex(13));
  EXPECT_FALSE(progress.paused());
  progress.SentEntries(1, 10);
  EXPECT_TRUE(progress.paused());
}

TEST(Progress, GoesOnAfterASnapshotOrBackWhenItFailed) {
  Progress progress(LogIndex(10), Inflights(2, 0), false);
  progress.BecomeSnapshot(LogIndex(50));
  EXPECT_TRUE(progress.paused());
  Progress failed = progress;
  progress.BecomeProbe();
  EXPECT_EQ(progress.next(), LogIndex(51));
  failed.AbortSnapshot();
  EXPECT_EQ(failed.next(), LogIndex(1));
  EXPECT_EQ(Describe(failed), "StateProbe match=0 next=1 inactive");
}

class RandomAcks final : public AckedIndexer {
 public:
  std::optional<LogIndex> AckedIndex(NodeId id) const override {
    const auto at = acks.find(id);
    return at == acks.end() ? std::nullopt : std::optional(at->second);
  }
  std::map<NodeId, LogIndex> acks;
};

TEST(Quorum, CommitsWhatAMajorityHasAcknowledged) {
  Prng prng(1);
  for (int round = 0; round < 5000; ++round) {
    NodeSet voters;
    RandomAcks acks;
    const uint64_t count = 1 + prng.Below(20);  // beyond what fits on the stack
    for (uint64_t i = 0; i < count; ++i) {
      const NodeId id(1 + prng.Below(50));
      voters.Insert(id);
      if (prng.Chance(3, 4)) acks.acks[id] = LogIndex(prng.Below(10));
    }
    LogIndex expected;
    for (uint64_t index = 0; index < 10; ++index) {
      const auto have = std::count_if(voters.begin(), voters.end(), [&](NodeId id) {
        return acks.AckedIndex(id).value_or(LogIndex()) >= LogIndex(index);
      });
      if (static_cast<size_t>(have) > voters.size() / 2) expected = LogIndex(index);
    }
    ASSERT_EQ(CommittedIndex(voters, acks), expected);
  }
}

TEST(Quorum, NodeSetsAreSortedAndUnique) {
  NodeSet set{NodeId(3), NodeId(1), NodeId(3)};
  EXPECT_EQ(Describe(set), "(1 3)");
  set.Erase(NodeId(2));
  set.Erase(NodeId(1));
  EXPECT_EQ(set.ids(), std::vector<NodeId>{NodeId(3)});
  EXPECT_EQ(SymmetricDifference(set, NodeSet{NodeId(3), NodeId(4)}), 1u);
}

TEST(ConfChange, WhatIsEncodedDecodes) {
  const ConfChange changes[] = {
      {},
      {ConfTransition::kAuto, {{ConfChangeKind::kAddVoter, NodeId(7)}}, ""},
      {ConfTransition::kJointExplicit,
       {{ConfChangeKind::kRemove, NodeId(UINT64_MAX - 2)},
        {ConfChangeKind::kAddLearner, NodeId(1)},
        {ConfChangeKind::kUpdate, NodeId(2)}},
       std::string("name\0url", 8)},
      {ConfTransition::kAuto, {}, "only context"},
  };
  for (const ConfChange& change : changes) {
    const StatusOr<ConfChange> decoded = DecodeConfChange(EncodeConfChange(change));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, change);
  }
  EXPECT_TRUE(EncodeConfChange({}).empty());
}

TEST(ConfChange, TheFormatIsFixed) {
  const ConfChange change{
      ConfTransition::kJointImplicit, {{ConfChangeKind::kAddLearner, NodeId(0x0102)}}, "c"};
  const std::string expected(
      "\x01\x01\x01\x03\x02\x01\0\0\0\0\0\0\x01"
      "c",
      14);
  EXPECT_EQ(EncodeConfChange(change).view(), expected);
}

TEST(ConfChange, WhatIsCutOffOrUnknownIsRefused) {
  const ConfChange change{
      ConfTransition::kAuto, {{ConfChangeKind::kAddVoter, NodeId(7)}}, "context"};
  const Payload payload = EncodeConfChange(change);
  const std::string bytes(payload.view());
  for (size_t size = 1; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeConfChange(Payload(bytes.substr(0, size))).status().code(),
              StatusCode::kInvalidArgument)
        << size;
  }
  EXPECT_FALSE(DecodeConfChange(Payload(bytes + "x")).ok());
  for (size_t at = 0; at < 4; ++at) {
    std::string wrong = bytes;
    wrong[at] = '\x7f';
    EXPECT_FALSE(DecodeConfChange(Payload(wrong)).ok()) << at;
  }
}

TEST(ConfChange, AsksForJointConsensusWhereItMust) {
  const ConfChangeStep step{ConfChangeKind::kAddVoter, NodeId(1)};
  EXPECT_FALSE((ConfChange{ConfTransition::kAuto, {step}, ""}).EntersJoint());
  EXPECT_TRUE((ConfChange{ConfTransition::kAuto, {step, step}, ""}).EntersJoint());
  EXPECT_TRUE((ConfChange{ConfTransition::kJointExplicit, {step}, ""}).EntersJoint());
  EXPECT_FALSE((ConfChange{ConfTransition::kJointExplicit, {step}, ""}).AutoLeaves());
  EXPECT_TRUE(ConfChange{}.LeavesJoint());
}

TEST(ConfChanger, RandomChangesKeepTheInvariantsOrFailWithoutATrace) {
  Prng prng(1);
  Tracker tracker;
  size_t changed = 0;
  for (int i = 0; i < 20000; ++i) {
    ConfChange change;
    change.transition = static_cast<ConfTransition>(prng.Below(3));
    for (uint64_t n = prng.Below(4); n > 0; --n) {
      change.steps.push_back({static_cast<ConfChangeKind>(prng.Below(4)), NodeId(prng.Below(7))});
    }
    const ConfState before = tracker.config().State();
    StatusOr<Membership> next = ConfChanger(tracker, LogIndex(5), Inflights(1, 0)).Apply(change);
    ASSERT_EQ(tracker.config().State(), before);
    if (!next.ok()) {
      ASSERT_EQ(next.status().code(), StatusCode::kFailedPrecondition) << next.status();
      continue;
    }
    ASSERT_TRUE(CheckInvariants(*next).ok());
    // What it gives can be restored.
    const StatusOr<Membership> restored =
        ConfChanger::Restore(next->config.State(), LogIndex(5), Inflights(1, 0));
    ASSERT_TRUE(restored.ok()) << restored.status();
    ASSERT_EQ(restored->config, next->config);
    ASSERT_EQ(restored->progress.size(), next->progress.size());
    tracker.Switch(std::move(next->config), std::move(next->progress));
    ++changed;
  }
  EXPECT_GT(changed, 1000u);
}

TEST(ConfChanger, RestoreRefusesContradictions) {
  const ConfState states[] = {
      {{NodeId(1)}, {}, {NodeId(1)}, {}, false},  // voter and learner
      {{NodeId(1)}, {}, {}, {NodeId(2)}, false},  // leaves no voters
      {{NodeId(1)}, {}, {}, {}, true},            // nothing to leave
      {{NodeId(0)}, {}, {}, {}, false},           // nobody votes
  };
  for (const ConfState& state : states) {
    EXPECT_EQ(ConfChanger::Restore(state, LogIndex(), Inflights(1, 0)).status().code(),
              StatusCode::kInvalidArgument);
  }
}

TEST(Config, TheDefaultsAreValidOnceThereIsAnId) {
  Config config;
  EXPECT_FALSE(config.Validate().ok());
  config.id = NodeId(1);
  EXPECT_TRUE(config.Validate().ok());
}

TEST(Config, EveryProblemIsListed) {
  Config config;
  config.heartbeat_ticks = 0;
  config.election_ticks = 0;
  config.check_quorum = false;
  config.read_mode = ReadMode::kLease;
  config.lease_margin_ticks = 0;
  config.learner_ready_percent = 101;
  config.message_bytes_max = 0;
  config.inflight_messages_max = 0;
  config.uncommitted_bytes_max = 0;
  config.apply_bytes_max = 0;
  config.reads_max = 0;
  const Status status = config.Validate();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  const std::string text(StdView(status.message()));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11) << text;
  for (const char* name :
       {"id", "heartbeat_ticks", "election_ticks", "read_mode", "at least 1", "less than",
        "learner_ready_percent", "message_bytes_max", "inflight_messages_max",
        "uncommitted_bytes_max", "apply_bytes_max", "reads_max"}) {
    EXPECT_NE(text.find(name), std::string::npos) << name;
  }
  config = Config();
  config.id = kLocalStorage;
  config.inflight_bytes_max = 1;
  const std::string more(StdView(config.Validate().message()));
  EXPECT_NE(more.find("own disk"), std::string::npos);
  EXPECT_NE(more.find("inflight_bytes_max"), std::string::npos);
}

}  // namespace
}  // namespace metastore::raft
