// What the tests of wal/ share: a simulated machine with a small log on it, ops that note their
// completion, and a model of what a log must hold after any prefix of what was appended.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/gate.h"
#include "io/sim/sim_world.h"
#include "wal/format.h"
#include "wal/log.h"

namespace metastore::wal {

inline constexpr GroupId kGroup{1};

struct TestOp : AppendOp {
  explicit TestOp(std::vector<int>* completed = nullptr, int number = 0)
      : order(completed), id(number) {
    name = "test.op";
    ready_class = io::ReadyClass::kClient;
    run = [](io::ReadyNode& node) {
      auto& op = static_cast<TestOp&>(node);
      op.done = true;
      if (op.order != nullptr) op.order->push_back(op.id);
    };
  }
  bool done = false;
  std::vector<int>* order;
  int id;
};

// Owns the bytes that a Record views.
struct OwnedRecord {
  RecordKind kind = RecordKind::kEntry;
  Term term;
  LogIndex index;
  std::string bytes;

  Record view() const {
    return {.kind = kind, .tag = 0, .term = term, .index = index, .bytes = bytes};
  }
};

inline OwnedRecord Entry(uint64_t index, uint64_t term, std::string bytes) {
  return {RecordKind::kEntry, Term(term), LogIndex(index), std::move(bytes)};
}
inline OwnedRecord HardState(std::string bytes) {
  return {RecordKind::kHardState, Term(), LogIndex(), std::move(bytes)};
}

// One group's content by the definition of the record kinds, without any of the log's own
// machinery.
struct GroupModel {
  std::string hard_state;
  std::string snapshot_meta;
  EntryRef purged;
  std::map<LogIndex, std::pair<Term, std::string>> entries;

  LogIndex last() const { return entries.empty() ? purged.index : entries.rbegin()->first; }
  void Apply(const OwnedRecord& record);
  bool operator==(const GroupModel&) const = default;
};
using LogModel = std::map<GroupId, GroupModel>;

struct FixtureOptions {
  uint64_t seed = 1;
  uint32_t depth = 1;
};

// A machine with one process and a log.
class WalMachine final {
 public:
  explicit WalMachine(FixtureOptions options = {});
  ~WalMachine();

  LogOptions& options() { return options_; }
  sim::SimWorld& world() { return world_; }
  sim::SimDisk& disk() { return machine_.disk(); }
  io::Runtime& runtime() { return *runtime_; }
  sim::SimMachine& machine() { return machine_; }
  Log& log() { return *log_; }
  bool open() const { return log_ != nullptr; }

  Status Open();
  // Open, expected to succeed.
  void MustOpen();
  Status Close();
  // For runs in which the disk's hook may stop the machine: false, and Bury done, if it did. An
  // Open that fails puts its status into `refused`, and is false too; without one it is CHECKed.
  bool TryOpen(Status* refused = nullptr);
  bool TryClose();
  // Close and Open.
  void Reopen();
  // The power goes, or went; a new process is there, without a log.
  void Reboot(bool power_loss = true);
  // After a crash that the disk's hook made: takes the dead process away and starts another.
  void Bury();

  // Submits an append of `records`; the op runs when durable.
  Status Submit(GroupId group, const std::vector<OwnedRecord>& records, TestOp& op);
  // Appends and waits.
  Status Append(GroupId group, const std::vector<OwnedRecord>& records);
  void MustAppend(GroupId group, const std::vector<OwnedRecord>& records);
  // Entries first..last of `term`, `bytes` each, one append each.
  void MustAppendRange(GroupId group, uint64_t first, uint64_t last, size_t bytes,
                       uint64_t term = 1);
  void MustPurge(GroupId group, uint64_t through);
  bool WaitFor(const std::function<bool()>& done);
  // Called after each event while WaitFor waits, and hence TryOpen and TryClose; null: not.
  void OnEvent(std::function<void()> on_event) { on_event_ = std::move(on_event); }

  StatusOr<std::vector<ReadRecord>> Read(GroupId group, uint64_t begin, uint64_t end,
                                         size_t bytes_max = 1 << 20);
  // Everything the log holds, read back.
  StatusOr<LogModel> Contents();

  // Paths of the log's files, by their headers' segment; without free ones.
  std::vector<std::string> LivePaths();

 private:
  sim::SimWorld world_;
  sim::SimMachine& machine_;
  io::Runtime* runtime_ = nullptr;
  LogOptions options_;
  std::unique_ptr<Log> log_;
  std::function<void()> on_event_;
};

struct PlacedFrame {
  std::string path;
  FrameHeader header;
  uint64_t offset() const { return uint64_t{header.block} * kBlockBytes; }
  uint64_t end() const { return offset() + header.frame_bytes; }
};
// Every intact frame header of the live segments, in order.
std::vector<PlacedFrame> Frames(WalMachine& machine);

}  // namespace metastore::wal
