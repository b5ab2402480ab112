// Aim: whatever happens to the bytes of a log's files, opening it neither crashes nor lies: it
// fails, or gives a prefix of what was appended, and it never cuts off what a later frame promises.
// Method: a small log on a simulated disk, made once; the input is a list of changes to its bytes.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/sim/sim_world.h"
#include "wal/log.h"

namespace {

namespace io = metastore::io;
namespace sim = metastore::sim;
namespace wal = metastore::wal;
using metastore::GroupId;
using metastore::LogIndex;
using metastore::Status;
using metastore::StatusOr;
using metastore::Term;

constexpr uint64_t kEntries = 30;
constexpr GroupId kGroup{1};

wal::LogOptions Options() {
  wal::LogOptions options;
  options.directory = "/wal";
  options.cluster = metastore::ClusterId(1);
  options.member = metastore::NodeId(2);
  options.segment_bytes = 256 << 10;
  options.frame_bytes_max = 64 << 10;
  options.prepared_target = 2;
  options.verify_sealed = true;
  return options;
}

std::string EntryBytes(uint64_t index) {
  return std::string(index * 419 % 9000, static_cast<char>('a' + index % 26));
}

struct WaitingOp : wal::AppendOp {
  bool done = false;
};

// The log of kEntries entries, closed, so that all of them are promised.
sim::SimImage MakeImage() {
  sim::SimWorld world(1);
  sim::SimMachine& machine = world.AddMachine("a");
  io::Runtime& runtime = *machine.StartProcess()[0];
  StatusOr<std::unique_ptr<wal::Log>> log =
      world.Await(runtime, wal::Log::Open(runtime, Options()));
  CHECK(log.ok());
  for (uint64_t i = 1; i <= kEntries; ++i) {
    CHECK(world.RunUntil([&] { return (*log)->accepting(); }, metastore::Seconds(10)));
    const std::string bytes = EntryBytes(i);
    const wal::Record record{.term = Term(1), .index = LogIndex(i), .bytes = bytes};
    WaitingOp op;
    op.run = [](io::ReadyNode& node) { static_cast<WaitingOp&>(node).done = true; };
    CHECK((*log)->Append(kGroup, {&record, 1}, op).ok());
    CHECK(world.RunUntil([&] { return op.done; }, metastore::Seconds(10)));
  }
  CHECK(world.Await(runtime, (*log)->Close()).ok());
  log->reset();
  sim::SimImage image = machine.disk().Clone();
  machine.EndProcess();
  return image;
}

// Changes as the input says; false if it says nothing that can be done.
bool ChangeBytes(sim::SimDisk& disk, std::string_view input) {
  const std::vector<std::string> paths = disk.ListFiles();
  metastore::Reader reader(input);
  bool changed = false;
  while (reader.ok() && !reader.rest().empty()) {
    const std::string& path = paths[reader.U8() % paths.size()];
    const uint64_t offset = reader.U32() % disk.FileSize(path);
    const std::string_view bytes = reader.LengthPrefixed();
    if (!reader.ok() || bytes.empty() || offset + bytes.size() > disk.FileSize(path)) continue;
    changed = changed || disk.ReadCached(path, offset, bytes.size()) != bytes;
    disk.WriteRaw(path, offset, bytes);
  }
  return changed;
}

void CheckContents(sim::SimWorld& world, io::Runtime& runtime, wal::Log& log) {
  // Only the last frame, which promises the others, is itself unpromised: no entry may be gone.
  CHECK_EQ(log.LastIndex(kGroup), LogIndex(kEntries));
  const LogIndex end(kEntries + 1);
  StatusOr<std::vector<wal::ReadRecord>> entries =
      world.Await(runtime, log.ReadEntries(kGroup, LogIndex(1), end, 1 << 20));
  CHECK(entries.ok());
  for (const wal::ReadRecord& entry : *entries) {
    CHECK(entry.bytes == EntryBytes(entry.index.value()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const sim::SimImage image = MakeImage();
  sim::SimWorld world(2);
  sim::SimMachine& machine = world.AddMachine("a");
  machine.disk().Restore(image.Clone());
  const bool changed = ChangeBytes(machine.disk(), {reinterpret_cast<const char*>(data), size});
  io::Runtime& runtime = *machine.StartProcess()[0];
  {
    StatusOr<std::unique_ptr<wal::Log>> log =
        world.Await(runtime, wal::Log::Open(runtime, Options()));
    CHECK(changed || log.ok());
    if (log.ok()) {
      CheckContents(world, runtime, **log);
      CHECK(world.Await(runtime, (*log)->Close()).ok());
    }
  }
  machine.EndProcess();
  return 0;
}
