// Aim: whatever lies in a log's directory, no command of walinspect crashes or hangs, and each says
// what it sees. Method: the input names a command and makes the files: a good log with changes,
// frames with correct checksums that say what the input says, or bytes that are no log at all.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/sim/sim_world.h"
#include "tools/walinspect/commands.h"
#include "wal/format.h"
#include "wal/segment.h"

namespace metastore::walinspect {
namespace {

constexpr uint64_t kStream = 77;
constexpr size_t kFileBytes = 24 * wal::kBlockBytes;
constexpr size_t kRecordBytesMax = 1000;
constexpr const char* kDirectory = "/wal";

using Command = io::Task<StatusOr<int>> (*)(io::Runtime&, const Request&);
constexpr Command kCommands[] = {List, Dump, Verify, Stats, Fsync, Export, Diff, Repair};

std::string FileName(uint64_t number) {
  return Concat(kDirectory, "/", wal::SegmentFileName(number));
}

// A log of frames whose checksums are right. What they say is plausible, but for what `input`
// changes: with none left it is a good log.
class LogMaker final {
 public:
  explicit LogMaker(std::string_view input) : input_(input) {}

  std::string NextFile(uint64_t segment) {
    std::string file(kFileBytes, '\0');
    wal::SegmentHeader header{.state = wal::SegmentState::kActive,
                              .stream = kStream,
                              .file = segment,
                              .segment_bytes = kFileBytes,
                              .recycled = Lies(),
                              .segment = wal::SegmentSeq(segment),
                              .first_live = wal::SegmentSeq(1),
                              .epoch = Epoch(1),
                              .first_lsn = Lsn(lsn_ + 1),
                              .previous_hash = previous_};
    if (Lies()) header.first_live = wal::SegmentSeq(input_.U8());
    if (Lies()) header.previous_footer_block = input_.U32();
    wal::EncodeSegmentHeader(header, file.data());
    for (uint32_t block = 1; block < kFileBytes / wal::kBlockBytes; ++block) {
      PutFrame(file.data() + block * wal::kBlockBytes, header.segment, block);
    }
    return file;
  }

 private:
  bool Lies() { return !input_.rest().empty() && input_.U8() % 4 == 3; }

  char* PutRecord(char* to) {
    wal::LoggedRecord logged{.group = GroupId(1), .sequence = ++sequence_};
    logged.record = {.term = Term(1), .index = LogIndex(++index_), .bytes = "value"};
    if (Lies()) logged.group = GroupId(input_.U8());
    if (Lies()) logged.sequence = input_.U64();
    if (Lies()) logged.record.index = LogIndex(input_.U64());
    if (Lies()) logged.record.term = Term(input_.U64());
    if (Lies()) logged.record.kind = static_cast<wal::RecordKind>(1 + input_.U8() % 8);
    if (Lies()) logged.record.bytes = input_.LengthPrefixed().substr(0, kRecordBytesMax);
    return wal::StoreRecord(to, logged);
  }

  void PutFrame(char* frame, wal::SegmentSeq segment, uint32_t block) {
    const uint32_t count = Lies() ? input_.U8() % 3 : 1;
    char* const body = frame + wal::kFrameHeaderBytes;
    char* end = body;
    for (uint32_t i = 0; i < count; ++i) end = PutRecord(end);
    wal::FrameHeader header{.epoch = Epoch(1),
                            .lsn = Lsn(++lsn_),
                            .frame_bytes = wal::kBlockBytes,
                            .body_bytes = static_cast<uint32_t>(end - body),
                            .record_count = count,
                            .requests = 1,
                            .previous_hash = previous_,
                            .durable = Lsn(lsn_ - 1),
                            .segment = segment,
                            .block = block,
                            .gather_us = 90,
                            .submit_wall = {int64_t{1'000'000} * static_cast<int64_t>(lsn_)},
                            .submit_mono = {int64_t{1'000'000} * static_cast<int64_t>(lsn_)},
                            .first_live = wal::SegmentSeq(1),
                            .trace_count = 1};
    header.traces[0] = {.lsn = Lsn(lsn_ - 1), .latency_us = 150, .blocks = 1};
    if (block + 1 == kFileBytes / wal::kBlockBytes) header.flags |= wal::kFrameSealsSegment;
    if (Lies()) ChangeHeader(header);
    wal::EncodeFrameHeader(header, kStream, frame);
    previous_ = header.hash;
  }

  void ChangeHeader(wal::FrameHeader& header) {
    header.flags = input_.U32();
    if (Lies()) header.lsn = Lsn(input_.U64());
    if (Lies()) header.epoch = Epoch(input_.U64());
    if (Lies()) header.durable = Lsn(input_.U64());
    if (Lies()) header.first_live = wal::SegmentSeq(input_.U64());
    if (Lies()) header.record_count = input_.U32();
    if (Lies()) header.requests = input_.U32();
    if (Lies()) header.gather_us = input_.U32();
    if (Lies()) header.submit_wall.ns = static_cast<int64_t>(input_.U64());
    if (Lies()) header.submit_mono.ns = static_cast<int64_t>(input_.U64());
    header.trace_count = input_.U8() % (wal::kFlushTracesMax + 1);
    for (wal::FlushTrace& trace : header.traces) {
      if (Lies()) trace = {Lsn(input_.U64()), input_.U32(), input_.U32()};
    }
  }

  Reader input_;
  uint64_t lsn_ = 0;
  uint64_t sequence_ = 0;
  uint64_t index_ = 0;
  uint64_t previous_ = 0;
};

void PutLog(sim::SimDisk& disk, std::string_view input) {
  LogMaker maker(input);
  for (uint64_t segment = 1; segment <= 2; ++segment) {
    disk.WriteRaw(FileName(segment), 0, maker.NextFile(segment));
  }
}

// Changes of a good log's bytes; a file may also end early.
void PutChangedLog(sim::SimDisk& disk, std::string_view input) {
  LogMaker maker("");
  std::string files[] = {maker.NextFile(1), maker.NextFile(2)};
  Reader reader(input);
  while (reader.ok() && !reader.rest().empty()) {
    const uint8_t what = reader.U8();
    std::string& file = files[what % 2];
    const uint64_t offset = reader.U32() % kFileBytes;
    if (what % 16 == 15) file.resize(std::min<uint64_t>(file.size(), offset));
    const std::string_view bytes = reader.LengthPrefixed();
    if (offset >= file.size()) continue;
    file.replace(offset, std::min(bytes.size(), file.size() - offset), bytes);
  }
  for (uint64_t number = 1; number <= 2; ++number) {
    if (!files[number - 1].empty()) disk.WriteRaw(FileName(number), 0, files[number - 1]);
  }
}

void PutForeignFiles(sim::SimDisk& disk, std::string_view input) {
  Reader reader(input);
  for (uint64_t number = 1; number <= 3 && !reader.rest().empty(); ++number) {
    const std::string_view bytes = reader.LengthPrefixed();
    if (!bytes.empty()) disk.WriteRaw(FileName(number), 0, bytes);
  }
}

void Look(std::string_view input) {
  Reader reader(input);
  const Command command = kCommands[reader.U8() % std::size(kCommands)];
  const uint8_t how = reader.U8();
  sim::SimWorld world(1);
  sim::SimMachine& machine = world.AddMachine("a");
  machine.disk().WriteRaw(Concat(kDirectory, "/README"), 0, "no segment");
  if (how % 4 == 0) PutForeignFiles(machine.disk(), reader.rest());
  if (how % 4 == 1) PutChangedLog(machine.disk(), reader.rest());
  if (how % 4 >= 2) PutLog(machine.disk(), reader.rest());
  std::string said;
  Request request{.directory = kDirectory,
                  .format = static_cast<DumpFormat>(how / 4 % 3),
                  .fsync = {.svg = "heat.svg", .what_if = how < 128 ? "" : "policy=adaptive"},
                  .export_format = how < 128 ? "chrome-trace" : "prometheus",
                  .other_directory = kDirectory};
  request.print = [&said](std::string_view text) { said += text; };
  request.write_file = [](const std::string&, std::string_view) { return OkStatus(); };
  io::Runtime& runtime = *machine.StartProcess()[0];
  const StatusOr<int> code = world.Await(runtime, command(runtime, request));
  CHECK(code.ok() ? *code >= kExitClean && *code <= kExitSlow : !code.status().message().empty());
  const bool good = how % 4 != 0 && reader.rest().empty();
  CHECK(!good || (code.ok() && *code == kExitClean));
  CHECK(!code.ok() || !said.empty() || command == Dump || command == Export);
  machine.EndProcess();
}

}  // namespace
}  // namespace metastore::walinspect

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  metastore::walinspect::Look({reinterpret_cast<const char*>(data), size});
  return 0;
}
