#include "tools/walinspect/repair.h"

#include <cstring>

#include "tools/walinspect/scan_run.h"
#include "wal/segment.h"

namespace metastore::walinspect {
namespace {

constexpr size_t kChunkBytes = limits::kMiB;
constexpr std::string_view kUsualPlace = "/member/wal";

// The node's data directory, whose lock it holds while it runs.
StatusOr<std::string> DataDirectory(const Request& request) {
  if (!request.repair.data_directory.empty()) return request.repair.data_directory;
  std::string directory = request.directory;
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  if (!directory.ends_with(kUsualPlace)) {
    return InvalidArgumentError(directory, " is not DATA-DIR", kUsualPlace,
                                ": name the node's data directory by --data-dir, so that its lock "
                                "can be taken");
  }
  directory.resize(directory.size() - kUsualPlace.size());
  return directory;
}

class Repairer final {
 public:
  Repairer(io::Runtime& runtime, const Request& request) : runtime_(runtime), request_(request) {}

  // Keeps a node away until this is destroyed. Errors: kAlreadyExists  one runs
  io::Task<Status> Lock();
  // Errors: kFailedPrecondition  a file that no log has is in the directory
  io::Task<Status> RefuseForeignFiles();
  io::Task<Status> Apply(const RepairPlan& plan);

 private:
  io::Task<Status> PrepareBackup();
  io::Task<Status> Copy(const std::string& path);
  io::Task<Status> Zero(const FileChange& change);

  io::Runtime& runtime_;
  const Request& request_;
  std::unique_ptr<io::DirectoryLock> lock_;
};

io::Task<Status> Repairer::Lock() {
  StatusOr<std::string> directory = DataDirectory(request_);
  if (!directory.ok()) co_return directory.status();
  StatusOr<std::unique_ptr<io::DirectoryLock>> lock = co_await runtime_.LockDirectory(*directory);
  if (!lock.ok()) co_return Annotate(lock.status(), "a node seems to run on this log");
  lock_ = *std::move(lock);
  co_return OkStatus();
}

io::Task<Status> Repairer::RefuseForeignFiles() {
  StatusOr<std::vector<io::DirectoryEntry>> entries =
      co_await runtime_.ListDirectory(request_.directory);
  if (!entries.ok()) co_return entries.status();
  for (const io::DirectoryEntry& entry : *entries) {
    const bool known = entry.is_directory ? entry.name == "lost+found"
                                          : wal::SegmentFileNumber(entry.name).has_value();
    if (known) continue;
    co_return FailedPreconditionError(request_.directory, "/", entry.name,
                                      " is no file of a log: is this the right directory?");
  }
  co_return OkStatus();
}

io::Task<Status> Repairer::PrepareBackup() {
  Status made = co_await runtime_.MakeDirectories(request_.other_directory);
  if (!made.ok()) co_return made;
  StatusOr<std::vector<io::DirectoryEntry>> entries =
      co_await runtime_.ListDirectory(request_.other_directory);
  if (!entries.ok()) co_return entries.status();
  if (entries->empty()) co_return OkStatus();
  co_return FailedPreconditionError(request_.other_directory,
                                    " is not empty: a backup needs a directory of its own");
}

// The whole file under the same name; blocks that cannot be read become zeros.
io::Task<Status> Repairer::Copy(const std::string& path) {
  StatusOr<std::unique_ptr<io::File>> from = co_await runtime_.OpenFile(path, io::OpenMode::kRead);
  if (!from.ok()) co_return from.status();
  const std::string copy = Concat(request_.other_directory, "/", FileName(path));
  StatusOr<std::unique_ptr<io::File>> to = co_await runtime_.OpenFile(copy, io::OpenMode::kCreate);
  if (!to.ok()) co_return to.status();
  const StatusOr<size_t> allocated = co_await (*to)->Allocate((*from)->size());
  if (!allocated.ok()) co_return allocated.status();
  wal::FileWindow window(runtime_, **from);
  io::IoBuffer buffer = runtime_.AllocateBuffer(kChunkBytes);
  for (uint64_t offset = 0; offset < (*from)->size(); offset += kChunkBytes) {
    StatusOr<std::string_view> bytes = co_await window.View(offset, kChunkBytes);
    if (!bytes.ok()) co_return bytes.status();
    if (bytes->empty()) break;  // less than a block
    std::memcpy(buffer.data(), bytes->data(), bytes->size());
    const std::span<char> chunk(buffer.data(), bytes->size());
    const StatusOr<size_t> written =
        co_await (*to)->Write(offset, chunk, buffer.registered_index());
    if (!written.ok()) co_return written.status();
  }
  const StatusOr<size_t> synced = co_await (*to)->Sync();
  co_return synced.status();
}

io::Task<Status> Repairer::Zero(const FileChange& change) {
  StatusOr<std::unique_ptr<io::File>> file =
      co_await runtime_.OpenFile(change.path, io::OpenMode::kReadWrite);
  if (!file.ok()) co_return file.status();
  io::IoBuffer buffer = runtime_.AllocateBuffer(kChunkBytes);
  std::memset(buffer.data(), 0, kChunkBytes);
  // From the end, so that after a crash the cut itself is not there yet, and damage is still seen.
  for (uint64_t end = change.zero_to; end > change.zero_from;) {
    const uint64_t bytes = std::min<uint64_t>(kChunkBytes, end - change.zero_from);
    end -= bytes;
    const std::span<char> chunk(buffer.data(), bytes);
    const StatusOr<size_t> written = co_await (*file)->Write(end, chunk, buffer.registered_index());
    if (!written.ok()) co_return written.status();
  }
  const StatusOr<size_t> synced = co_await (*file)->Sync();
  co_return synced.status();
}

// Copies of all files are durable before the first one changes.
io::Task<Status> Repairer::Apply(const RepairPlan& plan) {
  Status prepared = co_await PrepareBackup();
  if (!prepared.ok()) co_return prepared;
  for (const FileChange& change : plan.changes) {
    Status copied = co_await Copy(change.path);
    if (!copied.ok()) co_return Annotate(copied, "nothing was changed; backup failed");
  }
  Status kept = co_await runtime_.SyncDirectory(request_.other_directory);
  if (!kept.ok()) co_return kept;
  for (const FileChange& change : plan.changes) {
    Status changed;
    if (change.remove) {
      changed = co_await runtime_.RemoveFile(change.path);
    } else {
      changed = co_await Zero(change);
    }
    if (!changed.ok()) co_return changed;
    Status durable = co_await runtime_.SyncDirectory(request_.directory);
    if (!durable.ok()) co_return durable;
  }
  co_return OkStatus();
}

// What keeps the plan from being applied; OK: nothing.
Status MayApply(const Request& request, const RepairPlan& plan) {
  if (!plan.impossible.empty()) return FailedPreconditionError("nothing was changed");
  if (request.other_directory.empty()) {
    return InvalidArgumentError("--apply needs --backup DIR for a copy of what it changes");
  }
  if (plan.below_promise() && !request.repair.accept_loss) {
    return FailedPreconditionError(
        "nothing was changed: the cut is below a promise; --accept-loss takes the loss");
  }
  return OkStatus();
}

}  // namespace

io::Task<StatusOr<int>> Repair(io::Runtime& runtime, const Request& request) {
  Repairer repairer(runtime, request);
  if (request.repair.apply) {
    Status locked = co_await repairer.Lock();
    if (!locked.ok()) co_return locked;
    Status ours = co_await repairer.RefuseForeignFiles();
    if (!ours.ok()) co_return ours;
  }
  StatusOr<RepairPlan> plan = co_await MakeRepairPlan(runtime, request);
  if (!plan.ok()) co_return plan.status();
  if (!request.json()) request.print(PlanText(*plan));
  if (!request.repair.apply || !plan->needed()) {
    if (request.json()) request.print(PlanJson(*plan, false));
    co_return ExitCode(plan->finding.verdict);
  }
  Status may = MayApply(request, *plan);
  if (!may.ok()) co_return may;
  Status applied = co_await repairer.Apply(*plan);
  if (!applied.ok()) co_return applied;
  StatusOr<RepairPlan> after = co_await MakeRepairPlan(runtime, request);
  if (!after.ok()) co_return after.status();
  request.print(request.json()
                    ? PlanJson(*plan, true)
                    : Concat("done; the files as they were are in ", request.other_directory,
                             "\nnow: ", FindingLine(after->finding)));
  co_return ExitCode(after->finding.verdict);
}

}  // namespace metastore::walinspect
