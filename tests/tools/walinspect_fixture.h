// What the tests of walinspect share: a simulated machine whose log is written by wal/ itself on a
// disk that is slow exactly when a test says so, and commands run against it.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "tests/wal/wal_fixture.h"
#include "tools/walinspect/commands.h"
#include "tools/walinspect/scan_run.h"

namespace metastore::walinspect {

// An intact frame and where it lies.
struct PlacedFrame {
  std::string path;
  uint64_t offset = 0;
  wal::FrameHeader header;
};

class FrameCollector final : public wal::LogVisitor {
 public:
  Status OnSegment(const wal::ScannedFile&) override { return OkStatus(); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    frames.push_back({file.path, frame.offset, frame.header});
    return OkStatus();
  }
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }
  std::vector<PlacedFrame> frames;
};

class InspectedMachine final {
 public:
  explicit InspectedMachine(wal::FixtureOptions options = {}) : machine(options) {
    machine.MustOpen();
  }

  using Command = io::Task<StatusOr<int>> (*)(io::Runtime&, const Request&);
  // Runs `command` on the log; its output is in `output`. `request` gets directory and output.
  StatusOr<int> Run(Command command, Request request = {}) {
    output.clear();
    if (request.directory.empty()) request.directory = machine.options().directory;
    request.print = [this](std::string_view text) { output += text; };
    request.write_file = [this](const std::string& path, std::string_view bytes) {
      files[path] = bytes;
      return OkStatus();
    };
    return machine.world().Await(machine.runtime(), command(machine.runtime(), request));
  }
  // The same as JSON.
  StatusOr<int> RunJson(Command command, Request request = {}) {
    request.format = DumpFormat::kJson;
    return Run(command, std::move(request));
  }
  bool Has(std::string_view text) const { return output.find(text) != std::string::npos; }

  // From now on every durable write of the log for which `slow` is true takes `by` more.
  void DelayWrites(std::function<bool(MonoTime)> slow, Duration by) {
    machine.disk().options().spike_min = by;
    machine.disk().options().spike_max = by;
    machine.disk().OnIo([this, slow = std::move(slow)](const sim::SimIo& io) {
      const bool hit = io.op == sim::SimDiskOp::kDurableWrite && slow(machine.world().Now());
      return sim::SimIoVerdict{.fault = hit ? sim::SimFault::kSpike : sim::SimFault::kNone};
    });
  }

  // Appends `count` entries of `bytes` one by one, `gap` apart; indexes go on.
  void Write(uint64_t count, Duration gap, size_t bytes = 200) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t next = machine.log().LastIndex(wal::kGroup).value() + 1;
      machine.MustAppendRange(wal::kGroup, next, next, bytes);
      machine.world().RunFor(gap);
    }
  }

  std::vector<PlacedFrame> Frames() {
    FrameCollector collector;
    wal::LogScan scan(machine.runtime(), {.directory = machine.options().directory});
    const Status scanned =
        machine.world().Await(machine.runtime(), RunScan(scan, collector, Request()));
    EXPECT_TRUE(scanned.ok()) << scanned.message();
    return collector.frames;
  }
  // One bit of the frame's body flips.
  void Damage(const PlacedFrame& frame) {
    machine.disk().FlipBit(frame.path, frame.offset + wal::kFrameHeaderBytes, 3);
  }
  // Every file below `directory`, by name.
  std::map<std::string, std::string> Bytes(const std::string& directory) {
    std::map<std::string, std::string> bytes;
    for (const std::string& path : machine.disk().ListFiles()) {
      if (!path.starts_with(directory + "/")) continue;
      const uint64_t size = machine.disk().FileSize(path);
      bytes[path.substr(directory.size() + 1)] = machine.disk().ReadCached(path, 0, size);
    }
    return bytes;
  }

  wal::WalMachine machine;
  std::string output;
  std::map<std::string, std::string> files;
};

}  // namespace metastore::walinspect
