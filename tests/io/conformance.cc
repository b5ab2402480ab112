// Aim: files, timers and signals behave as the headers of io/ say, on whichever runtime the
// suite is instantiated with. Method: each test is one coroutine on core 0.
#include "tests/io/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/base/limits.h"
#include "io/gate.h"
#include "io/queue.h"

namespace metastore::io {
namespace {

constexpr size_t kBlock = limits::kBlockBytes;

using FilePtr = std::unique_ptr<File>;

// A buffer of `blocks` filled with `fill`.
IoBuffer Filled(Runtime& runtime, size_t blocks, char fill) {
  IoBuffer buffer = runtime.AllocateBuffer(blocks * kBlock);
  std::fill_n(buffer.data(), blocks * kBlock, fill);
  return buffer;
}

Task<StatusOr<size_t>> WriteFill(Runtime& runtime, File& file, uint64_t block, char fill) {
  IoBuffer buffer = Filled(runtime, 1, fill);
  StatusOr<size_t> written = co_await file.Write(block * kBlock, {buffer.data(), kBlock});
  co_return written;
}

Task<StatusOr<std::string>> ReadString(Runtime& runtime, File& file, uint64_t block,
                                       size_t blocks) {
  IoBuffer buffer = Filled(runtime, blocks, '?');
  StatusOr<size_t> read = co_await file.Read(block * kBlock, {buffer.data(), blocks * kBlock});
  if (!read.ok()) co_return read.status();
  co_return std::string(buffer.data(), *read);
}

// --- memory ------------------------------------------------------------------------------------

Task<void> SharesMemory(Stage& stage) {
  constexpr size_t kBytes = 3 * kBlock + sizeof(uint64_t);
  StatusOr<std::unique_ptr<SharedMemory>> memory =
      stage.runtime().MakeSharedMemory("metastore-test", kBytes);
  CO_ASSERT(memory.ok());
  StatusOr<std::unique_ptr<SharedMemory>> other =
      stage.runtime().MakeSharedMemory("metastore-test", kBytes);
  CO_ASSERT(other.ok());
  const std::span<uint64_t> words = (*memory)->words();
  CO_ASSERT(words.size() == kBytes / sizeof(uint64_t));
  EXPECT_TRUE(std::ranges::all_of(words, [](uint64_t word) { return word == 0; }));
  words.front() = words.back() = 7;
  EXPECT_EQ((*other)->words().front(), 0u);
}
TEST_P(ConformanceTest, SharedMemoryIsZerosOfItsSizeAndItsMakersAlone) { Run(SharesMemory); }

// --- files -------------------------------------------------------------------------------------

Task<void> OpensByMode(Stage& stage) {
  Runtime& runtime = stage.runtime();
  const std::string path = stage.directory + "/f";
  StatusOr<FilePtr> file = co_await runtime.OpenFile(path, OpenMode::kReadWrite);
  EXPECT_EQ(file.status().code(), StatusCode::kNotFound);
  EXPECT_NE(file.status().message().find("/f"), absl::string_view::npos);
  file = co_await runtime.OpenFile(path, OpenMode::kRead);
  EXPECT_EQ(file.status().code(), StatusCode::kNotFound);
  file = co_await runtime.OpenFile(path, OpenMode::kCreate);
  CO_ASSERT(file.ok());
  EXPECT_EQ((*file)->size(), 0u);
  StatusOr<FilePtr> again = co_await runtime.OpenFile(path, OpenMode::kCreate);
  EXPECT_EQ(again.status().code(), StatusCode::kAlreadyExists);
  again = co_await runtime.OpenFile(path, OpenMode::kRead);
  EXPECT_TRUE(again.ok());
  StatusOr<FilePtr> orphan =
      co_await runtime.OpenFile(stage.directory + "/no/f", OpenMode::kCreate);
  EXPECT_EQ(orphan.status().code(), StatusCode::kNotFound);
}
TEST_P(ConformanceTest, FilesOpenByTheirMode) { Run(OpensByMode); }

Task<void> ReadsBack(Stage& stage) {
  Runtime& runtime = stage.runtime();
  const std::string path = stage.directory + "/f";
  StatusOr<FilePtr> file = co_await runtime.OpenFile(path, OpenMode::kCreate);
  CO_ASSERT(file.ok());
  for (uint64_t block = 0; block < 3; ++block) {
    const StatusOr<size_t> written =
        co_await WriteFill(runtime, **file, block, static_cast<char>('a' + block));
    CO_ASSERT(written.ok());
    EXPECT_EQ(*written, kBlock);
  }
  EXPECT_EQ((*file)->size(), 3 * kBlock);
  const StatusOr<std::string> middle = co_await ReadString(runtime, **file, 1, 1);
  CO_ASSERT(middle.ok());
  EXPECT_EQ(*middle, std::string(kBlock, 'b'));
  const StatusOr<std::string> over_the_end = co_await ReadString(runtime, **file, 2, 4);
  CO_ASSERT(over_the_end.ok());
  EXPECT_EQ(*over_the_end, std::string(kBlock, 'c'));
  const StatusOr<std::string> behind = co_await ReadString(runtime, **file, 5, 1);
  CO_ASSERT(behind.ok());
  EXPECT_EQ(*behind, "");
  file->reset();
  file = co_await runtime.OpenFile(path, OpenMode::kRead);
  CO_ASSERT(file.ok());
  EXPECT_EQ((*file)->size(), 3 * kBlock);
  const StatusOr<std::string> first = co_await ReadString(runtime, **file, 0, 1);
  CO_ASSERT(first.ok());
  EXPECT_EQ(*first, std::string(kBlock, 'a'));
}
TEST_P(ConformanceTest, WrittenBlocksAreReadBackAndShortAtTheEnd) { Run(ReadsBack); }

Task<void> WritesDurably(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<FilePtr> file = co_await runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  CO_ASSERT(file.ok());
  uint64_t block = 0;
  for (const DurableMethod method :
       {DurableMethod::kDsync, DurableMethod::kFdatasync, DurableMethod::kLinked}) {
    IoBuffer buffer = Filled(runtime, 2, static_cast<char>('x' + block));
    const StatusOr<size_t> written =
        co_await (*file)->DurableWrite(block * kBlock, {buffer.data(), 2 * kBlock}, method);
    CO_ASSERT(written.ok());
    EXPECT_EQ(*written, 2 * kBlock);
    const StatusOr<std::string> read = co_await ReadString(runtime, **file, block, 2);
    CO_ASSERT(read.ok());
    EXPECT_EQ(*read, std::string(2 * kBlock, static_cast<char>('x' + block)));
    ++block;
  }
  const StatusOr<size_t> synced = co_await (*file)->Sync();
  CO_ASSERT(synced.ok());
  EXPECT_EQ(*synced, 0u);
}
TEST_P(ConformanceTest, EveryDurableMethodWrites) { Run(WritesDurably); }

Task<void> ChangesSize(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<FilePtr> file = co_await runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  CO_ASSERT(file.ok());
  const StatusOr<size_t> allocated = co_await (*file)->Allocate(16 * kBlock);
  CO_ASSERT(allocated.ok());
  EXPECT_EQ((*file)->size(), 16 * kBlock);
  const StatusOr<std::string> zeros = co_await ReadString(runtime, **file, 0, 16);
  CO_ASSERT(zeros.ok());
  EXPECT_EQ(*zeros, std::string(16 * kBlock, '\0'));
  const StatusOr<size_t> written = co_await WriteFill(runtime, **file, 3, 'w');
  CO_ASSERT(written.ok());
  const StatusOr<size_t> kept = co_await (*file)->Allocate(8 * kBlock);
  CO_ASSERT(kept.ok());
  EXPECT_EQ((*file)->size(), 16 * kBlock);  // it never shrinks
  const StatusOr<size_t> cut = co_await (*file)->Truncate(2 * kBlock);
  CO_ASSERT(cut.ok());
  EXPECT_EQ((*file)->size(), 2 * kBlock);
  const StatusOr<size_t> grown = co_await (*file)->Truncate(5 * kBlock);
  CO_ASSERT(grown.ok());
  const StatusOr<std::string> read = co_await ReadString(runtime, **file, 0, 16);
  CO_ASSERT(read.ok());
  EXPECT_EQ(*read, std::string(5 * kBlock, '\0'));  // what was cut never comes back
}
TEST_P(ConformanceTest, AllocateExtendsWithZerosAndTruncateCuts) { Run(ChangesSize); }

Task<void> ManagesNames(Stage& stage) {
  Runtime& runtime = stage.runtime();
  const std::string deep = stage.directory + "/one/two/three";
  const Status made = co_await runtime.MakeDirectories(deep);
  EXPECT_TRUE(made.ok());
  const Status again = co_await runtime.MakeDirectories(deep);
  EXPECT_TRUE(again.ok());
  for (const char* name : {"c", "a", "b"}) {
    const std::string path = deep + "/" + name;
    StatusOr<FilePtr> file = co_await runtime.OpenFile(path, OpenMode::kCreate);
    CO_ASSERT(file.ok());
    const StatusOr<size_t> sized = co_await (*file)->Truncate(kBlock);
    CO_ASSERT(sized.ok());
  }
  const Status sub = co_await runtime.MakeDirectories(deep + "/bb");
  EXPECT_TRUE(sub.ok());
  const Status synced = co_await runtime.SyncDirectory(deep);
  EXPECT_TRUE(synced.ok());
  const Status removed = co_await runtime.RemoveFile(deep + "/b");
  EXPECT_TRUE(removed.ok());
  const Status removed_twice = co_await runtime.RemoveFile(deep + "/b");
  EXPECT_EQ(removed_twice.code(), StatusCode::kNotFound);
  const StatusOr<std::vector<DirectoryEntry>> entries = co_await runtime.ListDirectory(deep);
  CO_ASSERT(entries.ok());
  CO_ASSERT(entries->size() == 3);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_EQ((*entries)[0].bytes, kBlock);
  EXPECT_FALSE((*entries)[0].is_directory);
  EXPECT_EQ((*entries)[1].name, "bb");
  EXPECT_TRUE((*entries)[1].is_directory);
  EXPECT_EQ((*entries)[2].name, "c");
  const StatusOr<std::vector<DirectoryEntry>> nothing =
      co_await runtime.ListDirectory(stage.directory + "/nowhere");
  EXPECT_EQ(nothing.status().code(), StatusCode::kNotFound);
  const Status taken = co_await runtime.RenameDirectory(deep, stage.directory);
  EXPECT_FALSE(taken.ok());
  const Status renamed = co_await runtime.RenameDirectory(deep + "/bb", deep + "/b2");
  EXPECT_TRUE(renamed.ok());
  const Status gone = co_await runtime.RenameDirectory(deep + "/bb", deep + "/b3");
  EXPECT_EQ(gone.code(), StatusCode::kNotFound);
  const StatusOr<std::vector<DirectoryEntry>> old_name =
      co_await runtime.ListDirectory(deep + "/bb");
  EXPECT_EQ(old_name.status().code(), StatusCode::kNotFound);
  const Status anew = co_await runtime.MakeDirectories(deep + "/bb");
  EXPECT_TRUE(anew.ok());
  const Status exists = co_await runtime.RenameDirectory(deep + "/bb", deep + "/b2");
  EXPECT_EQ(exists.code(), StatusCode::kAlreadyExists);
  const Status no_sync = co_await runtime.SyncDirectory(stage.directory + "/nowhere");
  EXPECT_EQ(no_sync.code(), StatusCode::kNotFound);
}
TEST_P(ConformanceTest, NamesAreMadeListedAndRemoved) { Run(ManagesNames); }

Task<void> KeepsRemovedFile(Stage& stage) {
  Runtime& runtime = stage.runtime();
  const std::string path = stage.directory + "/f";
  StatusOr<FilePtr> file = co_await runtime.OpenFile(path, OpenMode::kCreate);
  CO_ASSERT(file.ok());
  const size_t last = 16 * limits::kMiB - kBlock;  // large files are freed in steps
  for (const size_t offset : {size_t{0}, last}) {
    const StatusOr<size_t> written = co_await WriteFill(runtime, **file, offset, 'r');
    CO_ASSERT(written.ok());
  }
  const Status removed = co_await runtime.RemoveFile(path);
  CO_ASSERT(removed.ok());
  for (const size_t offset : {size_t{0}, last}) {
    const StatusOr<std::string> read = co_await ReadString(runtime, **file, offset, 1);
    CO_ASSERT(read.ok());
    EXPECT_EQ(*read, std::string(kBlock, 'r'));
  }
}
TEST_P(ConformanceTest, ARemovedFileStaysUsableWhileOpen) { Run(KeepsRemovedFile); }

Task<void> Locks(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<std::unique_ptr<DirectoryLock>> first = co_await runtime.LockDirectory(stage.directory);
  CO_ASSERT(first.ok());
  StatusOr<std::unique_ptr<DirectoryLock>> second = co_await runtime.LockDirectory(stage.directory);
  EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists);
  first->reset();
  second = co_await runtime.LockDirectory(stage.directory);
  EXPECT_TRUE(second.ok());
  StatusOr<std::unique_ptr<DirectoryLock>> nowhere =
      co_await runtime.LockDirectory(stage.directory + "/nowhere");
  EXPECT_EQ(nowhere.status().code(), StatusCode::kNotFound);
}
TEST_P(ConformanceTest, ADirectoryIsLockedOnce) { Run(Locks); }

Task<void> TellsFacts(Stage& stage) {
  const StatusOr<FileSystemFacts> facts = co_await stage.runtime().FactsOf(stage.directory);
  CO_ASSERT(facts.ok());
  EXPECT_FALSE(facts->type.empty());
  EXPECT_GT(facts->total_bytes, 0u);
  EXPECT_LE(facts->free_bytes, facts->total_bytes);
  EXPECT_GT(facts->direct_block, 0u);
  const StatusOr<FileSystemFacts> nowhere =
      co_await stage.runtime().FactsOf(stage.directory + "/nowhere");
  EXPECT_EQ(nowhere.status().code(), StatusCode::kNotFound);
}
TEST_P(ConformanceTest, AFileSystemTellsItsFacts) { Run(TellsFacts); }

struct OwnedOp : FileOp {
  OneShot<bool> ended;
};

Task<void> CompletesOwnedOps(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<FilePtr> file = co_await runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  CO_ASSERT(file.ok());
  IoBuffer buffer = Filled(runtime, 8, 'q');
  std::vector<std::unique_ptr<OwnedOp>> ops;
  for (size_t i = 0; i < 8; ++i) {
    ops.push_back(std::make_unique<OwnedOp>());
    OwnedOp& op = *ops.back();
    op.kind = FileOpKind::kWrite;
    op.offset = i * kBlock;
    op.data = buffer.data() + i * kBlock;
    op.size = kBlock;
    op.run = [](ReadyNode& node) { static_cast<OwnedOp&>(node).ended.Set(true); };
    (*file)->Submit(op);
    EXPECT_FALSE(op.ended.set());  // never inside Submit
  }
  for (const std::unique_ptr<OwnedOp>& op : ops) {
    co_await op->ended;
    EXPECT_TRUE(op->status.ok());
    EXPECT_EQ(op->done_bytes, kBlock);
  }
  EXPECT_EQ((*file)->size(), 8 * kBlock);
}
TEST_P(ConformanceTest, OperationsOfACallerRunItsNode) { Run(CompletesOwnedOps); }

Task<void> MovesMegabytes(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<FilePtr> file = co_await runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  CO_ASSERT(file.ok());
  IoBuffer buffer = runtime.AllocateBuffer(limits::kFrameBytesMax);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kBlock, 0u);
  EXPECT_GE(buffer.size(), limits::kFrameBytesMax);
  for (size_t at = 0; at < limits::kFrameBytesMax; at += sizeof at) {
    std::memcpy(buffer.data() + at, &at, sizeof at);
  }
  const std::span<char> span(buffer.data(), limits::kFrameBytesMax);
  const StatusOr<size_t> written = co_await (*file)->DurableWrite(0, span, DurableMethod::kDsync);
  CO_ASSERT(written.ok());
  EXPECT_EQ(*written, limits::kFrameBytesMax);
  IoBuffer copy = runtime.AllocateBuffer(limits::kFrameBytesMax);
  const StatusOr<size_t> read = co_await (*file)->Read(0, {copy.data(), limits::kFrameBytesMax});
  CO_ASSERT(read.ok());
  EXPECT_EQ(std::memcmp(buffer.data(), copy.data(), limits::kFrameBytesMax), 0);
}
TEST_P(ConformanceTest, TheLargestFrameIsOneWrite) { Run(MovesMegabytes); }

// --- timers and signals ------------------------------------------------------------------------

Task<void> SleepThenRecord(Runtime& runtime, Duration span, int number, std::vector<int>& order) {
  const MonoTime deadline = runtime.Now() + span;
  const WaitResult result = co_await SleepUntil(runtime, deadline);
  EXPECT_EQ(result, WaitResult::kTimedOut);
  EXPECT_GE(runtime.Now(), deadline);
  order.push_back(number);
}

Task<void> SleepsInOrder(Stage& stage) {
  Runtime& runtime = stage.runtime();
  std::vector<int> order;
  Gate gate(runtime.scheduler());
  gate.Spawn("d", ReadyClass::kClient, SleepThenRecord(runtime, Milliseconds(60), 4, order));
  gate.Spawn("b", ReadyClass::kClient, SleepThenRecord(runtime, Milliseconds(20), 2, order));
  gate.Spawn("c", ReadyClass::kClient, SleepThenRecord(runtime, Milliseconds(40), 3, order));
  gate.Spawn("a", ReadyClass::kClient, SleepThenRecord(runtime, Milliseconds(-5), 1, order));
  co_await gate.Close();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}
TEST_P(ConformanceTest, TimersFireInTheOrderOfTheirDeadlines) { Run(SleepsInOrder); }

struct FlagTimer : Timer {
  bool done = false;
};

Task<void> ArmsAndCancels(Stage& stage) {
  Runtime& runtime = stage.runtime();
  FlagTimer past;
  FlagTimer cancelled;
  for (FlagTimer* timer : {&past, &cancelled}) {
    timer->fired = [](Timer& self) { static_cast<FlagTimer&>(self).done = true; };
    runtime.Arm(*timer, runtime.Now() - Seconds(1));
    EXPECT_TRUE(timer->armed());
    EXPECT_FALSE(timer->done);  // never inside Arm
  }
  runtime.Cancel(cancelled);
  runtime.Cancel(cancelled);
  EXPECT_FALSE(cancelled.armed());
  co_await SleepUntil(runtime, runtime.Now() + Milliseconds(5));
  EXPECT_TRUE(past.done);
  EXPECT_FALSE(past.armed());
  EXPECT_FALSE(cancelled.done);
}
TEST_P(ConformanceTest, ACancelledTimerNeverFiresAndAPastOneDoesSoon) { Run(ArmsAndCancels); }

Task<void> NotifyLater(Runtime& runtime, Signal& signal) {
  co_await SleepUntil(runtime, runtime.Now() + Milliseconds(5));
  signal.NotifyAll();
}

Task<void> StopLater(Runtime& runtime, StopSource& stop) {
  co_await SleepUntil(runtime, runtime.Now() + Milliseconds(5));
  stop.RequestStop();
}

Task<void> WaitsEndOneWay(Stage& stage) {
  Runtime& runtime = stage.runtime();
  Signal signal;
  StopSource stop;
  Gate gate(runtime.scheduler());
  const MonoTime late = runtime.Now() + Seconds(100);
  gate.Spawn("notify", ReadyClass::kClient, NotifyLater(runtime, signal));
  const WaitResult notified =
      co_await signal.Wait(WaitLimit{.timers = &runtime, .deadline = late, .stop = stop.token()});
  EXPECT_EQ(notified, WaitResult::kNotified);
  const MonoTime soon = runtime.Now() + Milliseconds(5);
  const WaitResult timed_out =
      co_await signal.Wait(WaitLimit{.timers = &runtime, .deadline = soon, .stop = stop.token()});
  EXPECT_EQ(timed_out, WaitResult::kTimedOut);
  gate.Spawn("stop", ReadyClass::kClient, StopLater(runtime, stop));
  const WaitResult stopped =
      co_await signal.Wait(WaitLimit{.timers = &runtime, .deadline = late, .stop = stop.token()});
  EXPECT_EQ(stopped, WaitResult::kStopped);
  const WaitResult at_once = co_await SleepUntil(runtime, late, stop.token());
  EXPECT_EQ(at_once, WaitResult::kStopped);
  EXPECT_LT(runtime.Now(), late);
  co_await gate.Close();
}
TEST_P(ConformanceTest, AWaitEndsByNotificationDeadlineOrStop) { Run(WaitsEndOneWay); }

Task<void> DrawsNumbers(Stage& stage) {
  Runtime& runtime = stage.runtime();
  EXPECT_NE(runtime.Random(), runtime.Random());
  EXPECT_GT(runtime.WallNow().ns, 1'500'000'000'000'000'000);
  const MonoTime before = runtime.Now();
  co_await Yield();
  EXPECT_GE(runtime.Now(), before);
}
TEST_P(ConformanceTest, TimeAndChanceMove) { Run(DrawsNumbers); }

}  // namespace

// Each runtime instantiates the suite in its own file; one may be left out of a build.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ConformanceTest);

}  // namespace metastore::io
