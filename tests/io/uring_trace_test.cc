// Aim: the trace of a host has every operation that changes its disk, its begin before its end, in
// the order in which they were asked for and known; reads are not in it, and nothing is written
// without one. Method: operations on real files, then the trace read back.
#include <cstring>
#include <fstream>
#include <iterator>

#include "io/io_trace.h"
#include "tests/io/uring_fixture.h"

namespace metastore::io::uring {
namespace {

std::string FileBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The records as text: "+open f" begins, "-1 OK" ends operation 1.
std::string Text(const std::string& trace) {
  static constexpr const char* kNames[] = {"none",   "open",     "write",    "durable-write",
                                           "sync",   "allocate", "truncate", "remove",
                                           "mkdirs", "syncdir"};
  IoTraceReader reader(trace);
  TraceRecord record;
  std::string text;
  while (reader.Next(record)) {
    if (record.kind == TraceKind::kBegin) {
      text += Concat("+", kNames[static_cast<size_t>(record.op)], " ",
                     record.name.substr(record.name.rfind('/') + 1));
      if (record.size > 0) text += Concat(record.file, "@", record.offset, "+", record.size);
      if (!record.data.empty()) text += Concat(" ", record.data.substr(0, 1));
    } else {
      text += Concat("-", record.operation, " ", absl::StatusCodeToString(record.code));
    }
    text += "\n";
  }
  EXPECT_TRUE(reader.status().ok()) << reader.status();
  EXPECT_FALSE(reader.cut_off());
  return text;
}

Task<void> ChangeTheDisk(Stage& stage) {
  Runtime& runtime = stage.runtime;
  const std::string directory = stage.directory + "/sub";
  const Status made = co_await runtime.MakeDirectories(directory);
  EXPECT_TRUE(made.ok());
  StatusOr<std::unique_ptr<File>> opened =
      co_await runtime.OpenFile(directory + "/f", OpenMode::kCreate);
  std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  const Status synced = co_await runtime.SyncDirectory(directory);
  EXPECT_TRUE(synced.ok());
  IoBuffer block = runtime.AllocateBuffer(kBlock);
  const std::span<char> bytes(block.data(), block.size());
  std::memset(block.data(), 0, block.size());
  const StatusOr<size_t> allocated = co_await file->Allocate(4 * kBlock);
  EXPECT_TRUE(allocated.ok());
  const StatusOr<size_t> zeros = co_await file->Write(0, bytes);
  EXPECT_TRUE(zeros.ok());
  const StatusOr<size_t> flushed = co_await file->Sync();
  EXPECT_TRUE(flushed.ok());
  std::memset(block.data(), 'x', block.size());
  for (const DurableMethod method :
       {DurableMethod::kDsync, DurableMethod::kFdatasync, DurableMethod::kLinked}) {
    const StatusOr<size_t> wrote = co_await file->DurableWrite(kBlock, bytes, method);
    EXPECT_TRUE(wrote.ok());
  }
  const StatusOr<size_t> read = co_await file->Read(kBlock, bytes);
  EXPECT_TRUE(read.ok());
  const StatusOr<size_t> shorter = co_await file->Truncate(kBlock);
  EXPECT_TRUE(shorter.ok());
  file.reset();
  const StatusOr<std::unique_ptr<File>> again =
      co_await runtime.OpenFile(directory + "/f", OpenMode::kCreate);
  EXPECT_FALSE(again.ok());
  const Status removed = co_await runtime.RemoveFile(directory + "/f");
  EXPECT_TRUE(removed.ok());
}

TEST(UringTraceTest, EveryChangeOfTheDiskIsThereAndNoRead) {
  const TestDirectory traces;
  UringOptions options = SmallOptions();
  options.trace_path = traces.path() + ".trace";
  const std::string path = options.trace_path;
  std::filesystem::remove(path);
  RunOn(std::move(options), ChangeTheDisk);
  EXPECT_EQ(Text(FileBytes(path)),
            "+mkdirs sub\n-1 OK\n"
            "+open f\n-2 OK\n"
            "+syncdir sub\n-3 OK\n"
            "+allocate 2@0+16384\n-4 OK\n"
            "+write 2@0+4096\n-5 OK\n"
            "+sync \n-6 OK\n"
            "+durable-write 2@4096+4096 x\n-7 OK\n"
            "+durable-write 2@4096+4096 x\n-8 OK\n"
            "+durable-write 2@4096+4096 x\n-9 OK\n"
            "+truncate 2@0+4096\n-10 OK\n"
            "+open f\n-11 ALREADY_EXISTS\n"
            "+remove f\n-12 OK\n");
  std::filesystem::remove(path);
}

TEST(UringTraceTest, AFileThatIsThereIsRefused) {
  const TestDirectory directory;
  UringOptions options = SmallOptions();
  options.trace_path = directory.path() + "/trace";
  std::ofstream(options.trace_path) << "mine";
  const auto host = UringHost::Create(options);
  EXPECT_TRUE(absl::IsAlreadyExists(host.status())) << host.status();
  EXPECT_EQ(FileBytes(options.trace_path), "mine");
}

}  // namespace
}  // namespace metastore::io::uring
