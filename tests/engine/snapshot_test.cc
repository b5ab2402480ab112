// Aim: a snapshot is one moment of the whole state, whatever is applied while it is written, and a
// damaged or foreign stream never becomes state. Method: round trips by digest with entries applied
// between steps; every byte flipped; every truncation; a golden stream that must stay readable for
// ever.
#include <cstdio>
#include <fstream>
#include <iterator>

#include "engine/snapshot_format.h"
#include "io/base/prng.h"
#include "tests/engine/engine_fixture.h"

namespace metastore::engine {
namespace {

class SnapshotTest : public EngineTest {
 protected:
  // Something of everything: versions, deletes, leases, compaction, one transaction with several
  // changes of a key.
  static void Fill(EngineBox& box) {
    for (int64_t id = 1; id <= 3; ++id) box.Grant(id, 100 + id);
    for (int i = 0; i < 40; ++i) box.Put(Concat("k", i % 10), Concat("value ", i), LeaseId(i % 4));
    box.Delete("k3", "k5");
    box.Apply(TxnOf({}, {DeleteOf("k9", kToEnd), PutOf("k9", "again")}));
    box.Compact(30);
    box.Put("k1", "after");
    box.Delete("k2");
  }
  bool suspending() const { return GetParam() == EngineKind::kSuspending; }
};
MS_ENGINE_SUITE(SnapshotTest);

TEST_P(SnapshotTest, RoundTripGivesEqualState) {
  Fill(box_);
  const std::string stream = box_.Snapshot();
  for (const size_t piece : {size_t{1}, size_t{33}, size_t{1} << 20}) {
    EngineBox other(suspending(), 1234);
    other.Put("overwritten", "entirely");
    const StatusOr<SnapshotMeta> meta = other.Restore(stream, piece);
    ASSERT_TRUE(meta.ok()) << meta.status();
    EXPECT_EQ(meta->applied_index, box_->stats().applied_index);
    EXPECT_EQ(meta->term, Term(3));
    EXPECT_EQ(meta->server_state, "members");
    EXPECT_EQ(meta->revision, box_->stats().revision);
    EXPECT_EQ(meta->compacted, Revision(30));
    EXPECT_EQ(other.Digest(), box_.Digest());
    EXPECT_EQ(other->stats().live_bytes, box_->stats().live_bytes);
    EXPECT_EQ(EngineBox::JoinEvents(other.History(30)), EngineBox::JoinEvents(box_.History(30)));
    EXPECT_EQ(other.Range("k", "l", 35).count, box_.Range("k", "l", 35).count);
  }
}

TEST_P(SnapshotTest, EmptyEngineRoundTrips) {
  EngineBox other(suspending());
  const StatusOr<SnapshotMeta> meta = other.Restore(box_.Snapshot());
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(meta->revision, Revision(1));
  EXPECT_EQ(other.Digest(), box_.Digest());
}

TEST_P(SnapshotTest, RestoredEngineGoesOnAsTheOriginal) {
  Fill(box_);
  EngineBox other(suspending());
  ASSERT_TRUE(other.Restore(box_.Snapshot()).ok());
  for (EngineBox* box : {&box_, &other}) {
    box->StartMaintenance();
    box->Put("k1", "x");
    box->Put("k3", "x", LeaseId(2));
    box->Revoke(1);
    box->Delete("k7", kToEnd);
    box->Compact(box->revision() - 2);
    box->tasks().RunUntilIdle();
  }
  EXPECT_EQ(other.Digest(), box_.Digest());
  EXPECT_EQ(other->stats().versions_count, box_->stats().versions_count);
  EXPECT_EQ(other->stats().stored_bytes, box_->stats().stored_bytes);
}

TEST_P(SnapshotTest, IsOneMomentWhileEntriesAreApplied) {
  Prng prng(9);
  for (int i = 0; i < 9000; ++i) box_.Put(Concat("k", 10000 + i), std::string(100, 'v'));
  for (int i = 0; i < 3000; ++i) box_.Put("k10500", Concat(i));  // one key with many versions
  box_.StartMaintenance();
  const uint64_t digest = box_.Digest();
  const std::unique_ptr<SnapshotSource> source =
      box_->StartSnapshot({.term = Term(1), .server_state = {}});
  std::string stream;
  int steps = 0;
  while (true) {
    const StatusOr<std::string> bytes = box_.Await(source->Next());
    ASSERT_TRUE(bytes.ok());
    if (bytes->empty()) break;
    stream += *bytes;
    ++steps;
    for (int i = 0; i < 200; ++i) {
      const std::string key = Concat("k", prng.Between(10000, 19999));
      if (prng.Chance(1, 3)) {
        box_.Delete(key, Concat(key, "~"));
      } else {
        box_.Put(Concat(key, prng.Chance(1, 2) ? "" : "new"), "changed");
      }
    }
    box_.Compact(box_.revision());
    box_.tasks().RunUntilIdle();
  }
  EXPECT_GT(steps, 6);
  EngineBox other(suspending());
  const StatusOr<SnapshotMeta> meta = other.Restore(stream);
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(other.Digest(), digest);
  EXPECT_NE(box_.Digest(), digest);
}

TEST_P(SnapshotTest, PinsOnlyWhileItLives) {
  for (int i = 0; i < 10; ++i) box_.Put("a", "v");
  box_.StartMaintenance();
  std::unique_ptr<SnapshotSource> source =
      box_->StartSnapshot({.term = Term(1), .server_state = {}});
  box_.Compact(box_.revision());
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_->stats().versions_count, 10);
  source.reset();
  box_.tasks().RunUntilIdle();
  EXPECT_EQ(box_->stats().versions_count, 1);
}

TEST_P(SnapshotTest, LargeValuesAndServerStateSurvive) {
  const std::string large(2 << 20, 'x');
  Prng prng(2);
  std::string noise(700'000, '\0');
  for (char& c : noise) c = static_cast<char>(prng.Next());
  box_.Put("large", large);
  box_.Put("noise", noise);
  const std::string members(600'000, 'm');
  const std::unique_ptr<SnapshotSource> source =
      box_->StartSnapshot({.term = Term(1), .server_state = members});
  const std::string stream = box_.ReadAll(*source);
  EXPECT_LT(stream.size(), 1'200'000u);
  EngineBox other(suspending());
  const StatusOr<SnapshotMeta> meta = other.Restore(stream);
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(meta->server_state, members);
  EXPECT_EQ(other.Get("large"), large);
  EXPECT_EQ(other.Get("noise"), noise);
}

TEST_P(SnapshotTest, EveryFlippedByteIsFound) {
  Fill(box_);
  const std::string stream = box_.Snapshot();
  EngineBox other(suspending());
  const uint64_t digest = other.Digest();
  for (size_t at = 0; at < stream.size(); ++at) {
    std::string damaged = stream;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
    const StatusOr<SnapshotMeta> meta = other.Restore(damaged);
    ASSERT_EQ(meta.status().code(), StatusCode::kDataLoss) << "byte " << at;
    ASSERT_NE(StdView(meta.status().message()).find("offset"), std::string_view::npos);
  }
  EXPECT_EQ(other.Digest(), digest);
}

TEST_P(SnapshotTest, EveryTruncationIsFound) {
  Fill(box_);
  const std::string stream = box_.Snapshot();
  EngineBox other(suspending());
  for (size_t size = 0; size < stream.size(); ++size) {
    ASSERT_EQ(other.Restore(std::string_view(stream).substr(0, size)).status().code(),
              StatusCode::kDataLoss);
  }
  EXPECT_EQ(other.Restore(stream + "x").status().code(), StatusCode::kDataLoss);
}

TEST_P(SnapshotTest, ReadsEndWhenTheStateIsReplaced) {
  for (int i = 0; i < 6000; ++i) box_.Put(Concat("k", 10000 + i), "v");
  EngineBox empty(false);
  const std::string stream = empty.Snapshot();
  const ReadPin pin = box_->Pin();
  const std::unique_ptr<SnapshotSource> source =
      box_->StartSnapshot({.term = Term(1), .server_state = {}});
  ASSERT_TRUE(box_.Restore(stream).ok());
  EXPECT_EQ(box_.revision(), 1);
  EXPECT_EQ(box_.Await(source->Next()).status().code(), StatusCode::kAborted);
  RangeQuery query;
  query.range.key = "k10000";
  query.pin = &pin;
  query.at = Position::After(Revision(100));
  EXPECT_EQ(box_.Await(box_->Range(query)).outcome, Outcome::kStateReplaced);
}

// Restores when the reads it runs beside are in the middle of a step.
io::Task<void> FinishSoon(SnapshotSink& sink) {
  co_await io::Yield();
  const StatusOr<SnapshotMeta> meta = co_await sink.Finish();
  EXPECT_TRUE(meta.ok());
}

TEST(SnapshotReplaceTest, SuspendedReadsSayThatTheStateWasReplaced) {
  EngineBox box(false);
  for (int i = 0; i < 9000; ++i) box.Put(Concat("k", 10000 + i), "v");
  EngineBox empty(false);
  const std::string stream = empty.Snapshot();
  const std::unique_ptr<SnapshotSink> sink = box->StartRestore();
  ASSERT_TRUE(box.Await(sink->Add(stream)).ok());
  RangeQuery range;
  range.range.key = "k";
  range.range.range_end = kToEnd;
  HistoryQuery history;
  history.from = Revision(2);
  history.key = "none";
  std::optional<RangeResult> ranged;
  std::optional<HistoryResult> told;
  std::optional<HashResult> hashed;
  io::Gate& gate = box.tasks().gate();
  const auto client = io::ReadyClass::kClient;
  ASSERT_TRUE(gate.Spawn("range", client, TaskRunner::Store(box->Range(range), ranged)));
  ASSERT_TRUE(gate.Spawn("history", client, TaskRunner::Store(box->History(history), told)));
  ASSERT_TRUE(gate.Spawn("hash", client, TaskRunner::Store(box->HashKv(Revision(0)), hashed)));
  ASSERT_TRUE(gate.Spawn("finish", client, FinishSoon(*sink)));
  box.tasks().RunUntilIdle();
  EXPECT_EQ(ranged->outcome, Outcome::kStateReplaced);
  EXPECT_EQ(told->outcome, Outcome::kStateReplaced);
  EXPECT_EQ(hashed->outcome, Outcome::kStateReplaced);
}

// Streams with right checksums and wrong contents.
class StreamStructureTest : public testing::Test {
 protected:
  using Section = SnapshotSection;
  using Sections = std::vector<std::pair<Section, std::string>>;
  using Keys = std::vector<std::pair<std::string, std::vector<Version>>>;

  static Version PutAt(int64_t main, int32_t sub, int64_t lease = 0) {
    Version version;
    version.main = Revision(main);
    version.sub = sub;
    version.create = Revision(2);
    version.version = 2;
    version.lease = LeaseId(lease);
    return version;
  }
  static Version DeleteAt(int64_t main) {
    Version version;
    version.main = Revision(main);
    version.tombstone = true;
    return version;
  }
  static std::pair<Section, std::string> Header(int64_t compacted = -1) {
    return {Section::kHeader, EncodeSnapshotHeader({.applied_index = LogIndex(5),
                                                    .term = Term(1),
                                                    .revision = Revision(4),
                                                    .compacted = Revision(compacted),
                                                    .entry_keys_max = 10})};
  }
  static std::pair<Section, std::string> KeysOf(const Keys& keys) {
    std::string raw;
    for (const auto& [key, versions] : keys) {
      AppendKey(key, raw);
      for (const Version& version : versions) AppendVersion(version, raw);
    }
    return {Section::kKeys, raw};
  }
  static StatusCode Read(const Sections& sections, SnapshotTotals totals) {
    ChunkEncoder encoder;
    std::string stream;
    for (const auto& [section, raw] : sections) stream += encoder.Encode(section, raw);
    stream += encoder.Encode(Section::kEnd, EncodeSnapshotTotals(totals));
    EngineBox box(false);
    return box.Restore(stream).status().code();
  }
  static void ExpectDamage(const char* fact, const Sections& sections, SnapshotTotals totals = {}) {
    EXPECT_EQ(Read(sections, totals), StatusCode::kDataLoss) << fact;
  }
};

TEST_F(StreamStructureTest, GoodOnesAreRead) {
  const auto keys = KeysOf({{"a", {PutAt(3, 0)}}, {"b", {PutAt(3, 1), DeleteAt(2)}}});
  EXPECT_EQ(Read({Header(), keys}, {0, 2, 3}), StatusCode::kOk);
  EXPECT_EQ(Read({Header(3), KeysOf({{"a", {PutAt(2, 0)}}})}, {0, 1, 1}), StatusCode::kOk);
}

TEST_F(StreamStructureTest, SectionsAreInOrderAndComplete) {
  const auto keys = KeysOf({{"a", {PutAt(3, 0)}}});
  ExpectDamage("wrong totals", {Header(), keys}, {0, 2, 1});
  ExpectDamage("no header", {keys}, {0, 1, 1});
  ExpectDamage("two headers", {Header(), Header()});
  ExpectDamage("malformed header", {{Section::kHeader, "x"}});
  ExpectDamage("keys before leases", {Header(), {Section::kKeys, ""}, {Section::kLeases, ""}});
  const std::string large(kServerStateBytesMax / 4 + 1, 'x');
  const std::pair<Section, std::string> piece(Section::kServerState, large);
  ExpectDamage("too much server state", {Header(), piece, piece, piece, piece});
}

TEST_F(StreamStructureTest, KeysAndVersionsAreInOrder) {
  const Version put = PutAt(3, 0);
  const Version other = PutAt(3, 1);
  ExpectDamage("keys", {Header(), KeysOf({{"b", {put}}, {"a", {other}}})}, {0, 2, 2});
  ExpectDamage("a key twice", {Header(), KeysOf({{"a", {put}}, {"a", {other}}})}, {0, 2, 2});
  ExpectDamage("versions", {Header(), KeysOf({{"a", {put, other}}})}, {0, 1, 2});
  ExpectDamage("a position twice", {Header(), KeysOf({{"a", {put}}, {"b", {put}}})}, {0, 2, 2});
  ExpectDamage("no versions", {Header(), KeysOf({{"a", {}}})}, {0, 1, 0});
  const std::string keyless = KeysOf({{"a", {put}}}).second.substr(3);
  ExpectDamage("no key", {Header(), {Section::kKeys, keyless}}, {0, 0, 1});
  ExpectDamage("malformed item", {Header(), {Section::kKeys, "\x09"}});
}

TEST_F(StreamStructureTest, RevisionsAreWithinBounds) {
  ExpectDamage("above the revision", {Header(), KeysOf({{"a", {PutAt(5, 0)}}})}, {0, 1, 1});
  ExpectDamage("a compacted delete", {Header(3), KeysOf({{"a", {DeleteAt(2)}}})}, {0, 1, 1});
  const auto hidden = KeysOf({{"a", {PutAt(3, 0), PutAt(2, 0)}}});
  ExpectDamage("a compacted version", {Header(4), hidden}, {0, 1, 2});
  ExpectDamage("compacted in the future", {Header(5)});
}

TEST_F(StreamStructureTest, LeasesAreKnownAndUnique) {
  ExpectDamage("unknown", {Header(), KeysOf({{"a", {PutAt(3, 0, 8)}}})}, {0, 1, 1});
  std::string twice;
  AppendLease({.id = LeaseId(1)}, twice);
  AppendLease({.id = LeaseId(1)}, twice);
  ExpectDamage("twice", {Header(), {Section::kLeases, twice}}, {2, 0, 0});
  ExpectDamage("malformed", {Header(), {Section::kLeases, "\xff"}});
  std::string later;
  AppendLease({.id = LeaseId(1), .granted_at = LogIndex(6)}, later);
  ExpectDamage("granted after the snapshot", {Header(), {Section::kLeases, later}}, {1, 0, 0});
}

TEST(SnapshotStreamTest, NewerSectionVersionIsUnimplementedNotDamage) {
  EngineBox box(false);
  ChunkEncoder encoder;
  const std::string stream = encoder.Encode(static_cast<SnapshotSection>(6), "future");
  EXPECT_EQ(box.Restore(stream).status().code(), StatusCode::kUnimplemented);
}

TEST(SnapshotStreamTest, FinishedSinkTakesNoMore) {
  EngineBox box(false);
  const std::string stream = box.Snapshot();
  const std::unique_ptr<SnapshotSink> sink = box->StartRestore();
  ASSERT_TRUE(box.Await(sink->Add(stream)).ok());
  EXPECT_EQ(sink->accepted_bytes(), stream.size());
  ASSERT_TRUE(box.Await(sink->Finish()).ok());
  EXPECT_EQ(box.Await(sink->Finish()).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(box.Await(sink->Add("x")).code(), StatusCode::kFailedPrecondition);
}

// The file is Fill's state as one version of the format wrote it. A new one adds a file and a test
// beside these, which stay.
void ExpectGolden(EngineBox& box, const std::string& name) {
  const std::string path = std::string(MS_TEST_DATA) + "/" + name;
  std::ifstream file(path, std::ios::binary);
  const std::string stream((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
  ASSERT_FALSE(stream.empty()) << path;
  const StatusOr<SnapshotMeta> meta = box.Restore(stream);
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(meta->applied_index, LogIndex(48));
  EXPECT_EQ(meta->term, Term(3));
  EXPECT_EQ(meta->server_state, "members");
  EXPECT_EQ(meta->revision, Revision(45));
  EXPECT_EQ(meta->compacted, Revision(30));
  EXPECT_EQ(box->stats().leases_count, 3);
  EXPECT_EQ(box.Keys(kToEnd, kToEnd), "k0 k1 k5 k6 k7 k8 k9");
  EXPECT_EQ(box.Get("k1"), "after");
  EXPECT_EQ(box.Get("k9"), "again");
  EXPECT_EQ(box.Get("k3", 40), "value 33");
  EXPECT_EQ(box.Get("k4", 42), "(none)");
  EXPECT_EQ(box.Range("k0").kvs[0].lease, LeaseId(2));
  EXPECT_EQ(box->FindLease(LeaseId(3))->ttl_seconds, 103);
}

TEST(SnapshotStreamTest, GoldenStreamIsReadableForEver) {
  EngineBox box(false);
  ExpectGolden(box, "snapshot_v1.bin");
  EXPECT_EQ(box->FindLease(LeaseId(3))->granted_at, LogIndex()) << "it does not say";
}

// Sections of version 1, but for the leases.
TEST(SnapshotStreamTest, GoldenStreamWithGrantsIsReadableForEver) {
  EngineBox box(false);
  ExpectGolden(box, "snapshot_v2.bin");
  EXPECT_EQ(box->FindLease(LeaseId(3))->granted_at, LogIndex(3));
}

TEST(SnapshotStreamTest, ALeaseWhoseGrantIsNotKnownIsConcernedByAll) {
  EngineBox box(false);
  ExpectGolden(box, "snapshot_v1.bin");
  EXPECT_EQ(box.Apply(LeaseRevokeOp{.lease = LeaseId(3)}, LogIndex(1)).outcome, Outcome::kOk);
}

}  // namespace
}  // namespace metastore::engine
