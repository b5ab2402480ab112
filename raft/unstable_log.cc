#include "raft/unstable_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"

namespace metastore::raft {

std::optional<LogIndex> UnstableLog::LastIndex() const {
  if (size() > 0) return offset_ + (size() - 1);
  if (snapshot_ != nullptr) return snapshot_->last.index;
  return std::nullopt;
}

std::optional<LogIndex> UnstableLog::FirstIndex() const {
  if (snapshot_ == nullptr) return std::nullopt;
  return snapshot_->last.index + 1;
}

std::optional<Term> UnstableLog::TermAt(LogIndex index) const {
  if (index < offset_) {
    if (snapshot_ != nullptr && snapshot_->last.index == index) return snapshot_->last.term;
    return std::nullopt;
  }
  const uint64_t at = index - offset_;
  if (at >= size()) return std::nullopt;
  return entries_[begin_ + at].term;
}

std::span<const Entry> UnstableLog::Slice(LogIndex begin, LogIndex end) const {
  CHECK_LE(offset_, begin);
  CHECK_LE(begin, end);
  CHECK_LE(end - offset_, size());
  return entries().subspan(begin - offset_, end - begin);
}

std::span<const Entry> UnstableLog::NextEntries() const {
  return entries().subspan(in_progress_ - offset_);
}

void UnstableLog::AcceptInProgress() {
  in_progress_ = offset_ + size();
  if (snapshot_ != nullptr) snapshot_in_progress_ = true;
}

void UnstableLog::TruncateAndAppend(std::span<Entry> entries) {
  CHECK(!entries.empty());
  const LogIndex from = entries.front().index;
  CHECK_LE(from, offset_ + size());
  if (from <= offset_) {
    // All of it is replaced, and maybe a durable suffix too: the log writer truncates that.
    entries_.clear();
    begin_ = 0;
    offset_ = from;
    in_progress_ = from;
  } else {
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(begin_ + (from - offset_)),
                   entries_.end());
    in_progress_ = std::min(in_progress_, from);
  }
  entries_.insert(entries_.end(), std::make_move_iterator(entries.begin()),
                  std::make_move_iterator(entries.end()));
}

void UnstableLog::Restore(std::shared_ptr<const SnapshotMeta> snapshot) {
  offset_ = snapshot->last.index + 1;
  in_progress_ = offset_;
  entries_.clear();
  begin_ = 0;
  snapshot_ = std::move(snapshot);
  snapshot_in_progress_ = false;
}

void UnstableLog::StableTo(EntryId last) {
  // The entry may be gone, or another one be in its place and its own write still under way (trap
  // 30: the finished write was overwritten since). With the same term the entries up to it are the
  // same too (Log Matching).
  if (last.index < offset_) return;
  if (Mutated(Mutation::kOverwrittenAcked)) {
    if (last.index < offset_ + size()) Drop(last.index + 1 - offset_);
    return;
  }
  if (TermAt(last.index) != last.term) return;
  Drop(last.index + 1 - offset_);
}

void UnstableLog::StableSnapshotTo(LogIndex index) {
  if (snapshot_ == nullptr || snapshot_->last.index != index) return;
  snapshot_ = nullptr;
  snapshot_in_progress_ = false;
}

void UnstableLog::Drop(size_t count) {
  CHECK_LE(count, size());
  offset_ += count;
  in_progress_ = std::max(in_progress_, offset_);
  begin_ += count;
  if (begin_ == entries_.size()) {
    entries_.clear();
    begin_ = 0;
  } else if (begin_ * 2 > entries_.size()) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
  }
}

}  // namespace metastore::raft
