// Aim: `walinspect verify` demands of a log's records exactly what recovery demands, in a memory
// that does not grow with the entries. Method: random records, fitting and not, to LogCheck and to
// the index that recovery builds; logs on a simulated disk whose files are changed.
#include <gtest/gtest.h>

#include "tests/tools/walinspect_fixture.h"
#include "tools/walinspect/log_check.h"
#include "wal/group_log.h"

namespace metastore::walinspect {
namespace {

// --- LogCheck

constexpr uint64_t kSegments = 8;

// Recovery's index, fed record by record.
class Index final {
 public:
  Index() {
    for (uint64_t seq = 1; seq <= kSegments; ++seq) {
      auto segment = std::make_unique<wal::Segment>();
      segment->seq = wal::SegmentSeq(seq);
      segments_.PushBack(std::move(segment));
    }
  }

  Status Take(const wal::LoggedRecord& logged, wal::SegmentSeq segment) {
    return groups.Replay(logged.group, logged.sequence, wal::EffectOf(logged.record, 0),
                         {segment, Lsn(1)}, segments_);
  }

  wal::GroupTable groups;

 private:
  wal::SegmentTable segments_;
};

// A record that mostly fits `group`; `bytes` holds what it views.
wal::LoggedRecord RandomRecord(Prng& prng, GroupId id, const wal::GroupLog& group,
                               std::string& bytes) {
  const wal::GroupState& state = group.state();
  const uint64_t first = group.first().value();
  const uint64_t last = group.last().value();
  const uint64_t within = first + prng.Below(std::max<uint64_t>(1, last + 1 - first));
  const auto term_of = [&](uint64_t index) {
    const StatusOr<Term> term = group.TermAt(LogIndex(index));
    return term.ok() ? *term : Term(1 + prng.Below(3));
  };
  wal::LoggedRecord logged{.group = id, .sequence = group.next_sequence};
  wal::Record& record = logged.record;
  record = {.term = Term(1 + prng.Below(3)), .index = LogIndex(last + 1)};
  const uint64_t choice = prng.Below(40);
  if (choice < 24) {
  } else if (choice < 26) {
    record.index = LogIndex(within);
  } else if (choice < 31) {
    record.kind = choice < 30 ? wal::RecordKind::kRewrite : wal::RecordKind::kHealed;
    record.index = LogIndex(within);
    record.term = term_of(within);
  } else if (choice < 33) {
    record.kind = wal::RecordKind::kTruncate;
    record.index = LogIndex(within);
  } else if (choice < 35) {
    record.kind = wal::RecordKind::kPurge;
    record.index = LogIndex(within);
    record.term = term_of(within);
  } else if (choice < 36) {
    record.kind = wal::RecordKind::kSnapshotMeta;
    record.index = LogIndex(last + prng.Below(5));
    record.bytes = "meta";
  } else if (choice < 38) {
    record.kind = wal::RecordKind::kHardState;
    record.bytes = prng.Below(2) == 0 ? "vote" : "other vote";
  } else {
    record.kind = wal::RecordKind::kGroupState;
    record.bytes = bytes = wal::EncodeGroupState(state);
  }
  return logged;
}

// Makes what fits not fit, perhaps.
void Disturb(Prng& prng, wal::LoggedRecord& logged, std::string& bytes) {
  switch (prng.Below(5)) {
    case 0:
      logged.sequence += prng.Below(3) - 1;
      return;
    case 1:
      logged.record.index =
          LogIndex(std::max<uint64_t>(logged.record.index.value(), 4) + prng.Below(9) - 4);
      return;
    case 2:
      logged.record.term = Term(prng.Below(5));
      return;
    case 3:
      bytes = wal::EncodeGroupState(
          {.purged = {Term(1), LogIndex(prng.Below(20))}, .last = LogIndex(prng.Below(40))});
      logged.record.kind = wal::RecordKind::kGroupState;
      logged.record.bytes = bytes;
      return;
    default:
      return;
  }
}

TEST(WalinspectVerify, DemandsOfRecordsWhatRecoveryDemands) {
  uint64_t refused = 0;
  uint64_t incomplete = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Prng prng(seed);
    LogCheck check;
    Index index;
    std::string bytes;
    for (uint64_t i = 0; i < 400; ++i) {
      const GroupId id(1 + prng.Below(2));
      const wal::SegmentSeq segment(1 + i * kSegments / 400);
      wal::LoggedRecord logged = RandomRecord(prng, id, index.groups.FindOrAdd(id), bytes);
      if (i < 4 || prng.Below(6) == 0) Disturb(prng, logged, bytes);
      const Status expected = index.Take(logged, segment);
      ASSERT_EQ(check.Take(logged, segment), expected) << "seed " << seed << " record " << i;
      if (!expected.ok()) ++refused;
      if (prng.Below(20) != 0) continue;
      ASSERT_EQ(check.CheckComplete(), index.groups.CheckComplete())
          << "seed " << seed << " record " << i;
      if (!check.CheckComplete().ok()) ++incomplete;
    }
  }
  EXPECT_GT(refused, 1000u);
  EXPECT_GT(incomplete, 100u);
}

TEST(WalinspectVerify, AMillionEntriesAreAFewRuns) {
  GroupRuns runs;
  for (uint64_t i = 1; i <= 1'000'000; ++i) {
    runs.Apply({.group = wal::kGroup, .sequence = i, .record = {.index = LogIndex(i)}},
               wal::SegmentSeq(1 + i / 100'000));
  }
  EXPECT_EQ(runs.runs().size(), 11u);
}

TEST(WalinspectVerify, AnEntryThatNoRecordHoldsIsNamed) {
  LogCheck check;
  const std::string state = wal::EncodeGroupState({.last = LogIndex(7)});
  const wal::LoggedRecord restated{
      .group = wal::kGroup,
      .sequence = 9,
      .record = {.kind = wal::RecordKind::kGroupState, .bytes = state}};
  ASSERT_TRUE(check.Take(restated, wal::SegmentSeq(1)).ok());
  EXPECT_EQ(StdView(check.CheckComplete().message()), "group 1 lacks entry 1 and 6 more");
}

// --- the command

TEST(WalinspectVerify, DamageAtTheStartOfALongLogIsFoundWithoutReadingTheRest) {
  InspectedMachine inspected;
  while (inspected.machine.log().stats().segments_live < 16) {
    inspected.Write(40, Milliseconds(1), 8000);
  }
  inspected.Damage(inspected.Frames()[3]);
  ASSERT_TRUE(inspected.machine.Close().ok());
  uint64_t read = 0;
  inspected.machine.disk().OnIo([&read](const sim::SimIo& io) {
    if (io.op == sim::SimDiskOp::kRead) read += io.size;
    return sim::SimIoVerdict{};
  });
  EXPECT_EQ(*inspected.Run(Verify), kExitCorrupt) << inspected.output;
  EXPECT_TRUE(inspected.Has("was acknowledged")) << inspected.output;
  // Each of the attempts: the headers, the first two segments, and the last two for promises.
  EXPECT_LT(read, kScanAttempts * 10 * inspected.machine.options().segment_bytes);
}

}  // namespace
}  // namespace metastore::walinspect
