// Aim: after any crash and most damage a node finds a snapshot that its log continues, and where it
// cannot it says which file and offset. Method: a simulated disk: round trips, a crash at every
// single I/O of a write, faults one by one, and a golden file that must stay readable for ever.
#include "engine/snapshot_store.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/snapshot_format.h"
#include "io/base/limits.h"
#include "tests/engine/snapshot_fixture.h"

namespace metastore::engine {
namespace {

using sim::SimCrash;
using sim::SimFault;

using Node = SnapshotNode;

TEST(SnapshotStoreTest, RestartFromSnapshotAndReplayGivesTheState) {
  Node node;
  ASSERT_TRUE(node.Open().ok());
  node.ApplyUpTo(300);
  const StatusOr<SnapshotFile> file = node.Write();
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->path, SnapshotPath(300));
  EXPECT_EQ(file->applied_index, LogIndex(300));
  EXPECT_EQ(file->term, Term(7));
  node.ApplyUpTo(400);
  const uint64_t digest = node.Digest();
  node.machine().PowerLoss();
  node.Restart();
  ASSERT_TRUE(node.Open().ok());
  ASSERT_EQ(node.store().files().size(), 1u);
  EXPECT_EQ(node.store().files()[0].stream_bytes, file->stream_bytes);
  const auto meta = node.Load(301);
  ASSERT_TRUE(meta.ok()) << meta.status();
  ASSERT_TRUE(meta->has_value());
  EXPECT_EQ((*meta)->applied_index, LogIndex(300));
  EXPECT_EQ((*meta)->term, Term(7));
  EXPECT_EQ((*meta)->server_state, "members");
  node.ApplyUpTo(400);
  EXPECT_EQ(node.Digest(), digest);
}

TEST(SnapshotStoreTest, KeepsTheTwoNewest) {
  Node node;
  ASSERT_TRUE(node.Open().ok());
  for (uint64_t index = 10; index <= 50; index += 10) {
    node.ApplyUpTo(index);
    ASSERT_TRUE(node.Write().ok());
  }
  EXPECT_EQ(node.Files(), (std::vector<std::string>{SnapshotPath(40), SnapshotPath(50)}));
  ASSERT_EQ(node.store().files().size(), 2u);
  EXPECT_EQ(node.store().files()[0].applied_index, LogIndex(50));
}

TEST(SnapshotStoreTest, NothingThereIsFineOnlyForAWholeLog) {
  Node node;
  ASSERT_TRUE(node.Open().ok());
  const auto none = node.Load(1);
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
  const Status missing = node.Load(2).status();
  EXPECT_EQ(missing.code(), StatusCode::kDataLoss);
  EXPECT_NE(StdView(missing.message()).find(kSnapshotDirectory), std::string_view::npos);
}

TEST(SnapshotStoreTest, SnapshotBehindTheLogIsOfNoUse) {
  Node node;
  ASSERT_TRUE(node.Open().ok());
  node.ApplyUpTo(10);
  ASSERT_TRUE(node.Write().ok());
  node.Restart();
  ASSERT_TRUE(node.Open().ok());
  EXPECT_EQ(node.Load(12).status().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(node.Load(11).ok());
}

TEST(SnapshotStoreTest, SameIndexTwiceIsRefused) {
  Node node;
  ASSERT_TRUE(node.Open().ok());
  node.ApplyUpTo(10);
  ASSERT_TRUE(node.Write().ok());
  EXPECT_EQ(node.Write().status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(node.Files().size(), 1u);
}

TEST(SnapshotStoreTest, OverwrittenUnfinishedFileStays) {
  Node node;
  node.disk().WriteRaw(SnapshotPath(60), 0, std::string(8192, 'x'));  // a crash left it
  ASSERT_TRUE(node.Open().ok());
  node.ApplyUpTo(60);
  const uint64_t digest = node.Digest();
  ASSERT_TRUE(node.Write().ok());
  EXPECT_EQ(node.Files(), std::vector<std::string>{SnapshotPath(60)});
  node.ApplyUpTo(80);
  ASSERT_TRUE(node.Write().ok());
  EXPECT_EQ(node.Files(), (std::vector<std::string>{SnapshotPath(60), SnapshotPath(80)}));
  node.disk().FlipBit(SnapshotPath(80), 1000, 3);
  node.Restart();
  ASSERT_TRUE(node.Open().ok());
  ASSERT_TRUE(node.Load(61).ok());
  EXPECT_EQ(node.Digest(), digest);
}

// Snapshots at 20 and 40; then the power goes at I/O `at` while the one of 60 is written. False if
// it was written before that.
bool CrashWhileWriting(uint64_t seed, uint64_t at, SimCrash crash) {
  Node node(seed);
  EXPECT_TRUE(node.Open().ok());
  for (const uint64_t index : {20u, 40u}) {
    node.ApplyUpTo(index);
    EXPECT_TRUE(node.Write().ok());
  }
  node.ApplyUpTo(60);
  const uint64_t digest = node.Digest();
  node.disk().CrashAt(at, crash);
  const StatusOr<SnapshotFile> written = node.Write();
  const bool crashed = node.machine().dead();
  EXPECT_TRUE(crashed || written.ok());
  node.disk().CrashAt(0, SimCrash::kNone);
  if (!crashed) node.machine().PowerLoss();
  node.Restart();
  EXPECT_TRUE(node.Open().ok());
  // A valid trailer is never durable before what it vouches for.
  const LogIndex newest = node.store().files().front().applied_index;
  // The log is purged up to the snapshot that was acknowledged.
  const auto meta = node.Load(written.ok() ? 61 : 41);
  EXPECT_TRUE(meta.ok()) << meta.status();
  if (!meta.ok() || !meta->has_value()) return crashed;
  EXPECT_EQ((*meta)->applied_index, newest);
  node.ApplyUpTo(60);
  EXPECT_EQ(node.Digest(), digest);
  node.ApplyUpTo(80);
  EXPECT_TRUE(node.Write().ok());
  EXPECT_EQ(node.store().files().front().applied_index, LogIndex(80));
  EXPECT_EQ(node.Files().size(), SnapshotStore::kKept);
  return crashed;
}

// The one that matters most: whatever moment the power goes, what was durable before is found, and
// what Write acknowledged as well.
TEST(SnapshotStoreTest, CrashAtEveryIoLosesNothing) {
  for (const SimCrash crash : {SimCrash::kBefore, SimCrash::kTorn, SimCrash::kAfter}) {
    for (uint64_t at = 1;; ++at) {
      bool crashed = false;
      for (uint64_t chance = 0; chance < 4; ++chance) {
        const uint64_t seed = (at * 4 + chance) * 4 + static_cast<uint64_t>(crash);
        SCOPED_TRACE(Concat("crash ", static_cast<int>(crash), " at I/O ", at, ", seed ", seed));
        crashed = CrashWhileWriting(seed, at, crash);
        if (HasFailure()) return;
      }
      if (!crashed) break;
    }
  }
}

TEST(SnapshotStoreTest, CrashWhileOpeningAndLoadingHarmsNothing) {
  for (uint64_t at = 1;; ++at) {
    SCOPED_TRACE(Concat("crash at I/O ", at));
    Node node(at);
    ASSERT_TRUE(node.Open().ok());
    for (const uint64_t index : {20u, 40u}) {
      node.ApplyUpTo(index);
      ASSERT_TRUE(node.Write().ok());
    }
    const uint64_t digest = node.Digest();
    node.disk().WriteRaw(SnapshotPath(10), 0,
                         std::string(8192, 'x'));  // unfinished: Open removes it
    node.Restart();
    node.disk().CrashAt(at, SimCrash::kTorn);
    const Status opened = node.Open();
    if (opened.ok()) {
      const auto loaded = node.Load(41);
      ASSERT_TRUE(loaded.ok() || node.machine().dead());
    }
    const bool crashed = node.machine().dead();
    node.disk().CrashAt(0, SimCrash::kNone);
    node.Restart();
    ASSERT_TRUE(node.Open().ok());
    ASSERT_TRUE(node.Load(41).ok());
    ASSERT_EQ(node.Digest(), digest);
    if (!crashed) break;
  }
}

class DamageTest : public testing::Test {
 protected:
  // Snapshots at 20 and 40.
  DamageTest() {
    CHECK(node_.Open().ok());
    for (const uint64_t index : {20u, 40u}) {
      node_.ApplyUpTo(index);
      CHECK(node_.Write().ok());
    }
    bytes_ = node_.disk().FileSize(SnapshotPath(40));
  }
  // After damage: the older serves a log that begins at 21; with one that begins at 41 the newest
  // file is named, with an offset.
  void ExpectFallback() {
    node_.Restart();
    ASSERT_TRUE(node_.Open().ok());
    const auto meta = node_.Load(21);
    ASSERT_TRUE(meta.ok()) << meta.status();
    ASSERT_TRUE(meta->has_value());
    EXPECT_EQ((*meta)->applied_index, LogIndex(20));
    const Status lost = node_.Load(41).status();
    EXPECT_EQ(lost.code(), StatusCode::kDataLoss);
    EXPECT_NE(StdView(lost.message()).find(SnapshotPath(40)), std::string_view::npos) << lost;
    EXPECT_NE(StdView(lost.message()).find("offset"), std::string_view::npos) << lost;
    // The damaged file is not one of the two to keep, and goes with the next good one.
    ASSERT_TRUE(node_.Load(21).ok());
    node_.ApplyUpTo(60);
    ASSERT_TRUE(node_.Write().ok());
    EXPECT_EQ(node_.Files(), (std::vector<std::string>{SnapshotPath(20), SnapshotPath(60)}));
  }

  Node node_;
  uint64_t bytes_ = 0;
};

TEST_F(DamageTest, FlippedBitInTheStream) {
  node_.disk().FlipBit(SnapshotPath(40), 1000, 3);
  ExpectFallback();
}

TEST_F(DamageTest, FlippedBitInThePadding) {
  node_.disk().FlipBit(SnapshotPath(40), bytes_ - limits::kBlockBytes - 1, 0);
  ExpectFallback();
}

TEST_F(DamageTest, FlippedBitInTheTrailer) {
  node_.disk().FlipBit(SnapshotPath(40), bytes_ - limits::kBlockBytes + 20, 0);
  ExpectFallback();
}

TEST_F(DamageTest, UnreadableSectorInTheStream) {
  node_.disk().MarkUnreadable(SnapshotPath(40), 512);
  ExpectFallback();
}

TEST_F(DamageTest, UnreadableTrailer) {
  node_.disk().MarkUnreadable(SnapshotPath(40), bytes_ - limits::kBlockBytes);
  ExpectFallback();
}

TEST_F(DamageTest, BothDamagedAndTheWholeLogIsThere) {
  node_.disk().FlipBit(SnapshotPath(40), 1000, 3);
  node_.disk().FlipBit(SnapshotPath(20), 1000, 3);
  node_.Restart();
  ASSERT_TRUE(node_.Open().ok());
  const auto meta = node_.Load(1);
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_FALSE(meta->has_value());
  EXPECT_EQ(node_.engine().stats().applied_index, LogIndex(0));
}

TEST_F(DamageTest, FullDiskLeavesTheOldSnapshotsAndFreesItsOwnSpace) {
  node_.ApplyUpTo(60);
  const uint64_t used = node_.disk().used_bytes();
  node_.disk().FailNext(SimFault::kNoSpace, SnapshotPath(60), 1);
  EXPECT_EQ(node_.Write().status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(node_.Files(), (std::vector<std::string>{SnapshotPath(20), SnapshotPath(40)}));
  EXPECT_EQ(node_.disk().used_bytes(), used);
  ASSERT_TRUE(node_.Write().ok());
  EXPECT_EQ(node_.Files(), (std::vector<std::string>{SnapshotPath(40), SnapshotPath(60)}));
}

TEST_F(DamageTest, FailedSyncIsNeverTrusted) {
  node_.ApplyUpTo(60);
  node_.disk().FailNext(SimFault::kSyncError, SnapshotPath(60));
  EXPECT_EQ(node_.Write().status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(node_.Files(), (std::vector<std::string>{SnapshotPath(20), SnapshotPath(40)}));
}

TEST_F(DamageTest, SourceWhoseStateWasReplacedIsAborted) {
  node_.ApplyUpTo(60);
  const std::unique_ptr<SnapshotSource> source =
      node_.engine().StartSnapshot({.term = Term(7), .server_state = {}});
  ASSERT_TRUE(node_.Load(21).ok());
  EXPECT_EQ(node_.Await(node_.store().Write(*source)).status().code(), StatusCode::kAborted);
  EXPECT_EQ(node_.Files().size(), 2u);
}

TEST_F(DamageTest, ForeignNamesAreLeftAlone) {
  const std::string stray = Concat(kSnapshotDirectory, "/notes.txt");
  const std::string almost = Concat(kSnapshotDirectory, "/00000000000000zz.snap");
  node_.disk().WriteRaw(stray, 0, "mine");
  node_.disk().WriteRaw(almost, 0, "mine");
  node_.Restart();
  ASSERT_TRUE(node_.Open().ok());
  EXPECT_EQ(node_.store().files().size(), 2u);
  EXPECT_EQ(node_.Files().size(), 4u);
}

// A source that says one thing and streams another.
class FakeSource final : public SnapshotSource {
 public:
  FakeSource(SnapshotMeta meta, std::string stream)
      : meta_(std::move(meta)), stream_(std::move(stream)) {}
  const SnapshotMeta& meta() const override { return meta_; }
  io::Task<StatusOr<std::string>> Next() override { co_return std::exchange(stream_, {}); }

 private:
  SnapshotMeta meta_;
  std::string stream_;
};

TEST_F(DamageTest, TrailerOfAnotherSnapshotIsAnError) {
  const std::unique_ptr<SnapshotSource> source =
      node_.engine().StartSnapshot({.term = Term(7), .server_state = {}});
  std::string stream;
  for (bool more = true; more;) {
    const StatusOr<std::string> bytes = node_.Await(source->Next());
    ASSERT_TRUE(bytes.ok());
    stream += *bytes;
    more = !bytes->empty();
  }
  SnapshotMeta meta = source->meta();
  meta.applied_index = LogIndex(99);
  FakeSource lying(meta, stream);
  ASSERT_TRUE(node_.Await(node_.store().Write(lying)).ok());
  EXPECT_EQ(node_.Load(1).status().code(), StatusCode::kInternal);
}

TEST_F(DamageTest, NewerFormatIsNotPassedOver) {
  ChunkEncoder encoder;
  SnapshotMeta meta;
  meta.applied_index = LogIndex(99);
  FakeSource newer(meta, encoder.Encode(static_cast<SnapshotSection>(6), "future"));
  ASSERT_TRUE(node_.Await(node_.store().Write(newer)).ok());
  EXPECT_EQ(node_.Load(21).status().code(), StatusCode::kUnimplemented);
}

std::string GoldenFile() {
  std::ifstream file(std::string(MS_TEST_DATA) + "/snapshot_file_v1.snap", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The file is what Write made in format version 1. A new version adds a file and a test beside it.
TEST(SnapshotStoreTest, GoldenFileIsReadableForEver) {
  const std::string bytes = GoldenFile();
  ASSERT_FALSE(bytes.empty());
  Node node;
  node.disk().WriteRaw(SnapshotPath(60), 0, bytes);
  ASSERT_TRUE(node.Open().ok());
  const auto meta = node.Load(61);
  ASSERT_TRUE(meta.ok()) << meta.status();
  ASSERT_TRUE(meta->has_value());
  EXPECT_EQ((*meta)->applied_index, LogIndex(60));
  const uint64_t digest = node.Digest();
  node.Restart();
  node.ApplyUpTo(60);
  EXPECT_EQ(node.Digest(), digest);
}

TEST(SnapshotStoreTest, GoldenFileIsWrittenAgainByteForByte) {
  const std::string bytes = GoldenFile();
  const std::optional<SnapshotFile> facts =
      DecodeSnapshotTrailer(std::string_view(bytes).substr(bytes.size() - limits::kBlockBytes));
  ASSERT_TRUE(facts.has_value());
  EXPECT_FALSE(facts->received);
  SnapshotMeta meta;
  meta.applied_index = facts->applied_index;
  meta.term = facts->term;
  FakeSource source(meta, bytes.substr(0, facts->stream_bytes));
  Node node;
  ASSERT_TRUE(node.Open().ok());
  ASSERT_TRUE(node.Await(node.store().Write(source)).ok());
  EXPECT_EQ(node.disk().ReadDurable(SnapshotPath(60), 0, bytes.size()), bytes);
  EXPECT_EQ(node.disk().FileSize(SnapshotPath(60)), bytes.size());
}

}  // namespace
}  // namespace metastore::engine
