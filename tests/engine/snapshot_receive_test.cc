// Aim: a snapshot of another member is either there as a whole, verified and durable, or it does
// not count, and never costs this member its own. Method: a simulated disk and a stream of some
// pieces: a crash at every I/O, each kind of wrong bytes, faults one by one.
#include "engine/snapshot_receiver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/snapshot_format.h"
#include "io/base/limits.h"
#include "io/gate.h"
#include "tests/engine/snapshot_fixture.h"

namespace metastore::engine {
namespace {

using sim::SimCrash;
using sim::SimFault;

using Paths = std::vector<std::string>;

struct Stream {
  SnapshotFile facts;  // as the sender's trailer has them
  std::string bytes;
  uint64_t digest = 0;
};

// What a leader would send: its state at `index`, of some pieces of kSnapshotWriteBytes.
Stream MakeStream(uint64_t index) {
  SnapshotNode leader;
  CHECK(leader.Open().ok());
  leader.ApplyNoiseUpTo(index, 2'500'000);
  const StatusOr<SnapshotFile> file = leader.Write();
  CHECK(file.ok());
  Stream stream{.facts = *file, .bytes = {}, .digest = leader.Digest()};
  const auto reader = leader.Await(leader.store().OpenReader(LogIndex(index)));
  CHECK(reader.ok());
  while (stream.bytes.size() < file->stream_bytes) {
    const auto bytes =
        leader.Await((*reader)->Read(stream.bytes.size(), SnapshotReader::kReadBytesMax));
    CHECK(bytes.ok());
    stream.bytes += *bytes;
  }
  CHECK_GT(stream.bytes.size(), 2 * kSnapshotWriteBytes);
  return stream;
}

const Stream& StreamOf100() {
  static const Stream stream = MakeStream(100);
  return stream;
}

// Adds `bytes` in uneven pieces.
Status AddAll(SnapshotNode& node, SnapshotReceiver& receiver, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t size = std::min<size_t>(bytes.size(), 300'001);
    const Status added = node.Await(receiver.Add(bytes.substr(0, size)));
    if (!added.ok()) return added;
    bytes.remove_prefix(size);
  }
  return OkStatus();
}

// The whole way; an interrupted one is abandoned.
StatusOr<SnapshotFile> Receive(SnapshotNode& node, SnapshotFile facts, std::string_view bytes) {
  auto receiver = node.Await(node.store().StartReceive(std::move(facts)));
  if (!receiver.ok()) return receiver.status();
  const Status added = AddAll(node, **receiver, bytes);
  StatusOr<SnapshotFile> file =
      added.ok() ? node.Await((*receiver)->Finish()) : StatusOr<SnapshotFile>(added);
  if (!file.ok()) node.Await((*receiver)->Abandon());
  return file;
}
StatusOr<SnapshotFile> Receive(SnapshotNode& node, const Stream& stream) {
  return Receive(node, stream.facts, stream.bytes);
}

Paths PathsOf(const SnapshotStore& store) {
  Paths paths;
  for (const SnapshotFile& file : store.files()) paths.push_back(file.path);
  return paths;
}

// A follower with own snapshots at 20 and 40.
class ReceiveTest : public testing::Test {
 protected:
  ReceiveTest() {
    CHECK(node_.Open().ok());
    for (const uint64_t index : {20u, 40u}) {
      node_.ApplyUpTo(index);
      CHECK(node_.Write().ok());
    }
    digest_ = node_.Digest();
  }
  void ExpectOwnFilesOnly() {
    EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(20), SnapshotPath(40)}));
    EXPECT_EQ(PathsOf(node_.store()), (Paths{SnapshotPath(40), SnapshotPath(20)}));
  }

  SnapshotNode node_;
  uint64_t digest_ = 0;
};

TEST_F(ReceiveTest, InstalledSnapshotIsTheLeadersStateAndSurvives) {
  const Stream& stream = StreamOf100();
  const StatusOr<SnapshotFile> file = Receive(node_, stream);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->path, SnapshotPath(100));
  EXPECT_TRUE(file->received);
  EXPECT_EQ(node_.Digest(), digest_);
  const auto meta = node_.Await(node_.store().LoadReceived(node_.engine(), LogIndex(100)));
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(meta->applied_index, LogIndex(100));
  EXPECT_EQ(meta->server_state, "members");
  EXPECT_EQ(node_.Digest(), stream.digest);
  node_.store().NoteInstalled(LogIndex(100));
  node_.machine().PowerLoss();
  node_.Restart();
  ASSERT_TRUE(node_.Open().ok());
  const auto loaded = node_.Load(101);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(node_.Digest(), stream.digest);
  // The log begins after it: older ones are of no use.
  EXPECT_EQ(node_.Files(), Paths{SnapshotPath(100)});
}

// Its bytes could serve; but this log may hold other entries up to there than the leader's.
TEST_F(ReceiveTest, PendingSnapshotIsPassedOverAndRemoved) {
  for (const uint64_t log_first : {21u, 41u}) {
    ASSERT_TRUE(Receive(node_, StreamOf100()).ok());
    node_.machine().PowerLoss();
    node_.Restart();
    ASSERT_TRUE(node_.Open().ok());
    EXPECT_EQ(node_.store().files().size(), 3u);
    const auto loaded = node_.Load(log_first);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->applied_index, LogIndex(40));
    EXPECT_EQ(node_.Digest(), digest_);
    ExpectOwnFilesOnly();
  }
}

TEST(SnapshotReceiveTest, PendingSnapshotAloneIsNoReasonToBeginEmptyAboveOne) {
  SnapshotNode node;
  ASSERT_TRUE(node.Open().ok());
  ASSERT_TRUE(Receive(node, StreamOf100()).ok());
  node.Restart();
  ASSERT_TRUE(node.Open().ok());
  EXPECT_EQ(node.Load(51).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(node.Files(), Paths{SnapshotPath(100)});
  const auto none = node.Load(1);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->has_value());
  EXPECT_TRUE(node.Files().empty());
}

TEST_F(ReceiveTest, PendingSnapshotCostsNoOwnOneUntilItIsInstalled) {
  ASSERT_TRUE(Receive(node_, StreamOf100()).ok());
  EXPECT_EQ(PathsOf(node_.store()), (Paths{SnapshotPath(100), SnapshotPath(40), SnapshotPath(20)}));
  EXPECT_TRUE(node_.store().IsPending(node_.store().files()[0]));
  node_.ApplyUpTo(60);
  ASSERT_TRUE(node_.Write().ok());
  EXPECT_EQ(PathsOf(node_.store()), (Paths{SnapshotPath(100), SnapshotPath(60), SnapshotPath(40)}));
  ASSERT_TRUE(node_.Await(node_.store().LoadReceived(node_.engine(), LogIndex(100))).ok());
  node_.store().NoteInstalled(LogIndex(100));
  EXPECT_FALSE(node_.store().IsPending(node_.store().files()[0]));
  node_.ApplyUpTo(120);
  ASSERT_TRUE(node_.Write().ok());
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(100), SnapshotPath(120)}));
  node_.ApplyUpTo(140);
  ASSERT_TRUE(node_.Write().ok());
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(120), SnapshotPath(140)}));
}

// An installed one with a newer own one is the way back from damage of that, over restarts too.
TEST_F(ReceiveTest, InstalledSnapshotIsKeptAsTheSecond) {
  ASSERT_TRUE(Receive(node_, StreamOf100()).ok());
  ASSERT_TRUE(node_.Await(node_.store().LoadReceived(node_.engine(), LogIndex(100))).ok());
  node_.store().NoteInstalled(LogIndex(100));
  node_.ApplyUpTo(120);
  ASSERT_TRUE(node_.Write().ok());
  node_.disk().FlipBit(SnapshotPath(120), 1000, 3);
  node_.Restart();
  ASSERT_TRUE(node_.Open().ok());
  const auto loaded = node_.Load(101);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->applied_index, LogIndex(100));
  EXPECT_EQ(node_.Digest(), StreamOf100().digest);
}

TEST_F(ReceiveTest, SnapshotThatIsNotNeededIsDiscarded) {
  ASSERT_TRUE(Receive(node_, StreamOf100()).ok());
  const Stream later = MakeStream(110);
  EXPECT_EQ(Receive(node_, later).status().code(), StatusCode::kUnavailable);
  node_.store().Discard(LogIndex(100));
  EXPECT_EQ(PathsOf(node_.store()), (Paths{SnapshotPath(40), SnapshotPath(20)}));
  ASSERT_TRUE(Receive(node_, later).ok());
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(20), SnapshotPath(40), SnapshotPath(110)}));
  // What covers more was applied: it will not be installed.
  node_.ApplyUpTo(111);
  ASSERT_TRUE(node_.Write().ok());
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(40), SnapshotPath(111)}));
}

// The power goes at I/O `at` of a receive. False if it was through before that.
bool CrashWhileReceiving(uint64_t seed, uint64_t at, SimCrash crash) {
  SnapshotNode node(seed);
  EXPECT_TRUE(node.Open().ok());
  for (const uint64_t index : {20u, 40u}) {
    node.ApplyUpTo(index);
    EXPECT_TRUE(node.Write().ok());
  }
  const uint64_t digest = node.Digest();
  node.disk().CrashAt(at, crash);
  const StatusOr<SnapshotFile> received = Receive(node, StreamOf100());
  const bool crashed = node.machine().dead();
  EXPECT_TRUE(crashed || received.ok());
  node.disk().CrashAt(0, SimCrash::kNone);
  if (!crashed) node.machine().PowerLoss();
  node.Restart();
  EXPECT_TRUE(node.Open().ok());
  // The install record can be durable only if Finish had completed.
  const bool installed = received.ok() && seed % 2 == 0;
  const auto loaded = node.Load(installed ? 101 : 41);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(node.Digest(), installed ? StreamOf100().digest : digest);
  if (installed) return crashed;
  const StatusOr<SnapshotFile> again = Receive(node, StreamOf100());
  EXPECT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(node.Await(node.store().LoadReceived(node.engine(), LogIndex(100))).ok());
  EXPECT_EQ(node.Digest(), StreamOf100().digest);
  EXPECT_EQ(node.Files(), (Paths{SnapshotPath(20), SnapshotPath(40), SnapshotPath(100)}));
  return crashed;
}

TEST(SnapshotReceiveTest, CrashAtEveryIoLeavesTheOwnStateOrTheWholeOther) {
  uint64_t crashes = 0;
  for (const SimCrash crash : {SimCrash::kBefore, SimCrash::kTorn, SimCrash::kAfter}) {
    for (uint64_t at = 1;; ++at) {
      bool crashed = false;
      for (uint64_t chance = 0; chance < 2; ++chance) {
        const uint64_t seed = (at * 2 + chance) * 4 + static_cast<uint64_t>(crash);
        SCOPED_TRACE(Concat("crash ", static_cast<int>(crash), " at I/O ", at, ", seed ", seed));
        crashed = CrashWhileReceiving(seed, at, crash);
        if (HasFailure()) return;
      }
      if (!crashed) break;
      ++crashes;
    }
  }
  EXPECT_GE(crashes, 3 * 10u);
}

TEST_F(ReceiveTest, DroppedReceiveIsBegunAnewAndGoesWithANewerOne) {
  const Stream& stream = StreamOf100();
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto receiver = node_.Await(node_.store().StartReceive(stream.facts));
    ASSERT_TRUE(receiver.ok()) << receiver.status();
    EXPECT_EQ((*receiver)->received_bytes(), 0u);
    ASSERT_TRUE(
        AddAll(node_, **receiver, std::string_view(stream.bytes).substr(0, 2'000'000)).ok());
    EXPECT_EQ((*receiver)->received_bytes(), 2'000'000u);
  }
  EXPECT_EQ(node_.Files().size(), 3u);
  EXPECT_EQ(node_.store().files().size(), 2u);
  auto newer = node_.Await(node_.store().StartReceive(MakeStream(110).facts));
  ASSERT_TRUE(newer.ok()) << newer.status();
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(20), SnapshotPath(40), SnapshotPath(110)}));
  node_.Await((*newer)->Abandon());
  ExpectOwnFilesOnly();
}

TEST_F(ReceiveTest, DroppedReceiveIsNoSnapshotAfterARestart) {
  auto receiver = node_.Await(node_.store().StartReceive(StreamOf100().facts));
  ASSERT_TRUE(receiver.ok());
  ASSERT_TRUE(AddAll(node_, **receiver, StreamOf100().bytes).ok());
  receiver->reset();
  node_.Restart();
  ASSERT_TRUE(node_.Open().ok());
  ASSERT_TRUE(node_.Load(41).ok());
  EXPECT_EQ(node_.Digest(), digest_);
  EXPECT_EQ(PathsOf(node_.store()), (Paths{SnapshotPath(40), SnapshotPath(20)}));
}

TEST_F(ReceiveTest, DamagedBytesAreRefused) {
  for (const size_t offset : {size_t{10}, size_t{1'500'000}, StreamOf100().bytes.size() - 1}) {
    std::string bytes = StreamOf100().bytes;
    bytes[offset] = static_cast<char>(bytes[offset] ^ 1);
    EXPECT_EQ(Receive(node_, StreamOf100().facts, bytes).status().code(), StatusCode::kDataLoss);
    ExpectOwnFilesOnly();
  }
}

TEST_F(ReceiveTest, WrongLengthIsRefused) {
  const Stream& stream = StreamOf100();
  const std::string_view bytes = stream.bytes;
  const Status fewer = Receive(node_, stream.facts, bytes.substr(0, bytes.size() - 1)).status();
  EXPECT_EQ(fewer.code(), StatusCode::kDataLoss);
  EXPECT_EQ(Receive(node_, stream.facts, Concat(bytes, "x")).status().code(),
            StatusCode::kDataLoss);
  // The padding hides a zero byte at the end from the hash.
  SnapshotFile longer = stream.facts;
  ++longer.stream_bytes;
  EXPECT_EQ(Receive(node_, longer, bytes).status().code(), StatusCode::kDataLoss);
  ExpectOwnFilesOnly();
}

TEST_F(ReceiveTest, WrongHashIsRefused) {
  SnapshotFile facts = StreamOf100().facts;
  ++facts.stream_hash;
  EXPECT_EQ(Receive(node_, facts, StreamOf100().bytes).status().code(), StatusCode::kDataLoss);
  ExpectOwnFilesOnly();
}

TEST_F(ReceiveTest, AnotherSnapshotIsRefusedAtItsFirstBytes) {
  SnapshotFile facts = StreamOf100().facts;
  facts.applied_index = LogIndex(99);
  auto receiver = node_.Await(node_.store().StartReceive(facts));
  ASSERT_TRUE(receiver.ok());
  const std::string_view head = std::string_view(StreamOf100().bytes).substr(0, 4096);
  EXPECT_EQ(node_.Await((*receiver)->Add(head)).code(), StatusCode::kInternal);
  node_.Await((*receiver)->Abandon());
  facts = StreamOf100().facts;
  facts.term = Term(8);
  EXPECT_EQ(Receive(node_, facts, StreamOf100().bytes).status().code(), StatusCode::kInternal);
  ExpectOwnFilesOnly();
}

TEST_F(ReceiveTest, NewerFormatIsRefused) {
  ChunkEncoder encoder;
  const std::string bytes = encoder.Encode(static_cast<SnapshotSection>(6), "future");
  SnapshotFile facts = StreamOf100().facts;
  facts.stream_bytes = bytes.size();
  EXPECT_EQ(Receive(node_, facts, bytes).status().code(), StatusCode::kUnimplemented);
  ExpectOwnFilesOnly();
}

TEST_F(ReceiveTest, FactsThatNoSnapshotHasAreRefused) {
  SnapshotFile none = StreamOf100().facts;
  none.stream_bytes = 0;
  SnapshotFile huge = StreamOf100().facts;
  huge.stream_bytes = UINT64_MAX - 1;
  SnapshotFile zeroth = StreamOf100().facts;
  zeroth.applied_index = LogIndex(0);
  for (const SnapshotFile& facts : {none, huge, zeroth}) {
    EXPECT_EQ(Receive(node_, facts, {}).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST_F(ReceiveTest, WhatIsHereNeedNotBeReceived) {
  SnapshotFile facts = StreamOf100().facts;
  for (const uint64_t index : {10u, 20u, 30u, 40u}) {
    facts.applied_index = LogIndex(index);
    EXPECT_EQ(Receive(node_, facts, {}).status().code(), StatusCode::kAlreadyExists);
  }
  // Nor may what is pending be offered to raft a second time.
  ASSERT_TRUE(Receive(node_, StreamOf100()).ok());
  EXPECT_EQ(Receive(node_, StreamOf100()).status().code(), StatusCode::kUnavailable);
  node_.store().NoteInstalled(LogIndex(100));
  EXPECT_EQ(Receive(node_, StreamOf100()).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(20), SnapshotPath(40), SnapshotPath(100)}));
}

TEST_F(ReceiveTest, FullDiskRefusesAndLeavesTheOwnSnapshots) {
  const uint64_t used = node_.disk().used_bytes();
  // The file itself, its space, and a write later on.
  for (const uint64_t skip : {0u, 1u, 3u}) {
    node_.disk().FailNext(SimFault::kNoSpace, SnapshotPath(100), skip);
    EXPECT_EQ(Receive(node_, StreamOf100()).status().code(), StatusCode::kResourceExhausted);
    ExpectOwnFilesOnly();
    EXPECT_EQ(node_.disk().used_bytes(), used);
  }
  ASSERT_TRUE(Receive(node_, StreamOf100()).ok());
}

TEST_F(ReceiveTest, LackOfSpaceIsFoundBeforeTheTransfer) {
  node_.disk().options().capacity_bytes = node_.disk().used_bytes() + (size_t{2} << 20);
  const auto receiver = node_.Await(node_.store().StartReceive(StreamOf100().facts));
  EXPECT_EQ(receiver.status().code(), StatusCode::kResourceExhausted);
  ExpectOwnFilesOnly();
}

TEST_F(ReceiveTest, FailedSyncIsNeverTrusted) {
  for (const uint64_t skip : {0u, 1u}) {
    node_.disk().FailNext(SimFault::kSyncError, SnapshotPath(100), skip);
    EXPECT_EQ(Receive(node_, StreamOf100()).status().code(), StatusCode::kDataLoss);
    ExpectOwnFilesOnly();
  }
}

TEST_F(ReceiveTest, DamageAfterFinishIsSeenAndChangesNothing) {
  ASSERT_TRUE(Receive(node_, StreamOf100()).ok());
  node_.disk().FlipBit(SnapshotPath(100), 1'500'000, 3);
  const Status loaded =
      node_.Await(node_.store().LoadReceived(node_.engine(), LogIndex(100))).status();
  EXPECT_EQ(loaded.code(), StatusCode::kDataLoss);
  EXPECT_NE(StdView(loaded.message()).find(SnapshotPath(100)), std::string_view::npos) << loaded;
  EXPECT_EQ(node_.Digest(), digest_);
}

TEST_F(ReceiveTest, OnlyAReceivedFileIsLoadedAsOne) {
  for (const uint64_t index : {40u, 100u}) {
    const auto loaded = node_.Await(node_.store().LoadReceived(node_.engine(), LogIndex(index)));
    EXPECT_EQ(loaded.status().code(), StatusCode::kNotFound);
  }
}

TEST_F(ReceiveTest, OwnSnapshotIsWrittenMeanwhile) {
  auto receiver = node_.Await(node_.store().StartReceive(StreamOf100().facts));
  ASSERT_TRUE(receiver.ok());
  node_.ApplyUpTo(60);
  ASSERT_TRUE(node_.Write().ok());
  node_.ApplyUpTo(100);
  EXPECT_EQ(node_.Write().status().code(), StatusCode::kUnavailable);
  ASSERT_TRUE(AddAll(node_, **receiver, StreamOf100().bytes).ok());
  ASSERT_TRUE(node_.Await((*receiver)->Finish()).ok());
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(40), SnapshotPath(60), SnapshotPath(100)}));
}

io::Task<void> StartReceive(SnapshotStore& store, SnapshotFile facts, Status& result) {
  auto receiver = co_await store.StartReceive(std::move(facts));
  result = receiver.status();
  if (receiver.ok()) co_await (*receiver)->Abandon();
}

// The write begins `after` the receive.
io::Task<Status> WriteWhileStarting(SnapshotNode& node, Duration after, Status& started) {
  io::Runtime& runtime = node.runtime();
  io::Gate gate(runtime.scheduler());
  gate.Spawn("test.receive", io::ReadyClass::kBackground,
             StartReceive(node.store(), StreamOf100().facts, started));
  co_await io::SleepUntil(runtime, runtime.Now() + after);
  const std::unique_ptr<SnapshotSource> source =
      node.engine().StartSnapshot({.term = Term(7), .server_state = "members"});
  const StatusOr<SnapshotFile> written = co_await node.store().Write(*source);
  co_await gate.Close();
  co_return written.status();
}

// The receive removes what a crash left at 60 just when a snapshot of 60 is written there.
TEST(SnapshotReceiveTest, UnfinishedFileIsNotRemovedUnderItsSuccessor) {
  for (int64_t after_us = 0; after_us <= 1000; after_us += 10) {
    SCOPED_TRACE(Concat("the write began after us ", after_us));
    SnapshotNode node;
    node.disk().WriteRaw(SnapshotPath(50), 0, std::string(8192, 'x'));
    node.disk().WriteRaw(SnapshotPath(60), 0, std::string(8192, 'x'));
    ASSERT_TRUE(node.Open().ok());
    node.ApplyUpTo(60);
    Status started;
    const Status written = node.Await(WriteWhileStarting(node, Microseconds(after_us), started));
    ASSERT_TRUE(written.ok()) << written;
    ASSERT_TRUE(started.ok()) << started;
    ASSERT_EQ(node.Files(), Paths{SnapshotPath(60)});
  }
}

TEST(SnapshotReceiveTest, OwnFileDiffersFromAReceivedOneInTheFlagOnly) {
  std::ifstream file(std::string(MS_TEST_DATA) + "/snapshot_file_v1.snap", std::ios::binary);
  const std::string own((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t trailer = own.size() - limits::kBlockBytes;
  const std::optional<SnapshotFile> facts =
      DecodeSnapshotTrailer(std::string_view(own).substr(trailer));
  ASSERT_TRUE(facts.has_value());
  SnapshotNode node;
  ASSERT_TRUE(node.Open().ok());
  const auto received = Receive(node, *facts, std::string_view(own).substr(0, facts->stream_bytes));
  ASSERT_TRUE(received.ok()) << received.status();
  std::string bytes = node.disk().ReadDurable(SnapshotPath(60), 0, own.size());
  EXPECT_TRUE(DecodeSnapshotTrailer(std::string_view(bytes).substr(trailer))->received);
  EXPECT_EQ(bytes[trailer + 12], 1);
  bytes[trailer + 12] = 0;
  bytes.replace(trailer + 48, 8, own, trailer + 48, 8);  // the checksum
  EXPECT_EQ(bytes, own);
}

TEST(SnapshotReaderTest, ReadsAnyPartOfTheStream) {
  const Stream& stream = StreamOf100();
  SnapshotNode node;
  ASSERT_TRUE(node.Open().ok());
  ASSERT_TRUE(Receive(node, stream).ok());
  const auto reader = node.Await(node.store().OpenReader(LogIndex(100)));
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->facts().stream_hash, stream.facts.stream_hash);
  const uint64_t end = stream.bytes.size();
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{4095}, uint64_t{4096},
                                uint64_t{1'234'567}, end - 1, end}) {
    for (const size_t size : {size_t{1}, size_t{4096}, size_t{4097}, size_t{1} << 20}) {
      const auto bytes = node.Await((*reader)->Read(offset, size));
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      ASSERT_EQ(*bytes, stream.bytes.substr(offset, size)) << offset << " " << size;
    }
  }
}

TEST_F(ReceiveTest, ReaderOutlivesItsFile) {
  const auto reader = node_.Await(node_.store().OpenReader(LogIndex(20)));
  ASSERT_TRUE(reader.ok());
  const std::string before(*node_.Await((*reader)->Read(0, 4096)));
  node_.ApplyUpTo(60);
  ASSERT_TRUE(node_.Write().ok());
  EXPECT_EQ(node_.Files(), (Paths{SnapshotPath(40), SnapshotPath(60)}));
  const auto after = node_.Await((*reader)->Read(0, 4096));
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(*after, before);
  const auto none = node_.Await(node_.store().OpenReader(LogIndex(20)));
  EXPECT_EQ(none.status().code(), StatusCode::kNotFound);
}

TEST_F(ReceiveTest, UnreadablePartIsDataLossToTheReader) {
  node_.disk().MarkUnreadable(SnapshotPath(40), 512);
  const auto reader = node_.Await(node_.store().OpenReader(LogIndex(40)));
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(node_.Await((*reader)->Read(0, 4096)).status().code(), StatusCode::kDataLoss);
}

TEST_F(ReceiveTest, VerifySetsADamagedFileAside) {
  EXPECT_TRUE(node_.Await(node_.store().Verify(LogIndex(40), {})).ok());
  EXPECT_EQ(node_.Await(node_.store().Verify(LogIndex(30), {})).code(), StatusCode::kNotFound);
  io::StopSource stop;
  stop.RequestStop();
  EXPECT_EQ(node_.Await(node_.store().Verify(LogIndex(40), stop.token())).code(),
            StatusCode::kCancelled);
  node_.disk().FlipBit(SnapshotPath(40), 1000, 3);
  EXPECT_EQ(node_.Await(node_.store().Verify(LogIndex(40), {})).code(), StatusCode::kDataLoss);
  EXPECT_EQ(PathsOf(node_.store()), Paths{SnapshotPath(20)});
  // So that it can be written again.
  ASSERT_TRUE(node_.Write().ok());
  EXPECT_TRUE(node_.Await(node_.store().Verify(LogIndex(40), {})).ok());
}

}  // namespace
}  // namespace metastore::engine
