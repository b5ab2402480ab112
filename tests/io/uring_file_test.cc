// Aim: real files through the ring: every method of durable writing, registered and plain buffers,
// short writes, the errors of io/file.h, directories and their lock. Method: files on the disk
// below the working directory; RLIMIT_FSIZE makes writes short and then fail as a full disk would.
// Power loss is the simulator's matter.
#include <signal.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include <cstring>
#include <filesystem>

#include "tests/io/uring_fixture.h"

namespace metastore::io::uring {
namespace {

constexpr DurableMethod kMethods[] = {DurableMethod::kDsync, DurableMethod::kFdatasync,
                                      DurableMethod::kLinked};

void Fill(IoBuffer& buffer, char c) { std::memset(buffer.data(), c, buffer.size()); }
std::span<char> All(IoBuffer& buffer) { return {buffer.data(), buffer.size()}; }

// A durable write that also names the registered buffer.
struct DurableAwaiter : FileAwaiter {
  DurableAwaiter(File& file, uint64_t offset, IoBuffer& buffer, DurableMethod method, int index)
      : FileAwaiter(file, FileOpKind::kDurableWrite) {
    op().offset = offset;
    op().data = buffer.data();
    op().size = buffer.size();
    op().method = method;
    op().registered_index = index;
  }
};

Task<void> ReadPastTheEnd(Stage& stage) {
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  const std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  IoBuffer out = stage.runtime.AllocateBuffer(4 * kBlock);
  Fill(out, 'x');
  const StatusOr<size_t> wrote = co_await file->Write(kBlock, All(out), out.registered_index());
  EXPECT_EQ(wrote.value(), 4 * kBlock);
  EXPECT_EQ(file->size(), 5 * kBlock);
  EXPECT_EQ(file->path(), stage.directory + "/f");
  IoBuffer in = stage.runtime.AllocateBuffer(8 * kBlock);
  const StatusOr<size_t> got = co_await file->Read(0, All(in), in.registered_index());
  EXPECT_EQ(got.value(), 5 * kBlock);
  EXPECT_EQ(in.view().substr(0, kBlock), std::string(kBlock, '\0'));
  EXPECT_EQ(in.view().substr(kBlock, 4 * kBlock), std::string(4 * kBlock, 'x'));
  const StatusOr<size_t> beyond = co_await file->Read(64 * kBlock, All(in));
  EXPECT_EQ(beyond.value(), 0u);
}

TEST(UringFileTest, ReadsEndWithTheFile) { RunOn(SmallOptions(), ReadPastTheEnd); }

Task<void> WriteByEveryMethod(Stage& stage) {
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  const std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  IoBuffer out = stage.runtime.AllocateBuffer(2 * kBlock);
  IoBuffer in = stage.runtime.AllocateBuffer(2 * kBlock);
  char fill = 'a';
  for (const int round : {0, 1}) {
    for (const DurableMethod method : kMethods) {
      Fill(out, ++fill);
      const uint64_t offset = static_cast<uint64_t>(fill) * 2 * kBlock;
      const int index = round == 0 ? -1 : out.registered_index();
      DurableAwaiter awaiter(*file, offset, out, method, index);
      const StatusOr<size_t> wrote = co_await awaiter;
      EXPECT_EQ(wrote.value_or(0), 2 * kBlock) << wrote.status().ToString();
      const StatusOr<size_t> got = co_await file->Read(offset, All(in));
      EXPECT_EQ(got.value(), 2 * kBlock);
      EXPECT_EQ(in.view(), out.view());
    }
  }
}

Task<void> WriteOnce(File& file, IoBuffer& out) {
  const StatusOr<size_t> wrote = co_await file.DurableWrite(0, All(out), DurableMethod::kDsync);
  EXPECT_EQ(wrote.value_or(0), kBlock);
}

// What follows in its turn may be a millisecond of requests.
Task<void> StartADurableWrite(Stage& stage) {
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  const std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  IoBuffer out = stage.runtime.AllocateBuffer(kBlock);
  Fill(out, 'x');
  Gate gate(stage.runtime.scheduler());
  const uint64_t enters = stage.host.stats(0).enters;
  gate.Start("write", ReadyClass::kClient, WriteOnce(*file, out));
  EXPECT_EQ(stage.host.stats(0).enters, enters + 1);
  EXPECT_EQ(gate.running(), 1u);
  co_await gate.Close();
}

TEST(UringFileTest, TheKernelHasADurableWriteBeforeTheTurnEnds) {
  RunOn(SmallOptions(), StartADurableWrite);
}

TEST(UringFileTest, EveryMethodWritesWithRegisteredAndPlainBuffers) {
  RunOn(SmallOptions(), WriteByEveryMethod);
}

TEST(UringFileTest, EveryMethodWritesWithoutAnArena) {
  UringOptions options = SmallOptions();
  options.arena_bytes = 0;
  options.spin = true;
  RunOn(std::move(options), WriteByEveryMethod);
}

Task<void> AllocateAndTruncate(Stage& stage) {
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  const StatusOr<size_t> allocated = co_await file->Allocate(1 * limits::kMiB);
  EXPECT_TRUE(allocated.ok()) << allocated.status().ToString();
  EXPECT_EQ(file->size(), 1 * limits::kMiB);
  IoBuffer in = stage.runtime.AllocateBuffer(kBlock);
  Fill(in, 'x');
  const StatusOr<size_t> got = co_await file->Read(512 * 1024, All(in));
  EXPECT_EQ(got.value(), kBlock);
  EXPECT_EQ(in.view(), std::string(kBlock, '\0'));
  const StatusOr<size_t> cut = co_await file->Truncate(3 * kBlock);
  EXPECT_TRUE(cut.ok()) << cut.status().ToString();
  EXPECT_EQ(file->size(), 3 * kBlock);
  const StatusOr<size_t> synced = co_await file->Sync();
  EXPECT_TRUE(synced.ok()) << synced.status().ToString();
  EXPECT_EQ(synced.value(), 0u);
  file.reset();
  StatusOr<std::unique_ptr<File>> again =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kRead);
  file = ValueOrDie(std::move(again));
  EXPECT_EQ(file->size(), 3 * kBlock);
}

TEST(UringFileTest, AllocationAndTruncationSetTheSize) {
  RunOn(SmallOptions(), AllocateAndTruncate);
}

// Makes writes past `bytes` of a file fail with EFBIG, and those across it short.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit low = {.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_ = {};
};

Task<void> WriteShort(Stage& stage) {
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  const std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  IoBuffer out = stage.runtime.AllocateBuffer(4 * kBlock);
  Fill(out, 'x');
  const FileSizeLimit limit(2 * kBlock);
  for (const DurableMethod method : kMethods) {
    const StatusOr<size_t> wrote = co_await file->DurableWrite(0, All(out), method);
    EXPECT_EQ(wrote.status().code(), StatusCode::kInternal) << wrote.status().ToString();
    EXPECT_NE(wrote.status().message().find("short, only 8192 bytes"), absl::string_view::npos)
        << wrote.status().ToString();
    const StatusOr<size_t> none = co_await file->DurableWrite(2 * kBlock, All(out), method);
    EXPECT_EQ(none.status().code(), StatusCode::kResourceExhausted) << none.status().ToString();
  }
  // A plain write goes on where it stopped, and so meets the cause.
  const StatusOr<size_t> wrote = co_await file->Write(0, All(out));
  EXPECT_EQ(wrote.status().code(), StatusCode::kResourceExhausted) << wrote.status().ToString();
  const std::string text(wrote.status().message());
  EXPECT_NE(text.find(file->path()), std::string::npos) << text;
  EXPECT_NE(text.find("write of 16384 bytes at 0"), std::string::npos) << text;
  EXPECT_NE(text.find("EFBIG"), std::string::npos) << text;
}

TEST(UringFileTest, ShortDurableWriteIsAnErrorByEveryMethod) { RunOn(SmallOptions(), WriteShort); }

Task<void> OpenErrors(Stage& stage) {
  const std::string path = stage.directory + "/f";
  const StatusOr<std::unique_ptr<File>> missing =
      co_await stage.runtime.OpenFile(path, OpenMode::kReadWrite);
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound) << missing.status().ToString();
  StatusOr<std::unique_ptr<File>> created =
      co_await stage.runtime.OpenFile(path, OpenMode::kCreate);
  EXPECT_TRUE(created.ok());
  const StatusOr<std::unique_ptr<File>> twice =
      co_await stage.runtime.OpenFile(path, OpenMode::kCreate);
  EXPECT_EQ(twice.status().code(), StatusCode::kAlreadyExists) << twice.status().ToString();
  StatusOr<std::unique_ptr<File>> reader = co_await stage.runtime.OpenFile(path, OpenMode::kRead);
  EXPECT_TRUE(reader.ok());
  IoBuffer out = stage.runtime.AllocateBuffer(kBlock);
  const StatusOr<size_t> wrote = co_await (*reader)->Write(0, All(out));
  EXPECT_EQ(wrote.status().code(), StatusCode::kInternal);
  EXPECT_NE(wrote.status().message().find("EBADF"), absl::string_view::npos);
  const StatusOr<std::unique_ptr<File>> directory =
      co_await stage.runtime.OpenFile(stage.directory, OpenMode::kRead);
  EXPECT_FALSE(directory.ok());
}

TEST(UringFileTest, OpenErrorsSayWhatIsWrong) { RunOn(SmallOptions(), OpenErrors); }

Task<void> OpenInMemory(Stage& stage) {
  const std::string path = Concat("/dev/shm/uring_test.", getpid());
  const StatusOr<std::unique_ptr<File>> file =
      co_await stage.runtime.OpenFile(path, OpenMode::kCreate);
  EXPECT_EQ(file.status().code(), StatusCode::kFailedPrecondition) << file.status().ToString();
  EXPECT_NE(file.status().message().find(path), absl::string_view::npos);
  EXPECT_NE(file.status().message().find("tmpfs"), absl::string_view::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
  const StatusOr<FileSystemFacts> facts = co_await stage.runtime.FactsOf("/dev/shm");
  EXPECT_EQ(facts->direct_block, 0u);
}

TEST(UringFileTest, FileSystemWithoutDirectIoIsRefusedByName) {
  struct statfs facts = {};
  if (statfs("/dev/shm", &facts) != 0 || facts.f_type != 0x01021994) {
    GTEST_SKIP() << "/dev/shm is no tmpfs here";
  }
  RunOn(SmallOptions(), OpenInMemory);
}

Task<void> UseDirectories(Stage& stage) {
  Runtime& runtime = stage.runtime;
  const std::string deep = stage.directory + "/a/b/c";
  const Status made = co_await runtime.MakeDirectories(deep + "/");
  EXPECT_TRUE(made.ok()) << made.ToString();
  const Status again = co_await runtime.MakeDirectories(deep);
  EXPECT_TRUE(again.ok()) << again.ToString();
  for (const char* name : {"/z", "/m", "/f"}) {
    StatusOr<std::unique_ptr<File>> file =
        co_await runtime.OpenFile(deep + name, OpenMode::kCreate);
    EXPECT_TRUE(file.ok());
  }
  const Status synced = co_await runtime.SyncDirectory(deep);
  EXPECT_TRUE(synced.ok()) << synced.ToString();
  const Status removed = co_await runtime.RemoveFile(deep + "/m");
  EXPECT_TRUE(removed.ok()) << removed.ToString();
  const StatusOr<std::vector<DirectoryEntry>> listed = co_await runtime.ListDirectory(deep);
  EXPECT_EQ(listed->size(), 2u);
  EXPECT_EQ(listed->front().name, "f");
  EXPECT_EQ(listed->back().name, "z");
  const StatusOr<std::vector<DirectoryEntry>> parent =
      co_await runtime.ListDirectory(stage.directory + "/a");
  EXPECT_EQ(parent->size(), 1u);
  EXPECT_TRUE(parent->front().is_directory);
  const StatusOr<FileSystemFacts> facts = co_await runtime.FactsOf(deep);
  EXPECT_TRUE(facts.ok()) << facts.status().ToString();
  EXPECT_GT(facts->total_bytes, 0u);
  EXPECT_GT(facts->direct_block, 0u);
  EXPECT_LE(facts->direct_block, kBlock);
}

// Large files are freed in steps, which another name must not see.
Task<void> RemoveLinked(Stage& stage) {
  Runtime& runtime = stage.runtime;
  const std::string path = stage.directory + "/f";
  const std::string other = stage.directory + "/other";
  StatusOr<std::unique_ptr<File>> file = co_await runtime.OpenFile(path, OpenMode::kCreate);
  EXPECT_TRUE(file.ok());
  if (!file.ok()) co_return;
  const StatusOr<size_t> allocated = co_await (*file)->Allocate(16 * limits::kMiB);
  EXPECT_TRUE(allocated.ok());
  if (!allocated.ok()) co_return;
  file->reset();
  EXPECT_EQ(link(path.c_str(), other.c_str()), 0);
  Status removed = co_await runtime.RemoveFile(path);
  EXPECT_TRUE(removed.ok());
  EXPECT_EQ(std::filesystem::file_size(other), 16 * limits::kMiB);
  removed = co_await runtime.RemoveFile(other);
  EXPECT_TRUE(removed.ok());
  EXPECT_FALSE(std::filesystem::exists(other));
}

TEST(UringFileTest, RemovalLeavesAFileThatHasAnotherName) { RunOn(SmallOptions(), RemoveLinked); }

TEST(UringDirectoryTest, MadeListedSyncedRemoved) { RunOn(SmallOptions(), UseDirectories); }

Task<void> DirectoryErrors(Stage& stage) {
  Runtime& runtime = stage.runtime;
  const std::string none = stage.directory + "/none";
  const Status removed = co_await runtime.RemoveFile(none);
  EXPECT_EQ(removed.code(), StatusCode::kNotFound);
  const Status synced = co_await runtime.SyncDirectory(none);
  EXPECT_EQ(synced.code(), StatusCode::kNotFound);
  const StatusOr<std::vector<DirectoryEntry>> listed = co_await runtime.ListDirectory(none);
  EXPECT_EQ(listed.status().code(), StatusCode::kNotFound);
  const StatusOr<FileSystemFacts> facts = co_await runtime.FactsOf(none);
  EXPECT_EQ(facts.status().code(), StatusCode::kNotFound);
  StatusOr<std::unique_ptr<File>> file = co_await runtime.OpenFile(none, OpenMode::kCreate);
  EXPECT_TRUE(file.ok());
  const Status over = co_await runtime.MakeDirectories(none);
  EXPECT_EQ(over.code(), StatusCode::kAlreadyExists) << over.ToString();
  const Status below = co_await runtime.MakeDirectories(none + "/x");
  EXPECT_EQ(below.code(), StatusCode::kNotFound) << below.ToString();
  const StatusOr<std::unique_ptr<DirectoryLock>> lock =
      co_await runtime.LockDirectory(stage.directory + "/nowhere");
  EXPECT_EQ(lock.status().code(), StatusCode::kNotFound);
}

TEST(UringDirectoryTest, ErrorsSayWhatIsWrong) { RunOn(SmallOptions(), DirectoryErrors); }

Task<void> ReleaseAfter(Runtime& runtime, std::unique_ptr<DirectoryLock> lock, Duration span) {
  co_await SleepUntil(runtime, runtime.Now() + span);
  lock.reset();
}

Task<void> LockTwice(Stage& stage) {
  Runtime& runtime = stage.runtime;
  StatusOr<std::unique_ptr<DirectoryLock>> first = co_await runtime.LockDirectory(stage.directory);
  EXPECT_TRUE(first.ok()) << first.status().ToString();
  const MonoTime start = runtime.Now();
  const StatusOr<std::unique_ptr<DirectoryLock>> second =
      co_await runtime.LockDirectory(stage.directory);
  EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists);
  EXPECT_GE(runtime.Now() - start, Milliseconds(200));  // it tried for a while
  Gate gate(runtime.scheduler());
  gate.Spawn("release", ReadyClass::kClient,
             ReleaseAfter(runtime, std::move(*first), Milliseconds(60)));
  const StatusOr<std::unique_ptr<DirectoryLock>> third =
      co_await runtime.LockDirectory(stage.directory);
  EXPECT_TRUE(third.ok()) << third.status().ToString();
  co_await gate.Close();
}

TEST(UringDirectoryTest, LockKeepsOthersOffUntilItsRelease) { RunOn(SmallOptions(), LockTwice); }

// A caller-owned operation, as the log uses them: many at once, in one allocation.
struct CountedOp : FileOp {
  int* left = nullptr;
  UringHost* host = nullptr;
};

Task<void> SubmitMany(Stage& stage) {
  constexpr size_t kOps = 600;
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  const std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  IoBuffer out = stage.runtime.AllocateBuffer(kBlock);
  Fill(out, 'q');
  std::vector<CountedOp> ops(kOps);
  int left = kOps;
  for (size_t i = 0; i < kOps; ++i) {
    ops[i].kind = FileOpKind::kWrite;
    ops[i].offset = i * kBlock;
    ops[i].data = out.data();
    ops[i].size = out.size();
    ops[i].registered_index = out.registered_index();
    ops[i].left = &left;
    ops[i].run = [](ReadyNode& self) { --*static_cast<CountedOp&>(self).left; };
    file->Submit(ops[i]);
    EXPECT_EQ(left, static_cast<int>(kOps));  // never inside Submit
  }
  while (left > 0) {
    co_await Yield();
  }
  for (const CountedOp& op : ops) EXPECT_TRUE(op.status.ok()) << op.status.ToString();
  EXPECT_EQ(file->size(), kOps * kBlock);
}

TEST(UringFileTest, MoreOperationsThanTheRingHoldsAllComplete) {
  UringOptions options = SmallOptions();
  options.sq_entries = 16;
  options.cq_entries = 1024;
  RunOn(std::move(options), SubmitMany);
}

Task<void> SubmitWhenStopping(Stage& stage) {
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  const std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  stage.host.RequestExit(0);
  co_await stage.runtime.Offload("turn", [] {});  // ends in a later turn, which sees the stop
  IoBuffer out = stage.runtime.AllocateBuffer(kBlock);
  Fill(out, 'x');
  const StatusOr<size_t> wrote = co_await file->Write(0, All(out));
  EXPECT_EQ(wrote.status().code(), StatusCode::kCancelled);
  const StatusOr<std::unique_ptr<File>> another =
      co_await stage.runtime.OpenFile(stage.directory + "/g", OpenMode::kCreate);
  EXPECT_EQ(another.status().code(), StatusCode::kCancelled);
  const StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen({"127.0.0.1", 0});
  EXPECT_EQ(listener.status().code(), StatusCode::kCancelled);
}

TEST(UringFileTest, NothingStartsOnceTheRuntimeStops) { RunOn(SmallOptions(), SubmitWhenStopping); }

}  // namespace
}  // namespace metastore::io::uring
