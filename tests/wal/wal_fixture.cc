#include "tests/wal/wal_fixture.h"

#include <algorithm>

namespace metastore::wal {
namespace {

io::Task<void> CloseInto(Log& log, Status& status) { status = co_await log.Close(); }

io::Task<void> OpenInto(io::Runtime& runtime, LogOptions options,
                        StatusOr<std::unique_ptr<Log>>& log, bool& done) {
  log = co_await Log::Open(runtime, std::move(options));
  done = true;
}

io::Task<void> WaitForOp(TestOp& op, io::Runtime& runtime) {
  while (!op.done) {
    co_await io::SleepUntil(runtime, runtime.Now() + Microseconds(20));
  }
}

}  // namespace

void GroupModel::Apply(const OwnedRecord& record) {
  switch (record.kind) {
    case RecordKind::kEntry:
      entries.erase(entries.lower_bound(record.index), entries.end());
      entries[record.index] = {record.term, record.bytes};
      break;
    case RecordKind::kRewrite:
    case RecordKind::kHealed:
      entries[record.index] = {record.term, record.bytes};
      break;
    case RecordKind::kHardState:
      hard_state = record.bytes;
      break;
    case RecordKind::kSnapshotMeta:
      entries.clear();
      snapshot_meta = record.bytes;
      purged = {record.term, record.index};
      break;
    case RecordKind::kTruncate:
      entries.erase(entries.lower_bound(record.index), entries.end());
      break;
    case RecordKind::kPurge:
      entries.erase(entries.begin(), entries.upper_bound(record.index));
      purged = {record.term, record.index};
      break;
    case RecordKind::kGroupState:
      break;
  }
}

WalMachine::WalMachine(FixtureOptions options)
    : world_(options.seed), machine_(world_.AddMachine("a")) {
  options_.directory = "/data/wal";
  options_.cluster = ClusterId(0xc1);
  options_.member = NodeId(0xa1);
  options_.depth = options.depth;
  options_.segment_bytes = 256 * limits::kKiB;
  options_.frame_bytes_max = 64 * limits::kKiB;
  options_.prepared_target = 3;
  runtime_ = machine_.StartProcess()[0];
}

WalMachine::~WalMachine() {
  if (machine_.dead()) {
    Bury();
  } else if (log_ != nullptr) {
    const Status closed = Close();
    static_cast<void>(closed.ok());
  }
  machine_.EndProcess();
}

Status WalMachine::Open() {
  CHECK(log_ == nullptr);
  LogOptions options = options_;
  StatusOr<std::unique_ptr<Log>> opened =
      world_.Await(*runtime_, Log::Open(*runtime_, std::move(options)));
  if (!opened.ok()) return opened.status();
  log_ = *std::move(opened);
  return OkStatus();
}

void WalMachine::MustOpen() {
  const Status opened = Open();
  CHECK_EQ(std::string(opened.message()), "");
}

Status WalMachine::Close() {
  const Status closed = world_.Await(*runtime_, log_->Close());
  log_.reset();
  return closed;
}

bool WalMachine::TryOpen(Status* refused) {
  StatusOr<std::unique_ptr<Log>> opened = CancelledError("not yet");
  bool done = false;
  {
    io::Gate gate(runtime_->scheduler());
    LogOptions options = options_;
    gate.Spawn("test.open", io::ReadyClass::kClient,
               OpenInto(*runtime_, std::move(options), opened, done));
    WaitFor([&] { return done || machine_.dead(); });
    if (machine_.dead()) {
      machine_.DrainDead();
      CHECK_EQ(gate.running(), 0u);
    }
  }
  if (opened.ok()) log_ = *std::move(opened);
  if (machine_.dead()) {
    Bury();
    return false;
  }
  if (refused != nullptr) {
    *refused = opened.status();
    return opened.ok();
  }
  CHECK_EQ(std::string(opened.status().message()), "");
  return true;
}

bool WalMachine::TryClose() {
  Status closed;
  {
    io::Gate gate(runtime_->scheduler());
    gate.Spawn("test.close", io::ReadyClass::kClient, CloseInto(*log_, closed));
    WaitFor([&] { return gate.running() == 0 || machine_.dead(); });
    if (machine_.dead()) machine_.DrainDead();
    CHECK_EQ(gate.running(), 0u);
  }
  log_.reset();
  if (!machine_.dead()) return true;
  Bury();
  return false;
}

void WalMachine::Reopen() {
  const Status closed = Close();
  CHECK(closed.ok());
  MustOpen();
}

void WalMachine::Reboot(bool power_loss) {
  if (power_loss) {
    machine_.PowerLoss();
  } else {
    machine_.KillProcess();
  }
  Bury();
}

void WalMachine::Bury() {
  if (log_ != nullptr) {
    Status closed;
    io::Gate gate(runtime_->scheduler());
    gate.Spawn("test.close", io::ReadyClass::kClient, CloseInto(*log_, closed));
    machine_.DrainDead();
    CHECK_EQ(gate.running(), 0u);
    log_.reset();
  } else {
    machine_.DrainDead();
  }
  machine_.EndProcess();
  runtime_ = machine_.StartProcess()[0];
}

Status WalMachine::Submit(GroupId group, const std::vector<OwnedRecord>& records, TestOp& op) {
  std::vector<Record> views;
  for (const OwnedRecord& record : records) views.push_back(record.view());
  return log_->Append(group, views, op);
}

Status WalMachine::Append(GroupId group, const std::vector<OwnedRecord>& records) {
  TestOp op;
  Status submitted = Submit(group, records, op);
  if (!submitted.ok()) return submitted;
  world_.Await(*runtime_, WaitForOp(op, *runtime_));
  return op.status;
}

void WalMachine::MustAppend(GroupId group, const std::vector<OwnedRecord>& records) {
  const Status appended = Append(group, records);
  CHECK_EQ(std::string(appended.message()), "");
}

void WalMachine::MustAppendRange(GroupId group, uint64_t first, uint64_t last, size_t bytes,
                                 uint64_t term) {
  for (uint64_t i = first; i <= last; ++i) {
    MustAppend(group, {Entry(i, term, std::string(bytes, static_cast<char>('a' + i % 26)))});
  }
}

void WalMachine::MustPurge(GroupId group, uint64_t through) {
  TestOp op;
  CHECK(log_->Purge(group, LogIndex(through), op).ok());
  world_.Await(*runtime_, WaitForOp(op, *runtime_));
  CHECK(op.status.ok());
}

bool WalMachine::WaitFor(const std::function<bool()>& done) {
  const auto check = [&] {
    if (on_event_ != nullptr) on_event_();
    return done();
  };
  return world_.RunUntil(check, Seconds(60));
}

StatusOr<std::vector<ReadRecord>> WalMachine::Read(GroupId group, uint64_t begin, uint64_t end,
                                                   size_t bytes_max) {
  return world_.Await(*runtime_,
                      log_->ReadEntries(group, LogIndex(begin), LogIndex(end), bytes_max));
}

StatusOr<LogModel> WalMachine::Contents() {
  LogModel contents;
  for (GroupId id : log_->Groups()) {
    GroupModel& group = contents[id];
    const GroupState state = *log_->Find(id);
    group.hard_state = state.hard_state;
    group.snapshot_meta = state.snapshot_meta;
    group.purged = state.purged;
    for (LogIndex next = log_->FirstIndex(id); next <= log_->LastIndex(id);) {
      StatusOr<std::vector<ReadRecord>> page =
          Read(id, next.value(), log_->LastIndex(id).value() + 1, 8 * limits::kKiB);
      if (!page.ok()) return page.status();
      for (ReadRecord& entry : *page) {
        CHECK_EQ(entry.index, next);
        const StatusOr<Term> term = log_->TermAt(id, next);
        CHECK_EQ(*term, entry.term);
        group.entries[entry.index] = {entry.term, std::move(entry.bytes)};
        ++next;
      }
    }
  }
  return contents;
}

std::vector<std::string> WalMachine::LivePaths() {
  std::map<SegmentSeq, std::string> paths;
  SegmentSeq first_live;
  for (const std::string& path : disk().ListFiles()) {
    SegmentHeader header;
    const std::string bytes = disk().ReadCached(path, 0, kBlockBytes);
    if (bytes.size() < kBlockBytes || DecodeSegmentHeader(bytes, header) != Decoded::kGood ||
        header.state != SegmentState::kActive) {
      continue;
    }
    paths[header.segment] = path;
    first_live = std::max(first_live, header.first_live);
  }
  std::vector<std::string> live;
  for (const auto& [segment, path] : paths) {
    if (segment >= first_live) live.push_back(path);
  }
  return live;
}

std::vector<PlacedFrame> Frames(WalMachine& machine) {
  std::vector<PlacedFrame> frames;
  for (const std::string& path : machine.LivePaths()) {
    SegmentHeader segment;
    CHECK(DecodeSegmentHeader(machine.disk().ReadCached(path, 0, kBlockBytes), segment) ==
          Decoded::kGood);
    for (uint32_t block = 1; block < machine.options().segment_bytes / kBlockBytes; ++block) {
      const std::string bytes =
          machine.disk().ReadCached(path, block * kBlockBytes, kFrameHeaderBytes);
      FrameHeader header;
      const FramePlace place{segment.stream, segment.segment, block};
      if (DecodeFrameHeader(bytes, place, header) == Decoded::kGood)
        frames.push_back({path, header});
    }
  }
  std::ranges::sort(frames, {}, [](const PlacedFrame& frame) { return frame.header.lsn; });
  return frames;
}

}  // namespace metastore::wal
