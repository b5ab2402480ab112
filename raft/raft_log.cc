#include "raft/raft_log.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"

namespace metastore::raft {

RaftLog::RaftLog(LogView& view, Options options)
    : view_(view), options_(options), unstable_(view.LastIndex() + 1) {
  committed_ = applying_ = applied_ = view.FirstIndex() - 1;
}

void RaftLog::Begin(LogIndex committed, LogIndex applied) {
  CHECK_LE(committed, LastIndex());
  CHECK_LE(applied, LastIndex());
  CHECK_GE(applied, FirstIndex() - 1);
  // The durable commit index is written lazily and may lag behind what was applied (trap 6).
  applied_ = applying_ = applied;
  committed_ = std::max({committed, applied, committed_});
}

LogIndex RaftLog::FirstIndex() const {
  const std::optional<LogIndex> first = unstable_.FirstIndex();
  return first ? *first : view_.FirstIndex();
}

LogIndex RaftLog::LastIndex() const {
  const std::optional<LogIndex> last = unstable_.LastIndex();
  return last ? *last : unstable_.offset() - 1;
}

std::optional<Term> RaftLog::TermAt(LogIndex index) const {
  if (const std::optional<Term> term = unstable_.TermAt(index)) return term;
  if (index + 1 < FirstIndex() || index > LastIndex()) return std::nullopt;
  return view_.TermAt(index);
}

EntryId RaftLog::LastId() const {
  const LogIndex last = LastIndex();
  const std::optional<Term> term = TermAt(last);
  CHECK(term.has_value());
  return {*term, last};
}

std::optional<LogIndex> RaftLog::FindConflict(std::span<const Entry> entries) const {
  for (const Entry& entry : entries) {
    if (!Matches(entry.id())) return entry.index;
  }
  return std::nullopt;
}

EntryId RaftLog::FindConflictByTerm(LogIndex index, Term term) const {
  for (; index > LogIndex(); --index) {
    const std::optional<Term> ours = TermAt(index);
    if (!ours) return {Term(), index};
    if (*ours <= term) return {*ours, index};
  }
  return {};
}

LogIndex RaftLog::Append(std::span<Entry> entries) {
  if (entries.empty()) return LastIndex();
  CHECK_GT(entries.front().index, committed_);
  unstable_.TruncateAndAppend(entries);
  return LastIndex();
}

void RaftLog::CommitTo(LogIndex to) {
  if (to <= committed_) return;
  CHECK_LE(to, LastIndex());
  committed_ = to;
}

void RaftLog::Restore(std::shared_ptr<const SnapshotMeta> snapshot) {
  CHECK_GT(snapshot->last.index, committed_);
  committed_ = snapshot->last.index;
  unstable_.Restore(std::move(snapshot));
}

Status RaftLog::Slice(LogIndex begin, LogIndex end, size_t bytes_max,
                      std::vector<Entry>& out) const {
  if (begin >= end) return OkStatus();
  if (begin < FirstIndex()) return OutOfRangeError("entry ", begin.value(), " was compacted away");
  CHECK_LE(end, LastIndex() + 1);
  const LogIndex stable_end = std::min(end, unstable_.offset());
  const size_t before = out.size();
  size_t bytes = 0;
  if (begin < stable_end) {
    MS_RETURN_IF_ERROR(view_.Entries(begin, stable_end, bytes_max, out));
    if (out.size() - before < stable_end - begin) return OkStatus();
    if (stable_end == end) return OkStatus();
    for (size_t i = before; i < out.size(); ++i) bytes += EntryBytes(out[i]);
  }
  for (const Entry& entry : unstable_.Slice(std::max(begin, stable_end), end)) {
    bytes += EntryBytes(entry);
    if (bytes > bytes_max && out.size() > before) break;
    out.push_back(entry);
  }
  return OkStatus();
}

std::optional<SnapshotMeta> RaftLog::Snapshot(NodeId peer) const {
  // One that is still being installed here is not there to be sent.
  if (unstable_.has_snapshot()) return std::nullopt;
  return view_.Snapshot(peer);
}

LogIndex RaftLog::MaxAppliable() const {
  if (options_.apply_before_durable) return committed_;
  return std::min(committed_, unstable_.offset() - 1);
}

bool RaftLog::HasNextCommitted() const {
  // A snapshot under way is a barrier (trap 21).
  return !apply_paused_ && !fetching_ && !unstable_.has_snapshot() && applying_ < MaxAppliable();
}

std::vector<Entry> RaftLog::TakeNextCommitted(std::vector<Entry> entries) {
  CHECK(entries.empty());
  if (!HasNextCommitted()) return entries;
  const LogIndex end = MaxAppliable() + 1;
  const size_t room = options_.apply_bytes_max - applying_bytes_;
  entries.reserve(std::min<uint64_t>(end - applying_ - 1, 4096));
  const Status status = Slice(applying_ + 1, end, room, entries);
  if (!status.ok()) {
    // What is committed and not applied is never compacted away, so it is on disk and will come.
    CHECK(status.code() == StatusCode::kUnavailable);
    fetching_ = true;
    return {};
  }
  Applying task{entries.back().index};
  for (const Entry& entry : entries) {
    task.bytes += EntryBytes(entry);
    task.payload_bytes += entry.payload.size();
  }
  applying_ = task.last;
  applying_bytes_ += task.bytes;
  // A page that was cut short waits for its predecessors, so that pages stay large.
  apply_paused_ = applying_bytes_ >= options_.apply_bytes_max || applying_ < MaxAppliable();
  tasks_.push_back(task);
  return entries;
}

void RaftLog::ApplyDone(LogIndex last) {
  CHECK(!tasks_.empty());
  const Applying task = tasks_.front();
  CHECK_EQ(task.last, last);
  tasks_.pop_front();
  applying_bytes_ -= task.bytes;
  applied_payload_bytes_ = task.payload_bytes;
  applied_ = std::max(applied_, last);
  apply_paused_ = applying_bytes_ >= options_.apply_bytes_max;
}

void RaftLog::AppliedBySnapshot(LogIndex index) {
  CHECK_LE(index, committed_);
  applied_ = std::max(applied_, index);
  applying_ = std::max(applying_, index);
}

}  // namespace metastore::raft
