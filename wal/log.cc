#include "wal/log.h"

#include <algorithm>

#include "wal/mutation.h"
#include "wal/parts.h"
#include "wal/recovery.h"

namespace metastore::wal {
namespace {

constexpr size_t kAcceptingBelow = 2;
constexpr uint64_t kFrameBytesMin = 64 * limits::kKiB;

void Complain(bool bad, std::string_view what, std::string& problems) {
  if (!bad) return;
  if (!problems.empty()) problems += "; ";
  problems += what;
}

SegmentPoolOptions PoolOptions(const LogOptions& options, uint64_t next_file_number,
                               size_t in_use) {
  return {.directory = options.directory,
          .cluster = options.cluster,
          .member = options.member,
          .segment_bytes = options.segment_bytes,
          .target = options.prepared_target,
          .free_bytes_reserve = options.free_bytes_reserve,
          .next_file_number = next_file_number,
          .in_use = in_use};
}

}  // namespace

Status LogOptions::Validate() const {
  std::string problems;
  Complain(directory.empty(), "wal: no directory", problems);
  Complain(depth < 1 || depth > limits::kWalDepthMax, "wal: depth is not 1 or 2", problems);
  Complain(frame_bytes_max % kBlockBytes != 0 || segment_bytes % kBlockBytes != 0,
           "wal: sizes are not whole blocks of 4 KiB", problems);
  Complain(frame_bytes_max < kFrameBytesMin || frame_bytes_max > limits::kFrameBytesMax,
           "wal: frames must have 64 KiB to 8 MiB", problems);
  Complain(segment_bytes / 4 < frame_bytes_max || segment_bytes > limits::kGiB,
           "wal: segments must have 4 frames to 1 GiB", problems);
  Complain(prepared_target < kAcceptingBelow, "wal: fewer than 2 prepared segments", problems);
  Complain(rewrite_after_segments < 2, "wal: rewriting after fewer than 2 segments", problems);
  Complain(promise_after <= Duration{}, "wal: no time before the promise", problems);
  return problems.empty() ? OkStatus() : InvalidArgumentError(problems);
}

Log::Parts::Parts(io::Runtime& from, LogOptions&& opened, Recovered&& recovered)
    : runtime(from),
      options(std::move(opened)),
      created(recovered.created),
      segments(std::move(recovered.segments)),
      groups(std::move(recovered.groups)),
      pool(from, PoolOptions(options, recovered.next_file_number, segments.size())),
      writer({from, options, segments, pool, groups}, recovered.position),
      gate(from.scheduler()) {
  for (SegmentFile& file : recovered.free_files) pool.Add(std::move(file));
  rewriter.emplace(Rewriter::Parts{from, options, segments, groups, writer, gate});
}

namespace {

// Space for the first frame, and what makes the log accept; then the frame that begins the epoch.
io::Task<Status> BeginEpoch(Log::Parts& parts) {
  parts.pool.Start();
  // A new log waits until it accepts; one that goes on only for the segment it needs at once.
  const bool needs_segment = parts.segments.empty() || parts.segments.back().sealed;
  const size_t plenty = std::min<size_t>(kAcceptingBelow + 1, parts.options.prepared_target);
  const size_t wanted = parts.created ? plenty : needs_segment ? 1 : 0;
  const Status prepared = co_await parts.pool.WaitPrepared(wanted);
  if (!prepared.ok() && parts.pool.prepared() == 0 && needs_segment) co_return prepared;
  Status put = parts.writer.PutEpochStart();
  if (!put.ok()) co_return put;
  if (Mutated(Mutation::kEpochNotDurable)) co_return OkStatus();
  co_await parts.writer.Settle();
  co_return parts.writer.poisoned();
}

}  // namespace

io::Task<StatusOr<std::unique_ptr<Log>>> Log::Open(io::Runtime& runtime, LogOptions options) {
  Status valid = options.Validate();
  if (!valid.ok()) co_return valid;
  StatusOr<std::unique_ptr<Recovered>> recovered = co_await Recover(runtime, options);
  if (!recovered.ok()) co_return recovered.status();
  std::vector<SegmentFile> held = std::move((*recovered)->held_files);
  auto parts = std::make_unique<Parts>(runtime, std::move(options), std::move(**recovered));
  auto log = std::make_unique<Log>(std::move(parts));
  Status begun = co_await BeginEpoch(*log->parts_);
  for (SegmentFile& file : held) {
    if (begun.ok()) log->parts_->pool.Add(std::move(file));
  }
  if (begun.ok()) co_return log;
  const Status closed = co_await log->Close();
  co_return begun.ok() ? closed : begun;
}

Log::Log(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Log::~Log() { CHECK(parts_->closed); }

Status Log::Append(GroupId group, std::span<const Record> records, AppendOp& op) {
  CHECK(!records.empty());
  CHECK(op.run != nullptr);
  Writer& writer = parts_->writer;
  Writer::Demand demand{.records_count = records.size()};
  for (const Record& record : records) {
    const bool entry = IsEntryKind(record.kind);
    CHECK(record.kind != RecordKind::kRewrite && record.kind != RecordKind::kGroupState);
    const size_t most = entry ? writer.record_bytes_max() : writer.meta_bytes_max();
    if (record.bytes.size() > most) {
      return InvalidArgumentError("a log record of ", record.bytes.size(),
                                  " bytes, the largest possible has ", most);
    }
    demand.bytes += record.bytes.size();
    demand.entries = demand.entries || entry;
  }
  Status reserved = writer.Reserve(demand);
  if (!reserved.ok()) return reserved;
  GroupLog& log = parts_->groups.FindOrAdd(group);
  // Mutated, the hard state that goes first goes last.
  const bool rotated =
      Mutated(Mutation::kHardStateLast) && records[0].kind == RecordKind::kHardState;
  const size_t shift = rotated ? 1 : 0;
  for (size_t i = 0; i < records.size(); ++i) {
    writer.Put(group, log, records[i + shift < records.size() ? i + shift : 0]);
  }
  writer.Finish(log, op);
  parts_->rewriter->Consider();
  return OkStatus();
}

Status Log::Purge(GroupId group, LogIndex through, AppendOp& op) {
  if (through > LastIndex(group)) {
    return OutOfRangeError("purge through ", through.value(), ", the last entry is ",
                           LastIndex(group).value());
  }
  if (through < FirstIndex(group)) {
    if (!poisoned().ok()) return parts_->writer.Reserve({});
    op.status = OkStatus();
    op.lsn = parts_->writer.durable();
    parts_->runtime.scheduler().Push(op);
    return OkStatus();
  }
  const Record record{
      .kind = RecordKind::kPurge, .term = *TermAt(group, through), .index = through};
  return Append(group, {&record, 1}, op);
}

size_t Log::record_bytes_max() const { return parts_->writer.record_bytes_max(); }

bool Log::accepting() const {
  return parts_->writer.poisoned().ok() && parts_->pool.prepared() >= kAcceptingBelow;
}

const Status& Log::poisoned() const { return parts_->writer.poisoned(); }

std::vector<GroupId> Log::Groups() const {
  std::vector<GroupId> ids;
  for (const auto& [id, group] : parts_->groups.all()) {
    if (group->next_sequence > 1) ids.push_back(id);
  }
  return ids;
}

const GroupState* Log::Find(GroupId group) const {
  const GroupLog* found = parts_->groups.Find(group);
  return found == nullptr ? nullptr : &found->state();
}

LogIndex Log::FirstIndex(GroupId group) const {
  const GroupLog* found = parts_->groups.Find(group);
  return found == nullptr ? LogIndex(1) : found->first();
}

LogIndex Log::LastIndex(GroupId group) const {
  const GroupLog* found = parts_->groups.Find(group);
  return found == nullptr ? LogIndex(0) : found->last();
}

StatusOr<Term> Log::TermAt(GroupId group, LogIndex index) const {
  const GroupLog* found = parts_->groups.Find(group);
  return found == nullptr ? GroupLog().TermAt(index) : found->TermAt(index);
}

io::Task<Status> Log::Close() {
  CHECK(!parts_->closed);
  parts_->rewriter->Stop();
  co_await parts_->gate.Close();
  parts_->writer.Refuse(FailedPreconditionError("the log is closed"));
  co_await parts_->writer.Drain();
  while (parts_->reads > 0) {
    co_await parts_->reads_ended.Wait();
  }
  co_await parts_->pool.Stop();
  parts_->closed = true;
  co_return parts_->writer.poisoned();
}

bool Log::created() const { return parts_->created; }
Epoch Log::epoch() const { return parts_->writer.position().epoch; }
uint64_t Log::boot_count() const { return epoch().value(); }

const LogMetrics& Log::metrics() const { return parts_->writer.metrics(); }

LogStats Log::stats() const {
  LogStats stats;
  parts_->writer.FillStats(stats);
  return stats;
}

}  // namespace metastore::wal
