// Aim: no step of a long walk does more than its budget, each goes on where the last one ended, and
// what is suspended keeps its moment. Method: walks over a store of their own, counted step by
// step, for budgets of several sizes; the engine's tasks by the number of scheduler nodes they
// take. No time is measured: the clock is one that the test turns.
#include <algorithm>
#include <map>

#include "engine/lease_walk.h"
#include "engine/load_sort.h"
#include "engine/snapshot_format.h"
#include "engine/walk.h"
#include "io/base/prng.h"
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

// Every look at it takes a microsecond.
class TickingClock final : public io::TimerService {
 public:
  MonoTime Now() const override { return MonoTime{} + Microseconds(++looks_); }
  void Arm(io::Timer& /*timer*/, MonoTime /*when*/) override { CHECK_UNREACHABLE(); }
  void Cancel(io::Timer& /*timer*/) override { CHECK_UNREACHABLE(); }

 private:
  mutable int64_t looks_ = 0;
};

TEST(StepBudgetTest, EndsByRecordsByBytesAndByOrder) {
  StepBudget records(nullptr, 3);
  EXPECT_TRUE(records.Spend(2));
  EXPECT_TRUE(records.Spend(2)) << "the last may be more than what is left";
  EXPECT_FALSE(records.Spend(1));
  StepBudget bytes(nullptr);
  EXPECT_TRUE(bytes.Spend(1, kStepBytes - 1));
  EXPECT_FALSE(bytes.spent());
  bytes.SpendBytes(100);
  EXPECT_FALSE(bytes.Spend(1));
  StepBudget ended(nullptr);
  ended.End();
  EXPECT_FALSE(ended.Spend(1));
}

TEST(StepBudgetTest, EndsWhenItsTimeIsOver) {
  const TickingClock clock;
  StepBudget budget(&clock, SIZE_MAX);
  size_t records = 0;
  while (budget.Spend(1)) ++records;
  // It looks once at the beginning and then every 64 records.
  EXPECT_EQ(records, 64u * static_cast<size_t>(kStepTime.ns / 1000));
  StepBudget shorter(&clock, SIZE_MAX, kStepTime / 4);
  for (records = 0; shorter.Spend(1);) ++records;
  EXPECT_EQ(records, 64u * static_cast<size_t>(kStepTime.ns / 4000));
}

// A store with keys, chains of versions, deletes and leases.
class WalkTest : public testing::TestWithParam<size_t> {
 protected:
  static constexpr int kKeys = 500;

  WalkTest() : store_(1) { Fill(store_); }
  static void Fill(Store& store) {
    Prng prng(5);
    for (int64_t id = 1; id <= 300; ++id) store.GrantLease({.id = LeaseId(id * 2)});
    for (int i = 0; i < 4000; ++i) {
      const std::string key = Concat("k", 1000 + prng.Below(kKeys));
      KeyRecord* record = store.Find(key);
      if (record != nullptr && record->live() && prng.Chance(1, 6)) {
        store.Delete(record);
      } else {
        Put(store, key, std::string(prng.Below(50), 'v'));
      }
      store.Commit();
    }
    for (int i = 0; i < 700; ++i) Put(store, "k1007", "hot");
  }
  static void Put(Store& store, std::string_view key, std::string_view value) {
    store.Put(key, io::SharedBytes::Copy(value), LeaseId(0));
    store.Commit();
  }
  // Calls step(budget) until it is done, with CHECKs that each advances and none does too much.
  // `seen` counts what a step looked at.
  template <typename Step>
  void RunSteps(size_t& seen, const Step& step) {
    for (bool done = false; !done;) {
      StepBudget budget(nullptr, GetParam());
      const size_t before = seen;
      done = step(budget);
      ASSERT_LE(seen - before, GetParam());
      ASSERT_LT(++steps_, 100'000) << "it does not advance";
    }
  }

  Store store_;
  int steps_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Budgets, WalkTest, testing::Values(2, 3, 7, 64, 1024));

TEST_P(WalkTest, KeysAreWalkedOnceAndInOrder) {
  KeyWalk walk("k1100", "k1300");
  size_t seen = 0;
  std::vector<std::string> keys;
  RunSteps(seen, [&](StepBudget& budget) {
    return walk.Step(store_, budget, [&](const KeyRecord& record) {
      ++seen;
      keys.emplace_back(record.key());
      return true;
    });
  });
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
  EXPECT_GT(keys.size(), 190u);
  EXPECT_EQ(std::adjacent_find(keys.begin(), keys.end()), keys.end());
  EXPECT_GE(steps_, static_cast<int>(keys.size() / GetParam()));
}

TEST_P(WalkTest, SearchFindsWhatVisibleAtFinds) {
  const KeyRecord& hot = *store_.Find("k1007");
  for (int64_t revision = 2; revision < store_.revision().value(); revision += 97) {
    const Position at = Position::After(Revision(revision));
    VersionSearch search;
    size_t seen = 0;
    RunSteps(seen, [&](StepBudget& budget) { return search.Step(hot, at, budget); });
    EXPECT_EQ(search.found(), VisibleAt(hot, at));
  }
}

// What is kept by the definition: every version from the floor on, and below it the newest of its
// key, unless that is a delete or hidden by a change at the floor.
std::vector<Position> KeptByDefinition(const KeyRecord& record, Position upto, Revision floor) {
  std::vector<Position> kept;
  for (const Version* version = record.newest; version != nullptr; version = version->previous) {
    if (!version->Before(upto)) continue;
    const bool hidden = !kept.empty() && kept.back().main <= floor;
    if (version->main < floor && (version->tombstone || hidden)) break;
    kept.push_back({version->main, version->sub});
  }
  return kept;
}

TEST_P(WalkTest, KeptVersionsAreThoseOfTheDefinition) {
  for (const int64_t floor : {-1, 2, 1500, 3000}) {
    const Position upto = Position::After(Revision(3200));
    KeyWalk walk({}, kToEnd);
    KeptWalk kept(upto, Revision(floor));
    std::map<std::string, std::vector<Position>> found;
    size_t seen = 0;
    RunSteps(seen, [&](StepBudget& budget) {
      return walk.Step(store_, budget, [&](const KeyRecord& record) {
        return kept.Step(record, budget, [&](const Version& version, bool first) {
          ++seen;
          std::vector<Position>& positions = found[std::string(record.key())];
          EXPECT_EQ(first, positions.empty());
          positions.push_back({version.main, version.sub});
        });
      });
    });
    for (KeyTree::Cursor at = store_.tree().Seek({}); at.record() != nullptr; at.Next()) {
      EXPECT_EQ(found[std::string(at.record()->key())],
                KeptByDefinition(*at.record(), upto, Revision(floor)));
    }
  }
}

TEST_P(WalkTest, LeasesAreThoseOfTheBeginning) {
  LeaseWalk walk(store_.TrackLeases());
  std::vector<LeaseId> expected;
  for (const auto& [id, lease] : store_.leases()) expected.push_back(id);
  Prng prng(GetParam());
  std::vector<LeaseId> found;
  size_t seen = 0;
  RunSteps(seen, [&](StepBudget& budget) {
    const bool done = walk.Step(store_, budget, [&](const LeaseInfo& lease) {
      ++seen;
      EXPECT_EQ(lease.ttl_seconds, 0) << "a later lease of the same id";
      found.push_back(lease.id);
    });
    for (int i = 0; i < 5; ++i) {
      const LeaseId id(static_cast<int64_t>(prng.Below(700)));
      if (store_.FindLease(id) == nullptr) {
        store_.GrantLease({.id = id, .ttl_seconds = 9});
      } else {
        store_.DropLease(id);
      }
    }
    return done;
  });
  EXPECT_EQ(found, expected);
}

TEST_P(WalkTest, RemovalEndsWhereOneStepWouldHaveEnded) {
  const Revision target(3500);
  store_.Compact(target);
  size_t removed = 0;
  int64_t before = store_.versions_count();
  RunSteps(removed, [&](StepBudget& budget) {
    const bool done = store_.RemoveStep(target, budget);
    removed += static_cast<size_t>(std::exchange(before, store_.versions_count()) -
                                   store_.versions_count()) /
               2;  // a delete goes with its put
    return done;
  });
  EXPECT_EQ(store_.removed(), target);
  store_.tree().Verify();
  Store other(2);
  Fill(other);
  other.Compact(target);
  StepBudget unlimited(nullptr, SIZE_MAX);
  ASSERT_TRUE(other.RemoveStep(target, unlimited));
  EXPECT_LT(other.versions_count(), 2000);
  EXPECT_EQ(store_.versions_count(), other.versions_count());
  EXPECT_EQ(store_.stored_bytes(), other.stored_bytes());
  EXPECT_EQ(store_.log().size(), other.log().size());
}

TEST_P(WalkTest, FreeingTakesStepsToo) {
  size_t freed = 0;
  int64_t before = store_.versions_count();
  RunSteps(freed, [&](StepBudget& budget) {
    const bool done = store_.FreeStep(budget);
    freed += static_cast<size_t>(std::exchange(before, store_.versions_count()) -
                                 store_.versions_count());
    return done;
  });
  EXPECT_EQ(store_.versions_count(), 0);
  EXPECT_EQ(store_.stored_bytes(), 0u);
  EXPECT_GE(freed, 4000u);
}

TEST(LoadSortTest, TakesInOrderWhatWasAddedInNone) {
  Prng prng(8);
  std::vector<Version> versions(10'000);
  LoadSort sort;
  for (Version& version : versions) {
    version.main = Revision(static_cast<int64_t>(prng.Between(2, 5000)));
    version.sub = static_cast<int32_t>(prng.Below(100'000));
    sort.Add(&version);
  }
  sort.Begin();
  size_t taken = 0;
  Position last;
  for (const Version* version = sort.Take(); version != nullptr; version = sort.Take(), ++taken) {
    const Position at{version->main, version->sub};
    ASSERT_LE(last, at);
    last = at;
  }
  EXPECT_EQ(taken, versions.size());
}

// --- the engine's tasks ----------------------------------------------------------------------

// Runs `task` alone and counts the nodes the scheduler ran for it.
template <typename T>
size_t NodesOf(EngineBox& box, io::Task<T> task, std::optional<T>& result) {
  CHECK(box.tasks().gate().Spawn("test", io::ReadyClass::kBackground,
                                 TaskRunner::Store(std::move(task), result)));
  size_t nodes = 0;
  while (!box.tasks().scheduler().idle()) nodes += box.tasks().scheduler().RunTurn().ran;
  return nodes;
}

TEST(EngineStepsTest, SnapshotsYieldBeforeEachStep) {
  EngineBox box(false);
  constexpr size_t kVersions = 30'000;
  for (size_t i = 0; i < kVersions; ++i) box.Put(Concat("k", i % 5000), "0123456789");
  const std::unique_ptr<SnapshotSource> source = box->StartSnapshot({.term = Term(1)});
  size_t nodes = 0;
  size_t chunks = 0;
  while (true) {
    std::optional<StatusOr<std::string>> bytes;
    nodes += NodesOf(box, source->Next(), bytes);
    ASSERT_TRUE(bytes->ok());
    if ((*bytes)->empty()) break;
    EXPECT_LE((*bytes)->size(), kSnapshotStepBytes + 4096);
    ++chunks;
  }
  // Header, keys, end; each chunk of keys is compressed in a step of its own.
  EXPECT_GT(chunks, 10u);
  EXPECT_GE(nodes, kVersions / kStepRecords + 2 * chunks);
}

TEST(EngineStepsTest, OneKeyWrittenAllTheTimeDoesNotStopASnapshot) {
  EngineBox box(false);
  for (int i = 0; i < 3000; ++i) box.Put(Concat("k", 1000 + i), "before");
  const uint64_t digest = box.Digest();
  const std::unique_ptr<SnapshotSource> source = box->StartSnapshot({.term = Term(1)});
  for (int i = 0; i < 20'000; ++i) box.Put("k2000", "after");
  size_t nodes = 0;
  std::string stream;
  for (bool more = true; more;) {
    std::optional<StatusOr<std::string>> bytes;
    nodes += NodesOf(box, source->Next(), bytes);
    stream += **bytes;
    more = !(*bytes)->empty();
    box.Put("k2000", "after");
    box.Put("k2001", "after");
  }
  EXPECT_GE(nodes, 23'000 / kStepRecords);
  EngineBox other(false);
  ASSERT_TRUE(other.Restore(stream).ok());
  EXPECT_EQ(other.Digest(), digest);
}

TEST(EngineStepsTest, AnOldRevisionOfAHotKeyIsReadInSteps) {
  EngineBox box(false);
  box.Put("hot", "first");
  for (int i = 0; i < 20'000; ++i) box.Put("hot", "later");
  RangeQuery query;
  query.range.key = "hot";
  query.range.revision = 2;
  RangeResult tried;
  EXPECT_FALSE(box->TryRange(query, tried));
  EXPECT_TRUE(tried.kvs.empty());
  std::optional<RangeResult> result;
  EXPECT_GE(NodesOf(box, box->Range(query), result), 20'000 / kStepRecords);
  ASSERT_EQ(result->kvs.size(), 1u);
  EXPECT_EQ(result->kvs[0].value.view(), "first");
  EXPECT_EQ(result->count, 1);
}

TEST(EngineStepsTest, LongRangesAndHashesTakeSteps) {
  EngineBox box(false);
  constexpr size_t kKeys = 20'000;
  for (size_t i = 0; i < kKeys; ++i) box.Put(Concat("k", i), "v");
  RangeQuery query;
  query.range.key = "k";
  query.range.range_end = kToEnd;
  std::optional<RangeResult> range;
  EXPECT_GE(NodesOf(box, box->Range(query), range), kKeys / kStepRecords);
  EXPECT_EQ(range->kvs.size(), kKeys);
  std::optional<HashResult> hash;
  EXPECT_GE(NodesOf(box, box->HashKv(Revision(0)), hash), 2 * kKeys / kStepRecords);
}

TEST(EngineStepsTest, LargeValuesEndAStep) {
  EngineBox box(false);
  const std::string large(kStepBytes, 'x');
  for (int i = 0; i < 50; ++i) box.Put(Concat("k", i), large);
  std::optional<HashResult> hash;
  EXPECT_GE(NodesOf(box, box->HashKv(Revision(0)), hash), 50u);
}

TEST(EngineStepsTest, RestoringPutsTheOldStateAsideAndFreesItInSteps) {
  EngineBox full(false);
  for (int i = 0; i < 20'000; ++i) full.Put(Concat("k", i % 9000), "v");
  full.StartMaintenance();
  EngineBox empty(false);
  const std::unique_ptr<SnapshotSink> sink = full->StartRestore();
  ASSERT_TRUE(full.Await(sink->Add(empty.Snapshot())).ok());
  std::optional<StatusOr<SnapshotMeta>> meta;
  EXPECT_GE(NodesOf(full, sink->Finish(), meta), 20'000 / kStepRecords);
  EXPECT_TRUE(meta->ok());
  EXPECT_EQ(full->stats().versions_count, 0);
}

TEST(EngineStepsTest, ClosingFreesInSteps) {
  EngineBox box(false);
  box.Grant(1);
  for (int i = 0; i < 20'000; ++i) box.Put(Concat("k", i % 9000), "v", LeaseId(1));
  box.Compact(15'000);
  CHECK(box.tasks().gate().Spawn("test", io::ReadyClass::kCritical, box->Close()));
  size_t nodes = 0;
  while (!box.tasks().scheduler().idle()) {
    const size_t ran = box.tasks().scheduler().RunTurn().ran;
    EXPECT_LE(ran, 1 + io::Scheduler::kShare[2]) << "in the background's share";
    nodes += ran;
  }
  EXPECT_GE(nodes, (20'000 + 9000) / kStepRecords);
  EXPECT_EQ(box->stats().versions_count, 0);
}

TEST(EngineStepsTest, LeasesOfASnapshotAreThoseOfItsMoment) {
  EngineBox box(true);
  for (int64_t id = 1; id <= 500; ++id) box.Grant(id * 2, id);
  const uint64_t digest = box.Digest();
  const std::unique_ptr<SnapshotSource> source = box->StartSnapshot({.term = Term(1)});
  std::optional<StatusOr<std::string>> bytes;
  std::string stream;
  for (int64_t id = 0; bytes == std::nullopt || !(*bytes)->empty(); ++id) {
    bytes.reset();
    CHECK(box.tasks().gate().Spawn("test", io::ReadyClass::kBackground,
                                   TaskRunner::Store(source->Next(), bytes)));
    while (!bytes.has_value()) {
      box.tasks().scheduler().RunTurn();
      ++id;
      box.Revoke(1000 - id);
      box.Grant(id, 7);
      box.Revoke(id % 13);
    }
    stream += **bytes;
  }
  EngineBox other(false);
  ASSERT_TRUE(other.Restore(stream).ok());
  EXPECT_EQ(other->stats().leases_count, 500);
  EXPECT_EQ(other.Digest(), digest);
}

// --- reads at once -----------------------------------------------------------------------------

void ExpectEqual(const RangeResult& a, const RangeResult& b) {
  EXPECT_EQ(a.outcome, b.outcome);
  EXPECT_EQ(a.revision, b.revision);
  EXPECT_EQ(a.more, b.more);
  EXPECT_EQ(a.count, b.count);
  EXPECT_EQ(a.resume_key.view(), b.resume_key.view());
  ASSERT_EQ(a.kvs.size(), b.kvs.size());
  for (size_t i = 0; i < a.kvs.size(); ++i) {
    EXPECT_EQ(a.kvs[i].key.view(), b.kvs[i].key.view());
    EXPECT_EQ(a.kvs[i].value.view(), b.kvs[i].value.view());
    EXPECT_EQ(a.kvs[i].create_revision, b.kvs[i].create_revision);
    EXPECT_EQ(a.kvs[i].mod_revision, b.kvs[i].mod_revision);
    EXPECT_EQ(a.kvs[i].version, b.kvs[i].version);
    EXPECT_EQ(a.kvs[i].lease, b.kvs[i].lease);
  }
}

RangeOp RandomRange(Prng& prng, const std::string& key, const std::string& end, int64_t current) {
  RangeOp range;
  if (!prng.Chance(1, 40)) range.key = key;
  if (prng.Chance(1, 2)) range.range_end = prng.Chance(1, 4) ? kToEnd : std::string_view(end);
  if (prng.Chance(1, 3)) range.revision = static_cast<int64_t>(prng.Below(60)) + current - 50;
  if (prng.Chance(1, 4)) range.limit = static_cast<int64_t>(prng.Below(5));
  if (prng.Chance(1, 4)) range.min_mod_revision = current - 20;
  range.keys_only = prng.Chance(1, 5);
  range.count_only = prng.Chance(1, 6);
  range.sort_order = static_cast<SortOrder>(prng.Below(3));
  range.sort_target = static_cast<SortTarget>(prng.Below(5));
  return range;
}

// The other engine's steps are so short that it answers hardly anything at once.
TEST(TryRangeTest, AnswersAsRangeInStepsDoes) {
  EngineBox box(false);
  EngineBox slow(true);
  Prng prng(4);
  for (int i = 0; i < 300; ++i) {
    const std::string key = Concat("k", prng.Below(20));
    const bool removed = prng.Chance(1, 5);
    for (EngineBox* each : {&box, &slow}) removed ? each->Delete(key) : each->Put(key, Concat(i));
  }
  for (EngineBox* each : {&box, &slow}) each->Compact(box.revision() - 40);
  for (int i = 0; i < 3000; ++i) {
    const std::string key = Concat("k", prng.Below(22));
    const std::string end = Concat("k", prng.Below(30));
    RangeQuery query;
    query.range = RandomRange(prng, key, end, box.revision());
    if (prng.Chance(1, 5)) query.bytes_max = prng.Below(20);
    query.want_count = prng.Chance(3, 4);
    RangeResult tried;
    const RangeQuery* const queries[] = {&query};
    box->PrefetchRanges(queries);
    ASSERT_TRUE(box->TryRange(query, tried));
    ExpectEqual(tried, slow.Await(slow->Range(query)));
    ASSERT_FALSE(testing::Test::HasFailure()) << "query " << i;
  }
}

TEST(TryRangeTest, LongRangesAreNotTried) {
  EngineBox box(false);
  for (int i = 0; i < 1000; ++i) box.Put(Concat("k", i), "v");
  RangeQuery query;
  query.range.key = "k";
  query.range.range_end = kToEnd;
  RangeResult result;
  EXPECT_FALSE(box->TryRange(query, result));
  EXPECT_TRUE(result.kvs.empty());
  EXPECT_EQ(result.revision, Revision(0));
  query.range.limit = 10;
  EXPECT_TRUE(box->TryRange(query, result)) << "a page of it is short";
  EXPECT_EQ(result.kvs.size(), 10u);
  EXPECT_EQ(result.count, 1000);
  query.range.count_only = true;
  RangeResult counted;
  EXPECT_TRUE(box->TryRange(query, counted)) << "the tree knows the count";
  EXPECT_EQ(counted.count, 1000);
}

// --- chunks ----------------------------------------------------------------------------------

TEST(ChunkStepsTest, LargeContentIsCompressedInSteps) {
  Prng prng(3);
  std::string raw(limits::kEntryBytesMax, '\0');
  for (size_t i = 0; i < raw.size(); ++i) {
    raw[i] = static_cast<char>(i < raw.size() / 2 ? prng.Next() : 'x');
  }
  ChunkEncoder encoder;
  encoder.Begin(SnapshotSection::kKeys, raw);
  size_t steps = 1;
  while (!encoder.Step()) ++steps;
  EXPECT_GE(steps, raw.size() / (128 << 10));
  ChunkDecoder decoder;
  decoder.Add(encoder.Take());
  Chunk chunk;
  const StatusOr<bool> got = decoder.Next(chunk);
  ASSERT_TRUE(got.ok() && *got);
  EXPECT_EQ(chunk.raw, raw);
}

// As a writer that cut later would have made it.
TEST(ChunkStepsTest, ChunksCutAtFourTimesTheSizeAreRead) {
  std::string raw;
  uint64_t versions = 0;
  for (; raw.size() < size_t{256} << 10; ++versions) {
    Version version;
    version.main = Revision(static_cast<int64_t>(versions) + 2);
    version.create = version.main;
    version.version = 1;
    version.value = io::SharedBytes::Copy(std::string(1000, 'v'));
    AppendKey(Concat("k", 1000 + versions), raw);
    AppendVersion(version, raw);
  }
  ChunkEncoder encoder;
  std::string stream =
      encoder.Encode(SnapshotSection::kHeader, EncodeSnapshotHeader({.applied_index = LogIndex(1),
                                                                     .term = Term(1),
                                                                     .revision = Revision(1000),
                                                                     .compacted = Revision(-1),
                                                                     .entry_keys_max = 10}));
  stream += encoder.Encode(SnapshotSection::kKeys, raw);
  stream += encoder.Encode(SnapshotSection::kEnd,
                           EncodeSnapshotTotals({.keys = versions, .versions = versions}));
  EngineBox box(false);
  ASSERT_TRUE(box.Restore(stream).ok());
  EXPECT_EQ(box->stats().keys_count, static_cast<int64_t>(versions));
}

}  // namespace
}  // namespace metastore::engine
