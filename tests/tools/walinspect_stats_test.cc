// Aim: what `walinspect stats` counts is what was written, and it names what keeps a segment.
// Method: logs written by wal/ in simulation with known content; GroupRuns also against a plain map
// under random records.
#include <gtest/gtest.h>

#include <map>

#include "tests/tools/walinspect_fixture.h"
#include "tools/walinspect/group_runs.h"
#include "tools/walinspect/scan_run.h"
#include "tools/walinspect/stats.h"

namespace metastore::walinspect {
namespace {

using wal::Entry;
using wal::HardState;

LogStatistics StatisticsOf(wal::WalMachine& machine) {
  LogStatistics stats;
  wal::LogScan scan(machine.runtime(), {.directory = machine.options().directory});
  Request request;
  const Status scanned = machine.world().Await(machine.runtime(), RunScan(scan, stats, request));
  EXPECT_TRUE(scanned.ok()) << scanned.message();
  stats.FindPins();
  return stats;
}

TEST(WalinspectStats, CountsWhatWasWritten) {
  InspectedMachine inspected;
  wal::WalMachine& machine = inspected.machine;
  machine.MustAppendRange(wal::kGroup, 1, 10, 100);
  machine.MustAppend(GroupId(2), {HardState("state"), Entry(1, 1, "x"), Entry(2, 1, "y")});
  const LogStatistics stats = StatisticsOf(machine);
  ASSERT_EQ(stats.groups.size(), 2u);
  const Tally& entries = stats.groups.at(wal::kGroup).kinds[1];
  EXPECT_EQ(entries.records, 10u);
  EXPECT_EQ(entries.bytes, 1000u);
  const LogStatistics::GroupStatistics& second = stats.groups.at(GroupId(2));
  EXPECT_EQ(second.kinds[1].records, 2u);
  EXPECT_EQ(second.kinds[3].records, 1u);
  EXPECT_EQ(stats.payload_bytes, 1000u + 7u);
  EXPECT_EQ(stats.frame_records.max(), 3u);
  EXPECT_EQ(stats.boots_count, 1u);
  uint64_t frame_bytes = 0;
  uint64_t body_bytes = 0;
  for (const SegmentStatistics& segment : stats.segments) {
    frame_bytes += segment.frame_bytes;
    body_bytes += segment.body_bytes;
  }
  EXPECT_EQ(frame_bytes, stats.header_bytes + stats.padding_bytes + body_bytes);
}

TEST(WalinspectStats, NamesTheGroupThatKeepsASegment) {
  InspectedMachine inspected;
  wal::WalMachine& machine = inspected.machine;
  machine.MustAppendRange(GroupId(7), 1, 3, 100);  // idle from here on
  machine.MustAppendRange(wal::kGroup, 1, 200, 3000);
  machine.MustPurge(wal::kGroup, 200);
  const LogStatistics stats = StatisticsOf(machine);
  ASSERT_GE(stats.segments.size(), 3u);
  EXPECT_EQ(stats.segments.front().live, (std::map<GroupId, uint64_t>{{GroupId(7), 3}}));
  EXPECT_TRUE(stats.segments[1].live.empty());
  // Every segment restates all groups: hard states never keep an old one.
  EXPECT_EQ(stats.groups.at(GroupId(7)).hard_state, stats.segments.back().segment);
  ASSERT_EQ(*inspected.Run(Stats), kExitClean);
  EXPECT_TRUE(inspected.Has("group 7: 3 entries")) << inspected.output;
  EXPECT_TRUE(inspected.Has("nothing; waits for the segments before it")) << inspected.output;
}

TEST(WalinspectStats, TellsBootsApart) {
  InspectedMachine inspected;
  for (int i = 0; i < 3; ++i) inspected.machine.Reopen();
  const LogStatistics stats = StatisticsOf(inspected.machine);
  EXPECT_EQ(stats.boots_count, 4u);
  ASSERT_EQ(stats.boots.size(), 4u);
  EXPECT_EQ(stats.boots[3].epoch, Epoch(4));
  ASSERT_EQ(*inspected.RunJson(Stats), kExitClean);
  EXPECT_TRUE(inspected.output.starts_with("{\"schema\":\"walinspect.stats/1\""))
      << inspected.output;
  EXPECT_TRUE(inspected.Has("\"boots_count\":4"));
}

TEST(WalinspectStats, ADirectoryWithoutALogIsAnError) {
  InspectedMachine inspected;
  const StatusOr<int> code = inspected.Run(Stats, {.directory = "/data"});
  EXPECT_EQ(code.status().code(), StatusCode::kNotFound);
}

// --- GroupRuns

struct Model {
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> entries;  // segment, sequence

  void Apply(const wal::LoggedRecord& logged, uint64_t segment) {
    const uint64_t index = logged.record.index.value();
    const bool put = wal::IsEntryKind(logged.record.kind);
    if (logged.record.kind == wal::RecordKind::kPurge) {
      entries.erase(entries.begin(), entries.upper_bound(index));
      return;
    }
    if (logged.record.kind == wal::RecordKind::kEntry ||
        logged.record.kind == wal::RecordKind::kTruncate) {
      entries.erase(entries.lower_bound(index), entries.end());
    }
    if (put) entries[index] = {segment, logged.sequence};
  }
};

// One random record that fits `model`, whose log begins after `purged`.
wal::Record RandomRecord(Prng& prng, const Model& model, uint64_t& purged) {
  const uint64_t last = model.entries.empty() ? purged : model.entries.rbegin()->first;
  const uint64_t within = last > purged ? purged + 1 + prng.Below(last - purged) : 0;
  wal::Record record{.index = LogIndex(last + 1)};
  const uint64_t choice = prng.Below(20);
  if (within == 0 || choice < 13) return record;
  record.index = LogIndex(within);
  if (choice < 15) return record;
  if (choice < 17) {
    record.kind = wal::RecordKind::kRewrite;
  } else if (choice < 18) {
    record.kind = wal::RecordKind::kHealed;
  } else if (choice < 19) {
    record.kind = wal::RecordKind::kTruncate;
  } else {
    record.kind = wal::RecordKind::kPurge;
    record.index = LogIndex(purged + 1 + prng.Below(within - purged));
    purged = record.index.value();
  }
  return record;
}

TEST(WalinspectGroupRuns, HoldWhatAPlainMapHolds) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Prng prng(seed);
    GroupRuns runs;
    Model model;
    uint64_t purged = 0;
    std::vector<std::pair<wal::LoggedRecord, uint64_t>> all;
    for (uint64_t sequence = 1; sequence <= 300; ++sequence) {
      const uint64_t segment = 1 + sequence / 40;
      const wal::LoggedRecord logged{
          .group = wal::kGroup, .sequence = sequence, .record = RandomRecord(prng, model, purged)};
      runs.Apply(logged, wal::SegmentSeq(segment));
      model.Apply(logged, segment);
      all.emplace_back(logged, segment);
    }
    uint64_t count = 0;
    for (const auto& [first, run] : runs.runs()) count += run.last - first + 1;
    EXPECT_EQ(count, model.entries.size()) << "seed " << seed;
    for (const auto& [logged, segment] : all) {
      const auto entry = model.entries.find(logged.record.index.value());
      const bool holds = wal::IsEntryKind(logged.record.kind) && entry != model.entries.end() &&
                         entry->second == std::pair(segment, logged.sequence);
      EXPECT_EQ(runs.Holds(logged, wal::SegmentSeq(segment)), holds)
          << "seed " << seed << " record " << logged.sequence;
    }
  }
}

}  // namespace
}  // namespace metastore::walinspect
